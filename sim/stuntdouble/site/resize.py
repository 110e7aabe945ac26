"""Growth of a LUN: what is new reads as zeros, and no image that there is already knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import NoSpace
from stuntdouble.site.tables import (
    I_COPIED,
    P_FREE,
    V_BLOCKS,
    V_CHUNK_SHIFT,
    V_FAULTS,
    V_MEDIUM,
    V_MOVED,
    V_ORIGIN,
    V_OWN,
    V_PHYSICAL,
    V_REPLICA,
)

if TYPE_CHECKING:
    from stuntdouble.site.arena import Arena
    from stuntdouble.site.lun import Lun

_WORD_BITS: Final = 64


def grow(lun: Lun, blocks: int, physical: int) -> None:
    """Let *lun* have *blocks*, and lie at pool block *physical*; see ``Lun.grow``."""
    site, arena = lun.site, lun.site.arena
    row = arena.tables.volumes[lun.number]
    shift = int(row[V_CHUNK_SHIFT])
    assert blocks >= lun.blocks, "a LUN does not shrink"
    assert blocks % (1 << shift) == 0, "a volume is whole chunks"
    assert not row[V_REPLICA], "a LUN with replicas stays as large as they are"
    first, stop = lun.blocks >> shift, blocks >> shift
    site.settle()
    arena.check()
    if row[V_ORIGIN]:
        _redirect(lun, first, stop)
    else:
        row[V_PHYSICAL] = physical
        for image in site.images.get(lun.number, []):  # none of them has what is new to lose
            _mark(arena, arena.column("images", image.number, I_COPIED), first, stop)
    arena.grow(int(row[V_MEDIUM]), blocks)
    if row[V_FAULTS]:
        arena.grow(int(row[V_FAULTS]), blocks)
    arena.grow_bitmap(int(row[V_MOVED]), stop)
    row[V_BLOCKS] = blocks
    lun.blocks = blocks


def _redirect(lun: Lun, first: int, stop: int) -> None:
    """Give a LUN that was opened from an image chunks of its own: it has no other place for them."""
    arena = lun.site.arena
    pool = arena.tables.pools[lun.pool]
    wanted, free = (stop - first) * lun.chunk_bytes, lun.site.reserve_free_bytes(lun.pool)
    if wanted > free:
        raise NoSpace("the snapshot reserve", wanted, free)
    pool[P_FREE] -= wanted // lun.site.block_bytes
    _mark(arena, arena.column("volumes", lun.number, V_OWN), first, stop)


def _mark(arena: Arena, bitmap: int, first: int, stop: int) -> None:
    """Set the bits [first, stop) of a bitmap that is to have *stop* of them."""
    arena.grow_bitmap(bitmap, stop)
    words = arena.words(bitmap, 0, -(-stop // _WORD_BITS))
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    bits[first:stop] = 1
    fresh = np.packbits(bits, bitorder="little").view(np.uint64)
    for index in np.flatnonzero(fresh != words).tolist():
        arena.put_word(bitmap, index, int(fresh[index]))
