"""The full-feature scenario: every kind of side I/O comes about, and the engines agree."""

from __future__ import annotations

import pytest

from stuntdouble.bench import Full
from stuntdouble.bench.full import OUTSTANDING, SNAPSHOT_LIMIT

SMALL = Full(groups=1, vms=6, pace=15.0, warm_up_seconds=20.0, seconds=130.0)
ENOUGH = 0.05  # of the foreground writes


@pytest.fixture(scope="module")
def worlds():
    made = {}
    for engine in ("specification", "compiled"):
        world = SMALL.build(engine, "counts")
        world.env.run(SMALL.warm_up_seconds + SMALL.seconds)
        world.tally.close()
        made[engine] = world
    return made


def test_each_kind_of_side_io_comes_about_on_one_write_in_twenty(worlds) -> None:
    fired = worlds["compiled"].fired()
    writes = fired.pop("writes")
    assert writes > 5000
    assert {kind for kind, times in fired.items() if times < ENOUGH * writes} == set()
    assert set(fired) == {
        "parity", "grain tables", "copies before writes", "mirrored writes",
        "consolidation moves", "backup reads",
    }  # fmt: skip


def test_the_engines_agree_on_every_time_that_was_measured(worlds) -> None:
    specification, compiled = worlds["specification"], worlds["compiled"]
    assert specification.tally.ios == compiled.tally.ios > 10_000
    assert specification.tally.by_purpose.tolist() == compiled.tally.by_purpose.tolist()
    assert specification.tally.print == compiled.tally.print
    assert specification.fired() == compiled.fired()


def test_guests_read_as_often_as_they_write(worlds) -> None:
    world = worlds["compiled"]
    arrived = sum(guest.arrived for guest in world.engine.guests)
    assert world.writes == pytest.approx(arrived / 2, rel=0.05)


def test_stuns_and_snapshots_are_felt(worlds) -> None:
    world = worlds["compiled"]
    assert world.counts["stuns"] >= 2
    assert world.counts["freezes"] >= 2
    assert all(guest.shift > 0 for guest in world.engine.guests[::3])
    assert world.tally.percentile_seconds(50) < 0.1 < world.tally.percentile_seconds(99)


def test_a_closed_loop_is_held_to_its_limit() -> None:
    world = SMALL.build("compiled", "counts")
    closed = world.engine.guests[3]
    assert closed.load.outstanding == OUTSTANDING > SNAPSHOT_LIMIT
    under_way, waiting = [], []
    for tenth in range(1, 1500):
        world.env.run(tenth / 10)
        under_way.append(closed.in_flight)
        waiting.append(len(closed.waiting))
    assert max(under_way) == SNAPSHOT_LIMIT
    assert max(waiting) > 0
