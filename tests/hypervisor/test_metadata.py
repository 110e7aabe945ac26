"""Metadata of a datastore: the array treats it as any write, and its layers below have their due."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hypervisor.bench import BLOCK, FS_BLOCK, fill, rig, spec
from stuntdouble.errors import NoSpace
from stuntdouble.iops import Purpose
from stuntdouble.site import COPY_ON_WRITE, REDIRECT_ON_WRITE, Role
from stuntdouble.site.tables import L_MIRROR
from stuntdouble.units import GIB, MIB, SECTOR_BYTES


def listen(bench):
    """Return a list that gets the steps of every I/O that control submits."""
    heard = []
    submit = bench.engine.submit

    def noted(steps, purpose):
        assert purpose is Purpose.CONTROL
        heard.append(steps)
        return submit(steps, purpose)

    bench.engine.submit = noted
    return heard


def roles(heard):
    return [Role(step[1]) for steps in heard for step in steps]


def full(bench):
    """Take all that is left of the snapshot reserve; return how to give it back."""
    [lun] = bench.luns
    taken = bench.site.reserve_free_bytes(1)
    bench.site.release_reserve(lun, -taken)
    assert bench.site.reserve_free_bytes(1) == 0
    return lambda: bench.site.release_reserve(lun, taken)


def test_a_snapshots_metadata_is_copied_before_it_is_written_and_only_once():
    bench = rig()
    bench.add_vm()
    [image] = bench.site.freeze(bench.luns, COPY_ON_WRITE)
    heard = listen(bench)
    taken = bench.do(bench.hypervisor.create_snapshot("vm", "s"))
    writes = bench.hypervisor.host.parameters
    count = writes.lock_ios + writes.metadata_ios_per_disk
    copied = [Role.COPY_READ, Role.COPY_WRITE]
    assert roles(heard) == [*copied, *[Role.METADATA] * count]
    assert image.space_bytes == bench.luns[0].chunk_bytes
    heard.clear()
    bench.do(bench.hypervisor.remove_snapshot("vm", taken.id))
    assert roles(heard) == [Role.METADATA] * count


def test_the_rest_of_a_chunk_that_metadata_redirects_is_merged_and_only_once():
    bench = rig(metadata_ios_per_disk=2, lock_ios=1)
    bench.add_vm()
    [image] = bench.site.freeze(bench.luns, REDIRECT_ON_WRITE)
    heard = listen(bench)
    bench.do(bench.hypervisor.create_snapshot("vm", "s"))
    assert roles(heard) == [Role.MERGE_READ, *[Role.METADATA] * 3]
    assert image.space_bytes == bench.luns[0].chunk_bytes


def test_a_snapshot_whose_metadata_finds_no_room_in_the_array_is_refused_as_a_whole():
    bench = rig(metadata_ios_per_disk=1, lock_ios=0)  # the stun is where it is found out
    vm = bench.add_vm()
    bench.site.freeze(bench.luns, COPY_ON_WRITE)
    before = set(bench.datastore.store.files), bench.datastore.free_bytes
    give_back = full(bench)
    with pytest.raises(NoSpace, match="snapshot reserve"):
        bench.do(bench.hypervisor.create_snapshot("vm", "s"))
    assert (set(bench.datastore.store.files), bench.datastore.free_bytes) == before
    assert not vm.snapshots
    assert not vm.consolidation_needed
    assert vm.guest.stuns == 0
    give_back()
    bench.do(bench.hypervisor.create_snapshot("vm", "s"))


@pytest.mark.parametrize("consolidation", ["mirror", "helper"])
def test_a_consolidation_whose_metadata_finds_no_room_in_the_array_is_for_later(consolidation):
    bench = rig(consolidation=consolidation)
    vm = bench.add_vm()
    taken = bench.do(bench.hypervisor.create_snapshot("vm", "s"))
    bench.site.freeze(bench.luns, COPY_ON_WRITE)
    give_back = full(bench)
    with pytest.raises(NoSpace, match="snapshot reserve"):
        bench.do(bench.hypervisor.remove_snapshot("vm", taken.id))
    assert not vm.snapshots
    assert vm.consolidation_needed
    assert vm.guest.stuns == 0
    assert not bench.site.arena.column("levels", vm.disks[2000].disk.head.number, L_MIRROR)
    give_back()
    bench.do(bench.hypervisor.consolidate("vm"))
    assert not vm.consolidation_needed
    assert not vm.disks[2000].chain.deltas


# The tracking file. ----------------------------------------------------------------------------


def lengths(heard):
    return [step[5] for steps in heard for step in steps]


@pytest.mark.parametrize("powered_on", [True, False])
def test_a_snapshot_writes_the_tracking_file_of_each_disk_once(powered_on):
    bench = rig(metadata_ios_per_disk=1, lock_ios=0)
    vm = bench.add_vm(
        spec(2000, 256 * MIB), spec(2001, 256 * MIB + BLOCK), spec(2002), powered_on=powered_on
    )
    heard = listen(bench)
    bench.do(bench.hypervisor.create_snapshot(vm, "untracked"))
    assert lengths(heard) == [SECTOR_BYTES] * 3
    bench.do(bench.hypervisor.remove_all_snapshots(vm))
    bench.do(bench.hypervisor.enable_tracking(vm))
    for name in ("the first, which lets tracking begin", "another"):
        heard.clear()
        taken = bench.do(bench.hypervisor.create_snapshot(vm, name))
        # a bit for each of 16 Ki, 16 Ki + 1 and 64 grains, in whole sectors
        assert lengths(heard) == [SECTOR_BYTES] * 3 + [2048, 2560, SECTOR_BYTES]
        assert set(taken.change_ids) == {2000, 2001, 2002}
    heard.clear()
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    assert set(lengths(heard)) == {SECTOR_BYTES}


def test_a_long_tracking_file_is_written_a_file_system_block_at_a_time():
    bench = rig(metadata_ios_per_disk=0, lock_ios=0)
    vm = bench.add_vm(spec(size=20 * GIB))
    bench.do(bench.hypervisor.enable_tracking(vm))
    heard = listen(bench)
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert lengths(heard) == [FS_BLOCK, FS_BLOCK, FS_BLOCK // 2]


def test_a_longer_tracking_file_makes_a_longer_stun():
    seconds = []
    for size in (MIB, GIB, 16 * GIB):
        bench = rig()
        vm = bench.add_vm(spec(size=size))
        fill(bench, vm.disks[2000].disk, 0, 1)
        bench.do(bench.hypervisor.enable_tracking(vm))
        bench.do(bench.hypervisor.create_snapshot(vm, "s"))
        seconds.append(bench.last("stun")["seconds"])
    assert all(a < b for a, b in pairwise(seconds))
