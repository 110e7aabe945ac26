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
_LINE_BYTES: Final = 64  # of a processor's caches
_PAGE_LINES: Final = 64  # lines of 4 KiB: a first-level cache has as many sets
_APART: Final = 7  # lines between two tables: odd, so that the first 64 all begin elsewhere


def reserve(
    rows: int, columns: int, dtype: DTypeLike, *, number: int = 0, random: bool = False
) -> NDArray[Any]:
    """Return a zeroed array of *rows* × *columns* whose pages exist only once touched.

    Tables of different *number* begin at different places of a page.  Where all begin with a page,
    their first rows, which are asked for most, share a few sets of a cache, and push each other out.

    Where access will be *random* the system is asked for large pages: more of them fit the
    processor's table of addresses, at the price of up to 2 MiB that are not needed.
    """
    size = rows * columns * np.dtype(dtype).itemsize
    start = number * _APART % _PAGE_LINES * _LINE_BYTES
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    memory = mmap.mmap(-1, max(start + size, mmap.PAGESIZE), flags=flags)
    if random and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    table: NDArray[Any] = np.frombuffer(memory, dtype, rows * columns, start)
    return table.reshape(rows, columns)
