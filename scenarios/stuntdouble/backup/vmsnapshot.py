"""The VM snapshot of a job: taken, removed, and consolidated until nothing of it is left.

After a removal the hypervisor may still report delta disks that no snapshot needs.  The ladder:

    remove the snapshot  ->  consolidate  ->  take another snapshot and remove it  ->  give up

Each rung is climbed only if the one before did not do; giving up means that the report says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stuntdouble.backup.select import Method, QuiesceFallback
from stuntdouble.errors import InvalidState, NotFound, QuiesceFailed, Refused, TaskInProgress

if TYPE_CHECKING:
    from stuntdouble.backup.cleanup import Undo
    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.select import Target
    from stuntdouble.backup.work import Work
    from stuntdouble.ports import VmInfo, VmSnapshot


async def freeze(work: Work, target: Target, undo: Undo, diary: Diary) -> VmSnapshot:
    """Take the job's snapshot of a VM; *undo* removes it again, on every path.

    A guest that cannot be quiesced fails the backup or gets a crash-consistent snapshot, as the
    job says.  Tracking is switched on first where it is off, so that this snapshot's stun
    activates it and the next backup can be an incremental.
    """
    vm = target.vm.name
    own = OwnSnapshot(work, vm, work.new_name(), diary)
    with diary.phase("snapshot"):
        await _enable_tracking(work, target, diary)
        step = undo.add(f"VM snapshot {own.name} of {vm}", own.remove, diary)
        try:
            return await _take(work, own, diary)
        except Refused:
            undo.forget(step)
            raise


async def _take(work: Work, own: OwnSnapshot, diary: Diary) -> VmSnapshot:
    try:
        return await own.take(quiesce=work.spec.quiesce)
    except QuiesceFailed as error:
        if work.spec.quiesce_fallback is QuiesceFallback.FAIL:
            raise
        diary.tell("quiesce-failed", f"{error}; taking a crash-consistent one instead")
        return await own.take(quiesce=False)


async def _enable_tracking(work: Work, target: Target, diary: Diary) -> None:
    vm = target.vm
    resets_anyway = work.spec.method is Method.MOUNTED
    if vm.tracking or vm.snapshots or resets_anyway or not work.spec.enable_tracking:
        return
    try:
        await work.hypervisor.enable_tracking(vm.name)
    except Refused as error:
        diary.line(f"changed block tracking stays off: {error}")
    else:
        diary.tell("tracking-enabled", "changed block tracking switched on")


class OwnSnapshot:
    """A VM snapshot of the job, from before it is asked for until it is certainly gone.

    If the reply to its creation is lost, ``remove`` looks for a snapshot of its name, which is
    the job's own.  Of several none is touched: all but one belong to somebody else.
    """

    def __init__(self, work: Work, vm: str, name: str, diary: Diary) -> None:
        self.name = name
        self._hypervisor = work.hypervisor
        self._work = work
        self._vm = vm
        self._diary = diary
        self._taken: VmSnapshot | None = None
        self._opened = 0.0
        self._gone = False
        self._rescue: OwnSnapshot | None = None

    async def take(self, *, quiesce: bool) -> VmSnapshot:
        """Ask for the snapshot."""
        self._opened = asyncio.get_running_loop().time()
        taken = await self._hypervisor.create_snapshot(self._vm, self.name, quiesce=quiesce)
        self._taken, self._opened = taken, asyncio.get_running_loop().time()
        self._diary.tell(
            "snapshot-open",
            f"VM snapshot {self.name} open, {taken.consistency} consistent",
            snapshot=taken.id,
            moment=taken.moment,
        )
        return taken

    async def remove(self) -> None:
        """Remove the snapshot and every delta disk of it; idempotent, may be called again."""
        with self._diary.phase("removing"):
            await self.drop()
            await self._consolidate()

    async def drop(self) -> None:
        """Remove the snapshot alone; whether delta disks are left over is not looked at."""
        if self._gone:
            return
        snapshot = self._taken or await self._find_stray()
        if snapshot is not None:
            await self._hypervisor.remove_snapshot(snapshot)
            seconds = asyncio.get_running_loop().time() - self._opened
            self._diary.snapshot_open_seconds += seconds
            self._diary.tell(
                "snapshot-removed",
                f"VM snapshot {self.name} removed after {seconds:.3f} s",
                snapshot=snapshot.id,
                open_seconds=seconds,
            )
        self._gone = True

    async def _find_stray(self) -> VmSnapshot | None:
        there = await self._hypervisor.snapshots(self._vm)
        named = [snapshot for snapshot in there if snapshot.name == self.name]
        if len(named) > 1:
            holding = f"holding {len(named)} snapshots named {self.name}"
            raise InvalidState(self._vm, holding, "tell which is ours")
        return named[0] if named else None

    async def _consolidate(self) -> None:
        """Climb the ladder, from where an earlier call left it."""
        if self._rescue is not None:
            await self._rescue.drop()
            self._rescue = None
        if not (await self._info()).consolidation_needed:
            return
        self._diary.tell("consolidation-needed", "delta disks are left over: consolidating")
        try:
            await self._hypervisor.consolidate(self._vm)
        except TaskInProgress:
            raise
        except Refused as error:
            self._diary.line(f"consolidation was refused: {error}")
        if (await self._info()).consolidation_needed:
            await self._consolidate_by_snapshot()
        self._diary.tell("consolidated", "no delta disk is left over")

    async def _consolidate_by_snapshot(self) -> None:
        """Take and remove another snapshot: its removal takes older delta disks along."""
        rescue = OwnSnapshot(self._work, self._vm, self._work.new_name(), self._diary)
        self._rescue = rescue
        try:
            await rescue.take(quiesce=False)
        except Refused:
            self._rescue = None
            raise
        await rescue.drop()
        self._rescue = None
        if (await self._info()).consolidation_needed:
            raise InvalidState(self._vm, "still in need of consolidation", "clean it up")

    async def _info(self) -> VmInfo:
        for info in await self._hypervisor.vms():
            if info.name == self._vm:
                return info
        raise NotFound("VM", self._vm)
