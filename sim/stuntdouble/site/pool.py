"""The arena: where every map of the site keeps its words.

A map is a radix tree of 64-bit words, copy-on-write:

    roots   one 32-bit word per 16,384 words of a map ─┐
    nodes   256 leaves each  ◀─────────────────────────┘ ─┐
    leaves  64 words of 64 bits each  ◀───────────────────┘

An index of 0 means "nothing here: reads as 0".  The top bit of an index says that what it points
to is shared with another map and must be copied before it is written.  Forking a map copies its
roots and sets that bit on both sides: about 10 µs per TiB of 4 KiB blocks.

The arena is reserved as address space and becomes memory as it is touched, so no table
ever moves and compiled code may keep the addresses.  What lies in the tables slides down when
``reuse`` closes the gaps that maps nobody can reach have left.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

LEAF_WORDS: Final = 64
NODE_LEAVES: Final = 256
ROOT_WORDS: Final = LEAF_WORDS * NODE_LEAVES

SHARED: Final = np.uint32(1 << 31)
INDEX: Final = np.uint32((1 << 31) - 1)

_MAP_NORESERVE: Final = 0x4000  # Linux: address space without a claim on memory


def reserve(rows: int, columns: int, dtype: DTypeLike, *, random: bool = False) -> NDArray[Any]:
    """Return a zeroed array of *rows* × *columns* whose pages exist only once touched.

    Where access will be *random* the system is asked for large pages: more of them fit the
    processor's table of addresses, at the price of up to 2 MiB that are not needed.
    """
    item = np.dtype(dtype).itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    memory = mmap.mmap(-1, max(rows * columns * item, mmap.PAGESIZE), flags=flags)
    if random and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype=dtype, count=rows * columns).reshape(rows, columns)
