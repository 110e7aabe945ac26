"""What the guests' I/O came to, interval by interval, as a host's real-time statistics have it.

    the engine ──rows of I/Os──▶ ``_Tap`` ──the same rows──▶ the meter
                                    │
                                    └─▶ sums for each disk, direction and 20 s, for an hour

Rows are counted where they pass on their way to the meter, whenever that is; so nothing here needs an
event of its own, and a run ends when it would have ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from stuntdouble.iops import Engine, Meter

    Rows = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Took = Callable[[list[str], Rows, Floats, Rows], None]

INTERVAL_SECONDS: Final = 20
"""A host's real-time statistics have a sample every 20 s (vSphere API, PerfProviderSummary)."""
KEPT: Final = 180
"""Real-time samples are kept for an hour (vSphere Monitoring and Performance)."""
READ, WRITE = range(2)
"""Directions: columns of what a disk's I/O came to."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What I/O of both directions came to: how many, their bytes, their latencies in seconds."""

    ios: Rows
    size_bytes: Rows
    seconds: Floats


class _Tap:
    """Stands where the meter stood, and listens."""

    def __init__(self, meter: Meter, took: Took) -> None:
        self._meter = meter
        self._took = took

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meter, name)

    def take_ios(self, names: list[str], numbers: Rows, times: Floats, kinds: Rows) -> None:
        """Take over guests' I/Os, as the meter does."""
        self._took(names, numbers, times, kinds)
        self._meter.take_ios(names, numbers, times, kinds)

    def io(self, guest: str, arrived: float, completed: float, kind: tuple[int, int, int]) -> None:
        """Note a guest's I/O, as the meter does."""
        times = np.array([[arrived, completed]])
        self._took([guest], np.zeros(1, np.int64), times, np.array([kind], np.int64))
        self._meter.io(guest, arrived, completed, kind)


def _whole() -> Rows:
    return np.zeros((0, 2), np.int64)


@dataclass(slots=True)
class _Slot:
    """An interval: a row for each disk, a column for each direction."""

    ios: Rows = field(default_factory=_whole)
    size_bytes: Rows = field(default_factory=_whole)
    seconds: Floats = field(default_factory=lambda: np.zeros((0, 2)))

    def grow(self, disks: int) -> None:
        """Make room for more disks."""
        more = disks - len(self.ios)
        if more > 0:
            self.ios = np.pad(self.ios, ((0, more), (0, 0)))
            self.size_bytes = np.pad(self.size_bytes, ((0, more), (0, 0)))
            self.seconds = np.pad(self.seconds, ((0, more), (0, 0)))


class Samples:
    """What guests did in each interval of the last hour; an interval is named by its number.

    Interval n is from n · 20 s to (n + 1) · 20 s of site time.  ``known`` are those that are over
    and still kept, as of the last ``refresh``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._meter = engine.meter
        self._begun = ceil(engine.env.now / INTERVAL_SECONDS)
        self._rows: dict[tuple[str, int], int] = {}
        self._slots: dict[int, _Slot] = {}
        self.known = range(self._begun, self._begun)
        engine.meter = cast("Meter", _Tap(engine.meter, self._took))

    def refresh(self) -> None:
        """Take note of what has been measured, and of which intervals are over."""
        self._meter.last_arrival("")  # hands over whatever has been measured
        stop = int(self._engine.env.now // INTERVAL_SECONDS)
        self.known = range(max(self._begun, stop - KEPT), max(stop, self._begun))

    def disk(self, guest: str, number: int) -> int:
        """Return where the *number*-th disk of a guest is among all disks."""
        return self._rows.setdefault((guest, number), len(self._rows))

    def sums(self, disks: Rows, intervals: range) -> Sums:
        """Return what the I/O of disks that completed in some intervals came to, by direction."""
        ios, size, seconds = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2)
        for slot in self._within(intervals):
            there = disks[disks < len(slot.ios)]
            ios += slot.ios[there].sum(axis=0)
            size += slot.size_bytes[there].sum(axis=0)
            seconds += slot.seconds[there].sum(axis=0)
        return Sums(ios, size, seconds)

    def _within(self, intervals: range) -> Iterator[_Slot]:
        return (self._slots[number] for number in intervals if number in self._slots)

    # What passes. ----------------------------------------------------------------------------

    def _took(self, names: list[str], numbers: Rows, times: Floats, kinds: Rows) -> None:
        """Count I/Os: *names* [number], rows (arrived, completed) and (disk, write, bytes)."""
        places = self._places(names, numbers, kinds[:, 0]) * 2 + kinds[:, 1]
        took = times[:, 1] - times[:, 0]
        intervals = (times[:, 1] // INTERVAL_SECONDS).astype(np.int64)
        shape = len(self._rows), 2
        size = 2 * len(self._rows)
        for number in np.unique(intervals).tolist():
            slot = self._slot(number)
            there = intervals == number
            mine = places[there]
            slot.ios += np.bincount(mine, minlength=size).reshape(shape)
            moved = np.bincount(mine, kinds[there, 2], minlength=size)  # exact below 2**53
            slot.size_bytes += moved.astype(np.int64).reshape(shape)
            slot.seconds += np.bincount(mine, took[there], minlength=size).reshape(shape)

    def _places(self, names: list[str], numbers: Rows, disks: Rows) -> Rows:
        """Return for each I/O where its disk is among all disks."""
        most = int(disks.max(initial=0)) + 1
        flat = numbers * most + disks
        table = np.zeros(len(names) * most, np.int64)
        for place in np.flatnonzero(np.bincount(flat)).tolist():
            name, disk = divmod(place, most)
            table[place] = self.disk(names[name], disk)
        found: Rows = table[flat]
        return found

    def _slot(self, number: int) -> _Slot:
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot()
            for old in [old for old in self._slots if old < number - KEPT]:
                del self._slots[old]
        slot.grow(len(self._rows))
        return slot
