"""Moving a VM's disks to another datastore while it is off.

    source     base ◀─ delta 1 ◀─ head            each level is read as it is seen from there, and
                 ▼        ▼         ▼             only what it holds itself: written ranges of a
    target     base ◀─ delta 1 ◀─ head            base, grains of a delta; parents before children

So chains, snapshots and what each snapshot froze come along, a registered copy's open snapshot
included, and a thin disk stays thin.  It is bulk I/O through the engine: a batch is read, then
written, as many I/Os at a time as a consolidation keeps under way.  The content that has been moved
is kept by the site as real bytes.

The new files become the VM's in one instant, with the descriptors; until then the VM is what it
was, and whatever cuts the move short (no space, damaged storage, a cancelled task) deletes them.
Files on a mounted copy are left where they are: they are the copy's.  Change tracking starts anew
under another identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import simpy

from stuntdouble.errors import Bug, InvalidState, NotFound, Unsupported
from stuntdouble.extents import State
from stuntdouble.hypervisor.building import free_folder, wrap
from stuntdouble.hypervisor.device import WRITE_BYTES
from stuntdouble.iops import Io, Purpose, StreamSpec
from stuntdouble.ports import Provisioning

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor.datastore import Datastore
    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.inventory import Vm, VmDisk
    from stuntdouble.site import Level, Moment

_COPYING: Final = 0.1  # of a task's progress, where copying begins: as a consolidation's merging


def relocate(hypervisor: Hypervisor, vm: Vm, datastore_name: str) -> Generator[Event, object, None]:
    """Move every disk of a VM that is off to a datastore; those that are there stay.

    Raises:
        Unsupported: the VM is powered on, or has a raw mapping.
        NotFound: no such datastore.
        InvalidState: the datastore is a mounted copy.
        NoSpace: it has no room for the disks; nothing has changed.
        MediumError: a disk cannot be read; nothing has changed.
        Unreachable: storage has been lost.
    """
    host = hypervisor.host
    with vm.task("RelocateVM_Task"):
        target = hypervisor.datastores.get(datastore_name)
        if target is None:
            raise NotFound("datastore", datastore_name)
        _check(vm, target)
        yield from vm.task_progress.wait(host.env, host.parameters.task_seconds, 0.0, _COPYING)
        vm.check_reachable()
        target.check_reachable()
        moving = [disk for disk in vm.disks.values() if disk.datastore is not target]
        began, wanted_bytes = host.env.now, sum(map(_held_bytes, moving))
        made: list[_Twin] = []
        share = partial(_share, made, wanted_bytes)
        vm.task_progress.part(_COPYING, 1.0, share)
        try:
            for disk in moving:
                made.append(_Twin(hypervisor, vm, disk, target, _stem(vm, target, made)))
                yield from made[-1].fill()
            yield from target.lock()
        except BaseException:
            for twin in made:
                twin.delete()
            raise
        sources = _switch(hypervisor, vm, made)
        seconds = host.env.now - began
        host.note("relocated", vm.name, to=target.name, bytes=wanted_bytes, seconds=seconds)
        for source in sources:
            yield from source.lock()


def _check(vm: Vm, target: Datastore) -> None:
    if vm.powered_on:
        raise Unsupported(f"relocating {vm.name} while it runs", "power it off first")
    if any(disk.spec.mode == "raw" for disk in vm.disks.values()):
        raise Unsupported(f"relocating {vm.name}, which has a raw mapping", "take it off first")
    if target.mounted_copy:
        raise InvalidState(f"datastore {target.name}", "a mounted copy", f"hold {vm.name}")


def _stem(vm: Vm, target: Datastore, made: list[_Twin]) -> str:
    """Return what the next disk's files on *target* are called, in the VM's folder there."""
    here = [disk for disk in vm.disks.values() if disk.datastore is target]
    folder = here[0].folder if here else free_folder(vm.name, {target.name: target})
    taken = {disk.name for disk in here} | {twin.disk.name for twin in made}
    for i in count():
        stem = f"{folder}/{folder}_{i}" if i else f"{folder}/{folder}"
        if f"{stem}.vmdk" not in taken and f"{stem}-flat.vmdk" not in target.store.files:
            return stem
    raise Bug("numbers do not end")


def _switch(hypervisor: Hypervisor, vm: Vm, made: list[_Twin]) -> list[Datastore]:
    """Make the new files the VM's, in one instant; return the datastores that have lost files."""
    sources: list[Datastore] = []
    for twin in made:
        source = twin.source.datastore
        if not source.mounted_copy:
            source.store.records.pop(twin.source.folder, None)
            sources.append(source)
        twin.hand_over(hypervisor)
    engine = hypervisor.host.engine
    vm.guest.luns[:] = list(dict.fromkeys(x for d in vm.disks.values() for x in d.datastore.luns))
    engine.fence([])  # fences that are up are counted by guest: those of other LUNs matter now
    engine.unfence([])
    vm.chain_changed()
    return list(dict.fromkeys(sources))


@dataclass
class _Place:
    """A level that has been copied, and what the disk held as seen from it."""

    level: Level
    moment: Moment


class _Twin:
    """The disk that is being made on the target, level by level."""

    def __init__(
        self, hypervisor: Hypervisor, vm: Vm, source: VmDisk, target: Datastore, stem: str
    ) -> None:
        self.source = source
        self._host = hypervisor.host
        self._vm = vm
        self.moved_bytes = 0
        self._places: dict[Level, _Place] = {}
        site, spec = self._host.site, replace(source.spec, datastore=target.name)
        file = target.create_flat(f"{stem}-flat.vmdk", source.disk.blocks, spec.provisioning)
        disk = site.create_disk(f"{vm.name}/{spec.key}", source.disk.blocks, file)
        self.disk = wrap(self._host, vm.name, spec, f"{stem}.vmdk", disk, target)

    def fill(self) -> Generator[Event, object, None]:
        """Copy every level.

        Raises:
            NoSpace: a thin disk or a delta cannot grow.
            MediumError: a level cannot be read.
        """
        if self.disk.spec.provisioning is Provisioning.EAGER_ZEROED:
            for steps in self._host.site.zero_file(self.disk.disk.head.file):
                yield self._host.engine.submit(steps, Purpose.RESTORE)
        for level in self.source.chain.levels:
            self._begin(level)
            yield from self._copy(level, _held(self.source, level))
            moment = self.disk.disk.moment(self._host.env.now)
            self._places[level] = _Place(self.disk.disk.head, moment)

    def delete(self) -> None:
        """Delete what has been made."""
        for level in self.disk.chain.levels:
            self.disk.drop(level)

    def hand_over(self, hypervisor: Hypervisor) -> None:
        """Let the VM's disk be what has been made, and delete what it was made of.

        Its ledger stays what it was, as the judge of this move; where there was none, since the VM
        was found on a mounted copy, it is what has been written here.
        """
        old, disk = self.source, self.source.disk
        left = list(old.chain.levels)
        if old.datastore.mounted_copy:
            disk.rewind(self._places[disk.head].moment)
        disk.set_head(self._places[disk.head].level)
        for snapshot in self._vm.snapshots:
            if old.key in snapshot.frozen:
                place = self._places[snapshot.frozen[old.key]]
                snapshot.frozen[old.key] = place.level
                hypervisor.moments.setdefault((snapshot.id, old.key), place.moment)
        if not old.datastore.mounted_copy:
            for level in left:
                old.drop(level)
        old.chain.levels[:] = self.disk.chain.levels
        old.spec, old.name = self.disk.spec, self.disk.name
        old.datastore, old.serial = self.disk.datastore, self.disk.serial
        self._vm.lose_tracking("relocated", old.key)

    # Level by level. -----------------------------------------------------------------------

    def _begin(self, level: Level) -> None:
        """Let the head be a copy of *level* that holds nothing yet, over that of its parent."""
        if level.parent is None:
            return
        disk, below = self.disk.disk, self._places[level.parent]
        disk.set_head(below.level)
        disk.rewind(below.moment)
        self.disk.chain.levels.append(disk.push(self._vm.new_delta(self.disk)))

    def _copy(self, level: Level, items: Any) -> Generator[Event, object, None]:
        engine, depth = self._host.engine, self._host.parameters.consolidation_depth
        luns = self.source.datastore.luns
        for first in range(0, len(items), depth):
            some = items[first : first + depth]
            stream = engine.stream(
                StreamSpec(Io.READ_LEVEL, level, some, depth, Purpose.RESTORE, luns=luns)
            )
            try:
                yield stream.finished
            except simpy.Interrupt:
                stream.stop()
                yield stream.finished  # what is under way ends first
                raise
            ended = [self._write(level, *row) for row in some.tolist()]
            for event in ended:
                if not event.processed:
                    yield event

    def _write(self, level: Level, offset: int, length: int) -> Event:
        """Admit the write of a range, as it is seen from *level*."""
        self.source.check_reachable()
        site = self._host.site
        size = site.block_bytes
        rows = site.show(level, offset // size, length // size, self.source.name)
        steps = site.write_bytes(self.disk.disk, offset, rows.reshape(-1).data)
        self.moved_bytes += length
        return self._host.engine.submit(steps, Purpose.RESTORE)


def _held(disk: VmDisk, level: Level) -> Any:
    """Return the (offset, length) byte ranges that a level holds itself, an I/O each."""
    site, blocks = level.site, disk.disk.blocks
    if level.file.sparse:
        return site.grains(level, blocks, WRITE_BYTES // site.block_bytes) * site.block_bytes
    table = site.offset_table(level, blocks, disk.datastore.volume_names())
    return table.where(State.WRITTEN).blocks(WRITE_BYTES)


def _held_bytes(disk: VmDisk) -> int:
    return sum(int(_held(disk, level)[:, 1].sum()) for level in disk.chain.levels)


def _share(made: list[_Twin], wanted_bytes: int) -> float:
    """Return how much of the bytes to be moved has been moved."""
    return sum(twin.moved_bytes for twin in made) / wanted_bytes if wanted_bytes else 0.0
