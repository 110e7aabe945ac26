"""Figures of rows: measured against modelled, as plotly's plain dictionaries.

A row with an axis is a curve; any other is a pair of bars for each point.  The same two colours
everywhere (Okabe and Ito, "Color Universal Design", 2008); what is known is hollow or pale, what is
modelled solid, so that nobody has to tell colours apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.results.plotting import axis, look

if TYPE_CHECKING:
    from stuntdouble.results.plotting import Figure
    from stuntdouble.validity.row import Row

MEASURED: Final = "#d55e00"
MODELLED: Final = "#0a86c7"
HEIGHT: Final = 260

_LABEL_LETTERS: Final = 16  # of a bar's label in one line


def figure(row: Row) -> Figure:
    """Return the figure of a row."""
    traces = _curves(row) if row.axis else _bars(row)
    layout = layout_of(row.axis, row.unit, HEIGHT)
    layout["yaxis"]["rangemode"] = "tozero"
    if not row.axis:
        labels = [wrapped(point.label) for point in row.points]
        layout["xaxis"] |= {"categoryorder": "array", "categoryarray": labels}
    return {"data": [trace for trace in traces if trace["y"]], "layout": layout}


def layout_of(across: str, up: str, height: int) -> Figure:
    """Return the layout that all figures share, its axes titled *across* and *up*."""
    return look(height) | {
        "barmode": "group",
        "bargap": 0.35,
        "xaxis": axis(across, automargin=True),
        "yaxis": axis(up, automargin=True),
    }


def _curves(row: Row) -> list[Figure]:
    known = [p for p in row.points if p.measured is not None]
    return [
        _trace("known", known, [p.measured for p in known], "markers", MEASURED)
        | {"marker": {"color": MEASURED, "size": 7, "symbol": "circle-open", "line": {"width": 2}}},
        _trace("modelled", row.points, [p.modelled for p in row.points], "lines", MODELLED)
        | {"line": {"color": MODELLED, "width": 2}},
    ]


def _trace(name: str, points: Any, values: Any, mode: str, colour: str) -> Figure:
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": [p.x for p in points],
        "y": list(values),
        "text": [p.label for p in points],
        "hovertemplate": "%{text}: %{y}",
        "marker": {"color": colour},
    }


def _bars(row: Row) -> list[Figure]:
    known = [p for p in row.points if p.measured is not None]
    traces = (
        ("known", [p.label for p in known], [p.measured for p in known], MEASURED, 0.35),
        (
            "modelled",
            [p.label for p in row.points],
            [p.modelled for p in row.points],
            MODELLED,
            1.0,
        ),
    )
    return [
        {
            "type": "bar",
            "name": name,
            "x": [wrapped(label) for label in labels],
            "y": values,
            "marker": {
                "color": translucent(colour, opacity),
                "line": {"color": colour, "width": 2},
            },
            "hovertemplate": "%{x}: %{y}",
        }
        for name, labels, values, colour, opacity in traces
    ]


def translucent(colour: str, opacity: float) -> str:
    """Return a colour of hexadecimal digits with the ground shining through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def wrapped(label: str) -> str:
    """Return *label* with a line break where it would be too wide to stand under a bar."""
    lines: list[str] = []
    for word in label.split():
        if lines and len(lines[-1]) + len(word) < _LABEL_LETTERS:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "<br>".join(lines)
