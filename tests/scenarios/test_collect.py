"""From events to figures: every sum against one done by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace as Stub

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.living import live
from scenarios.tiny import tiny
from stuntdouble.iops import Meter
from stuntdouble.scenarios import collect, spans
from stuntdouble.trace import Journal

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

io = st.tuples(st.floats(0, 100), st.floats(0, 5))
ios = st.lists(io, max_size=12)


def metered(some: list[tuple[float, float]]) -> Meter:
    """Return a meter of (arrived, latency), which heard of them as they completed."""
    meter = Meter()
    for arrived, seconds in sorted(some, key=sum):
        meter.io("vm", arrived, arrived + seconds)
    return meter


def ran(
    meter: Meter, kind: str = "poisson", journal: Journal | None = None, **more: object
) -> Stub:
    vm = Stub(name="vm", load=Stub(kind=kind))
    world = Stub(engine=Stub(meter=meter), scenario=Stub(vms=[vm]), journal=journal or Journal())
    return Stub(world=world, **({"began": 0.0, "ended": 200.0} | more))


@given(ios, ios)
def test_the_nth_io_is_compared_with_the_nth(mine, usual):
    done, alone = ran(metered(mine)), metered(usual)
    pairs = zip(
        done.world.engine.meter.latencies("vm").seconds.tolist(),
        alone.latencies("vm").seconds.tolist(),
        strict=False,
    )
    assert collect._excess(done, alone, "vm") == pytest.approx(sum(a - b for a, b in pairs))


@given(ios)
def test_the_same_io_without_a_backup_has_no_excess(some):
    assert collect._excess(ran(metered(some)), metered(some), "vm") == 0.0
    assert collect._excess(ran(metered(some), "closed"), metered(some), "vm") == 0.0


@given(ios, st.floats(0, 3))
def test_io_that_is_slower_throughout_has_that_much_excess(some, more):
    slower = [(arrived, seconds + more) for arrived, seconds in some]
    arrived = sorted(a for a, _ in some)
    if len(set(arrived)) < len(arrived):
        return  # which of two of one instant is the first is anybody's guess
    for kind in ("poisson", "closed"):
        excess = collect._excess(ran(metered(slower), kind), metered(some), "vm")
        assert excess == pytest.approx(more * len(some), abs=1e-9)


# Percentiles. ------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e4), max_size=60))
def test_a_percentile_is_a_latency_that_so_many_did_not_exceed(seconds):
    found = collect._latency(np.array(seconds))
    if not seconds:
        assert (found.p50, found.p95, found.p99, found.max) == (None,) * 4
        return
    ordered = sorted(seconds)
    for percent, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        rank = max(math.ceil(len(ordered) * percent / 100), 1)
        assert value == pytest.approx(ordered[rank - 1] * 1000, rel=1e-8)
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
    for arrived, seconds in slow:
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
    done = ran(Meter(), journal=journal)
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
