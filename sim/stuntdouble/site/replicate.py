"""Replicas: whole copies of a volume on blocks of their own, kept equal until they are split off.

                attached                                 split off
    a write     goes to the replica as well, where       makes the replica unequal there,
                it is equal already                      and costs nothing
    equal       grows, chunk by chunk, as the            shrinks: what is unequal is copied
                copying goes on                          when the replica is attached again

A replica has no content of its own: where it is equal, its blocks hold what the volume's hold, and
what is split off is an image, frozen as any other.  So nothing of this is in the content log.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.site.bits import mark, test, unmark
from stuntdouble.site.pieces import add_piece
from stuntdouble.site.plan import Place
from stuntdouble.site.steps import emit
from stuntdouble.site.tables import (
    R_ATTACHED,
    R_EQUAL,
    R_NEXT,
    R_VOLUME,
    V_CHUNK_SHIFT,
    V_REPLICA,
    X_BLOCK,
    X_COUNT,
    X_STATE,
    X_VOLUME,
    view,
)

_SOURCE = int(Place.SOURCE)
_REPLICA = int(Place.REPLICA)
_UNEQUAL = int(Place.UNEQUAL)


@njit(forceinline=True)
def _add_run(s: Any, n: Any, first: Any, kind: Any, owner: Any, block: Any, stop: Any) -> Any:
    """Add blocks as a row, or to the last row from *first* on where they continue it."""
    k = n - 1
    if (
        n > first
        and s.scratch[k, X_STATE] == kind
        and s.scratch[k, X_VOLUME] == owner
        and s.scratch[k, X_BLOCK] + s.scratch[k, X_COUNT] == block
    ):
        s.scratch[k, X_COUNT] += stop - block
        return n
    return add_piece(s, n, kind, owner, block, stop - block, block)


@njit(forceinline=True)
def _follow(s: Any, n: Any, replica: Any, block: Any, stop: Any, shift: Any) -> Any:
    """Let one replica follow a write to [block, stop)."""
    equal = s.replicas[replica, R_EQUAL]
    first = n
    while block < stop:
        end = min(((block >> shift) + 1) << shift, stop)
        if test(s, equal, block >> shift):
            if s.replicas[replica, R_ATTACHED] != 0:
                n = _add_run(s, n, first, _REPLICA, replica, block, end)
            else:
                unmark(s, equal, block >> shift)
        block = end
    return n


@njit(forceinline=True)
def replicate(s: Any, pieces: Any, n: Any) -> Any:
    """Let replicas follow the writes among the first *pieces* rows; return the number of rows.

    Nothing can be lacking for it, so it comes once an I/O is certain to be admitted.
    """
    for k in range(pieces):
        volume = s.scratch[k, X_VOLUME]
        replica = s.volumes[volume, V_REPLICA]
        if s.scratch[k, X_STATE] == _SOURCE:
            continue
        block = s.scratch[k, X_BLOCK]
        stop = block + s.scratch[k, X_COUNT]
        while replica != 0:
            n = _follow(s, n, replica, block, stop, s.volumes[volume, V_CHUNK_SHIFT])
            replica = s.replicas[replica, R_NEXT]
    return n


@njit("int64(int64, int64, int64, int64)", cache=True)
def equalise(t: Any, replica: Any, start: Any, stop: Any) -> Any:
    """Admit the copying of chunks [start, stop), where they are unequal, to a replica."""
    s = view(t)
    volume = s.replicas[replica, R_VOLUME]
    shift = s.volumes[volume, V_CHUNK_SHIFT]
    n = 0
    for chunk in range(start, stop):
        if not test(s, s.replicas[replica, R_EQUAL], chunk):
            mark(s, s.replicas[replica, R_EQUAL], chunk)
            n = _add_run(s, n, 0, _UNEQUAL, volume, chunk << shift, (chunk + 1) << shift)
    for k in range(n):
        block = s.scratch[k, X_BLOCK]
        count = s.scratch[k, X_COUNT]
        add_piece(s, n + k, _REPLICA, replica, block, count, block)
    return emit(s, 2 * n, 0, 0, 0, 0)
