"""What an administrator does: register, destroy, relocate, disable, rename, estimate."""

from __future__ import annotations

import asyncio

import pytest
import simpy

from hypervisor.bench import BLOCK, EAGER, FS_BLOCK, LAZY, fill, rig, seen, spec, written
from hypervisor.test_local_hypervisor import contents, freeze, play, truth
from stuntdouble.clock import perform
from stuntdouble.errors import (
    ChangeHistoryLost,
    InvalidState,
    MediumError,
    MethodDisabled,
    Misuse,
    NoSpace,
    NotFound,
    Unsupported,
)
from stuntdouble.extents import Runs, State
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.ports import ALL_ALLOCATED, Transport
from stuntdouble.site import COPY_ON_WRITE
from stuntdouble.units import MIB


def second(bench, blocks=32, name="ds2"):
    """Add a datastore of so many file-system blocks, one of them its own."""
    size = blocks * FS_BLOCK // BLOCK
    lun = bench.site.create_lun(size, 16, 1, bench.luns[0].blocks)
    sizes = {"fs_block_bytes": FS_BLOCK, "zero_bytes": FS_BLOCK}
    return bench.hypervisor.add_datastore(name, [lun], (f"naa.{name}",), **sizes)


def built(*disks, **kw):
    """Return a rig, its administration, and a VM that is off."""
    bench = rig(register_seconds=1.0, unregister_seconds=1.0, **kw)
    vm = bench.hypervisor.add_vm("vm", disks or [spec()], None, powered_on=False)
    return bench, bench.hypervisor.admin, vm


def truth_now(bench, vm, key=2000):
    disk = vm.disks[key].disk
    return written(bench.site, disk, disk.moment(bench.env.now))


# The inventory. --------------------------------------------------------------------------------


def test_what_cannot_be_registered_or_unregistered_is_refused():
    bench, admin, vm = built()
    with pytest.raises(InvalidState, match="in the inventory already"):
        bench.do(admin.register("ds", "vm/vm.vmx"))
    bench.do(admin.unregister(vm))
    assert "vm" not in bench.hypervisor.vms
    with pytest.raises(NotFound, match="no VM named 'vm'"):
        admin.unregister("vm")
    with pytest.raises(NotFound, match="datastore"):
        bench.do(admin.register("elsewhere", "vm/vm.vmx"))
    for path in ("vm/other.vmx", "other", "vm/vm.vmdk", ""):
        with pytest.raises(NotFound, match="VM on ds"):
            bench.do(admin.register("ds", path))
    bench.hypervisor.add_vm("taken", [spec()], None, powered_on=False)
    with pytest.raises(InvalidState, match="taken is in the inventory"):
        bench.do(admin.register("ds", "vm/vm.vmx", "taken"))
    both = [bench.env.process(admin.register("ds", "vm")) for _ in range(2)]
    both[1].defused = True
    bench.settle()
    assert both[0].ok
    assert isinstance(both[1].value, InvalidState)
    bench.do(bench.hypervisor.power_on("vm"))
    with pytest.raises(InvalidState, match="powered on"):
        bench.do(admin.unregister("vm"))


def test_a_vm_without_disks_cannot_be_found_again():
    bench = rig()
    bench.hypervisor.add_vm("empty", [], None, powered_on=False)
    with pytest.raises(Unsupported, match="has no disks"):
        bench.do(bench.hypervisor.admin.unregister("empty"))


def test_a_new_vm_does_not_take_the_folder_of_an_unregistered_one():
    bench, admin, vm = built()
    fill(bench, vm.disks[2000].disk, 0, 9)
    want = truth_now(bench, vm)
    bench.do(admin.unregister(vm))
    other = bench.do(bench.hypervisor.create_vm("vm", [spec()]))
    assert other.disks[2000].name == "vm_1/vm_1.vmdk"
    assert other.uuid != vm.uuid or other is vm
    with pytest.raises(InvalidState, match="vm is in the inventory"):
        bench.do(admin.register("ds", "vm/vm.vmx"))
    back = bench.do(admin.register("ds", "vm/vm.vmx", "vm again"))
    assert truth_now(bench, back) == want == seen(back.disks[2000].disk.head, back.disks[2000].disk)
    bench.do(admin.unregister("vm again"))
    assert bench.do(admin.register("ds", "vm")).name == "vm again"


def test_a_vm_comes_back_with_its_load_and_without_its_change_history():
    async def scenario(bench, port):
        host, admin = bench.hypervisor, bench.hypervisor.admin
        await port.enable_tracking("vm")
        first = await port.create_snapshot("vm", "s", quiesce=False)
        await perform(bench.env, host.power_off("vm"))
        await perform(bench.env, admin.unregister("vm"))
        before = host.host.engine.guests[0].completed
        await asyncio.sleep(5)
        back = await perform(bench.env, admin.register("ds", "vm/vm.vmx"))
        assert not back.powered_on
        await perform(bench.env, host.power_on("vm"))
        await asyncio.sleep(5)
        assert back.guest.completed > before > 0
        again = await port.create_snapshot("vm", "t", quiesce=False)
        with pytest.raises(ChangeHistoryLost):
            await port.changed_ranges(again, 2000, first.change_ids[2000], 0)
        page = await port.changed_ranges(again, 2000, ALL_ALLOCATED, 0)
        assert page.extents  # it had a snapshot then, so it is all of the disk
        shown = {s.id: s for s in await port.snapshots("vm")}
        assert shown[first.id].change_ids == {}
        for snapshot in (first, again):
            device = await port.open_disk(shown[snapshot.id], 2000, Transport.SAN)
            assert await contents(device) == truth(bench, snapshot, 2000)
        await perform(bench.env, host.revert("vm", first.id))
        assert truth_now(bench, back) == truth(bench, first, 2000)

    play(scenario)


def test_moments_outlive_the_registration():
    bench, admin, vm = built()
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    bench.do(admin.unregister(vm))
    bench.hypervisor.forget_moments(lambda _moment: False)
    bench.do(admin.register("ds", "vm"))
    bench.do(bench.hypervisor.revert("vm", taken.id))


def test_a_vm_on_two_datastores_comes_back_whole():
    bench, admin = rig(), None
    admin = bench.hypervisor.admin
    second(bench)
    disks = [spec(1), spec(2, datastore="ds2")]
    vm = bench.hypervisor.add_vm("vm", disks, None, powered_on=False)
    for store in ("ds", "ds2"):
        bench.do(admin.unregister("vm"))
        vm = bench.do(admin.register(store, "vm/vm.vmx"))
        assert [(d.key, d.datastore.name) for d in vm.disks.values()] == [(1, "ds"), (2, "ds2")]


def test_a_destroyed_vm_leaves_nothing_and_asks_for_nothing():
    load = PoissonLoad(1, "vm", 100.0, (Pattern(0.5, BLOCK, MIB),))
    bench = rig()
    free = bench.datastore.free_bytes
    vm = bench.add_vm(spec(provisioning=LAZY), load=load)
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    with pytest.raises(InvalidState, match="powered on"):
        bench.do(bench.hypervisor.admin.destroy("vm"))
    bench.do(bench.hypervisor.power_off(vm))
    bench.do(bench.hypervisor.admin.destroy("vm"))
    assert bench.datastore.free_bytes == free
    assert not [name for name in bench.datastore.store.files if "/" in name]
    assert "vm" not in bench.datastore.store.records
    assert not bench.hypervisor.vms
    arrived = vm.guest.arrived
    bench.env.run(until=bench.env.now + 10)
    assert vm.guest.arrived == arrived
    again = bench.hypervisor.add_vm("vm", [spec()], None)
    assert again.disks[2000].name == "vm/vm.vmdk"


# Disabled methods. -----------------------------------------------------------------------------


def test_a_disabled_method_is_refused_until_everybody_has_enabled_it():
    bench, admin, vm = built()
    second(bench)
    for source in ("backup", "another"):
        admin.disable_methods(vm, ["RelocateVM_Task", "Destroy_Task"], source)
    for model in (admin.relocate(vm, "ds2"), admin.destroy(vm)):
        with pytest.raises(MethodDisabled, match="of vm is disabled by another, backup"):
            bench.do(model)
    admin.enable_methods(vm, ["RelocateVM_Task"], "backup")
    with pytest.raises(MethodDisabled, match="RelocateVM_Task of vm is disabled by another"):
        bench.do(admin.relocate(vm, "ds2"))
    admin.enable_methods(vm, ["RelocateVM_Task", "PowerOnVM_Task"], "another")
    bench.do(admin.relocate(vm, "ds2"))
    assert vm.disks[2000].datastore.name == "ds2"
    assert set(vm.disabled) == {"Destroy_Task"}
    with pytest.raises(Misuse, match="source"):
        admin.disable_methods(vm, ["Destroy_Task"], "")


# Snapshots. ------------------------------------------------------------------------------------


def test_a_snapshot_has_a_number_and_a_description_and_may_get_another_name():
    bench, admin, vm = built()
    host = bench.hypervisor
    taken = [bench.do(host.create_snapshot(vm, f"s{i}", description=f"d{i}")) for i in range(3)]
    bench.do(host.remove_snapshot(vm, taken[2].id))
    bench.do(host.create_snapshot(vm, "s3"))
    bench.do(admin.rename_snapshot(vm, taken[0].id, "first"))
    bench.do(admin.rename_snapshot(vm, taken[1].id, None, "second"))
    want = [("first", "d0", 1), ("s1", "second", 2), ("s3", "", 4)]
    assert [(s.name, s.description, s.number) for s in vm.snapshots] == want
    record = bench.datastore.store.records["vm"]
    assert [(s.name, s.description, s.number) for s in record.snapshots] == want
    bench.do(admin.unregister(vm))
    back = bench.do(admin.register("ds", "vm"))
    assert [(s.name, s.description, s.number) for s in back.snapshots] == want
    bench.do(host.create_snapshot(back, "s4"))
    assert back.snapshots[-1].number == 5
    with pytest.raises(NotFound):
        bench.do(admin.rename_snapshot(back, taken[2].id, "gone"))


def test_a_snapshot_may_go_with_its_children_and_without_consolidation():
    bench, admin, vm = built()
    host = bench.hypervisor
    ids = []
    for i in range(4):
        ids.append(bench.do(host.create_snapshot(vm, str(i))).id)
        fill(bench, vm.disks[2000].disk, i * 8, 8)
    want = truth_now(bench, vm)
    bench.do(host.remove_snapshot(vm, ids[1], remove_children=True, consolidate=False))
    assert [s.id for s in vm.snapshots] == ids[:1]
    assert vm.current.id == ids[0]
    assert vm.consolidation_needed
    assert len(vm.disks[2000].chain.levels) == 5
    bench.do(host.remove_all_snapshots(vm, consolidate=False))
    assert not vm.snapshots
    assert vm.consolidation_needed
    with pytest.raises(NotFound, match="current"):
        bench.do(admin.revert_to_current(vm))
    bench.do(host.consolidate(vm))
    assert not vm.disks[2000].chain.deltas
    assert truth_now(bench, vm) == want == seen(vm.disks[2000].disk.head, vm.disks[2000].disk)


@pytest.mark.parametrize("count", [1, 3])
def test_the_estimate_is_what_a_consolidation_takes(count):
    bench, admin, vm = built()
    disk = vm.disks[2000]
    fill(bench, disk.disk, 0, 40)
    assert bench.do(admin.estimate_consolidation(vm)) == 0
    for i in range(count):
        bench.do(bench.hypervisor.create_snapshot(vm, "s"))
        fill(bench, disk.disk, 30 + 50 * i, 24)
    bench.do(bench.hypervisor.remove_all_snapshots(vm, consolidate=False))
    estimate = bench.do(admin.estimate_consolidation(vm))
    before = disk.chain.levels[0].file.size_bytes
    bench.do(bench.hypervisor.consolidate(vm))
    assert disk.disk.head.file.size_bytes - before == estimate > 0


def test_the_estimate_knows_the_room_that_a_delta_has():
    bench, admin, vm = built(growth_bytes=FS_BLOCK)
    disk = vm.disks[2000]
    first = bench.do(bench.hypervisor.create_snapshot(vm, "kept"))
    fill(bench, disk.disk, 0, 20)
    middle = bench.do(bench.hypervisor.create_snapshot(vm, "goes"))
    fill(bench, disk.disk, 10, 30)
    last = bench.do(bench.hypervisor.create_snapshot(vm, "stays"))
    bench.do(bench.hypervisor.remove_snapshot(vm, middle.id, consolidate=False))
    estimate = bench.do(admin.estimate_consolidation(vm))
    target = disk.chain.levels[1].file
    before = target.size_bytes
    bench.do(bench.hypervisor.consolidate(vm))
    assert target.size_bytes - before == estimate > 0
    assert [s.id for s in vm.snapshots] == [first.id, last.id]


# Relocation. -----------------------------------------------------------------------------------


def test_what_cannot_be_relocated_is_refused_and_left_as_it_is():
    bench, admin, vm = built(spec(1, provisioning=LAZY), spec(2))
    host = bench.hypervisor
    fill(bench, vm.disks[2].disk)
    small = second(bench, 24)  # the first disk fits
    files = set(bench.datastore.store.files)
    with pytest.raises(NotFound):
        bench.do(admin.relocate(vm, "elsewhere"))
    with pytest.raises(NoSpace):
        bench.do(admin.relocate(vm, "ds2"))
    assert small.free_bytes == small.capacity_bytes
    assert set(small.store.files) == {"file system"}
    assert set(bench.datastore.store.files) == files
    bench.do(host.power_on(vm))
    with pytest.raises(Unsupported, match="while it runs"):
        bench.do(admin.relocate(vm, "ds2"))
    host.add_vm("raw", [spec(mode="raw")], None, powered_on=False)
    with pytest.raises(Unsupported, match="raw mapping"):
        bench.do(admin.relocate("raw", "ds2"))


def test_a_disk_that_cannot_be_read_stays_where_it_is():
    bench, admin, vm = built()
    small = second(bench)
    disk = vm.disks[2000].disk
    fill(bench, disk)
    [row, *_] = [r for r in bench.hypervisor.layout(vm, 2000) if r.state is State.WRITTEN]
    bench.luns[0].damage(Runs.single(row.volume_offset, BLOCK), "error")
    with pytest.raises(MediumError, match=r"vm/vm\.vmdk"):
        bench.do(admin.relocate(vm, "ds2"))
    assert small.free_bytes == small.capacity_bytes
    assert vm.disks[2000].datastore is bench.datastore


def test_a_relocation_takes_the_time_of_its_io_and_moves_what_was_written():
    times, moved = [], []
    for count in (16, 128):
        bench, admin, vm = built(spec(provisioning=LAZY), task_seconds=4.0)
        second(bench)
        fill(bench, vm.disks[2000].disk, 0, count)
        free = bench.datastore.free_bytes
        bench.do(admin.relocate(vm, "ds2"))
        facts = bench.last("relocated")
        times.append(facts["seconds"])
        moved.append(facts["bytes"])
        assert bench.env.now > 4.0
        assert bench.datastore.free_bytes == free + MIB
    assert moved == [16 * BLOCK, 128 * BLOCK]
    assert 0 < times[0] < times[1]


def test_a_relocation_tells_how_far_it_is_and_why_tracking_starts_anew():
    bench, admin, vm = built(spec(size=30 * MIB), task_seconds=4.0, lun_bytes=48 * MIB)
    second(bench, 512)
    fill(bench, vm.disks[2000].disk)
    bench.do(bench.hypervisor.enable_tracking(vm))
    process = bench.env.process(admin.relocate(vm, "ds2"))
    seen_shares = []
    while process.is_alive:
        bench.env.step()
        seen_shares.append(vm.progress)
    assert seen_shares[:-1] == sorted(seen_shares[:-1])
    assert len({share for share in seen_shares if 0.1 < share < 1.0}) >= 3
    assert max(seen_shares) == 1.0
    assert vm.progress == 0.0
    assert bench.last("tracking-lost") == {"disk": 2000, "cause": "relocated"}
    bench.do(admin.unregister(vm))
    assert bench.last("tracking-lost") == {"disk": 2000, "cause": "unregistered"}


def test_an_eagerly_zeroed_disk_is_zeroed_where_it_goes():
    bench, admin, vm = built(spec(provisioning=EAGER))
    second(bench)
    fill(bench, vm.disks[2000].disk, 3, 5)
    bench.do(admin.relocate(vm, "ds2"))
    head = vm.disks[2000].disk.head
    assert seen(head, vm.disks[2000].disk) == truth_now(bench, vm)
    assert head.file.store is bench.hypervisor.datastores["ds2"].store


def test_a_guest_heeds_the_fences_of_where_it_has_gone():
    bench, admin, vm = built()
    other = second(bench)
    bench.engine.fence(list(bench.luns))
    assert vm.guest.fences == 1
    bench.engine.unfence(list(bench.luns))
    bench.engine.fence(list(other.luns))
    process = bench.env.process(admin.relocate(vm, "ds2"))
    while process.is_alive:
        bench.env.step()
    assert vm.guest.fences == 1
    bench.engine.unfence(list(other.luns))
    assert vm.guest.fences == 0
    bench.engine.fence(list(bench.luns))
    assert vm.guest.fences == 0


def test_an_interrupted_relocation_has_not_happened():
    for steps in range(0, 400, 23):
        bench, admin, vm = built()
        other = second(bench)
        fill(bench, vm.disks[2000].disk, 0, 200)
        process = bench.env.process(admin.relocate(vm, "ds2"))
        process.defused = True
        for _ in range(steps):
            if process.is_alive:
                bench.env.step()
        if process.is_alive:
            process.interrupt("cut short")
        bench.settle()
        moved = vm.disks[2000].datastore is other
        assert moved or isinstance(process.value, simpy.Interrupt)
        assert (other.free_bytes == other.capacity_bytes) == (not moved)
        assert seen(vm.disks[2000].disk.head, vm.disks[2000].disk) == truth_now(bench, vm)


def test_a_copy_that_is_relocated_becomes_a_vm_of_its_own():
    async def scenario(bench, port):
        host, admin = bench.hypervisor, bench.hypervisor.admin
        existing = await port.create_snapshot("vm", "existing", quiesce=False)
        await asyncio.sleep(1)
        taken = await port.create_snapshot("vm", "s", quiesce=False)
        await asyncio.sleep(1)
        copies = freeze(bench, COPY_ON_WRITE)
        wanted = {key: truth(bench, taken, key) for key in (2000, 2001)}
        before = {key: truth(bench, existing, key) for key in (2000, 2001)}
        await port.remove_snapshot(taken)
        host.forget_moments(lambda _moment: False)
        name = await port.mount_copy(copies)
        with bench.env.entered():
            other = second(bench, 512)
        await perform(bench.env, host.power_off("vm"))
        with pytest.raises(InvalidState, match="a mounted copy"):
            await perform(bench.env, admin.relocate("vm", name))
        await perform(bench.env, host.power_on("vm"))
        copy = await perform(bench.env, admin.register(name, "vm/vm.vmx", "restored"))
        files = set(host.datastores[name].store.files)
        await perform(bench.env, admin.relocate("restored", "ds2"))
        assert not copy.is_copy
        assert set(host.datastores[name].store.files) == files
        assert {disk.datastore for disk in copy.disks.values()} == {other}
        await port.unmount(name)
        assert [snapshot.id for snapshot in copy.snapshots] == [existing.id, taken.id]
        for key, disk in copy.disks.items():
            assert seen(disk.disk.head, disk.disk) == truth_now(bench, copy, key)
        await perform(bench.env, host.revert(copy, taken.id))
        assert {key: truth_now(bench, copy, key) for key in wanted} == wanted
        await perform(bench.env, host.revert(copy, existing.id))
        assert {key: truth_now(bench, copy, key) for key in before} == before
        await perform(bench.env, host.power_on(copy))
        assert copy.powered_on
        await perform(bench.env, host.power_off(copy))
        await perform(bench.env, admin.destroy("restored"))
        assert other.free_bytes == other.capacity_bytes

    play(scenario)
