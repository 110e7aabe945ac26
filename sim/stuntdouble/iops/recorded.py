"""What every trace becomes, whatever its format: rows of I/O, in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from stuntdouble.extents import Runs
from stuntdouble.site import IO_BLOCKS_MAX
from stuntdouble.units import KIB

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)

BLOCK_BYTES: Final = 4 * KIB  # the content block of a site, unless its scenario says otherwise

IO_BYTES_MAX: Final = IO_BLOCKS_MAX * BLOCK_BYTES
"""4 MiB: the most that one I/O of the engine takes (``site.rules``).

Sites of smaller content blocks take less.
"""

# The last byte of an I/O must have an int64 offset.
LENGTH_BYTES_MAX: Final = 2**32 - 1  # vSCSI records have 32 bits for it
OFFSET_BYTES_MAX: Final = 2**63 - 2**32


@dataclass(frozen=True, slots=True)
class Summary:
    """Say in four figures what a trace holds.

    ``seconds`` is the time of the last I/O; ``footprint_bytes`` counts each byte that was read or
    written once, however often it was.
    """

    count: int
    seconds: float
    read_fraction: float
    footprint_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Hold the I/Os of one trace, one row each, in order of time.

    The arrays are read-only and of equal length.  ``seconds`` never decreases and counts from
    the earliest record of the file; ``skipped`` counts the records that were no reads or writes.
    """

    seconds: NDArray[np.float64]
    is_write: NDArray[np.bool_]
    offset_bytes: NDArray[np.int64]
    length_bytes: NDArray[np.int64]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.seconds)

    def summary(self) -> Summary:
        """Return the number of I/Os, their duration, the share of reads and the bytes touched."""
        return Summary(
            count=len(self),
            seconds=float(self.seconds[-1]),
            read_fraction=1.0 - float(self.is_write.mean()),
            footprint_bytes=Runs.from_arrays(self.offset_bytes, self.length_bytes).total,
        )


def frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return *array*, which can no longer be written to."""
    array.flags.writeable = False
    return array


def cut_up(recorded: Recorded) -> Recorded:
    """Return the same bytes in I/Os that the engine takes.

    An I/O that touches more than 1,024 blocks of 4 KiB is cut at the multiples of 4 MiB, as a
    guest's own driver would cut it; its pieces are issued at the same time, in order.
    """
    offset, length = recorded.offset_bytes, recorded.length_bytes
    long = offset % BLOCK_BYTES + length > IO_BYTES_MAX
    if not long.any():
        return recorded
    first = offset // IO_BYTES_MAX
    pieces = np.where(long, (offset + length - 1) // IO_BYTES_MAX - first + 1, 1)
    row = np.repeat(np.arange(len(recorded)), pieces)
    number = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    edge, cut = (first[row] + number) * IO_BYTES_MAX, long[row]
    start = np.where(cut, np.maximum(offset[row], edge), offset[row])
    stop = (offset + length)[row]
    stop = np.where(cut, np.minimum(stop, edge + IO_BYTES_MAX), stop)
    return Recorded(
        seconds=frozen(recorded.seconds[row]),
        is_write=frozen(recorded.is_write[row]),
        offset_bytes=frozen(start),
        length_bytes=frozen(stop - start),
        skipped=recorded.skipped,
    )
