"""Free file-system blocks, and who was there before.

A file system that has been in use for a while has its free space in pieces: other files lie
between them, and what is allocated next is not what lies next.

    new     [................................]      one run, used from its start
    aged    [....f..f.......f.f.....f........]      runs between foreign files,
             2222 11 3333333   44444 55555555        used in a scattered order
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.trace import Stream

Place = tuple[int, int]
"""Ordinal of the LUN within its datastore, and file-system block."""

Run = tuple[int, int, int]
"""Ordinal of the LUN, first block, number of blocks."""

FOREIGN_SHARE_MAX: Final = 1 / 16
"""Share of blocks that foreign files take at fragmentation 1: free runs of 15 blocks on average.
No source: fragmentation of a datastore is a parameter."""


class Allocator:
    """Runs of free blocks, in the order in which they will be used."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = deque(runs)
        self.free = sum(count for _, _, count in self._runs)

    def take(self, count: int) -> list[Place]:
        """Return *count* places, from the front; there must be that many."""
        assert count <= self.free, "whoever takes has asked whether there is enough"
        self.free -= count
        taken: list[Place] = []
        while count:
            ordinal, start, length = self._runs.popleft()
            used = min(count, length)
            taken += [(ordinal, block) for block in range(start, start + used)]
            if used < length:
                self._runs.appendleft((ordinal, start + used, length - used))
            count -= used
        return taken

    def give(self, places: Iterable[Place]) -> None:
        """Take places back; they are the next to be used."""
        runs = runs_of(places)
        self._runs.extendleft(reversed(runs))
        self.free += sum(count for _, _, count in runs)


def runs_of(places: Iterable[Place]) -> list[Run]:
    """Join places to runs, in order of their addresses."""
    runs: list[Run] = []
    for ordinal, block in sorted(places):
        if runs and runs[-1][0] == ordinal and runs[-1][1] + runs[-1][2] == block:
            runs[-1] = (ordinal, runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((ordinal, block, 1))
    return runs


def gaps(taken: Iterable[Place], sizes: list[int]) -> list[Run]:
    """Return the runs of LUNs of *sizes* blocks that *taken* leaves free."""
    free: list[Run] = []
    at = [0] * len(sizes)
    for ordinal, start, count in runs_of(taken):
        if start > at[ordinal]:
            free.append((ordinal, at[ordinal], start - at[ordinal]))
        at[ordinal] = start + count
    free += [(i, at[i], size - at[i]) for i, size in enumerate(sizes) if size > at[i]]
    return sorted(free)


def foreign_places(sizes: list[int], fragmentation: float, stream: Stream) -> list[Place]:
    """Draw where foreign files lie.

    Args:
        sizes: blocks of each LUN.
        fragmentation: 0 (none) to 1 (a sixteenth of the blocks, each on its own).
        stream: what to draw from.

    Raises:
        Misuse: fragmentation is not within 0 and 1.
    """
    if not 0.0 <= fragmentation <= 1.0:
        raise Misuse("fragmentation", f"{fragmentation} is not within 0 and 1")
    places: list[Place] = []
    share = fragmentation * FOREIGN_SHARE_MAX
    for ordinal, size in enumerate(sizes):
        block = 0
        # gaps are exponential with mean 1 / share, which a tiny share would put past any number
        while (gap := stream.exponential(1.0)) < share * (size - block):
            block += 1 + int(gap / share)
            if block < size:
                places.append((ordinal, block))
    return places


def scattered(runs: list[Run], fragmentation: float, stream: Stream) -> list[Run]:
    """Return *runs* in order of use: each is displaced by up to *fragmentation* of them all."""
    reach = fragmentation * len(runs)
    keyed = sorted((i + reach * stream.uniform(), run) for i, run in enumerate(runs))
    return [run for _, run in keyed]
