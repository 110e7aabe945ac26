"""Where things lie: the one way from a guest's block to a block of a pool.

    guest block ─level─▶ file block ─place─▶ volume block ─physical─▶ pool block

The last arrow depends on array snapshots.  A chunk that an image was given a copy of, or that an
opened image wrote for itself, lies *aside*, in the pool's snapshot reserve behind the volumes.  A
chunk that was redirected lies *nearby*, in spare room between the others: close to home, but no
longer beside its neighbours.  What was split off lies where its replica lies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.content import ZERO
from stuntdouble.site.bits import test
from stuntdouble.site.log import token_at
from stuntdouble.site.plan import REDIRECT_ON_WRITE, SPLIT_REPLICA
from stuntdouble.site.tables import (
    D_HEAD,
    D_TRACK_SHIFT,
    D_TRACKED,
    F_PLACE,
    F_SLOTS,
    F_STORE,
    F_ZEROED,
    I_AREA,
    I_COPIED,
    I_KIND,
    I_NEWER,
    I_VOLUME,
    L_FILE,
    L_PARENT,
    LOCATION_BITS,
    P_RESERVE,
    P_RESERVE_BLOCKS,
    S_FS_SHIFT,
    S_VOLUMES,
    S_ZERO_SHIFT,
    V_BLOCKS,
    V_CHUNK_SHIFT,
    V_MOVED,
    V_ORIGIN,
    V_OWN,
    V_PHYSICAL,
    V_POOL,
    view,
)
from stuntdouble.site.words import approach, approach_node, get

_LOCATION_BITS = LOCATION_BITS
_LOCATION_MASK = (1 << LOCATION_BITS) - 1
_REDIRECT_ON_WRITE = REDIRECT_ON_WRITE
_SPLIT_REPLICA = SPLIT_REPLICA
_BIT_BITS = 6  # bits of a word
_NEAR_BITS = 6  # a neighbourhood of 64 chunks: no source, but near is what matters
_ABSENT = np.uint64(0)
_ZERO = np.uint64(ZERO)


@njit(forceinline=True)
def location(s: Any, file: Any, block: Any) -> Any:
    """Return (volume, block) of a file's *block*; volume 0 where the file has a hole."""
    store = s.files[file, F_STORE]
    shift = s.stores[store, S_FS_SHIFT]
    word = get(s, s.files[file, F_PLACE], block >> shift)
    if word == _ABSENT:
        return np.int64(0), np.int64(0)
    place = np.int64(word) - 1
    volume = s.stores[store, S_VOLUMES + (place >> _LOCATION_BITS)]
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
def is_stale(s: Any, file: Any, block: Any) -> Any:
    """Say whether a file's *block* reads as zeros although something else lies there."""
    return s.files[file, F_SLOTS] == 0 and not is_zeroed(s, file, block)


@njit(forceinline=True)
def aside(s: Any, volume: Any, block: Any, area: Any) -> Any:
    """Return the pool block in the reserve where *block*'s chunk is kept or redirected to.

    The reserve is not allocated chunk by chunk: only its fill is counted, and a chunk's address in
    it follows from its address outside.  Images that each get a copy have areas of their own, each
    a chunk further on than whole volumes, so that the copies of a chunk do not meet on one disk.
    """
    pool = s.volumes[volume, V_POOL]
    apart = s.volumes[volume, V_BLOCKS] + (np.int64(1) << s.volumes[volume, V_CHUNK_SHIFT])
    there = s.volumes[volume, V_PHYSICAL] + block + area * apart
    return s.pools[pool, P_RESERVE] + there % s.pools[pool, P_RESERVE_BLOCKS]


@njit(forceinline=True)
def nearby(s: Any, volume: Any, block: Any) -> Any:
    """Return the pool block of a redirected chunk: its neighbourhood of 64 chunks, in another order.

    The order reverses the bits of the chunk's number there, so that no two neighbours stay
    together.
    """
    shift = s.volumes[volume, V_CHUNK_SHIFT]
    chunk = block >> shift
    place = chunk >> _NEAR_BITS
    for bit in range(_NEAR_BITS):
        place = place << 1 | (chunk >> bit) & 1
    return s.volumes[volume, V_PHYSICAL] + (place << shift) + (block & ((1 << shift) - 1))


@njit(forceinline=True)
def physical(s: Any, volume: Any, block: Any) -> Any:
    """Return the pool block behind *block* of *volume*, following images to their bases."""
    chunk = block >> s.volumes[volume, V_CHUNK_SHIFT]
    image = s.volumes[volume, V_ORIGIN]
    while image != 0:
        if test(s, s.volumes[volume, V_OWN], chunk):
            return aside(s, volume, block, 0)
        if s.images[image, I_KIND] == _SPLIT_REPLICA:
            return s.volumes[volume, V_PHYSICAL] + block
        base = s.images[image, I_VOLUME]
        while image != 0:
            if test(s, s.images[image, I_COPIED], chunk):
                if s.images[image, I_KIND] == _REDIRECT_ON_WRITE:
                    return s.volumes[base, V_PHYSICAL] + block
                return aside(s, base, block, s.images[image, I_AREA])
            image = s.images[image, I_NEWER]
        volume = base
        image = s.volumes[volume, V_ORIGIN]  # a layer's: go on below it
    if test(s, s.volumes[volume, V_MOVED], chunk):
        return nearby(s, volume, block)
    return s.volumes[volume, V_PHYSICAL] + block


@njit(forceinline=True)
def _asked_first(s: Any, disk: Any, block: Any) -> Any:
    """Return two maps, each with a word of it: where a disk has *block*, and whether it is tracked.

    Which kind of disk comes next cannot be guessed, so nothing of it is branched on.
    """
    file = s.levels[s.disks[disk, D_HEAD], L_FILE]
    slots = s.files[file, F_SLOTS]
    flat = int(slots == 0)
    where = slots + flat * s.files[file, F_PLACE]
    word = block >> flat * s.stores[s.files[file, F_STORE], S_FS_SHIFT]
    return where, word, s.disks[disk, D_TRACKED], block >> s.disks[disk, D_TRACK_SHIFT] >> _BIT_BITS


@njit(forceinline=True)
def approach_words(s: Any, disk: Any, block: Any) -> None:
    """Let the words come near that an I/O of a disk asks for first, were it a write."""
    where, word, tracked, bits = _asked_first(s, disk, block)
    approach(s, where, word)
    approach(s, tracked, bits)


@njit(forceinline=True)
def approach_way(s: Any, disk: Any, block: Any) -> None:
    """Let what leads to those words come near: they are asked for later still."""
    where, word, tracked, bits = _asked_first(s, disk, block)
    approach_node(s, where, word)
    approach_node(s, tracked, bits)


# Doors for Python. -------------------------------------------------------------------------------


@njit("void(int64, int64, int64, int64[::1])", cache=True)
def locate(t: Any, level: Any, start: Any, out: Any) -> None:
    """Fill *out* with where each guest block from *start* on lies, as seen from *level*.

    A hole is 0; else volume << 41 | may be read raw << 40 | block in the volume.
    """
    s = view(t)
    for i in range(out.shape[0]):
        file, b = owner(s, level, start + i)
        volume, at = location(s, file, b)
        raw = 0 if is_stale(s, file, b) else 1
        word = volume << (_LOCATION_BITS + 1) | raw << _LOCATION_BITS | at
        out[i] = 0 if volume == 0 else word


@njit("void(int64, int64, int64, uint64[::1])", cache=True)
def read_chain(t: Any, level: Any, start: Any, out: Any) -> None:
    """Fill *out* with the tokens of guest blocks from *start* on, as seen from *level*."""
    s = view(t)
    for i in range(out.shape[0]):
        file, b = owner(s, level, start + i)
        volume, at = location(s, file, b)
        zero = volume == 0 or is_stale(s, file, b)
        out[i] = _ZERO if zero else token_at(s, volume, at)
