"""Loads as arrays: what ``Load.ios`` yields, number for number, a batch at a time.

A load of the library is drawn by the same expressions on whole arrays; any other is read row by
row.  A load does not know when it is read, so reading ahead changes nothing.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.iops.load import _BATCH, ClosedLoad, Mix, PoissonLoad, _edges, units
from stuntdouble.trace import stream_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from stuntdouble.iops.engine import Load
    from stuntdouble.iops.load import Pattern

    Batch = tuple[NDArray[np.float64], NDArray[np.int64]]

_FIRST_ROWS: Final = 256  # of a load that is read row by row: most guests of a test need no more
_ROWS_MAX: Final = 1 << 16  # later batches: the cost of entering Python is gone by then
_DRAWS: Final = ("disk", "part", "write", "offset", "sequential")


def batches(load: Load) -> Iterator[Batch]:
    """Yield (seconds, rows of index of the disk, write, offset, length) of a load."""
    if type(load) is PoissonLoad:
        return _poisson(load)
    if type(load) is ClosedLoad:
        return _closed(load)
    return _any(load)


def _any(load: Load) -> Iterator[Batch]:
    ios, size = iter(load.ios()), _FIRST_ROWS
    while some := list(islice(ios, size)):
        yield (
            np.array([row[0] for row in some], np.float64),
            np.array([row[1:] for row in some], np.int64),
        )
        size = min(2 * size, _ROWS_MAX)


def _poisson(load: PoissonLoad) -> Iterator[Batch]:
    if load.iops <= 0:
        return
    key = stream_key(load.seed, "gaps", load.vm)
    work = last = 0.0
    for start, rows in _rows(load.seed, load.vm, load.patterns):
        gaps = -np.log1p(-units(key, start, len(rows))) / load.iops
        gaps[0] += work
        moments = np.add.accumulate(gaps)
        work = float(moments[-1])
        if load.curve is not None:
            moments = load.curve.when(moments)
        moments = np.maximum(np.maximum.accumulate(moments), last)
        last = float(moments[-1])
        yield moments, rows


def _closed(load: ClosedLoad) -> Iterator[Batch]:
    key = stream_key(load.seed, "thinks", load.vm)
    for start, rows in _rows(load.seed, load.vm, load.patterns):
        yield -np.log1p(-units(key, start, len(rows))) * load.think_seconds, rows


def _rows(
    seed: int, vm: str, patterns: tuple[Pattern | Mix, ...]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the number of the first draw and rows, endlessly."""
    keys = [stream_key(seed, name, vm) for name in _DRAWS]
    mixes = [p if isinstance(p, Mix) else Mix(((1.0, p),)) for p in patterns]
    edges = [_edges(mix) for mix in mixes]
    first = np.cumsum([0] + [len(mix.parts) for mix in mixes])
    parts = [part for mix in mixes for _, part in mix.parts]
    sizes = np.array([[p.working_set_bytes // p.io_bytes, p.io_bytes] for p in parts], np.int64)
    shares = np.array([[p.read_fraction, p.skew, p.sequential_fraction] for p in parts], np.float64)
    last = np.zeros(len(parts), np.int64)
    start = 0
    while True:
        draws = np.stack([units(key, start, _BATCH) for key in keys])
        disks = (draws[0] * len(mixes)).astype(np.int64)
        part = first[disks]
        for disk in range(len(mixes)):
            if edges[disk]:
                here = disks == disk
                part[here] += np.searchsorted(edges[disk], draws[1, here], side="right")
        rows = np.empty((_BATCH, 4), np.int64)
        rows[:, 0] = disks
        fill(draws, part, sizes, shares, last, rows)
        yield start, rows
        start += _BATCH


@njit(
    "void(float64[:, ::1], int64[::1], int64[:, ::1], float64[:, ::1], int64[::1], int64[:, ::1])",
    cache=True,
)
def fill(draws: Any, part: Any, sizes: Any, shares: Any, last: Any, out: Any) -> None:
    """Turn draws into rows (disk, write, offset, length), as ``load`` does it one by one.

    Args:
        draws: rows of uniform draws: disk, part, write, offset, sequential.
        part: which pattern each I/O is of.
        sizes: slots and bytes of an I/O, for each pattern.
        shares: share of reads, skew and share of sequential I/Os, for each pattern.
        last: the slot before, for each pattern; changed.
        out: the rows; the disk is there already.
    """
    for i in range(out.shape[0]):
        p = part[i]
        slots = sizes[p, 0]
        if draws[4, i] < shares[p, 2]:
            slot = (last[p] + 1) % slots
        else:
            slot = np.int64(draws[3, i] ** shares[p, 1] * slots)
        last[p] = slot
        out[i, 1] = 1 if draws[2, i] >= shares[p, 0] else 0
        out[i, 2] = slot * sizes[p, 1]
        out[i, 3] = sizes[p, 1]
