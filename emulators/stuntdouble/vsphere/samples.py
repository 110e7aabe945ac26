"""What the guests' I/O came to, interval by interval, as a host's real-time statistics have it.

    the engine ──rows of I/Os──▶ ``_Tap`` ──the same rows──▶ the meter
                                    │
                                    └─▶ a sum for each guest and 20 s, for an hour

Rows are counted where they pass on their way to the meter, whenever that is; so nothing here needs an
event of its own, and a run ends when it would have ended.  Rows tell neither the disk nor whether an
I/O read or wrote.  That is what the load says: its n-th row is taken to be the n-th I/O that
completed, which is exact in number, and in kind up to what was under way or dropped meanwhile.
How long reads took, as opposed to writes, is therefore not known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from stuntdouble.iops import Engine, Guest, Load, Meter

    Rows = NDArray[np.int64]
    Took = Callable[[list[str], NDArray[np.int64], NDArray[np.float64]], None]

INTERVAL_SECONDS: Final = 20
"""A host's real-time statistics have a sample every 20 s (vSphere API, PerfProviderSummary)."""
KEPT: Final = 180
"""Real-time samples are kept for an hour (vSphere Monitoring and Performance)."""
READS, WRITES, READ_BYTES, WRITTEN_BYTES = range(4)
"""Columns of what a disk's I/O came to."""

_ROWS: Final = 4096  # of a load that says no more than one row at a time


class _Tap:
    """Stands where the meter stood, and listens."""

    def __init__(self, meter: Meter, took: Took) -> None:
        self._meter = meter
        self._took = took

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meter, name)

    def take_ios(self, names: list[str], numbers: Rows, times: NDArray[np.float64]) -> None:
        """Take over guests' I/Os, as the meter does."""
        self._took(names, numbers, times)
        self._meter.take_ios(names, numbers, times)

    def io(self, guest: str, arrived: float, completed: float) -> None:
        """Note a guest's I/O, as the meter does."""
        self._took([guest], np.zeros(1, np.int64), np.array([[arrived, completed]]))
        self._meter.io(guest, arrived, completed)


@dataclass(slots=True)
class _Slot:
    """An interval: number and summed latency of I/Os, by guest."""

    ios: Rows
    seconds: NDArray[np.float64]

    def grow(self, size: int) -> None:
        """Make room for more guests."""
        more = size - len(self.ios)
        if more > 0:
            self.ios = np.pad(self.ios, (0, more))
            self.seconds = np.pad(self.seconds, (0, more))


@dataclass(slots=True)
class _Mix:
    """How far a guest's load has been read, and what its I/Os were, interval by interval."""

    batches: Iterator[Rows]
    buffer: Rows = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    position: int = 0
    last: int = -1
    kept: dict[int, Rows] = field(default_factory=dict)

    def take(self, count: int, disks: int) -> Rows:
        """Return what the next rows come to, by disk."""
        sums = np.zeros((disks, 4), np.int64)
        while count > 0:
            if not len(self.buffer):
                self.buffer = next(self.batches, self.buffer)
                if not len(self.buffer):
                    break  # the load is over
            rows, self.buffer = self.buffer[:count], self.buffer[count:]
            count -= len(rows)
            self.position += len(rows)
            for write in (0, 1):
                mine = rows[rows[:, 1] == write]
                np.add.at(sums, (mine[:, 0], READS + write), 1)
                np.add.at(sums, (mine[:, 0], READ_BYTES + write), mine[:, 3])
        return sums


class Samples:
    """What guests did in each interval of the last hour; an interval is named by its number.

    Interval n is from n · 20 s to (n + 1) · 20 s of site time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._meter = engine.meter
        self._begun = ceil(engine.env.now / INTERVAL_SECONDS)
        self._rows: dict[str, int] = {}
        self._own: Rows = np.zeros(0, np.int64)
        self._slots: dict[int, _Slot] = {}
        self._mixes: dict[str, _Mix] = {}
        engine.meter = cast("Meter", _Tap(engine.meter, self._took))

    def intervals(self) -> range:
        """Return the intervals that are over and still kept."""
        self._meter.last_arrival("")  # hands over whatever has been measured
        stop = int(self._engine.env.now // INTERVAL_SECONDS)
        return range(max(self._begun, stop - KEPT), max(stop, self._begun))

    def latency(self, guests: list[Guest], intervals: range) -> tuple[int, float]:
        """Return how many I/Os of guests completed, and their latencies, summed."""
        rows = [self._rows[guest.name] for guest in guests if guest.name in self._rows]
        ios, seconds = 0, 0.0
        for number in intervals:
            slot = self._slots.get(number)
            if slot is not None:
                there = [row for row in rows if row < len(slot.ios)]
                ios += int(slot.ios[there].sum())
                seconds += float(slot.seconds[there].sum())
        return ios, seconds

    def moved(self, guest: Guest, disks: int, intervals: range) -> Rows:
        """Return what a guest's I/O came to: a row for each of its *disks*."""
        sums = np.zeros((disks, 4), np.int64)
        if guest.load is None or guest.name not in self._rows:
            return sums
        mix = self._mixes.get(guest.name)
        if mix is None:
            mix = self._mixes[guest.name] = _Mix(_rows_of(guest.load))
        self._read(mix, guest, disks)
        for number in intervals:
            if number in mix.kept:
                sums += mix.kept[number]
        return sums

    def _read(self, mix: _Mix, guest: Guest, disks: int) -> None:
        """Read a guest's load as far as intervals are over."""
        known, row = self.intervals(), self._rows[guest.name]
        counts = {number: self._count(number, row) for number in self._slots}
        at = guest.completed - sum(counts.values())
        for number in sorted(counts):
            if number in known and number > mix.last:
                mix.take(at - mix.position, disks)
                mix.kept[number] = mix.take(counts[number], disks)
                mix.last = number
            at += counts[number]
        for number in [number for number in mix.kept if number < known.start]:
            del mix.kept[number]

    def _count(self, number: int, row: int) -> int:
        ios = self._slots[number].ios
        return int(ios[row]) if row < len(ios) else 0

    def _took(self, names: list[str], numbers: Rows, times: NDArray[np.float64]) -> None:
        """Count I/Os: each is *names* [number] and a row (arrived, completed)."""
        if len(names) == 1:
            own = np.array([self._row(names[0])])
        else:
            if len(names) != len(self._own):
                self._own = np.array([self._row(name) for name in names])
            own = self._own
        mine, size = own[numbers], len(self._rows)
        intervals = (times[:, 1] // INTERVAL_SECONDS).astype(np.int64)
        for number in np.unique(intervals).tolist():
            slot = self._slot(number, size)
            there = intervals == number
            took = times[there, 1] - times[there, 0]
            slot.ios += np.bincount(mine[there], minlength=size)
            slot.seconds += np.bincount(mine[there], took, minlength=size)

    def _row(self, name: str) -> int:
        return self._rows.setdefault(name, len(self._rows))

    def _slot(self, number: int, size: int) -> _Slot:
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot(np.zeros(size, np.int64), np.zeros(size))
            for old in [old for old in self._slots if old < number - KEPT]:
                del self._slots[old]
        slot.grow(size)
        return slot


def _rows_of(load: Load) -> Iterator[Rows]:
    """Yield the rows of a load in batches: (index of the disk, write, offset, length)."""
    batches = getattr(load, "batches", None)
    if batches is not None:
        for _, rows in batches():
            yield rows
        return
    rows_left = load.ios()
    while some := [row[1:] for row in islice(rows_left, _ROWS)]:
        yield np.array(some, np.int64)
