"""Datastores: the allocator, growth, locks, and what happens when they are full."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypervisor.bench import BLOCK, EAGER, FS_BLOCK, LAZY, THIN, fill, rig, seen, spec, written
from stuntdouble.errors import Misuse, NoSpace
from stuntdouble.hypervisor.allocator import (
    Allocator,
    foreign_places,
    gaps,
    runs_of,
    scattered,
)
from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.site import COPY_ON_WRITE
from stuntdouble.trace import Streams
from stuntdouble.units import KIB, MIB

# The allocator. -------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60), st.floats(0, 1))
def test_no_block_is_given_out_twice_and_none_is_lost(steps, fragmentation):
    stream = Streams(3)["test"]
    sizes = [40, 25]
    foreign = foreign_places(sizes, fragmentation, stream)
    free = scattered(gaps(foreign, sizes), fragmentation, stream)
    allocator = Allocator(free)
    held: list[list[tuple[int, int]]] = []
    everything = {(i, b) for i, size in enumerate(sizes) for b in range(size)}
    for take, count in steps:
        if take and count <= allocator.free:
            held.append(allocator.take(count))
        elif held and not take:
            allocator.give(held.pop(count % len(held)))
        out = [place for places in held for place in places]
        assert len(out) == len(set(out))
        assert not set(out) & set(foreign)
        assert len(out) + len(foreign) + allocator.free == len(everything)
    rest = allocator.take(allocator.free)
    assert {*rest, *foreign, *(p for places in held for p in places)} == everything


def test_an_aged_datastore_scatters_a_file_and_a_new_one_does_not():
    lengths = []
    for fragmentation in (0.0, 0.3, 1.0):
        bench = rig(lun_bytes=64 * MIB, fragmentation=fragmentation)
        bench.add_vm(spec(size=16 * MIB, provisioning=LAZY))
        file = bench.datastore.store.files["vm/vm-flat.vmdk"]
        lengths.append(len(runs_of(file.places.values())))
    assert lengths[0] == 1
    assert lengths[0] < lengths[1] < lengths[2]
    order = list(file.places.values())
    assert order != sorted(order)  # not only in pieces: out of order


def test_foreign_files_are_really_there():
    bench = rig(lun_bytes=64 * MIB, fragmentation=1.0)
    foreign = bench.datastore.store.files["foreign files"]
    blocks = 64 * MIB // FS_BLOCK
    assert 0.5 / 16 < len(foreign.places) / blocks < 1.5 / 16
    assert bench.datastore.capacity_bytes == 64 * MIB - FS_BLOCK
    free = bench.datastore.capacity_bytes - foreign.size_bytes
    assert bench.datastore.free_bytes == free


def test_a_thin_disk_takes_space_when_written_and_a_thick_one_when_made():
    bench = rig()
    free = bench.datastore.free_bytes
    thin = bench.add_vm(spec(size=MIB, provisioning=THIN), name="thin")
    assert bench.datastore.free_bytes == free
    bench.add_vm(spec(size=MIB, provisioning=LAZY), name="thick")
    assert bench.datastore.free_bytes == free - MIB
    bench.site.write(thin.disks[2000].disk, 5 * FS_BLOCK, BLOCK)
    assert bench.datastore.free_bytes == free - MIB - FS_BLOCK
    line = bench.engine.meter.gauges["datastore_free_bytes", "ds"]
    assert line[-1][1] == bench.datastore.free_bytes


def test_the_lowest_free_space_is_remembered():
    bench = rig()
    vm = bench.add_vm(spec(size=MIB, provisioning=LAZY))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    fill(bench, vm.disks[2000].disk)
    least = bench.datastore.free_bytes
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    assert bench.datastore.free_bytes > least >= bench.datastore.free_bytes_min


def test_a_delta_grows_in_steps_and_gives_everything_back():
    bench = rig(growth_bytes=4 * FS_BLOCK)
    vm = bench.add_vm(spec(size=MIB, provisioning=LAZY))
    free = bench.datastore.free_bytes
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert bench.datastore.free_bytes == free - 4 * FS_BLOCK
    disk = vm.disks[2000].disk
    fill(bench, disk, 0, 4 * FS_BLOCK // BLOCK)
    assert bench.datastore.free_bytes == free - 4 * FS_BLOCK
    steps = bench.site.write(disk, 8 * FS_BLOCK, BLOCK)
    assert bench.datastore.free_bytes == free - 8 * FS_BLOCK
    [metadata] = bench.site.metadata_write(bench.luns[0])
    found = [step[1:] for step in steps if step[0] < 0]
    assert found == [metadata[1:]] * bench.hypervisor.host.parameters.lock_ios
    fill(bench, disk)
    assert bench.datastore.free_bytes == free - MIB  # never more than the disk itself
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    assert bench.datastore.free_bytes == free


def test_disks_larger_than_two_tebibytes_have_the_other_delta_format():
    for parameters, kind in (({}, "delta"), ({"delta_format": "se-sparse"}, "sesparse")):
        bench = rig(**parameters)
        vm = bench.add_vm()
        bench.do(bench.hypervisor.create_snapshot(vm, "s"))
        assert vm.disks[2000].disk.head.file.name == f"vm/vm-000001-{kind}.vmdk"


def test_a_disk_may_span_luns():
    bench = rig(luns=2, lun_bytes=MIB)
    vm = bench.add_vm(spec(size=MIB + 512 * KIB))
    disk = vm.disks[2000].disk
    fill(bench, disk)
    file = bench.datastore.store.files["vm/vm-flat.vmdk"]
    assert {ordinal for ordinal, _ in file.places.values()} == {0, 1}
    table = bench.hypervisor.layout(vm, 2000)
    assert set(table.volumes) == {"naa.0", "naa.1"}
    assert {row.volume for row in table} == {0, 1}


def test_nonsense_is_refused_and_nothing_is_left_behind():
    bench = rig(lun_bytes=MIB)
    free = bench.datastore.free_bytes
    with pytest.raises(NoSpace):
        bench.add_vm(spec(2000, 512 * KIB, LAZY), spec(2001, MIB, LAZY))
    assert bench.datastore.free_bytes == free
    assert not bench.hypervisor.vms
    for disks, what in (
        ([spec(), spec()], "same key"),
        ([spec(datastore="no")], "no datastore 'no'"),
        ([spec(size=BLOCK + 1)], "whole blocks"),
        ([spec(size=0)], "whole blocks"),
    ):
        with pytest.raises(Misuse, match=what):
            bench.add_vm(*disks)
    bench.add_vm()
    with pytest.raises(Misuse, match="two named"):
        bench.add_vm()
    add = bench.hypervisor.add_datastore
    for arguments, what in (
        (("ds", bench.luns, ("naa.9",)), "two named"),
        (("other", [], ()), "0 LUNs"),
        (("other", bench.luns, ()), "0 identifiers"),
    ):
        with pytest.raises(Misuse, match=what):
            add(*arguments)
    with pytest.raises(Misuse, match="power of two"):
        add("other", bench.luns, ("naa.9",), fs_block_bytes=3 * BLOCK)
    with pytest.raises(Misuse, match="zero_bytes"):
        add("other", bench.luns, ("naa.9",), fs_block_bytes=BLOCK, zero_bytes=2 * BLOCK)
    with pytest.raises(Misuse, match="fragmentation"):
        add("other", bench.luns, ("naa.9",), fragmentation=1.5)


# What fresh blocks hold. ------------------------------------------------------------------------


def test_unwritten_blocks_of_a_thick_disk_are_somebody_elses_bytes_unless_zeroed_eagerly():
    bench = rig()
    vm = bench.add_vm(spec(2000, MIB, LAZY), spec(2001, MIB, EAGER))
    raw = {}
    for key, disk in vm.disks.items():
        ordinal, block = disk.disk.head.file.places[0]
        fs_blocks = bench.datastore.store.fs_blocks
        lun = bench.luns[ordinal]
        raw[key] = lun.render(block * fs_blocks, fs_blocks).tobytes()
        assert seen(disk.disk.head, disk.disk) == bytes(MIB)
    assert raw[2000] != bytes(FS_BLOCK)
    assert raw[2001] == bytes(FS_BLOCK)
    states = {key: {row.state for row in bench.hypervisor.layout(vm, key)} for key in vm.disks}
    assert [s.name for s in states[2000]] == ["TO_BE_ZEROED"]
    assert [s.name for s in states[2001]] == ["WRITTEN"]


def test_eager_zeroing_spares_what_an_array_snapshot_keeps():
    bench = rig()
    vm = bench.add_vm(spec(size=MIB), powered_on=False)
    fill(bench, vm.disks[2000].disk)
    image = bench.site.freeze(bench.luns, COPY_ON_WRITE)[0]
    before = image.lun.tokens(0, image.lun.blocks).tolist()
    began = bench.env.now
    bench.do(bench.hypervisor.create_vm("new", [spec(size=MIB, provisioning=EAGER)]))
    assert bench.env.now > began
    assert image.lun.tokens(0, image.lun.blocks).tolist() == before
    assert image.space_bytes > 0


# Locks. ---------------------------------------------------------------------------------------


def test_a_reservation_is_felt_by_the_neighbours_and_ats_is_not():
    longest = {}
    for lock in ("ats", "reservation"):
        bench = rig(lock=lock, reservation_seconds=0.5)
        pattern = Pattern(1.0, BLOCK, MIB)
        bench.add_vm(load=PoissonLoad(1, "n", 100.0, (pattern,)), name="neighbour")
        vm = bench.add_vm()
        bench.env.run(until=1)
        taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
        fill(bench, vm.disks[2000].disk, 0, 64)
        bench.env.run(until=5)
        bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
        bench.env.run(until=8)
        guest = bench.hypervisor.vm("neighbour").guest
        assert guest.arrived == guest.completed + len(guest.waiting) + guest.in_flight
        assert guest.fences == 0
        longest[lock] = bench.engine.meter.latencies("neighbour").percentile(100)
    assert longest["ats"] < 0.1 < 0.4 < longest["reservation"]


# Full. ----------------------------------------------------------------------------------------


def full_site():
    """Return a rig whose thin VM will soon need more space than there is, under load."""
    bench = rig(lun_bytes=2 * MIB)
    other = bench.add_vm(spec(size=MIB, provisioning=LAZY), name="other", powered_on=False)
    kept = bench.do(bench.hypervisor.create_snapshot(other, "s"))
    fill(bench, other.disks[2000].disk, 0, 192)
    load = PoissonLoad(1, "vm", 200.0, (Pattern(0.2, BLOCK, 2 * MIB),))
    vm = bench.add_vm(spec(size=2 * MIB), load=load)
    return bench, other, kept, vm


def test_a_full_datastore_pauses_who_needs_space_and_lets_it_go_on_with_nothing_lost():
    bench, other, kept, vm = full_site()
    bench.env.run(until=20)
    assert "full" in vm.question
    assert vm.guest.stuns == 1
    assert bench.last("paused")["question"] == vm.question
    done = vm.guest.completed
    bench.env.run(until=30)
    assert vm.guest.completed == done
    with pytest.raises(NoSpace):
        bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    bench.hypervisor.answer(vm)  # nobody has freed anything: it asks again
    bench.env.run(until=31)
    assert vm.question
    bench.do(bench.hypervisor.remove_snapshot(other, kept.id))
    assert not vm.question
    bench.env.run(until=33)
    guest = vm.guest
    assert guest.completed > done
    assert guest.arrived == guest.completed + len(guest.waiting) + guest.in_flight
    disk = vm.disks[2000].disk
    assert seen(disk.head, disk) == written(bench.site, disk, disk.moment(33))


def test_a_full_datastore_refuses_snapshots_and_leaves_no_file():
    bench, _, _, vm = full_site()
    bench.env.run(until=20)
    files = set(bench.datastore.store.files)
    with pytest.raises(NoSpace):
        bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert set(bench.datastore.store.files) == files
    assert not vm.snapshots
