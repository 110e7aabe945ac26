"""Creating a VM snapshot, and going back to one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from stuntdouble.errors import InvalidState, LimitReached, NotFound
from stuntdouble.hypervisor.inventory import Snapshot
from stuntdouble.hypervisor.quiesce import Freeze
from stuntdouble.hypervisor.stun import lose_power, stunned
from stuntdouble.ports import Consistency

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from simpy.events import Event

    from stuntdouble.hypervisor.inventory import Vm, VmDisk
    from stuntdouble.ports import VmSnapshot
    from stuntdouble.site import File, Moment

Moments = dict[tuple[str, int], "Moment"]
"""What the guest had written at each snapshot, by its id and the disk's key: for the oracle."""


class NewDeltas:
    """Delta files that are made before the stun; ``undo`` deletes those that no chain took."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._files: dict[int, File] = {}

    def make(self, disks: list[VmDisk]) -> Generator[Event, object, None]:
        """Make a file for each disk, under the file system's lock; NoSpace where there is no room."""
        for disk in disks:
            self._files[disk.key] = self._vm.new_delta(disk)
        for datastore in dict.fromkeys(disk.datastore for disk in disks):
            yield from datastore.lock()

    def take(self, disk: VmDisk) -> File:
        """Return the file of a disk: it belongs to the chain from now on."""
        return self._files.pop(disk.key)

    def undo(self) -> None:
        """Delete what was not taken."""
        for key, file in self._files.items():
            self._vm.disks[key].datastore.delete(file)
        self._files.clear()


def unborn(snapshot_id: str, name: str, description: str) -> Snapshot:
    """Return a snapshot that freezes nothing yet."""
    return Snapshot(snapshot_id, name, 0.0, Consistency.CRASH, None, {}, {}, description)


def create(
    vm: Vm, made: Snapshot, moments: Moments, *, quiesce: bool
) -> Generator[Event, object, VmSnapshot]:
    """Take the snapshot *made* of every disk of *vm* that can have one.

    Raises:
        TaskInProgress: the VM is busy.
        LimitReached: a chain would become too long.
        NoSpace: there is no room for the delta disks, or none in the array for the copies that
            their metadata owes; nothing has changed.
        QuiesceFailed: the guest was not frozen in time; nothing has changed.
    """
    with vm.task("CreateSnapshot_Task"):
        _check_depth(vm)
        env, progress = vm.host.env, vm.task_progress
        yield from progress.wait(env, vm.host.parameters.task_seconds, 0.0, 0.5)
        deltas, freeze = NewDeltas(vm), Freeze(vm, wanted=quiesce)
        try:
            yield from deltas.make(vm.snapshot_disks)
            progress.part(0.7, 1.0, float)
            yield from freeze.begin()

            def switch() -> None:
                freeze.check()
                made.consistency = freeze.consistency
                _freeze(vm, made, deltas, moments)

            tracking = partial(_write_tracking, vm)
            yield from stunned(vm, "create", vm.snapshot_disks, switch, tracking)
        finally:
            freeze.end()
            deltas.undo()
        vm.host.note("snapshot", vm.name, id=made.id, consistency=str(made.consistency))
        return vm.show(made)


def _check_depth(vm: Vm) -> None:
    depth_max = vm.host.parameters.chain_depth_max
    if any(disk.disk.head.depth >= depth_max for disk in vm.snapshot_disks):
        raise LimitReached(f"snapshot levels of {vm.name}", depth_max)


def _write_tracking(vm: Vm) -> Generator[Event, object, None]:
    """Write to the tracking files the sets of grains that are about to be sealed."""
    for disk in vm.snapshot_disks if vm.tracking else ():
        yield from disk.datastore.write_metadata(disk.tracker.sealed_bytes)


def _freeze(vm: Vm, made: Snapshot, deltas: NewDeltas, moments: Moments) -> None:
    """Freeze every disk in this instant: the snapshot's moment."""
    vm.last_number += 1
    made.moment, made.parent, made.number = vm.host.env.now, vm.current, vm.last_number
    for disk in vm.snapshot_disks:
        made.frozen[disk.key] = disk.disk.head
        moments[made.id, disk.key] = disk.disk.moment(made.moment)
        if disk.tracker.active:
            made.change_ids[disk.key] = disk.sealed[disk.disk.head] = disk.tracker.seal()
        disk.chain.levels.append(disk.disk.push(deltas.take(disk)))
    vm.snapshots.append(made)
    vm.current = made


def revert(vm: Vm, snapshot_id: str, moments: Moments) -> Generator[Event, object, None]:
    """Put every disk back to what a snapshot froze; the VM is off afterwards.

    Snapshots are taken without memory, so the state to go back to is a powered-off one (vSphere
    API).  What was written since the current snapshot is lost, and change tracking with it.

    Raises:
        NotFound: no such snapshot.
        InvalidState: the truth of the snapshot is unknown (it was found on a mounted copy).
        NoSpace: as ``create``.
    """
    with vm.task("RevertToSnapshot_Task"):
        yield from _revert(vm, vm.snapshot(snapshot_id), moments)


def revert_to_current(vm: Vm, moments: Moments) -> Generator[Event, object, None]:
    """Put every disk back to what the current snapshot froze; see ``revert``.

    Raises:
        NotFound: the VM has no current snapshot.
    """
    with vm.task("RevertToCurrentSnapshot_Task"):
        if vm.current is None:
            raise NotFound(f"snapshot of {vm.name}", "current")
        yield from _revert(vm, vm.current, moments)


def _revert(vm: Vm, target: Snapshot, moments: Moments) -> Generator[Event, object, None]:
    if any((target.id, key) not in moments for key in target.frozen):
        raise InvalidState(vm.name, "a registered copy", "revert it")
    seconds = vm.host.parameters.task_seconds
    yield from vm.task_progress.wait(vm.host.env, seconds, 0.0, 0.5)
    deltas = NewDeltas(vm)
    try:
        disks = [vm.disks[key] for key in target.frozen]
        yield from deltas.make(disks)
        yield from stunned(vm, "revert", disks, partial(_go_back, vm, target, deltas, moments))
    finally:
        deltas.undo()
    vm.host.note("revert", vm.name, id=target.id)


def _go_back(vm: Vm, target: Snapshot, deltas: NewDeltas, moments: Moments) -> None:
    for disk in _disks_of(vm, target):
        disk.disk.rewind(moments[target.id, disk.key])
        disk.disk.set_head(target.frozen[disk.key])
        disk.chain.levels.append(disk.disk.push(deltas.take(disk)))
        vm.lose_tracking("revert", disk.key)
        for level in disk.chain.unused(vm.frozen(disk.key)):
            disk.chain.levels.remove(level)
            disk.drop(level)
    vm.current = target
    if vm.powered_on:
        lose_power(vm)


def _disks_of(vm: Vm, snapshot: Snapshot) -> Iterator[VmDisk]:
    return (vm.disks[key] for key in snapshot.frozen)


def rename(
    vm: Vm, snapshot_id: str, name: str | None, description: str | None
) -> Generator[Event, object, None]:
    """Give a snapshot another name, description, or both; None leaves one as it is.

    Raises:
        NotFound: no such snapshot.
    """
    with vm.task("RenameSnapshot"):
        yield vm.host.env.timeout(0)
        target = vm.snapshot(snapshot_id)
        target.name = target.name if name is None else name
        target.description = target.description if description is None else description
        vm.write_records()
