"""Where a disk's blocks lie: an offset table, made from the maps that the I/O itself uses."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stuntdouble.extents import OffsetTable, State
from stuntdouble.site import places
from stuntdouble.site.tables import F_SLOTS, LOCATION_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stuntdouble.site.disk import Level

_VOLUME_SHIFT = LOCATION_BITS + 1
_BLOCK_MASK = (1 << LOCATION_BITS) - 1
_STEP = 1 << 16  # blocks looked at together: their words stay in the cache


def offset_table(level: Level, blocks: int, names: dict[int, str]) -> OffsetTable:
    """Return the offset table of a disk of *blocks* as seen from *level*, chain and all.

    Args:
        level: usually the level that a VM snapshot froze.
        blocks: the disk's size in content blocks.
        names: the public identifier of each volume, by its number.
    """
    site = level.site
    site.settle()
    where = _located(level, 0, blocks)
    volumes = sorted(names)
    ordinal = {number: i for i, number in enumerate(volumes)}
    rows = []
    for start, stop in _stretches(where):
        word = int(where[start])
        size, at = (stop - start) * site.block_bytes, start * site.block_bytes
        if word == 0:
            rows.append((-1, at, 0, size, State.HOLE))
            continue
        state = State.WRITTEN if word >> LOCATION_BITS & 1 else State.TO_BE_ZEROED
        offset = (word & _BLOCK_MASK) * site.block_bytes
        rows.append((ordinal[word >> _VOLUME_SHIFT], at, offset, size, state))
    return OffsetTable([names[v] for v in volumes], blocks * site.block_bytes, rows)


def locations(level: Level, start: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the volume and the block in it that each guest block is read from; volume 0 for zeros."""
    where = _located(level, start, count)
    raw = where >> LOCATION_BITS & 1
    return (where >> _VOLUME_SHIFT) * raw, where & _BLOCK_MASK


def _located(level: Level, start: int, count: int) -> NDArray[np.int64]:
    where = np.empty(count, np.int64)
    places.locate(level.site.arena.addresses, level.number, start, where)
    return where


def _stretches(where: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return (start, stop) of the stretches that are holes or lie in one piece."""
    edges = [0]
    for start in range(0, len(where), _STEP):
        some = where[start : start + _STEP + 1]
        hole = some == 0
        follows = np.where(hole[1:], hole[:-1], (some[1:] == some[:-1] + 1) & ~hole[:-1])
        edges += (np.flatnonzero(~follows) + (start + 1)).tolist()
    return list(pairwise([*edges, len(where)]))


def grains(level: Level, blocks: int, piece_blocks: int) -> NDArray[np.int64]:
    """Return the (block, count) pieces of a delta disk's grains, in guest order.

    Pieces do not cross multiples of *piece_blocks*: each is one I/O of a consolidation.
    """
    site = level.site
    slots = site.arena.column("files", level.file.number, F_SLOTS)
    present = [
        np.flatnonzero(site.arena.words(slots, start, min(_STEP, blocks - start))) + start
        for start in range(0, blocks, _STEP)
    ]
    inside = np.concatenate(present)
    if not len(inside):
        return np.empty((0, 2), np.int64)
    new = np.diff(inside) != 1
    new |= inside[1:] % piece_blocks == 0
    first = np.concatenate(([0], np.flatnonzero(new) + 1))
    counts = np.diff(np.concatenate((first, [len(inside)])))
    return np.stack((inside[first], counts), axis=1).astype(np.int64)
