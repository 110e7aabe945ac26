"""From events to figures: every sum against one done by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace as Stub
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios.living import live
from scenarios.tiny import tiny
from stuntdouble.iops import Meter, Recorder
from stuntdouble.iops.measure import ALPHA
from stuntdouble.scenarios import collect, spans
from stuntdouble.trace import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator

# Intervals. --------------------------------------------------------------------------------------

instants = st.integers(0, 40).map(float)
intervals = st.lists(st.tuples(instants, instants), max_size=8)


def cells(some: list[tuple[float, float]]) -> set[int]:
    """Return the unit cells that intervals of whole ends cover."""
    return {cell for start, end in some for cell in range(int(start), int(end))}


@given(intervals)
def test_a_union_covers_what_its_parts_cover_once_and_in_order(some):
    united = spans.union(some)
    assert cells(united) == cells(some)
    assert all(start < end for start, end in united)
    assert all(a[1] < b[0] for a, b in pairwise(united))
    assert spans.union(united) == united


@given(intervals, intervals)
def test_a_difference_covers_what_is_left(some, taken):
    left = spans.minus(spans.union(some), spans.union(taken))
    assert cells(left) == cells(some) - cells(taken)
    assert all(start < end for start, end in left)
    assert left == spans.union(left)


# Excess latency. ---------------------------------------------------------------------------------

# An open load: arrivals by the guest's own clock, latencies with and without a backup, and a stun.
gaps = st.one_of(st.just(0.0), st.floats(1e-3, 20))
loads = st.lists(st.tuples(gaps, st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=12)
METERS = [Meter, Recorder]
meters = pytest.mark.parametrize("make", METERS)


def metered(some: list[tuple[float, float]], meter: Meter) -> Meter:
    """Let a meter hear of (arrived, latency), as they complete."""
    for arrived, seconds in sorted(some, key=sum):
        meter.io("vm", arrived, arrived + seconds)
    return meter


def ran(
    meter: Meter, kind: str = "poisson", journal: Journal | None = None, **more: object
) -> Stub:
    vm = Stub(name="vm", load=Stub(kind=kind))
    world = Stub(engine=Stub(meter=meter), scenario=Stub(vms=[vm]), journal=journal or Journal())
    return Stub(world=world, **({"began": 0.0, "ended": 300.0, "late": {"vm": 0.0}} | more))


def left_alone(some: list[tuple[float, float]], done: Stub, make: type[Meter]) -> Meter:
    return metered(some, make(before={"vm": collect.twins_end(done, "vm")}))


def stunned(load, at: int, seconds: float) -> tuple[list[tuple[float, float]], ...]:
    """Return (arrived, latency) with a backup, whose stun holds up I/Os from *at* on, and without."""
    clock = [sum(gap for gap, _, _ in load[: k + 1]) for k in range(len(load))]
    mine = [
        (arrived + (seconds if k >= at else 0.0), load[k][1]) for k, arrived in enumerate(clock)
    ]
    return mine, [(arrived, load[k][2]) for k, arrived in enumerate(clock)]


@meters
@given(loads, st.integers(0, 12), st.floats(0, 30))
def test_the_nth_io_is_compared_with_the_nth(make, load, at, stun):
    mine, usual = stunned(load, at, stun)
    late = stun if at < len(load) else 0.0
    # The site left alone runs on: its guest issues more.
    usual += [(usual[-1][0] + 0.5, 3.0), (usual[-1][0] + 1.0, 4.0)]
    done = ran(metered(mine, make()), late={"vm": late}, ended=mine[-1][0] + 0.25)
    excess = collect._excess(done, left_alone(usual, done, make), "vm")
    pairs = zip(mine, usual, strict=False)
    assert excess == pytest.approx(sum(a[1] - b[1] for a, b in pairs), abs=1e-7)


@meters
@given(loads, st.integers(1, 4))
def test_what_was_dropped_at_the_end_has_no_twin(make, load, dropped):
    """The last ones had arrived and were dropped: their twins do not count."""
    mine, usual = stunned([(gap + 1e-3, a, b) for gap, a, b in load], 0, 0.0)
    if dropped >= len(mine):
        return
    done = ran(metered(mine[:-dropped], make()), ended=mine[-1][0] + 0.25)
    excess = collect._excess(done, left_alone(usual, done, make), "vm")
    pairs = list(zip(mine, usual, strict=True))[:-dropped]
    assert excess == pytest.approx(sum(a[1] - b[1] for a, b in pairs), abs=1e-7)


@meters
def test_io_without_a_twin_is_compared_with_the_mean(make):
    done = ran(metered([(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)], make()), ended=4.0)
    excess = collect._excess(done, left_alone([(1.0, 1.0), (2.0, 3.0)], done, make), "vm")
    assert excess == pytest.approx((5 - 1) + (5 - 3) + (5 - 2))
    assert collect._excess(done, left_alone([], done, make), "vm") == 0.0


@meters
@given(loads)
def test_the_same_io_without_a_backup_has_no_excess(make, load):
    same = stunned(load, 0, 0.0)[0]
    done = ran(metered(same, make()))
    assert collect._excess(done, left_alone(same, done, make), "vm") == 0.0
    closed = ran(metered(same, make()), "closed")
    excess = collect._excess(closed, left_alone(same, closed, make), "vm")
    assert excess == pytest.approx(0.0, abs=1e-9)


@meters
@given(loads, st.floats(0, 3))
def test_a_closed_loop_is_compared_by_its_mean(make, load, more):
    mine, usual = stunned([(gap, b + more, b) for gap, _, b in load], 0, 0.0)
    done = ran(metered(mine, make()), "closed")
    excess = collect._excess(done, left_alone(usual, done, make), "vm")
    assert excess == pytest.approx(more * len(mine), abs=1e-7)


# Percentiles. ------------------------------------------------------------------------------------


@meters
@settings(max_examples=40)
@given(st.lists(st.floats(1e-6, 1e4), max_size=60))
def test_a_percentile_is_a_latency_that_so_many_did_not_exceed(make, seconds):
    found = collect._latency(metered([(0.0, s) for s in seconds], make()).felt())
    if not seconds:
        assert (found.p50, found.p95, found.p99, found.max) == (None,) * 4
        return
    ordered = sorted(seconds)
    bound = ALPHA * 1.00001 if make is Meter else 1e-8
    for percent, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        rank = max(math.ceil(len(ordered) * percent / 100), 1)
        assert value == pytest.approx(ordered[rank - 1] * 1000, rel=bound)
    assert found.max == pytest.approx(ordered[-1] * 1000, rel=1e-8)


# Stalls. -----------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 90)), max_size=6),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 90)), max_size=6),
)
def test_silences_of_stuns_and_slow_io_are_counted_once(stuns, slow):
    journal, meter = Journal(), Meter()
    for start, seconds in sorted(stuns, key=sum):
        journal.note(float(start + seconds), "stun", "vm", seconds=float(seconds))
    for arrived, seconds in sorted(slow, key=sum):
        meter.io("vm", float(arrived), float(arrived + seconds))
    found = collect._stalls_of(ran(meter, journal=journal), ["vm"])
    silent = cells([(float(a), float(a + s)) for a, s in stuns])
    silent |= cells([(float(a), float(a + s)) for a, s in slow if s > 5])
    lengths = []
    for cell in sorted(silent):
        if cell - 1 in silent:
            lengths[-1] += 1
        else:
            lengths.append(1)
    assert found.over_5_seconds == sum(length > 5 for length in lengths)
    assert found.over_30_seconds == sum(length > 30 for length in lengths)
    assert found.over_60_seconds == sum(length > 60 for length in lengths)


def test_a_pause_without_an_end_lasts_to_the_end_of_the_run():
    journal = Journal()
    for time, kind in ((10.0, "paused"), (17.0, "resumed"), (150.0, "paused")):
        journal.note(time, kind, "vm")
    done = ran(Meter(), journal=journal, ended=200.0)
    assert collect._pauses(done, "vm") == [(10.0, 17.0), (150.0, 200.0)]
    found = collect._stalls_of(done, ["vm"])
    assert (found.over_5_seconds, found.over_30_seconds, found.over_60_seconds) == (2, 1, 0)


# Space. ------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 9))))
def test_delta_disks_add_up_over_vms(changes):
    meter = Meter()
    for time, vm, value in sorted(changes, key=lambda change: change[0]):
        meter.gauge("delta_bytes", vm, float(time), float(value))
    line = dict(collect._delta_line(ran(meter), ["a", "b"]))
    for time, held in line.items():
        total = 0.0
        for vm in "ab":
            values = [v for t, v in meter.gauges.get(("delta_bytes", vm), []) if t <= time]
            total += values[-1] if values else 0.0
        assert held == total


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9))), st.integers(0, 30))
def test_a_gauge_holds_until_it_changes(changes, began):
    line = [(float(t), float(v)) for t, v in sorted(changes, key=lambda change: change[0])]
    done = ran(Meter(), began=float(began), ended=float(began + 5))
    seen = collect._during(done, line)
    before = [v for t, v in line if t <= began]
    assert seen == before[-1:] + [v for t, v in line if began < t <= began + 5]


# A whole result. ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    table = tiny()
    table["vms"][0]["chain"] = {"snapshots": 1, "written_after_each": "1 MiB"}
    return live(table, tmp_path_factory.mktemp("lived"))


def test_the_series_is_the_load_bin_by_bin(lived):
    for name, method in lived.result.methods.items():
        run, series = lived.runs[name], method.series
        lat = run.world.engine.meter.latencies("vm-1")
        assert run.began > 0  # snapshots that were there before took their time
        for i, start in enumerate(series.time):
            begin = run.began + start
            inside = lat.during(begin, begin + series.bin_seconds).seconds
            assert series.iops[i] * series.bin_seconds == pytest.approx(len(inside))
            if len(inside):
                assert series.latency_ms_max[i] == pytest.approx(inside.max() * 1000)
            assert series.utilisation_backup[i] <= series.utilisation[i] <= 1


def test_the_meter_is_told_of_phases_as_they_happen(lived, tmp_path):
    failing = tiny()
    failing["arrays"][0]["pools"][0]["reserve"] = "14 MiB"  # full while the snapshot is read
    failed = live(failing, tmp_path, methods=("storage",)).runs
    assert "cannot trust what was read" in failed["storage"].reports[0].vms[0].error
    for runs in (lived.runs, failed):
        for run in runs.values():
            found = spans.spans_of(run)
            for phase in ("before", "reading", "consolidating", "after", "job"):
                seconds = sum(end - start for start, end in found.of(phase))
                told = run.world.engine.meter.seconds_of(phase)
                assert told == pytest.approx(seconds, abs=1e-9), phase


def test_with_rows_or_without_the_figures_are_the_same(lived, tmp_path):
    """Percentiles within their bound; all else within the rounding of nanoseconds."""
    table = tiny()
    table["vms"][0]["chain"] = {"snapshots": 1, "written_after_each": "1 MiB"}
    bounded = live(table, tmp_path, meter=Meter).result
    pairs = list(figures(lived.result.model_dump(), bounded.model_dump()))
    assert len(pairs) > 1000
    for path, exact, found in pairs:
        is_percentile = path[-1].startswith(("p50", "p95", "p99", "latency_ms_p"))
        bound = ALPHA * 1.00001 if is_percentile else 1e-6
        assert found == pytest.approx(exact, rel=bound, abs=1e-8), path


def figures(one: Any, other: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield (path, number, number) of two results, and compare whatever is not a number."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            yield from figures(one[key], other[key], (*path, key))
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for a, b in zip(one, other, strict=True):
            yield from figures(a, b, path)
    elif isinstance(one, float):
        yield path, one, other
    else:
        assert one == other, path


def test_phases_do_not_overlap_and_fill_each_run(lived):
    for method in lived.result.methods.values():
        for run in method.runs:
            inside = [p for p in method.phases if run.start <= p.start < run.end]
            assert inside[0].start == pytest.approx(run.start)
            assert inside[-1].end == pytest.approx(run.end)
            for one, other in pairwise(inside):
                assert one.end == pytest.approx(other.start)


def test_the_order_of_phases_is_that_of_the_method(lived):
    def names(method: str) -> list[str]:
        phases = lived.result.methods[method].phases
        end = lived.result.methods[method].runs[0].end
        seen = [phase.name for phase in phases if 5 - 1e-6 <= phase.start < end - 1e-6]
        return [a for a, b in zip(seen, [*seen[1:], ""], strict=True) if a != b]

    assert names("software") == ["snapshot", "reading", "cleaning", "consolidating"]
    storage = ["snapshot", "consolidating", "preparing", "reading", "cleaning"]
    assert names("storage") == storage
    assert names("mounted") == storage


def test_what_a_vm_did_before_the_job_is_not_the_backups(lived):
    """A chain that was there costs reads and writes of its own: with or without a backup."""
    for method in lived.result.methods.values():
        share = method.array_utilisation_backup_share
        assert share.before == 0
        assert share.reading > 0.05
        first = [
            value
            for start, value in zip(
                method.series.time, method.series.utilisation_backup, strict=True
            )
            if start + method.series.bin_seconds <= method.runs[0].start
        ]
        assert first
        assert not any(first)


def test_busy_time_is_split_between_guests_and_backup(lived):
    for method in lived.result.methods.values():
        busy, share = method.array_utilisation, method.array_utilisation_backup_share
        for phase in ("before", "reading", "consolidating", "after"):
            assert 0 <= getattr(share, phase) <= 1
            assert 0 < getattr(busy, phase) <= 1
        assert share.consolidating > share.after
