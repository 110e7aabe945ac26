"""The phases of a run, as the guests felt them: intervals of site time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.results import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.backup import JobReport, VmOutcome
    from stuntdouble.scenarios.lived import Run

Interval = tuple[float, float]


@dataclass(frozen=True)
class Spans:
    """The phases of a run, as intervals of site time."""

    before: list[Interval]
    snapshot: list[Interval]
    preparing: list[Interval]
    reading: list[Interval]
    consolidating: list[Interval]
    cleaning: list[Interval]
    after: list[Interval]
    job: list[Interval]

    def of(self, name: str) -> list[Interval]:
        """Return the intervals of a phase."""
        found: list[Interval] = getattr(self, name)
        return found


def spans_of(done: Run) -> Spans:
    """Return when each phase was; phases of several VMs are united."""
    jobs = [(r.started, r.ended) for r in done.reports]
    outcomes = [o for r in done.reports for o in r.vms]
    reading = union(p for o in outcomes for p in _named(o, "reading"))
    merging = union(_merges(done))
    opening = union(_opening(done, o) for o in outcomes if _named(o, "snapshot"))
    snapshot = minus(opening, union([*reading, *merging]))
    busy = union([*reading, *merging, *snapshot])
    cleaning = minus(union(_cleaning(r) for r in done.reports), busy)
    return Spans(
        before=[(done.began, jobs[0][0])],
        snapshot=snapshot,
        preparing=minus(union(jobs), union([*busy, *cleaning])),
        reading=reading,
        consolidating=merging,
        cleaning=cleaning,
        after=[(jobs[-1][1], done.ended)],
        job=jobs,
    )


def _named(outcome: VmOutcome, name: str) -> list[Interval]:
    return [(p.start, p.end) for p in outcome.phases if p.name == name]


def _opening(done: Run, outcome: VmOutcome) -> Interval:
    """Return from when a VM snapshot is asked for until it is read, or its removal merges."""
    start, end = _named(outcome, "snapshot")[0]
    ends = [end for _, end in _named(outcome, "removing")[:1]]
    nexts = [a for a, _ in (*_merges(done, outcome.vm), *_named(outcome, "reading")) if a > start]
    return start, min([max([end, *ends]), *nexts])


def _cleaning(report: JobReport) -> Interval:
    """Return from the end of all reading, or of a job that read nothing, to the job's end."""
    ends = [end for o in report.vms for _, end in _named(o, "reading") or _named(o, "removing")]
    return max(ends, default=report.ended), report.ended


def _merges(done: Run, vm: str = "") -> list[Interval]:
    """Return when delta disks were being merged, of one VM or of all, as the hypervisor says."""
    return [
        (e.time - e.facts["seconds"], e.time)
        for e in done.world.journal.of("consolidation")
        if e.time >= done.began and vm in {"", e.subject}
    ]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return intervals that overlap or touch as one, in order; empty ones vanish."""
    made: list[Interval] = []
    for start, end in sorted(i for i in intervals if i[1] > i[0]):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def minus(intervals: list[Interval], taken: list[Interval]) -> list[Interval]:
    """Return the part of *intervals* that no interval of *taken* covers; both are unions."""
    made = []
    for start, end in intervals:
        at = start
        for a, b in taken:
            if b <= at or a >= end:
                continue
            if a > at:
                made.append((at, a))
            at = max(at, b)
        if at < end:
            made.append((at, end))
    return made


def phases(spans: Spans, began: float) -> tuple[Phase, ...]:
    """Return the phases as a report has them: by their start, in seconds since *began*."""
    names = ("before", "snapshot", "preparing", "reading", "consolidating", "cleaning", "after")
    rows = [(a - began, b - began, name) for name in names for a, b in spans.of(name)]
    return tuple(Phase(name=n, start=a, end=b) for a, b, n in sorted(rows))  # type: ignore[arg-type]  # names are those of PhaseName
