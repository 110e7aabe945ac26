"""The port: frozen disks read, offset tables followed, disks restored, copies mounted."""

from __future__ import annotations

import asyncio
import re

import numpy as np
import pytest

from hypervisor.bench import BLOCK, EAGER, FS_BLOCK, LAZY, THIN, fill, rig, seen, spec, written
from stuntdouble.clock import perform, run
from stuntdouble.errors import (
    AccessDenied,
    ChangeHistoryLost,
    InvalidState,
    Misuse,
    NoSpace,
    NotFound,
    Unsupported,
)
from stuntdouble.extents import Runs, State
from stuntdouble.hypervisor import LocalHypervisor
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.ports import ALL_ALLOCATED, Throttle, Transport
from stuntdouble.site import COPY_ON_WRITE, REDIRECT_ON_WRITE
from stuntdouble.units import KIB, MIB

SIZE = 2 * MIB


def play(scenario, **kw):
    """Run ``scenario(bench, port)`` in virtual time, with a VM of two disks under load."""

    async def main(env):
        bench = rig(env=env, **{"lun_bytes": 32 * MIB, "fragmentation": 0.5} | kw)
        port = LocalHypervisor(bench.hypervisor, lambda naa: bench.opened[naa])
        load = PoissonLoad(1, "vm", 100.0, (Pattern(0.5, BLOCK, SIZE),) * 2)
        vm = bench.add_vm(spec(2000, SIZE, THIN), spec(2001, SIZE, LAZY), load=load)
        with env.entered():
            for disk in vm.disks.values():
                fill(bench, disk.disk, 100, 60)
        await asyncio.sleep(5)
        return await scenario(bench, port)

    return run(main)


async def contents(device, runs=None, **throttle):
    """Read a device; return its bytes, zeros where not asked."""
    found = bytearray(device.size_bytes)
    runs = Runs.single(0, device.size_bytes) if runs is None else runs
    async for span in device.read(runs, Throttle(**throttle)):
        found[span.offset : span.offset + len(span.data)] = span.data
    return bytes(found)


def truth(bench, snapshot, key):
    disk = bench.hypervisor.vm(snapshot.vm).disks[key].disk
    return written(bench.site, disk, bench.hypervisor.moments[snapshot.id, key])


def through_table(bench, table, luns):
    """Read a disk raw from its volumes, by an offset table."""
    found = bytearray(table.capacity)
    raw = bytearray(table.capacity)
    for row in table:
        if row.state is State.HOLE:
            continue
        lun = luns[row.volume]
        data = lun.render(row.volume_offset // BLOCK, row.length // BLOCK).tobytes()
        raw[row.file_offset : row.file_offset + row.length] = data
        if row.state is State.WRITTEN:
            found[row.file_offset : row.file_offset + row.length] = data
    return bytes(found), bytes(raw)


# Reading. -------------------------------------------------------------------------------------


def test_every_transport_reads_the_moment_while_the_guest_writes_on():
    async def scenario(bench, port):
        taken = await port.create_snapshot("vm", "s", quiesce=True)
        seconds = {}
        for transport in Transport:
            began = bench.env.now
            device = await port.open_disk(taken, 2000, transport)
            assert (device.identity, device.size_bytes) == ("vm/vm.vmdk", SIZE)
            assert await contents(device, block_bytes=64 * KIB) == truth(bench, taken, 2000)
            await device.close()
            await device.close()
            with pytest.raises(InvalidState, match="closed"):
                await contents(device)
            seconds[transport] = bench.env.now - began
        device = await port.open_disk(taken, 2001, Transport.SAN)
        some = Runs.of([(100 * BLOCK + 512, 1024), (SIZE - 512, 512)])
        found, want = await contents(device, some), truth(bench, taken, 2001)
        for start, length in some:
            assert found[start : start + length] == want[start : start + length]
        with pytest.raises(Misuse, match="beyond its end"):
            await contents(device, Runs.single(SIZE, 1))
        with pytest.raises(AccessDenied):
            await device.write(0, memoryview(bytes(BLOCK)))
        busy = bench.engine.meter.busy([1], np.array([0.0, bench.env.now]))[0]
        return seconds, busy

    seconds, busy = play(scenario)
    assert busy > 0  # the network, by NBD alone
    assert seconds[Transport.SAN] < seconds[Transport.NBD]
    assert seconds[Transport.HOT_ADD] > 15.0


def test_a_device_fails_once_its_snapshot_is_gone():
    async def scenario(bench, port):
        taken = await port.create_snapshot("vm", "s", quiesce=False)
        device = await port.open_disk(taken, 2000, Transport.SAN)
        await port.remove_snapshot(taken)
        await port.remove_snapshot(taken)
        with pytest.raises(NotFound):
            await contents(device)
        for call in (port.offset_table(taken, 2000), port.changed_ranges(taken, 2000, "*", 0)):
            with pytest.raises(NotFound, match="snapshot of vm"):
                await call

    play(scenario)


def test_a_device_follows_what_it_reads_when_an_older_snapshot_goes():
    async def scenario(bench, port):
        older = await port.create_snapshot("vm", "a", quiesce=False)
        await asyncio.sleep(3)
        taken = await port.create_snapshot("vm", "b", quiesce=False)
        device = await port.open_disk(taken, 2000, Transport.SAN)
        removal = asyncio.create_task(port.remove_snapshot(older))
        for _ in range(20):
            assert await contents(device) == truth(bench, taken, 2000)
            await asyncio.sleep(0.1)
        await removal

    play(scenario, consolidation_io_bytes=BLOCK)


def test_a_cancelled_call_cleans_up_and_leaves_work_to_do():
    async def scenario(bench, port):
        taken = await port.create_snapshot("vm", "s", quiesce=False)
        await asyncio.sleep(5)
        removal = asyncio.create_task(port.remove_snapshot(taken))
        await asyncio.sleep(0.02)
        removal.cancel()
        with pytest.raises(asyncio.CancelledError):
            await removal
        info = (await port.vms())[0]
        assert info.snapshots == ()
        assert info.consolidation_needed
        await port.consolidate("vm")
        assert not (await port.vms())[0].consolidation_needed

    play(scenario, consolidation_io_bytes=BLOCK, consolidation_bytes_per_second=1e6)


# Offset tables. ---------------------------------------------------------------------------------


def test_offset_tables_through_an_existing_chain_lead_to_the_moment():
    async def scenario(bench, port):
        for _ in range(3):
            await port.create_snapshot("vm", "existing", quiesce=False)
            await asyncio.sleep(2)
        taken = await port.create_snapshot("vm", "s", quiesce=False)
        with bench.env.entered():
            image = bench.site.freeze(bench.luns, COPY_ON_WRITE)[0]
        for key in (2000, 2001):
            table = await port.offset_table(taken, key)
            assert table.volumes == ("naa.0",)
            assert table.capacity == SIZE
            now, _ = through_table(bench, table, bench.luns)
            assert now == truth(bench, taken, key)
        await port.remove_snapshot(taken)
        await asyncio.sleep(5)
        frozen, raw = through_table(bench, table, [image.lun])
        assert frozen == truth(bench, taken, 2001)  # as the array kept it
        assert raw != frozen  # rows to be zeroed hold somebody else's bytes
        states = {row.state for row in table}
        assert states == {State.WRITTEN, State.TO_BE_ZEROED}

    play(scenario)


def test_obstacles_have_no_table():
    async def scenario(bench, port):
        bench.add_vm(spec(2000, mode="raw"), name="other")
        taken = await port.create_snapshot("other", "s", quiesce=False)
        with pytest.raises(InvalidState, match="raw mapping"):
            await port.offset_table(taken, 2000)
        with pytest.raises(NotFound):
            await port.offset_table(taken, 7)

    play(scenario)


# Restoring. -------------------------------------------------------------------------------------


@pytest.mark.parametrize("provisioning", [THIN, LAZY, EAGER])
def test_a_restored_disk_holds_what_was_written_and_zeros_elsewhere(provisioning):
    async def scenario(bench, port):
        info = await port.create_vm("new", "ds", {2000: SIZE, 2001: MIB}, provisioning)
        assert [disk.capacity_bytes for disk in info.disks] == [SIZE, MIB]
        assert not info.powered_on
        target = await port.open_target("new", 2000)
        data = np.arange(5 * 64 * KIB, dtype=np.uint32).tobytes()  # 1.25 MiB: several I/Os
        began = bench.env.now
        await target.write(64 * KIB, memoryview(data))
        assert bench.env.now > began
        want = bytes(64 * KIB) + data + bytes(SIZE - 64 * KIB - len(data))
        assert await contents(target) == want
        disk = bench.hypervisor.vm("new").disks[2000].disk
        assert written(bench.site, disk, disk.moment(bench.env.now)) == want
        await target.close()
        with pytest.raises(InvalidState, match="closed"):
            await target.write(0, memoryview(bytes(BLOCK)))

    play(scenario)


def test_a_restore_refuses_what_it_cannot_do():
    async def scenario(bench, port):
        with pytest.raises(InvalidState, match="powered on"):
            await port.open_target("vm", 2000)
        with pytest.raises(InvalidState, match="inventory"):
            await port.create_vm("vm", "ds", {2000: SIZE}, THIN)
        with pytest.raises(NotFound, match="datastore"):
            await port.create_vm("new", "other", {2000: SIZE}, THIN)
        with pytest.raises(NoSpace):
            await port.create_vm("new", "ds", {2000: 64 * MIB}, LAZY)
        await port.create_vm("new", "ds", {2000: 64 * MIB}, THIN)
        target = await port.open_target("new", 2000)
        for offset, size, what in (
            (1, BLOCK, "blocks have"),
            (0, 100, "blocks have"),
            (64 * MIB, BLOCK, "beyond its end"),
        ):
            with pytest.raises(Misuse, match=what):
                await target.write(offset, memoryview(bytes(size)))
        with pytest.raises(NoSpace):
            await target.write(0, memoryview(bytes(32 * MIB)))
        with pytest.raises(NotFound, match="disk of new"):
            await port.open_target("new", 9)

    play(scenario)


def test_a_cancelled_creation_leaves_nothing():
    async def scenario(bench, port):
        before = set(bench.datastore.store.files)
        creation = asyncio.create_task(port.create_vm("new", "ds", {2000: 16 * MIB}, EAGER))
        await asyncio.sleep(0.02)
        assert len(bench.hypervisor.vms) == 2
        creation.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creation
        assert len(bench.hypervisor.vms) == 1
        await perform(bench.env, bench.hypervisor.power_off("vm"))
        assert set(bench.datastore.store.files) == before
        assert "new" not in bench.datastore.store.records

    play(scenario)


def test_a_vm_on_a_snapshot_is_no_target():
    async def scenario(bench, port):
        await port.create_vm("new", "ds", {2000: SIZE}, THIN)
        target = await port.open_target("new", 2000)
        await port.create_snapshot("new", "s", quiesce=False)
        for attempt in (port.open_target("new", 2000), target.write(0, memoryview(bytes(BLOCK)))):
            with pytest.raises(InvalidState, match="on top of a snapshot"):
                await attempt

    play(scenario)


# Inventory and latency. ---------------------------------------------------------------------------


def test_the_inventory_and_its_latency():
    async def scenario(bench, port):
        (info,) = await port.vms()
        assert (info.name, info.powered_on, info.tracking) == ("vm", True, False)
        assert [(d.key, d.name, d.volumes) for d in info.disks] == [
            (2000, "vm/vm.vmdk", ("naa.0",)),
            (2001, "vm/vm_1.vmdk", ("naa.0",)),
        ]
        busy = await port.latency_seconds("ds")
        recent = bench.engine.meter.latencies("vm").seconds.mean()
        assert busy == pytest.approx(recent)
        await perform(bench.env, bench.hypervisor.power_off("vm"))
        await asyncio.sleep(30)
        assert await port.latency_seconds("ds") == 0.0

    play(scenario)


# Mounted copies. ----------------------------------------------------------------------------------


def freeze(bench, kind=COPY_ON_WRITE):
    """Take an array snapshot of every LUN and promote it; return the copies' identifiers."""
    with bench.env.entered():
        images = bench.site.freeze(bench.luns, kind)
        names = tuple(f"copy.{bench.env.now}.{i}" for i in range(len(images)))
        bench.opened.update(zip(names, (image.open() for image in images), strict=True))
    return names


@pytest.mark.parametrize("luns", [1, 2])
@pytest.mark.parametrize("kind", [COPY_ON_WRITE, REDIRECT_ON_WRITE])
def test_a_registered_copy_is_what_the_open_snapshot_froze(luns, kind):
    async def scenario(bench, port):
        await port.enable_tracking("vm")
        await port.create_snapshot("vm", "existing", quiesce=False)
        places = [p for f in bench.datastore.store.files.values() for p in f.places.values()]
        assert {ordinal for ordinal, _ in places} == set(range(luns))
        await asyncio.sleep(2)
        taken = await port.create_snapshot("vm", "s", quiesce=False)
        await asyncio.sleep(2)  # the delta of the open snapshot is part of the copy
        copies = freeze(bench, kind)
        await port.remove_snapshot(taken)
        name = await port.mount_copy(copies)
        assert re.fullmatch(r"snap-[0-9a-f]{8}-ds", name)
        assert await port.mount_copy(copies) == name
        info = await port.register_vm(name, "vm")
        assert not info.powered_on
        assert info.name != "vm"
        assert [disk.volumes for disk in info.disks] == [copies, copies]
        assert taken.id in info.snapshots
        for key in (2000, 2001):
            device = await port.open_registered(info.name, key, Transport.SAN)
            assert await contents(device) == truth(bench, taken, key)
        disk = bench.hypervisor.vm(info.name).disks[2000].disk
        assert seen(disk.head, disk) != truth(bench, taken, 2000)  # the head is not the moment
        await port.unregister_vm(info.name)
        await port.unregister_vm(info.name)
        await port.unmount(name)
        await port.unmount(name)
        assert [vm.name for vm in await port.vms()] == ["vm"]

    # of two, the first is too small for the VM
    play(scenario, luns=luns, lun_bytes=32 * MIB if luns == 1 else 4 * MIB)


def test_a_registered_copy_tracks_under_another_identity():
    async def scenario(bench, port):
        await port.enable_tracking("vm")
        taken = await port.create_snapshot("vm", "s", quiesce=False)
        name = await port.mount_copy(freeze(bench))
        info = await port.register_vm(name, "vm")
        assert info.tracking
        assert bench.hypervisor.vm(info.name).disks[2000].tracker.active
        await port.consolidate(info.name)
        again = await port.create_snapshot(info.name, "t", quiesce=False)
        old, new = taken.change_ids[2000], again.change_ids[2000]
        assert old.split("/")[0] != new.split("/")[0]
        with pytest.raises(ChangeHistoryLost):
            await port.changed_ranges(again, 2000, old, 0)
        page = await port.changed_ranges(again, 2000, ALL_ALLOCATED, 0)
        assert page.extents == Runs.single(0, SIZE)  # it had a snapshot when tracking began
        with pytest.raises(Unsupported):
            await perform(bench.env, bench.hypervisor.power_on(info.name))

    play(scenario)


def test_a_copy_of_a_vm_on_several_datastores_is_registered_from_each():
    async def scenario(bench, port):
        site, size = bench.site, bench.luns[0].size_bytes
        with bench.env.entered():
            other = site.create_lun(size // BLOCK, 16, 1, size // BLOCK)
            host = bench.hypervisor
            host.add_datastore(
                "ds2", [other], ("naa.9",), fs_block_bytes=FS_BLOCK, zero_bytes=BLOCK
            )
            vm = bench.add_vm(spec(1), spec(2, datastore="ds2"), name="both")
            for disk in vm.disks.values():
                fill(bench, disk.disk)
        taken = await port.create_snapshot("both", "s", quiesce=False)
        assert [disk.disk.head.file.store.luns[0] for disk in vm.disks.values()] == [
            bench.luns[0],
            other,
        ]  # a delta lies beside its base
        bench.luns.append(other)
        first, second = freeze(bench)
        for naa, key in ((first, 1), (second, 2)):
            name = await port.mount_copy((naa,))
            info = await port.register_vm(name, "both")
            assert [disk.key for disk in info.disks] == [key]
            device = await port.open_registered(info.name, key, Transport.SAN)
            assert await contents(device) == truth(bench, taken, key)

    play(scenario)


def test_a_disk_of_a_vm_without_a_snapshot_shows_its_head():
    async def scenario(bench, port):
        with pytest.raises(InvalidState, match="powered on"):
            await port.open_registered("vm", 2000, Transport.SAN)
        copies = freeze(bench)
        disk = bench.hypervisor.vm("vm").disks[2000].disk
        want = seen(disk.head, disk)
        name = await port.mount_copy(copies)
        info = await port.register_vm(name, "vm")
        device = await port.open_registered(info.name, 2000, Transport.SAN)
        assert await contents(device) == want
        with pytest.raises(InvalidState, match="in the inventory"):
            await port.register_vm(name, "vm")
        with pytest.raises(InvalidState, match="in use by"):
            await port.unmount(name)

    play(scenario)


def test_what_cannot_be_mounted_or_registered_is_refused():
    async def scenario(bench, port):
        copies = freeze(bench)
        for volumes in (copies[:1], copies[1:]):
            with pytest.raises(InvalidState, match="no whole datastore"):
                await port.mount_copy(volumes)
        for call in (port.register_vm("none", "vm"), port.register_vm("ds", "other")):
            with pytest.raises(NotFound):
                await call
        with pytest.raises(InvalidState, match="not a mounted copy"):
            await port.register_vm("ds", "vm")
        with pytest.raises(InvalidState, match="in use by vm"):
            await port.unmount("ds")
        with pytest.raises(InvalidState, match="not a registered copy"):
            await port.unregister_vm("vm")

    play(scenario, luns=2)


def test_mounting_and_registering_take_their_time():
    async def scenario(bench, port):
        began = bench.env.now
        copies = freeze(bench)
        both = await asyncio.gather(port.mount_copy(copies), port.mount_copy(copies))
        assert both[0] == both[1]
        assert bench.env.now - began == pytest.approx(55.0)
        began = bench.env.now
        info = await port.register_vm(both[0], "vm")
        await port.unregister_vm(info.name)
        await port.unmount(both[0])
        assert bench.env.now - began == pytest.approx(20.0)

    play(scenario)


def test_nothing_is_left_of_copies_that_are_gone():
    async def scenario(bench, port):
        rows = []
        for _ in range(3):
            copies = freeze(bench)
            name = await port.mount_copy(copies)
            info = await port.register_vm(name, "vm")
            await port.unregister_vm(info.name)
            await port.unmount(name)
            for naa in copies:
                bench.site.drop_lun(bench.opened.pop(naa))
            for image in [i for images in bench.site.images.values() for i in images]:
                bench.site.thaw(image)
                bench.site.drop_lun(image.lun)
            del image
            bench.site.reclaim()
            tables = ("volumes", "images", "stores", "files", "levels", "disks")
            rows.append([bench.site.arena.used(table) for table in tables])
        assert rows[0] == rows[1] == rows[2]

    play(scenario)
