"""From a run to its figures: what every line of a comparison says."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stuntdouble.iops import Purpose
from stuntdouble.results import (
    Backup,
    ByPhase,
    Consolidation,
    DatastoreResult,
    Event,
    Foreground,
    Latency,
    Leftover,
    Load,
    MethodResult,
    Phase,
    PointResult,
    RunResult,
    Series,
    Stalls,
    Stuns,
    VmResult,
    WholeJob,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from stuntdouble.backup import JobReport
    from stuntdouble.iops import Latencies, Meter
    from stuntdouble.scenarios.lived import Run

Interval = tuple[float, float]

_BINS_MAX = 400  # what a plot of a screen's width can show
_NICE_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_STALLS = (5.0, 30.0, 60.0)
_CAUSED_BY_BACKUP = tuple(int(p) for p in Purpose if p is not Purpose.GUEST)


@dataclass(frozen=True)
class Spans:
    """The phases of a run, as intervals of site time."""

    before: list[Interval]
    snapshot: list[Interval]
    reading: list[Interval]
    consolidating: list[Interval]
    cleaning: list[Interval]
    after: list[Interval]
    job: list[Interval]

    def of(self, name: str) -> list[Interval]:
        """Return the intervals of a phase."""
        found: list[Interval] = getattr(self, name)
        return found


def method_result(done: Run, alone: Meter) -> MethodResult:
    """Return the figures of one method's run; *alone* is the same site without a backup."""
    spans = _spans(done)
    names = [vm.name for vm in done.world.scenario.vms]
    stuns = _stun_seconds(done)
    return MethodResult(
        snapshot_open_seconds=max(
            (o.snapshot_open_seconds for r in done.reports for o in r.vms), default=0.0
        ),
        delta_peak_bytes=int(max((v for _, v in _delta_line(done, names)), default=0)),
        stuns=_stuns([s for vm in names for s in stuns[vm]]),
        stalls=_stalls_of(done, names),
        consolidation=_consolidation(done),
        foreground=_foreground(done, alone, spans, names),
        array_utilisation=_utilisation(done, spans, share_of_backup=False),
        array_utilisation_backup_share=_utilisation(done, spans, share_of_backup=True),
        array_snapshot_peak_bytes=_peak(done, "snapshot_bytes"),
        backup=_backup(done),
        runs=tuple(_run(done, i) for i in range(len(done.reports))),
        vms=tuple(_vm(done, alone, spans, vm, stuns[vm]) for vm in names),
        datastores=_datastores(done),
        phases=_phases(spans),
        events=_events(done),
        series=_series(done, names),
        restore_points=tuple(_point(done, i) for i in range(len(done.points))),
        leftovers=tuple(Leftover(kind=kind, name=name) for kind, name in done.leftovers),
    )


# Phases. ---------------------------------------------------------------------------------------


def _spans(done: Run) -> Spans:
    jobs = [(r.started, r.ended) for r in done.reports]
    phases: dict[str, list[Interval]] = {"snapshot": [], "reading": [], "removing": []}
    for report in done.reports:
        for outcome in report.vms:
            for phase in outcome.phases:
                phases[phase.name].append((phase.start, phase.end))
    reading, merging = _union(phases["reading"]), _union(_merges(done))
    snapshot = _minus(_union(phases["snapshot"]), reading)
    cleaning = _minus(_union(jobs), _union([*reading, *merging, *snapshot]))
    return Spans(
        before=[(done.began, jobs[0][0])],
        snapshot=snapshot,
        reading=reading,
        consolidating=merging,
        cleaning=cleaning,
        after=[(jobs[-1][1], done.ended)],
        job=jobs,
    )


def _merges(done: Run) -> list[Interval]:
    """Return when delta disks were being merged, from the hypervisor's own notes."""
    return [
        (e.time - e.facts["seconds"], e.time)
        for e in done.world.journal.of("consolidation")
        if e.time >= done.began
    ]


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    made: list[Interval] = []
    for start, end in sorted(i for i in intervals if i[1] > i[0]):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def _minus(intervals: list[Interval], taken: list[Interval]) -> list[Interval]:
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


def _phases(spans: Spans) -> tuple[Phase, ...]:
    names = ("before", "snapshot", "reading", "consolidating", "cleaning", "after")
    rows = [(start, end, name) for name in names for start, end in spans.of(name)]
    return tuple(Phase(name=n, start=a, end=b) for a, b, n in sorted(rows))  # type: ignore[arg-type]  # names are those of PhaseName


# Latency and load. -----------------------------------------------------------------------------


def _within(lat: Latencies, intervals: Sequence[Interval]) -> NDArray[np.float64]:
    """Return the latencies of the I/Os that arrived in any of *intervals*, in seconds."""
    parts = [lat.during(a, b).seconds for a, b in intervals]
    return np.concatenate(parts) if parts else np.empty(0)


def _latency(seconds: NDArray[np.float64]) -> Latency:
    if not len(seconds):
        return Latency()
    p50, p95, p99 = np.percentile(seconds, (50, 95, 99), method="inverted_cdf") * 1000
    return Latency(p50=float(p50), p95=float(p95), p99=float(p99), max=float(seconds.max() * 1000))


def _load(lat: Latencies, intervals: Sequence[Interval]) -> Load:
    length = sum(b - a for a, b in intervals)
    if length <= 0:
        return Load()
    inside = _within(lat, intervals)
    return Load(seconds=length, iops=len(inside) / length, latency_ms=_latency(inside))


def _foreground(done: Run, alone: Meter, spans: Spans, names: Sequence[str]) -> Foreground:
    lat = done.world.engine.meter.latencies(*names)
    whole = _within(lat, spans.job)
    length = sum(b - a for a, b in spans.job)
    return Foreground(
        before=_load(lat, spans.before),
        reading=_load(lat, spans.reading),
        consolidating=_load(lat, spans.consolidating),
        after=_load(lat, spans.after),
        whole=WholeJob(
            excess_latency_seconds=sum(_excess(done, alone, name) for name in names),
            iops=len(whole) / length if length else 0.0,
            latency_ms=_latency(whole),
        ),
    )


def _excess(done: Run, alone: Meter, name: str) -> float:
    """Return the latency that a VM's I/O had beyond that of the same I/O without a backup.

    The n-th I/O of an open load is the same request in both runs, so they are compared one by one,
    from the first to the last that both runs had.  In a closed loop a slow I/O holds up the next
    ones: there, means are compared.
    """
    mine, usual = done.world.engine.meter.latencies(name).seconds, alone.latencies(name).seconds
    if not len(mine) or not len(usual):
        return 0.0
    if any(vm.name == name and vm.load.kind == "closed" for vm in done.world.scenario.vms):
        return float(len(mine) * (mine.mean() - usual.mean()))
    count = min(len(mine), len(usual))
    return float((mine[:count] - usual[:count]).sum())


# Stuns and stalls. -----------------------------------------------------------------------------


def _stun_seconds(done: Run) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {vm.name: [] for vm in done.world.scenario.vms}
    for event in done.world.journal.of("stun"):
        if event.subject in found and event.time >= done.began:
            found[event.subject].append(float(event.facts["seconds"]))
    return found


def _stuns(seconds: list[float]) -> Stuns:
    return Stuns(
        count=len(seconds), total_seconds=sum(seconds), longest_seconds=max(seconds, default=0.0)
    )


def _stalls_of(done: Run, names: Sequence[str]) -> Stalls:
    """Count the silences of each VM: stuns, pauses, and I/Os that took so long themselves."""
    counts = dict.fromkeys(_STALLS, 0)
    for vm in names:
        silent = [
            (e.time - float(e.facts["seconds"]), e.time)
            for e in done.world.journal.of("stun")
            if e.subject == vm and e.time >= done.began
        ]
        silent += _pauses(done, vm)
        lat = done.world.engine.meter.latencies(vm)
        long = lat.seconds > _STALLS[0]
        silent += zip(
            lat.arrived[long].tolist(), (lat.arrived + lat.seconds)[long].tolist(), strict=True
        )
        for start, end in _union(silent):
            for bound in _STALLS:
                counts[bound] += end - start > bound
    return Stalls(
        over_5_seconds=counts[5.0], over_30_seconds=counts[30.0], over_60_seconds=counts[60.0]
    )


def _pauses(done: Run, vm: str) -> list[Interval]:
    """Return when a VM stood still for want of space."""
    found, since = [], None
    for event in done.world.journal:
        if event.subject != vm or event.time < done.began:
            continue
        if event.kind == "paused":
            since = event.time
        elif event.kind == "resumed" and since is not None:
            found.append((since, event.time))
            since = None
    return found if since is None else [*found, (since, done.ended)]


def _consolidation(done: Run) -> Consolidation:
    ends = [e for e in done.world.journal.of("consolidation") if e.time >= done.began]
    return Consolidation(
        rounds=sum(int(e.facts["rounds"]) for e in ends),
        seconds=sum(float(e.facts["seconds"]) for e in ends),
        converged=all(e.facts["converged"] and e.facts["done"] for e in ends) if ends else None,
    )


# The array. ------------------------------------------------------------------------------------


def _busy(done: Run, intervals: Sequence[Interval], purposes: tuple[int, ...] = ()) -> float:
    """Return the busy seconds of the array's disks within *intervals*, summed over them."""
    meter, stations = done.world.engine.meter, done.world.stations
    return sum(float(meter.busy(stations, np.array([a, b]), purposes)[0]) for a, b in intervals)


def _utilisation(done: Run, spans: Spans, *, share_of_backup: bool) -> ByPhase:
    found: dict[str, float | None] = {}
    for name in ("before", "reading", "consolidating", "after"):
        intervals = spans.of(name)
        length = sum(b - a for a, b in intervals) * len(done.world.stations)
        busy = _busy(done, intervals)
        if length <= 0:
            found[name] = None
        elif share_of_backup:
            found[name] = _busy(done, intervals, _CAUSED_BY_BACKUP) / busy if busy else 0.0
        else:
            found[name] = min(busy / length, 1.0)
    return ByPhase(**found)


# Space. ----------------------------------------------------------------------------------------


def _delta_line(done: Run, names: Iterable[str]) -> list[tuple[float, float]]:
    """Return how large all delta disks together are, from each instant on."""
    changes = sorted(
        (time, vm, value)
        for vm in names
        for time, value in done.world.engine.meter.gauges.get(("delta_bytes", vm), [])
    )
    now: dict[str, float] = {}
    line = []
    for time, vm, value in changes:
        now[vm] = value
        line.append((time, sum(now.values())))
    return line


def _peak(done: Run, gauge: str) -> int:
    values = [
        value
        for (name, _), line in done.world.engine.meter.gauges.items()
        if name == gauge
        for time, value in line
        if time >= done.began
    ]
    return int(max(values, default=0))


def _datastores(done: Run) -> tuple[DatastoreResult, ...]:
    made = []
    for name, store in sorted(done.world.hypervisor.datastores.items()):
        if name not in {d.name for d in done.world.scenario.datastores}:
            continue
        line = done.world.engine.meter.gauges.get(("datastore_free_bytes", name), [])
        least = min([store.free_bytes, *(int(v) for t, v in line if t >= done.began)])
        made.append(
            DatastoreResult(
                name=name, capacity_bytes=store.capacity_bytes, free_bytes_min=int(least)
            )
        )
    return tuple(made)


# Runs, VMs, restore points. ----------------------------------------------------------------------


def _stored(report: JobReport) -> int:
    return sum(o.point.bytes_stored for o in report.vms if o.point is not None)


def _run(done: Run, index: int) -> RunResult:
    report = done.reports[index]
    kinds = {o.kind for o in report.vms if o.kind is not None} or {report.kind}
    window = done.world.scenario.backup.window
    errors = [f"{o.vm}: {o.error}" for o in report.vms if o.error]
    return RunResult(
        kind="incremental" if kinds == {"incremental"} else "full",
        start=report.started,
        end=report.ended,
        bytes_read=report.bytes_read,
        bytes_stored=_stored(report),
        window_met=report.ended - report.started <= window if window else None,
        rpo_seconds_achieved=_rpo(done, index),
        outcome="; ".join(errors).splitlines()[0] if errors else "ok",
    )


def _rpo(done: Run, index: int) -> float | None:
    """Return the most that was at risk: from the point before until this one was committed."""
    previous = [o.point.moment for o in done.reports[index - 1].vms if o.point] if index else []
    return done.reports[index].ended - min(previous) if previous else None


def _backup(done: Run) -> Backup:
    kinds = {_run(done, i).kind for i in range(len(done.reports))}
    return Backup(
        seconds=sum(r.ended - r.started for r in done.reports),
        bytes_read=sum(r.bytes_read for r in done.reports),
        bytes_stored=sum(_stored(r) for r in done.reports),
        kind=kinds.pop() if len(kinds) == 1 else "mixed",
    )


def _vm(done: Run, alone: Meter, spans: Spans, name: str, stuns: list[float]) -> VmResult:
    open_seconds = [o.snapshot_open_seconds for r in done.reports for o in r.vms if o.vm == name]
    return VmResult(
        name=name,
        stuns=_stuns(stuns),
        snapshot_open_seconds=sum(open_seconds),
        delta_peak_bytes=int(max((v for _, v in _delta_line(done, [name])), default=0)),
        foreground=_foreground(done, alone, spans, [name]),
        stalls=_stalls_of(done, [name]),
    )


def _point(done: Run, index: int) -> PointResult:
    point = done.points[index]
    committed = [
        e.time for e in done.world.journal.of("restore-point") if e.facts["id"] == point.id
    ]
    restored = all(ok for id_, _, ok in done.restores if id_ == point.id)
    kept = done.world.site.content == "bytes"
    return PointResult(
        id=point.id,
        vm=point.vm,
        method=done.method.value,
        kind=point.kind.value,
        moment=point.moment,
        consistency=point.consistency.value,
        verified=(not done.differences[point.id] and restored) if kept else None,
        bytes_read=point.bytes_read,
        bytes_stored=point.bytes_stored,
        seconds=committed[0] - point.moment,
        skipped=point.skipped,
    )


# The time line. --------------------------------------------------------------------------------


def _events(done: Run) -> tuple[Event, ...]:
    return tuple(
        Event(time=e.time, kind=e.kind, subject=e.subject, text=_text(e.facts))
        for e in done.world.journal
        if e.time >= done.began
    )


def _text(facts: dict[str, object]) -> str:
    if "text" in facts:
        return str(facts["text"])
    shown = (
        f"{key.replace('_', ' ')} {value:.6g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in facts.items()
    )
    return ", ".join(shown)


def _series(done: Run, names: Sequence[str]) -> Series:
    length = done.ended - done.began
    width = next((w for w in _NICE_SECONDS if length / w <= _BINS_MAX), length / _BINS_MAX)
    edges = done.began + np.arange(int(np.ceil(length / width)) + 1) * width
    lat = done.world.engine.meter.latencies(*names)
    rows = np.searchsorted(lat.arrived, edges)
    cells = [_latency(lat.seconds[a:b]) for a, b in pairwise(rows)]
    stations = done.world.stations
    room = width * len(stations)
    meter = done.world.engine.meter
    busy = np.clip(meter.busy(stations, edges) / room, 0.0, 1.0)
    caused = np.clip(meter.busy(stations, edges, _CAUSED_BY_BACKUP) / room, 0.0, busy)
    line = _delta_line(done, names)
    times = np.array([t for t, _ in line])
    values = [0, *(int(v) for _, v in line)]
    delta = [values[i] for i in np.searchsorted(times, edges[1:], side="right")]
    return Series(
        bin_seconds=width,
        time=tuple((edges[:-1] - done.began).tolist()),
        iops=tuple((np.diff(rows) / width).tolist()),
        latency_ms_p50=tuple(c.p50 for c in cells),
        latency_ms_p95=tuple(c.p95 for c in cells),
        latency_ms_max=tuple(c.max for c in cells),
        delta_bytes=tuple(delta),
        utilisation=tuple(busy.tolist()),
        utilisation_backup=tuple(caused.tolist()),
    )
