"""A restore point being written: chunks in the making, and the map that names them.

    written    [    wwwwww|wwwwwwwwww|www       ]
    chunk       0          1          2
                partial    complete   partial
                in memory  stored     in memory

A chunk is stored as soon as it is complete.  Partial ones wait in memory, up to a bound; beyond
it the oldest is completed from what lies below it (an earlier write, the parent, zeros) and
stored.  So the order of writes does not matter, and the last write of a byte wins.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stuntdouble.backup.chunks import DIGEST_BYTES, HOLE
from stuntdouble.backup.manifest import chunk_count
from stuntdouble.content import known_zeros
from stuntdouble.errors import InvalidState, Misuse, NotFound
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.backup.chunks import ChunkStore, ChunkWriter, Codec
    from stuntdouble.backup.manifest import Manifest
    from stuntdouble.extents import Runs
    from stuntdouble.ports import RestorePoint

PARTIAL_BYTES_MAX: Final = 256 * MIB
"""1,024 chunks in part written: what a sweep over scattered delta disks leaves open."""


class _Partial:
    """A chunk of which some bytes are known: sorted, disjoint, not touching spans of *room*."""

    __slots__ = ("bytes", "spans")

    def __init__(self, room: bytearray) -> None:
        self.bytes = room
        self.spans: list[tuple[int, int]] = []

    def put(self, start: int, data: memoryview) -> None:
        """Set the bytes from *start* on."""
        stop = start + len(data)
        self.bytes[start:stop] = data
        low = bisect_left(self.spans, start, key=lambda span: span[1])
        high = bisect_right(self.spans, stop, key=lambda span: span[0])
        if low < high:
            start = min(start, self.spans[low][0])
            stop = max(stop, self.spans[high - 1][1])
        self.spans[low:high] = [(start, stop)]

    def fill(self, base: bytes | memoryview) -> None:
        """Take what is not known from *base*."""
        position = 0
        for start, stop in (*self.spans, (len(base), len(base))):
            self.bytes[position:start] = base[position:start]
            position = stop


class Draft:
    """A restore point being written; implements ``ports.Draft``.

    Everything is on disk, under temporary names, or in memory; ``commit`` hands the finished map
    to the repository, whose rename makes it visible.
    """

    def __init__(
        self,
        disks: dict[int, int],
        parent: Manifest | None,
        codec: Codec,
        store: ChunkStore,
        writer: ChunkWriter,
        finish: Callable[[Draft, RestorePoint | None], RestorePoint | None],
    ) -> None:
        self.disks = dict(disks)
        self.parent = parent.point.id if parent else ""
        self.writer = writer
        self.bytes_written = 0
        self._codec = codec
        self._store = store
        self._finish = finish
        self._state = "open"
        self._partials: dict[tuple[int, int], _Partial] = {}
        self._partials_max = max(1, PARTIAL_BYTES_MAX // codec.chunk_bytes)
        self._zeros = memoryview(bytes(codec.chunk_bytes))
        # Those of chunks that are complete are used again: a new one costs page faults.
        self._rooms: list[bytearray] = []
        self._maps = {key: self._inherited(key, parent) for key in disks}
        self._forget_tails(parent)

    def write(self, disk: int, offset: int, data: memoryview) -> None:
        """Store *data* at *offset* of *disk*; any order and any size, the last write wins.

        Raises:
            NoSpace: the repository's disk is full; the draft can only be discarded.
        """
        data = memoryview(data).cast("B")
        self._check(disk, offset, offset + len(data), "write")
        chunk_bytes = self._codec.chunk_bytes
        self.bytes_written += len(data)
        if known_zeros(data) and len(data) >= chunk_bytes:
            self._zero(disk, offset, offset + len(data))
            return
        while data:
            index, start = divmod(offset, chunk_bytes)
            piece = data[: chunk_bytes - start]
            if len(piece) == chunk_bytes:
                self._partials.pop((disk, index), None)
                self._store_chunk(disk, index, piece)
            else:
                self._put(disk, index, start, piece)
            offset += len(piece)
            data = data[len(piece) :]

    def zero(self, disk: int, runs: Runs) -> None:
        """Say that *runs* of *disk* read as zeros; whole chunks cost nothing."""
        for start, length in runs:
            self._check(disk, start, start + length, "zero")
            self._zero(disk, start, start + length)

    def commit(self, point: RestorePoint) -> RestorePoint:
        """Make the restore point visible, all of it at once; return it with its sizes filled in.

        An empty ``id`` is replaced by ``<vm>-<method>-<running number>``.  When this raises,
        nothing is visible, and the draft may be committed again or discarded.

        Raises:
            Misuse: the disks of *point* are not those of the draft.
            InvalidState: there is a restore point of this id, or the draft is finished.
        """
        self._check_open("commit")
        if {disk.key: disk.capacity_bytes for disk in point.disks} != self.disks:
            raise Misuse(f"restore point of {point.vm}", "its disks are not those of its draft")
        while self._partials:
            self._complete(next(iter(self._partials)))
        point = replace(
            point,
            parent=self.parent,
            bytes_read=point.bytes_read or self.bytes_written,
            bytes_stored=self.writer.bytes_stored,
        )
        committed = self._finish(self, point)
        assert committed is not None
        self._end("committed")
        return committed

    def discard(self) -> None:
        """Forget the draft; idempotent, and without effect on a committed one."""
        if self._state == "open":
            self._end("discarded")
            self._finish(self, None)

    def maps(self) -> dict[int, bytes]:
        """Return the digests of every disk's chunks, complete once no chunk is partial."""
        assert not self._partials
        return {key: bytes(digests) for key, digests in self._maps.items()}

    def _inherited(self, key: int, parent: Manifest | None) -> bytearray:
        digests = bytearray(chunk_count(self.disks[key], self._codec.chunk_bytes) * DIGEST_BYTES)
        if parent is not None:
            below = parent.maps.get(key, b"")[: len(digests)]
            digests[: len(below)] = below
        return digests

    def _forget_tails(self, parent: Manifest | None) -> None:
        """Zero what the parent's larger disk held in the last chunk beyond this one's end."""
        larger = {disk.key: disk.capacity_bytes for disk in parent.point.disks} if parent else {}
        for key, capacity in self.disks.items():
            index, tail = divmod(capacity, self._codec.chunk_bytes)
            if tail and capacity < larger.get(key, 0):
                self._put(key, index, tail, self._zeros[tail:])

    def _zero(self, disk: int, start: int, stop: int) -> None:
        chunk_bytes = self._codec.chunk_bytes
        if stop == self.disks[disk]:
            stop = chunk_count(stop, chunk_bytes) * chunk_bytes
        first, last = -(-start // chunk_bytes), stop // chunk_bytes
        if first > last:  # within one chunk
            self._put(disk, last, start % chunk_bytes, self._zeros[: stop - start])
            return
        self._clear(disk, first, last)
        if start % chunk_bytes:
            self._put(disk, first - 1, start % chunk_bytes, self._zeros[start % chunk_bytes :])
        if stop % chunk_bytes:
            self._put(disk, last, 0, self._zeros[: stop % chunk_bytes])

    def _clear(self, disk: int, first: int, last: int) -> None:
        """Make chunks [first, last) holes."""
        span = slice(first * DIGEST_BYTES, last * DIGEST_BYTES)
        self._maps[disk][span] = bytes((last - first) * DIGEST_BYTES)
        if last - first < len(self._partials):
            stale = [(disk, index) for index in range(first, last)]
        else:
            stale = [key for key in self._partials if key[0] == disk and first <= key[1] < last]
        for key in stale:
            self._partials.pop(key, None)

    def _put(self, disk: int, index: int, start: int, data: memoryview) -> None:
        partial = self._partials.get((disk, index))
        if partial is None:
            room = self._rooms.pop() if self._rooms else bytearray(self._codec.chunk_bytes)
            partial = self._partials[disk, index] = _Partial(room)
        partial.put(start, data)
        if self._covered(disk, index, partial):
            self._complete((disk, index))
        elif len(self._partials) > self._partials_max:
            self._complete(next(iter(self._partials)))

    def _complete(self, key: tuple[int, int]) -> None:
        disk, index = key
        partial = self._partials[key]
        below = self._digest(disk, index)
        if below == HOLE or self._covered(disk, index, partial):
            partial.fill(self._zeros)  # beyond the end of the disk, too
        else:
            partial.fill(self._chunk(below, f"disk {disk}, chunk {index} of {self.parent}"))
        self._store_chunk(disk, index, partial.bytes)
        self._rooms.append(self._partials.pop(key).bytes)

    def _covered(self, disk: int, index: int, partial: _Partial) -> bool:
        """Whether every byte of the chunk that lies within the disk is known."""
        size = min(self._codec.chunk_bytes, self.disks[disk] - index * self._codec.chunk_bytes)
        return partial.spans[0][0] == 0 and partial.spans[0][1] >= size

    def _digest(self, disk: int, index: int) -> bytes:
        return bytes(self._maps[disk][index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])

    def _chunk(self, digest: bytes, where: str) -> bytes:
        if digest in self.writer:
            return self._codec.decode(self.writer.frame(digest), digest, f"draft, {where}")
        frame, path = self._store.frame(digest, where)
        return self._codec.decode(frame, digest, f"{path}, {where}")

    def _store_chunk(self, disk: int, index: int, plain: memoryview | bytearray) -> None:
        digest = self._codec.name(plain)
        if digest != HOLE and digest not in self.writer and digest not in self._store:
            self.writer.add(digest, self._codec.encode(plain))
        self._maps[disk][index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] = digest

    def _check(self, disk: int, start: int, stop: int, request: str) -> None:
        self._check_open(request)
        if disk not in self.disks:
            raise NotFound("disk of this draft", disk)
        if not 0 <= start <= stop <= self.disks[disk]:
            raise Misuse(
                f"disk {disk}", f"bytes {start} to {stop} are not within its {self.disks[disk]}"
            )

    def _check_open(self, request: str) -> None:
        if self._state != "open":
            raise InvalidState("draft", self._state, request)

    def _end(self, state: str) -> None:
        self._state = state
        self._partials.clear()
        self._rooms.clear()
        self._maps.clear()
