"""The pool of blocks whose bytes came from outside (a restore, a write over the wire)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stuntdouble.content.token import FIRST_LITERAL

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LiteralPool:
    """Append-only rows of one content block each; a literal token is a row's number.

    Append-only, because a token may live in any number of snapshots: nobody knows when the last
    one is gone.
    """

    def __init__(self, block_bytes: int) -> None:
        self._words = block_bytes // 8
        self._rows = np.empty((0, self._words), np.uint64)
        self._used = 0

    @property
    def rows(self) -> NDArray[np.uint64]:
        """The pool, a row of 64-bit words per literal."""
        return self._rows[: self._used]

    def append(self, data: memoryview | bytes) -> int:
        """Store whole blocks; return the token of the first, the others count on from it."""
        blocks = np.frombuffer(data, np.uint64).reshape(-1, self._words)
        stop = self._used + len(blocks)
        if stop > len(self._rows):
            grown = np.empty((max(stop, 2 * len(self._rows), 64), self._words), np.uint64)
            grown[: self._used] = self.rows
            self._rows = grown
        first, self._used = self._used, stop
        self._rows[first:stop] = blocks
        return FIRST_LITERAL | first
