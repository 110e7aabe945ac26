"""Draws of loads, a batch at a time: gaps, thinks and what each I/O looks like.

Every draw is number *index* of a counter-based stream, so a batch may begin anywhere and have any
size.  The expressions stand here once: loads that are played row by row and loads that are played
from arrays get the same numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.trace import stream_key, unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stuntdouble.iops.load import Pattern

    Batch = tuple[NDArray[np.float64], NDArray[np.int64]]

_STREAMS: Final = ("disk", "part", "write", "offset", "sequential")
_DISK, _PART, _WRITE, _OFFSET, _SEQUENTIAL = range(5)  # rows of the keys
_SLOTS, _BYTES = range(2)  # columns of sizes
_READS, _SKEW, _FOLLOWS, _EDGE = range(4)  # columns of shares


@njit("void(uint64, int64, float64[::1])", cache=True)
def _draw_units(key: Any, start: Any, out: Any) -> None:
    for i in range(out.shape[0]):
        out[i] = unit(key, start + i)


def units(key: int, start: int, count: int) -> NDArray[np.float64]:
    """Return draws *start*, *start* + 1, … of the stream *key*: what ``trace.unit`` draws."""
    out = np.empty(count)
    _draw_units(np.uint64(key), start, out)
    return out


@njit("void(uint64, int64, float64, float64[::1])", cache=True)
def draw_exponential(key: Any, start: Any, mean: Any, out: Any) -> None:
    """Fill *out* with exponential draws *start*, *start* + 1, … of the stream *key*."""
    for i in range(out.shape[0]):
        out[i] = -math.log1p(-unit(key, start + i)) * mean


@njit("float64(uint64, int64, float64, float64, float64[::1])", cache=True)
def draw_arrivals(key: Any, start: Any, rate: Any, last: Any, out: Any) -> Any:
    """Fill *out* with the times of Poisson arrivals that follow *last*; return the last of them.

    The sum is taken arrival by arrival, so that it is the same in batches of any size.
    """
    for i in range(out.shape[0]):
        last += -math.log1p(-unit(key, start + i)) / rate
        out[i] = last
    return last


@njit(
    "void(uint64[::1], int64, int64[::1], int64[:, ::1], float64[:, ::1], int64[::1],"
    " int64[:, ::1])",
    cache=True,
)
def _draw_rows(
    keys: Any, start: Any, first: Any, sizes: Any, shares: Any, last: Any, out: Any
) -> None:
    """Fill *out* with rows of (disk, write, offset, length); see ``Rows``."""
    disks = first.shape[0] - 1
    for i in range(out.shape[0]):
        index = start + i
        disk = np.int64(unit(keys[_DISK], index) * disks) if disks > 1 else 0
        p = first[disk]
        if first[disk + 1] - p > 1:
            drawn = unit(keys[_PART], index)
            while p < first[disk + 1] - 1 and shares[p, _EDGE] <= drawn:
                p += 1
        if shares[p, _FOLLOWS] > 0.0 and unit(keys[_SEQUENTIAL], index) < shares[p, _FOLLOWS]:
            slot = (last[p] + 1) % sizes[p, _SLOTS]
        else:
            place = unit(keys[_OFFSET], index)
            if shares[p, _SKEW] != 1.0:
                place = place ** shares[p, _SKEW]
            slot = np.int64(place * sizes[p, _SLOTS])
        last[p] = slot
        out[i, 0] = disk
        out[i, 1] = 1 if unit(keys[_WRITE], index) >= shares[p, _READS] else 0
        out[i, 2] = slot * sizes[p, _BYTES]
        out[i, 3] = sizes[p, _BYTES]


class Rows:
    """The endless rows of a load's patterns.

    Args:
        seed: of the run.
        vm: whose load it is: streams are named after it.
        mixes: for each disk, its patterns and where in [0, 1) each gives way to the next.
    """

    def __init__(
        self, seed: int, vm: str, mixes: Sequence[Sequence[tuple[float, Pattern]]]
    ) -> None:
        parts = [part for mix in mixes for part in mix]
        self._keys = np.array([stream_key(seed, name, vm) for name in _STREAMS], np.uint64)
        self._first = np.cumsum([0] + [len(mix) for mix in mixes], dtype=np.int64)
        self._sizes = np.array(
            [[p.working_set_bytes // p.io_bytes, p.io_bytes] for _, p in parts], np.int64
        )
        self._shares = np.array(
            [[p.read_fraction, p.skew, p.sequential_fraction, edge] for edge, p in parts],
            np.float64,
        )
        self._last = np.zeros(len(parts), np.int64)
        self._start = 0

    def next(self, count: int) -> NDArray[np.int64]:
        """Return the next *count* rows of (disk, write, offset, length)."""
        out = np.empty((count, 4), np.int64)
        _draw_rows(self._keys, self._start, self._first, self._sizes, self._shares, self._last, out)
        self._start += count
        return out
