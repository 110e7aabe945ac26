"""Extending a disk: its file grows, then the disk, then what tracks it.

    before     [ccccccccccccccccccc]
    after      [ccccccccccccccccccc0000000000000000]      what is new reads as zeros
    changed    [---cc----c---------c----cc---------]      and has changed where it was written since

What is new is no change: no one has written it, and a client that knows the capacity of either
moment knows that it was not there before.  A guest's load keeps to the addresses it has, as a guest
does until its administrator extends a partition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stuntdouble.errors import InvalidState, Misuse
from stuntdouble.hypervisor.progress import zeroing_pieces
from stuntdouble.hypervisor.quirks import EXTEND_PAST_128_GIB
from stuntdouble.iops import Purpose
from stuntdouble.ports import Provisioning
from stuntdouble.units import SIZE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor.inventory import Vm, VmDisk


def extend(vm: Vm, key: int, capacity_bytes: int) -> Generator[Event, object, None]:
    """Extend a disk to *capacity_bytes*; the VM may run meanwhile.

    A thick disk is given its space at once; an eagerly zeroed one is zeroed there first, which
    takes the time of its I/O.  Cut off or short of space, the disk is as it was.

    Raises:
        UnknownDisk: the VM has no such disk.
        Misuse: the disk would shrink, or end within a block.
        InvalidState: the VM has a snapshot, or delta disks are left over of one; or the disk is a
            raw mapping, or shared.
        NoSpace: a thick disk does not fit, or the array has no room for what zeroing it copies.
        TaskInProgress: the VM is busy.
    """
    with vm.task("ReconfigVM_Task"):
        disk = vm.disk(key)
        _check(vm, disk, capacity_bytes)
        disk.check_reachable()
        yield from disk.datastore.lock()
        before = disk.spec.capacity_bytes
        yield from _lengthen(vm, disk, capacity_bytes // vm.host.site.block_bytes)
        disk.spec = replace(disk.spec, capacity_bytes=capacity_bytes)
        disk.tracker.grown(before, misread=EXTEND_PAST_128_GIB in vm.host.quirks)
        vm.write_records()
        vm.host.note("extended", vm.name, disk=key, bytes=capacity_bytes, bytes_before=before)


def _check(vm: Vm, disk: VmDisk, capacity_bytes: int) -> None:
    where, size = f"disk {disk.key} of {vm.name}", vm.host.site.block_bytes
    if vm.snapshots or disk.chain.deltas:
        raise InvalidState(vm.name, "on top of a snapshot", f"extend disk {disk.key}")
    if disk.spec.mode in {"raw", "multi-writer"}:
        raise InvalidState(where, disk.obstacle, "extend it")
    if capacity_bytes < disk.spec.capacity_bytes:
        text = f"{capacity_bytes} bytes are less than it has: a disk can only grow"
        raise Misuse(where, text)
    if capacity_bytes % size or capacity_bytes > SIZE_BYTES_MAX:
        text = f"{capacity_bytes} bytes are not whole blocks of {size}, {SIZE_BYTES_MAX} at most"
        raise Misuse(where, text)


def _lengthen(vm: Vm, disk: VmDisk, blocks: int) -> Generator[Event, object, None]:
    """Lengthen the base file, zero what is new where that is due, and let the disk follow."""
    file, before = disk.disk.head.file, disk.disk.blocks
    placed = disk.datastore.lengthen_flat(file, blocks, disk.spec.provisioning)
    try:
        if disk.spec.provisioning is Provisioning.EAGER_ZEROED:
            pieces = zeroing_pieces(file, placed)
            for steps in vm.task_progress.counted(vm.host.site.zero_file(file, placed), pieces):
                yield vm.host.engine.submit(steps, Purpose.CONTROL)
        disk.disk.grow(blocks)
    except BaseException:
        disk.datastore.shorten_flat(file, before)
        raise
