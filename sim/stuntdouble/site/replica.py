"""Replicas, as Python holds them: attached, copied to, split off, and attached again.

attach ─▶ copy what is unequal ─▶ equal ─▶ split off: an image ─▶ attach ─▶ copy what changed …
          └── every write goes to both ──┘
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import LimitReached
from stuntdouble.site import lun as luns
from stuntdouble.site import replicate
from stuntdouble.site.plan import SPLIT_REPLICA
from stuntdouble.site.tables import (
    R_ATTACHED,
    R_EQUAL,
    R_NEXT,
    R_PHYSICAL,
    R_POOL,
    R_VOLUME,
    REPLICAS_MAX,
    V_PHYSICAL,
    V_POOL,
    V_REPLICA,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stuntdouble.site.lun import Image, Lun
    from stuntdouble.site.site import Site, Step

_PIECE_CHUNKS_MAX: Final = 4096  # their rows and steps fit the tables, however they lie


@dataclass(eq=False)
class Replica:
    """A whole copy of a LUN on blocks of its own; made by ``Site.add_replica``."""

    number: int
    lun: Lun

    @property
    def attached(self) -> bool:
        """Whether it is kept equal where it is equal."""
        return bool(self._column(R_ATTACHED))

    @property
    def unequal_bytes(self) -> int:
        """What a synchronisation must copy."""
        equal = self.lun.site.arena.ones(self._column(R_EQUAL))
        return self.lun.size_bytes - equal * self.lun.chunk_bytes

    def attach(self) -> None:
        """Let writes go to the replica as well, from now on."""
        self._attach(on=True)

    def detach(self) -> None:
        """Let writes make the replica unequal, from now on: a synchronisation that was broken off."""
        self._attach(on=False)

    def unequal(self, piece_bytes: int) -> NDArray[np.int64]:
        """Return (first chunk, stop) of what is unequal now, in pieces of up to *piece_bytes*.

        A piece is a chunk at least, and 4,096 at most.
        """
        site, size = self.lun.site, self.lun.chunk_bytes
        chunks = self.lun.size_bytes // size
        words = site.arena.words(self._column(R_EQUAL), 0, -(-chunks // 64))
        equal = np.unpackbits(words.view(np.uint8), bitorder="little")[:chunks]
        missing = np.flatnonzero(equal == 0)
        if not len(missing):
            return np.empty((0, 2), np.int64)
        piece = min(max(piece_bytes // size, 1), _PIECE_CHUNKS_MAX)
        new = (np.diff(missing) != 1) | (missing[1:] % piece == 0)
        first = np.concatenate(([0], np.flatnonzero(new) + 1))
        last = np.concatenate((first[1:] - 1, [len(missing) - 1]))
        return np.stack((missing[first], missing[last] + 1), axis=1).astype(np.int64)

    def equalise(self, start: int, stop: int) -> list[Step]:
        """Admit the copying of the chunks [start, stop) that are unequal; return its steps.

        There are none where somebody else has copied them meanwhile.
        """
        site = self.lun.site
        assert self.attached, "what is copied to a replica would not stay equal"
        assert stop - start <= _PIECE_CHUNKS_MAX, "a copy is too long"
        site.make_room()
        count = int(replicate.equalise(site.arena.addresses, self.number, start, stop))
        return [tuple(row) for row in site.arena.tables.steps[:count].tolist()]

    def drop(self) -> None:
        """Forget the replica: nothing follows the LUN's writes for its sake any more."""
        tables = self.lun.site.arena.tables
        following = self._column(R_NEXT)
        at = self.lun.site.arena.column("volumes", self.lun.number, V_REPLICA)
        if at == self.number:
            tables.volumes[self.lun.number, V_REPLICA] = following
            return
        while tables.replicas[at, R_NEXT] != self.number:
            at = int(tables.replicas[at, R_NEXT])
        tables.replicas[at, R_NEXT] = following

    def _attach(self, *, on: bool) -> None:
        self.lun.site.arena.tables.replicas[self.number, R_ATTACHED] = int(on)

    def _column(self, column: int) -> int:
        return self.lun.site.arena.column("replicas", self.number, column)


def add(site: Site, lun: Lun, pool: int, physical: int) -> Replica:
    """Return a replica of *lun* at pool block *physical*, detached and equal nowhere."""
    arena = site.arena
    first = arena.column("volumes", lun.number, V_REPLICA)
    count, at = 0, first
    while at:
        count, at = count + 1, arena.column("replicas", at, R_NEXT)
    if count >= REPLICAS_MAX:
        raise LimitReached(f"replicas of volume {lun.number}", REPLICAS_MAX)
    number = arena.new_row("replicas")
    row = arena.tables.replicas[number]
    row[R_VOLUME], row[R_POOL], row[R_PHYSICAL] = lun.number, pool, physical
    row[R_EQUAL] = arena.new_bitmap(lun.size_bytes // lun.chunk_bytes)
    row[R_NEXT] = first
    arena.tables.volumes[lun.number, V_REPLICA] = number
    made = Replica(number, lun)
    arena.hold("replicas", number, made)
    return made


def split(site: Site, replicas: list[Replica]) -> list[Image]:
    """Split replicas off in one instant; each image lies where its replica does.

    An image is whole until its replica is attached again: nothing is owed to it.
    """
    for each in replicas:
        assert each.attached, "only what is attached can be split off"
        assert not each.unequal_bytes, "only what is equal can be split off"
    tables = site.arena.tables
    images = luns.freeze(site, [each.lun for each in replicas], SPLIT_REPLICA)
    for each, image in zip(replicas, images, strict=True):
        each.detach()
        row = tables.volumes[image.lun.number]
        row[V_POOL] = site.arena.column("replicas", each.number, R_POOL)
        row[V_PHYSICAL] = site.arena.column("replicas", each.number, R_PHYSICAL)
    return images
