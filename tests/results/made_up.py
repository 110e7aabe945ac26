"""Made-up results: plausible ones for looking at, arbitrary ones from Hypothesis."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from stuntdouble.results import (
    Assumption,
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
    Result,
    RunResult,
    Series,
    Site,
    SiteDatastore,
    SitePool,
    SiteVm,
    Stalls,
    Stuns,
    VmResult,
    WholeJob,
)
from stuntdouble.results.figures import METHOD_NAMES
from stuntdouble.units import GIB, KIB, MIB, TIB

BIN_SECONDS = 5.0
END = 2700.0
VMS = ("db-01", "mail-02", "files-03")
PHASES = {
    "software": (
        ("before", 0, 300), ("snapshot", 300, 304), ("reading", 304, 1500),
        ("consolidating", 1500, 2050), ("cleaning", 2050, 2052), ("after", 2052, END),
    ),
    "storage": (
        ("before", 0, 300), ("snapshot", 300, 309), ("consolidating", 309, 322),
        ("reading", 330, 1490), ("cleaning", 1490, 1520), ("after", 1520, END),
    ),
    "mounted": (
        ("before", 0, 300), ("snapshot", 300, 309), ("consolidating", 309, 322),
        ("reading", 560, 2310), ("cleaning", 2310, 2400), ("after", 2400, END),
    ),
}  # fmt: skip
STUNS = {
    "software": ((302, 0.41), (302.4, 0.38), (303, 0.52), (1731, 1.6), (2049, 6.3)),
    "storage": ((302, 0.41), (302.4, 0.38), (303, 0.52), (319, 0.35), (321.5, 0.4)),
    "mounted": ((302, 0.41), (302.4, 0.38), (303, 0.52), (319, 0.35), (321.5, 0.4)),
}
SLOWDOWN = {"before": 1.0, "snapshot": 1.6, "reading": 1.5, "consolidating": 9.0, "cleaning": 1.2}
DELTA_RATE = 6 * MIB


def _phase_at(method, time):
    for name, start, end in PHASES[method]:
        if start <= time < end:
            return name
    return "cleaning"


def _factor(method, time):
    name = _phase_at(method, time)
    extra = 1.9 if (method, name) == ("software", "reading") else 1.0
    return SLOWDOWN.get(name, 1.0) * extra * (1 + 0.15 * math.sin(time / 37))


def _delta(method, time):
    opened = [(s, e) for n, s, e in PHASES[method] if n in ("snapshot", "reading")]
    start = opened[0][0]
    stop = opened[1][1] if method == "software" else opened[0][1]
    merged = next(e for n, _, e in PHASES[method] if n == "consolidating")
    if not start <= time < merged:
        return 0
    grown = int(DELTA_RATE * (min(time, stop) - start))
    return grown if time < stop else int(grown * (merged - time) / (merged - stop))


def series(method):
    times = tuple(i * BIN_SECONDS for i in range(int(END / BIN_SECONDS)))
    factors = [_factor(method, t) for t in times]
    reading = [_phase_at(method, t) in ("reading", "consolidating") for t in times]
    return Series(
        bin_seconds=BIN_SECONDS,
        time=times,
        iops=tuple(1450 / (0.8 + 0.2 * f) for f in factors),
        latency_ms_p50=tuple(1.9 * f for f in factors),
        latency_ms_p95=tuple(6.4 * f * f**0.3 for f in factors),
        latency_ms_max=tuple(
            31 * f * (1 + 0.5 * math.sin(t)) for t, f in zip(times, factors, strict=True)
        ),
        delta_bytes=tuple(_delta(method, t) for t in times),
        utilisation=tuple(
            min(0.97, (0.74 if r else 0.41) + 0.01 * f)
            for r, f in zip(reading, factors, strict=True)
        ),
        utilisation_backup=tuple(0.36 if r else 0.0 for r in reading),
    )


def latency(factor):
    return Latency(p50=1.9 * factor, p95=6.4 * factor, p99=14.7 * factor, max=61 * factor)


def load(method, phase, scale=1.0):
    span = sum(e - s for n, s, e in PHASES[method] if n == phase)
    middle = next((s + e) / 2 for n, s, e in PHASES[method] if n == phase)
    factor = _factor(method, middle) * scale
    return Load(
        seconds=float(span), iops=1450 / (0.8 + 0.2 * factor) * scale, latency_ms=latency(factor)
    )


def foreground(method, scale=1.0):
    excess = {"software": 48_230.0, "storage": 6_120.5, "mounted": 9_480.25}[method]
    return Foreground(
        before=load(method, "before", scale),
        reading=load(method, "reading", scale),
        consolidating=load(method, "consolidating", scale),
        after=load(method, "after", scale),
        whole=WholeJob(
            excess_latency_seconds=excess * scale, iops=1310.0 * scale, latency_ms=latency(2.0)
        ),
    )


def vm_result(method, index, name):
    mine = STUNS[method][index % 3 :: 3]
    opened = 1748.2 if method == "software" else 9.1
    return VmResult(
        name=name,
        stuns=Stuns(
            count=len(mine),
            total_seconds=sum(s for _, s in mine),
            longest_seconds=max(s for _, s in mine),
        ),
        snapshot_open_seconds=opened,
        delta_peak_bytes=int(DELTA_RATE * opened / 3),
        foreground=foreground(method, 0.5 + 0.4 * index),
        stalls=Stalls(over_5_seconds=int(method == "software" and index == 1)),
    )


def events(method):
    marks = [
        Event(time=float(start), kind="phase", subject="job", text=f"{name} begins")
        for name, start, _ in PHASES[method]
    ]
    marks += [
        Event(
            time=float(t),
            kind="stun",
            subject=VMS[i % 3],
            text=f"Checkpoint_Unstun: vm stopped for {int(s * 1e6)} us",
        )
        for i, (t, s) in enumerate(STUNS[method])
    ]
    return tuple(sorted(marks, key=lambda event: event.time))


def method_result(method, /, **changes):
    """What a method would report; *changes* replace whole fields."""
    return _method_result(method).model_copy(update=changes)


def _method_result(method):
    stuns = STUNS[method]
    phases = {name: (start, end) for name, start, end in PHASES[method]}
    end = float(phases["cleaning"][1])
    read = {"software": 182, "storage": 182, "mounted": 300}[method] * GIB
    peak = max(_delta(method, t) for t in range(int(END)))
    return MethodResult(
        snapshot_open_seconds=1748.2 if method == "software" else 9.1,
        delta_peak_bytes=peak,
        stuns=Stuns(
            count=len(stuns),
            total_seconds=sum(s for _, s in stuns),
            longest_seconds=max(s for _, s in stuns),
        ),
        stalls=Stalls(over_5_seconds=1 if method == "software" else 0),
        consolidation=Consolidation(
            rounds=5 if method == "software" else 3,
            seconds=float(phases["consolidating"][1] - phases["consolidating"][0]),
            converged=True,
        ),
        foreground=foreground(method),
        array_utilisation=ByPhase(before=0.42, reading=0.76, consolidating=0.83, after=0.42),
        array_utilisation_backup_share=ByPhase(before=0.0, reading=0.47, consolidating=0.5, after=0.0),
        array_snapshot_peak_bytes=0 if method == "software" else int(14.2 * GIB),
        backup=Backup(seconds=end - 300, bytes_read=read, bytes_stored=read // 2, kind="full"),
        runs=(
            RunResult(
                kind="full", start=300.0, end=end, bytes_read=read, bytes_stored=read // 2,
                window_met=end < 2200, rpo_seconds_achieved=end - 302,
            ),
        ),
        restore_points=tuple(point(method, vm) for vm in VMS),
        leftovers=(),
        vms=tuple(vm_result(method, i, name) for i, name in enumerate(VMS)),
        datastores=(
            DatastoreResult(name="ds-gold", capacity_bytes=TIB, free_bytes_min=410 * GIB - peak),
            DatastoreResult(name="ds-silver", capacity_bytes=2 * TIB, free_bytes_min=1300 * GIB),
        ),
        phases=tuple(Phase(name=n, start=float(s), end=float(e)) for n, s, e in PHASES[method]),
        events=events(method),
        series=series(method),
    )  # fmt: skip


def point(method, vm, *, verified=True):
    read = 60 * GIB
    return PointResult(
        id=f"{method}-{vm}-0001", vm=vm, method=method, kind="full", moment=302.41,
        consistency="application", verified=verified, bytes_read=read, bytes_stored=read // 2,
        seconds=1190.0, skipped=("disk 2003: independent disk",) if vm == "files-03" else (),
    )  # fmt: skip


def site():
    return Site(
        vms=tuple(
            SiteVm(name=name, disks=2, capacity_bytes=100 * GIB, allocated_bytes=61 * GIB, load="open stream, 480 IOPS, 62 % reads, 16 KiB")
            for name in VMS
        ),
        datastores=(
            SiteDatastore(name="ds-gold", capacity_bytes=TIB, volumes=1),
            SiteDatastore(name="ds-silver", capacity_bytes=2 * TIB, volumes=2),
        ),
        pools=(SitePool(name="pool-a", media="16 disks, 10,000 rpm", raid="RAID 10, write penalty 2", capacity_bytes=8 * TIB),),
    )  # fmt: skip


def plausible(chosen=METHOD_NAMES, /, **changes):
    """A comparison as a scenario would report it."""
    facts = {
        "scenario": "quickstart",
        "title": "Three VMs on one array, backed up in full by each method",
        "seed": 7,
        "command": "stuntdouble compare quickstart --seed 7",
        "site": site(),
        "assumptions": (
            Assumption(name="snapshot-layer concurrency", value="8", source="one measurement on vSphere 5.5"),
            Assumption(name="consolidation algorithm", value="mirror", source="vSphere 6.0 and later"),
            Assumption(name="transport of the software method", value="hot-add", source="scenario"),
            Assumption(name="read throttle", value=f"depth 8, {1024 * KIB // KIB} KiB blocks", source="scenario"),
        ),
        "methods": {name: method_result(name) for name in chosen},
        "notes": ("The backup window of 30 minutes was missed by one method.",),
    }  # fmt: skip
    return Result(**(facts | changes))


names = st.text(min_size=1, max_size=12)
figures = st.floats(0, 1e12)
maybe_figures = st.none() | figures
shares = st.floats(0, 1)
counts = st.integers(0, 1 << 60)


@st.composite
def _series(draw):
    bins = draw(st.integers(0, 4))
    many = lambda one: st.lists(one, min_size=bins, max_size=bins).map(tuple)  # noqa: E731
    times = {"bin_seconds": draw(st.floats(0.1, 60)), "time": tuple(10.0 * i for i in range(bins))}
    columns = {
        "iops": figures, "latency_ms_p50": maybe_figures, "latency_ms_p95": maybe_figures,
        "latency_ms_max": maybe_figures, "delta_bytes": counts, "utilisation": shares,
        "utilisation_backup": shares,
    }  # fmt: skip
    return Series(**times, **{name: draw(many(one)) for name, one in columns.items()})


def arbitrary():
    """Any result that the model allows, small."""
    few = lambda one: st.lists(one, max_size=2).map(tuple)  # noqa: E731
    latencies = st.builds(
        Latency, *[], p50=maybe_figures, p95=maybe_figures, p99=maybe_figures, max=maybe_figures
    )
    loads = st.builds(Load, seconds=figures, iops=figures, latency_ms=latencies)
    whole = st.builds(
        WholeJob, excess_latency_seconds=st.floats(-1e12, 1e12), iops=figures, latency_ms=latencies
    )
    grounds = st.builds(
        Foreground, before=loads, reading=loads, consolidating=loads, after=loads, whole=whole
    )
    phases = st.builds(
        ByPhase,
        before=st.none() | shares,
        reading=st.none() | shares,
        consolidating=st.none() | shares,
        after=st.none() | shares,
    )
    stuns = st.builds(Stuns, count=counts, total_seconds=figures, longest_seconds=figures)
    stalls = st.builds(
        Stalls, over_5_seconds=counts, over_30_seconds=counts, over_60_seconds=counts
    )
    kinds = st.sampled_from(["full", "incremental"])
    points = st.builds(
        PointResult,
        id=names, vm=names, method=st.sampled_from(METHOD_NAMES), kind=kinds, moment=figures,
        consistency=st.sampled_from(["crash", "file system", "application"]),
        verified=st.none() | st.booleans(), bytes_read=counts, bytes_stored=counts, seconds=figures,
        skipped=few(names),
    )  # fmt: skip
    method = st.builds(
        MethodResult,
        snapshot_open_seconds=figures, delta_peak_bytes=counts, stuns=stuns, stalls=stalls,
        consolidation=st.builds(Consolidation, rounds=counts, seconds=figures, converged=st.none() | st.booleans()),
        foreground=grounds, array_utilisation=phases, array_utilisation_backup_share=phases,
        array_snapshot_peak_bytes=counts,
        backup=st.builds(Backup, seconds=figures, bytes_read=counts, bytes_stored=counts, kind=kinds),
        runs=few(st.builds(RunResult, kind=kinds, start=figures, end=figures, bytes_read=counts, bytes_stored=counts, window_met=st.none() | st.booleans(), rpo_seconds_achieved=maybe_figures, outcome=st.just("ok") | names)),
        restore_points=few(points), leftovers=few(st.builds(Leftover, kind=names, name=names)),
        vms=few(st.builds(VmResult, name=names, stuns=stuns, snapshot_open_seconds=figures, delta_peak_bytes=counts, foreground=grounds, stalls=stalls)),
        datastores=few(st.builds(DatastoreResult, name=names, capacity_bytes=counts, free_bytes_min=counts)),
        phases=few(st.builds(Phase, name=st.sampled_from(["before", "reading", "after"]), start=figures, end=figures)),
        events=few(st.builds(Event, time=figures, kind=names, subject=names, text=names)),
        series=_series(),
    )  # fmt: skip
    method_names = st.sampled_from(METHOD_NAMES)
    methods = st.dictionaries(method_names, method, min_size=1, max_size=2)
    return methods.flatmap(lambda found: _results(found, few))


def _results(methods, few):
    return st.builds(
        Result,
        scenario=names, title=names, seed=counts, command=names, site=st.just(site()),
        assumptions=few(st.builds(Assumption, name=names, value=names, source=names)),
        methods=st.just(methods), notes=few(names),
    )  # fmt: skip
