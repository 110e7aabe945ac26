"""Which blocks are dirty, and how many destages to come write each: a hash table of counts.

Open addressing: a key lies in the first free row from its home on, and taking one out moves those
behind it up, so that a search may stop at the first row that is free.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.tables import DIRTY_COUNT, DIRTY_KEY, DIRTY_ROWS, N_DIRTY_BLOCKS

_MASK = DIRTY_ROWS - 1  # rows are a power of two
_BLOCK_BITS = 44  # of a key; a pool is above
_BLOCKS = (1 << _BLOCK_BITS) - 1  # the block in a key
_NEAR_BITS = 3  # neighbours lie side by side, eight at a time
_SCATTER = 2654435761  # 2^32 / the golden ratio, Knuth's choice
_FEW = (1 << 31) - 1  # a product of this and the above is below 2^63
_MOST = DIRTY_ROWS // 2  # a search then looks at two or three rows


@njit(forceinline=True)
def _key(pool: Any, block: Any) -> Any:
    return (pool + 1) << _BLOCK_BITS | block


@njit(forceinline=True)
def _home(key: Any) -> Any:
    block = key & _BLOCKS
    far = ((block >> _NEAR_BITS) + (key >> _BLOCK_BITS) * 7919) & _FEW
    near = block & ((1 << _NEAR_BITS) - 1)
    return ((far * _SCATTER >> 20) << _NEAR_BITS | near) & _MASK


@njit(forceinline=True)
def _find(k: Any, key: Any) -> Any:
    """Return the row of a key, or the free row where it would lie."""
    row = _home(key)
    while k.dirty[row, DIRTY_KEY] not in (0, key):
        row = (row + 1) & _MASK
    return row


@njit(forceinline=True)
def is_dirty(k: Any, pool: Any, block: Any) -> Any:
    """Say whether a destage to come writes a block."""
    return k.dirty[_find(k, _key(pool, block)), DIRTY_KEY] != 0


@njit(forceinline=True)
def is_full_of_dirt(k: Any) -> Any:
    """Say whether there are more dirty blocks than are quickly found."""
    return k.ints[N_DIRTY_BLOCKS, 0] > _MOST


@njit(forceinline=True)
def add_dirt(k: Any, pool: Any, block: Any) -> None:
    """Count one more destage that writes a block."""
    key = _key(pool, block)
    row = _find(k, key)
    if k.dirty[row, DIRTY_KEY] == 0:
        k.dirty[row, DIRTY_KEY] = key
        k.dirty[row, DIRTY_COUNT] = 0
        k.ints[N_DIRTY_BLOCKS, 0] += 1
    k.dirty[row, DIRTY_COUNT] += 1


@njit(forceinline=True)
def take_dirt(k: Any, pool: Any, block: Any) -> None:
    """Count one destage less that writes a block."""
    row = _find(k, _key(pool, block))
    k.dirty[row, DIRTY_COUNT] -= 1
    if k.dirty[row, DIRTY_COUNT] != 0:
        return
    k.ints[N_DIRTY_BLOCKS, 0] -= 1
    hole = row
    while True:
        row = (row + 1) & _MASK
        key = k.dirty[row, DIRTY_KEY]
        if key == 0:
            break
        if (row - _home(key)) & _MASK >= (row - hole) & _MASK:
            k.dirty[hole, DIRTY_KEY] = key
            k.dirty[hole, DIRTY_COUNT] = k.dirty[row, DIRTY_COUNT]
            hole = row
    k.dirty[hole, DIRTY_KEY] = 0
