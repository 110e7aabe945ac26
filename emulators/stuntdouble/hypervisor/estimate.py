"""How much space a consolidation will take, before it begins.

    base   [dd--dd------]   file-system blocks that a thin base has
    delta  [-ww--w--ww--]   grains that would move down
    needed [--+-----++--]   what the base would have to be given, in whole file-system blocks

A level that more than one delta is merged into is counted once for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.extents import Runs

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor.inventory import Vm, VmDisk
    from stuntdouble.site import Level


def estimate(vm: Vm) -> Generator[Event, object, int]:
    """Return the bytes of datastore space that consolidating *vm* now would take.

    It is a lower bound while the VM runs: what it writes meanwhile is not known, and the helper
    deltas of that algorithm are not counted (vSphere API).
    """
    with vm.task("EstimateStorageForConsolidateSnapshots_Task"):
        yield vm.host.env.timeout(0)
        return sum(_disk_bytes(vm, disk) for disk in vm.disks.values())


def _disk_bytes(vm: Vm, disk: VmDisk) -> int:
    merged = disk.chain.mergeable(vm.frozen(disk.key))
    moving: dict[Level, Runs] = {}
    for level in merged:
        target = level
        while target in merged:
            assert target.parent is not None, "a base is never merged away"
            target = target.parent
        moving[target] = moving.get(target, Runs.empty()) | _held(disk, level)
    return sum(_growth_bytes(disk, target, runs) for target, runs in moving.items())


def _held(disk: VmDisk, level: Level) -> Runs:
    """Return the byte ranges of the grains that a delta disk holds."""
    size = level.site.block_bytes
    rows = level.site.grains(level, disk.disk.blocks, disk.disk.blocks) * size
    return Runs.from_arrays(rows[:, 0], rows[:, 1])


def _growth_bytes(disk: VmDisk, target: Level, runs: Runs) -> int:
    """Return what *target*'s file must be given before it can hold *runs*."""
    store, size = disk.datastore.store, target.site.block_bytes
    fs_bytes = store.fs_blocks * size
    if target.file.sparse:
        left = target.file.room_blocks - target.file.used_blocks
        new = (runs - _held(disk, target)).total - left * size
        return -(-max(new, 0) // fs_bytes) * fs_bytes
    there = Runs.of((index * fs_bytes, fs_bytes) for index in target.file.places)
    return (runs.align(fs_bytes) - there).total
