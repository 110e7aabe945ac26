"""How long one visit to a device takes.

The time of a visit is fixed when it starts, from its bytes, its direction and its place:

    disk    overhead + seek + rotation + bytes / rate     no seek and no rotation when sequential,
                                                          a gap within a track passes at the rate
    flash   overhead of a read or a write + bytes / rate
    link    bytes / rate

A seek over the fraction d of the stroke takes ``seek_min + (seek_full - seek_min) · √d``, the usual
shape for the short and middle distances that dominate random I/O (Ruemmler and Wilkes, "An
introduction to disk drive modeling", IEEE Computer 1994); rotational delay is uniform over one turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final

from stuntdouble.compiled import njit
from stuntdouble.iops.checks import check_number, check_positive

# What kind of station a row of parameters describes.
DISK: Final = 0
FLASH: Final = 1
LINK: Final = 2
EXPONENTIAL: Final = 3


@dataclass(frozen=True, slots=True)
class Service:
    """The parameters of a device's visits; make one by the functions below."""

    kind: int
    overhead_seconds: float = 0.0
    write_overhead_seconds: float = 0.0
    bytes_per_second: float = 0.0
    seek_min_seconds: float = 0.0
    seek_full_seconds: float = 0.0
    turn_seconds: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self)[1:]:
            if field.name != "bytes_per_second":
                check_number(f"{field.name} of a device", getattr(self, field.name))
        if not self.bytes_per_second >= 0:
            rate = self.bytes_per_second
            raise ValueError(f"bytes_per_second of a device is {rate}: 0 is as fast as it goes")

    def row(self) -> tuple[float, float, float, float, float, float]:
        """Return the parameters in the order that ``visit_seconds`` takes them."""
        return (
            self.overhead_seconds,
            self.write_overhead_seconds,
            1.0 / self.bytes_per_second if self.bytes_per_second else 0.0,
            self.seek_min_seconds,
            self.seek_full_seconds,
            self.turn_seconds,
        )


def disk(rpm: float, seek_min: float, seek_full: float, bytes_per_second: float) -> Service:
    """Return a rotating disk."""
    check_positive("the speed of a disk", rpm)
    check_number("a disk's longest seek", seek_full, least=seek_min)
    return Service(
        DISK,
        bytes_per_second=bytes_per_second,
        seek_min_seconds=seek_min,
        seek_full_seconds=seek_full,
        turn_seconds=60.0 / rpm,
    )


def flash(read_seconds: float, write_seconds: float, bytes_per_second: float) -> Service:
    """Return one flash channel."""
    return Service(FLASH, read_seconds, write_seconds, bytes_per_second)


def link(bytes_per_second: float, overhead_seconds: float = 0.0) -> Service:
    """Return a network link or a front-end port."""
    return Service(LINK, overhead_seconds, overhead_seconds, bytes_per_second)


def exponential(mean_seconds: float) -> Service:
    """Return a server with exponential service, to be held against queueing theory."""
    check_positive("the mean of an exponential service", mean_seconds)
    return Service(EXPONENTIAL, mean_seconds, mean_seconds)


DISK_7200: Final = disk(7200, 0.001, 0.0104, 150e6)
"""7.2k rpm: measured drives serve non-sequential small reads in 9.31 to 11.39 ms on average (traces
shipped with DiskSim); 1.0 + 9.4 · E√|x-y| (8/15) + half a turn of 8.33 ms is 10.2 ms.  150 MB/s is
the sustained rate of the generation that pools of such disks were built from."""

DISK_10K: Final = disk(10_000, 0.0006, 0.0085, 170e6)
"""10k rpm: measured 6.64 to 9.15 ms; this gives 7.8 ms (0.6 + 7.9 · 8/15 + 3.0)."""

FLASH_CHANNEL: Final = flash(100e-6, 60e-6, 500e6)
"""SATA SSD behind a controller: 3 to 40 thousand IOPS by rule of thumb; one channel at 100 us a
read is 10,000 IOPS.  Writes are taken by the drive's own protected cache."""


@njit(
    "float64(int64, UniTuple(float64, 6), int64, int64, float64, float64)",
    cache=True,
    forceinline=True,
)
def visit_seconds(kind: Any, row: Any, write: Any, size: Any, distance: Any, drawn: Any) -> Any:
    """Return the seconds of one visit.

    Args:
        kind: DISK, FLASH, LINK or EXPONENTIAL.
        row: ``Service.row()``.
        write: 1 for a write.
        size: bytes.
        distance: how far the arm moves, as a fraction of the stroke; 0 is sequential.
        drawn: a uniform draw in [0, 1) for rotation, or for an exponential time.
    """
    overhead = row[1] if write != 0 else row[0]
    if kind == EXPONENTIAL:
        return -overhead * math.log1p(-drawn)
    seconds = overhead + size * row[2]
    if kind == DISK and distance > 0.0:
        seconds += row[3] + (row[4] - row[3]) * math.sqrt(distance) + row[5] * drawn
    return seconds


@njit("Tuple((float64, int64))(int64, int64, float64, float64)", cache=True, forceinline=True)
def travel(arm: Any, position: Any, stroke: Any, track: Any) -> Any:
    """Return how far the arm moves, as a fraction of the stroke, and the bytes that pass it.

    What lies ahead on the same track comes by itself: the head stays and the gap passes under it,
    as a stripe of parity does in a sequential read.

    Args:
        arm: where the head is, in bytes from the start.
        position: where it has to be.
        stroke: the disk's size in bytes; further than that no seek goes.
        track: bytes of a track: one turn at the transfer rate.
    """
    gap = position - arm
    if 0 <= gap <= track:
        return 0.0, gap
    return min(abs(gap) / stroke, 1.0), 0
