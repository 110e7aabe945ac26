"""Stores: an address space of files over one or several LUNs (a datastore, to a hypervisor).

The store knows where files lie and keeps the *catalogue*: the files by name and, beside them,
records that only their writer understands.  Both belong to the first LUN, so freezing that LUN
freezes the catalogue too, and whoever opens the frozen LUN finds files and records as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from stuntdouble.errors import Bug, LimitReached
from stuntdouble.site.tables import (
    F_PLACE,
    F_ROOM,
    F_SLOTS,
    F_STORE,
    F_USED,
    F_ZEROED,
    LOCATION_BITS,
    S_FS_SHIFT,
    S_VOLUMES,
    S_ZERO_SHIFT,
    STORE_VOLUMES,
)

if TYPE_CHECKING:
    from stuntdouble.site.lun import Lun
    from stuntdouble.site.site import Site


class FileKeeper(Protocol):
    """Who allocates file-system blocks when a write needs them."""

    def provide(self, file: File, index: int) -> int:
        """Make file-system block *index* of *file* exist, by ``File.place``.

        Returns the number of metadata writes to the store's first LUN that this costs.  NoSpace
        refuses the write.
        """
        ...


@dataclass(eq=False)
class File:
    """A file of a store; ``sparse`` files are delta disks and fill up grain by grain."""

    store: Store
    name: str
    number: int
    sparse: bool
    blocks: int
    places: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def used_blocks(self) -> int:
        """Grains that a delta disk has allocated; 0 for any other file."""
        return self.store.site.arena.column("files", self.number, F_USED)

    @property
    def room_blocks(self) -> int:
        """Grains that fit before a delta disk must grow."""
        return self.store.site.arena.column("files", self.number, F_ROOM)

    @property
    def size_bytes(self) -> int:
        """The bytes of the file-system blocks the file occupies."""
        return len(self.places) * self.store.fs_blocks * self.store.site.block_bytes

    def place(self, index: int, ordinal: int, fs_block: int) -> None:
        """Say that the file's block *index* is block *fs_block* of the store's LUN *ordinal*."""
        store = self.store
        assert index not in self.places, f"{self.name}: block {index} already has a place"
        assert index <= self.blocks // store.fs_blocks, f"{self.name} may not have a block {index}"
        word = (ordinal << LOCATION_BITS | fs_block * store.fs_blocks) + 1
        store.site.put_word("files", self.number, F_PLACE, index, word)
        self.places[index] = ordinal, fs_block
        if self.sparse:
            store.site.arena.tables.files[self.number, F_ROOM] += store.fs_blocks

    def lengthen(self, blocks: int) -> None:
        """Let a flat file have up to *blocks* content blocks; what is new has no place yet."""
        assert not self.sparse, f"{self.name} is as long as its parent"
        assert blocks >= self.blocks, f"{self.name} is longer than that"
        arena, store = self.store.site.arena, self.store
        row = arena.tables.files[self.number]
        arena.grow(int(row[F_PLACE]), -(-blocks // store.fs_blocks) + 1)
        if row[F_ZEROED]:
            arena.grow_bitmap(int(row[F_ZEROED]), -(-blocks // store.zero_blocks) + 1)
        self.blocks = blocks

    def shorten(self, blocks: int) -> list[tuple[int, int]]:
        """Undo ``lengthen`` before anything was written there; return the places that come free."""
        first = -(-blocks // self.store.fs_blocks)
        gone = [index for index in self.places if index >= first]
        for index in gone:
            self.store.site.put_word("files", self.number, F_PLACE, index, 0)
        self.blocks = blocks
        return [self.places.pop(index) for index in gone]

    def grow(self, index: int | None) -> int:
        """Let the keeper make block *index* exist, the next one if None; return what it returns."""
        keeper, held = self.store.keeper, len(self.places)
        if keeper is None:
            raise Bug(f"{self.name} needs to grow and nobody keeps its store")
        ios = keeper.provide(self, held if index is None else index)
        if len(self.places) == held:
            raise Bug(f"the keeper of {self.name} neither placed a block nor refused")
        return ios


@dataclass(eq=False)
class Store:
    """Files over ``luns``; made by ``Site.create_store`` and ``Site.open_store``."""

    site: Site
    number: int
    luns: tuple[Lun, ...]
    fs_blocks: int
    zero_blocks: int
    keeper: FileKeeper | None = None
    files: dict[str, File] = field(default_factory=dict)
    records: dict[str, object] = field(default_factory=dict)

    def create_file(self, name: str, blocks: int, *, sparse: bool, zeroed: bool) -> File:
        """Return a new file of up to *blocks* content blocks, none of them placed yet.

        Args:
            name: unique in the store.
            blocks: the largest size the file may have.
            sparse: a delta disk: grains are appended and found through a slot map.
            zeroed: whether its blocks count as zeroed from the start (eager zeroing, or content
                that is always written before it is read).
        """
        assert name not in self.files, f"{name} exists"
        arena = self.site.arena
        number = arena.new_row("files")
        fs_count = -(-blocks // self.fs_blocks)
        # a delta holds a grain per block at most, in a last file-system block of its own
        row = arena.tables.files[number]
        row[F_STORE] = self.number
        row[F_PLACE] = arena.new_map(fs_count + 1)
        row[F_SLOTS] = arena.new_map(blocks) if sparse else 0
        row[F_ZEROED] = 0 if zeroed else arena.new_bitmap(-(-blocks // self.zero_blocks) + 1)
        file = File(self, name, number, sparse, blocks)
        self.files[name] = self.site.files[number] = file
        arena.hold("files", number, file)
        return file

    def delete_file(self, name: str) -> list[tuple[int, int]]:
        """Take a file out of the catalogue; return the (LUN ordinal, block) places it had."""
        return list(self.files.pop(name).places.values())

    def lie_on(self, luns: tuple[Lun, ...]) -> None:
        """Put the catalogue over *luns*: images of a spanned store are opened LUN by LUN."""
        self.luns = luns
        row = self.site.arena.tables.stores[self.number]
        row[S_VOLUMES : S_VOLUMES + len(luns)] = [lun.number for lun in luns]

    def fork(self, luns: tuple[Lun, ...]) -> Store:
        """Return this catalogue as of now over *luns*, with maps of its own."""
        arena = self.site.arena
        twin = new_store(self.site, luns, self.fs_blocks, self.zero_blocks)
        twin.records = dict(self.records)
        for name, file in self.files.items():
            number = arena.new_row("files")
            row, old = arena.tables.files[number], arena.tables.files[file.number]
            row[:] = old
            row[F_STORE] = twin.number
            for column in (F_PLACE, F_SLOTS, F_ZEROED):
                row[column] = arena.fork(int(old[column]))
            copy = File(twin, name, number, file.sparse, file.blocks, dict(file.places))
            twin.files[name] = self.site.files[number] = copy
            arena.hold("files", number, copy)
        return twin


def new_store(site: Site, luns: tuple[Lun, ...], fs_blocks: int, zero_blocks: int) -> Store:
    """Return an empty store over *luns*; sizes are content blocks, powers of two."""
    if len(luns) > STORE_VOLUMES:
        raise LimitReached("LUNs of one datastore", STORE_VOLUMES)
    assert fs_blocks % zero_blocks == 0, "a file-system block is whole units of zeroing"
    number = site.arena.new_row("stores")
    row = site.arena.tables.stores[number]
    row[S_FS_SHIFT] = fs_blocks.bit_length() - 1
    row[S_ZERO_SHIFT] = zero_blocks.bit_length() - 1
    row[S_VOLUMES : S_VOLUMES + len(luns)] = [lun.number for lun in luns]
    store = Store(site, number, luns, fs_blocks, zero_blocks)
    luns[0].stores.append(store)
    site.arena.hold("stores", number, store)
    return store
