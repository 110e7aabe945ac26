"""Copy before write: what an I/O owes to the images of a volume before it changes a chunk.

    kind of image        first write to a chunk                      the image finds the chunk
    copy on write        read it, write it aside, then write         aside
    copy into each       read it, write it aside for each, write     aside, in its own area
    redirect on write    write aside; read the rest of the chunk     where it always was
                         first if the write covers only a part

A LUN opened from an image redirects every chunk it writes: it has no place of its own.  Only the
newest image is owed anything, and older ones look through it; but where each gets a copy, every
image that lacks the chunk is owed one.  What a newer one has, older ones have as well, so those that
lack a chunk are the newest, and follow each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.site.bits import mark, test, unmark
from stuntdouble.site.pieces import NEED_RESERVE, add_piece, lacking
from stuntdouble.site.places import physical
from stuntdouble.site.plan import COPY_INTO_EACH, REDIRECT_ON_WRITE, Place
from stuntdouble.site.tables import (
    I_CHUNKS,
    I_COPIED,
    I_KIND,
    I_OLDER,
    P_FREE,
    V_CHUNK_SHIFT,
    V_MOVED,
    V_NEWEST,
    V_ORIGIN,
    V_OWN,
    V_POOL,
    X_BLOCK,
    X_COPIES,
    X_COUNT,
    X_STATE,
    X_VOLUME,
)

_COPY_INTO_EACH = COPY_INTO_EACH
_REDIRECT_ON_WRITE = REDIRECT_ON_WRITE
_NEED_RESERVE = NEED_RESERVE
_SOURCE = int(Place.SOURCE)
_COPIED_CHUNK = int(Place.COPIED_CHUNK)
_PARTIAL_CHUNK = int(Place.PARTIAL_CHUNK)


@njit(forceinline=True)
def kept_map(s: Any, volume: Any) -> Any:
    """Return the bitmap of chunks that need no copy any more; 0 where no chunk ever does."""
    image = s.volumes[volume, V_NEWEST]
    if image != 0:
        return s.images[image, I_COPIED]
    return s.volumes[volume, V_OWN] if s.volumes[volume, V_ORIGIN] != 0 else np.int64(0)


@njit(forceinline=True)
def _copies(s: Any, volume: Any) -> Any:
    image = s.volumes[volume, V_NEWEST]
    return image != 0 and s.images[image, I_KIND] != _REDIRECT_ON_WRITE


@njit(forceinline=True)
def _owed(s: Any, volume: Any, chunk: Any) -> Any:
    """Return how many images, from the newest on, a copy of *chunk* is owed to."""
    image = s.volumes[volume, V_NEWEST]
    if image == 0 or s.images[image, I_KIND] != _COPY_INTO_EACH:
        return 1
    owed = 0
    while image != 0 and not test(s, s.images[image, I_COPIED], chunk):
        owed += 1
        image = s.images[image, I_OLDER]
    return owed


@njit(forceinline=True)
def _keep(s: Any, volume: Any, chunk: Any, copies: Any) -> None:
    """Mark a chunk as kept by the newest images, or by the LUN that it is its own of."""
    mark(s, kept_map(s, volume), chunk)
    image = s.volumes[volume, V_NEWEST]
    for _ in range(copies - 1):
        image = s.images[image, I_OLDER]
        mark(s, s.images[image, I_COPIED], chunk)


@njit(forceinline=True)
def protect(s: Any, pieces: Any) -> Any:
    """Add the chunks that must be copied or merged first, and mark them as done.

    A chunk's row says where it lies *before* that, as its guest block.  Returns the number of rows
    in the scratch table, or NEED_RESERVE with every mark undone.
    """
    n = pieces
    for k in range(pieces):
        volume = s.scratch[k, X_VOLUME]
        kept = kept_map(s, volume)
        if kept == 0 or s.scratch[k, X_STATE] == _SOURCE:
            continue
        block = s.scratch[k, X_BLOCK]
        stop = block + s.scratch[k, X_COUNT]
        shift = s.volumes[volume, V_CHUNK_SHIFT]
        for chunk in range(block >> shift, ((stop - 1) >> shift) + 1):
            if test(s, kept, chunk):
                continue
            pool = s.volumes[volume, V_POOL]
            copies = _owed(s, volume, chunk)
            if s.pools[pool, P_FREE] < copies << shift:
                _undo(s, pieces, n)
                return lacking(s, _NEED_RESERVE, 0, volume)
            start = chunk << shift
            before = physical(s, volume, start)
            s.pools[pool, P_FREE] -= copies << shift
            _keep(s, volume, chunk, copies)
            whole = block <= start and stop >= start + (1 << shift)
            what = _COPIED_CHUNK if _copies(s, volume) else _PARTIAL_CHUNK
            # a chunk that is overwritten as a whole and redirected needs no merge: an empty part
            size = 0 if whole and what == _PARTIAL_CHUNK else 1 << shift
            s.scratch[n, X_COPIES] = copies
            n = add_piece(s, n, what, volume, start, size, before)
    return n


@njit(forceinline=True)
def _undo(s: Any, start: Any, stop: Any) -> None:
    for k in range(start, stop):
        volume = s.scratch[k, X_VOLUME]
        shift = s.volumes[volume, V_CHUNK_SHIFT]
        copies = s.scratch[k, X_COPIES]
        s.pools[s.volumes[volume, V_POOL], P_FREE] += copies << shift
        chunk = s.scratch[k, X_BLOCK] >> shift
        unmark(s, kept_map(s, volume), chunk)
        image = s.volumes[volume, V_NEWEST]
        for _ in range(copies - 1):
            image = s.images[image, I_OLDER]
            unmark(s, s.images[image, I_COPIED], chunk)


@njit(forceinline=True)
def commit_protection(s: Any, start: Any, stop: Any) -> None:
    """Count the chunks that were copied, and remember which ones now live elsewhere."""
    for k in range(start, stop):
        volume = s.scratch[k, X_VOLUME]
        image = s.volumes[volume, V_NEWEST]
        if image == 0:
            continue
        if s.images[image, I_KIND] == _REDIRECT_ON_WRITE:
            chunk = s.scratch[k, X_BLOCK] >> s.volumes[volume, V_CHUNK_SHIFT]
            mark(s, s.volumes[volume, V_MOVED], chunk)
        for _ in range(s.scratch[k, X_COPIES]):
            s.images[image, I_CHUNKS] += 1
            image = s.images[image, I_OLDER]
