"""The tables of one site, and the maps in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from stuntdouble.errors import LimitReached
from stuntdouble.site import bits, words
from stuntdouble.site.plan import PLAN
from stuntdouble.site.pool import ROOT_WORDS, reserve
from stuntdouble.site.tables import C_LEAVES, C_NODES, M_ROOT, M_ROOTS, SHAPES, Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAVES_KEPT = 1 << 22  # free before a call: no call, nor the log that it leaves, takes more
_NODES_KEPT = 1 << 16
_KEPT = {"leaves": _LEAVES_KEPT, "nodes": _NODES_KEPT}
_COUNTED = {"leaves": C_LEAVES, "nodes": C_NODES}


class Arena:
    """Tables, and the numbers of their rows, which are given out again once they are free."""

    def __init__(self) -> None:
        self.tables = Tables(
            **{
                name: reserve(*shape, number=number, random=name in _COUNTED)
                for number, (name, shape) in enumerate(SHAPES.items())
            }
        )
        self._addresses = np.array(
            [[table.ctypes.data, table.shape[0]] for table in self.tables], np.int64
        )
        self.addresses = int(self._addresses.ctypes.data)  # how compiled code finds the tables
        self.roots = 0
        self._rows = dict.fromkeys(SHAPES, 1)
        self._free: dict[str, list[int]] = {name: [] for name in SHAPES}
        self._handles: dict[str, dict[int, ref[object]]] = {name: {} for name in SHAPES}
        self._limits: dict[str, int] = {}
        self._rows_due = False
        self.tables.counters[[C_LEAVES, C_NODES]] = 1
        self.tables.plan[:, 3] = -1
        self.tables.plan[: len(PLAN)] = [[int(x) for x in stage] for stage in PLAN]
        # a plan row is (place, role, write, group): the order of Stage
        self.set_limits()

    def new_row(self, table: str) -> int:
        """Return the number of a row of *table* that is free; all of it is 0."""
        if self._free[table]:
            row = self._free[table].pop()
            getattr(self.tables, table)[row] = 0
            return row
        row = self._rows[table]
        if row >= SHAPES[table][0]:
            raise LimitReached(f"rows of the site's table of {table}", SHAPES[table][0])
        self._rows[table] = row + 1
        self._rows_due |= row >= self._limits[table]
        return row

    # Reuse: see stuntdouble.site.reuse. ----------------------------------------------------

    def hold(self, table: str, row: int, handle: object) -> None:
        """Keep a row, and what it names, for as long as *handle* is alive."""
        self._handles[table][row] = ref(handle)

    def held(self, table: str) -> set[int]:
        """Return the rows whose handles are alive."""
        return {row for row, handle in self._handles[table].items() if handle() is not None}

    def keep(self, table: str, rows: set[int]) -> None:
        """Let every row of *table* but these be given out again, lowest first."""
        self._free[table] = [row for row in range(self._rows[table] - 1, 0, -1) if row not in rows]
        handles = self._handles[table]
        self._handles[table] = {row: handles[row] for row in handles if row in rows}

    def used(self, table: str) -> int:
        """Return how many rows of *table* are in use, or were when they were last counted."""
        if table == "roots":
            return self.roots
        if table in _COUNTED:
            return int(self.tables.counters[_COUNTED[table], 0])
        return self._rows[table] - len(self._free[table])

    @property
    def due(self) -> bool:
        """Whether a table holds so much that it pays to look for what nobody can reach."""
        counters: Any = self.tables.counters
        return bool(
            self._rows_due
            or counters[C_LEAVES, 0] > self._limits["leaves"]
            or counters[C_NODES, 0] > self._limits["nodes"]
        )

    def set_limits(self) -> None:
        """Look again when twice as much is in use, or half of what is free has been taken."""
        for table, (rows, _, _) in SHAPES.items():
            used, capacity = self.used(table), rows - _KEPT.get(table, 0)
            least = capacity // (128 if table == "leaves" else 8)  # 240 MiB of leaves
            self._limits[table] = min(max(2 * used, least), (used + capacity) // 2)
        self._rows_due = False

    def new_map(self, length: int) -> int:
        """Return the number of a fresh map of *length* words, all 0."""
        roots = -(-length // ROOT_WORDS)
        first = self._new_roots(roots)
        number = self.new_row("maps")
        self.tables.maps[number] = first, roots
        self.tables.roots[first : first + roots] = 0
        return number

    def _new_roots(self, count: int) -> int:
        first = self.roots
        if first + count > SHAPES["roots"][0]:
            raise LimitReached("words of all maps of the site", SHAPES["roots"][0] * ROOT_WORDS)
        self.roots += count
        self._rows_due |= self.roots > self._limits["roots"]
        return first

    def new_bitmap(self, length: int) -> int:
        """Return the number of a fresh bitmap of *length* bits, all clear."""
        return self.new_map(-(-length // 64))

    def grow(self, number: int, length: int) -> None:
        """Let a map have *length* words at least; it keeps its number, and new words are 0."""
        first, held = map(int, self.tables.maps[number])
        wanted = -(-length // ROOT_WORDS)
        if wanted > held:
            to, roots = self._new_roots(wanted), self.tables.roots
            roots[to : to + held] = roots[first : first + held]
            roots[to + held : to + wanted] = 0
            self.tables.maps[number, [M_ROOT, M_ROOTS]] = to, wanted

    def grow_bitmap(self, number: int, length: int) -> None:
        """Let a bitmap have *length* bits at least; new bits are clear."""
        self.grow(number, -(-length // 64))

    def fork(self, source: int) -> int:
        """Return a map equal to *source*; each copies before it writes.  0 stays 0."""
        if source == 0:
            return 0
        number = self.new_row("maps")
        roots = int(self.tables.maps[source, M_ROOTS])
        self.tables.maps[number] = self._new_roots(roots), roots
        words.fork(self.addresses, source, number)
        return number

    def clear(self, number: int) -> None:
        """Make every word of a map 0."""
        first, roots = self.tables.maps[number]
        self.tables.roots[first : first + roots] = 0

    def words(self, number: int, start: int, count: int) -> NDArray[np.uint64]:
        """Return words of a map; beyond its end they are 0: what it was taken from has grown."""
        out = np.zeros(count, np.uint64)
        there = int(self.tables.maps[number, M_ROOTS]) * ROOT_WORDS - start
        words.read_words(self.addresses, number, start, out[: max(there, 0)])
        return out

    def put_word(self, number: int, index: int, word: int) -> None:
        """Set one word of a map."""
        words.put_word(self.addresses, number, index, word)

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
