"""LUNs: handles on volumes, their frozen images, and the maps that belong to them.

A map belongs to a LUN.  Freezing LUNs is one instant: settle the content log, fork every map that
belongs to them (their media, and the maps of the files on them), keep the catalogue as it is, and
start a fresh bitmap of chunks that the image has been given a copy of.  The array that asks for it
knows none of the meanings of what it freezes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from stuntdouble.errors import LimitReached
from stuntdouble.site import compare, layer, resize
from stuntdouble.site.plan import COPY_INTO_EACH, LAYER, SPLIT_REPLICA
from stuntdouble.site.tables import (
    EACH_IMAGES_MAX,
    I_AREA,
    I_CHUNKS,
    I_COPIED,
    I_KIND,
    I_NEWER,
    I_OLDER,
    I_VOLUME,
    V_CHUNK_SHIFT,
    V_NEWEST,
    V_ORIGIN,
    V_OWN,
    V_POOL,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stuntdouble.extents import Runs
    from stuntdouble.site.site import Site
    from stuntdouble.site.store import Store

_WORD_BITS: Final = 64

DamageMode = Literal["error", "silent"]
"""What bad blocks do to a reader: MediumError, or wrong bytes and not a word."""


class LunKeeper(Protocol):
    """Whose LUN it is: who answers for it, and makes room for copies before writes."""

    def check_reachable(self) -> None:
        """Raise Unreachable where nobody answers for the LUN any more."""
        ...

    def make_room(self, lun: Lun) -> None:
        """Free space, or give up an image; NoSpace refuses the write."""
        ...


@dataclass(eq=False)
class Lun:
    """A volume's content and what lies on it; made by ``Site.create_lun`` and ``Image.open``."""

    site: Site
    number: int
    blocks: int
    keeper: LunKeeper | None = None
    stores: list[Store] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        return self.blocks * self.site.block_bytes

    @property
    def pool(self) -> int:
        """The site's number of the pool it lies in."""
        return self.site.arena.column("volumes", self.number, V_POOL)

    @property
    def chunk_bytes(self) -> int:
        """The unit in which an array snapshot copies or redirects."""
        shift = self.site.arena.column("volumes", self.number, V_CHUNK_SHIFT)
        return self.site.block_bytes << shift

    def tokens(self, start: int, count: int) -> NDArray[np.uint64]:
        """Return what the blocks hold now."""
        return self.site.medium_tokens(self.number, start, count)

    def render(self, start: int, count: int) -> NDArray[np.uint8]:
        """Return the bytes of blocks as they should be, a row per block; devices ask ``Site.show``."""
        return self.site.render(self.tokens(start, count))

    def check_reachable(self) -> None:
        """Raise Unreachable where the LUN has been lost."""
        if self.keeper is not None:
            self.keeper.check_reachable()

    def grow(self, blocks: int, physical: int) -> None:
        """Let the LUN have *blocks*, and lie at pool block *physical*, whatever lay where before.

        What is new reads as zeros.  A LUN that was opened from an image takes room for it in the
        reserve.  Images keep their size.

        Raises:
            NoSpace: the reserve has no room for it.
        """
        resize.grow(self, blocks, physical)

    def held(self, runs: Runs) -> Runs:
        """Return where the LUN holds anything but zeros, in whole content blocks that touch *runs*."""
        return compare.held(self, runs)

    def differing(self, other: Lun) -> Runs:
        """Return the chunks, as byte ranges, in which a LUN of the same size holds something else."""
        assert self.blocks == other.blocks, "what is compared has one size"
        return compare.differing(self, other)

    def owed_bytes(self, runs: Runs) -> int:
        """Return what writing to *runs* would take of the reserve, images' copies included."""
        return compare.owed_bytes(self, runs)

    def damage(self, runs: Runs, mode: DamageMode) -> None:
        """Let what holds byte ranges go bad, from now on, for every LUN and image that shares it.

        A block is whole again, for the one LUN, once it has been written or zeroed.  Ranges are
        rounded outward to content blocks.

        Raises:
            Unsupported: the site keeps only counts.
        """
        self.site.faults.damage(self, runs, mode)


@dataclass(eq=False)
class Image:
    """A frozen LUN: ``lun`` is what it was, ``base`` the LUN that goes on changing."""

    number: int
    base: Lun
    lun: Lun

    @property
    def space_bytes(self) -> int:
        """What this image has cost so far: chunks kept or redirected for its sake."""
        if layer.is_layer(self):
            return layer.space_bytes(self)
        arena = self.base.site.arena
        return arena.column("images", self.number, I_CHUNKS) * self.base.chunk_bytes

    def open(self) -> Lun:
        """Return a LUN of its own that starts out as the image: writes to it change no other."""
        return self.base.site.fork_luns([self.lun], self)[0]


def freeze(site: Site, luns: list[Lun], kind: int) -> list[Image]:
    """Freeze *luns* in one instant; later writes copy (or redirect) before they change a chunk.

    Images that each get a copy do not go with those that look through newer ones.

    Those of LUNs that were opened from images are layers, whatever the kind.

    Raises:
        LimitReached: too many images of a LUN would each get a copy.
    """
    arena = site.arena
    opened = [bool(arena.column("volumes", base.number, V_ORIGIN)) for base in luns]
    kinds = [LAYER if above else kind for above in opened]
    rows = [_new_image(site, base, each) for base, each in zip(luns, kinds, strict=True)]
    frozen = site.fork_luns(luns, None)
    made = []
    for base, lun, number, each in zip(luns, frozen, rows, kinds, strict=True):
        made.append(Image(number, base, lun))
        arena.hold("images", number, made[-1])
        if each == LAYER:
            layer.put_under(site, base, lun, number)
            site.images.setdefault(base.number, []).append(made[-1])
            continue
        site.set_origin(lun, number)
        if each != SPLIT_REPLICA:
            _enlist(site, made[-1])
    return made


def _new_image(site: Site, base: Lun, kind: int) -> int:
    """Return the row of a new image of *base*, which nothing knows of yet."""
    arena = site.arena
    siblings = site.images.get(base.number, [])
    kinds = {arena.column("images", each.number, I_KIND) for each in siblings}
    if kind != SPLIT_REPLICA and COPY_INTO_EACH in {kind, *kinds}:
        assert kinds <= {kind}, "images that each get a copy are among themselves"
    if kind == COPY_INTO_EACH and len(siblings) >= EACH_IMAGES_MAX:
        raise LimitReached(
            f"images of volume {base.number} with copies of their own", EACH_IMAGES_MAX
        )
    number = arena.new_row("images")
    chunks = base.blocks >> arena.column("volumes", base.number, V_CHUNK_SHIFT)
    row = arena.tables.images[number]
    row[I_VOLUME], row[I_COPIED], row[I_KIND] = base.number, arena.new_bitmap(chunks), kind
    if kind == COPY_INTO_EACH:  # the lowest area that no sibling has
        taken = {arena.column("images", each.number, I_AREA) for each in siblings}
        row[I_AREA] = min(set(range(len(taken) + 1)) - taken)
    return number


def _enlist(site: Site, image: Image) -> None:
    """Make an image the newest of its LUN."""
    tables, volume = site.arena.tables, image.base.number
    previous = site.arena.column("volumes", volume, V_NEWEST)
    if previous:
        tables.images[previous, I_NEWER] = image.number
    tables.images[image.number, I_OLDER] = previous
    tables.volumes[volume, V_NEWEST] = image.number
    site.images.setdefault(volume, []).append(image)


def thaw(site: Site, image: Image) -> int:
    """Give an image up; return the bytes of the reserve that come free.

    Chunks that the next older image has not got itself are handed down to it (there are none where
    each gets its own); if the image was the newest, later writes protect the older one again.  What
    was split off has cost nothing of the reserve.
    """
    arena = site.arena
    if layer.is_layer(image):
        return layer.merge(site, image)
    if arena.column("images", image.number, I_KIND) == SPLIT_REPLICA:
        return 0
    siblings = site.images[image.base.number]
    at = siblings.index(image)
    before = sum(i.space_bytes for i in siblings)
    if at > 0:
        older = siblings[at - 1]
        copied = arena.column("images", older.number, I_COPIED)
        arena.merge(arena.column("images", image.number, I_COPIED), copied)
        arena.tables.images[older.number, I_CHUNKS] = _ones(older, copied)
    _unlink(site, image)
    siblings.remove(image)
    freed = before - sum(i.space_bytes for i in siblings)
    site.release_reserve(image.base, freed)
    return freed


def _ones(image: Image, bitmap: int) -> int:
    """Return how many chunks of an image a bitmap has: what its LUN has grown by is none of them."""
    arena, lun = image.base.site.arena, image.lun
    chunks = lun.blocks >> arena.column("volumes", lun.number, V_CHUNK_SHIFT)
    words = arena.words(bitmap, 0, -(-chunks // _WORD_BITS))
    if chunks % _WORD_BITS:
        words[-1] &= np.uint64((1 << chunks % _WORD_BITS) - 1)
    return int(np.bitwise_count(words).sum())


def _unlink(site: Site, image: Image) -> None:
    """Take an image out of the row of its siblings."""
    rows = site.arena.tables.images
    older, newer = rows[image.number, I_OLDER], rows[image.number, I_NEWER]
    if older:
        rows[older, I_NEWER] = newer
    if newer:
        rows[newer, I_OLDER] = older
    else:
        site.arena.tables.volumes[image.base.number, V_NEWEST] = older
    rows[image.number, I_OLDER] = 0


def own_bytes(lun: Lun) -> int:
    """Return the bytes that a LUN opened from an image has been given of its own."""
    arena = lun.site.arena
    own = arena.column("volumes", lun.number, V_OWN)
    return arena.ones(own) * lun.chunk_bytes
