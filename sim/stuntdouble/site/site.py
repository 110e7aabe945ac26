"""The site: one state behind the emulated hypervisor, the emulated array and the oracle."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import WeakValueDictionary

import numpy as np

from stuntdouble.content import LiteralPool, render
from stuntdouble.errors import Bug, Misuse, NoSpace
from stuntdouble.extents import Runs
from stuntdouble.site import compare, layout, log, lun, places, replica, reuse, rules
from stuntdouble.site.arena import Arena
from stuntdouble.site.disk import Disk, Level, new_level
from stuntdouble.site.faults import Faults
from stuntdouble.site.lun import Image, Lun
from stuntdouble.site.plan import PLAN
from stuntdouble.site.replica import Replica
from stuntdouble.site.store import File, Store, new_store
from stuntdouble.site.tables import (
    C_BLOCK_BYTES,
    C_BLOCK_SHIFT,
    C_COUNT_ONLY,
    C_LOG,
    C_NEED,
    C_NEED_AT,
    C_NEED_FILE,
    C_WRITTEN,
    D_BLOCKS,
    D_LEDGER,
    D_TRACK_SHIFT,
    P_FREE,
    P_RESERVE,
    P_RESERVE_BLOCKS,
    SHAPES,
    V_BLOCKS,
    V_BORN,
    V_CHUNK_SHIFT,
    V_FAULTS,
    V_GARBAGE,
    V_MEDIUM,
    V_MOVED,
    V_NEWEST,
    V_ORIGIN,
    V_OWN,
    V_PHYSICAL,
    V_POOL,
)
from stuntdouble.units import ADDRESS_BYTES_MAX, SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from stuntdouble.extents import OffsetTable
    from stuntdouble.site.disk import Bitmap, Moment

Step = tuple[int, int, int, int, int, int]
"""Group (below 0: growth of a file), role, write (0 or 1), pool, pool block, bytes: see plan.py."""

_LOG_ROOM: Final = SHAPES["log"][0] - 8 * rules.IO_BLOCKS_MAX
_GROUPS: Final = 1 + max(stage.group for stage in PLAN)
_group = itemgetter(0)
_BULK_WRITES_MAX: Final = 1 << 15  # per call, so that no call takes more leaves than are kept free


class Site:
    """Volumes, files, disks and their content.

    Args:
        block_bytes: the content block: the unit in which content is known, a power of two.
        content: "bytes" keeps content; "counts" keeps only how much was written where, with the
            same plans, bitmaps and space (for capacity runs).
        keep_log: keep every event of the content log in ``history``, for judges.

    Raises:
        ValueError: the content block is no power of two.
    """

    def __init__(
        self,
        *,
        block_bytes: int = 4096,
        content: Literal["bytes", "counts"] = "bytes",
        keep_log: bool = False,
    ) -> None:
        if block_bytes < 1 or block_bytes & (block_bytes - 1):
            raise ValueError(f"content blocks of {block_bytes} bytes: take a power of two")
        self.block_bytes = block_bytes
        self.content = content
        self.arena = Arena()
        self.literals = LiteralPool(block_bytes)
        self.images: dict[int, list[Image]] = {}
        self.files: WeakValueDictionary[int, File] = WeakValueDictionary()
        self.history: list[tuple[int, ...]] = []
        self._keep_log = keep_log
        self.luns: dict[int, Lun] = {}
        self.faults = Faults(self)
        self._born = 0
        counters = self.arena.tables.counters
        counters[C_BLOCK_BYTES] = block_bytes
        counters[C_BLOCK_SHIFT] = block_bytes.bit_length() - 1
        counters[C_COUNT_ONLY] = content == "counts"

    # Building. -----------------------------------------------------------------------------

    def create_pool(self, reserve_start: int, reserve_blocks: int) -> int:
        """Return the number of a pool whose snapshot reserve lies at pool block *reserve_start*.

        Raises:
            Misuse: a reserve below 0, or beyond any address.
        """
        end = reserve_start + max(reserve_blocks, 1)
        if min(reserve_start, reserve_blocks) < 0 or end * self.block_bytes > ADDRESS_BYTES_MAX:
            raise Misuse("a pool", f"its reserve of {reserve_blocks} blocks is at {reserve_start}")
        number = self.arena.new_row("pools")
        row = self.arena.tables.pools[number]
        row[P_FREE], row[P_RESERVE], row[P_RESERVE_BLOCKS] = (
            reserve_blocks, reserve_start, max(reserve_blocks, 1),
        )  # fmt: skip
        return number

    def reserve_free_bytes(self, pool: int) -> int:
        """Return what is left of a pool's snapshot reserve."""
        return self.arena.column("pools", pool, P_FREE) * self.block_bytes

    def release_reserve(self, base: Lun, size: int) -> None:
        """Give *size* bytes back to the snapshot reserve of a LUN's pool."""
        pool = self.arena.column("volumes", base.number, V_POOL)
        self.arena.tables.pools[pool, P_FREE] += size // self.block_bytes

    def create_lun(
        self, blocks: int, chunk_blocks: int, pool: int, physical: int, *, clean: bool = False
    ) -> Lun:
        """Return a fresh volume at pool block *physical*: recognisable garbage, or clean zeros."""
        made = self._new_lun(blocks, chunk_blocks, pool, physical)
        row = self.arena.tables.volumes[made.number]
        row[V_GARBAGE] = 0 if clean else blocks
        row[V_MEDIUM], row[V_BORN] = self.arena.new_map(blocks), self._born
        self.faults.watch(made)
        return made

    def _new_lun(self, blocks: int, chunk_blocks: int, pool: int, physical: int) -> Lun:
        assert blocks % chunk_blocks == 0, "a volume is whole chunks"
        number = self.arena.new_row("volumes")
        row = self.arena.tables.volumes[number]
        row[V_BLOCKS], row[V_CHUNK_SHIFT] = blocks, chunk_blocks.bit_length() - 1
        row[V_POOL], row[V_PHYSICAL] = pool, physical
        row[V_MOVED] = self.arena.new_bitmap(blocks // chunk_blocks)
        made = Lun(self, number, blocks)
        self._born += 1  # a volume's number may be that of one that is gone; its garbage may not
        self.luns[number] = made
        self.arena.hold("volumes", number, made)
        return made

    def create_store(self, luns: Iterable[Lun], fs_blocks: int, zero_blocks: int) -> Store:
        """Return an empty store over *luns*; both sizes are content blocks, powers of two."""
        return new_store(self, tuple(luns), fs_blocks, zero_blocks)

    def create_disk(self, name: str, blocks: int, file: File) -> Disk:
        """Return a virtual disk with *file* as its base."""
        number = self.arena.new_row("disks")
        row = self.arena.tables.disks[number]
        row[D_BLOCKS], row[D_LEDGER] = blocks, self.arena.new_map(blocks)
        disk = Disk(self, number, name, blocks, new_level(self, file, None))
        disk.set_head(disk.head)
        self.arena.hold("disks", number, disk)
        return disk

    def new_level(self, file: File, parent: Level | None) -> Level:
        """Return a level that shows *file* over *parent*."""
        return new_level(self, file, parent)

    def put_word(self, table: str, row: int, column: int, index: int, word: int) -> None:
        """Set one word of the map that a table's cell names (the catalogue's own writes)."""
        self.arena.put_word(self.arena.column(table, row, column), index, word)

    # Images. -------------------------------------------------------------------------------

    def freeze(self, luns: list[Lun], kind: int) -> list[Image]:
        """Freeze *luns* in one instant; see stuntdouble.site.lun."""
        self._reclaim_if_due()
        self.settle()
        self.arena.check()
        return lun.freeze(self, luns, kind)

    def split(self, replicas: list[Replica]) -> list[Image]:
        """Split replicas off in one instant; see stuntdouble.site.replica."""
        self._reclaim_if_due()
        self.settle()
        self.arena.check()
        return replica.split(self, replicas)

    def add_replica(self, base: Lun, pool: int, physical: int) -> Replica:
        """Return a replica of a LUN at pool block *physical*; it is equal nowhere yet."""
        return replica.add(self, base, pool, physical)

    def thaw(self, image: Image) -> int:
        """Give an image up; return the bytes of reserve that come free."""
        return lun.thaw(self, image)

    def fork_luns(self, luns: list[Lun], image: Image | None) -> list[Lun]:
        """Return twins of *luns* with every map that belongs to them, as they are now."""
        self.settle()
        if image is not None:
            self._reclaim_if_due()
        twins: dict[int, Lun] = {}
        arena = self.arena
        for base in luns:
            row = arena.tables.volumes[base.number].copy()
            chunk = 1 << int(row[V_CHUNK_SHIFT])
            twin = self._new_lun(base.blocks, chunk, int(row[V_POOL]), int(row[V_PHYSICAL]))
            fresh = arena.tables.volumes[twin.number]
            fresh[V_MEDIUM], fresh[V_BORN] = arena.fork(int(row[V_MEDIUM])), row[V_BORN]
            fresh[V_FAULTS], fresh[V_GARBAGE] = arena.fork(int(row[V_FAULTS])), row[V_GARBAGE]
            if image is not None:
                self.set_origin(twin, image.number)
            twins[base.number] = twin
        for base in luns:
            for store in base.stores:
                missing = Lun(self, 0, 0)  # a LUN of the store that was not frozen with it
                store.fork(tuple(twins.get(x.number, missing) for x in store.luns))
        return list(twins.values())

    def drop_lun(self, twin: Lun) -> None:
        """Forget a LUN that was opened from an image; what it had of its own comes free."""
        self.release_reserve(twin, lun.own_bytes(twin))
        del self.luns[twin.number]

    def set_origin(self, twin: Lun, image: int) -> None:
        """Say that a LUN's unwritten chunks lie where *image* keeps them."""
        row = self.arena.tables.volumes[twin.number]
        row[V_ORIGIN], row[V_NEWEST] = image, 0
        row[V_OWN] = self.arena.new_bitmap(twin.blocks >> int(row[V_CHUNK_SHIFT]))

    # Admission. ----------------------------------------------------------------------------

    def write(self, disk: Disk, offset: int, length: int) -> list[Step]:
        """Admit a guest write; return its steps.

        Raises:
            NoSpace: the datastore or the snapshot reserve is full.  Nothing was written, marked or
                allocated, except that a file keeps the file-system blocks it was given before,
                which read as zeros, and an image what was copied to write that down.
        """
        block, count, head, tail = self._rounded(offset, length, disk.blocks)
        return self._admit(lambda t: rules.write(t, disk.number, block, count, 0, head, tail))

    def write_bytes(self, disk: Disk, offset: int, data: memoryview) -> list[Step]:
        """Admit a guest write of real bytes (a restore): whole blocks only."""
        block, count, head, tail = self._rounded(offset, len(data), disk.blocks)
        assert head == tail == 0, "real bytes are written in whole blocks"
        token = self.literals.append(data)
        return self._admit(lambda t: rules.write(t, disk.number, block, count, token, 0, 0))

    def read(self, level: Level, offset: int, length: int) -> list[Step]:
        """Admit a read through *level*; no steps where all of it is zeros by definition."""
        block, count, head, tail = self._rounded(offset, length, level.file.blocks)
        return self._admit(lambda t: rules.read(t, level.number, block, count, head, tail))

    def move(self, level: Level, block: int, count: int) -> list[Step]:
        """Admit the move of a delta disk's grains in a range of guest blocks to its parent.

        Raises:
            MediumError: one of them is damaged and cannot be read.
        """
        assert level.file.sparse, f"{level.file.name} has no grains that could be moved"
        self._rounded(block * self.block_bytes, count * self.block_bytes, level.file.blocks)
        self.faults.check(level, block, count, level.file.name)
        return self._admit(lambda t: rules.move(t, level.number, block, count))

    def volume_read(self, target: Lun, offset: int, length: int) -> list[Step]:
        """Admit a read that addresses a volume."""
        block, count, _, _ = self._rounded(offset, length, target.blocks)
        return self._admit(lambda t: rules.volume_read(t, target.number, block, count))

    def volume_write(
        self, target: Lun, offset: int, length: int, data: memoryview | None = None
    ) -> list[Step]:
        """Admit a write that addresses a volume; fresh tokens unless *data* is given."""
        block, count, head, tail = self._rounded(offset, length, target.blocks)
        if data is not None:
            assert len(data) == length, "as many bytes as the write is long"
            assert head == tail == 0, "real bytes are written in whole blocks"
        token = 0 if data is None else self.literals.append(data)
        return self._admit(lambda t: rules.volume_write(t, target.number, block, count, token))

    def volume_zero(self, target: Lun, offset: int, length: int) -> list[Step]:
        """Admit the zeroing of whole blocks of a volume."""
        block, count, head, tail = self._rounded(offset, length, target.blocks)
        assert head == tail == 0, "whole blocks are zeroed"
        return self._admit(partial(self._zero, target.number, block, count))

    def volume_copy(
        self, target: Lun, offset: int, source: Lun, length: int, device: str
    ) -> list[Step]:
        """Admit the copying of whole blocks from where they are on *source* to the same on *target*.

        Raises:
            MediumError: one of them is damaged and cannot be read; it names *device*.
        """
        block, count, head, tail = self._rounded(offset, length, min(target.blocks, source.blocks))
        assert head == tail == 0, "whole blocks are copied"
        self.faults.check(source, block, count, device)
        at = target.number, block, count, source.number, block
        return self._admit(lambda t: rules.volume_copy(t, *at))

    def zero_file(self, file: File, first: int = 0) -> Iterator[list[Step]]:
        """Zero every placed block of *file*, a file-system block at a time: eager zeroing.

        Yields the steps of each; whoever wants no time to pass drops them.

        Args:
            file: which file.
            first: the file-system block of the file to begin with.
        """
        store = file.store
        placed = [place for index, place in file.places.items() if index >= first]
        for ordinal, fs_block in placed:
            volume, block = store.luns[ordinal].number, fs_block * store.fs_blocks
            for start in range(block, block + store.fs_blocks, rules.IO_BLOCKS_MAX):
                count = min(block + store.fs_blocks - start, rules.IO_BLOCKS_MAX)
                yield self._admit(partial(self._zero, volume, start, count))

    @staticmethod
    def _zero(volume: int, block: int, count: int, addresses: Any) -> int:
        return int(rules.volume_zero(addresses, volume, block, count))

    def metadata_write(self, lun: Lun, length: int = SECTOR_BYTES) -> list[Step]:
        """Admit a write of file-system metadata: it lies where *lun* starts, and has no content.

        Raises:
            NoSpace: the snapshot reserve is full; nothing has changed.
        """
        _, count, _, tail = self._rounded(0, length, lun.blocks)
        return self._admit(lambda t: rules.metadata_write(t, lun.number, count, tail))

    def fast_forward(self, disk: Disk, writes: NDArray[np.int64]) -> None:
        """Admit guest writes (block, count) without their time: what happened between backups.

        Raises:
            NoSpace: as ``write``; the writes before the one that found no room stay.
        """
        rows = np.ascontiguousarray(writes, np.int64)
        counts, done = rows[:, 1], 0
        inside = (rows[:, 0] >= 0) & (counts > 0) & (rows[:, 0] + counts <= disk.blocks)
        assert inside.all(), f"a write outside {disk.name}"
        assert not (counts > rules.IO_BLOCKS_MAX).any(), "an I/O is too long"
        while done < len(rows):
            self.make_room()
            some = rows[: done + _BULK_WRITES_MAX]
            done = int(rules.bulk_write(self.arena.addresses, disk.number, some, done))
            if need := int(self.arena.tables.counters[C_NEED, 0]):
                self._provide(need)

    def _rounded(self, offset: int, length: int, blocks: int) -> tuple[int, int, int, int]:
        """Round a byte range outward to content blocks, once, here at the door."""
        size = self.block_bytes
        block, stop = offset // size, -(-(offset + length) // size)
        assert length > 0 <= offset, f"no range: {length} bytes at {offset}"
        assert stop <= blocks, f"{length} bytes at {offset} end outside {blocks * size} bytes"
        assert stop - block <= rules.IO_BLOCKS_MAX, f"an I/O of {length} bytes is too long"
        return block, stop - block, offset - block * size, stop * size - offset - length

    def _admit(self, admit: Callable[[Any], int]) -> list[Step]:
        self.make_room()
        extra: list[Step] = []
        while (steps := admit(self.arena.addresses)) < 0:
            extra += self._provide(steps)
        extra.sort(key=_group)
        return extra + [tuple(row) for row in self.arena.tables.steps[:steps].tolist()]

    def _provide(self, need: int) -> list[Step]:
        """Ask the keeper of what is lacking to make room; return what that costs."""
        at = int(self.arena.tables.counters[C_NEED_AT, 0])
        if need == rules.NEED_RESERVE:
            short = self.luns[at]
            if short.keeper is None:
                raise NoSpace("the snapshot reserve", short.chunk_bytes, 0)
            before = self._room(short)
            short.keeper.make_room(short)
            if self._room(short) == before:
                raise Bug(f"the keeper of volume {at} neither made room nor refused")
            return []
        file = self.files[int(self.arena.tables.counters[C_NEED_FILE, 0])]
        writes = file.grow(None if need == rules.NEED_ROOM else at)
        steps = [self.metadata_write(file.store.luns[0]) for _ in range(writes)]
        return [(step[0] - _GROUPS, *step[1:]) for some in steps for step in some]

    def _room(self, short: Lun) -> tuple[int, int]:
        """Return what changes when a keeper makes room: free blocks, and images kept."""
        pool = self.arena.column("volumes", short.number, V_POOL)
        free = self.arena.column("pools", pool, P_FREE)
        return free, sum(map(len, self.images.values()))

    # Content. ------------------------------------------------------------------------------

    def make_room(self) -> None:
        """Make sure that the next admission finds room in the log and the arena.

        Rows, roots, nodes and leaves may have been taken back and moved when this returns, so
        nothing may keep their numbers across it but handles (see ``Arena.hold``).
        """
        if self.arena.tables.counters[C_LOG, 0] > _LOG_ROOM:
            self.settle()
        self._reclaim_if_due()
        self.arena.check()

    def _reclaim_if_due(self) -> None:
        if self.arena.due:
            self.reclaim()

    def reclaim(self, *, thorough: bool = True) -> None:
        """Take back what nobody can reach any more; see stuntdouble.site.reuse.

        The site does it by itself when much has been given out.
        """
        self.settle()
        reuse.reclaim(self.arena, thorough=thorough)

    def settle(self) -> None:
        """Apply the content log; whoever forks or reads content does this first."""
        pending = int(self.arena.tables.counters[C_LOG, 0])
        if pending and self._keep_log:
            self.history += map(tuple, self.arena.tables.log[:pending].tolist())
        if pending:
            self.faults.follow()
            log.settle(self.arena.addresses)

    def medium_tokens(self, volume: int, start: int, count: int) -> NDArray[np.uint64]:
        """Return what blocks of a volume hold."""
        self.settle()
        out = np.empty(count, np.uint64)
        log.read_medium(self.arena.addresses, volume, start, out)
        return out

    def chain_tokens(self, level: Level, start: int, count: int) -> NDArray[np.uint64]:
        """Return what guest blocks hold as seen from *level*, zeros where nothing was written."""
        self.settle()
        out = np.empty(count, np.uint64)
        places.read_chain(self.arena.addresses, level.number, start, out)
        return out

    def truth(self, moment: Moment, start: int, count: int) -> NDArray[np.uint64]:
        """Return what the guest had written at *moment*: for the oracle, never for emulators."""
        return self.arena.words(moment.ledger, start, count)

    def render(self, tokens: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Return the bytes of *tokens*, a row per block."""
        return render(tokens, self.block_bytes, self.literals.rows)

    def show(self, source: Lun | Level, start: int, count: int, device: str) -> NDArray[np.uint8]:
        """Return the bytes that *device* reads of a LUN or level: the one door, faults and all.

        Raises:
            MediumError: a block is damaged and cannot be read.
        """
        rows = self.render(source.tokens(start, count))
        return self.faults.lay_over(source, start, rows, device)

    def show_parts(
        self, source: Lun | Level, start: int, count: int, device: str
    ) -> list[NDArray[np.uint8]]:
        """Return the same in parts: long zeros are apart, and known (``content.known_zeros``).

        Raises:
            MediumError: a block is damaged and cannot be read.
        """
        parts = []
        for tokens in compare.parted(source.tokens(start, count), start, self.block_bytes):
            rows = self.render(tokens)
            parts.append(self.faults.lay_over(source, start, rows, device))
            start += len(tokens)
        return parts

    @property
    def writes(self) -> int:
        """How many blocks have been written so far, by anyone."""
        return int(self.arena.tables.counters[C_WRITTEN, 0])

    # Views. --------------------------------------------------------------------------------

    def offset_table(self, level: Level, blocks: int, names: dict[int, str]) -> OffsetTable:
        """Return where a disk lies; see stuntdouble.site.layout."""
        return layout.offset_table(level, blocks, names)

    def grains(self, level: Level, blocks: int, piece_blocks: int) -> NDArray[np.int64]:
        """Return the pieces of a delta disk that a consolidation must move."""
        return layout.grains(level, blocks, piece_blocks)

    def changed(self, disk: Disk, bitmaps: Iterable[Bitmap]) -> Runs:
        """Return the byte ranges that the union of sealed bitmaps covers."""
        shift = self.arena.column("disks", disk.number, D_TRACK_SHIFT)
        grains = -(-disk.blocks >> shift)
        union = self.arena.union([b.number for b in bitmaps], grains)
        return Runs.from_bits(union, self.block_bytes << shift, disk.size_bytes)
