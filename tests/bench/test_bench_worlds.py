"""The worlds of the other benchmarks, small: what comes about in them, and that engines agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stuntdouble.bench import SIMPLE, SNAPSHOT, runs
from stuntdouble.bench.capacity import Capacity
from stuntdouble.bench.scaling import Controlled
from stuntdouble.bench.tally import Tally
from stuntdouble.errors import Bug
from stuntdouble.iops import Purpose
from stuntdouble.units import MIB

SMALL = replace(
    SIMPLE, vms=4, vm_iops=2000.0, hot_bytes=4 * MIB, stun_seconds=0.05, renewal_seconds=0.1,
    warm_up_seconds=0.1, seconds=0.4,
)  # fmt: skip


@pytest.mark.parametrize("content", ["counts", "bytes"])
def test_the_engines_agree_on_a_pooled_world(content) -> None:
    assert runs.agree(SMALL, content) > 1500


def test_engines_that_disagree_are_a_bug(monkeypatch) -> None:
    build = type(SMALL).build

    def biased(self, engine, content):
        shorter = replace(self, vm_iops=self.vm_iops + (engine == "compiled"))
        return build(shorter, engine, content)

    monkeypatch.setattr(type(SMALL), "build", biased)
    with pytest.raises(Bug, match="do not agree"):
        runs.agree(SMALL, "counts")


def test_a_measurement_leaves_the_warm_up_out() -> None:
    world = SMALL.build("compiled", "counts")
    done = []
    for seconds in (SMALL.warm_up_seconds, SMALL.warm_up_seconds + SMALL.seconds):
        world.env.run(seconds)
        world.tally.close()
        done.append(world.tally.ios)
    sample = runs.measure(SMALL, "compiled", "counts")
    assert sample.ios == done[1] - done[0]
    assert done[0] > 500
    assert sample.served > sample.ios
    assert sample.visits == pytest.approx(sample.served, abs=64)  # what is under way at the ends
    assert sample.events > sample.visits
    assert sample.facts["copies before writes per write"] > 0.05
    assert sample.facts["grain tables per write"] > 0.05
    assert 0 < sample.facts["p50 ms"] <= sample.facts["p99 ms"]


def test_the_first_case_is_the_specification_on_a_slice() -> None:
    first, second = runs.cases("x", SMALL, 0.05, "bytes")
    assert (first.name, first.content) == ("specification, a slice", "counts")
    assert (second.name, second.content) == ("compiled", "bytes")
    sample = first.run()
    assert sample.facts["I/Os equal to the bit"] == sample.ios > 100


def test_stuns_and_renewals_come_about() -> None:
    world = SMALL.build("compiled", "counts")
    world.env.run(1.2)
    assert world.stuns >= 4
    assert world.copies > 0


def test_the_snapshot_scenario_has_64_vms_with_a_gib() -> None:
    assert (SNAPSHOT.vms, SNAPSHOT.hot_bytes) == (64, 1 << 30)


def test_control_events_change_nothing_but_the_cost() -> None:
    plain = SMALL.build("compiled", "counts")
    stirred = Controlled(SMALL, 50).build("compiled", "counts")
    for world in (plain, stirred):
        world.env.run(0.5)
        world.tally.close()
    assert plain.tally.print == stirred.tally.print != 0
    assert (Controlled(SMALL, 1).seconds, Controlled(SMALL, 1).warm_up_seconds) == (0.4, 0.1)


def test_a_night_backs_up_every_vm() -> None:
    world = Capacity(vms=4, iops=400.0, seconds=30.0, luns_backed_up=1).build("compiled", "counts")
    world.env.run(30.0)
    world.tally.close()
    facts = world.facts()
    assert facts["VMs backed up"] == 4
    assert facts["GiB read by backups"] > 0
    assert facts["chunks copied"] > 0
    assert facts["maps MiB"] >= facts["maps MiB: tracked changes"] > 0
    assert world.tally.by_purpose[Purpose.BACKUP] > 0
    assert sum(guest.arrived for guest in world.engine.guests) == pytest.approx(12_000, rel=0.1)


# The tally. --------------------------------------------------------------------------------------


def test_a_tally_counts_rows_and_single_figures_alike() -> None:
    rng = np.random.default_rng(3)
    ios = np.sort(rng.uniform(0, 9, (5000, 2)), axis=1)
    kinds = rng.integers(0, len(Purpose), (5000, 2))
    one, many = Tally(), Tally()
    for (arrived, completed), (station, purpose) in zip(ios.tolist(), kinds.tolist(), strict=True):
        one.io("vm", arrived, completed)
        one.visit(station, purpose, arrived, completed)
    many.take_ios(["vm"], np.zeros(5000, np.int64), ios)
    many.take_visits(kinds, ios)
    for tally in (one, many):
        tally.close()
    assert one.print == many.print != 0
    assert one.by_purpose.tolist() == many.by_purpose.tolist()
    assert one.busy_seconds == pytest.approx(many.busy_seconds)
    assert one.served == many.served == 5000 + one.by_purpose[[1, 2, 3]].sum()
    latency = ios[:, 1] - ios[:, 0]
    for percent in (50, 95, 99):
        exact = np.percentile(latency, percent)
        assert one.percentile_seconds(percent) == pytest.approx(exact, rel=0.05)


def test_a_tally_of_nothing_is_nothing() -> None:
    tally = Tally()
    tally.close()
    assert (tally.ios, tally.served, tally.print, tally.percentile_seconds(50)) == (0, 0, 0, 0.0)
