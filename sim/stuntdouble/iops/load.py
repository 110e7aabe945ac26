"""Where guest I/O comes from: Poisson arrivals, closed loops, recorded traces.

Draws are counter-based and keyed by (seed, VM, purpose), so they depend neither on the order in
which guests run nor on the size of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import Unsupported
from stuntdouble.iops.checks import (
    OUTSTANDING_MAX,
    check_bytes,
    check_number,
    check_outstanding,
    check_positive,
    check_rate_of_arrivals,
    check_row,
)
from stuntdouble.iops.draw import Rows, draw_arrivals, draw_exponential
from stuntdouble.iops.recorded import BLOCK_BYTES, IO_BYTES_MAX
from stuntdouble.trace import stream_key
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from stuntdouble.iops.checks import Row
    from stuntdouble.iops.curve import RateCurve
    from stuntdouble.iops.draw import Batch
    from stuntdouble.iops.engine import Guest, Load
    from stuntdouble.iops.recorded import Recorded

_ROWS: Final = 1 << 16  # of a recording at a time: they are there
_BATCH: Final = 4096  # draws at a time: enough that entering compiled code costs nothing
_FIRST: Final = 64  # draws to begin with: most of a thousand VMs may not need more


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the I/Os of a load look like.

    Args:
        read_fraction: share of reads.
        io_bytes: bytes of each I/O; offsets are multiples of it.
        working_set_bytes: the range of the disk, from its start, that is touched.
        skew: 1 is uniform; an offset is drawn as uⁿ of the working set, so that a skew of 3 sends
            half of the I/O to the first eighth.
        sequential_fraction: share of I/Os that follow on from the one before.
    """

    read_fraction: float
    io_bytes: int
    working_set_bytes: int
    skew: float = 1.0
    sequential_fraction: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.io_bytes <= self.working_set_bytes:
            raise ValueError(f"I/Os of {self.io_bytes} do not fit {self.working_set_bytes} bytes")
        check_bytes("the working set", self.working_set_bytes)
        check_number("the share of reads", self.read_fraction, most=1.0)
        check_number("the share of sequential I/Os", self.sequential_fraction, most=1.0)
        check_positive("the skew", self.skew)


@dataclass(frozen=True, slots=True)
class Mix:
    """Several patterns on one disk: say 70 % random 8 KiB and 30 % sequential 64 KiB.

    Args:
        parts: (weight, pattern); an I/O is of each with a chance in proportion to its weight.  A
            sequential I/O follows on from the one before *of its part*.
    """

    parts: tuple[tuple[float, Pattern], ...]

    def __post_init__(self) -> None:
        weights = [weight for weight, _ in self.parts]
        if not weights or not all(0 < weight < float("inf") for weight in weights):
            raise ValueError(f"a mix of weights {weights}: each must be above 0, and one is needed")


@dataclass(frozen=True, slots=True)
class PoissonLoad:
    """Arrivals at a mean rate that do not wait for one another.

    With a ``curve`` the rate is ``iops`` times what the curve says: the arrivals of the constant
    rate are moved in time, so that there is neither a step nor a rejected draw in between.
    """

    seed: int
    vm: str
    iops: float
    patterns: tuple[Pattern | Mix, ...]  # one for each disk; arrivals are spread evenly
    outstanding: int = 0
    curve: RateCurve | None = None

    def __post_init__(self) -> None:
        check_rate_of_arrivals(self.iops)
        _need_patterns(self.patterns)

    def ios(self) -> Iterator[Row]:
        """Yield (seconds, index of the disk, write, offset, length)."""
        return _row_by_row(self.batches())

    def batches(self) -> Iterator[Batch]:
        """Yield the same as arrays: seconds, and rows of (disk, write, offset, length)."""
        if self.iops <= 0:
            return
        key = np.uint64(stream_key(self.seed, "gaps", self.vm))
        rows = Rows(self.seed, self.vm, _mixes(self.patterns))
        work = last = 0.0
        for start, size in _stretches():
            moments = np.empty(size)
            work = draw_arrivals(key, start, self.iops, work, moments)
            if self.curve is not None:  # rounding at the end of a period is not to go back
                moments = np.maximum(np.maximum.accumulate(self.curve.when(moments)), last)
                last = float(moments[-1])
            yield moments, rows.next(size)


@dataclass(frozen=True, slots=True)
class ClosedLoad:
    """A guest that keeps *outstanding* I/Os under way and thinks between two of them."""

    seed: int
    vm: str
    outstanding: int
    think_seconds: float  # mean; exponential
    patterns: tuple[Pattern | Mix, ...]

    def __post_init__(self) -> None:
        if self.outstanding < 1:
            raise ValueError(f"a closed load of {self.outstanding} I/Os never begins")
        if self.outstanding > OUTSTANDING_MAX:
            most = f"{OUTSTANDING_MAX} is the most"
            raise ValueError(f"a closed load of {self.outstanding} I/Os: {most}")
        check_number("the think time of a closed load", self.think_seconds)
        _need_patterns(self.patterns)

    def ios(self) -> Iterator[Row]:
        """Yield (seconds to think, index of the disk, write, offset, length)."""
        return _row_by_row(self.batches())

    def batches(self) -> Iterator[Batch]:
        """Yield the same as arrays: seconds, and rows of (disk, write, offset, length)."""
        key = np.uint64(stream_key(self.seed, "thinks", self.vm))
        rows = Rows(self.seed, self.vm, _mixes(self.patterns))
        for start, size in _stretches():
            thinks = np.empty(size)
            draw_exponential(key, start, self.think_seconds, thinks)
            yield thinks, rows.next(size)


@dataclass(frozen=True, slots=True)
class TraceLoad:
    """Recorded I/O, at its recorded times and addresses, on the guest's first disk.

    Addresses beyond the disk wrap around, because a trace may come from a larger one.  ``speed``
    2 plays it twice as fast; ``repeat`` starts over a second after the end.
    """

    recorded: Recorded
    disk_bytes: int
    speed: float = 1.0
    repeat: bool = True
    outstanding: int = 0

    def __post_init__(self) -> None:
        check_bytes("the disk of a trace", self.disk_bytes, least=SECTOR_BYTES)
        check_positive("the speed of a trace", self.speed)
        r = self.recorded
        back = np.flatnonzero(~(np.diff(r.seconds, prepend=0.0) >= 0.0))
        if len(back):
            k = int(back[0])
            raise ValueError(f"a trace whose clock goes back, to {r.seconds[k]} s in row {k}")
        check_number("the end of a trace", float(r.seconds[-1]) if len(r) else 0.0)
        check_number("the end of a trace at its speed", self._lap if len(r) else 0.0)
        odd = np.flatnonzero(~_addressable(r.offset_bytes, r.length_bytes))
        if len(odd):
            k = int(odd[0])
            what = f"{r.length_bytes[k]} bytes at {r.offset_bytes[k]}"
            raise ValueError(f"a trace with an I/O of {what} in row {k}")

    def ios(self) -> Iterator[Row]:
        """Yield (seconds, index of the disk, write, offset, length)."""
        return _row_by_row(self.batches())

    def batches(self) -> Iterator[Batch]:
        """Yield the same as arrays: seconds, and rows of (disk, write, offset, length)."""
        r = self.recorded
        if not len(r):
            return
        length = np.minimum(r.length_bytes, self.disk_bytes)
        offset = r.offset_bytes % np.maximum(self.disk_bytes - length + 1, 1)
        phase = offset % BLOCK_BYTES
        # Where it wrapped, an I/O may have come to touch a block more than the engine takes.
        too_long = (offset != r.offset_bytes) & (phase + length > IO_BYTES_MAX)
        offset -= np.where(too_long, phase, offset % SECTOR_BYTES)
        seconds = r.seconds / self.speed
        rows = np.stack((np.zeros_like(offset), r.is_write, offset, length), axis=1)
        start = 0.0
        while True:
            for first in range(0, len(r), _ROWS):
                yield start + seconds[first : first + _ROWS], rows[first : first + _ROWS]
            if not self.repeat:
                return
            start += self._lap

    @property
    def _lap(self) -> float:
        """The seconds from one start to the next: a second's pause, of the recording's time."""
        return float(self.recorded.seconds[-1]) / self.speed + 1.0 / self.speed


def check_load(guest: Guest) -> None:
    """Refuse to begin a guest's load a second time, or one that would leave its disks.

    What a load of another kind issues is looked at row by row, as it is read.

    Raises:
        Unsupported: the guest's load has begun.
        Misuse: a pattern or a trace for a disk that is not there, or past its end, or more I/Os at
            a time than there can be.
    """
    if guest.started:
        raise Unsupported(f"starting the load of {guest.name} twice", "add another guest")
    load = guest.load
    if load is not None:
        check_outstanding(guest, load.outstanding)
    if isinstance(load, PoissonLoad | ClosedLoad):
        for disk, parts in enumerate(_mixes(load.patterns)):
            for _, p in parts:
                last = p.working_set_bytes // p.io_bytes - 1
                check_row(guest, (0.0, disk, False, last * p.io_bytes, p.io_bytes), 0.0)
    elif isinstance(load, TraceLoad):
        check_row(guest, (0.0, 0, False, 0, load.disk_bytes), 0.0)


def checked(load: Load, guest: Guest) -> Iterator[Row]:
    """Yield the I/Os of a guest's load, none of which makes no sense.

    Raises:
        Misuse: one that does is next.
    """
    before = 0.0
    for row in load.ios():
        check_row(guest, row, before)
        if not load.outstanding:  # what a closed load tells are pauses, not a clock
            before = row[0]
        yield row


def _stretches() -> Iterator[tuple[int, int]]:
    """Yield where each batch of draws begins and how many there are: more and more."""
    start, size = 0, min(_FIRST, _BATCH)
    while True:
        yield start, size
        start += size
        size = min(2 * size, _BATCH)


def _need_patterns(patterns: tuple[Pattern | Mix, ...]) -> None:
    if not patterns:
        raise ValueError("a load without a pattern: give one for each disk of its VM")


def _addressable(offset: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which rows are at least a byte at an address, and end below 2^63."""
    return (offset >= 0) & (length > 0) & (offset <= np.iinfo(np.int64).max - length)


def _row_by_row(batches: Iterator[Batch]) -> Iterator[Row]:
    for seconds, rows in batches:
        for second, (disk, write, offset, length) in zip(
            seconds.tolist(), rows.tolist(), strict=True
        ):
            yield second, disk, bool(write), offset, length


def _mixes(patterns: tuple[Pattern | Mix, ...]) -> list[list[tuple[float, Pattern]]]:
    """Return the parts of each disk, each with where in [0, 1) it gives way to the next."""
    mixes = [p if isinstance(p, Mix) else Mix(((1.0, p),)) for p in patterns]
    return [list(zip([*_edges(mix), 1.0], (p for _, p in mix.parts), strict=True)) for mix in mixes]


def _edges(mix: Mix) -> list[float]:
    """Return where in [0, 1) one part ends and the next begins."""
    sums = list(accumulate(weight for weight, _ in mix.parts))
    return [each / sums[-1] for each in sums[:-1]]
