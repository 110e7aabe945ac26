"""The software method: read the frozen disks through the hypervisor.

1. take a VM snapshot: from now on every guest write goes to a growing delta disk
2. ask which areas changed (or, for a full, which are in use)
3. read them through the chosen transport, for as long as that takes
4. remove the VM snapshot: what grew since step 1 is consolidated, under the guest's load
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from stuntdouble.backup.cleanup import Undo
from stuntdouble.backup.copy import changed_ranges, copy_disk, plan_reading, restore_point
from stuntdouble.backup.report import failing_alone
from stuntdouble.backup.vmsnapshot import freeze
from stuntdouble.errors import ChangeHistoryLost
from stuntdouble.extents import Runs
from stuntdouble.ports import ALL_ALLOCATED

if TYPE_CHECKING:
    from stuntdouble.backup.copy import Plan
    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.select import Target
    from stuntdouble.backup.work import Work
    from stuntdouble.ports import DiskInfo, Draft, VmSnapshot


async def back_up(work: Work, target: Target, diary: Diary) -> None:
    """Back up one VM; what goes wrong stands in its diary."""
    with failing_alone(diary):
        async with (
            work.turn(work.vm_slots),
            Undo((diary,), work.spec.retry_seconds) as undo,  # step 4, on every path
        ):
            snapshot = await freeze(work, target, undo, diary)
            in_use = partial(_in_use, work, snapshot, diary)
            plan = await plan_reading(work, target, snapshot, diary, in_use)
            with restore_point(work, target, snapshot, plan, diary) as draft:
                await _read(work, target, snapshot, plan, draft, diary)


async def _in_use(work: Work, snapshot: VmSnapshot, diary: Diary, disk: DiskInfo) -> Runs:
    """Return the areas in use, or the whole disk where the change tracker cannot say."""
    if disk.key in snapshot.change_ids:
        try:
            return await changed_ranges(work, snapshot, disk, ALL_ALLOCATED)
        except ChangeHistoryLost as error:
            diary.line(f"disk {disk.key} is read whole: {error}")
    return Runs.single(0, disk.capacity_bytes)


async def _read(
    work: Work, target: Target, snapshot: VmSnapshot, plan: Plan, draft: Draft, diary: Diary
) -> None:
    """Read disk after disk; unallocated ranges come as zeros from the hypervisor."""
    async with Undo((diary,), work.spec.retry_seconds) as undo:
        for disk in target.disks:
            wanted = plan.wanted[disk.key]
            if wanted:
                transport = work.spec.transport
                device = await work.hypervisor.open_disk(snapshot, disk.key, transport)
                closing = undo.add(f"open disk {disk.key}", device.close)
                await copy_disk(work, device, disk.key, wanted, draft, diary)
                await undo.now(closing)
