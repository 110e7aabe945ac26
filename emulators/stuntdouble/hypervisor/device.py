"""Disks, opened: frozen ones to read a backup from, new ones to write a restore to."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast

from stuntdouble.clock import perform
from stuntdouble.errors import AccessDenied, InvalidState, Misuse
from stuntdouble.iops import Io, Purpose, StreamSpec, read_bulk
from stuntdouble.ports import Span
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
    from typing import Any

    from simpy.events import Event

    from stuntdouble.extents import Runs
    from stuntdouble.hypervisor.inventory import Vm, VmDisk
    from stuntdouble.ports import Throttle
    from stuntdouble.site import Level

WRITE_BYTES: Final = MIB
"""A restore's writes are cut into I/Os of 1 MiB: the block size that backup products restore by."""


class LocalDisk:
    """A disk as a snapshot froze it, read through the hypervisor.

    ``level`` is asked for again before each span, because consolidation of an older snapshot may
    move what this one froze; it raises NotFound once the snapshot is gone.  Damaged storage raises
    MediumError, or gives wrong bytes; lost storage raises Unreachable.

    Args:
        vm: whose disk it is.
        disk: the disk.
        level: returns what to read.
        link: station that each I/O's bytes cross (the management network), or -1.
    """

    def __init__(self, vm: Vm, disk: VmDisk, level: Callable[[], Level], link: int = -1) -> None:
        self.identity = disk.name
        self.size_bytes = disk.spec.capacity_bytes
        self._vm = vm
        self._disk = disk
        self._level = level
        self._link = link
        self._closed = False

    async def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs* in rising order; see ``ports.BlockDevice``."""
        if runs.clip(0, self.size_bytes) != runs:
            raise Misuse(self.identity, f"a read beyond its end at {self.size_bytes} bytes")
        self._require_open()
        self._disk.check_reachable()
        spec = StreamSpec(
            Io.READ_LEVEL,
            self._level(),
            runs.blocks(throttle.block_bytes),
            throttle.depth,
            Purpose.BACKUP,
            link=self._link,
            luns=self._disk.datastore.luns,
        )
        spans = read_bulk(self._vm.host.engine, spec, runs, throttle, self._render)
        # read_bulk is an async generator, though it does not say so
        async with aclosing(cast("AsyncGenerator[tuple[int, memoryview], None]", spans)) as opened:
            async for offset, data in opened:
                self._require_open()
                yield Span(offset, data)

    def _render(self, first: int, count: int) -> Any:
        self._disk.check_reachable()
        site = self._vm.host.site
        return site.show_parts(self._level(), first, count, self.identity)

    def _require_open(self) -> None:
        if self._closed:
            raise InvalidState(self.identity, "closed", "read it")

    async def write(self, offset: int, data: memoryview) -> None:
        """Refuse: the disk is frozen."""
        raise AccessDenied("a backup", f"{len(data)} bytes at {offset} of {self.identity} to write")

    async def close(self) -> None:
        """Let go of the disk."""
        self._closed = True


class RestoreTarget:
    """The disk of a powered-off VM without snapshots, to be written."""

    def __init__(self, vm: Vm, disk: VmDisk) -> None:
        self.identity = disk.name
        self.size_bytes = disk.spec.capacity_bytes
        self._vm = vm
        self._disk = disk
        self._closed = False

    def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield what is there, as ``LocalDisk`` does."""
        return LocalDisk(self._vm, self._disk, lambda: self._disk.disk.head).read(runs, throttle)

    async def write(self, offset: int, data: memoryview) -> None:
        """Write whole content blocks; return when they are on the disk.

        Raises:
            Misuse: not whole blocks, or beyond the end.
            NoSpace: a thin disk cannot grow; what lies before the failing I/O has been written.
            InvalidState: the device is closed, or the VM runs or has a snapshot by now.
            Unreachable: the storage is lost; what was under way may have been written.
        """
        size = self._vm.host.site.block_bytes
        if offset % size or len(data) % size or offset < 0:
            raise Misuse(self.identity, f"{len(data)} bytes at {offset}: blocks have {size} bytes")
        if offset + len(data) > self.size_bytes:
            raise Misuse(self.identity, f"a write beyond its end at {self.size_bytes} bytes")
        if self._closed:
            raise InvalidState(self.identity, "closed", "write it")
        await perform(self._vm.host.env, self._write(offset, data))

    def _write(self, offset: int, data: memoryview) -> Generator[Event, object, None]:
        """Admit the I/Os, then let them take their time side by side."""
        self._vm.require_off("write its disks")
        self._disk.check_reachable()
        host = self._vm.host
        ended = []
        for at in range(0, len(data), WRITE_BYTES):
            part = data[at : at + WRITE_BYTES]
            steps = host.site.write_bytes(self._disk.disk, offset + at, part)
            ended.append(host.engine.submit(steps, Purpose.RESTORE))
        for event in ended:
            if not event.processed:
                yield event

    async def close(self) -> None:
        """Let go of the disk."""
        self._closed = True
