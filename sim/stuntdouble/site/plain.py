"""Plain I/O: what lies in one piece and owes nothing to anybody, which is most of a guest's I/O.

Its blocks follow each other in one file and, behind it, in the pool; it allocates nothing, zeroes
nothing, is followed by no mirror or replica, and no image lacks a chunk of it.  So it is one piece,
needs no table to be gathered in, and changes nothing but content.  What is not plain goes the long
way (``rules``), which says the same of plain I/O.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.site.bits import test
from stuntdouble.site.places import is_stale, is_zeroed, location, owner
from stuntdouble.site.plan import Place
from stuntdouble.site.protect import kept_map
from stuntdouble.site.steps import add_step, stretch
from stuntdouble.site.tables import (
    C_BLOCK_BYTES,
    C_STEPS,
    D_HEAD,
    F_SLOTS,
    F_STORE,
    F_ZEROED,
    L_FILE,
    L_MIRROR,
    S_FS_SHIFT,
    S_ZERO_SHIFT,
    V_CHUNK_SHIFT,
    V_POOL,
    V_REPLICA,
)
from stuntdouble.site.words import get

NOT_PLAIN: Final = -1
"""What stands for the number of steps where an I/O has to go the long way."""

_NOT_PLAIN = NOT_PLAIN
_READ = int(Place.READ)
_DATA = int(Place.DATA)
_ABSENT = np.uint64(0)


@njit(forceinline=True)
def _one_step(s: Any, place: Any, volume: Any, here: Any, length: Any) -> Any:
    """Write the steps of PLAN for one piece; return how many."""
    steps = 0
    for line in range(s.plan.shape[0]):
        if s.plan[line, 3] < 0:
            break
        if s.plan[line, 0] == place:
            steps = add_step(s, steps, line, s.volumes[volume, V_POOL], here, length)
    s.counters[C_STEPS, 0] = steps
    return steps


@njit(forceinline=True)
def _is_apart(s: Any, file: Any, at: Any, count: Any) -> Any:
    """Say whether blocks of a file lie in more than one block of its file system."""
    shift = s.stores[s.files[file, F_STORE], S_FS_SHIFT]
    return at >> shift != (at + count - 1) >> shift


@njit(forceinline=True)
def plain_read(s: Any, level: Any, block: Any, count: Any, rounded: Any) -> Any:
    """Admit a read if it is plain; return its steps, or NOT_PLAIN.

    Of its blocks *rounded* bytes were not asked for.
    """
    file, at = owner(s, level, block)
    for i in range(1, count):
        other, there = owner(s, level, block + i)
        if other != file or there != at + i:
            return _NOT_PLAIN
    if _is_apart(s, file, at, count):
        return _NOT_PLAIN
    volume, b = location(s, file, at)
    if volume == 0 or (s.files[file, F_ZEROED] != 0 and count > 1) or is_stale(s, file, at):
        return _NOT_PLAIN
    here, stop = stretch(s, volume, b, b + count)
    if stop != b + count:
        return _NOT_PLAIN
    return _one_step(s, _READ, volume, here, count * s.counters[C_BLOCK_BYTES, 0] - rounded)


@njit(forceinline=True)
def _place_of_write(s: Any, file: Any, block: Any, count: Any) -> Any:
    """Return where in a file a write goes that neither allocates nor zeroes; negative: it does."""
    slots = s.files[file, F_SLOTS]
    if slots != 0:
        slot = np.int64(get(s, slots, block))
        for i in range(1, count):
            if np.int64(get(s, slots, block + i)) != slot + i:
                return _NOT_PLAIN
        return slot - 1
    if s.files[file, F_ZEROED] != 0:
        shift = s.stores[s.files[file, F_STORE], S_ZERO_SHIFT]
        for unit in range(block >> shift, ((block + count - 1) >> shift) + 1):
            if not is_zeroed(s, file, unit << shift):
                return _NOT_PLAIN
    return block


@njit(forceinline=True)
def _is_owed(s: Any, volume: Any, block: Any, count: Any) -> Any:
    """Say whether an image or a replica is owed something before a write, or with it."""
    if s.volumes[volume, V_REPLICA] != 0:
        return True
    kept = kept_map(s, volume)
    if kept != 0:
        shift = s.volumes[volume, V_CHUNK_SHIFT]
        for chunk in range(block >> shift, ((block + count - 1) >> shift) + 1):
            if not test(s, kept, chunk):
                return True
    return False


@njit(forceinline=True)
def plain_write(s: Any, disk: Any, block: Any, count: Any, rounded: Any) -> Any:
    """Find the steps of a write if it is plain, and where it goes: steps, volume, block.

    The steps are NOT_PLAIN where it is not.  Of its blocks *rounded* bytes are not written.
    """
    level = s.disks[disk, D_HEAD]
    file = s.levels[level, L_FILE]
    if s.levels[level, L_MIRROR] != 0:
        return _NOT_PLAIN, 0, 0
    at = _place_of_write(s, file, block, count)
    if at < 0 or _is_apart(s, file, at, count):
        return _NOT_PLAIN, 0, 0
    volume, b = location(s, file, at)
    if volume == 0 or _is_owed(s, volume, b, count):
        return _NOT_PLAIN, 0, 0
    here, stop = stretch(s, volume, b, b + count)
    if stop != b + count:
        return _NOT_PLAIN, 0, 0
    length = count * s.counters[C_BLOCK_BYTES, 0] - rounded
    return _one_step(s, _DATA, volume, here, length), volume, b
