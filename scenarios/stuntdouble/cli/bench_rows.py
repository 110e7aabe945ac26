"""Figures and goals of a benchmark, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.bench.figures import Row

_WIDTH: Final = 110  # columns where there is no terminal to ask


def show(rows: Sequence[Row]) -> None:
    """Print the rows: figures, then goals with what was asked for."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    table = Table(box=None, padding=(0, 2))
    for title, justify in (
        ("benchmark", "left"),
        ("figure", "left"),
        ("", "right"),
        ("asked", "left"),
    ):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]  # one of its words
    for row in rows:
        asked_for = {goal.what for goal in row.goals}
        for name, value in row.figures.items():
            if name not in asked_for:
                table.add_row(row.bench, name, f"{value:,.4g}", "")
        for goal in row.goals:
            sign = "≥" if goal.at_least else "≤"
            asked = f"{sign} {goal.bound:,.4g}{'' if goal.met else ': missed'}"
            table.add_row(row.bench, goal.what, f"{goal.value:,.4g}", asked)
    console.print(table)
    for row in rows:
        for line in row.missing:
            console.print(f"{row.bench}: without {line}", highlight=False)
