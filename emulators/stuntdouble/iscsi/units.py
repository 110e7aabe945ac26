"""Volumes of an emulated array as SCSI units: bytes straight from the site's maps.

What is read is rendered from tokens into the buffers that are sent; long zeros, and blocks whose
bytes came from outside, are not even copied.  What is written is admitted like any other write:
fences, masking, read-only volumes and full reserves are the array's to decide, in the instant in
which the data are whole.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from stuntdouble.clock import completed
from stuntdouble.content import ZERO
from stuntdouble.errors import AccessDenied, NotFound
from stuntdouble.extents import Runs
from stuntdouble.iops import Io, Purpose, StreamSpec
from stuntdouble.scsi import Run
from stuntdouble.site import IO_BLOCKS_MAX
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence

    from simpy.events import Event

    from stuntdouble.array import Array, Volume
    from stuntdouble.codecs.iscsi.requests import Buffer

_PLAIN_BYTES: Final = 64 * KIB
"""What is rendered in one piece: for less it does not pay to look where zeros are.  Measured."""

_DEPTH: Final = 8  # I/Os of one long command at a time, where they take time: as NBD's

_LOGICAL_BYTES: Final = 512

_HELD: Final = ~np.uint64(ZERO)  # what tokens have that stand for anything but zeros

_LOOK_BLOCKS: Final = 256
_LOOK_GROWTH: Final = 8
_LOOK_BLOCKS_MAX: Final = _LOOK_BLOCKS * _LOOK_GROWTH**3
"""How far one look goes for what is allocated: 1 MiB of blocks of 4 KiB, or 512 MiB.  Chosen."""


class Written(NamedTuple):
    """Something that an initiator has changed; ``data`` is None where a range was zeroed."""

    initiator: str
    naa: str
    offset: int
    length: int
    data: bytes | None


class Naming(NamedTuple):
    """What INQUIRY says: 8, 16 and 4 characters at most."""

    vendor: str = "STUNTDBL"
    product: str = "VOLUME"
    revision: str = "0001"


class ArrayUnit:
    """A volume as an initiator sees it; implements ``scsi.Unit``.

    Args:
        array: whose it is.
        volume: the volume.
        initiator: who sees it.
        naming: what it says of itself.
        paced: whether commands take the time that their I/O takes in the model; else none.
        on_write: told of each change as it enters the site.
        link: the engine's station that what is read crosses, where commands take time, or -1.
    """

    def __init__(
        self, array: Array, volume: Volume, initiator: str, naming: Naming, *,
        paced: bool = False, on_write: Callable[[Written], object] | None = None, link: int = -1,
    ) -> None:  # fmt: skip
        self.array = array
        self.volume = volume
        self.initiator = initiator
        self.naa = volume.naa
        self.serial = volume.serial
        self.vendor, self.product, self.revision = naming
        self.block_bytes = _LOGICAL_BYTES
        self.thin = True
        self._site = array.core.site
        self._env = array.core.env
        self._paced = paced
        self._on_write = on_write
        self._link = link
        self._size = self._site.block_bytes

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        return self.volume.lun.blocks * self._size

    @property
    def physical_block_bytes(self) -> int:
        """The content block."""
        return self._size

    @property
    def unmap_granularity_bytes(self) -> int:
        """The content block: one that holds zeros has no content."""
        return self._size

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""
        return self.volume.read_only

    # Reading. ----------------------------------------------------------------------------------

    def read(self, offset: int, length: int) -> Sequence[Buffer] | Awaitable[Sequence[Buffer]]:
        """Return the bytes of a range in this instant, or when their I/O has ended.

        Raises:
            MediumError: damaged, or the snapshot that the volume shows has been given up.
            Unreachable: the array is lost.
        """
        if self._paced:
            return _Lazily(partial(self._read_later, offset, length))
        return self._shown(offset, length)

    def _shown(self, offset: int, length: int) -> list[Buffer]:
        size = self._size
        first, last = offset // size, -(-(offset + length) // size)
        with self._env.entered():
            if length <= _PLAIN_BYTES:
                rendered = [self.array.show(self.volume, first, last - first)]
            else:
                rendered = self.array.show_parts(self.volume, first, last - first)
        parts: list[Buffer] = [rows.reshape(-1).data for rows in rendered]
        if offset % size or length % size:
            _trim(parts, offset - first * size, length)
        return parts

    async def _read_later(self, offset: int, length: int) -> Sequence[Buffer]:
        lun = self.volume.lun
        with self._env.entered():
            self.array.core.check_reachable()
            items = Runs.single(offset, length).blocks(MIB)
            spec = StreamSpec(
                Io.READ_LUN, lun, items, _DEPTH, Purpose.BACKUP, link=self._link, luns=(lun,)
            )
            stream = self.array.core.engine.stream(spec)
            finished = completed(stream.finished)
        try:
            await finished
        except BaseException:  # the initiator has gone, or has aborted the task
            with self._env.entered():
                stream.stop()
            raise
        return self._shown(offset, length)

    def allocated(self, offset: int, length: int) -> Iterator[Run]:
        """Yield what holds anything but zeros, and what does not: a look at the maps at a time."""
        stop = offset + length
        while offset < stop:
            for run in self._look(offset, stop):
                yield run
                offset = run.offset + run.length

    def _look(self, offset: int, stop: int) -> list[Run]:
        """Return what is allocated from *offset* on: of a MiB, or of more where it is all alike."""
        size, count = self._size, _LOOK_BLOCKS
        first, last = offset // size, -(-stop // size)
        while True:
            with self._env.entered():
                tokens = self.volume.lun.tokens(first, min(count, last - first))
            held = tokens & _HELD != 0
            edges = np.flatnonzero(held[1:] != held[:-1]) + 1
            if len(edges) or len(held) < count or count >= _LOOK_BLOCKS_MAX:
                break
            count *= _LOOK_GROWTH
        bounds = [0, *edges.tolist(), len(held)]
        found = []
        for begin, end in pairwise(bounds):
            start = max((first + begin) * size, offset)
            until = min((first + end) * size, stop)
            found.append(Run(start, until - start, allocated=bool(held[begin])))
        return found

    # Writing. ----------------------------------------------------------------------------------

    def write(self, offset: int, data: Buffer) -> Awaitable[None] | None:
        """Write *data*; a content block that is covered in part keeps the rest.

        Raises:
            AccessDenied: the volume is read-only.
            NotFound: it is not mapped to the initiator any more.
            NoSpace: the snapshot reserve is full; what came before is written.
        """
        return self._begin(partial(self._admit, offset, len(data), bytes(data)))

    def zero(self, offset: int, length: int, *, unmap: bool) -> Awaitable[None] | None:
        """Let a range read as zeros; raises as ``write``."""
        del unmap  # a volume is laid out in full, and a block of zeros has no content either way
        return self._begin(partial(self._admit, offset, length, None))

    def change(
        self, offset: int, length: int, update: Callable[[bytes], bytes | None]
    ) -> Awaitable[None] | None:
        """Replace the bytes of a range by what *update* makes of them, in one instant."""

        def admit() -> list[Event]:
            made = update(b"".join(self._shown(offset, length)))
            return [] if made is None else self._admit(offset, length, made)

        return self._begin(admit)

    def flush(self) -> None:
        """Do nothing: what is admitted stays."""

    def _begin(self, admit: Callable[[], list[Event]]) -> Awaitable[None] | None:
        """Admit a write now, or when the fences fall; with its time, where it takes any."""
        with self._env.entered():
            self._check()
            fence = next(self.array.unfenced(self.volume.lun), None)
            if fence is None and not self._paced:
                admit()
                return None
            process: Event = self._env.process(self._written(admit))
            process.callbacks.append(_seen)
            return completed(process)

    def _written(self, admit: Callable[[], list[Event]]) -> Generator[Event, Any, None]:
        yield from self.array.unfenced(self.volume.lun)
        self._check()
        for event in admit():
            if not event.processed:
                yield event

    def _check(self) -> None:
        self.array.core.check_reachable()
        if not self.array.masking.sees(self.initiator, self.volume):
            raise NotFound("LUN", self.naa)
        if self.read_only:
            raise AccessDenied(self.initiator, f"read-only volume {self.naa} for writing")

    def _admit(self, offset: int, length: int, data: bytes | None) -> list[Event]:
        """Admit a write or a zeroing in this instant; return the ends of its I/Os, if any."""
        if self._on_write is not None:
            self._on_write(Written(self.initiator, self.naa, offset, length, data))
        site, lun, ended = self._site, self.volume.lun, []
        for start, stop, part in self._pieces(offset, length, data):
            if part is None:
                steps = site.volume_zero(lun, start, stop - start)
            else:
                steps = site.volume_write(lun, start, stop - start, part)
            if self._paced:
                ended.append(self.array.core.engine.submit(steps, Purpose.RESTORE))
        return ended

    def _pieces(
        self, offset: int, length: int, data: bytes | None
    ) -> Iterator[tuple[int, int, memoryview | None]]:
        """Cut a change into whole content blocks, no longer than one I/O; None is zeros."""
        size, stop = self._size, offset + length
        most = min(MIB, IO_BLOCKS_MAX * size)
        edges = {offset, stop, *range((offset // most + 1) * most, stop, most)}
        if data is None:  # whole blocks are zeroed, what is left of others is written
            edges |= {-(-offset // size) * size, stop // size * size}
        for at, end in pairwise(sorted(edge for edge in edges if offset <= edge <= stop)):
            if data is not None:
                yield self._around(at, data[at - offset : end - offset])
            elif at % size or end % size:
                yield self._around(at, bytes(end - at))
            else:
                yield at, end, None

    def _around(self, offset: int, data: bytes) -> tuple[int, int, memoryview]:
        """Round a write outward to content blocks, with what lies there around it."""
        size = self._size
        start, stop = offset // size * size, -(-(offset + len(data)) // size) * size
        if stop - start == len(data):
            return start, stop, memoryview(data)
        around = bytearray(b"".join(self._shown(start, stop - start)))
        around[offset - start : offset - start + len(data)] = data
        return start, stop, memoryview(around)


class ArrayLuns:
    """What the initiators of an array see; implements ``scsi.LunMap``.

    What was looked up stays until the array says that it has changed.

    Args:
        array: whose volumes they are.
        naming: what units say of themselves.
        paced, on_write, link: see ``ArrayUnit``.
    """

    def __init__(
        self, array: Array, naming: Naming | None = None, *,
        paced: bool = False, on_write: Callable[[Written], object] | None = None, link: int = -1,
    ) -> None:  # fmt: skip
        self._array = array
        self._naming = naming or Naming()
        self._options: dict[str, Any] = {"paced": paced, "on_write": on_write, "link": link}
        self._known: dict[str, dict[int, ArrayUnit]] = {}
        array.on_luns_changed.insert(0, lambda _host: self._known.clear())

    def units(self, initiator_iqn: str) -> dict[int, ArrayUnit]:
        """Return what an initiator sees, by LUN."""
        found = self._known.get(initiator_iqn)
        if found is None:
            seen = self._array.masking.luns(initiator_iqn)
            found = {lun: self.unit(volume, initiator_iqn) for lun, volume in seen.items()}
            if found:  # a stranger may have as many names as he likes
                self._known[initiator_iqn] = found
        return found

    def unit(self, volume: Volume, initiator: str) -> ArrayUnit:
        """Return a volume as an initiator sees it."""
        return ArrayUnit(self._array, volume, initiator, self._naming, **self._options)


class _Lazily:
    """A coroutine that begins when it is awaited, so that one that never is leaves nothing behind."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._begin = begin

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._begin().__await__()


def _seen(event: Event) -> None:
    """Take note of how a write ended whose initiator has left: it is told nothing."""
    event.defused = True


def _trim(parts: list[Buffer], skip: int, length: int) -> None:
    """Leave *length* bytes of *parts* from *skip* on, in place."""
    at, kept = -skip, []
    for part in parts:
        begin, end = max(-at, 0), min(length - at, len(part))
        if begin < end:
            kept.append(memoryview(part)[begin:end])
        at += len(part)
    parts[:] = kept
