"""The tables below the comparison: restore points, runs, VMs, events, footing, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.results import wording
from stuntdouble.results.elements import EMPTY, Markup, element, joined, table
from stuntdouble.results.verdict import leftovers_line, verification_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.results.figures import MethodName
    from stuntdouble.results.model import Result
    from stuntdouble.results.parts import Event, PointResult, VmResult

EVENTS_SHOWN_MAX: Final = 300
"""Events in the page: beyond that the browser scrolls more than a reader does."""

_FOUND: Final = {True: "verified", False: "WRONG", None: "not checked"}
_FOUND_CLASS: Final = {True: "good", False: "bad", None: "open"}


def details(result: Result) -> Iterator[tuple[str, Markup]]:
    """Yield each further section as title and content; the content is empty when there is none."""
    yield "Notes", _notes(result)
    yield "Restore points", _points(result)
    yield "Runs and datastores", joined([_runs(result), _datastores(result)])
    yield "Each VM", _vms(result)
    yield "What happened when", _events(result)
    yield "Assumptions", _assumptions(result)
    yield "The emulated site", _site(result)


def _notes(result: Result) -> Markup:
    if not result.notes:
        return EMPTY
    return element("ul", *(element("li", note) for note in result.notes), class_="notes")


def _points(result: Result) -> Markup:
    lines = [element("p", verification_line(result)), element("p", leftovers_line(result))]
    if not result.restore_points:
        return joined(lines)
    headings = (
        *("Restore point", "Method", "VM", "Kind", "Moment", "Consistency"),
        *("Verification", "Read", "Stored", "Took", "Skipped"),
    )
    caption = (
        "Each restore point; its moment is the stun of its VM snapshot, in time of the site, which"
        " may have been up before the run began"
    )
    rows = [
        _point_cells(name, point)
        for name, method in result.ordered_methods()
        for point in method.restore_points
    ]
    return joined([*lines, table(caption, headings, rows)])


def _point_cells(method: MethodName, point: PointResult) -> tuple[str, ...]:
    found = element("span", _FOUND[point.verified], class_=f"found {_FOUND_CLASS[point.verified]}")
    return (
        point.id,
        method,
        point.vm,
        point.kind,
        wording.clock(point.moment),
        point.consistency,
        found,
        wording.size(point.bytes_read),
        wording.size(point.bytes_stored),
        wording.seconds(point.seconds),
        "; ".join(point.skipped) or wording.NONE,
    )


def _runs(result: Result) -> Markup:
    headings = ("Method", "Kind", "Start", "End", "Read", "Stored", "In window", "RPO", "Outcome")
    rows = [
        (
            name,
            run.kind,
            wording.clock(run.start),
            wording.clock(run.end),
            wording.size(run.bytes_read),
            wording.size(run.bytes_stored),
            wording.yes_no(run.window_met),
            wording.seconds(run.rpo_seconds_achieved),
            run.outcome,
        )
        for name, method in result.ordered_methods()
        for run in method.runs
    ]
    return table("Each backup run", headings, rows) if rows else EMPTY


def _datastores(result: Result) -> Markup:
    rows = [
        (store.name, name, wording.size(store.capacity_bytes), wording.size(store.free_bytes_min))
        for name, method in result.ordered_methods()
        for store in method.datastores
    ]
    rows.sort(key=lambda row: row[0])
    headings = ("Datastore", "Method", "Capacity", "Lowest free space")
    return table("Room on datastores", headings, rows) if rows else EMPTY


def _vms(result: Result) -> Markup:
    headings = (
        *("VM", "Method", "Snapshot open", "Delta, peak", "Stuns", "Longest stun"),
        *("p95 before", "reading", "consolidating", "after", "Stalls over 5 s"),
    )
    rows = [
        (vm.name, _vm_cells(name, vm))
        for name, method in result.ordered_methods()
        for vm in method.vms
    ]
    rows.sort(key=lambda row: row[0])
    cells = (row for _, row in rows)
    return table("Each VM by method", headings, cells) if rows else EMPTY


def _vm_cells(name: MethodName, vm: VmResult) -> tuple[str, ...]:
    load = vm.foreground
    return (
        vm.name,
        name,
        wording.seconds(vm.snapshot_open_seconds),
        wording.size(vm.delta_peak_bytes),
        wording.number(vm.stuns.count),
        wording.seconds(vm.stuns.longest_seconds),
        wording.milliseconds(load.before.latency_ms.p95),
        wording.milliseconds(load.reading.latency_ms.p95),
        wording.milliseconds(load.consolidating.latency_ms.p95),
        wording.milliseconds(load.after.latency_ms.p95),
        wording.number(vm.stalls.over_5_seconds),
    )


def _events(result: Result) -> Markup:
    found = [(event, name) for name, method in result.ordered_methods() for event in method.events]
    if not found:
        return EMPTY
    shown = found[:EVENTS_SHOWN_MAX]
    caption = f"{len(shown):,} of {wording.counted(len(found), 'event')}; all are in result.json"
    headings = ("Since start", "Method", "Kind", "Subject", "What")
    rows = (_event_cells(event, name) for event, name in shown)
    summary = element("summary", wording.counted(len(found), "event"))
    return element("details", summary, table(caption, headings, rows))


def _event_cells(event: Event, name: MethodName) -> tuple[str, ...]:
    return (wording.clock(event.time), name, event.kind, event.subject, event.text)


def _assumptions(result: Result) -> Markup:
    rows = [(item.name, item.value, item.source) for item in result.assumptions]
    caption = "Parameters that the outcome hangs on"
    return table(caption, ("Parameter", "Value", "Source"), rows) if rows else EMPTY


def _site(result: Result) -> Markup:
    site = result.site
    vms = [
        (
            vm.name,
            str(vm.disks),
            wording.size(vm.capacity_bytes),
            wording.size(vm.allocated_bytes),
            vm.load,
        )
        for vm in site.vms
    ]
    stores = [(s.name, wording.size(s.capacity_bytes), str(s.volumes)) for s in site.datastores]
    pools = [(p.name, p.media, p.raid, wording.size(p.capacity_bytes)) for p in site.pools]
    return joined(
        [
            table("VMs", ("VM", "Disks", "Capacity", "In use", "Load"), vms),
            table("Datastores", ("Datastore", "Capacity", "Volumes"), stores),
            table("Array pools", ("Pool", "Media", "RAID", "Capacity"), pools),
        ]
    )
