"""Paged words: get, put and fork, the only code that knows how a map is laid out."""

from __future__ import annotations

from typing import Any

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.compiled.tables import prefetch_cell
from stuntdouble.site.pool import INDEX, SHARED
from stuntdouble.site.tables import C_LEAVES, C_NODES, M_ROOT, M_ROOTS, view

_SHARED = SHARED
_INDEX = INDEX
_NONE = np.uint32(0)


@njit(forceinline=True)
def get(s: Any, m: Any, i: Any) -> Any:
    """Return word *i* of map *m*."""
    node = s.roots[s.maps[m, M_ROOT] + (i >> 14), 0] & _INDEX
    leaf = s.nodes[node, (i >> 6) & 255] & _INDEX
    return s.leaves[leaf, i & 63]


@njit(forceinline=True)
def approach_node(s: Any, m: Any, i: Any) -> None:
    """Let what leads to word *i* of map *m* come near: the word itself is to be asked for soon."""
    node = s.roots[s.maps[m, M_ROOT] + (i >> 14), 0] & _INDEX
    prefetch_cell(s.nodes, node, (i >> 6) & 255)


@njit(forceinline=True)
def approach(s: Any, m: Any, i: Any) -> None:
    """Let word *i* of map *m* come near: it is to be read or written soon."""
    node = s.roots[s.maps[m, M_ROOT] + (i >> 14), 0] & _INDEX
    leaf = s.nodes[node, (i >> 6) & 255] & _INDEX
    prefetch_cell(s.leaves, leaf, i & 63)


@njit(forceinline=True)
def _own_node(s: Any, root: Any) -> Any:
    """Return the node at *root* after making sure that nobody else has it."""
    old = s.roots[root, 0]
    if old != _NONE and old < _SHARED:
        return np.int64(old)
    source = np.int64(old & _INDEX)
    fresh = s.counters[C_NODES, 0]
    s.counters[C_NODES, 0] = fresh + 1
    for k in range(256):
        child = s.nodes[source, k]
        s.nodes[fresh, k] = child | _SHARED if child != _NONE else _NONE
    s.roots[root, 0] = np.uint32(fresh)
    return fresh


@njit(forceinline=True)
def leaf_for_writing(s: Any, m: Any, i: Any) -> Any:
    """Return the number of the leaf that holds word *i* of map *m* and of no other map."""
    node = _own_node(s, s.maps[m, M_ROOT] + (i >> 14))
    k = (i >> 6) & 255
    old = s.nodes[node, k]
    if old != _NONE and old < _SHARED:
        return np.int64(old)
    source = np.int64(old & _INDEX)
    fresh = s.counters[C_LEAVES, 0]
    s.counters[C_LEAVES, 0] = fresh + 1
    for w in range(64):
        s.leaves[fresh, w] = s.leaves[source, w]
    s.nodes[node, k] = np.uint32(fresh)
    return fresh


@njit(forceinline=True)
def put(s: Any, m: Any, i: Any, word: Any) -> None:
    """Set word *i* of map *m*."""
    s.leaves[leaf_for_writing(s, m, i), i & 63] = word


@njit(forceinline=True)
def put_run(s: Any, m: Any, i: Any, count: Any, word: Any, step: Any) -> None:
    """Set *count* words from *i* on to word, word + step, …: a leaf at a time."""
    while count > 0:
        leaf = leaf_for_writing(s, m, i)
        w = i & 63
        k = min(count, 64 - w)
        for j in range(k):
            s.leaves[leaf, w + j] = word + np.uint64(j) * step
        i += k
        count -= k
        word += np.uint64(k) * step


@njit("void(int64, int64, int64)", cache=True)
def fork(t: Any, source: Any, target: Any) -> None:
    """Make the empty map *target* equal to *source*; both copy before they write from now on."""
    s = view(t)
    a = s.maps[source, M_ROOT]
    b = s.maps[target, M_ROOT]
    for k in range(s.maps[source, M_ROOTS]):
        node = s.roots[a + k, 0]
        if node != _NONE:
            node |= _SHARED
            s.roots[a + k, 0] = node
        s.roots[b + k, 0] = node


@njit("void(int64, int64, int64, uint64[::1])", cache=True)
def read_words(t: Any, m: Any, start: Any, out: Any) -> None:
    """Fill *out* with the words of map *m* from *start* on."""
    s = view(t)
    for j in range(out.shape[0]):
        out[j] = get(s, m, start + j)


@njit("void(int64, int64, int64, uint64)", cache=True)
def put_word(t: Any, m: Any, i: Any, word: Any) -> None:
    """Set word *i* of map *m*, from Python."""
    put(view(t), m, i, word)
