"""The comparison in the terminal: 80 columns, readable without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stuntdouble.results import wording
from stuntdouble.results.comparison import compare
from stuntdouble.results.verdict import comparison_sentences, leftovers_line, verification_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from stuntdouble.results.comparison import Cell
    from stuntdouble.results.model import Result
    from stuntdouble.results.parts import VmResult

VMS_SHOWN_MAX: Final = 12
"""VMs in the table per VM, worst stun first: more fill the screen; all are in result.json."""

RANKING: Final = (
    "* best of its row, or within 2 % (excess latency: 10 %)\n"
    "Excess latency: beyond that of the same I/O without a backup. Phases are not ranked."
)

_BEST: Final = " *"


def comparison_table(result: Result) -> RenderableType:
    """Return everything that a comparison reports, methods side by side.

    The best figure of a row carries an asterisk and is bold; a method's column is never cut.
    """
    return Group(
        _text(f"{result.scenario}: {result.title}", style="bold"),
        _main_table(result),
        Text(RANKING, style="dim"),
        *(Text(sentence, style="dim") for sentence in compare(result).folded),
        Text(""),
        _vm_table(result),
        Text(
            "stun: the longest; then p95 latency before, while reading, while merging", style="dim"
        ),
        Text(""),
        *(_text(f"Note: {note}") for note in result.notes),
        *_verdict(result),
        Text(verification_line(result), style=_verification_style(result)),
        _text(leftovers_line(result), style="bold red" if result.leftovers else ""),
    )


def _verdict(result: Result) -> Iterator[RenderableType]:
    """Yield the outcome, and below it what else there is to say about it."""
    outcome, *rest = comparison_sentences(result) or [""]
    yield _text(outcome, style="bold")
    for sentence in rest:
        yield Padding(_text(sentence), (0, 0, 0, 2))


def _text(content: str, style: str = "") -> Text:
    return Text(wording.printable(content), style=style)


def _main_table(result: Result) -> Table:
    comparison = compare(result)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, highlight=False)
    table.add_column("")
    for name in comparison.methods:
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for index, group in enumerate(comparison.groups):
        if index:
            table.add_row("")
        table.add_row(Text(group.title, style="bold"))
        for row in group.rows:
            best = row.best
            cells = (_cell(cell, best=i in best) for i, cell in enumerate(row.cells))
            table.add_row(f"  {row.label}", *cells)
    return table


def _cell(cell: Cell, *, best: bool) -> Text:
    # Two columns stay free for the mark, so that figures of one row end in the same column.
    return Text(cell.text + (_BEST if best else "  "), style="bold green" if best else "")


def _vm_table(result: Result) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, highlight=False)
    table.add_column("per VM", no_wrap=True)
    for heading in ("open", "delta", "stun", "before", "reading", "merging"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = _worst_vms(result)
    for vm_name in names[:VMS_SHOWN_MAX]:
        table.add_row(_text(vm_name, style="bold"))
        for method, part in result.ordered_methods():
            for vm in part.vms:
                if vm.name == vm_name:
                    table.add_row(f"  {method}", *_vm_cells(vm))
    if len(names) > VMS_SHOWN_MAX:
        table.add_row(f"{len(names) - VMS_SHOWN_MAX} more VMs")
    return table


def _worst_vms(result: Result) -> list[str]:
    longest: dict[str, float] = {}
    for _, method in result.ordered_methods():
        for vm in method.vms:
            longest[vm.name] = max(longest.get(vm.name, 0.0), vm.stuns.longest_seconds)
    return sorted(longest, key=lambda name: (-longest[name], name))


def _vm_cells(vm: VmResult) -> tuple[str, ...]:
    load = vm.foreground
    return (
        wording.seconds(vm.snapshot_open_seconds),
        wording.size(vm.delta_peak_bytes),
        wording.seconds(vm.stuns.longest_seconds),
        wording.milliseconds(load.before.latency_ms.p95),
        wording.milliseconds(load.reading.latency_ms.p95),
        wording.milliseconds(load.consolidating.latency_ms.p95),
    )


def _verification_style(result: Result) -> str:
    findings = {point.verified for point in result.restore_points}
    if False in findings:
        return "bold red"
    return "green" if findings == {True} else "yellow"
