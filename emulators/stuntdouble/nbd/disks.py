"""The disks of the emulated hypervisor as exports: what each of them shows.

A disk's bytes are rendered from what the site holds in this instant, so a frozen disk is always the
same, and a running VM's is a moving target.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.clock import completed
from stuntdouble.codecs.nbd import BASE_ALLOCATION, CONTEXT_DIRTY
from stuntdouble.content import known_zeros, zeros
from stuntdouble.errors import InvalidState, Misuse, NotFound, Refused
from stuntdouble.extents import Runs
from stuntdouble.hypervisor.changes import changed_ranges
from stuntdouble.iops import Io, Purpose, StreamSpec
from stuntdouble.nbd.rendered import Rendered, allocation, extents
from stuntdouble.ports import ALL_ALLOCATED
from stuntdouble.site.layout import locations
from stuntdouble.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray
    from simpy.events import Event

    from stuntdouble.hypervisor import Hypervisor, Snapshot, Vm, VmDisk
    from stuntdouble.ports import ChangedPage
    from stuntdouble.site import Level

    OnWrite: TypeAlias = Callable[[str, int, memoryview], object]

_IO_BYTES: Final = MIB
"""What a request is cut into where it takes the model's time: the block size of backup products."""

_DEPTH: Final = 8
"""How many of these are under way at a time, for one request: as a throttle has it by default."""

_WINDOW_BYTES: Final = GIB
"""How far one look at the maps goes; 6 MiB of memory with blocks of 4 KiB.  Chosen."""

_PAGES_MAX: Final = 32
"""Pages of changed areas that one block status asks for at most: so a slow tracker, whose pages
cover little, does not keep a client waiting.  Chosen."""


class DiskExport(Rendered):
    """A disk as seen from a level of its chain.

    Args:
        name: by which clients ask for it.
        description: for human beings.
        vm: whose disk it is.
        disk: the disk.
        level: what to show, asked for each time; it raises NotFound once that is gone.
        paced: whether a request takes the time that its I/O takes in the model.
    """

    def __init__(
        self,
        name: str,
        description: str,
        vm: Vm,
        disk: VmDisk,
        level: Callable[[], Level],
        *,
        paced: bool,
    ) -> None:
        block = vm.host.site.block_bytes
        size = disk.spec.capacity_bytes
        super().__init__(name, description, size, block, vm.host.env, self._rows)
        self.vm = vm
        self.disk = disk
        self.level = level
        self.paced = paced

    def _rows(self, first: int, count: int) -> Iterable[NDArray[np.uint8]]:
        self.disk.check_reachable()
        return self.vm.host.site.show_parts(self.level(), first, count, self.disk.name)

    async def pace(self, offset: int, length: int) -> None:
        """Read the range through the storage stack of the host, and its management network."""
        if not self.paced:
            return
        host = self.vm.host
        with self.env.entered():
            self.disk.check_reachable()
            spec = StreamSpec(
                Io.READ_LEVEL,
                self.level(),
                Runs.single(offset, length).blocks(_IO_BYTES),
                _DEPTH,
                Purpose.BACKUP,
                link=host.lan_station,
                luns=self.disk.datastore.luns,
            )
            stream = host.engine.stream(spec)
            finished = stream.finished
        try:
            await completed(finished)
        except asyncio.CancelledError:  # the client has gone: its I/O need not go on
            with self.env.entered():
                stream.stop()
            raise

    async def status(self, context: str, offset: int, length: int) -> Sequence[tuple[int, int]]:
        """Return what is allocated, and what reads as zeros."""
        if context != BASE_ALLOCATION:
            return await super().status(context, offset, length)
        stop = offset + min(length, _WINDOW_BYTES)
        first, last = offset // self.block_bytes, -(-stop // self.block_bytes)
        with self.env.entered():
            self.disk.check_reachable()
            self.vm.host.site.settle()
            flags = allocation(*locations(self.level(), first, last - first))
        return extents(flags, self.block_bytes, offset, stop)


class TrackedDisk(DiskExport):
    """A disk whose changed areas can be told: those of a snapshot, or now while the VM is off.

    The dirty bitmap of a changeId is what the hypervisor answers when it is asked for the areas
    changed since, page by page.  ``*`` in place of a changeId asks for the areas in use.

    Args:
        hypervisor: who is asked.
        until: the id of the snapshot up to which changes count; None is now.
    """

    def __init__(
        self, name: str, description: str, hypervisor: Hypervisor, vm: Vm, disk: VmDisk,
        level: Callable[[], Level], until: str | None, *, paced: bool,
    ) -> None:  # fmt: skip
        super().__init__(name, description, vm, disk, level, paced=paced)
        self._hypervisor = hypervisor
        self._until = until

    def _page(self, since: str, start: int) -> ChangedPage:
        """Return one page of the changed areas; see ``stuntdouble.hypervisor.changes``."""
        with self.env.entered():
            key = self.disk.key
            return changed_ranges(self._hypervisor, self.vm.name, key, since, self._until, start)

    def _tells(self, since: str) -> bool:
        """Say whether the hypervisor answers."""
        try:
            self._page(since, 0)
        except (Misuse, Refused):
            return False
        return True

    def contexts(self) -> Iterable[str]:
        """Return the contexts that are known: bitmaps of the snapshots that there are.

        A client may name any changeId that it has kept.
        """
        ids = [snapshot.change_ids.get(self.disk.key, "") for snapshot in self.vm.snapshots]
        known = filter(self._tells, [ALL_ALLOCATED, *filter(None, ids)])
        return (BASE_ALLOCATION, *(CONTEXT_DIRTY + since for since in known))

    async def has_context(self, name: str) -> bool:
        """Say whether a context can be selected."""
        if not name.startswith(CONTEXT_DIRTY):
            return await super().has_context(name)
        return self._tells(name.removeprefix(CONTEXT_DIRTY))

    async def status(self, context: str, offset: int, length: int) -> Sequence[tuple[int, int]]:
        """Return what is allocated, or what has changed."""
        if not context.startswith(CONTEXT_DIRTY):
            return await super().status(context, offset, length)
        areas, stop = self._changed(context.removeprefix(CONTEXT_DIRTY), offset, length)
        bounds = areas.clip(offset, stop).array.reshape(-1)
        lengths = np.diff(np.concatenate(([offset], bounds, [stop]))).tolist()
        # Clean and dirty take turns, from a clean one on that may be empty.
        return [(length, i % 2) for i, length in enumerate(lengths) if length]

    def _changed(self, since: str, offset: int, length: int) -> tuple[Runs, int]:
        """Return areas from *offset* on, and how far they are known."""
        areas, at = Runs.empty(), offset
        for _ in range(_PAGES_MAX):
            page = self._page(since, at)
            if page.start != at or page.covered < 1:
                state = f"at byte {at} with a page from {page.start} of {page.covered} bytes"
                raise InvalidState(f"the tracker of {self.disk.name}", state, "go on")
            areas, at = areas | page.extents, at + page.covered
            if at >= offset + length:
                break
        return areas, min(at, offset + length)


class CurrentDisk(TrackedDisk):
    """What a disk holds now; of a registered copy, what its current snapshot froze.

    It can be written while the VM is off and has no snapshots, as a restore does it.  ``on_write``
    is told of each write, as it enters the site.
    """

    def __init__(
        self, name: str, hypervisor: Hypervisor, vm: Vm, disk: VmDisk, *, paced: bool
    ) -> None:
        text = f"disk {disk.key} of {vm.name}, current content"
        super().__init__(name, text, hypervisor, vm, disk, self._now, None, paced=paced)
        self.on_write: OnWrite | None = None

    def _now(self) -> Level:
        return self.vm.image(self.disk.key) if self.vm.is_copy else self.disk.disk.head

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written at the moment."""
        return self.vm.powered_on or bool(self.vm.snapshots) or self.vm.is_copy

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data*; a content block that is covered in part keeps the rest.

        Raises:
            InvalidState: the VM runs or has a snapshot by now.
            NoSpace: a thin disk cannot grow; what lies before the failing MiB has been written.
            Unreachable: the storage is lost.
        """
        with self.env.entered():
            if self.on_write is not None:
                self.on_write(self.name, offset, data)
            process = self.begin_write(offset, data)
        await completed(process)

    def begin_write(self, offset: int, data: memoryview) -> Event:
        """Begin to write, within ``env.entered()``; it goes on, where its client leaves."""
        process: Event = self.env.process(self._write(offset, data))
        process.callbacks.append(_seen)
        return process

    def _write(self, offset: int, data: memoryview) -> Generator[Event, object, None]:
        """Admit all of it in this instant, so that nobody writes between reading and writing."""
        self.vm.require_off("write its disks")
        self.disk.check_reachable()
        host, ended = self.vm.host, []
        start, whole = self._whole_blocks(offset, data)
        for at in range(0, len(whole), _IO_BYTES):
            part = whole[at : at + _IO_BYTES]
            steps = host.site.write_bytes(self.disk.disk, start + at, part)
            if self.paced:
                ended.append(host.engine.submit(steps, Purpose.RESTORE))
        for event in ended:
            if not event.processed:
                yield event

    def _whole_blocks(self, offset: int, data: memoryview) -> tuple[int, memoryview]:
        size = self.block_bytes
        if offset % size == 0 and len(data) % size == 0:
            return offset, data
        start, stop = offset // size * size, -(-(offset + len(data)) // size) * size
        around = bytearray(b"".join(self.shown(start, stop)))
        around[offset - start : offset - start + len(data)] = data
        return start, memoryview(around)

    async def zero(self, offset: int, length: int, *, allocate: bool) -> None:
        """Let a range read as zeros, a MiB at a time; what does so already may stay as it is."""
        while length:
            size = min(length, _IO_BYTES - offset % _IO_BYTES)
            if allocate or not all(map(known_zeros, self.shown(offset, offset + size))):
                await self.write(offset, zeros(size).data)
            offset, length = offset + size, length - size


def _seen(event: Event) -> None:
    """Take note of how a write ended whose client has left: it is told nothing."""
    event.defused = True


class SnapshotDisk(TrackedDisk):
    """What a snapshot froze of a disk, through its chain; and what has changed since others."""

    def __init__(
        self, name: str, hypervisor: Hypervisor, vm: Vm, snapshot: Snapshot, disk: VmDisk, *,
        paced: bool,
    ) -> None:  # fmt: skip
        text = f"disk {disk.key} of {vm.name} as {snapshot.id} froze it"
        until = snapshot.id
        super().__init__(name, text, hypervisor, vm, disk, self._frozen, until, paced=paced)
        self._id = until

    def _frozen(self) -> Level:
        """Return the level; NotFound where the snapshot or its VM is gone."""
        return self._hypervisor.vm(self.vm.name).snapshot(self._id).frozen[self.disk.key]


class DeltaFile(DiskExport):
    """What one file of a chain holds by itself, a delta or the base; the rest is a hole.

    *alone* is a level that shows the file of *level* over nothing.
    """

    def __init__(
        self, name: str, vm: Vm, disk: VmDisk, level: Level, alone: Level, *, paced: bool
    ) -> None:
        text = f"{level.file.name}, what it holds of disk {disk.key} of {vm.name}"
        super().__init__(name, text, vm, disk, self._alone, paced=paced)
        self._shown = level
        self._view = alone

    def _alone(self) -> Level:
        """Return the file seen over nothing; NotFound once it is out of the chain."""
        if self._shown not in self.disk.chain.levels:
            raise NotFound(f"file of {self.vm.name}", self._shown.file.name)
        return self._view
