"""Maps used as bitmaps: mark, unmark, test, count, merge.  Bit b is bit b % 64 of word b / 64."""

from __future__ import annotations

from typing import Any

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.site.pool import INDEX
from stuntdouble.site.tables import M_ROOT, M_ROOTS, view
from stuntdouble.site.words import get, leaf_for_writing

_INDEX = INDEX
_NONE = np.uint32(0)
_ONE = np.uint64(1)


@njit(forceinline=True)
def test(s: Any, m: Any, b: Any) -> Any:
    """Say whether bit *b* is set."""
    return (get(s, m, b >> 6) >> np.uint64(b & 63)) & _ONE != np.uint64(0)


@njit(forceinline=True)
def mark(s: Any, m: Any, b: Any) -> None:
    """Set bit *b*."""
    word = b >> 6
    s.leaves[leaf_for_writing(s, m, word), word & 63] |= _ONE << np.uint64(b & 63)


@njit(forceinline=True)
def unmark(s: Any, m: Any, b: Any) -> None:
    """Clear bit *b*."""
    word = b >> 6
    s.leaves[leaf_for_writing(s, m, word), word & 63] &= ~(_ONE << np.uint64(b & 63))


@njit(forceinline=True)
def _ones(word: Any) -> Any:
    count = 0
    while word != np.uint64(0):
        word &= word - _ONE
        count += 1
    return count


@njit("int64(int64, int64)", cache=True)
def count_ones(t: Any, m: Any) -> Any:
    """Return the number of set bits of map *m*."""
    s = view(t)
    total = 0
    for k in range(s.maps[m, M_ROOTS]):
        node = s.roots[s.maps[m, M_ROOT] + k, 0] & _INDEX
        if node == _NONE:
            continue
        for j in range(256):
            leaf = s.nodes[node, j] & _INDEX
            if leaf == _NONE:
                continue
            for w in range(64):
                total += _ones(s.leaves[leaf, w])
    return total


@njit("void(int64, int64, int64)", cache=True)
def merge(t: Any, source: Any, target: Any) -> None:
    """OR map *source* into map *target*, visiting only what *source* has."""
    s = view(t)
    for k in range(s.maps[source, M_ROOTS]):
        node = s.roots[s.maps[source, M_ROOT] + k, 0] & _INDEX
        if node == _NONE:
            continue
        for j in range(256):
            leaf = s.nodes[node, j] & _INDEX
            if leaf == _NONE:
                continue
            into = leaf_for_writing(s, target, (k << 14) + (j << 6))
            for w in range(64):
                s.leaves[into, w] |= s.leaves[leaf, w]


@njit("void(int64, int64, uint64[::1])", cache=True)
def or_into(t: Any, m: Any, out: Any) -> None:
    """OR the words of map *m* into *out*: a union of bitmaps that are all kept as they are."""
    s = view(t)
    for k in range(s.maps[m, M_ROOTS]):
        node = s.roots[s.maps[m, M_ROOT] + k, 0] & _INDEX
        if node == _NONE:
            continue
        for j in range(256):
            leaf = s.nodes[node, j] & _INDEX
            first = (k << 14) + (j << 6)
            if leaf == _NONE or first >= out.shape[0]:
                continue
            for w in range(min(64, out.shape[0] - first)):
                out[first + w] |= s.leaves[leaf, w]
