"""A comparison on a served site in the terminal: 80 columns, readable without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stuntdouble.results import wording
from stuntdouble.results.verdict import leftovers_line, verification_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from stuntdouble.results.remote import RemoteMethod, RemoteResult

_ROWS: Final[tuple[tuple[str, Callable[[RemoteMethod], str]], ...]] = (
    ("snapshot open", lambda m: wording.seconds(m.snapshot_open_seconds)),
    ("stuns", lambda m: str(m.stuns.count)),
    ("longest stun", lambda m: wording.seconds(m.stuns.longest_seconds)),
    ("consolidation", lambda m: wording.seconds(m.consolidation.seconds)),
    ("backup", lambda m: wording.seconds(m.backup.seconds)),
    ("read", lambda m: wording.size(m.backup.bytes_read)),
    ("stored", lambda m: wording.size(m.backup.bytes_stored)),
    ("wall time", lambda m: wording.seconds(m.wall_seconds)),
    ("bytes per wall second", lambda m: wording.size(m.wire_bytes_per_second)),
    ("restore points", lambda m: str(len(m.restore_points))),
)


def remote_table(result: RemoteResult) -> RenderableType:
    """Return everything that a comparison on a served site reports, methods side by side."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, highlight=False)
    table.add_column("")
    methods = result.ordered_methods()
    for name, _ in methods:
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for label, text in _ROWS:
        table.add_row(label, *(text(method) for _, method in methods))
    verified = {point.verified for point in result.restore_points}
    style = "bold red" if False in verified else "green" if verified == {True} else "yellow"
    left = "bold red" if result.leftovers else ""
    return Group(
        _text(f"{result.scenario}: {result.title}", style="bold"),
        _text(f"served at {result.server}, {result.rate:g} site seconds in a wall second"),
        table,
        Text(""),
        *(_text(f"Note: {note}") for note in result.notes),
        Text(verification_line(result), style=style),
        _text(leftovers_line(result), style=left),
    )


def _text(content: str, style: str = "") -> Text:
    return Text(wording.printable(content), style=style)
