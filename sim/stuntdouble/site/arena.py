"""The tables of one site, and the maps in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stuntdouble.errors import LimitReached
from stuntdouble.site import bits, words
from stuntdouble.site.plan import PLAN
from stuntdouble.site.pool import ROOT_WORDS, reserve
from stuntdouble.site.tables import C_LEAVES, C_NODES, M_ROOTS, SHAPES, Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAVES_KEPT = 1 << 22  # free before a call: no call, nor the log that it leaves, takes more
_NODES_KEPT = 1 << 16


class Arena:
    """Tables, and numbers handed out one after the other: rows are never reused in a run."""

    def __init__(self) -> None:
        self.tables = Tables(**{name: reserve(*shape) for name, shape in SHAPES.items()})
        self.addresses = np.array(
            [[table.ctypes.data, table.shape[0]] for table in self.tables], np.int64
        )
        self._rows = dict.fromkeys(SHAPES, 1)
        self._roots = 0
        self.tables.counters[[C_LEAVES, C_NODES]] = 1
        self.tables.plan[:, 3] = -1
        self.tables.plan[: len(PLAN)] = [[int(x) for x in stage] for stage in PLAN]
        # a plan row is (place, role, write, group): the order of Stage

    def new_row(self, table: str) -> int:
        """Return the number of a fresh row of *table*."""
        row = self._rows[table]
        if row >= SHAPES[table][0]:
            raise LimitReached(f"rows of the site's table of {table}", SHAPES[table][0])
        self._rows[table] = row + 1
        return row

    def new_map(self, length: int) -> int:
        """Return the number of a fresh map of *length* words, all 0."""
        roots = -(-length // ROOT_WORDS)
        if self._roots + roots > SHAPES["roots"][0]:
            raise LimitReached("words of all maps of the site", SHAPES["roots"][0] * ROOT_WORDS)
        number = self.new_row("maps")
        self.tables.maps[number] = self._roots, roots
        self._roots += roots
        return number

    def new_bitmap(self, length: int) -> int:
        """Return the number of a fresh bitmap of *length* bits, all clear."""
        return self.new_map(-(-length // 64))

    def fork(self, source: int) -> int:
        """Return a map equal to *source*; each copies before it writes.  0 stays 0."""
        if source == 0:
            return 0
        number = self.new_row("maps")
        roots = int(self.tables.maps[source, M_ROOTS])
        self.tables.maps[number] = self._roots, roots
        self._roots += roots
        words.fork(self.addresses, source, number)
        return number

    def clear(self, number: int) -> None:
        """Make every word of a map 0."""
        first, roots = self.tables.maps[number]
        self.tables.roots[first : first + roots] = 0

    def words(self, number: int, start: int, count: int) -> NDArray[np.uint64]:
        """Return words of a map."""
        out = np.empty(count, np.uint64)
        words.read_words(self.addresses, number, start, out)
        return out

    def ones(self, number: int) -> int:
        """Return how many bits of a bitmap are set."""
        return int(bits.count_ones(self.addresses, number))

    def union(self, numbers: list[int], length: int) -> NDArray[np.uint64]:
        """Return the words of the union of bitmaps of *length* bits."""
        out = np.zeros(-(-length // 64), np.uint64)
        for number in numbers:
            bits.or_into(self.addresses, number, out)
        return out

    def merge(self, source: int, target: int) -> None:
        """OR a bitmap into another."""
        self.check()
        bits.merge(self.addresses, source, target)

    def check(self) -> None:
        """Make sure that the next call finds room."""
        counters: Any = self.tables.counters
        if counters[C_LEAVES, 0] > SHAPES["leaves"][0] - _LEAVES_KEPT:
            raise LimitReached("leaves of all maps of the site", SHAPES["leaves"][0])
        if counters[C_NODES, 0] > SHAPES["nodes"][0] - _NODES_KEPT:
            raise LimitReached("nodes of all maps of the site", SHAPES["nodes"][0])

    def column(self, table: str, row: int, column: int) -> int:
        """Return a cell as a Python int."""
        return int(getattr(self.tables, table)[row, column])
