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
    from collections.abc import Callable, Iterable, Iterator

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
    """An interval: by guest, I/Os, their latencies summed, and I/Os before; by disk, what moved."""

    ios: Rows
    seconds: NDArray[np.float64]
    before: Rows
    moved: Rows = field(default_factory=lambda: np.zeros((0, 4), np.int64))

    def grow(self, guests: int) -> None:
        """Make room for more guests."""
        more = guests - len(self.ios)
        if more > 0:
            self.ios = np.pad(self.ios, (0, more))
            self.seconds = np.pad(self.seconds, (0, more))

    def grow_disks(self, disks: int) -> None:
        """Make room for more disks."""
        more = disks - len(self.moved)
        if more > 0:
            self.moved = np.pad(self.moved, ((0, more), (0, 0)))


@dataclass(slots=True)
class _Reader:
    """How far a guest's load has been read, and where its disks are among all disks."""

    batches: Iterator[Rows]
    first: int
    disks: int
    buffer: Rows = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    position: int = 0
    last: int = -1

    def rows(self, start: int, stop: int) -> Rows:
        """Return rows of the load; those before are passed over, and none is read twice."""
        found = [self.buffer[:0]]
        while self.position < stop:
            if not len(self.buffer):
                self.buffer = next(self.batches, self.buffer)
                if not len(self.buffer):
                    break  # the load is over
            some = self.buffer[: stop - self.position]
            self.buffer = self.buffer[len(some) :]
            found.append(some[max(start - self.position, 0) :])
            self.position += len(some)
        return np.concatenate(found)


class Samples:
    """What guests did in each interval of the last hour; an interval is named by its number.

    Interval n is from n · 20 s to (n + 1) · 20 s of site time.  ``known`` are those that are over
    and still kept, as of the last ``refresh``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._meter = engine.meter
        self._begun = ceil(engine.env.now / INTERVAL_SECONDS)
        self._rows: dict[str, int] = {}
        self._own: Rows = np.zeros(0, np.int64)
        self._total: Rows = np.zeros(0, np.int64)
        self._slots: dict[int, _Slot] = {}
        self._readers: dict[int, _Reader] = {}
        self._disks = 0
        self.known = range(self._begun, self._begun)
        engine.meter = cast("Meter", _Tap(engine.meter, self._took))

    def refresh(self) -> None:
        """Take note of what has been measured, and of which intervals are over."""
        self._meter.last_arrival("")  # hands over whatever has been measured
        stop = int(self._engine.env.now // INTERVAL_SECONDS)
        self.known = range(max(self._begun, stop - KEPT), max(stop, self._begun))

    # What is asked. --------------------------------------------------------------------------

    def guests(self, names: Iterable[str]) -> Rows:
        """Return where guests are among those that have done anything."""
        return np.array([self._rows[n] for n in names if n in self._rows], np.int64)

    def latency(self, guests: Rows, intervals: range) -> tuple[int, float]:
        """Return how many I/Os of guests completed, and their latencies, summed."""
        ios, seconds = 0, 0.0
        for slot in self._within(intervals):
            there = guests[guests < len(slot.ios)]
            ios += int(slot.ios[there].sum())
            seconds += float(slot.seconds[there].sum())
        return ios, seconds

    def disk(self, guest: Guest, number: int, disks: int) -> int:
        """Return where the disk of a guest that has so many is among all disks."""
        reader = self._readers.get(guest.number)
        if reader is None:
            batches = iter(()) if guest.load is None else _rows_of(guest.load)
            reader = self._readers[guest.number] = _Reader(batches, self._disks, disks)
            self._disks += disks
        if guest.name in self._rows:
            self._read(reader, guest)
        return reader.first + number

    def moved(self, disks: Rows, intervals: range) -> Rows:
        """Return what the I/O of disks came to: reads, writes, bytes read, bytes written."""
        sums = np.zeros(4, np.int64)
        for slot in self._within(intervals):
            sums += slot.moved[disks[disks < len(slot.moved)]].sum(axis=0)
        return sums

    def _within(self, intervals: range) -> Iterator[_Slot]:
        return (self._slots[number] for number in intervals if number in self._slots)

    def _read(self, reader: _Reader, guest: Guest) -> None:
        """Read a guest's load as far as intervals are over, and put down what it did."""
        start = max(self.known.start, reader.last + 1)
        new = [number for number in range(start, self.known.stop) if number in self._slots]
        if not new:
            return
        row, slots = self._rows[guest.name], [self._slots[number] for number in new]
        base = guest.completed - int(self._total[row])  # done before anybody listened
        starts = [base + _at(slot.before, row) for slot in slots]
        stops = [start + _at(slot.ios, row) for start, slot in zip(starts, slots, strict=True)]
        first = max(starts[0], 0)
        rows = reader.rows(first, stops[-1])
        which = np.searchsorted(stops, np.arange(first, first + len(rows)), side="right")
        place = (which * reader.disks + rows[:, 0]) * 2 + rows[:, 1]
        size = len(new) * reader.disks * 2
        ios = np.bincount(place, minlength=size).reshape(len(new), reader.disks, 2)
        sizes = np.bincount(place, rows[:, 3], minlength=size).reshape(ios.shape)
        mine = slice(reader.first, reader.first + reader.disks)
        for k, slot in enumerate(slots):
            slot.grow_disks(self._disks)
            slot.moved[mine, [READS, WRITES]] = ios[k]
            slot.moved[mine, [READ_BYTES, WRITTEN_BYTES]] = sizes[k]
        reader.last = new[-1]

    # What passes. ----------------------------------------------------------------------------

    def _took(self, names: list[str], numbers: Rows, times: NDArray[np.float64]) -> None:
        """Count I/Os: each is *names* [number] and a row (arrived, completed)."""
        if len(names) == 1:
            own = np.array([self._row(names[0])])
        else:
            if len(names) != len(self._own):
                self._own = np.array([self._row(name) for name in names])
            own = self._own
        mine, size = own[numbers], len(self._rows)
        self._total = np.pad(self._total, (0, size - len(self._total)))
        intervals = (times[:, 1] // INTERVAL_SECONDS).astype(np.int64)
        for number in np.unique(intervals).tolist():
            slot = self._slot(number, size)
            there = intervals == number
            took = times[there, 1] - times[there, 0]
            ios = np.bincount(mine[there], minlength=size)
            slot.ios += ios
            slot.seconds += np.bincount(mine[there], took, minlength=size)
            self._total += ios

    def _row(self, name: str) -> int:
        return self._rows.setdefault(name, len(self._rows))

    def _slot(self, number: int, size: int) -> _Slot:
        slot = self._slots.get(number)
        if slot is None:
            empty = np.zeros(size, np.int64), np.zeros(size)
            slot = self._slots[number] = _Slot(*empty, self._total.copy())
            for old in [old for old in self._slots if old < number - KEPT]:
                del self._slots[old]
        slot.grow(size)
        return slot


def _at(column: Rows, row: int) -> int:
    """Return what a column has for a guest, 0 where it is older than the guest."""
    return int(column[row]) if row < len(column) else 0


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
