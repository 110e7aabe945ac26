"""What was measured: latencies per guest, busy time per station and purpose, gauges.

Utilisation is busy time over wall-to-wall site time, as an array's own counters have it; each
visit's time is put down where it was spent, bin by bin.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_PURPOSE_BITS: Final = 8  # of a number that stands for a station and a purpose


@dataclass(frozen=True, slots=True)
class Latencies:
    """Foreground I/O of some guests over some time: seconds, arrays of one length."""

    arrived: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def during(self, start: float, end: float) -> Latencies:
        """Return the I/Os that arrived in [start, end)."""
        inside = (self.arrived >= start) & (self.arrived < end)
        return Latencies(self.arrived[inside], self.seconds[inside])

    def percentile(self, percent: float) -> float:
        """Return the latency that *percent* of the I/Os did not exceed; 0 where there are none."""
        if not len(self.seconds):
            return 0.0
        return float(np.percentile(self.seconds, percent, method="inverted_cdf"))


@dataclass
class _GuestLog:
    arrived: array[float] = field(default_factory=lambda: array("d"))
    completed: array[float] = field(default_factory=lambda: array("d"))


class Meter:
    """Collects; the engine's only output besides the site's state."""

    def __init__(self) -> None:
        self._guests: dict[str, _GuestLog] = defaultdict(_GuestLog)
        self._visits: dict[tuple[int, int], tuple[array[float], array[float]]] = {}
        self.gauges: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self.pull: Callable[[], None] | None = None
        """Called before a result is looked up, where I/O is measured elsewhere and taken over."""

    def take_ios(
        self, names: list[str], numbers: NDArray[np.int64], times: NDArray[np.float64]
    ) -> None:
        """Note guests' I/Os in order: each is *names* [number] and a row (arrived, completed)."""
        for number, rows in _apart(numbers):
            entry = self._guests[names[number]]
            entry.arrived.frombytes(times[rows, 0].tobytes())
            entry.completed.frombytes(times[rows, 1].tobytes())

    def take_visits(self, kinds: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        """Note visits in order: rows of (station, purpose), and of (start, seconds)."""
        for kind, rows in _apart(kinds[:, 0] << _PURPOSE_BITS | kinds[:, 1]):
            key = (kind >> _PURPOSE_BITS, kind & ((1 << _PURPOSE_BITS) - 1))
            if key not in self._visits:
                self._visits[key] = (array("d"), array("d"))
            starts, lengths = self._visits[key]
            starts.frombytes(times[rows, 0].tobytes())
            lengths.frombytes(times[rows, 1].tobytes())

    def _take_over(self) -> None:
        if self.pull is not None:
            self.pull()

    def io(self, guest: str, arrived: float, completed: float) -> None:
        """Note a guest's I/O."""
        entry = self._guests[guest]
        entry.arrived.append(arrived)
        entry.completed.append(completed)

    def visit(self, station: int, purpose: int, start: float, seconds: float) -> None:
        """Note that a station is busy from *start* on."""
        key = (station, purpose)
        if key not in self._visits:
            self._visits[key] = (array("d"), array("d"))
        starts, lengths = self._visits[key]
        starts.append(start)
        lengths.append(seconds)

    def gauge(self, name: str, subject: str, time: float, value: float) -> None:
        """Note a value that holds from *time* on."""
        self.gauges[name, subject].append((time, value))

    def latencies(self, *guests: str) -> Latencies:
        """Return the I/Os of *guests*, of all where none is named, in order of arrival."""
        self._take_over()
        chosen = [self._guests[g] for g in guests or tuple(self._guests)]
        arrived = np.concatenate([np.frombuffer(g.arrived) for g in chosen] or [np.empty(0)])
        completed = np.concatenate([np.frombuffer(g.completed) for g in chosen] or [np.empty(0)])
        order = np.argsort(arrived, kind="stable")
        return Latencies(arrived[order], (completed - arrived)[order])

    def busy(
        self, stations: list[int], edges: NDArray[np.float64], purposes: tuple[int, ...] = ()
    ) -> NDArray[np.float64]:
        """Return the busy seconds of *stations* between consecutive *edges*, summed over them."""
        self._take_over()
        total = np.zeros(len(edges) - 1)
        for (station, purpose), (starts, lengths) in self._visits.items():
            if station in stations and (not purposes or purpose in purposes):
                total += busy_between(np.frombuffer(starts), np.frombuffer(lengths), edges)
        return total

    def recent_latency(self, guests: list[str], since: float) -> float:
        """Return the mean latency of I/O completed from *since* on, 0 where there was none."""
        self._take_over()
        total, count = 0.0, 0
        for name in guests:
            entry = self._guests[name]
            for k in range(len(entry.completed) - 1, -1, -1):
                if entry.completed[k] < since:
                    break
                total += entry.completed[k] - entry.arrived[k]
                count += 1
        return total / count if count else 0.0


def _apart(numbers: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield (number, its rows) for every number there is, in order of its first row."""
    small = numbers.astype(np.int16) if numbers.max() < 1 << 15 else numbers  # sorted by digits
    order = np.argsort(small, kind="stable")
    found, counts = np.unique(numbers, return_counts=True)
    parts = np.split(order, np.cumsum(counts)[:-1])
    for k in np.argsort([rows[0] for rows in parts]).tolist():
        yield int(found[k]), parts[k]


def busy_between(
    starts: NDArray[np.float64], lengths: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how much of the intervals [start, start + length) lies between edges.

    The integral of "how many intervals are open" up to t is Σ min(max(t - start, 0), length),
    which sorted prefix sums give for all edges at once.
    """
    stops = np.sort(starts + lengths)
    begun = np.sort(starts)
    sum_begun = np.concatenate(([0.0], np.cumsum(begun)))
    sum_stops = np.concatenate(([0.0], np.cumsum(stops)))
    n, m = np.searchsorted(begun, edges), np.searchsorted(stops, edges)
    open_seconds = (edges * n - sum_begun[n]) - (edges * m - sum_stops[m])
    return np.maximum(np.diff(open_seconds), 0.0)  # rounding may leave a hair below 0
