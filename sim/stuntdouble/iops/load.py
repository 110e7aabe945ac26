"""Where guest I/O comes from: Poisson arrivals, closed loops, recorded traces.

Draws are counter-based and keyed by (seed, VM, purpose), so they depend neither on the order in
which guests run nor on the size of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.trace import stream_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from stuntdouble.iops.traces import Recorded

_BATCH: Final = 4096  # draws at a time: enough that NumPy's call costs nothing

# splitmix64, as stuntdouble.trace.unit draws it, for a batch at a time.
_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def units(key: int, start: int, count: int) -> NDArray[np.float64]:
    """Return numbers *start* … of the counter-based stream *key*: what ``trace.unit`` draws."""
    with np.errstate(over="ignore"):
        word = np.uint64(key) + np.arange(start + 1, start + count + 1, dtype=np.uint64) * _GAMMA
        word = (word ^ (word >> np.uint64(30))) * _MIX_1
        word = (word ^ (word >> np.uint64(27))) * _MIX_2
        word ^= word >> np.uint64(31)
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


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


@dataclass(frozen=True, slots=True)
class PoissonLoad:
    """Arrivals at a mean rate that do not wait for one another."""

    seed: int
    vm: str
    iops: float
    patterns: tuple[Pattern, ...]  # one for each disk; arrivals are spread evenly
    outstanding: int = 0

    def ios(self) -> Iterator[tuple[float, int, bool, int, int]]:
        """Yield (seconds, index of the disk, write, offset, length)."""
        if self.iops <= 0:
            return
        key = stream_key(self.seed, "gaps", self.vm)
        now = 0.0
        for start, ios in enumerate(_batches(self.seed, self.vm, self.patterns)):
            gaps = -np.log1p(-units(key, start * _BATCH, _BATCH)) / self.iops
            for gap, (disk, write, offset, length) in zip(gaps.tolist(), ios, strict=True):
                now += gap
                yield now, disk, write, offset, length


@dataclass(frozen=True, slots=True)
class ClosedLoad:
    """A guest that keeps *outstanding* I/Os under way and thinks between two of them."""

    seed: int
    vm: str
    outstanding: int
    think_seconds: float  # mean; exponential
    patterns: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        if self.outstanding < 1:
            raise ValueError(f"a closed load of {self.outstanding} I/Os never begins")

    def ios(self) -> Iterator[tuple[float, int, bool, int, int]]:
        """Yield (seconds to think, index of the disk, write, offset, length)."""
        key = stream_key(self.seed, "thinks", self.vm)
        for start, ios in enumerate(_batches(self.seed, self.vm, self.patterns)):
            thinks = -np.log1p(-units(key, start * _BATCH, _BATCH)) * self.think_seconds
            for think, (disk, write, offset, length) in zip(thinks.tolist(), ios, strict=True):
                yield think, disk, write, offset, length


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

    def ios(self) -> Iterator[tuple[float, int, bool, int, int]]:
        """Yield (seconds, index of the disk, write, offset, length)."""
        r = self.recorded
        if not len(r):
            return
        length = np.minimum(r.length_bytes, self.disk_bytes)
        offset = r.offset_bytes % np.maximum(self.disk_bytes - length + 1, 1)
        offset -= offset % 512
        seconds = r.seconds / self.speed
        lap = float(seconds[-1]) + 1.0 / self.speed  # a second's pause, of the recording's time
        start = 0.0
        while True:
            rows = zip(
                seconds.tolist(), r.is_write.tolist(), offset.tolist(), length.tolist(),
                strict=True,
            )  # fmt: skip
            for second, write, at, size in rows:
                yield start + second, 0, write, at, size
            if not self.repeat:
                return
            start += lap


def _batches(
    seed: int, vm: str, patterns: tuple[Pattern, ...]
) -> Iterator[list[tuple[int, bool, int, int]]]:
    """Yield batches of (disk, write, offset, length), endlessly."""
    keys = {name: stream_key(seed, name, vm) for name in ("disk", "write", "offset", "sequential")}
    last = [0] * len(patterns)
    start = 0
    while True:
        draws = {name: units(key, start, _BATCH).tolist() for name, key in keys.items()}
        batch = []
        for i in range(_BATCH):
            disk = int(draws["disk"][i] * len(patterns))
            p = patterns[disk]
            slots = p.working_set_bytes // p.io_bytes
            if draws["sequential"][i] < p.sequential_fraction:
                slot = (last[disk] + 1) % slots
            else:
                slot = int(draws["offset"][i] ** p.skew * slots)
            last[disk] = slot
            write = draws["write"][i] >= p.read_fraction
            batch.append((disk, write, slot * p.io_bytes, p.io_bytes))
        yield batch
        start += _BATCH
