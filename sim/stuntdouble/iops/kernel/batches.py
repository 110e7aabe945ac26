"""Loads as arrays: what ``Load.ios`` yields, number for number, a batch at a time.

A load of the library says so itself; any other is read row by row.  A load does not know when it is
read, so reading ahead changes nothing.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.iops.load import ClosedLoad, PoissonLoad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.iops.draw import Batch
    from stuntdouble.iops.engine import Load

_FIRST_ROWS: Final = 256  # of a load that is read row by row: most guests of a test need no more
_ROWS_MAX: Final = 1 << 16  # later batches: the cost of entering Python is gone by then


def batches(load: Load) -> Iterator[Batch]:
    """Yield (seconds, rows of index of the disk, write, offset, length) of a load."""
    if isinstance(load, PoissonLoad | ClosedLoad):
        return load.batches()
    return _any(load)


def _any(load: Load) -> Iterator[Batch]:
    ios, size = iter(load.ios()), _FIRST_ROWS
    while some := list(islice(ios, size)):
        yield (
            np.array([row[0] for row in some], np.float64),
            np.array([row[1:] for row in some], np.int64),
        )
        size = min(2 * size, _ROWS_MAX)
