"""From a method's runs over sockets to its figures.

The backup server's clock is the wall's, the site's its own.  Both are read at either end of a run,
and between them site time is taken to have passed evenly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stuntdouble.results import (
    Backup,
    Consolidation,
    PointResult,
    RemoteMethod,
    RunResult,
    Stuns,
)
from stuntdouble.scenarios.spans import union

if TYPE_CHECKING:
    from stuntdouble.adapters.native import Line
    from stuntdouble.backup import JobReport, Method
    from stuntdouble.ports import RestorePoint
    from stuntdouble.results import Leftover
    from stuntdouble.scenarios.spec import Scenario


@dataclass(frozen=True, slots=True)
class RunSpan:
    """When a run began and ended, by the wall's clock and by the site's."""

    wall_start: float
    wall_end: float
    site_start: float
    site_end: float

    @property
    def pace(self) -> float:
        """Site seconds in a wall second, over the whole run."""
        wall = self.wall_end - self.wall_start
        return (self.site_end - self.site_start) / wall if wall else 0.0

    def site(self, wall: float) -> float:
        """Return the site time of an instant of the wall's clock."""
        return self.site_start + (wall - self.wall_start) * self.pace


@dataclass
class Lived:
    """A method's runs, and what came of them; ``points`` with the site time of their commit."""

    method: Method
    began: float
    runs: list[tuple[JobReport, RunSpan]] = field(default_factory=list)
    points: list[tuple[RestorePoint, float]] = field(default_factory=list)
    verified: dict[str, bool] = field(default_factory=dict)


def remote_method(
    scenario: Scenario, lived: Lived, lines: list[Line], leftovers: tuple[Leftover, ...]
) -> RemoteMethod:
    """Return the figures of a method; *lines* are the journal's, of stuns and consolidations."""
    ours = {vm.name for vm in scenario.vms}
    stuns = [float(e.facts["seconds"]) for e in lines if e.kind == "stun" and e.subject in ours]
    merges = [line.facts for line in lines if line.kind == "consolidation"]
    return RemoteMethod(
        snapshot_open_seconds=max(
            (o.snapshot_open_seconds * span.pace for r, span in lived.runs for o in r.vms),
            default=0.0,
        ),
        stuns=Stuns(
            count=len(stuns), total_seconds=sum(stuns), longest_seconds=max(stuns, default=0.0)
        ),
        consolidation=_consolidation(merges),
        backup=_backup(lived),
        wall_seconds=sum(span.wall_end - span.wall_start for _, span in lived.runs),
        reading_wall_seconds=sum(_reading(report) for report, _ in lived.runs),
        runs=tuple(_run(scenario, lived, number) for number in range(len(lived.runs))),
        restore_points=tuple(_point(lived, *each) for each in lived.points),
        leftovers=leftovers,
        began=lived.began,
    )


def _consolidation(merges: list[Any]) -> Consolidation:
    return Consolidation(
        rounds=sum(int(facts["rounds"]) for facts in merges),
        seconds=sum(float(facts["seconds"]) for facts in merges),
        converged=all(f["converged"] and f["done"] for f in merges) if merges else None,
    )


def _reading(report: JobReport) -> float:
    """Return the wall seconds in which any VM was being read."""
    phases = [p for outcome in report.vms for p in outcome.phases if p.name == "reading"]
    return sum(end - start for start, end in union([(p.start, p.end) for p in phases]))


def _stored(report: JobReport) -> int:
    return sum(o.point.bytes_stored for o in report.vms if o.point is not None)


def _backup(lived: Lived) -> Backup:
    kinds = {_kind(report) for report, _ in lived.runs}
    return Backup(
        seconds=sum(span.site_end - span.site_start for _, span in lived.runs),
        bytes_read=sum(report.bytes_read for report, _ in lived.runs),
        bytes_stored=sum(_stored(report) for report, _ in lived.runs),
        kind=kinds.pop() if len(kinds) == 1 else "mixed",
    )


def _kind(report: JobReport) -> Any:
    """Return what a run was: an incremental only where every VM's was."""
    kinds = {o.kind for o in report.vms if o.kind is not None} or {report.kind}
    return "incremental" if kinds == {"incremental"} else "full"


def _run(scenario: Scenario, lived: Lived, number: int) -> RunResult:
    report, span = lived.runs[number]
    window = scenario.backup.window
    errors = [f"{o.vm}: {o.error}" for o in report.vms if o.error]
    errors += [f"left behind: {line}" for line in report.left_behind]
    before = lived.runs[number - 1][0].vms if number else ()
    moments = [o.point.moment for o in before if o.point is not None]
    return RunResult(
        kind=_kind(report),
        start=span.site_start - lived.began,
        end=span.site_end - lived.began,
        bytes_read=report.bytes_read,
        bytes_stored=_stored(report),
        window_met=span.site_end - span.site_start <= window if window else None,
        rpo_seconds_achieved=span.site_end - min(moments) if moments else None,
        outcome="; ".join(errors).splitlines()[0] if errors else "ok",
    )


def _point(lived: Lived, point: RestorePoint, committed: float) -> PointResult:
    return PointResult(
        id=point.id,
        vm=point.vm,
        method=lived.method.value,
        kind=point.kind.value,
        moment=point.moment,
        consistency=point.consistency.value,
        verified=lived.verified[point.id],
        bytes_read=point.bytes_read,
        bytes_stored=point.bytes_stored,
        seconds=max(committed - point.moment, 0.0),
        skipped=point.skipped,
    )
