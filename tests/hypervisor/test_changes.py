"""Why changed areas cannot be told: each reason has a type of its own, and none needs its text read."""

from __future__ import annotations

import pytest

from hypervisor.bench import BLOCK, fill, rig, spec
from stuntdouble.errors import (
    ChangeHistoryLost,
    DiskNotTrackable,
    EpochUnknown,
    FileLocked,
    InvalidArgument,
    InvalidState,
    Misuse,
    NotFound,
    Refused,
    TrackingInactive,
    UnknownDisk,
)
from stuntdouble.extents import Runs
from stuntdouble.hypervisor import changed_ranges
from stuntdouble.units import KIB, MIB

KEY = 2000
SIZE = MIB
GRAIN = 16 * KIB


def tracked(**parameters):
    bench = rig(**parameters)
    vm = bench.add_vm(spec(), spec(2001, mode="independent"))
    bench.do(bench.hypervisor.enable_tracking(vm))
    return bench, vm, bench.do(bench.hypervisor.create_snapshot(vm, "s"))


def kind_of(bench, since="*", snapshot=None, start=0, key=KEY, vm="vm"):
    """Return exactly which error an answer is refused with."""
    with pytest.raises((Refused, Misuse)) as refused:
        changed_ranges(bench.hypervisor, vm, key, since, snapshot, start)
    return type(refused.value), refused.value.args


def test_each_condition_has_its_own_error():
    bench, vm, taken = tracked()
    known = taken.change_ids[KEY]
    other = "52 00 00 00 00 00 00 00-00 00 00 00 00 00 00 00/1"
    disk = f"disk {KEY} of vm"

    def asked(since="*", **kw):
        return kind_of(bench, since, taken.id, **kw)

    for start in (-1, SIZE, SIZE + 1):
        kind, facts = asked(start=start)
        assert (kind, facts[0]) == (InvalidArgument, "startOffset")
    for text in ("", "1", known + "x", known.upper()):
        kind, facts = asked(text)
        assert (kind, facts[0]) == (InvalidArgument, "changeId")
    assert asked(key=7) == (UnknownDisk, ("vm", 7))
    assert asked(key=2001)[0] is DiskNotTrackable
    assert asked(vm="x")[0] is NotFound
    assert kind_of(bench, "*", "x")[0] is NotFound
    assert asked(other) == (ChangeHistoryLost, (disk, other))
    later = bench.do(bench.hypervisor.create_snapshot(vm, "t")).change_ids[KEY]
    assert asked(later)[0] is InvalidState
    assert kind_of(bench) == (FileLocked, ("vm/vm.vmdk", "vm, which runs"))
    bench.do(bench.hypervisor.power_off(vm))
    assert kind_of(bench, key=2001)[0] is DiskNotTrackable
    bench.do(bench.hypervisor.set_tracking(vm, enabled=False))
    assert asked(known) == asked() == kind_of(bench) == (TrackingInactive, (disk,))


def test_a_snapshot_from_before_tracking_knows_nothing():
    bench = rig()
    vm = bench.add_vm()
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert kind_of(bench, "*", taken.id)[0] is TrackingInactive
    assert kind_of(bench, "*", taken.id)[1] == ("disk 2000 of vm",)


@pytest.mark.parametrize("says", ["whole-disk", "refuse"])
def test_what_is_in_use_may_not_be_known(says):
    bench = rig(tracking_with_snapshots=True, tracking_unknown=says)
    vm = bench.add_vm()
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    bench.do(bench.hypervisor.enable_tracking(vm))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "t"))
    since = taken.change_ids[KEY]
    if says == "refuse":
        assert kind_of(bench, "*", taken.id) == (EpochUnknown, ("disk 2000 of vm",))
    else:
        found = changed_ranges(bench.hypervisor, vm, KEY, "*", taken.id, 0)
        assert found.extents == Runs.single(0, SIZE)
    assert not changed_ranges(bench.hypervisor, vm, KEY, since, taken.id, 0).extents


def test_a_lost_history_is_lost_for_everything_as_well():
    bench, vm, taken = tracked()
    bench.do(bench.hypervisor.crash(vm))
    assert kind_of(bench, "*", taken.id)[0] is ChangeHistoryLost
    assert kind_of(bench, taken.change_ids[KEY], taken.id)[0] is ChangeHistoryLost
    assert kind_of(bench, taken.change_ids[KEY])[0] is ChangeHistoryLost


def test_the_current_state_of_a_vm_that_is_off():
    bench, vm, taken = tracked()
    disk = vm.disks[KEY].disk
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    bench.do(bench.hypervisor.power_off(vm))
    asked = (bench.hypervisor, vm, KEY, taken.change_ids[KEY], None, 0)
    assert not changed_ranges(*asked).extents
    fill(bench, disk, 0, 1)
    assert changed_ranges(*asked).extents == Runs.single(0, GRAIN)
    assert changed_ranges(*asked[:3], "*", None, 0).extents == Runs.single(0, 16 * BLOCK)
    fill(bench, disk, 128, 1)
    both = Runs.of([(0, GRAIN), (128 * BLOCK, GRAIN)])
    assert changed_ranges(*asked).extents == both
    later = bench.do(bench.hypervisor.create_snapshot(vm, "later"))
    found = changed_ranges(bench.hypervisor, vm, KEY, taken.change_ids[KEY], later.id, 0)
    assert found.extents == both, "asking has not taken anything away"
    fill(bench, disk, 200, 1)
    found = changed_ranges(bench.hypervisor, vm, KEY, later.change_ids[KEY], None, 0)
    assert found.extents == Runs.single(200 * BLOCK, GRAIN)


def test_answers_are_kept_for_the_pages_that_follow(monkeypatch):
    bench, vm, taken = tracked()
    looks = []
    layout = type(bench.hypervisor).layout
    monkeypatch.setattr(type(bench.hypervisor), "layout", lambda *a: looks.append(a) or layout(*a))
    for start in range(0, SIZE, GRAIN):
        changed_ranges(bench.hypervisor, vm, KEY, "*", taken.id, start)
    assert len(looks) == 1
