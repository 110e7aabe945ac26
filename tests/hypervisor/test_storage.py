"""What the host sees: rescans, copies that are not resolved, resignaturing, mounting by steps."""

from __future__ import annotations

import re

import pytest

from hypervisor.bench import FS_BLOCK, fill, rig, seen, spec, written
from stuntdouble.errors import InvalidState, NotFound, Unreachable, Unsupported
from stuntdouble.hypervisor import copies
from stuntdouble.site import COPY_ON_WRITE
from stuntdouble.units import MIB

VOLUME_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}")


class Masked:
    """A rig whose array maps what is in ``mapped``; a VM with a disk that is written."""

    def __init__(self, luns=1, **kw):
        self.bench = rig(luns=luns, lun_bytes=MIB if luns > 1 else 16 * MIB, **kw)
        self.host, self.storage = self.bench.hypervisor, self.bench.hypervisor.storage
        self.mapped = {}
        self.storage.visible = lambda: dict(self.mapped)
        self.vm = self.host.add_vm("vm", [spec()], None, powered_on=False)
        fill(self.bench, self.vm.disks[2000].disk)

    def copy(self, name):
        """Take an array snapshot of every LUN, promote and map it; return the identifiers."""
        images = self.bench.site.freeze(self.bench.luns, COPY_ON_WRITE)
        naas = tuple(f"naa.{name}{i}" for i in range(len(images)))
        self.mapped.update(zip(naas, (image.open() for image in images), strict=True))
        return naas

    def do(self, model):
        return self.bench.do(model)

    def rescan(self):
        self.do(self.storage.rescan())


def test_a_host_sees_what_is_mapped_from_its_next_rescan_on():
    masked = Masked(rescan_seconds=3.0)
    [naa] = masked.copy("a")
    assert masked.storage.unresolved() == ()
    with pytest.raises(NotFound, match=re.escape("naa.a0")):
        masked.storage.lun(naa)
    masked.rescan()
    assert masked.bench.env.now == 3.0
    [found] = masked.storage.unresolved()
    assert (found.label, found.uuid, found.resolvable) == ("ds", masked.bench.datastore.uuid, True)
    assert [(e.naa, e.ordinal, e.size_bytes) for e in found.extents] == [(naa, 0, 16 * MIB)]
    assert [(d.naa, d.state) for d in masked.storage.devices()] == [("naa.0", "ok"), (naa, "ok")]
    masked.mapped.clear()
    assert masked.storage.unresolved() == ()
    with pytest.raises(Unreachable, match=re.escape(naa)):
        masked.storage.lun(naa)
    masked.rescan()
    with pytest.raises(NotFound):
        masked.storage.lun(naa)


def test_the_steps_are_what_mounting_at_once_does():
    one, other = Masked(), Masked()
    naas = one.copy("a")
    at_once = one.do(copies.mount(one.host, [one.mapped[naa] for naa in naas], naas))
    other.copy("a")
    other.rescan()
    by_steps = other.do(other.storage.resignature(naas))
    assert one.bench.env.now == other.bench.env.now == 55.0
    assert at_once.name == by_steps.name
    assert re.fullmatch(r"snap-[0-9a-f]{8}-ds", by_steps.name)
    assert at_once.uuid == by_steps.uuid
    events = [(e.time, e.kind, e.subject, e.facts) for e in other.bench.journal]
    assert [(e.time, e.kind, e.subject, e.facts) for e in one.bench.journal] == [
        event for event in events if event[1] != "rescanned"
    ]
    assert len(events) == len(one.bench.journal) + 1


def test_a_resignatured_copy_has_an_identity_of_its_own_and_is_resolved():
    masked = Masked()
    naas = masked.copy("a")
    masked.rescan()
    mounted = masked.do(masked.storage.resignature(naas))
    original = masked.bench.datastore
    assert VOLUME_UUID.fullmatch(mounted.uuid)
    assert VOLUME_UUID.fullmatch(original.uuid)
    assert mounted.uuid != original.uuid
    masked.rescan()
    assert masked.storage.unresolved() == ()
    with pytest.raises(InvalidState, match="no unresolved copy"):
        masked.do(masked.storage.resignature(naas))
    masked.do(masked.storage.unmount_volume(mounted.name))
    assert mounted.name not in masked.host.datastores
    found = {v.name: v for v in masked.storage.volumes()}
    assert found["ds"].mounted
    assert not found[mounted.name].mounted
    assert found[mounted.name].capacity_bytes == original.capacity_bytes
    assert masked.storage.unresolved() == ()
    again = masked.do(masked.storage.mount_volume(mounted.uuid))
    assert (again.name, again.uuid, again.naas) == (mounted.name, mounted.uuid, naas)
    copy = masked.do(masked.host.admin.register(again.name, "vm/vm.vmx"))
    disk = masked.vm.disks[2000].disk
    want = written(masked.bench.site, disk, disk.moment(0.0))
    assert seen(copy.disks[2000].disk.head, copy.disks[2000].disk) == want
    with pytest.raises(InvalidState, match="in use by vm on snap-"):
        masked.do(masked.storage.unmount_volume(again.name))


def test_two_copies_of_one_volume_are_told_apart_by_their_devices():
    masked = Masked()
    first, second = masked.copy("a"), masked.copy("b")
    masked.rescan()
    [found] = masked.storage.unresolved()
    assert found.multiple_copies
    assert not found.resolvable
    assert not found.incomplete_extents
    made = [masked.do(masked.storage.resignature(naas)) for naas in (second, first)]
    assert made[0].uuid != made[1].uuid
    assert made[0].name != made[1].name
    assert [store.naas for store in made] == [second, first]
    assert masked.storage.unresolved() == ()


def test_a_copy_of_several_extents_must_be_whole():
    masked = Masked(luns=3)
    naas = masked.copy("a")
    gone = masked.mapped.pop(naas[1])
    masked.rescan()
    [found] = masked.storage.unresolved()
    assert [(e.naa, e.ordinal) for e in found.extents] == [(naas[0], 0), (naas[2], 2)]
    assert found.extent_count == 3
    assert found.incomplete_extents
    assert not found.resolvable
    for some in ((naas[0],), (naas[2],), (naas[0], naas[2])):
        with pytest.raises(InvalidState, match="no whole datastore"):
            masked.do(masked.storage.resignature(some))
    masked.mapped[naas[1]] = gone
    masked.rescan()
    assert masked.storage.unresolved()[0].resolvable
    with pytest.raises(Unsupported, match="without a new signature"):
        masked.storage.force_mount(naas)
    mounted = masked.do(masked.storage.resignature(naas[::-1]))
    assert mounted.naas == naas
    copy = masked.do(masked.host.admin.register(mounted.name, "vm"))
    disk = masked.vm.disks[2000].disk
    want = written(masked.bench.site, disk, disk.moment(0.0))
    assert seen(copy.disks[2000].disk.head, copy.disks[2000].disk) == want
    masked.do(masked.host.admin.unregister(copy))
    masked.do(masked.storage.unmount_volume(mounted.name))
    del masked.mapped[naas[2]]
    assert [v.name for v in masked.storage.volumes()] == ["ds"]


def test_what_lies_on_a_dead_device_cannot_be_used():
    masked = Masked()
    naas = masked.copy("a")
    masked.rescan()
    mounted = masked.do(masked.storage.resignature(naas))
    copy = masked.do(masked.host.admin.register(mounted.name, "vm"))
    masked.mapped.clear()
    copy.check_reachable()  # the host has not looked yet
    masked.rescan()
    assert [(d.naa, d.state) for d in masked.storage.devices()] == [
        ("naa.0", "ok"),
        (naas[0], "dead"),
    ]
    with pytest.raises(Unreachable, match=re.escape(naas[0])):
        copy.check_reachable()
    with pytest.raises(Unreachable):
        masked.do(masked.host.admin.destroy(copy))
    masked.do(masked.host.admin.unregister(copy))
    masked.do(masked.storage.unmount_volume(mounted.name))
    assert [v.name for v in masked.storage.volumes()] == ["ds"]
    masked.bench.datastore.check_reachable()


def test_an_ordinary_datastore_can_be_unmounted_and_mounted():
    masked = Masked()
    uuid, free = masked.bench.datastore.uuid, masked.bench.datastore.free_bytes
    with pytest.raises(InvalidState, match="in use by vm"):
        masked.do(masked.storage.unmount_volume("ds"))
    with pytest.raises(InvalidState, match="is mounted"):
        masked.do(masked.storage.mount_volume(uuid))
    for unknown in (
        masked.storage.mount_volume("none"),
        masked.storage.unmount_volume("none"),
        masked.storage.rescan("none"),
    ):
        with pytest.raises(NotFound):
            masked.do(unknown)
    masked.do(masked.host.admin.unregister("vm"))
    masked.do(masked.storage.unmount_volume("ds"))
    assert not masked.host.datastores
    with pytest.raises(NotFound, match="datastore"):
        masked.do(masked.host.admin.register("ds", "vm"))
    assert [d.naa for d in masked.storage.devices()] == ["naa.0"]
    assert [(v.name, v.mounted) for v in masked.storage.volumes()] == [("ds", False)]
    again = masked.do(masked.storage.mount_volume(uuid))
    assert (again.name, again.uuid, again.free_bytes) == ("ds", uuid, free)
    masked.do(masked.host.admin.register("ds", "vm"))


def test_a_vm_whose_second_datastore_is_not_mounted_cannot_come_back():
    masked = Masked()
    lun = masked.bench.site.create_lun(16 * FS_BLOCK // 4096, 16, 1, masked.bench.luns[0].blocks)
    sizes = {"fs_block_bytes": FS_BLOCK, "zero_bytes": FS_BLOCK}
    other = masked.host.add_datastore("ds2", [lun], ("naa.9",), **sizes)
    disks = [spec(1), spec(2, size=FS_BLOCK, datastore="ds2")]
    masked.host.add_vm("both", disks, None, powered_on=False)
    masked.do(masked.host.admin.unregister("both"))
    masked.do(masked.storage.unmount_volume("ds2"))
    with pytest.raises(InvalidState, match="without its disks 2"):
        masked.do(masked.host.admin.register("ds", "both"))
    masked.do(masked.storage.mount_volume(other.uuid))
    assert set(masked.do(masked.host.admin.register("ds", "both")).disks) == {1, 2}


def test_without_an_array_there_is_nothing_to_look_at():
    bench = rig()
    storage = bench.hypervisor.storage
    with pytest.raises(Unsupported, match="without an array"):
        bench.do(storage.rescan())
    with pytest.raises(Unsupported, match="without an array"):
        storage.unresolved()
    assert [v.name for v in storage.volumes()] == ["ds"]


def test_nothing_of_a_copy_outlives_it():
    masked = Masked(luns=2)
    rows = []
    for i in range(3):
        naas = masked.copy(str(i))
        masked.rescan()
        mounted = masked.do(masked.storage.resignature(naas))
        copy = masked.do(masked.host.admin.register(mounted.name, "vm"))
        masked.do(masked.host.admin.unregister(copy))
        masked.do(masked.storage.unmount_volume(mounted.name))
        site = masked.bench.site
        for lun in masked.mapped.values():
            site.drop_lun(lun)
        masked.mapped.clear()
        for image in [i for images in site.images.values() for i in images]:
            site.thaw(image)
            site.drop_lun(image.lun)
        del image, lun, copy, mounted
        site.reclaim()
        tables = ("volumes", "images", "stores", "files", "levels", "disks")
        rows.append([site.arena.used(table) for table in tables])
    assert rows[0] == rows[1] == rows[2]
