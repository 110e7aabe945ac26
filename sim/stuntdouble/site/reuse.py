"""Reuse: rows, words, nodes and leaves that nobody can reach any more are given out again.

What is reachable is what Python still has a handle on (``Arena.hold``), and what the rows of those
handles name:

    Disk ─▶ Level ─▶ File ─▶ Store ─▶ Lun ─▶ image ─▶ newer and older image, base   Moment, Bitmap
      └─────────┴───────┴─ maps ──────┼────────┤                                       └─ maps
                                      └─▶ replica

So dropping the last reference to a thawed image, a dropped LUN, a deleted file or a moment is all
that an owner has to do, and nothing that anyone can still ask about is ever taken away.

Rows keep their numbers.  Roots, nodes and leaves slide down in order, and whether each of them is
shared is counted anew.  It happens only where the site says so, between two admissions, when a
table holds twice what was in use the last time: a run that stays small never sees it.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.site.pool import INDEX, SHARED
from stuntdouble.site.tables import (
    C_LEAVES,
    C_NODES,
    D_HEAD,
    D_LEDGER,
    D_TRACKED,
    F_PLACE,
    F_SLOTS,
    F_STORE,
    F_ZEROED,
    I_COPIED,
    I_NEWER,
    I_OLDER,
    I_VOLUME,
    L_FILE,
    L_PARENT,
    M_ROOT,
    M_ROOTS,
    R_EQUAL,
    R_NEXT,
    R_VOLUME,
    S_VOLUMES,
    STORE_VOLUMES,
    V_FAULTS,
    V_MEDIUM,
    V_MOVED,
    V_NEWEST,
    V_ORIGIN,
    V_OWN,
    V_REPLICA,
    view,
)

if TYPE_CHECKING:
    from stuntdouble.site.arena import Arena

_SHARED = SHARED
_INDEX = INDEX
_NONE = np.uint32(0)

_NAMES: Final[dict[str, tuple[tuple[int, str], ...]]] = {
    "disks": ((D_HEAD, "levels"), (D_LEDGER, "maps"), (D_TRACKED, "maps")),
    "levels": ((L_FILE, "files"), (L_PARENT, "levels")),
    "files": ((F_STORE, "stores"), (F_PLACE, "maps"), (F_SLOTS, "maps"), (F_ZEROED, "maps")),
    "stores": tuple((S_VOLUMES + i, "volumes") for i in range(STORE_VOLUMES)),
    "volumes": (
        (V_ORIGIN, "images"),
        (V_NEWEST, "images"),
        (V_REPLICA, "replicas"),
        (V_MEDIUM, "maps"),
        (V_MOVED, "maps"),
        (V_OWN, "maps"),
        (V_FAULTS, "maps"),
    ),
    "images": (
        (I_VOLUME, "volumes"),
        (I_NEWER, "images"),
        (I_OLDER, "images"),
        (I_COPIED, "maps"),
    ),
    "replicas": ((R_VOLUME, "volumes"), (R_NEXT, "replicas"), (R_EQUAL, "maps")),
    "maps": (),
}
"""Which columns of a table name rows of which other one; 0 names none."""


def reclaim(arena: Arena, *, thorough: bool) -> None:
    """Take back what nobody can reach; the content log must have been settled.

    Args:
        arena: the tables.
        thorough: find handles that refer to each other in a ring, too, which takes longer.
    """
    if thorough:
        gc.collect()
    live = _reachable(arena)
    for table, rows in live.items():
        arena.keep(table, rows)
    maps = np.array(sorted(live["maps"]), np.int64)
    order = np.argsort(arena.tables.maps[maps, M_ROOT], kind="stable")
    counters: Any = arena.tables.counters
    # how often each is referred to; then where it went
    nodes = np.zeros(int(counters[C_NODES, 0]), np.uint32)
    leaves = np.zeros(int(counters[C_LEAVES, 0]), np.uint32)
    arena.roots = int(_slide(arena.addresses, maps[order], nodes, leaves))
    arena.set_limits()


def _reachable(arena: Arena) -> dict[str, set[int]]:
    live = {table: arena.held(table) for table in _NAMES}
    todo = [(table, row) for table, rows in live.items() for row in rows]
    while todo:
        table, row = todo.pop()
        cells = getattr(arena.tables, table)[row].tolist()
        for column, other in _NAMES[table]:
            number = cells[column]
            if number and number not in live[other]:
                live[other].add(number)
                todo.append((other, number))
    return live


@njit(forceinline=True)
def _slide_roots(s: Any, maps: Any) -> Any:
    to = 0
    for i in range(maps.shape[0]):
        start = s.maps[maps[i], M_ROOT]
        s.maps[maps[i], M_ROOT] = to
        for k in range(s.maps[maps[i], M_ROOTS]):
            s.roots[to, 0] = s.roots[start + k, 0]
            to += 1
    return to


@njit(forceinline=True)
def _slide_leaves(s: Any, leaves: Any) -> None:
    """Move the leaves; their counts become their new numbers, marked where they are shared."""
    to = np.int64(1)
    leaves[0] = _NONE
    for leaf in range(1, leaves.shape[0]):
        count = leaves[leaf]
        if count != _NONE:
            for w in range(64):
                s.leaves[to, w] = s.leaves[leaf, w]
            leaves[leaf] = np.uint32(to) | _SHARED if count > np.uint32(1) else np.uint32(to)
            to += 1
    s.counters[C_LEAVES, 0] = to


@njit(forceinline=True)
def _slide_nodes(s: Any, nodes: Any, leaves: Any) -> None:
    """Move the nodes, and let them name the leaves where these are now."""
    to = np.int64(1)
    nodes[0] = _NONE
    for node in range(1, nodes.shape[0]):
        count = nodes[node]
        if count != _NONE:
            for k in range(256):
                s.nodes[to, k] = leaves[s.nodes[node, k] & _INDEX]
            nodes[node] = np.uint32(to) | _SHARED if count > np.uint32(1) else np.uint32(to)
            to += 1
    s.counters[C_NODES, 0] = to


@njit("int64(int64, int64[::1], uint32[::1], uint32[::1])", cache=True)
def _slide(t: Any, maps: Any, nodes: Any, leaves: Any) -> Any:
    """Close the gaps between what *maps* (in the order of their roots) use; return the roots used."""
    s = view(t)
    roots = _slide_roots(s, maps)
    for r in range(roots):
        nodes[s.roots[r, 0] & _INDEX] += np.uint32(1)
    for node in range(1, nodes.shape[0]):
        if nodes[node] != _NONE:
            for k in range(256):
                leaves[s.nodes[node, k] & _INDEX] += np.uint32(1)
    _slide_leaves(s, leaves)
    _slide_nodes(s, nodes, leaves)
    for r in range(roots):
        s.roots[r, 0] = nodes[s.roots[r, 0] & _INDEX]
    return roots
