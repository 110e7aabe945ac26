"""Volumes of an emulated array as SCSI units: bytes straight from the site's maps.

What is read is rendered from tokens into the buffers that are sent; of long zeros there is one copy
for all.  What is written is admitted like any other write:
fences, masking, read-only volumes and full reserves are the array's to decide, in the instant in
which the data are whole.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from stuntdouble.clock import completed
from stuntdouble.content import FIRST_LITERAL, ZERO
from stuntdouble.errors import AccessDenied, MediumError, NotFound, TaskInProgress
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

_PIECES_MAX: Final = 16
"""Into how many pieces a read is cut at most, rather than rendered in one.  Measured: what a piece
costs is what copying 16 KiB does."""

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
        thin: whether initiators are told what holds nothing but zeros, and may have it so.
        on_write: told of each change as it enters the site.
        link: the engine's station that what is read crosses, where commands take time, or -1.
    """

    def __init__(
        self, array: Array, volume: Volume, initiator: str, naming: Naming, *,
        paced: bool = False, thin: bool = True, on_write: Callable[[Written], object] | None = None, link: int = -1,
    ) -> None:  # fmt: skip
        self.array = array
        self.volume = volume
        self.initiator = initiator
        self.naa = volume.naa
        self.serial = volume.serial
        self.vendor, self.product, self.revision = naming
        self.block_bytes = _LOGICAL_BYTES
        self.thin = thin
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
            if length > _PLAIN_BYTES and not self._site.faults:
                parts = self._pieces(first, last - first)
            else:
                rows = self.array.show(self.volume, first, last - first)
                parts = [rows.reshape(-1).data]
        if offset % size or length % size:
            _trim(parts, offset - first * size, length)
        return parts

    def _pieces(self, first: int, count: int) -> list[Buffer]:
        """Return the same in pieces: long zeros, and bytes that came from outside, as they lie."""
        self.array.core.check_reachable()
        if not self.volume.readable:
            raise MediumError(self.naa, first * self._size)
        site = self._site
        tokens = self.volume.lun.tokens(first, count)
        held = tokens & _HELD != 0
        goes_on = (tokens[1:] - tokens[:-1] == 1) | ~(held[1:] | held[:-1])
        edges = (np.flatnonzero(~goes_on) + 1).tolist()
        if len(edges) > _PIECES_MAX:
            return [site.render(tokens).reshape(-1).data]
        parts: list[Buffer] = []
        for begin, end in pairwise([0, *edges, count]):
            if tokens[begin] >= FIRST_LITERAL:
                row = int(tokens[begin]) - FIRST_LITERAL
                rows = site.literals.rows[row : row + end - begin].view(np.uint8)
            else:
                rows = site.render(tokens[begin:end])
            parts.append(rows.reshape(-1).data)
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
        return self._changed(offset, len(data), bytes(data))

    def zero(self, offset: int, length: int, *, unmap: bool) -> Awaitable[None] | None:
        """Let a range read as zeros; raises as ``write``."""
        del unmap  # a volume is laid out in full, and a block of zeros has no content either way
        return self._changed(offset, length, None)

    def change(
        self, offset: int, length: int, update: Callable[[bytes], bytes | None]
    ) -> Awaitable[None] | None:
        """Replace the bytes of a range by what *update* makes of them, in one instant.

        Raises:
            TaskInProgress: a snapshot is being taken, so nothing can be written in this instant.
        """
        with self._env.entered():
            self._check()
            if next(self.array.unfenced(self.volume.lun), None) is not None:
                raise TaskInProgress(f"volume {self.naa}", "a snapshot")
            made = update(b"".join(self._shown(offset, length)))
            return None if made is None else self._changed(offset, length, made)

    def flush(self) -> None:
        """Do nothing: what is admitted stays."""

    def _changed(self, offset: int, length: int, data: bytes | None) -> Awaitable[None] | None:
        with self._env.entered():
            event = self.begin(offset, length, data)
            return None if event is None else completed(event)

    def begin(self, offset: int, length: int, data: bytes | None) -> Event | None:
        """Begin a write, or to zero a range where there are no data, within ``env.entered()``.

        Returns:
            The event of its end; None where it is over.  It goes on where its initiator leaves.
        """
        self._check()
        if self._on_write is not None:
            self._on_write(Written(self.initiator, self.naa, offset, length, data))
        admit = partial(self._admit, offset, length, data)
        if not self._paced and next(self.array.unfenced(self.volume.lun), None) is None:
            admit()
            return None
        process: Event = self._env.process(self._written(admit))
        process.callbacks.append(_seen)
        return process

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
        site, lun, ended = self._site, self.volume.lun, []
        for start, stop, part in self._cut(offset, length, data):
            if part is None:
                steps = site.volume_zero(lun, start, stop - start)
            else:
                steps = site.volume_write(lun, start, stop - start, part)
            if self._paced:
                ended.append(self.array.core.engine.submit(steps, Purpose.RESTORE))
        return ended

    def _cut(
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
        paced, thin, on_write, link: see ``ArrayUnit``.
    """

    def __init__(
        self, array: Array, naming: Naming | None = None, *,
        paced: bool = False, thin: bool = True, on_write: Callable[[Written], object] | None = None, link: int = -1,
    ) -> None:  # fmt: skip
        self._array = array
        self._naming = naming or Naming()
        options = {"paced": paced, "thin": thin, "on_write": on_write, "link": link}
        self._options: dict[str, Any] = options
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
