"""Consolidation under load: both ways, their ends, and what cuts them short."""

from __future__ import annotations

import numpy as np
import pytest
import simpy

from hypervisor.bench import BLOCK, FS_BLOCK, LAZY, THIN, fill, rig, seen, spec, written
from stuntdouble.errors import Interrupted, NoSpace
from stuntdouble.iops import DISK_7200, Pattern, PoissonLoad, Purpose
from stuntdouble.units import MIB

SIZE = 8 * MIB


def loaded(iops, algorithm, **parameters):
    """Return a rig whose VM writes on one rotating disk on top of a snapshot, after 20 s."""
    bench = rig(
        service=DISK_7200,
        lun_bytes=64 * MIB,
        consolidation=algorithm,
        consolidation_io_bytes=BLOCK,
        **parameters,
    )
    load = PoissonLoad(1, "vm", iops, (Pattern(0.1, BLOCK, SIZE),))
    vm = bench.add_vm(spec(size=SIZE, provisioning=LAZY), load=load)
    fill(bench, vm.disks[2000].disk)
    bench.env.run(until=2)
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    bench.env.run(until=20)
    return bench, vm, taken


def check(bench, vm):
    """Assert that nothing is left over, and the guest sees what it wrote."""
    disk = vm.disks[2000].disk
    assert seen(disk.head, disk) == written(bench.site, disk, disk.moment(bench.env.now))
    assert len(vm.disks[2000].chain.levels) == 1
    assert not vm.consolidation_needed
    guest = vm.guest
    assert guest.arrived == guest.completed + len(guest.waiting) + guest.in_flight


def moving(bench, start, end):
    """Return for how long the disk was busy with consolidation."""
    edges = np.array([start, end])
    return float(bench.engine.meter.busy([0], edges, (Purpose.CONSOLIDATION,))[0])


def stuns(bench):
    return [(e.facts["why"], e.facts["seconds"]) for e in bench.journal.of("stun")][1:]


@pytest.mark.parametrize("iops", [5.0, 40.0])
def test_mirror_makes_one_pass_and_one_short_stun_whatever_the_guest_writes(iops):
    bench, vm, taken = loaded(iops, "mirror")
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    check(bench, vm)
    facts = bench.last("consolidation")
    assert (facts["rounds"], facts["converged"], facts["done"]) == (1, True, True)
    assert facts["seconds"] == bench.env.now - facts["started"]
    assert [why for why, _ in stuns(bench)] == ["commit"]
    assert stuns(bench)[0][1] < 1.0
    assert moving(bench, 0.0, bench.env.now) > 0


def test_helper_with_little_to_do_ends_in_a_stun_of_less_than_its_limit():
    bench, vm, taken = loaded(5.0, "helper")
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    check(bench, vm)
    assert bench.last("consolidation")["converged"]
    assert [why for why, _ in stuns(bench)] == ["helper", "commit"]
    assert stuns(bench)[-1][1] < 12.0


def test_helper_iterates_while_the_helper_would_take_too_long():
    bench, vm, taken = loaded(40.0, "helper", helper_stun_seconds_max=0.3)
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    check(bench, vm)
    facts = bench.last("consolidation")
    assert facts["rounds"] > 1
    assert [why for why, _ in stuns(bench)] == ["helper"] * facts["rounds"] + ["commit"]


def test_helper_that_cannot_catch_up_ends_in_a_long_stun():
    bench, vm, taken = loaded(
        30.0,
        "helper",
        consolidation_bytes_per_second=15 * BLOCK,  # below what the guest writes
        helper_stun_seconds_max=4.0,
        helper_budgets_seconds=(10.0, 20.0, 30.0),
    )
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    check(bench, vm)
    facts = bench.last("consolidation")
    assert not facts["converged"]
    assert facts["done"]
    why, longest = stuns(bench)[-1]
    assert why == "commit"
    assert longest > 4.0
    mirror, other, taken = loaded(30.0, "mirror", consolidation_bytes_per_second=15 * BLOCK)
    mirror.do(mirror.hypervisor.remove_snapshot(other, taken.id))
    check(mirror, other)  # the other algorithm copes with the same guest
    assert stuns(mirror)[-1][1] < longest / 4


def test_an_overrun_uses_up_the_budgets_of_later_iterations():
    bench, vm, taken = loaded(
        10.0,
        "helper",
        consolidation_bytes_per_second=15 * BLOCK,
        helper_stun_seconds_max=0.0,
        helper_budgets_seconds=(1.0, 1.0, 1.0, 1.0),
    )
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    check(bench, vm)
    facts = bench.last("consolidation")
    assert facts["rounds"] == 1  # it took longer than all four
    assert not facts["converged"]


@pytest.mark.parametrize("algorithm", ["mirror", "helper"])
def test_an_older_snapshot_is_merged_below_the_newer_one_with_a_stun_to_reparent(algorithm):
    bench, vm, first = loaded(20.0, algorithm)
    second = bench.do(bench.hypervisor.create_snapshot(vm, "t"))
    disk = vm.disks[2000].disk
    kept = written(bench.site, disk, bench.hypervisor.moments[second.id, 2000])
    before = len(stuns(bench))
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    assert [why for why, _ in stuns(bench)][before:] == ["re-parent"]
    frozen = vm.snapshot(second.id).frozen[2000]
    assert frozen.parent is None  # it lies in the base now
    assert seen(frozen, disk) == kept
    assert [level.depth for level in vm.disks[2000].chain.levels] == [0, 1]
    bench.do(bench.hypervisor.remove_snapshot(vm, second.id))
    check(bench, vm)


@pytest.mark.parametrize("algorithm", ["mirror", "helper"])
def test_removing_all_merges_from_the_base_up(algorithm):
    bench, vm, _ = loaded(10.0, algorithm)
    for _ in range(3):
        bench.do(bench.hypervisor.create_snapshot(vm, "t"))
        bench.env.run(until=bench.env.now + 3)
    bench.do(bench.hypervisor.remove_all_snapshots(vm))
    check(bench, vm)
    whys = [why for why, _ in stuns(bench)]
    assert whys.count("re-parent") == 3
    assert whys[-1] == "commit"


def test_a_vm_that_is_off_is_merged_in_one_pass_without_a_stun():
    bench, vm, taken = loaded(10.0, "helper")
    bench.do(bench.hypervisor.power_off(vm))
    before = len(stuns(bench))
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    assert len(stuns(bench)) == before
    check(bench, vm)


def test_a_branch_keeps_what_both_sides_need():
    bench = rig()
    host, vm = bench.hypervisor, bench.add_vm()
    disk = vm.disks[2000]
    bench.site.write(disk.disk, 0, BLOCK)
    first = bench.do(host.create_snapshot(vm, "first"))
    bench.site.write(disk.disk, 0, BLOCK)
    second = bench.do(host.create_snapshot(vm, "second"))
    bench.do(host.revert(vm, first.id))
    assert vm.current.id == first.id
    kept = seen(vm.snapshot(second.id).frozen[2000], disk.disk)
    now = seen(disk.disk.head, disk.disk)
    bench.do(host.remove_snapshot(vm, first.id))  # two levels hang on what it froze
    assert not vm.consolidation_needed
    assert len(disk.chain.levels) == 3
    assert seen(vm.snapshot(second.id).frozen[2000], disk.disk) == kept
    assert seen(disk.disk.head, disk.disk) == now
    bench.do(host.remove_snapshot(vm, second.id))  # the other branch goes, the rest is merged
    assert len(disk.chain.levels) == 1
    assert seen(disk.disk.head, disk.disk) == now


# Cut short. -------------------------------------------------------------------------------------


def full(algorithm):
    """Return a rig whose thin base cannot take what the delta holds, and the snapshot."""
    bench = rig(lun_bytes=3 * MIB, consolidation=algorithm)
    vm = bench.add_vm(spec(size=MIB, provisioning=THIN))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    fill(bench, vm.disks[2000].disk)
    hog = bench.datastore.free_bytes - 4 * FS_BLOCK
    bench.add_vm(spec(size=hog, provisioning=LAZY), name="hog", powered_on=False)
    return bench, vm, taken


@pytest.mark.parametrize("algorithm", ["mirror", "helper"])
def test_without_space_it_stops_midway_and_is_finished_later(algorithm):
    bench, vm, taken = full(algorithm)
    with pytest.raises(NoSpace):
        bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    assert vm.info().snapshots == ()
    assert vm.info().consolidation_needed
    assert not bench.last("consolidation")["done"]
    disk = vm.disks[2000].disk
    bench.site.write(disk, 3 * BLOCK, BLOCK)
    truth = written(bench.site, disk, disk.moment(bench.env.now))
    assert seen(disk.head, disk) == truth
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))  # it is gone: idempotent
    with pytest.raises(NoSpace):
        bench.do(bench.hypervisor.consolidate(vm))
    bench.datastore.delete(bench.datastore.store.files["hog/hog-flat.vmdk"])
    bench.do(bench.hypervisor.consolidate(vm))
    check(bench, vm)


def test_a_snapshot_taken_and_removed_takes_leftovers_along():
    bench, vm, taken = full("mirror")
    with pytest.raises(NoSpace):
        bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    bench.datastore.delete(bench.datastore.store.files["hog/hog-flat.vmdk"])
    rescue = bench.do(bench.hypervisor.create_snapshot(vm, "rescue"))
    bench.do(bench.hypervisor.remove_snapshot(vm, rescue.id))
    check(bench, vm)


def test_a_cancelled_removal_drains_its_stream_and_can_be_finished():
    bench, vm, taken = loaded(20.0, "mirror", consolidation_depth=4)
    process = bench.env.process(bench.hypervisor.remove_snapshot(vm, taken.id))
    process.defused = True
    bench.env.run(until=bench.env.now + 0.5)
    process.interrupt("cancelled")
    asked = bench.env.now
    while process.is_alive:
        bench.env.step()
    ended = bench.env.now
    assert isinstance(process.value, simpy.Interrupt)
    assert ended > asked
    bench.env.run(until=ended + 0.5)
    assert moving(bench, asked, ended) > 0
    assert moving(bench, ended, ended + 0.5) == 0
    assert vm.consolidation_needed
    bench.env.run(until=bench.env.now + 3)
    bench.do(bench.hypervisor.consolidate(vm))
    check(bench, vm)


def test_a_crash_in_the_middle_leaves_a_vm_that_starts_and_consolidates():
    bench, vm, taken = loaded(20.0, "helper")
    process = bench.env.process(bench.hypervisor.remove_snapshot(vm, taken.id))
    process.defused = True
    bench.env.run(until=bench.env.now + 0.5)
    bench.do(bench.hypervisor.crash(vm))
    assert isinstance(process.value, Interrupted)
    bench.do(bench.hypervisor.power_on(vm))
    assert vm.consolidation_needed
    bench.do(bench.hypervisor.consolidate(vm))
    bench.env.run(until=bench.env.now + 3)
    check(bench, vm)
