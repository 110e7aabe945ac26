"""Pieces of an I/O: what it touches on volumes, gathered before anything changes.

    row of the scratch table   kind of place │ volume │ block │ count │ guest block

Units to be zeroed come first, then data in the order of the guest's blocks, then the grain table.
Data that lies in one piece on a volume is one piece, whatever it crosses on the way.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.site.places import is_zeroed, location
from stuntdouble.site.plan import Place
from stuntdouble.site.tables import (
    C_NEED_AT,
    C_NEED_FILE,
    F_ROOM,
    F_SLOTS,
    F_STORE,
    F_USED,
    F_ZEROED,
    L_FILE,
    S_FS_SHIFT,
    S_ZERO_SHIFT,
    X_BLOCK,
    X_COUNT,
    X_GUEST,
    X_STATE,
    X_VOLUME,
)
from stuntdouble.site.words import get

NEED_PLACE: Final = -1
NEED_ROOM: Final = -2
NEED_RESERVE: Final = -3

_NEED_PLACE = NEED_PLACE
_NEED_ROOM = NEED_ROOM
_SOURCE = int(Place.SOURCE)
_TABLE = int(Place.TABLE)
_UNIT = int(Place.UNIT)
_DATA = int(Place.DATA)
_ABSENT = np.uint64(0)

# The block of a table is none of the guest's: nothing of it was added by rounding.
_NOT_THE_GUESTS = -1


@njit(forceinline=True)
def add_piece(s: Any, n: Any, kind: Any, volume: Any, block: Any, count: Any, guest: Any) -> Any:
    """Put down a piece as row *n*; return the number of rows."""
    s.scratch[n, X_STATE] = kind
    s.scratch[n, X_VOLUME] = volume
    s.scratch[n, X_BLOCK] = block
    s.scratch[n, X_COUNT] = count
    s.scratch[n, X_GUEST] = guest
    return n + 1


@njit(forceinline=True)
def add_block(s: Any, n: Any, kind: Any, volume: Any, block: Any, guest: Any) -> Any:
    """Add one block to the pieces, growing the last one where it continues it."""
    if n > 0:
        k = n - 1
        grown = s.scratch[k, X_COUNT]
        if (
            s.scratch[k, X_STATE] == kind
            and s.scratch[k, X_VOLUME] == volume
            and s.scratch[k, X_BLOCK] + grown == block
            and s.scratch[k, X_GUEST] + grown == guest
        ):
            s.scratch[k, X_COUNT] = grown + 1
            return n
    return add_piece(s, n, kind, volume, block, 1, guest)


@njit(forceinline=True)
def lacking(s: Any, need: Any, file: Any, at: Any) -> Any:
    """Say what is lacking, and where; return *need*."""
    s.counters[C_NEED_FILE, 0] = file
    s.counters[C_NEED_AT, 0] = at
    return need


@njit(forceinline=True)
def _sparse(s: Any, n: Any, file: Any, block: Any, count: Any, source: Any) -> Any:
    """Gather where a write to a delta disk goes."""
    slots = s.files[file, F_SLOTS]
    used = s.files[file, F_USED]
    fresh = 0
    for d in range(block, block + count):
        if source != 0 and get(s, source, d) == _ABSENT:
            continue
        slot = get(s, slots, d)
        if slot == _ABSENT:
            at = used + fresh
            fresh += 1
            if at >= s.files[file, F_ROOM]:
                return lacking(s, _NEED_ROOM, file, at)
        else:
            at = np.int64(slot) - 1
        volume, b = location(s, file, at)
        n = add_block(s, n, _DATA, volume, b, d)
    if fresh != 0:
        volume, b = location(s, file, 0)
        n = add_piece(s, n, _TABLE, volume, b, 1, _NOT_THE_GUESTS)
    return n


@njit(forceinline=True)
def _units(s: Any, n: Any, file: Any, block: Any, count: Any, source: Any) -> Any:
    """Gather the units of a base disk that a write must zero first."""
    if s.files[file, F_ZEROED] == 0:
        return n
    shift = s.stores[s.files[file, F_STORE], S_ZERO_SHIFT]
    unit = -1
    for d in range(block, block + count):
        if d >> shift == unit or (source != 0 and get(s, source, d) == _ABSENT):
            continue
        unit = d >> shift
        volume, b = location(s, file, d)
        if volume != 0 and not is_zeroed(s, file, d):
            start = unit << shift
            n = add_piece(s, n, _UNIT, volume, b - (d - start), 1 << shift, start)
    return n


@njit(forceinline=True)
def _flat(s: Any, n: Any, file: Any, block: Any, count: Any, source: Any) -> Any:
    """Gather where a write to a base disk goes."""
    n = _units(s, n, file, block, count, source)
    for d in range(block, block + count):
        if source != 0 and get(s, source, d) == _ABSENT:
            continue
        volume, b = location(s, file, d)
        if volume == 0:
            at = d >> s.stores[s.files[file, F_STORE], S_FS_SHIFT]
            return lacking(s, _NEED_PLACE, file, at)
        n = add_block(s, n, _DATA, volume, b, d)
    return n


@njit(forceinline=True)
def pieces_of_write(s: Any, n: Any, level: Any, block: Any, count: Any, source: Any) -> Any:
    """Gather where a write to *level* goes, or return what is lacking.

    Blocks that the slot map *source* lacks are left out: nothing of a move comes from there.
    """
    file = s.levels[level, L_FILE]
    if s.files[file, F_SLOTS] != 0:
        return _sparse(s, n, file, block, count, source)
    return _flat(s, n, file, block, count, source)


@njit(forceinline=True)
def pieces_of_source(s: Any, n: Any, level: Any, block: Any, count: Any) -> Any:
    """Gather where the grains of a delta disk lie that a move takes away."""
    file = s.levels[level, L_FILE]
    for d in range(block, block + count):
        slot = get(s, s.files[file, F_SLOTS], d)
        if slot != _ABSENT:
            volume, at = location(s, file, np.int64(slot) - 1)
            n = add_block(s, n, _SOURCE, volume, at, d)
    return n
