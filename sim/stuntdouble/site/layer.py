"""Layers: images of LUNs that were opened from images themselves.

    before                              an image of P                    the image is given up
    P ─origin─▶ I ─▶ B                  P ─origin─▶ J ─▶ F ─▶ I ─▶ B     P ─origin─▶ I ─▶ B
    own: what P wrote                   own: none   own: what P wrote    own: both

P goes on over an empty layer, and what it wrote before stays behind in F, which nothing writes to
any more.  So nothing is ever copied for such an image: each chunk that P writes again is redirected,
as the first of its own was.  When the image is given up, P gets what it lacks of F, or the next newer
image's layer does; what both have comes free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.site.plan import LAYER
from stuntdouble.site.tables import I_KIND, I_VOLUME, V_CHUNK_SHIFT, V_ORIGIN, V_OWN

if TYPE_CHECKING:
    from stuntdouble.site.arena import Arena
    from stuntdouble.site.lun import Image, Lun
    from stuntdouble.site.site import Site

_WORD_BITS: Final = 64


def put_under(site: Site, base: Lun, layer: Lun, number: int) -> None:
    """Let *base*, opened from an image, go on over *layer*, its twin, by way of image *number*."""
    rows = site.arena.tables.volumes
    for column in (V_ORIGIN, V_OWN):
        rows[layer.number, column] = rows[base.number, column]
    site.set_origin(base, number)
    site.arena.tables.images[number, I_VOLUME] = layer.number


def is_layer(image: Image) -> bool:
    """Say whether an image is of a LUN that was opened from an image."""
    return image.base.site.arena.column("images", image.number, I_KIND) == LAYER


def space_bytes(image: Image) -> int:
    """Return what would come free with a layer."""
    arena, above = image.base.site.arena, _above(image)
    own = arena.column("volumes", image.lun.number, V_OWN)
    if above is None:
        return arena.ones(own) * image.base.chunk_bytes
    count = -(-_chunks(arena, image.lun) // _WORD_BITS)
    both = arena.words(own, 0, count)
    both &= arena.words(arena.column("volumes", above.number, V_OWN), 0, count)
    return int(np.bitwise_count(both).sum()) * image.base.chunk_bytes


def merge(site: Site, image: Image) -> int:
    """Give a layer up; return the bytes of the reserve that come free."""
    arena, freed = site.arena, space_bytes(image)
    above, layer = _above(image), image.lun
    row = arena.tables.volumes[layer.number]
    if above is not None:
        arena.merge(int(row[V_OWN]), arena.column("volumes", above.number, V_OWN))
        arena.tables.volumes[above.number, V_ORIGIN] = row[V_ORIGIN]
    row[V_OWN] = arena.new_bitmap(_chunks(arena, layer))
    site.images[image.base.number].remove(image)
    site.release_reserve(layer, freed)
    return freed


def _above(image: Image) -> Lun | None:
    """Return what goes on over a layer: the next newer one, or the LUN; None where that is gone."""
    base = image.base
    siblings = base.site.images[base.number]
    at = siblings.index(image) + 1
    if at < len(siblings):
        return siblings[at].lun
    return base if base.site.luns.get(base.number) is base else None


def _chunks(arena: Arena, lun: Lun) -> int:
    return lun.blocks >> arena.column("volumes", lun.number, V_CHUNK_SHIFT)
