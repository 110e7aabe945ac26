"""A datastore as files: what is listed, what it says, what may be put there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hypervisor.bench import BLOCK, FS_BLOCK, LAZY, fill, rig, seen, spec, written
from stuntdouble.errors import (
    FileLocked,
    InvalidState,
    LimitReached,
    MediumError,
    Misuse,
    NoSpace,
    NotFound,
    Unreachable,
    Unsupported,
)
from stuntdouble.extents import Runs
from stuntdouble.hypervisor import copies
from stuntdouble.hypervisor.files import FileKind, tracking_bytes
from stuntdouble.hypervisor.uploads import UPLOAD_BYTES_MAX, UPLOADS_MAX
from stuntdouble.site import COPY_ON_WRITE
from stuntdouble.units import GIB, MIB


def built(*disks, **kw):
    bench = rig(**kw)
    vm = bench.hypervisor.add_vm("vm", disks or [spec()], None, powered_on=False)
    return bench, vm, bench.hypervisor.admin.files("ds")


def assigned(text):
    """Return what a file of assignments says."""
    return dict(re.findall(r'^([^#\s]\S*) = "(.*)"$', text, re.MULTILINE))


def described(text):
    """Return the header of a descriptor, and its extents."""
    return (
        dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE)),
        re.findall(r'^RW (\d+) (\w+) "(.*)"$', text, re.MULTILINE),
    )


# What is there. --------------------------------------------------------------------------------


def test_the_files_of_a_vm_are_listed():
    bench, vm, files = built(spec(2000), spec(2001, provisioning=LAZY))
    fill(bench, vm.disks[2000].disk, 0, 20)
    bench.do(bench.hypervisor.enable_tracking(vm))
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    found = {info.path: info for info in files.list()}
    assert list(found) == sorted(
        f"vm/{name}"
        for stem in ("vm", "vm_1")
        for name in (
            f"{stem}.vmdk",
            f"{stem}-flat.vmdk",
            f"{stem}-ctk.vmdk",
            f"{stem}-000001.vmdk",
            f"{stem}-000001-delta.vmdk",
            f"{stem}-000001-ctk.vmdk",
            *(("vm.vmx", "vm.vmsd", "vmware.log") if stem == "vm" else ()),
        )
    )
    thin, thick = found["vm/vm-flat.vmdk"], found["vm/vm_1-flat.vmdk"]
    assert (thin.size_bytes, thin.allocated_bytes, thin.disk) == (MIB, 2 * FS_BLOCK, 2000)
    assert (thick.size_bytes, thick.allocated_bytes, thick.disk) == (MIB, MIB, 2001)
    delta = found["vm/vm-000001-delta.vmdk"]
    assert delta.size_bytes == delta.allocated_bytes == 2 * FS_BLOCK
    assert {info.vm for info in found.values()} == {vm.uuid}
    assert found["vm/vm.vmx"].modified == bench.env.now
    taken = sum(info.allocated_bytes for info in found.values())
    assert taken + bench.datastore.free_bytes == bench.datastore.capacity_bytes
    assert files.folders() == ("vm",)
    assert files.list("vm") == tuple(found.values())
    assert files.list("v") == ()
    for info in found.values():
        assert files.find(info.path) == info
        if info.allocated_bytes == 0 and info.kind is not FileKind.TRACKING:
            assert len(files.read_text(info.path).encode()) == info.size_bytes
    with pytest.raises(NotFound):
        bench.hypervisor.admin.files("elsewhere")


def test_a_tracking_file_is_as_long_as_third_parties_have_measured():
    assert tracking_bytes(10 * GIB) == MIB // 2
    assert tracking_bytes(1) == 512
    assert tracking_bytes(MIB * 100) == 5120


# What it says. ---------------------------------------------------------------------------------


def test_a_descriptor_names_its_extent_and_its_parent():
    bench, vm, files = built(spec(size=2 * MIB))
    for i in range(2):
        bench.do(bench.hypervisor.create_snapshot(vm, str(i)))
    texts = [files.read_text(f"vm/vm{part}.vmdk") for part in ("", "-000001", "-000002")]
    (base, extent), (first, delta), (second, _) = map(described, texts)
    assert extent == [("4096", "VMFS", "vm-flat.vmdk")]
    assert delta == [("4096", "VMFSSPARSE", "vm-000001-delta.vmdk")]
    assert base["parentCID"] == "ffffffff"
    assert (base["createType"], first["createType"]) == ("vmfs", "vmfsSparse")
    assert first["parentCID"] == base["CID"]
    assert second["parentCID"] == first["CID"] != base["CID"]
    assert second["parentFileNameHint"] == "vm-000001.vmdk"
    assert "parentFileNameHint" not in base
    assert all(re.fullmatch(r"[0-9a-e]{8}", each["CID"]) for each in (base, first, second))
    database = assigned(texts[0])
    assert database["ddb.thinProvisioned"] == "1"
    assert database["ddb.virtualHWVersion"] == "19"
    assert not any(name.startswith("ddb") for name in assigned(texts[1]))
    assert "changeTrackPath" not in base


def test_tracking_and_formats_show_in_descriptors():
    bench, vm, files = built(spec(1), spec(2, mode="independent"), delta_format="se-sparse")
    bench.do(bench.hypervisor.enable_tracking(vm))
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    head, extents = described(files.read_text("vm/vm-000001.vmdk"))
    assert extents == [("2048", "SESPARSE", "vm-000001-sesparse.vmdk")]
    assert (head["createType"], head["changeTrackPath"]) == ("seSparse", "vm-000001-ctk.vmdk")
    other, _ = described(files.read_text("vm/vm_1.vmdk"))
    assert "changeTrackPath" not in other
    config = assigned(files.read_text("vm/vm.vmx"))
    assert config["scsi0:0.fileName"] == "vm-000001.vmdk"
    assert config["scsi0:1.fileName"] == "vm_1.vmdk"
    assert (config["scsi0:0.ctkEnabled"], config["scsi0:1.ctkEnabled"]) == ("TRUE", "FALSE")
    assert config["scsi0:1.mode"] == "independent-persistent"
    assert "scsi0:0.mode" not in config


def test_no_disk_is_attached_where_the_controller_is():
    disks = [spec(i, size=BLOCK) for i in range(17)]
    _, _, files = built(*disks)
    config = assigned(files.read_text("vm/vm.vmx"))
    nodes = [name.removesuffix(".fileName") for name in config if name.endswith(".fileName")]
    assert nodes == [f"scsi0:{i}" for i in range(16) if i != 7] + ["scsi1:0", "scsi1:1"]


def test_the_list_of_snapshots_is_a_tree_with_times():
    bench, vm, files = built()
    host = bench.hypervisor
    assert assigned(files.read_text("vm/vm.vmsd"))["snapshot.numSnapshots"] == "0"
    bench.env.run(until=5000.0)  # more microseconds than 32 bits have
    taken = [bench.do(host.create_snapshot(vm, f"s{i}", description="why")) for i in range(2)]
    bench.do(host.revert(vm, taken[0].id))
    taken.append(bench.do(host.create_snapshot(vm, 'an "odd"\n|name')))
    said = assigned(files.read_text("vm/vm.vmsd"))
    assert [said.get(f"snapshot{i}.parent") for i in range(3)] == [None, "1", "1"]
    assert [said[f"snapshot{i}.uid"] for i in range(3)] == ["1", "2", "3"]
    assert (said["snapshot.current"], said["snapshot.lastUID"]) == ("3", "3")
    assert said["snapshot2.displayName"] == "an |22odd|22|0A|7Cname"
    assert said["snapshot1.description"] == "why"
    assert said["snapshot0.disk0.fileName"] == "vm.vmdk"
    for i, snapshot in enumerate(taken):
        high, low = (int(said[f"snapshot{i}.createTime{part}"]) for part in ("High", "Low"))
        assert (high << 32) + low == round(snapshot.moment * 1e6)


def test_the_log_tells_what_the_journal_does():
    bench, vm, files = built()
    bench.do(bench.hypervisor.power_on(vm))
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    stopped = bench.last("stun")["seconds"]
    text = files.read_text("vm/vmware.log")
    assert f"s| vmx| Checkpoint_Unstun: vm stopped for {round(stopped * 1e6)} us\n" in text
    assert "snapshot: id snapshot-1, consistency crash\n" in text
    other = bench.hypervisor.add_vm("other", [spec()], None)
    assert files.read_text("other/vmware.log") == ""
    bench.do(bench.hypervisor.crash(vm))
    more = files.read_text("vm/vmware.log").removeprefix(text)
    assert [line.partition("vmx| ")[2] for line in more.splitlines()] == [
        "powered-off",
        "change tracking state was not flushed",
    ]
    bench.do(bench.hypervisor.power_off(other))
    times = [float(line.partition("s|")[0]) for line in text.splitlines()]
    assert times == sorted(times)


def test_an_unregistered_vm_and_one_on_a_copy_show_their_files_too():
    bench, vm, files = built()
    fill(bench, vm.disks[2000].disk)
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    [image] = bench.site.freeze(bench.luns, COPY_ON_WRITE)
    before = files.list()
    text = files.read_text("vm/vm.vmx")
    log = files.read_text("vm/vmware.log")
    lun = image.open()
    bench.env.run(until=bench.env.now + 1.0)
    bench.do(bench.hypervisor.remove_all_snapshots(vm))
    bench.do(bench.hypervisor.admin.unregister(vm))
    mounted = bench.do(copies.mount(bench.hypervisor, [lun], ("naa.copy",)))
    found = bench.hypervisor.admin.files(mounted.name)
    assert [info.path for info in found.list()] == [info.path for info in before]
    assert found.read_text("vm/vm.vmx") == text
    assert found.read_text("vm/vmware.log") == log
    assert "snapshot-removed" in files.read_text("vm/vmware.log")
    assert len(files.list()) == len(before) - 2  # no delta disk, nor its descriptor


def test_a_vm_on_two_datastores_has_its_configuration_beside_its_first_disk():
    bench = rig()
    lun = bench.site.create_lun(MIB // BLOCK, 16, 1, bench.luns[0].blocks)
    sizes = {"fs_block_bytes": FS_BLOCK, "zero_bytes": FS_BLOCK}
    other = bench.hypervisor.add_datastore("ds2", [lun], ("naa.9",), **sizes)
    disks = [spec(1, datastore="ds2"), spec(2)]
    vm = bench.hypervisor.add_vm("vm", disks, None, powered_on=False)
    first, second = (bench.hypervisor.admin.files(name) for name in ("ds2", "ds"))
    assert "vm/vm.vmx" in {info.path for info in first.list()}
    assert {info.kind for info in second.list()} == {FileKind.DESCRIPTOR, FileKind.FLAT}
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    config = assigned(first.read_text("vm/vm.vmx"))
    assert config["scsi0:0.fileName"] == "vm-000001.vmdk"
    uuid = bench.datastore.uuid
    assert config["scsi0:1.fileName"] == f"/vmfs/volumes/{uuid}/vm/vm_1-000001.vmdk"
    assert uuid != other.uuid


# Bytes. ----------------------------------------------------------------------------------------


@given(st.integers(0, MIB), st.integers(0, MIB))
def test_a_flat_extent_reads_as_the_base_disk(one, other):
    bench, vm, files = built()
    disk = vm.disks[2000].disk
    fill(bench, disk, 3, 90)
    want = written(bench.site, disk, disk.moment(0.0))
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    fill(bench, disk, 0, 20)  # into the delta
    offset, length = min(one, other), abs(one - other)
    assert files.read_bytes("vm/vm-flat.vmdk", offset, length) == want[offset : offset + length]
    began = bench.env.now
    assert bench.do(files.read("vm/vm-flat.vmdk", offset, length)) == want[offset : offset + length]
    assert (bench.env.now > began) == bool(length)


def test_what_cannot_be_read_is_refused():
    bench, vm, files = built()
    host, name = bench.hypervisor, "vm/vm-flat.vmdk"
    fill(bench, vm.disks[2000].disk)
    for offset, length in ((-1, 2), (0, MIB + 1), (MIB, 1), (0, -1)):
        with pytest.raises(Misuse, match="outside"):
            files.read_bytes(name, offset, length)
    with pytest.raises(Misuse, match="no text"):
        files.read_text(name)
    for missing in ("vm/none", "none", "vm", "file system"):
        with pytest.raises(NotFound):
            files.read_bytes(missing, 0, 1)
    bench.do(host.power_on(vm))
    with pytest.raises(FileLocked, match="locked by vm"):
        files.read_bytes(name, 0, 1)
    bench.do(host.enable_tracking(vm))
    bench.do(host.create_snapshot(vm, "s"))
    assert (
        files.read_bytes(name, 0, 9) == seen(vm.snapshots[0].frozen[2000], vm.disks[2000].disk)[:9]
    )
    for hidden in ("vm/vm-000001-delta.vmdk", "vm/vm-ctk.vmdk"):
        with pytest.raises(Unsupported, match="the bytes of"):
            files.read_bytes(hidden, 0, 1)
    [place, *_] = vm.disks[2000].chain.levels[0].file.places.values()
    bench.luns[0].damage(Runs.single(place[1] * FS_BLOCK, FS_BLOCK), "error")
    with pytest.raises(MediumError, match=name):
        files.read_bytes(name, 0, MIB)
    bench.datastore.dead = ("naa.0",)
    with pytest.raises(Unreachable):
        files.read_bytes("vm/vm.vmx", 0, 1)


# What is put there. ----------------------------------------------------------------------------


def test_an_uploaded_file_is_there_until_it_is_deleted():
    bench, vm, files = built()
    free = bench.datastore.free_bytes
    files.put("notes/read me.txt", b"x" * (FS_BLOCK + 1))
    assert bench.datastore.free_bytes == free - 2 * FS_BLOCK
    bench.env.run(until=7.0)
    files.put("notes/read me.txt", b"hello")
    info = files.find("notes/read me.txt")
    assert (info.kind, info.size_bytes, info.allocated_bytes) == (FileKind.UPLOADED, 5, FS_BLOCK)
    assert info.modified == 7.0
    assert info.vm == ""
    assert files.folders() == ("notes", "vm")
    assert files.read_bytes("notes/read me.txt", 1, 3) == b"ell"
    assert bench.do(files.read("notes/read me.txt", 0, 5)) == b"hello"
    with pytest.raises(Misuse, match="no text"):
        files.read_text("notes/read me.txt")
    files.delete("notes/read me.txt")
    assert bench.datastore.free_bytes == free
    with pytest.raises(NotFound):
        files.delete("notes/read me.txt")
    assert [i.kind for i in files.list() if i.vm != vm.uuid] == []


def test_an_array_snapshot_keeps_what_was_uploaded():
    bench, _, files = built()
    files.put("a/b", b"then")
    [image] = bench.site.freeze(bench.luns, COPY_ON_WRITE)
    files.put("a/b", b"now")
    lun = image.open()
    mounted = bench.do(copies.mount(bench.hypervisor, [lun], ("naa.copy",)))
    assert bench.hypervisor.admin.files(mounted.name).read_bytes("a/b", 0, 4) == b"then"
    assert files.read_bytes("a/b", 0, 3) == b"now"


def test_what_cannot_be_put_is_refused():
    bench, vm, files = built(spec(size=12 * MIB, provisioning=LAZY))
    for path in ("", "/a", "a//b", "a/../b", ".", "a/", "a\nb", "x" * 3000):
        with pytest.raises(Misuse, match="path"):
            files.put(path, b"")
    for path in ("vm/vm.vmx", "vm/vm-flat.vmdk", "vm/vm.vmdk"):
        with pytest.raises(InvalidState, match="VM's file"):
            files.put(path, b"")
        with pytest.raises(InvalidState, match="VM's file"):
            files.delete(path)
    with pytest.raises(InvalidState, match="no uploaded file"):
        files.put("file system", b"")
    with pytest.raises(Misuse, match="more than"):
        files.put("a", bytes(UPLOAD_BYTES_MAX + 1))
    files.put("big", bytes(3 * MIB))
    free = bench.datastore.free_bytes
    with pytest.raises(NoSpace):
        files.put("other", bytes(free + 1))
    with pytest.raises(NoSpace):
        files.put("big", bytes(UPLOAD_BYTES_MAX))
    assert files.read_bytes("big", 0, 1) == b"\0"
    assert bench.datastore.free_bytes == free
    files.put("big", bytes(2 * MIB))
    assert vm.disks


def test_there_may_be_so_many_uploads_and_no_more():
    _, _, files = built()
    for i in range(UPLOADS_MAX):
        files.put(f"a/{i}", b"")
    with pytest.raises(LimitReached):
        files.put("a/more", b"")
    files.put("a/0", b"again")


def test_uploads_are_not_in_the_way_of_vms():
    bench, vm, files = built()
    host = bench.hypervisor
    files.put("vm/vm-000001-delta.vmdk", b"mine")
    files.put("new/new-flat.vmdk", b"mine")
    bench.do(host.create_snapshot(vm, "s"))
    assert vm.disks[2000].file == "vm/vm-000002-delta.vmdk"
    assert host.add_vm("new", [spec()], None).disks[2000].name == "new_1/new_1.vmdk"
    bench.do(host.remove_all_snapshots(vm))
    bench.do(host.admin.destroy(vm))
    assert [info.path for info in files.list("vm")] == ["vm/vm-000001-delta.vmdk"]


class UploadMachine(RuleBasedStateMachine):
    """Files put, written over and deleted, against a dictionary."""

    def __init__(self):
        super().__init__()
        self.bench, _, self.files = built(lun_bytes=20 * FS_BLOCK)
        self.free = self.bench.datastore.free_bytes
        self.held = {}

    paths = st.sampled_from(["a", "b/c", "b/d", "vm/notes"])

    @rule(path=paths, size=st.integers(0, 8 * FS_BLOCK))
    def put(self, path, size):
        data = bytes([len(self.held) + 1]) * size
        others = sum(-(-len(d) // FS_BLOCK) for p, d in self.held.items() if p != path)
        if others + -(-size // FS_BLOCK) > self.free // FS_BLOCK:
            with pytest.raises(NoSpace):
                self.files.put(path, data)
        else:
            self.files.put(path, data)
            self.held[path] = data

    @rule(path=paths)
    def delete(self, path):
        if self.held.pop(path, None) is not None:
            self.files.delete(path)
        else:
            with pytest.raises(NotFound):
                self.files.delete(path)

    @invariant()
    def it_is_what_was_put(self):
        there = [i for i in self.files.list() if i.kind is FileKind.UPLOADED]
        assert {i.path: self.files.read_bytes(i.path, 0, i.size_bytes) for i in there} == self.held
        used = sum(-(-len(data) // FS_BLOCK) for data in self.held.values()) * FS_BLOCK
        assert self.bench.datastore.free_bytes == self.free - used


TestUploads = UploadMachine.TestCase
