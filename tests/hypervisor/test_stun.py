"""Stuns, freezes and what a snapshot stands for."""

from __future__ import annotations

import re

import pytest

from hypervisor.bench import BLOCK, fill, rig, seen, spec, written
from stuntdouble.errors import (
    Interrupted,
    InvalidState,
    LimitReached,
    NotFound,
    QuiesceFailed,
    TaskInProgress,
)
from stuntdouble.hypervisor import QuiesceProfile
from stuntdouble.iops import DISK_7200, Pattern, PoissonLoad
from stuntdouble.ports import Consistency
from stuntdouble.units import MIB


def loaded(iops, *, disks=1, seed=1, **kw):
    """Return a rig with a VM of *disks* disks under load on one rotating disk."""
    bench = rig(service=DISK_7200, lun_bytes=64 * MIB, seed=seed, **kw)
    specs = [spec(2000 + i, 4 * MIB) for i in range(disks)]
    pattern = Pattern(0.5, BLOCK, 4 * MIB)
    load = PoissonLoad(seed, "vm", iops, (pattern,) * disks)
    vm = bench.add_vm(*specs, load=load)
    for disk in vm.disks.values():
        fill(bench, disk.disk)
    bench.env.run(until=10)
    return bench, vm


def stun_seconds(iops, disks):
    total = 0.0
    for seed in range(1, 6):
        bench, vm = loaded(iops, disks=disks, seed=seed)
        bench.do(bench.hypervisor.create_snapshot(vm, "s"))
        total += bench.last("stun")["seconds"]
    return total / 5


def test_a_stun_grows_with_the_number_of_disks():
    assert stun_seconds(40, 1) + 0.01 < stun_seconds(40, 4)


def test_a_stun_grows_with_the_load_of_its_own_and_of_others():
    assert stun_seconds(5, 2) < stun_seconds(80, 2)
    alone, both = rig(service=DISK_7200), rig(service=DISK_7200)
    load = PoissonLoad(1, "other", 60.0, (Pattern(1.0, BLOCK, 4 * MIB),))
    for bench in (alone, both):
        bench.add_vm()
    fill(both, both.add_vm(spec(size=4 * MIB), load=load, name="other").disks[2000].disk)
    found = []
    for bench in (alone, both):
        bench.env.run(until=10)
        bench.do(bench.hypervisor.create_snapshot("vm", "s"))
        found.append(bench.last("stun")["seconds"])
    assert found[0] + 0.02 < found[1]


def test_the_log_line_says_how_long_and_the_guest_stood_still_for_as_long():
    bench, vm = loaded(50)
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    stun = bench.last("stun")
    micros = re.fullmatch(r"Checkpoint_Unstun: vm stopped for (\d+) us", stun["line"])[1]
    assert int(micros) == round(stun["seconds"] * 1e6)
    assert vm.guest.shift == pytest.approx(stun["seconds"])
    assert stun["seconds"] > bench.hypervisor.host.parameters.stun_fixed_seconds


def test_a_snapshot_holds_exactly_what_was_acknowledged():
    bench, vm = loaded(200, disks=2, metadata_ios_per_disk=0)
    in_flight = []
    chain_changed = vm.chain_changed

    def watched():
        in_flight.append(vm.guest.in_flight)
        chain_changed()

    vm.chain_changed = watched
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert in_flight == [0]
    assert bench.last("stun")["seconds"] > 0.151  # the rest is the fixed part: it had to drain
    for key, disk in vm.disks.items():
        moment = bench.hypervisor.moments[taken.id, key]
        assert moment.seconds == taken.moment  # one instant for all disks
        kept = written(bench.site, disk.disk, moment)
        assert seen(vm.snapshot(taken.id).frozen[key], disk.disk) == kept
        assert seen(disk.disk.head, disk.disk) == kept
    bench.env.run(until=bench.env.now + 5)
    for key, disk in vm.disks.items():
        kept = written(bench.site, disk.disk, bench.hypervisor.moments[taken.id, key])
        assert seen(vm.snapshot(taken.id).frozen[key], disk.disk) == kept
        assert seen(disk.disk.head, disk.disk) != kept


def test_a_vm_that_is_off_is_not_stunned():
    bench = rig()
    vm = bench.add_vm(powered_on=False)
    bench.do(bench.hypervisor.create_snapshot(vm, "s", quiesce=True))
    assert not list(bench.journal.of("stun"))
    assert not list(bench.journal.of("freeze"))


def test_concurrency_is_limited_while_there_is_a_delta():
    bench = rig(snapshot_concurrency=3)
    vm = bench.add_vm()
    first = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    second = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert vm.guest.limit == 3
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    assert vm.guest.limit == 3
    bench.do(bench.hypervisor.remove_snapshot(vm, second.id))
    assert vm.guest.limit == 0


# Quiescing. -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "quiesce", "found"),
    [
        (QuiesceProfile(tools=True, vss=True), True, Consistency.APPLICATION),
        (QuiesceProfile(tools=True, vss=False), True, Consistency.FILE_SYSTEM),
        (QuiesceProfile(tools=False, vss=True), True, Consistency.CRASH),
        (QuiesceProfile(tools=True, vss=True), False, Consistency.CRASH),
    ],
)
def test_consistency_is_what_the_guest_can_do(profile, quiesce, found):
    bench = rig()
    vm = bench.add_vm(quiesce=profile)
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s", quiesce=quiesce))
    assert taken.consistency is found
    frozen = [event.facts["seconds"] for event in bench.journal.of("freeze")]
    assert (len(frozen) == 1) == (found is not Consistency.CRASH)
    assert all(seconds >= profile.freeze_seconds for seconds in frozen)


@pytest.mark.parametrize(("vss", "limit"), [(True, 10.0), (False, 60.0)])
def test_a_guest_frozen_for_too_long_rolls_everything_back(vss, limit):
    bench = rig()
    profile = QuiesceProfile(vss=vss, freeze_seconds=61.0)
    vm = bench.add_vm(quiesce=profile)
    bench.do(bench.hypervisor.enable_tracking(vm))
    before = set(bench.datastore.store.files), bench.datastore.free_bytes
    with pytest.raises(QuiesceFailed) as failed:
        bench.do(bench.hypervisor.create_snapshot(vm, "s", quiesce=True))
    assert failed.value.args == ("vm", limit)
    assert bench.last("freeze")["seconds"] == limit
    assert (set(bench.datastore.store.files), bench.datastore.free_bytes) == before
    assert vm.guest.stuns == 0
    assert vm.info().snapshots == ()
    assert not vm.consolidation_needed
    bench.do(bench.hypervisor.create_snapshot(vm, "s", quiesce=False))


def test_a_freeze_that_outlasts_its_time_in_the_stun_rolls_back_as_well():
    bench = rig(metadata_ios_per_disk=2000)  # a stun of a quarter of a second before the switch
    vm = bench.add_vm(quiesce=QuiesceProfile(vss=True, freeze_seconds=9.95))
    with pytest.raises(QuiesceFailed):
        bench.do(bench.hypervisor.create_snapshot(vm, "s", quiesce=True))
    assert not vm.snapshots
    assert vm.guest.stuns == 0
    assert len(bench.datastore.store.files) == 2  # the file system's own, and the base


# Limits, obstacles, tasks. ---------------------------------------------------------------------


def test_a_chain_has_thirty_two_deltas_at_most():
    bench = rig(growth_bytes=1)
    vm = bench.add_vm()
    for _ in range(32):
        bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    with pytest.raises(LimitReached, match="32"):
        bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert len(vm.info().snapshots) == 32
    bench.do(bench.hypervisor.remove_snapshot(vm, vm.snapshots[7].id))
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))


@pytest.mark.parametrize("mode", ["independent", "raw", "multi-writer"])
def test_disks_that_cannot_be_snapshotted_say_so_and_are_left_out(mode):
    bench = rig()
    vm = bench.add_vm(spec(2000), spec(2001, mode=mode))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    obstacles = {disk.key: disk.obstacle for disk in vm.info().disks}
    assert obstacles[2000] == ""
    assert obstacles[2001]
    assert (taken.id, 2001) not in bench.hypervisor.moments
    assert not vm.disks[2001].chain.deltas
    fill(bench, vm.disks[2001].disk)
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    assert not vm.consolidation_needed


def test_one_task_at_a_time():
    bench = rig(task_seconds=5.0)
    vm = bench.add_vm()
    host = bench.hypervisor
    first = bench.env.process(host.create_snapshot(vm, "s"))
    bench.env.run(until=1)
    requests = (
        host.create_snapshot(vm, "t"),
        host.remove_snapshot(vm, "any"),
        host.remove_all_snapshots(vm),
        host.consolidate(vm),
        host.power_off(vm),
        host.enable_tracking(vm),
    )
    for request in requests:
        with pytest.raises(TaskInProgress, match="CreateSnapshot_Task"):
            bench.do(request)
    bench.env.run(until=first)
    assert len(vm.snapshots) == 1
    assert not vm.consolidation_needed


def test_a_crash_cuts_a_task_off_and_the_vm_can_start_again():
    bench = rig(task_seconds=5.0)
    vm = bench.add_vm()
    process = bench.env.process(bench.hypervisor.create_snapshot(vm, "s"))
    process.defused = True
    bench.env.run(until=1)
    bench.do(bench.hypervisor.crash(vm))
    assert process.value == Interrupted("CreateSnapshot_Task of vm")
    assert not vm.powered_on
    bench.do(bench.hypervisor.power_on(vm))
    assert vm.guest.stuns == 0
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))


def test_power_holds_the_load_up_and_no_io_in_flight_is_lost():
    bench, vm = loaded(50)
    bench.do(bench.hypervisor.power_off(vm))
    bench.do(bench.hypervisor.power_off(vm))
    completed, off = vm.guest.completed, bench.env.now
    assert vm.guest.in_flight == 0
    bench.env.run(until=off + 60)
    assert vm.guest.completed == completed
    bench.do(bench.hypervisor.power_on(vm))
    bench.do(bench.hypervisor.power_on(vm))
    bench.env.run(until=bench.env.now + 5)
    assert vm.guest.completed > completed
    guest = vm.guest
    ended = guest.completed + guest.dropped
    assert guest.arrived == ended + len(guest.waiting) + guest.in_flight


def test_going_back_leaves_the_vm_off_as_it_was():
    bench, vm = loaded(50)
    host, disk = bench.hypervisor, vm.disks[2000].disk
    taken = bench.do(host.create_snapshot(vm, "s"))
    kept = written(bench.site, disk, host.moments[taken.id, 2000])
    bench.env.run(until=bench.env.now + 5)
    bench.do(host.revert(vm, taken.id))
    assert not vm.powered_on
    assert seen(disk.head, disk) == kept
    assert written(bench.site, disk, disk.moment(bench.env.now)) == kept
    assert bench.last("stun")["why"] == "revert"
    bench.do(host.power_on(vm))
    bench.env.run(until=bench.env.now + 5)
    assert seen(disk.head, disk) == written(bench.site, disk, disk.moment(bench.env.now))


def test_what_is_not_there_is_said_so():
    bench = rig()
    vm = bench.add_vm()
    with pytest.raises(NotFound, match="no VM named 'other'"):
        bench.hypervisor.vm("other")
    with pytest.raises(NotFound, match="snapshot of vm"):
        bench.do(bench.hypervisor.revert(vm, "none"))
    with pytest.raises(NotFound, match="disk of vm"):
        bench.hypervisor.layout(vm, 1)
    with pytest.raises(NotFound, match="datastore"):
        bench.hypervisor.latency_seconds("other")
    bench.do(bench.hypervisor.remove_snapshot(vm, "none"))  # idempotent
    with pytest.raises(InvalidState, match="powered on"):
        bench.do(bench.hypervisor.reattach_disk(vm, 2000))
