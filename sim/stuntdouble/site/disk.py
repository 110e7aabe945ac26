"""Disks and levels: what a guest addresses, and the chain of files behind it.

guest ─▶ head level ─▶ parent ─▶ … ─▶ base        a level shows its own file where that file
          delta n      delta n-1      flat file   has the block, its parent's view elsewhere
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.site.tables import (
    D_BLOCKS,
    D_HEAD,
    D_LEDGER,
    D_TRACK_SHIFT,
    D_TRACKED,
    L_FILE,
    L_MIRROR,
    L_PARENT,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stuntdouble.site.site import Site
    from stuntdouble.site.store import File


@dataclass(eq=False)
class Level:
    """A file seen on top of its parent."""

    site: Site
    number: int
    file: File
    parent: Level | None

    def hang_on(self, parent: Level) -> None:
        """Make *parent* the level below this one."""
        self.parent = parent
        self.site.arena.tables.levels[self.number, L_PARENT] = parent.number

    def mirror(self, on: bool) -> None:  # noqa: FBT001  # a switch, and called as one
        """Let guest writes to this level go to its parent as well."""
        self.site.arena.tables.levels[self.number, L_MIRROR] = int(on)

    def tokens(self, start: int, count: int) -> NDArray[np.uint64]:
        """Return what guest blocks hold, zeros where nothing was written."""
        return self.site.chain_tokens(self, start, count)

    @property
    def depth(self) -> int:
        """How many levels lie below this one."""
        return 0 if self.parent is None else self.parent.depth + 1


@dataclass(frozen=True)
class Bitmap:
    """A sealed set of grains that were written; opaque to everyone but the site."""

    number: int


@dataclass(frozen=True)
class Moment:
    """What a guest had written to a disk at an instant: truth, for the oracle alone."""

    disk: Disk
    seconds: float
    ledger: int


@dataclass(eq=False)
class Disk:
    """A virtual disk: a head level, a ledger of what the guest wrote, and perhaps a tracker."""

    site: Site
    number: int
    name: str
    blocks: int
    head: Level

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        return self.blocks * self.site.block_bytes

    def set_head(self, level: Level) -> None:
        """Let the guest's I/O go to *level* from now on."""
        self.head = level
        self.site.arena.tables.disks[self.number, D_HEAD] = level.number

    def push(self, file: File) -> Level:
        """Put a new level on top of the chain and make it the head."""
        self.set_head(self.site.new_level(file, self.head))
        return self.head

    def grow(self, blocks: int) -> None:
        """Let the disk end at *blocks*, as far as its file goes; what is new reads as zeros.

        It has one level: a delta disk has as many blocks as its parent.  Nothing is written, so the
        tracker notes nothing; moments and sealed sets from before end where the disk ended then.
        """
        assert self.head.parent is None, f"{self.name} has delta disks"
        assert self.blocks <= blocks <= self.head.file.blocks, f"{self.name} cannot end there"
        arena = self.site.arena
        row = arena.tables.disks[self.number]
        arena.grow(int(row[D_LEDGER]), blocks)
        if row[D_TRACKED]:
            arena.grow_bitmap(int(row[D_TRACKED]), -(-blocks >> int(row[D_TRACK_SHIFT])))
        row[D_BLOCKS] = self.blocks = blocks

    # Change tracking. ----------------------------------------------------------------------

    def track(self, grain_blocks: int) -> None:
        """Start to note which grains the guest writes; grain_blocks is a power of two."""
        arena = self.site.arena
        row = arena.tables.disks[self.number]
        row[D_TRACK_SHIFT] = grain_blocks.bit_length() - 1
        row[D_TRACKED] = arena.new_bitmap(-(-self.blocks // grain_blocks))

    def seal(self) -> Bitmap:
        """Close the current set of written grains and start an empty one."""
        arena = self.site.arena
        row = arena.tables.disks[self.number]
        sealed = Bitmap(int(row[D_TRACKED]))
        assert sealed.number, f"{self.name} is not tracked"
        arena.hold("maps", sealed.number, sealed)
        row[D_TRACKED] = arena.new_bitmap(-(-self.blocks >> int(row[D_TRACK_SHIFT])))
        return sealed

    def noted(self) -> Bitmap:
        """Return the set of grains that is being written: to be asked about at once."""
        return Bitmap(self.site.arena.column("disks", self.number, D_TRACKED))

    def untrack(self) -> None:
        """Stop noting writes."""
        self.site.arena.tables.disks[self.number, D_TRACKED] = 0

    # Truth. --------------------------------------------------------------------------------

    def moment(self, seconds: float) -> Moment:
        """Keep what the guest has written up to now."""
        self.site.settle()
        ledger = self.site.arena.column("disks", self.number, D_LEDGER)
        made = Moment(self, seconds, self.site.arena.fork(ledger))
        self.site.arena.hold("maps", made.ledger, made)
        return made

    def rewind(self, moment: Moment) -> None:
        """Let the guest have written what it had at *moment*, nothing later: a revert."""
        self.site.settle()
        ledger = self.site.arena.fork(moment.ledger)
        self.site.arena.tables.disks[self.number, D_LEDGER] = ledger


def new_level(site: Site, file: File, parent: Level | None) -> Level:
    """Return a level that shows *file* over *parent*."""
    number = site.arena.new_row("levels")
    row = site.arena.tables.levels[number]
    row[L_FILE], row[L_PARENT] = file.number, parent.number if parent else 0
    made = Level(site, number, file, parent)
    site.arena.hold("levels", number, made)
    return made
