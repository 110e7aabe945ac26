"""Files and block devices of this machine as ``ports.BlockDevice``.

Reads go through the page cache, in threads: as many as a throttle lets be under way.  What the cache
holds of a device when it is opened is dropped, for it may be of another volume that was there before.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from stuntdouble.errors import (
    AccessDenied,
    Error,
    InvalidState,
    MediumError,
    Misuse,
    NoSpace,
    NotFound,
    Unreachable,
)
from stuntdouble.initiators.reading import GAP_BYTES, Reading, carriers, pieces
from stuntdouble.initiators.wall import Patience, Wall
from stuntdouble.initiators.wwn import disk_of, identification
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from stuntdouble.extents import Runs
    from stuntdouble.ports import Mapping, Span, Throttle

_THREADS: Final = 16
"""Reads under way, at most.  Chosen: more than a disk array profits from by one reader."""

_CLOSE_SECONDS: Final = 30.0  # of wall time, for what is under way: a disk's own limit in Linux
_GONE: Final = frozenset(
    {errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.ENOLINK, errno.EREMOTEIO}
)
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBADE})


def error_of(error: OSError, where: str, offset: int, length: int) -> Error:
    """Return what an error of the system means for *length* bytes at *offset*."""
    if error.errno in _GONE:
        return Unreachable(f"{where} ({error.strerror})")
    if error.errno in _REFUSED:
        return AccessDenied("this process", f"{where} ({error.strerror})")
    if error.errno == errno.ENOENT:
        return NotFound("file or device", where)
    if error.errno == errno.ENOSPC:
        return NoSpace(where, length, 0)
    if error.errno in {errno.EIO, errno.ENODATA, errno.EILSEQ}:
        return MediumError(where, offset)
    return Misuse(where, f"{length} bytes at {offset}: {error.strerror}")


class LocalDevice:
    """A file or a block device.

    Args:
        path: where it is.
        identity: what to call it; its path where it is left out.
        writable: whether it may be written.
        ask: says who an open descriptor is; where it is given, the device must be *identity*, when
            it is opened and before and after each read.

    Raises:
        NotFound, AccessDenied: it cannot be opened.
        Misuse: it is neither a file nor a block device.
        InvalidState: it is another one.
    """

    block_bytes = 512

    def __init__(
        self,
        path: str | os.PathLike[str],
        identity: str = "",
        *,
        writable: bool = False,
        ask: Callable[[int], str] | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.identity = identity or self.path
        self._writable = writable
        self._ask = ask
        self._closed = False
        try:
            flags = os.O_RDWR if writable else os.O_RDONLY
            self._descriptor = os.open(self.path, flags | os.O_CLOEXEC)
        except OSError as error:
            raise error_of(error, self.path, 0, 0) from error
        try:
            self._check_kind()
            self._check_identity()
            self.size_bytes = os.lseek(self._descriptor, 0, os.SEEK_END)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._threads = ThreadPoolExecutor(_THREADS, "local-device")

    def _check_kind(self) -> None:
        mode = os.fstat(self._descriptor).st_mode
        if stat.S_ISBLK(mode):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        elif not stat.S_ISREG(mode):
            raise Misuse(self.path, "neither a file nor a block device")

    def _check_identity(self) -> None:
        if self._ask is None:
            return
        found = self._ask(self._descriptor)
        if found != self.identity:
            state = f"volume {found}" if found else "no disk with a name"
            raise InvalidState(self.path, state, f"read {self.identity} there")

    async def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs* in rising order; see ``ports.BlockDevice``.

        Raises:
            Misuse: beyond the end.
            MediumError: what cannot be read.
            Unreachable: the device is gone.
            InvalidState: it is another volume now.
        """
        self._require_open("read it")
        if runs.clip(0, self.size_bytes) != runs:
            raise Misuse(self.path, f"a read beyond its end at {self.size_bytes} bytes")
        if not runs:
            return
        await self._in_thread(self._check_identity)
        wide = carriers(runs, 1, GAP_BYTES)
        reading = Reading(self._fetch, wide, throttle, throttle.block_bytes, zeroed=False)
        async with aclosing(cast("AsyncGenerator[Span, None]", reading.spans())) as spans:
            async for span in spans:
                for piece in pieces(runs, span):
                    yield piece
        await self._in_thread(self._check_identity)

    def _fetch(self, offset: int, target: memoryview) -> asyncio.Future[None]:
        self._require_open("read it")
        return self._in_thread(self._fill, offset, target)

    def _in_thread(self, work: Callable[..., None], *facts: object) -> asyncio.Future[None]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *facts)

    def _fill(self, offset: int, target: memoryview) -> None:
        """Read, in a thread: as much as it takes, for one call may end early."""
        at, view = offset, target
        try:
            while view:
                count = os.preadv(self._descriptor, [view], at)
                if not count:
                    raise Misuse(self.path, f"it ends at {at} bytes by now")
                at, view = at + count, view[count:]
        except OSError as error:
            raise error_of(error, self.path, at, len(view)) from error

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data* at *offset*; it is on the medium after ``flush``.

        Raises:
            AccessDenied: it was opened for reading.
            Misuse: beyond the end.
            NoSpace: what was under way may have been written.
        """
        self._require_open("write it")
        if not self._writable:
            raise AccessDenied("this process", f"{self.path} for writing: it is open read-only")
        if offset < 0 or offset + len(data) > self.size_bytes:
            raise Misuse(self.path, f"a write beyond its end at {self.size_bytes} bytes")
        parts = [(at, data[at : at + MIB]) for at in range(0, len(data), MIB)]
        written = [self._in_thread(self._put, offset + at, part) for at, part in parts]
        ended = await asyncio.gather(*written, return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    def _put(self, offset: int, data: memoryview) -> None:
        at, view = offset, data
        try:
            while view:
                count = os.pwritev(self._descriptor, [view], at)
                at, view = at + count, view[count:]
        except OSError as error:
            raise error_of(error, self.path, at, len(view)) from error

    async def flush(self) -> None:
        """Return when what has been written is where it stays."""
        self._require_open("flush it")
        await self._in_thread(os.fsync, self._descriptor)

    async def close(self) -> None:
        """Let go of the device when nothing is under way any more; idempotent.

        Raises:
            TimedOut: something is still under way after 30 s.
        """
        if self._closed:
            return
        self._closed = True
        self._threads.shutdown(wait=False)
        async with Wall().limit(_CLOSE_SECONDS, f"closing {self.path}"):
            await asyncio.to_thread(self._threads.shutdown)
        os.close(self._descriptor)

    def _require_open(self, request: str) -> None:
        if self._closed:
            raise InvalidState(self.path, "closed", request)


class LocalInitiator:
    """Implements ``ports.Initiator`` over disks that the kernel shows: a loopback fabric's, say.

    Args:
        iqn: the name by which the array masks; a loopback fabric does not.
        sysfs: where the kernel tells of its disks.
        dev: where device nodes are.
        ask: says who an open disk is.
        wait_seconds: wall time that a disk may take to show.
    """

    def __init__(
        self,
        iqn: str,
        *,
        sysfs: Path = Path("/sys"),
        dev: Path = Path("/dev"),
        ask: Callable[[int, str], str] = identification,
        wait_seconds: float = 15.0,
    ) -> None:
        self.iqn = iqn
        self._sysfs = sysfs
        self._dev = dev
        self._ask = ask
        self._wait_seconds = wait_seconds

    async def attach(self, mapping: Mapping) -> LocalDevice:
        """Open the disk whose NAA identifier is the mapping's, read-only.

        Raises:
            NotFound: it does not show.
            InvalidState: what shows is another volume by now.
        """
        patience = Patience(Wall(), self._wait_seconds)
        while True:
            found = disk_of(mapping.naa, self._sysfs)
            if found:
                return self.open(found, mapping.naa.lower())
            await patience.again(NotFound("disk of this machine", mapping.naa))

    def open(self, disk: str, naa: str) -> LocalDevice:
        """Open a disk by the kernel's name of it, after checking who it is."""
        path = str(self._dev / disk)
        return LocalDevice(path, naa, ask=lambda descriptor: self._ask(descriptor, path))
