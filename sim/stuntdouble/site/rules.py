"""Admission: the one door through which every I/O enters the site.

An I/O is admitted whole or not at all.  Admission resolves its addresses, updates the maps, takes
its tokens, fixes its plan and appends to the content log; it costs no emulated time.  Each rule is
stated once, here, for guest writes, reads, moves (consolidation) and I/O that addresses a volume.

    guest block ─level─▶ file block ─place─▶ volume block ─physical─▶ pool block

When something is lacking, nothing has changed and the answer is negative: the file needs a
file-system block (``NEED_PLACE``), the delta disk needs to grow (``NEED_ROOM``), or the array has
no room to copy a chunk (``NEED_RESERVE``).  ``C_NEED_FILE`` and ``C_NEED_AT`` say where.

A delta disk's grain is one content block, so that a write never has to fetch the rest of a grain:
true of both delta formats (512 B units, 4 KiB grains) at a content block of 4 KiB.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from stuntdouble.content import FIRST_WRITTEN, ZERO
from stuntdouble.site.bits import mark, test
from stuntdouble.site.log import MOVE, WRITE, ZEROED, note, token_at
from stuntdouble.site.plan import Place, Role
from stuntdouble.site.tables import (
    C_BLOCK_BYTES,
    C_LOG,
    C_NEED,
    C_NEED_AT,
    C_NEED_FILE,
    C_STEPS,
    C_WRITTEN,
    D_HEAD,
    D_TRACK_SHIFT,
    D_TRACKED,
    F_PLACE,
    F_ROOM,
    F_SLOTS,
    F_STORE,
    F_USED,
    F_ZEROED,
    I_CHUNKS,
    I_COPIED,
    I_KIND,
    I_NEWER,
    I_VOLUME,
    L_FILE,
    L_MIRROR,
    L_PARENT,
    LOCATION_BITS,
    P_FREE,
    P_RESERVE,
    P_RESERVE_BLOCKS,
    S_FS_SHIFT,
    S_VOLUMES,
    S_ZERO_SHIFT,
    T_BLOCK,
    T_BYTES,
    T_GROUP,
    T_POOL,
    T_ROLE,
    T_WRITE,
    V_CHUNK_SHIFT,
    V_MOVED,
    V_NEWEST,
    V_ORIGIN,
    V_OWN,
    V_PHYSICAL,
    V_POOL,
    X_BLOCK,
    X_COUNT,
    X_GUEST,
    X_STATE,
    X_VOLUME,
    view,
)
from stuntdouble.site.words import get, put

NEED_PLACE: Final = -1
NEED_ROOM: Final = -2
NEED_RESERVE: Final = -3

COPY_ON_WRITE: Final = 1
REDIRECT_ON_WRITE: Final = 2

IO_BLOCKS_MAX: Final = 1024
"""Blocks of one I/O at most: 4 MiB of 4 KiB blocks, so that its pieces fit the scratch table."""

_READ = int(Place.READ)
_SOURCE = int(Place.SOURCE)
_COPIED_CHUNK = int(Place.COPIED_CHUNK)
_PARTIAL_CHUNK = int(Place.PARTIAL_CHUNK)
_TABLE = int(Place.TABLE)
_UNIT = int(Place.UNIT)
_DATA = int(Place.DATA)
_LOCATION_MASK = (1 << LOCATION_BITS) - 1
_ABSENT = np.uint64(0)
_ZERO = np.uint64(ZERO)
_COPY_WRITE = int(Role.COPY_WRITE)
_OWN_DATA = int(Role.DATA)


# Where things lie. -----------------------------------------------------------------------------


@njit(forceinline=True)
def location(s: Any, file: Any, block: Any) -> Any:
    """Return (volume, block) of a file's *block*; volume 0 where the file has a hole."""
    store = s.files[file, F_STORE]
    shift = s.stores[store, S_FS_SHIFT]
    word = get(s, s.files[file, F_PLACE], block >> shift)
    if word == _ABSENT:
        return np.int64(0), np.int64(0)
    place = np.int64(word) - 1
    volume = s.stores[store, S_VOLUMES + (place >> LOCATION_BITS)]
    return volume, (place & _LOCATION_MASK) + (block & ((1 << shift) - 1))


@njit(forceinline=True)
def is_zeroed(s: Any, file: Any, block: Any) -> Any:
    """Say whether a file's *block* may be read raw, or still holds somebody's stale bytes."""
    zeroed = s.files[file, F_ZEROED]
    if zeroed == 0:
        return True
    return test(s, zeroed, block >> s.stores[s.files[file, F_STORE], S_ZERO_SHIFT])


@njit(forceinline=True)
def owner(s: Any, level: Any, block: Any) -> Any:
    """Return (file, block in it) that holds guest *block* as seen from *level*: the chain walk."""
    file = s.levels[level, L_FILE]
    while s.files[file, F_SLOTS] != 0:
        slot = get(s, s.files[file, F_SLOTS], block)
        if slot != _ABSENT:
            return file, np.int64(slot) - 1
        level = s.levels[level, L_PARENT]
        file = s.levels[level, L_FILE]
    return file, block


@njit(forceinline=True)
def _aside(s: Any, volume: Any, block: Any) -> Any:
    """Return the pool block in the reserve where *block*'s chunk is kept or redirected to."""
    pool = s.volumes[volume, V_POOL]
    there = s.volumes[volume, V_PHYSICAL] + block
    return s.pools[pool, P_RESERVE] + there % s.pools[pool, P_RESERVE_BLOCKS]


@njit(forceinline=True)
def physical(s: Any, volume: Any, block: Any) -> Any:
    """Return the pool block behind *block* of *volume*, following an image to its base."""
    chunk = block >> s.volumes[volume, V_CHUNK_SHIFT]
    image = s.volumes[volume, V_ORIGIN]
    if image != 0:
        if test(s, s.volumes[volume, V_OWN], chunk):
            return _aside(s, volume, block)
        base = s.images[image, I_VOLUME]
        while image != 0:
            if test(s, s.images[image, I_COPIED], chunk):
                if s.images[image, I_KIND] == COPY_ON_WRITE:
                    return _aside(s, base, block)
                return s.volumes[base, V_PHYSICAL] + block
            image = s.images[image, I_NEWER]
        volume = base
    moved = s.volumes[volume, V_MOVED]
    if moved != 0 and test(s, moved, chunk):
        return _aside(s, volume, block)
    return s.volumes[volume, V_PHYSICAL] + block


# Pieces of an I/O, gathered in the scratch table before anything changes. ------------------------


@njit(forceinline=True)
def _piece(s: Any, n: Any, kind: Any, volume: Any, block: Any, guest: Any) -> Any:
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
    return _part(s, n, kind, volume, block, 1, guest)


@njit(forceinline=True)
def _part(s: Any, n: Any, kind: Any, volume: Any, block: Any, count: Any, guest: Any) -> Any:
    s.scratch[n, X_STATE] = kind
    s.scratch[n, X_VOLUME] = volume
    s.scratch[n, X_BLOCK] = block
    s.scratch[n, X_COUNT] = count
    s.scratch[n, X_GUEST] = guest
    return n + 1


@njit(forceinline=True)
def _lacking(s: Any, need: Any, file: Any, at: Any) -> Any:
    s.counters[C_NEED_FILE, 0] = file
    s.counters[C_NEED_AT, 0] = at
    return need


@njit(forceinline=True)
def _pieces_of_sparse(s: Any, n: Any, file: Any, block: Any, count: Any, source: Any) -> Any:
    """Gather where a write to a delta disk goes; blocks that *source* lacks are left out."""
    slots = s.files[file, F_SLOTS]
    used = s.files[file, F_USED]
    first = n
    fresh = 0
    for d in range(block, block + count):
        if source != 0 and get(s, source, d) == _ABSENT:
            continue
        slot = get(s, slots, d)
        if slot == _ABSENT:
            at = used + fresh
            fresh += 1
            if at >= s.files[file, F_ROOM]:
                return _lacking(s, NEED_ROOM, file, at)
        else:
            at = np.int64(slot) - 1
        volume, b = location(s, file, at)
        n = _piece(s, n, _DATA, volume, b, d)
    if fresh != 0 and n > first:
        volume, b = location(s, file, 0)
        n = _part(s, n, _TABLE, volume, b, 1, 0)
    return n


@njit(forceinline=True)
def _pieces_of_flat(s: Any, n: Any, file: Any, block: Any, count: Any, source: Any) -> Any:
    """Gather where a write to a base disk goes, and which units it must zero first."""
    shift = s.stores[s.files[file, F_STORE], S_ZERO_SHIFT]
    unit = -1
    for d in range(block, block + count):
        if source != 0 and get(s, source, d) == _ABSENT:
            continue
        volume, b = location(s, file, d)
        if volume == 0:
            at = d >> s.stores[s.files[file, F_STORE], S_FS_SHIFT]
            return _lacking(s, NEED_PLACE, file, at)
        if d >> shift != unit:
            unit = d >> shift
            if not is_zeroed(s, file, d):
                start = unit << shift
                n = _part(s, n, _UNIT, volume, b - (d - start), 1 << shift, start)
        n = _piece(s, n, _DATA, volume, b, d)
    return n


@njit(forceinline=True)
def _pieces_of_write(s: Any, n: Any, level: Any, block: Any, count: Any, source: Any) -> Any:
    file = s.levels[level, L_FILE]
    if s.files[file, F_SLOTS] != 0:
        return _pieces_of_sparse(s, n, file, block, count, source)
    return _pieces_of_flat(s, n, file, block, count, source)


# Copy before write. ------------------------------------------------------------------------------


@njit(forceinline=True)
def _unmark(s: Any, m: Any, chunk: Any) -> None:
    put(s, m, chunk >> 6, get(s, m, chunk >> 6) & ~(np.uint64(1) << np.uint64(chunk & 63)))


@njit(forceinline=True)
def _kept_map(s: Any, volume: Any) -> Any:
    """Return the bitmap of chunks that need no copy any more; 0 where no chunk ever does."""
    image = s.volumes[volume, V_NEWEST]
    if image != 0:
        return s.images[image, I_COPIED]
    return s.volumes[volume, V_OWN] if s.volumes[volume, V_ORIGIN] != 0 else np.int64(0)


@njit(forceinline=True)
def _protect(s: Any, pieces: Any) -> Any:
    """Add the chunks that must be copied or merged first, and mark them as done.

    Returns the number of rows in the scratch table, or NEED_RESERVE with every mark undone.
    """
    n = pieces
    for k in range(pieces):
        kind = s.scratch[k, X_STATE]
        if kind == _SOURCE:
            continue
        volume = s.scratch[k, X_VOLUME]
        kept = _kept_map(s, volume)
        if kept == 0:
            continue
        block = s.scratch[k, X_BLOCK]
        stop = block + s.scratch[k, X_COUNT]
        shift = s.volumes[volume, V_CHUNK_SHIFT]
        for chunk in range(block >> shift, ((stop - 1) >> shift) + 1):
            if test(s, kept, chunk):
                continue
            pool = s.volumes[volume, V_POOL]
            if s.pools[pool, P_FREE] < 1 << shift:
                _unprotect(s, pieces, n)
                return _lacking(s, NEED_RESERVE, 0, volume)
            s.pools[pool, P_FREE] -= 1 << shift
            mark(s, kept, chunk)
            start = chunk << shift
            whole = block <= start and stop >= start + (1 << shift)
            what = _COPIED_CHUNK if _copies(s, volume) else _PARTIAL_CHUNK
            # a chunk that is overwritten as a whole and redirected needs no merge: an empty part
            size = 0 if whole and what == _PARTIAL_CHUNK else 1 << shift
            n = _part(s, n, what, volume, start, size, 0)
    return n


@njit(forceinline=True)
def _copies(s: Any, volume: Any) -> Any:
    image = s.volumes[volume, V_NEWEST]
    return image != 0 and s.images[image, I_KIND] == COPY_ON_WRITE


@njit(forceinline=True)
def _unprotect(s: Any, start: Any, stop: Any) -> None:
    for k in range(start, stop):
        volume = s.scratch[k, X_VOLUME]
        shift = s.volumes[volume, V_CHUNK_SHIFT]
        s.pools[s.volumes[volume, V_POOL], P_FREE] += 1 << shift
        _unmark(s, _kept_map(s, volume), s.scratch[k, X_BLOCK] >> shift)


@njit(forceinline=True)
def _commit_protection(s: Any, start: Any, stop: Any) -> None:
    """Count the chunks that were copied, and remember which ones now live elsewhere."""
    for k in range(start, stop):
        volume = s.scratch[k, X_VOLUME]
        image = s.volumes[volume, V_NEWEST]
        if image == 0:
            continue
        s.images[image, I_CHUNKS] += 1
        if s.images[image, I_KIND] == REDIRECT_ON_WRITE:
            chunk = s.scratch[k, X_BLOCK] >> s.volumes[volume, V_CHUNK_SHIFT]
            mark(s, s.volumes[volume, V_MOVED], chunk)


# The plan. ---------------------------------------------------------------------------------------


@njit(forceinline=True)
def _emit(s: Any, n: Any, block: Any, count: Any, head: Any, tail: Any) -> Any:
    """Write the steps of an I/O by PLAN.

    Its first *head* and last *tail* bytes were added by rounding to content blocks: they cost
    nothing.
    """
    size = s.counters[C_BLOCK_BYTES, 0]
    steps = 0
    for row in range(s.plan.shape[0]):
        if s.plan[row, 3] < 0:
            break
        for k in range(n):
            if s.scratch[k, X_STATE] != s.plan[row, 0] or s.scratch[k, X_COUNT] == 0:
                continue
            volume = s.scratch[k, X_VOLUME]
            block = s.scratch[k, X_BLOCK]
            aside = s.plan[row, 1] == _COPY_WRITE
            here = _aside(s, volume, block) if aside else physical(s, volume, block)
            length = s.scratch[k, X_COUNT] * size
            if s.plan[row, 1] == _OWN_DATA:
                guest = s.scratch[k, X_GUEST]
                length -= head if guest == block else 0
                length -= tail if guest + s.scratch[k, X_COUNT] == block + count else 0
            s.steps[steps, T_GROUP] = s.plan[row, 3]
            s.steps[steps, T_ROLE] = s.plan[row, 1]
            s.steps[steps, T_WRITE] = s.plan[row, 2]
            s.steps[steps, T_POOL] = s.volumes[volume, V_POOL]
            s.steps[steps, T_BLOCK] = here
            s.steps[steps, T_BYTES] = length
            steps += 1
    s.counters[C_STEPS, 0] = steps
    return steps


# Commit. -----------------------------------------------------------------------------------------


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
def _take_tokens(s: Any, count: Any) -> Any:
    number = s.counters[C_WRITTEN, 0]
    s.counters[C_WRITTEN, 0] = number + count
    return np.uint64(FIRST_WRITTEN) | np.uint64(number)


@njit(forceinline=True)
def _log_pieces(s: Any, start: Any, stop: Any, disk: Any, block: Any, token: Any) -> None:
    for k in range(start, stop):
        kind = s.scratch[k, X_STATE]
        at = s.scratch[k, X_BLOCK]
        n = s.scratch[k, X_COUNT]
        guest = s.scratch[k, X_GUEST]
        if kind == _UNIT:
            note(s, ZEROED, 0, guest, s.scratch[k, X_VOLUME], at, n, np.uint64(0), 0)
        elif kind == _DATA:
            mine = token + np.uint64(guest - block)
            note(s, WRITE, disk, guest, s.scratch[k, X_VOLUME], at, n, mine, 0)


@njit(forceinline=True)
def admit_write(
    s: Any, disk: Any, block: Any, count: Any, token: Any, head: Any, tail: Any
) -> Any:
    """Admit a guest write; see the module's docstring for what it returns.

    Token 0 takes fresh ones from the site's counter; any other is the first of *count* in a row.
    """
    level = s.disks[disk, D_HEAD]
    middle = _pieces_of_write(s, 0, level, block, count, 0)
    if middle < 0:
        return middle
    pieces = middle
    parent = s.levels[level, L_PARENT]
    mirrored = s.levels[level, L_MIRROR] != 0
    if mirrored:
        pieces = _pieces_of_write(s, middle, parent, block, count, 0)
        if pieces < 0:
            return pieces
    n = _protect(s, pieces)
    if n < 0:
        return n
    steps = _emit(s, n, block, count, head, tail)
    _commit_protection(s, pieces, n)
    _commit_level(s, level, block, count, 0)
    if mirrored:
        _commit_level(s, parent, block, count, 0)
    if token == np.uint64(0):
        token = _take_tokens(s, count)
    tracked = s.disks[disk, D_TRACKED]
    if tracked != 0:
        shift = s.disks[disk, D_TRACK_SHIFT]
        for grain in range(block >> shift, ((block + count - 1) >> shift) + 1):
            mark(s, tracked, grain)
    _log_pieces(s, 0, middle, disk, block, token)
    _log_pieces(s, middle, pieces, 0, block, token)
    return steps


@njit(forceinline=True)
def admit_read(s: Any, level: Any, block: Any, count: Any, head: Any, tail: Any) -> Any:
    """Admit a read through *level*; ranges that are zeros by definition cost no I/O."""
    n = 0
    for d in range(block, block + count):
        file, b = owner(s, level, d)
        if s.files[file, F_SLOTS] == 0 and not is_zeroed(s, file, b):
            continue
        volume, at = location(s, file, b)
        if volume != 0:
            n = _piece(s, n, _READ, volume, at, d)
    return _emit(s, n, block, count, head, tail)


@njit(forceinline=True)
def admit_move(s: Any, level: Any, block: Any, count: Any) -> Any:
    """Admit the move of a delta disk's grains within [block, block + count) onto its parent."""
    file = s.levels[level, L_FILE]
    source = s.files[file, F_SLOTS]
    parent = s.levels[level, L_PARENT]
    n = _pieces_of_write(s, 0, parent, block, count, source)
    if n < 0:
        return n
    for d in range(block, block + count):
        slot = get(s, source, d)
        if slot != _ABSENT:
            volume, at = location(s, file, np.int64(slot) - 1)
            n = _piece(s, n, _SOURCE, volume, at, d)
    total = _protect(s, n)
    if total < 0:
        return total
    steps = _emit(s, total, block, count, 0, 0)
    _commit_protection(s, n, total)
    _commit_level(s, parent, block, count, source)
    for k in range(n):
        if s.scratch[k, X_STATE] == _UNIT:
            volume = s.scratch[k, X_VOLUME]
            at = s.scratch[k, X_BLOCK]
            unit = s.scratch[k, X_COUNT]
            note(s, ZEROED, 0, s.scratch[k, X_GUEST], volume, at, unit, np.uint64(0), 0)
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
        if a == n or b == n:
            return
        k = min(s.scratch[a, X_COUNT] - used_a, s.scratch[b, X_COUNT] - used_b)
        origin = np.uint64(s.scratch[a, X_VOLUME])
        at = s.scratch[a, X_BLOCK] + used_a
        to = s.scratch[b, X_BLOCK] + used_b
        guest = s.scratch[b, X_GUEST] + used_b
        note(s, MOVE, 0, guest, s.scratch[b, X_VOLUME], to, k, origin, at)
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
    pieces = _part(s, 0, _DATA, volume, block, count, block)
    n = _protect(s, pieces)
    if n < 0:
        return n
    steps = _emit(s, n, block, count, 0, 0)
    _commit_protection(s, pieces, n)
    if token == np.uint64(0):
        token = _take_tokens(s, count)
    _log_pieces(s, 0, pieces, 0, block, token)
    return steps


# Doors for Python. -------------------------------------------------------------------------------


@njit("int64(int64[:, ::1], int64, int64, int64, uint64, int64, int64)", cache=True)
def write(
    t: Any, disk: Any, block: Any, count: Any, token: Any, head: Any, tail: Any
) -> Any:
    """See ``admit_write``."""
    return admit_write(view(t), disk, block, count, token, head, tail)


@njit("int64(int64[:, ::1], int64, int64, int64, int64, int64)", cache=True)
def read(t: Any, level: Any, block: Any, count: Any, head: Any, tail: Any) -> Any:
    """See ``admit_read``."""
    return admit_read(view(t), level, block, count, head, tail)


@njit("int64(int64[:, ::1], int64, int64, int64)", cache=True)
def move(t: Any, level: Any, block: Any, count: Any) -> Any:
    """See ``admit_move``."""
    return admit_move(view(t), level, block, count)


@njit("int64(int64[:, ::1], int64, int64, int64, uint64)", cache=True)
def volume_write(t: Any, volume: Any, block: Any, count: Any, token: Any) -> Any:
    """See ``admit_volume_write``."""
    return admit_volume_write(view(t), volume, block, count, token)


@njit("int64(int64[:, ::1], int64, int64, int64)", cache=True)
def volume_read(t: Any, volume: Any, block: Any, count: Any) -> Any:
    """Admit a read that addresses a volume; pieces break where their place in the pool jumps."""
    s = view(t)
    n = 0
    shift = s.volumes[volume, V_CHUNK_SHIFT]
    at = block
    while at < block + count:
        stop = min(block + count, ((at >> shift) + 1) << shift)
        n = _part(s, n, _READ, volume, at, stop - at, at)
        at = stop
    return _emit(s, n, block, count, 0, 0)


@njit("int64(int64[:, ::1], int64, int64[:, ::1], int64)", cache=True)
def bulk_write(t: Any, disk: Any, writes: Any, start: Any) -> Any:
    """Admit guest writes (block, count) from row *start* on: a fast-forward through one door.

    Returns the row at which something was lacking or the log is nearly full, or the number of
    rows when all were admitted; the need is in ``C_NEED``.
    """
    s = view(t)
    for i in range(start, writes.shape[0]):
        if s.counters[C_LOG, 0] > s.log.shape[0] - 4 * IO_BLOCKS_MAX:
            s.counters[C_NEED, 0] = 0
            return i
        need = admit_write(s, disk, writes[i, 0], writes[i, 1], np.uint64(0), 0, 0)
        if need < 0:
            s.counters[C_NEED, 0] = need
            return i
    s.counters[C_NEED, 0] = 0
    return writes.shape[0]


@njit("void(int64[:, ::1], int64, int64, int64[::1])", cache=True)
def locate(t: Any, level: Any, start: Any, out: Any) -> None:
    """Fill *out* with where each guest block from *start* on lies, as seen from *level*.

    A hole is 0; else volume << 41 | zeroed << 40 | block in the volume.
    """
    s = view(t)
    for i in range(out.shape[0]):
        file, b = owner(s, level, start + i)
        volume, at = location(s, file, b)
        zeroed = 1 if s.files[file, F_SLOTS] != 0 or is_zeroed(s, file, b) else 0
        out[i] = 0 if volume == 0 else volume << 41 | zeroed << 40 | at


@njit("void(int64[:, ::1], int64, int64, uint64[::1])", cache=True)
def read_chain(t: Any, level: Any, start: Any, out: Any) -> None:
    """Fill *out* with the tokens of guest blocks from *start* on, as seen from *level*."""
    s = view(t)
    for i in range(out.shape[0]):
        file, b = owner(s, level, start + i)
        volume, at = location(s, file, b)
        stale = s.files[file, F_SLOTS] == 0 and not is_zeroed(s, file, b)
        out[i] = _ZERO if volume == 0 or stale else token_at(s, volume, at)
