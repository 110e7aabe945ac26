"""Consolidation: merging delta disks that no snapshot needs into their parents.

A level below the head is merged while the VM runs on top of it, and a short stun re-parents what
hangs on it.  The head itself is being written meanwhile, and there are two ways to deal with that:

    mirror    writes go to the delta and its parent while the grains move: one pass, one stun
    helper    writes go to a helper delta while the grains move; then the helper is to be merged:
              within 12 s by the estimate, it is, with the VM stunned; else another helper, and
              again.  When the time budgets of the iterations are used up, the VM is stunned for
              as long as it takes: so it goes where the guest writes faster than grains move

Whatever cuts it short (no space, a cancelled task) leaves chains that read as before, and the VM
in need of consolidation.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import simpy

from stuntdouble.errors import FileLocked
from stuntdouble.hypervisor.quirks import CHANGES_LOST, LOCKED_DELTA, SILENT_CONSOLIDATION
from stuntdouble.hypervisor.snapshot import NewDeltas
from stuntdouble.hypervisor.stun import stunned
from stuntdouble.iops import Io, Purpose, StreamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from simpy.events import Event

    from stuntdouble.hypervisor.inventory import Snapshot, Vm, VmDisk
    from stuntdouble.site import Level

_MERGING: Final = 0.1  # of a task's progress, where merging begins
_HOLDER: Final = "a backup proxy"  # who keeps delta disks open, by the quirk


class Consolidation:
    """One run over a VM's chains; the VM's task is held by the caller.

    ``rounds`` counts passes over the disks; ``converged`` is False where the last merge with the
    VM stunned was estimated to take longer than it should.
    """

    def __init__(self, vm: Vm) -> None:
        self.rounds = 0
        self.moved_bytes = 0
        self.converged = True
        self._vm = vm
        self._host = vm.host
        self._bytes = sum(_owed_bytes(vm, disk) for disk in vm.disks.values())  # to be moved
        self._left: Callable[[], float] = float  # bytes of the level that is being moved

    def run(self) -> Generator[Event, object, None]:
        """Merge until no chain holds a level that nobody needs.

        Raises:
            FileLocked: somebody has a delta disk open that would be merged; nothing has changed.
            NoSpace: a thin parent cannot grow, or the array has no room for the copies that moved
                grains and metadata owe; what is left can be consolidated later.
        """
        self._check_locks()
        began = self._host.env.now
        self._host.note("consolidation-start", self._vm.name)
        self._vm.task_progress.part(_MERGING, 1.0, self._fraction)
        done = False
        try:
            self._lose_changes(on=True)
            yield from self._drop_unused()
            while merges := self._merges(heads=False):
                yield from self._merge_below(merges)
            if heads := self._merges(heads=True):
                yield from self._merge_heads(heads)
            done = True
        finally:
            self._lose_changes(on=False)
            self._vm.chain_changed()
            self._host.note(
                "consolidation",
                self._vm.name,
                started=began,
                rounds=self.rounds,
                seconds=self._host.env.now - began,
                bytes=self.moved_bytes,
                converged=self.converged,
                done=done,
            )

    def _check_locks(self) -> None:
        for level in _owed(self._vm):
            if level.file.name in self._vm.locks:
                raise FileLocked(level.file.name, self._vm.locks[level.file.name])

    def _lose_changes(self, *, on: bool) -> None:
        """Let trackers miss what is written from now on, where they have that quirk, or no more."""
        for disk in self._vm.snapshot_disks:
            disk.tracker.lose(on=on and CHANGES_LOST in self._host.quirks)

    def _fraction(self) -> float:
        """Return how much of the bytes to be moved has been moved."""
        return (self.moved_bytes - self._left()) / self._bytes if self._bytes else 0.0

    # Levels below the head. --------------------------------------------------------------------

    def _drop_unused(self) -> Generator[Event, object, None]:
        dropped = []
        for disk in self._vm.disks.values():
            for level in disk.chain.unused(self._vm.frozen(disk.key)):
                disk.chain.levels.remove(level)
                disk.drop(level)
                dropped.append(disk)
        if dropped:
            self._vm.chain_changed()
            yield from self._lock(dropped)

    def _merges(self, *, heads: bool) -> list[tuple[VmDisk, Level]]:
        """Return for each disk the lowest level to be merged, of those that are (not) heads."""
        found = []
        for disk in self._vm.disks.values():
            levels = disk.chain.mergeable(self._vm.frozen(disk.key))
            wanted = [level for level in levels if (level is disk.disk.head) == heads]
            found += [(disk, level) for level in wanted[:1]]
        return found

    def _merge_below(self, merges: list[tuple[VmDisk, Level]]) -> Generator[Event, object, None]:
        """Merge one level of each disk, which nobody writes, then re-parent in one stun."""
        self.rounds += 1
        for disk, level in merges:
            yield from self._move(disk, level)
        disks = [disk for disk, _ in merges]
        yield from stunned(self._vm, "re-parent", disks, partial(self._splice, merges))
        yield from self._lock(disks)

    def _splice(self, merges: list[tuple[VmDisk, Level]]) -> None:
        for disk, level in merges:
            parent = level.parent
            assert parent is not None, "a base is never merged away"
            level.mirror(on=False)
            disk.chain.splice(level)
            for snapshot in self._vm.snapshots:
                _thaw_onto(snapshot, disk.key, level, parent)
            disk.drop(level)

    # The head. ---------------------------------------------------------------------------------

    def _merge_heads(self, merges: list[tuple[VmDisk, Level]]) -> Generator[Event, object, None]:
        if self._vm.powered_on and self._host.parameters.consolidation == "helper":
            yield from self._merge_by_helpers([disk for disk, _ in merges])
            yield from self._lock([disk for disk, _ in merges])
            return
        self.rounds += 1
        try:
            for disk, level in merges:
                level.mirror(on=True)
                yield from self._move(disk, level)
            disks = [disk for disk, _ in merges]
            yield from stunned(self._vm, "commit", disks, partial(self._splice, merges))
        finally:
            for _, level in merges:
                level.mirror(on=False)
        yield from self._lock(disks)

    def _merge_by_helpers(self, disks: list[VmDisk]) -> Generator[Event, object, None]:
        yield from self._push_helpers(disks, [])
        began = self._host.env.now
        while True:
            self.rounds += 1
            merged = _below_heads(disks)
            started, before = self._host.env.now, self.moved_bytes
            for disk, level in merged:
                yield from self._move(disk, level)
            seconds = self._host.env.now - started
            moved = self.moved_bytes - before
            estimate = self._estimate(disks, moved / seconds if moved else 0.0)
            short = estimate <= self._host.parameters.helper_stun_seconds_max
            if short or self._out_of_budget(self._host.env.now - began):
                break
            yield from self._push_helpers(disks, merged)
        self.converged = short
        heads = [(disk, disk.disk.head) for disk in disks]
        yield from stunned(
            self._vm,
            "commit",
            disks,
            partial(self._splice, heads),
            partial(self._merge_stunned, merged, heads),
        )

    def _push_helpers(
        self, disks: list[VmDisk], merged: list[tuple[VmDisk, Level]]
    ) -> Generator[Event, object, None]:
        """Switch to new helper deltas, and let go of what has been *merged*."""
        deltas = NewDeltas(self._vm)

        def switch() -> None:
            self._splice(merged)
            for disk in disks:
                disk.chain.levels.append(disk.disk.push(deltas.take(disk)))

        try:
            yield from deltas.make(disks)
            yield from stunned(self._vm, "helper", disks, switch)
        finally:
            deltas.undo()

    def _merge_stunned(
        self, merged: list[tuple[VmDisk, Level]], heads: list[tuple[VmDisk, Level]]
    ) -> Generator[Event, object, None]:
        """Merge the last helpers while nobody writes them."""
        self._splice(merged)
        self._vm.chain_changed()
        for disk, level in heads:
            yield from self._move(disk, level)

    def _estimate(self, disks: list[VmDisk], bytes_per_second: float) -> float:
        """Return the seconds that merging the helpers would take at the rate of the last merge."""
        left = sum(disk.disk.head.file.used_blocks for disk in disks) * self._host.site.block_bytes
        if not left or not bytes_per_second:
            return 0.0
        return left / bytes_per_second

    def _out_of_budget(self, seconds: float) -> bool:
        """Say whether *seconds* have used up the budgets.

        Each iteration uses up one budget at least, and those of later iterations when it overruns.
        """
        budgets = self._host.parameters.helper_budgets_seconds
        overrun = sum(end <= seconds for end in accumulate(budgets))
        return max(overrun, self.rounds) >= len(budgets)

    # What both ways are made of. ---------------------------------------------------------------

    def _move(self, disk: VmDisk, level: Level) -> Generator[Event, object, None]:
        """Move the grains of a level to its parent, and wait for it."""
        host, parameters = self._host, self._host.parameters
        piece = max(parameters.consolidation_io_bytes // host.site.block_bytes, 1)
        size = level.file.used_blocks * host.site.block_bytes
        self.moved_bytes += size
        self._bytes = max(self._bytes, self.moved_bytes)
        pieces = host.site.grains(level, disk.disk.blocks, piece)
        stream = host.engine.stream(
            StreamSpec(
                Io.MOVE_LEVEL,
                level,
                pieces,
                parameters.consolidation_depth,
                Purpose.CONSOLIDATION,
                parameters.consolidation_bytes_per_second,
                luns=disk.datastore.luns,
            )
        )
        self._left = lambda: size * (1 - stream.done / max(len(pieces), 1))
        try:
            yield stream.finished
        except simpy.Interrupt:
            stream.stop()
            yield stream.finished  # what is under way ends first
            raise
        self._left = float

    def _lock(self, disks: Iterable[VmDisk]) -> Generator[Event, object, None]:
        """Take the time of the deletions under the file systems' locks."""
        for datastore in dict.fromkeys(disk.datastore for disk in disks):
            yield from datastore.lock()


def _below_heads(disks: list[VmDisk]) -> list[tuple[VmDisk, Level]]:
    found = []
    for disk in disks:
        below = disk.disk.head.parent
        assert below is not None, "there is a helper on top"
        found.append((disk, below))
    return found


def _thaw_onto(snapshot: Snapshot, key: int, level: Level, parent: Level) -> None:
    """Let a snapshot that froze *level* keep it where it is now: in *parent*."""
    if snapshot.frozen.get(key) is level:
        snapshot.frozen[key] = parent


def _owed(vm: Vm) -> list[Level]:
    """Return the levels that a consolidation would do away with."""
    return [level for disk in vm.disks.values() for level in _owed_of(vm, disk)]


def _owed_of(vm: Vm, disk: VmDisk) -> list[Level]:
    frozen = vm.frozen(disk.key)
    return disk.chain.mergeable(frozen) + disk.chain.unused(frozen)


def _owed_bytes(vm: Vm, disk: VmDisk) -> int:
    levels = disk.chain.mergeable(vm.frozen(disk.key))
    return sum(level.file.used_blocks for level in levels) * vm.host.site.block_bytes


def remove(
    vm: Vm, snapshot_id: str, *, children: bool = False, consolidate: bool = True
) -> Generator[Event, object, None]:
    """Remove a snapshot and consolidate; nothing happens once it is gone.

    Args:
        vm: whose snapshot it is.
        snapshot_id: which.
        children: whether those that hang on it go with it.
        consolidate: whether to merge what nobody needs any more; else the VM needs consolidation.

    Raises:
        TaskInProgress: the VM is busy.
        FileLocked: the snapshot is gone, but somebody has its delta disk open.
        NoSpace: the snapshot is gone, but consolidation may still be needed.
    """
    with vm.task("RemoveSnapshot_Task"):
        gone = vm.find(snapshot_id)
        if gone is None:
            return
        yield from _begin(vm)
        _forget(vm, _subtree(vm, gone) if children else [gone])
        if consolidate:
            yield from _consolidate_after_removal(vm)


def remove_all(vm: Vm, *, consolidate: bool = True) -> Generator[Event, object, None]:
    """Remove every snapshot, then consolidate from the base up unless told otherwise."""
    with vm.task("RemoveAllSnapshots_Task"):
        yield from _begin(vm)
        _forget(vm, list(vm.snapshots))
        if consolidate:
            yield from _consolidate_after_removal(vm)


def consolidate(vm: Vm) -> Generator[Event, object, None]:
    """Merge what earlier removals have left over; nothing happens where nothing is.

    Raises:
        FileLocked: somebody has a delta disk open that is left over.
        NoSpace: as ``remove``.
    """
    with vm.task("ConsolidateVMDisks_Task"):
        yield from _begin(vm)
        yield from Consolidation(vm).run()


def release(vm: Vm) -> None:
    """Let whoever has delta disks of a VM open close them: they can be consolidated again."""
    if vm.locks:
        vm.locks.clear()
        vm.host.note("delta-released", vm.name)


def _begin(vm: Vm) -> Generator[Event, object, None]:
    seconds = vm.host.parameters.task_seconds
    return vm.task_progress.wait(vm.host.env, seconds, 0.0, _MERGING)


def _consolidate_after_removal(vm: Vm) -> Generator[Event, object, None]:
    """Consolidate, but for the quirks by which a removal succeeds without."""
    if LOCKED_DELTA in vm.host.quirks:
        vm.locks.update({level.file.name: _HOLDER for level in _owed(vm)})
        vm.host.note("delta-locked", vm.name, files=tuple(vm.locks), by=_HOLDER)
    elif SILENT_CONSOLIDATION not in vm.host.quirks:
        yield from Consolidation(vm).run()


def _subtree(vm: Vm, top: Snapshot) -> list[Snapshot]:
    """Return a snapshot and all that hang on it, parents first."""
    found = [top]
    for each in found:
        found += [other for other in vm.snapshots if other.parent is each]
    return found


def _forget(vm: Vm, gone: list[Snapshot]) -> None:
    """Take snapshots out of the tree; their children hang on their parents."""
    for snapshot in gone:
        vm.snapshots.remove(snapshot)
        for other in vm.snapshots:
            if other.parent is snapshot:
                other.parent = snapshot.parent
        if vm.current is snapshot:
            vm.current = snapshot.parent
        vm.host.note("snapshot-removed", vm.name, id=snapshot.id)
    vm.write_records()
