"""From a run to its figures: what every line of a comparison says."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

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
    PointResult,
    RunResult,
    Series,
    Stalls,
    Stuns,
    VmResult,
    WholeJob,
)
from stuntdouble.scenarios.spans import phases, spans_of, union
from stuntdouble.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from stuntdouble.backup import JobReport
    from stuntdouble.iops import Felt, Meter
    from stuntdouble.scenarios.lived import Run
    from stuntdouble.scenarios.spans import Interval, Spans

_BINS_MAX: Final = 400  # what a plot of a screen's width can show
_NICE_SECONDS: Final = (
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
)
_STALLS: Final = (5.0, 30.0, 60.0)
_NOT_THE_GUESTS: Final = tuple(int(p) for p in Purpose if p is not Purpose.GUEST)
_TWINS_APART_SECONDS: Final = 1e-6  # I/Os further apart are two; clocks are off by less
_ROUNDING_SECONDS: Final = 1e-6  # what differences of sums over hours may be off by


def method_result(done: Run, alone: Meter) -> MethodResult:
    """Return the figures of one method's run; *alone* is the same site without a backup."""
    spans = spans_of(done)
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
        array_utilisation=_utilisation(done, spans),
        array_utilisation_backup_share=_backup_share(done, alone, spans),
        array_snapshot_peak_bytes=_snapshot_peak(done),
        backup=_backup(done),
        runs=tuple(_run(done, i) for i in range(len(done.reports))),
        vms=tuple(_vm(done, alone, spans, vm, stuns[vm]) for vm in names),
        datastores=_datastores(done),
        phases=phases(spans, done.began),
        events=_events(done),
        series=_series(done, alone, names),
        restore_points=tuple(_point(done, i) for i in range(len(done.points))),
        leftovers=tuple(Leftover(kind=kind, name=name) for kind, name in done.leftovers),
        not_restored=tuple(done.not_restored),
        began=done.began,
    )


# Latency and load. -----------------------------------------------------------------------------


def _latency(felt: Felt) -> Latency:
    if not felt.ios:
        return Latency()
    p50, p95, p99 = (felt.percentile(percent) * 1000 for percent in (50, 95, 99))
    return Latency(p50=p50, p95=p95, p99=p99, max=felt.longest * 1000)


def _load(done: Run, phase: str, intervals: Sequence[Interval], names: Sequence[str]) -> Load:
    length = sum(b - a for a, b in intervals)
    if length <= 0:
        return Load()
    felt = done.world.engine.meter.felt(phase, *names)
    return Load(seconds=length, iops=felt.ios / length, latency_ms=_latency(felt))


def _foreground(done: Run, alone: Meter, spans: Spans, names: Sequence[str]) -> Foreground:
    whole = _load(done, "job", spans.job, names)
    return Foreground(
        before=_load(done, "before", spans.before, names),
        reading=_load(done, "reading", spans.reading, names),
        consolidating=_load(done, "consolidating", spans.consolidating, names),
        after=_load(done, "after", spans.after, names),
        whole=WholeJob(
            excess_latency_seconds=sum(_excess(done, alone, name) for name in names),
            iops=whole.iops,
            latency_ms=whole.latency_ms,
        ),
    )


# Excess latency. -------------------------------------------------------------------------------


def twins_end(done: Run, name: str) -> list[float]:
    """Return until when the twins of a VM's I/Os arrive on the site that is left alone.

    The n-th I/O arrives at the same time of the guest's own clock, which stuns hold up here and not
    there.  So they end where that clock stood at the end of the run, or after the last I/O that
    completed, where some were dropped.  In a closed loop there are no twins: the run itself.
    """
    if _is_closed(done, name):
        return [done.began, done.ended]
    last = done.world.engine.meter.last_arrival(name)
    return [done.ended - done.late[name], last - done.late[name] + _TWINS_APART_SECONDS]


def _excess(done: Run, alone: Meter, name: str) -> float:
    """Return the latency that a VM's I/O had beyond that of the same I/O without a backup.

    The n-th I/O of an open load is the same request in both runs, so the sums are compared, from
    the first to the last that both runs had; one that has no twin is compared with the mean.  In a
    closed loop a slow I/O holds up the next ones: there, means are compared.
    """
    mine = done.world.engine.meter.felt("", name)
    usual = [alone.until(name, moment) for moment in twins_end(done, name)]
    if _is_closed(done, name):
        ios, seconds = (end - start for start, end in zip(*usual, strict=True))
        return mine.seconds - mine.ios * seconds / ios if ios else 0.0
    ios, seconds = min(usual, key=lambda found: abs(found[0] - mine.ios))
    return mine.seconds - seconds - (mine.ios - ios) * seconds / ios if ios else 0.0


def _is_closed(done: Run, name: str) -> bool:
    return any(vm.name == name and vm.load.kind == "closed" for vm in done.world.scenario.vms)


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
        silent += done.world.engine.meter.silences(vm)
        for start, end in union(silent):
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


_LOADS: Final = ("before", "reading", "consolidating", "after")


def _utilisation(done: Run, spans: Spans) -> ByPhase:
    """Return the busy share of the array's disks in each phase."""
    found: dict[str, float | None] = {}
    for name in _LOADS:
        seconds = sum(b - a for a, b in spans.of(name)) * len(done.world.stations)
        busy = sum(_busy(done, np.array(edges))[0] for edges in spans.of(name))
        found[name] = min(busy / seconds, 1.0) if seconds > 0 else None
    return ByPhase(**found)


def _backup_share(done: Run, alone: Meter, spans: Spans) -> ByPhase:
    """Return which share of the busy time there would not have been without the backup."""
    found: dict[str, float | None] = {}
    for name in _LOADS:
        cells = [np.array(edges) for edges in spans.of(name)]
        busy = sum(_busy(done, edges)[0] for edges in cells)
        caused = sum(_caused(done, alone, edges)[0] for edges in cells)
        found[name] = (min(caused / busy, 1.0) if busy else 0.0) if cells else None
    return ByPhase(**found)


def _busy(done: Run, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the busy seconds of the array's disks between edges, summed over them."""
    return done.world.engine.meter.busy(done.world.stations, edges)


def _caused(done: Run, alone: Meter, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the busy seconds that the backup caused.

    Guest I/O has side effects without any backup, too: deltas of snapshots that were there
    before, zeroing.  What there was of them on the site left alone is not the backup's.
    """
    stations = done.world.stations
    all_told = done.world.engine.meter.busy(stations, edges, _NOT_THE_GUESTS)
    caused = all_told - alone.busy(stations, edges, _NOT_THE_GUESTS)
    caused[caused < _ROUNDING_SECONDS] = 0.0
    return caused


# Space. ----------------------------------------------------------------------------------------


def _delta_line(done: Run, names: Iterable[str]) -> list[tuple[float, float]]:
    """Return how large all delta disks together are, from each instant on."""
    gauges = done.world.engine.meter.gauges
    changes = [(t, vm, v) for vm in names for t, v in gauges.get(("delta_bytes", vm), [])]
    changes.sort(key=lambda change: change[0])  # of one instant, the last is what holds
    now: dict[str, float] = {}
    line = []
    for time, vm, value in changes:
        now[vm] = value
        line.append((time, sum(now.values())))
    return line


def _during(done: Run, line: Sequence[tuple[float, float]]) -> list[float]:
    """Return the values of a gauge from the run's beginning to its end."""
    held = [value for time, value in line if time <= done.began]
    return [*held[-1:], *(value for time, value in line if done.began < time <= done.ended)]


def _snapshot_peak(done: Run) -> int:
    """Return the largest space that array snapshots took, of all pools together."""
    peaks = [
        max(_during(done, line), default=0.0)
        for (name, _), line in done.world.engine.meter.gauges.items()
        if name == "snapshot_bytes"
    ]
    return int(sum(peaks))


def _datastores(done: Run) -> tuple[DatastoreResult, ...]:
    gauges = done.world.engine.meter.gauges
    made = []
    for d in sorted(done.world.scenario.datastores, key=lambda d: d.name):
        store = done.world.hypervisor.datastores[d.name]
        values = _during(done, gauges.get(("datastore_free_bytes", d.name), []))
        least = int(min(values, default=store.free_bytes))
        made.append(
            DatastoreResult(name=d.name, capacity_bytes=store.capacity_bytes, free_bytes_min=least)
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
    errors += [f"left behind: {line}" for line in report.left_behind]
    return RunResult(
        kind="incremental" if kinds == {"incremental"} else "full",
        start=report.started - done.began,
        end=report.ended - done.began,
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
        snapshot_open_seconds=max(open_seconds, default=0.0),
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
        Event(time=e.time - done.began, kind=e.kind, subject=e.subject, text=_text(e.facts))
        for e in islice(done.world.journal, done.noted_before, None)
        if e.time >= done.began
    )


def _text(facts: dict[str, object]) -> str:
    """Return what an event says, in words; a line of the hypervisor's own log stands for itself."""
    own = facts.get("text", facts.get("line"))
    return str(own) if own else ", ".join(_fact(*fact) for fact in facts.items())


def _fact(key: str, value: object) -> str:
    name = key.replace("_", " ").removesuffix("seconds").removesuffix("bytes")
    if isinstance(value, float):
        words = format_duration(value)
    elif isinstance(value, int) and "bytes" in key:
        words = format_size(value)
    else:
        words = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return f"{name} {words}".strip().replace("  ", " ")


def _bins(done: Run) -> tuple[float, NDArray[np.float64]]:
    """Return the width of the bins of a run's time line, and their edges."""
    length = done.ended - done.began
    width = next((w for w in _NICE_SECONDS if length / w <= _BINS_MAX), length / _BINS_MAX)
    bins = max(int(length / width), 1)  # whole ones: the rest of the last would look like a drop
    return width, done.began + np.arange(bins + 1, dtype=np.float64) * width


def edges_asked_for(done: Run) -> list[float]:
    """Return the instants between which a run is compared with the site that is left alone."""
    spans = spans_of(done)
    phases = [edge for name in _LOADS for interval in spans.of(name) for edge in interval]
    return [*phases, *_bins(done)[1].tolist()]


def _series(done: Run, alone: Meter, names: Sequence[str]) -> Series:
    width, edges = _bins(done)
    felt = done.world.engine.meter.line(edges)
    cells = [_latency(each) for each in felt]
    room = width * len(done.world.stations)
    busy = np.clip(_busy(done, edges) / room, 0.0, 1.0)
    caused = np.clip(_caused(done, alone, edges) / room, 0.0, busy)
    line = _delta_line(done, names)
    times = np.array([t for t, _ in line])
    values = [0, *(int(v) for _, v in line)]
    delta = [values[i] for i in np.searchsorted(times, edges[1:], side="right")]
    return Series(
        bin_seconds=width,
        time=tuple((edges[:-1] - done.began).tolist()),
        iops=tuple(each.ios / width for each in felt),
        latency_ms_p50=tuple(c.p50 for c in cells),
        latency_ms_p95=tuple(c.p95 for c in cells),
        latency_ms_max=tuple(c.max for c in cells),
        delta_bytes=tuple(delta),
        utilisation=tuple(busy.tolist()),
        utilisation_backup=tuple(caused.tolist()),
    )
