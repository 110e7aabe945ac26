"""The grid in words and as a figure: who wins, by how much, and where that changes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from stuntdouble.results import METHOD_NAMES, wording
from stuntdouble.results.elements import Markup, element, joined, table
from stuntdouble.results.plots import METHOD_COLOURS
from stuntdouble.validity.drawing import layout_of
from stuntdouble.validity.grid import SAME_WITHIN

if TYPE_CHECKING:
    from stuntdouble.results.plotting import Figure
    from stuntdouble.validity.grid import Cell, Sensitivity

_SYMBOLS: Final = {"software": "diamond", "storage": "circle", "mounted": "square-open"}
_HEIGHT: Final = 380


def sentences(grid: Sensitivity) -> list[str]:
    """Return what the grid comes to."""
    if not grid.cells:
        return ["No variation was run."]
    wins = Counter(_names(cell) for cell in grid.cells)
    who = wording.listed(f"{name} gentlest in {count}" for name, count in wins.most_common())
    told = [f"Of {wording.counted(len(grid.cells), 'variation')} of {grid.scenario}: {who}."]
    margins = [m for cell in grid.cells if (m := cell.margin) is not None]
    if margins:
        told.append(
            "The gentlest of the others cost the guests"
            f" {min(margins):.2g} to {max(margins):.3g} times as much."
        )
    steps = Counter(number for number, _, _ in grid.changes())
    if steps:
        where = wording.listed(
            f"{grid.axes[number].name} ({count})" for number, count in steps.most_common()
        )
        told.append(f"The winner changes along {where}.")
    else:
        told.append("No single step changes the winner.")
    return told


def _names(cell: Cell) -> str:
    return " or ".join(name for name in METHOD_NAMES if name in cell.winners)


def figure(grid: Sensitivity) -> Figure:
    """Return the excess latency of every method in every cell, sorted by the software method's."""
    cells = sorted(grid.cells, key=lambda cell: cell.excess_seconds.get("software", 0.0))
    layout = layout_of("variation, by what the software snapshot costs", "s", _HEIGHT)
    layout["yaxis"]["type"] = "log"
    layout["xaxis"]["showticklabels"] = False
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": list(range(1, len(cells) + 1)),
            "y": [max(cell.excess_seconds.get(name, 0.0), 0.0) or None for cell in cells],
            "text": [", ".join(cell.at) for cell in cells],
            "hovertemplate": "%{text}: %{y} s",
            "marker": {"color": METHOD_COLOURS[name], "symbol": _SYMBOLS[name], "size": 9},
        }
        for name in METHOD_COLOURS
    ]
    return {"data": traces, "layout": layout}


def part(grid: Sensitivity, drawn: Markup) -> Markup:
    """Return the section of the page: sentences, figure, and every cell."""
    methods = tuple(grid.cells[0].excess_seconds) if grid.cells else ()
    rows = (
        (
            *cell.at,
            *(wording.seconds(cell.excess_seconds[name]) for name in methods),
            _names(cell),
            "–" if cell.margin is None else f"{cell.margin:.3g} ×",
        )
        for cell in grid.cells
    )
    headings = (*(axis.name for axis in grid.axes), *methods, "gentlest", "the next")
    caption = "Excess latency of all guest I/O, by method"
    whole = table(caption, headings, rows)
    changes = (
        (
            grid.axes[number].name,
            f"{one.at[number]} to {other.at[number]}",
            ", ".join(value for k, value in enumerate(one.at) if k != number),
            f"{_names(one)} to {_names(other)}",
        )
        for number, one, other in grid.changes()
    )
    changed = table("Where the winner changes", ("", "step", "elsewhere", "gentlest"), changes)
    return joined(
        [
            element(
                "p",
                "What nobody has measured has to be assumed. So it is varied: which method is the"
                " gentlest to the guests, and by how much, and which assumption decides it."
                f" Within {100 * SAME_WITHIN:g} % methods are called about the same.",
                class_="group",
            ),
            element("ul", *(element("li", s) for s in sentences(grid)), class_="notes"),
            drawn,
            *([changed] if grid.changes() else []),
            element("details", element("summary", "Every variation"), whole),
        ]
    )
