"""Disk chains: which levels there are, which a snapshot needs, and which can be merged.

    base ◀─ delta 1 ◀─ delta 2 ◀─ head           a snapshot freezes a level; the next one, its
      ▲        ▲                                 child, takes what is written from then on
    snap 1   snap 2          (delta 2 is needed by none: it is to be merged)

A level that no snapshot froze and that has one child is merged with it: the child's grains move
down, the child goes.  A level without children that is not the head goes as it is.  Chains become
trees when a VM is reverted; a level with two children stays, because both need it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from stuntdouble.site import Disk, Level


@dataclass(eq=False)
class Chain:
    """The levels of a disk, parents before children."""

    disk: Disk
    levels: list[Level] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.levels = self.levels or [self.disk.head]

    @property
    def deltas(self) -> list[Level]:
        """Every level but the base."""
        return [level for level in self.levels if level.parent is not None]

    def children(self, level: Level) -> list[Level]:
        """Return the levels that hang on *level*."""
        return [other for other in self.levels if other.parent is level]

    def unused(self, frozen: Collection[Level]) -> list[Level]:
        """Return levels that nobody needs, children before parents."""
        gone: list[Level] = []
        for level in reversed(self.deltas):
            needed = level is self.disk.head or level in frozen
            if not needed and all(child in gone for child in self.children(level)):
                gone.append(level)
        return gone

    def mergeable(self, frozen: Collection[Level]) -> list[Level]:
        """Return the levels whose grains are to move to their parents, lowest first."""
        found = [
            level
            for level in self.deltas
            if level.parent is not None
            and level.parent not in frozen
            and level.parent is not self.disk.head
            and len(self.children(level.parent)) == 1
        ]
        return sorted(found, key=lambda level: level.depth)

    def splice(self, level: Level) -> None:
        """Take a level whose grains have moved out of the chain: its children move down."""
        parent = level.parent
        assert parent is not None, "a base is never merged away"
        for child in self.children(level):
            child.hang_on(parent)
        if self.disk.head is level:
            self.disk.set_head(parent)
        self.levels.remove(level)
        self.levels.sort(key=lambda other: other.depth)
