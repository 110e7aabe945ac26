"""Latency in buckets whose width grows with the latency, so that the relative error is bounded.

    a float64    [sign][exponent 11 bits][mantissa 52 bits]
    its bucket         [exponent        ][first 7 bits]       128 buckets to an octave

Reading the bucket off the bits takes one shift, costs no logarithm, and gives the same bucket on
every machine.  It is the linearly interpolated mapping of DDSketch (Masson, Rim, Lee: VLDB 2019),
which is also how an HdrHistogram divides its range.

A bucket [l, u) stands for 2lu / (l + u), where the relative error is least: at most ``ALPHA``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.compiled import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS: Final = 7  # of the mantissa: the relative error is that of 1 in 2**(BITS + 1) + 1
ALPHA: Final = 1 / (2 ** (BITS + 1) + 1)
"""The most by which a percentile may be off, relatively: 0.39 %."""

SHIFT: Final = 52 - BITS  # what is left of the mantissa goes
LOWEST_SECONDS: Final = 2.0**-24  # 60 ns: whatever is quicker counts as 0
OCTAVES: Final = 44  # up to 2**20 s, twelve days: what is longer lies in the last bucket
BASE: Final = int(np.float64(LOWEST_SECONDS).view(np.int64) >> SHIFT) - 1  # of which is bucket 0
BUCKETS: Final = OCTAVES << BITS  # bucket 0 is for what is quicker than the lowest
PAGE_BITS: Final = 6  # half an octave
PAGE: Final = 1 << PAGE_BITS  # buckets: there are counters for pages that are in use
PAGES: Final = BUCKETS // PAGE  # of one histogram


def values() -> NDArray[np.float64]:
    """Return what each bucket stands for, in seconds."""
    edges = ((np.arange(BUCKETS + 1) + BASE) << SHIFT).view(np.float64)
    low, high = edges[:-1], edges[1:]
    made: NDArray[np.float64] = 2 * low * high / (low + high)
    made[0] = 0.0
    return made


@dataclass(frozen=True, slots=True, eq=False)
class Felt:
    """What some guests felt over some time: how many I/Os, and how long they took.

    Args:
        ios: how many there were.
        seconds: their latencies, summed.
        longest: the longest of them, exactly; 0 where there was none.
        values: latencies in ascending order, in seconds, and
        counts: how often each of them was seen.
    """

    ios: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def mean(self) -> float:
        """The mean latency in seconds; 0 without I/O."""
        return self.seconds / self.ios if self.ios else 0.0

    def percentile(self, percent: float) -> float:
        """Return the latency that *percent* of the I/Os did not exceed; 0 without I/O."""
        if not self.ios:
            return 0.0
        rank = max(math.ceil(self.ios * percent / 100), 1)
        found = self.values[np.searchsorted(np.cumsum(self.counts), rank)]
        return float(min(found, self.longest))


@njit("int32(int32[::1], int64[::1])", cache=True)
def new_page(free: Any, state: Any) -> Any:
    """Return an empty page; there must be one.

    *state* is (pages ever used, pages in *free*); page 0 belongs to nobody.
    """
    if state[1] > 0:
        state[1] -= 1
        return free[state[1]]
    state[0] += 1
    return np.int32(state[0] - 1)


@njit("void(int32[::1], int32[::1], uint32[:, ::1], int32[::1], int64[::1])", cache=True)
def pour(heads: Any, into: Any, pages: Any, free: Any, state: Any) -> None:
    """Add a histogram to another one; the first is empty afterwards."""
    for number in np.flatnonzero(heads):
        page, other = heads[number], into[number]
        heads[number] = 0
        if other == 0:
            into[number] = page
            continue
        pages[other] += pages[page]
        pages[page] = 0
        free[state[1]] = page
        state[1] += 1


@njit("void(int32[::1], uint32[:, ::1], int64[::1])", cache=True)
def tally(heads: Any, pages: Any, counts: Any) -> None:
    """Add a histogram to *counts*, of every bucket."""
    for number in np.flatnonzero(heads):
        counts[number * PAGE : (number + 1) * PAGE] += pages[heads[number]]
