"""Admission: the one door through which every I/O enters the site.

An I/O is admitted whole or not at all.  Admission resolves its addresses (``places``), gathers its
pieces (``pieces``), protects what images need (``protect``), lets replicas follow (``replicate``),
fixes its plan (``steps``), updates the maps, takes its tokens and appends to the content log; it
costs no emulated time.  Most I/O has nothing to gather or to protect, and goes by ``plain``.

Each rule is stated once, for guest writes, reads, moves (consolidation), I/O that addresses a
volume, and metadata, of which the content log knows nothing.

When something is lacking, nothing has changed and the answer is negative: the file needs a
file-system block (``NEED_PLACE``), the delta disk needs to grow (``NEED_ROOM``), or the array has
no room to copy a chunk (``NEED_RESERVE``).  ``C_NEED_FILE`` and ``C_NEED_AT`` say where.

A delta disk's grain is one content block, so that a write never has to fetch the rest of a grain:
true of both delta formats (512 B units, 4 KiB grains) at a content block of 4 KiB.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.content import FIRST_WRITTEN
from stuntdouble.site.bits import mark, test
from stuntdouble.site.log import note_move, note_write, note_zeroed
from stuntdouble.site.pieces import (
    NEED_PLACE,
    NEED_RESERVE,
    NEED_ROOM,
    add_block,
    add_piece,
    pieces_of_source,
    pieces_of_write,
)
from stuntdouble.site.places import is_stale, location, owner
from stuntdouble.site.plain import plain_read, plain_write
from stuntdouble.site.plan import Place
from stuntdouble.site.protect import commit_protection, protect
from stuntdouble.site.replicate import replicate
from stuntdouble.site.steps import emit
from stuntdouble.site.tables import (
    C_LOG,
    C_NEED,
    C_WRITTEN,
    D_HEAD,
    D_TRACK_SHIFT,
    D_TRACKED,
    F_SLOTS,
    F_STORE,
    F_USED,
    F_ZEROED,
    L_FILE,
    L_MIRROR,
    L_PARENT,
    S_ZERO_SHIFT,
    X_BLOCK,
    X_COUNT,
    X_GUEST,
    X_STATE,
    X_VOLUME,
    view,
)
from stuntdouble.site.words import get, put

__all__ = ["IO_BLOCKS_MAX", "NEED_PLACE", "NEED_RESERVE", "NEED_ROOM"]

IO_BLOCKS_MAX: Final = 1024
"""Blocks of one I/O at most: 4 MiB of 4 KiB blocks, so that its pieces fit the scratch table."""

_READ = int(Place.READ)
_SOURCE = int(Place.SOURCE)
_TABLE = int(Place.TABLE)
_UNIT = int(Place.UNIT)
_DATA = int(Place.DATA)
_ABSENT = np.uint64(0)
_FIRST_WRITTEN = np.uint64(FIRST_WRITTEN)
_LOG_ROOM = 4 * IO_BLOCKS_MAX  # events that one I/O logs at most: data twice, units, moves


# Commit. -----------------------------------------------------------------------------------------


@njit(forceinline=True)
def _protected(s: Any, pieces: Any) -> Any:
    """Give images and replicas what they are owed; return the number of rows, or what is lacking."""
    n = protect(s, pieces)
    if n < 0:
        return n
    commit_protection(s, pieces, n)
    return replicate(s, pieces, n)


@njit(forceinline=True)
def _commit_level(s: Any, level: Any, block: Any, count: Any, source: Any) -> None:
    """Allocate the grains, or mark the units as zeroed, that the pieces were gathered for."""
    file = s.levels[level, L_FILE]
    slots = s.files[file, F_SLOTS]
    zeroed = s.files[file, F_ZEROED]
    if slots == 0 and zeroed == 0:
        return
    shift = s.stores[s.files[file, F_STORE], S_ZERO_SHIFT]
    for d in range(block, block + count):
        if source != 0 and get(s, source, d) == _ABSENT:
            continue
        if slots == 0:
            if not test(s, zeroed, d >> shift):
                mark(s, zeroed, d >> shift)
        elif get(s, slots, d) == _ABSENT:
            used = s.files[file, F_USED]
            s.files[file, F_USED] = used + 1
            put(s, slots, d, np.uint64(used + 1))


@njit(forceinline=True)
def _take_tokens(s: Any, token: Any, count: Any) -> Any:
    """Return the first of a write's tokens: *token*, or a fresh one where that is 0."""
    if token != np.uint64(0):
        return np.uint64(token)
    number = s.counters[C_WRITTEN, 0]
    s.counters[C_WRITTEN, 0] = number + count
    return _FIRST_WRITTEN | np.uint64(number)


@njit(forceinline=True)
def _log_units(s: Any, start: Any, stop: Any) -> None:
    for k in range(start, stop):
        if s.scratch[k, X_STATE] == _UNIT:
            note_zeroed(s, s.scratch[k, X_VOLUME], s.scratch[k, X_BLOCK], s.scratch[k, X_COUNT])


@njit(forceinline=True)
def _log_data(s: Any, start: Any, stop: Any, disk: Any, block: Any, token: Any) -> None:
    for k in range(start, stop):
        kind = s.scratch[k, X_STATE]
        at = s.scratch[k, X_BLOCK]
        n = s.scratch[k, X_COUNT]
        guest = s.scratch[k, X_GUEST]
        if kind == _DATA:
            mine = token + np.uint64(guest - block)
            note_write(s, s.scratch[k, X_VOLUME], at, n, mine, disk, guest)


@njit(forceinline=True)
def _track(s: Any, disk: Any, block: Any, count: Any) -> None:
    """Mark the grains of a write as changed, if somebody asked for that."""
    tracked = s.disks[disk, D_TRACKED]
    if tracked != 0:
        shift = s.disks[disk, D_TRACK_SHIFT]
        for grain in range(block >> shift, ((block + count - 1) >> shift) + 1):
            mark(s, tracked, grain)


@njit(forceinline=True)
def admit_write(s: Any, disk: Any, block: Any, count: Any, token: Any, head: Any, tail: Any) -> Any:
    """Admit a guest write; see the module's docstring for what it returns.

    Token 0 takes fresh ones from the site's counter; any other is the first of *count* in a row.
    """
    steps, volume, at = plain_write(s, disk, block, count, head + tail)
    if steps >= 0:
        _track(s, disk, block, count)
        token = _take_tokens(s, token, count)
        note_write(s, volume, at, count, token, disk, block)
        return steps
    level = s.disks[disk, D_HEAD]
    middle = pieces_of_write(s, 0, level, block, count, 0)
    if middle < 0:
        return middle
    pieces = middle
    parent = s.levels[level, L_PARENT]
    mirrored = s.levels[level, L_MIRROR] != 0
    if mirrored:
        pieces = pieces_of_write(s, middle, parent, block, count, 0)
        if pieces < 0:
            return pieces
    n = _protected(s, pieces)
    if n < 0:
        return n
    steps = emit(s, n, block, count, head, tail)
    _commit_level(s, level, block, count, 0)
    if mirrored:
        _commit_level(s, parent, block, count, 0)
    _track(s, disk, block, count)
    token = _take_tokens(s, token, count)
    _log_units(s, 0, pieces)
    _log_data(s, 0, middle, disk, block, token)
    _log_data(s, middle, pieces, 0, block, token)
    return steps


@njit(forceinline=True)
def admit_read(s: Any, level: Any, block: Any, count: Any, head: Any, tail: Any) -> Any:
    """Admit a read through *level*; ranges that are zeros by definition cost no I/O."""
    steps = plain_read(s, level, block, count, head + tail)
    if steps >= 0:
        return steps
    n = 0
    for d in range(block, block + count):
        file, b = owner(s, level, d)
        volume, at = location(s, file, b)
        if volume != 0 and not is_stale(s, file, b):
            n = add_block(s, n, _READ, volume, at, d)
    return emit(s, n, block, count, head, tail)


@njit(forceinline=True)
def admit_move(s: Any, level: Any, block: Any, count: Any) -> Any:
    """Admit the move of a delta disk's grains within [block, block + count) onto its parent."""
    source = s.files[s.levels[level, L_FILE], F_SLOTS]
    parent = s.levels[level, L_PARENT]
    n = pieces_of_write(s, 0, parent, block, count, source)
    if n < 0:
        return n
    n = pieces_of_source(s, n, level, block, count)
    total = _protected(s, n)
    if total < 0:
        return total
    steps = emit(s, total, block, count, 0, 0)
    _commit_level(s, parent, block, count, source)
    _log_units(s, 0, n)
    _log_moves(s, n)
    return steps


@njit(forceinline=True)
def _log_moves(s: Any, n: Any) -> None:
    """Log what moved where: walk the source and the target pieces side by side."""
    a = 0
    b = 0
    used_a = 0
    used_b = 0
    while True:
        while a < n and s.scratch[a, X_STATE] != _SOURCE:
            a += 1
        while b < n and s.scratch[b, X_STATE] != _DATA:
            b += 1
        if n in (a, b):
            return
        k = min(s.scratch[a, X_COUNT] - used_a, s.scratch[b, X_COUNT] - used_b)
        at = s.scratch[a, X_BLOCK] + used_a
        to = s.scratch[b, X_BLOCK] + used_b
        note_move(s, s.scratch[b, X_VOLUME], to, k, s.scratch[a, X_VOLUME], at)
        used_a += k
        used_b += k
        if used_a == s.scratch[a, X_COUNT]:
            a += 1
            used_a = 0
        if used_b == s.scratch[b, X_COUNT]:
            b += 1
            used_b = 0


@njit(forceinline=True)
def admit_volume_write(s: Any, volume: Any, block: Any, count: Any, token: Any) -> Any:
    """Admit a write that addresses a volume: from the wire, or a mounted file system."""
    pieces = add_piece(s, 0, _DATA, volume, block, count, block)
    n = _protected(s, pieces)
    if n < 0:
        return n
    steps = emit(s, n, block, count, 0, 0)
    _log_data(s, 0, pieces, 0, block, _take_tokens(s, token, count))
    return steps


@njit(forceinline=True)
def admit_volume_zero(s: Any, volume: Any, block: Any, count: Any) -> Any:
    """Admit the zeroing of a range of a volume."""
    pieces = add_piece(s, 0, _UNIT, volume, block, count, block)
    n = _protected(s, pieces)
    if n < 0:
        return n
    steps = emit(s, n, block, count, 0, 0)
    _log_units(s, 0, pieces)
    return steps


@njit(forceinline=True)
def admit_volume_copy(s: Any, volume: Any, block: Any, count: Any, source: Any, start: Any) -> Any:
    """Admit the copying of what a volume *source* holds from *start* on to another volume."""
    pieces = add_piece(s, 0, _DATA, volume, block, count, block)
    pieces = add_piece(s, pieces, _SOURCE, source, start, count, block)
    n = _protected(s, pieces)
    if n < 0:
        return n
    steps = emit(s, n, block, count, 0, 0)
    note_move(s, volume, block, count, source, start)
    return steps


@njit(forceinline=True)
def admit_metadata_write(s: Any, volume: Any, count: Any, tail: Any) -> Any:
    """Admit a write of metadata where a volume starts, less *tail* bytes: it has no content."""
    pieces = add_piece(s, 0, _TABLE, volume, 0, count, 0)
    n = _protected(s, pieces)
    if n < 0:
        return n
    return emit(s, n, 0, count, 0, tail)


@njit(forceinline=True)
def admit_volume_read(s: Any, volume: Any, block: Any, count: Any) -> Any:
    """Admit a read that addresses a volume."""
    n = add_piece(s, 0, _READ, volume, block, count, block)
    return emit(s, n, block, count, 0, 0)


# Doors for Python. -------------------------------------------------------------------------------


@njit("int64(int64, int64, int64, int64, uint64, int64, int64)", cache=True)
def write(t: Any, disk: Any, block: Any, count: Any, token: Any, head: Any, tail: Any) -> Any:
    """See ``admit_write``."""
    return admit_write(view(t), disk, block, count, token, head, tail)


@njit("int64(int64, int64, int64, int64, int64, int64)", cache=True)
def read(t: Any, level: Any, block: Any, count: Any, head: Any, tail: Any) -> Any:
    """See ``admit_read``."""
    return admit_read(view(t), level, block, count, head, tail)


@njit("int64(int64, int64, int64, int64)", cache=True)
def move(t: Any, level: Any, block: Any, count: Any) -> Any:
    """See ``admit_move``."""
    return admit_move(view(t), level, block, count)


@njit("int64(int64, int64, int64, int64, uint64)", cache=True)
def volume_write(t: Any, volume: Any, block: Any, count: Any, token: Any) -> Any:
    """See ``admit_volume_write``."""
    return admit_volume_write(view(t), volume, block, count, token)


@njit("int64(int64, int64, int64, int64)", cache=True)
def volume_zero(t: Any, volume: Any, block: Any, count: Any) -> Any:
    """See ``admit_volume_zero``."""
    return admit_volume_zero(view(t), volume, block, count)


@njit("int64(int64, int64, int64, int64, int64, int64)", cache=True)
def volume_copy(t: Any, volume: Any, block: Any, count: Any, source: Any, start: Any) -> Any:
    """See ``admit_volume_copy``."""
    return admit_volume_copy(view(t), volume, block, count, source, start)


@njit("int64(int64, int64, int64, int64)", cache=True)
def metadata_write(t: Any, volume: Any, count: Any, tail: Any) -> Any:
    """See ``admit_metadata_write``."""
    return admit_metadata_write(view(t), volume, count, tail)


@njit("int64(int64, int64, int64, int64)", cache=True)
def volume_read(t: Any, volume: Any, block: Any, count: Any) -> Any:
    """See ``admit_volume_read``."""
    return admit_volume_read(view(t), volume, block, count)


@njit("int64(int64, int64, int64[:, ::1], int64)", cache=True)
def bulk_write(t: Any, disk: Any, writes: Any, start: Any) -> Any:
    """Admit guest writes (block, count) from row *start* on: a fast-forward through one door.

    Returns the row at which something was lacking or the log is nearly full, or the number of
    rows when all were admitted; the need is in ``C_NEED``.
    """
    s = view(t)
    for i in range(start, writes.shape[0]):
        if s.counters[C_LOG, 0] > s.log.shape[0] - _LOG_ROOM:
            s.counters[C_NEED, 0] = 0
            return i
        need = admit_write(s, disk, writes[i, 0], writes[i, 1], np.uint64(0), 0, 0)
        if need < 0:
            s.counters[C_NEED, 0] = need
            return i
    s.counters[C_NEED, 0] = 0
    return writes.shape[0]
