"""Loads as arrays: what ``Load.ios`` yields, number for number, a batch at a time.

A load of the library says so itself; any other is read row by row.  A load does not know when it is
read, so reading ahead changes nothing.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import Misuse
from stuntdouble.iops.load import ClosedLoad, PoissonLoad, TraceLoad, checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.iops.draw import Batch
    from stuntdouble.iops.engine import Guest, Load

_FIRST_ROWS: Final = 256  # of a load that is read row by row: most guests of a test need no more
_ROWS_MAX: Final = 1 << 16  # later batches: the cost of entering Python is gone by then


def batches(load: Load, guest: Guest) -> Iterator[Batch]:
    """Yield (seconds, rows of index of the disk, write, offset, length) of a guest's load.

    Raises:
        Misuse: the next I/O makes no sense; those before it have been yielded.
    """
    if isinstance(load, PoissonLoad | ClosedLoad | TraceLoad):
        return load.batches()
    return _any(load, guest)


def _any(load: Load, guest: Guest) -> Iterator[Batch]:
    ios, size = checked(load, guest), _FIRST_ROWS
    refused: Misuse | None = None
    while refused is None:
        some = []
        try:
            for row in islice(ios, size):
                some.append(row)  # noqa: PERF402  (those before a wrong one are to be kept)
        except Misuse as error:
            refused = error
        if some:
            yield (
                np.array([row[0] for row in some], np.float64),
                np.array([row[1:] for row in some], np.int64),
            )
        elif refused is None:
            return
        size = min(2 * size, _ROWS_MAX)
    raise refused
