"""What a scenario says about days and nights: rates, places, and when runs begin."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import pytest

from scenarios.living import live
from scenarios.tiny import tiny, with_vm
from stuntdouble.clock import Environment
from stuntdouble.iops import BATCH_NIGHT, OFFICE_DAY
from stuntdouble.scenarios import parse
from stuntdouble.scenarios.build import build
from stuntdouble.units import KIB, MIB

HOUR = 3600.0
DAY = 24 * HOUR


def ios(count: int, **load: Any) -> list[tuple[float, int, bool, int, int]]:
    """Return the first I/Os of the tiny scenario's VM, of a load with these keys."""
    table = with_vm(tiny(), load={"iops": 1, "reads": 0.5, **load})
    (guest,) = build(parse(table, "test"), 1, Environment(), None).engine.guests
    assert guest.load is not None
    return list(islice(guest.load.ios(), count))


@pytest.mark.parametrize(
    ("name", "curve"), [("office-day", OFFICE_DAY), ("batch-night", BATCH_NIGHT)]
)
def test_the_rate_follows_the_curve_from_the_hour_at_which_the_scenario_begins(name, curve):
    arrivals = [io[0] for io in ios(90_000, curve=name, begins="21 h")]
    assert arrivals == sorted(arrivals)
    clock = 21 * HOUR
    for seconds, multiplier in curve.starting(clock).steps:
        start = clock - 21 * HOUR
        seen = sum(start <= t < start + seconds for t in arrivals) / seconds
        assert seen == pytest.approx(multiplier, abs=5 * (multiplier / seconds) ** 0.5)
        clock += seconds
    assert clock == pytest.approx(21 * HOUR + DAY)


def test_a_flat_curve_is_no_curve():
    assert ios(1000, curve="flat") == ios(1000)
    assert ios(1000, curve="office-day") != ios(1000)


def test_a_sweep_goes_through_the_working_set_in_order_and_the_rest_keeps_to_the_hot_part():
    size = 4 * KIB
    slots, hot = 16 * MIB // size, MIB // size
    seen = ios(60_000, sweep=0.25, hot="1 MiB", working_set="16 MiB", io=size)
    assert sum(write for _, _, write, _, _ in seen) == pytest.approx(30_000, rel=0.03)
    outside = [(write, offset // size) for _, _, write, offset, _ in seen if offset >= MIB]
    assert all(write for write, _ in outside)
    places = [place for _, place in outside]
    assert all(b - a == 1 or (a, b) == (slots - 1, hot) for a, b in pairwise(places))
    assert len(places) == pytest.approx(0.125 * 60_000 * (slots - hot) / slots, rel=0.1)
    assert set(range(hot, slots)) == set(places)


def test_writes_that_all_sweep_leave_reads_where_they_were():
    seen = ios(20_000, sweep=1, hot="64 KiB", working_set="16 MiB", reads=0.5)
    assert max(offset for _, _, write, offset, _ in seen if not write) < 64 * KIB
    writes = [offset for _, _, write, offset, _ in seen if write]
    assert all((b - a) % (16 * MIB) == 4 * KIB for a, b in pairwise(writes))
    assert all(write for _, _, write, _, _ in ios(1000, sweep=1, reads=0))
    assert not any(write for _, _, write, _, _ in ios(1000, sweep=1, reads=1))


@pytest.mark.parametrize("method", ["software", "mounted"])
def test_runs_begin_as_scheduled_however_long_they_take(method, tmp_path):
    table = tiny()
    table["backup"]["runs"] = ["full", "incremental", "incremental"]
    table["times"] = {"before": 5, "every": "10 min", "after": 5}
    runs = live(table, tmp_path, methods=(method,)).result.methods[method].runs
    assert [run.start for run in runs] == pytest.approx([5, 605, 1205])


def test_a_run_that_is_due_while_another_goes_on_begins_at_its_end(tmp_path):
    table = tiny()
    table["backup"]["runs"] = ["full", "incremental", "incremental"]
    table["times"] = {"before": 5, "every": 1, "after": 5}
    runs = live(table, tmp_path, methods=("storage",)).result.methods["storage"].runs
    assert [run.start for run in runs[1:]] == pytest.approx([run.end for run in runs[:-1]])
