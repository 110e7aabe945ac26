"""A meter that keeps every row: for tests and small studies, and the measure of the other one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from stuntdouble.iops.measure.absorb import SLOTS_A_SECOND
from stuntdouble.iops.measure.buckets import Felt
from stuntdouble.iops.measure.cells import nanoseconds
from stuntdouble.iops.measure.meter import SILENCE_SECONDS, Meter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


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
        return _exactly(self.seconds).percentile(percent)


class Recorder(Meter):
    """Keeps every I/O and every visit, and answers from them: 16 bytes and up for each.

    Whatever ``Meter`` tells within a bound, this tells exactly.
    """

    def __init__(
        self,
        edges: Iterable[float] | None = None,
        before: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__(edges, before)
        self._ios: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._all_visits: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._turns: list[float] = [0.0]
        self._words: list[frozenset[str]] = [frozenset()]

    # Rows. -------------------------------------------------------------------------------------

    def ios(self, guest: str) -> NDArray[np.float64]:
        """Return a guest's I/Os as rows of (arrived, completed), in order of completion."""
        self._settle()
        rows = [times[guests == self._numbers.get(guest, -1)] for guests, times in self._ios]
        found = np.concatenate([*rows, np.empty((0, 2))])
        return found[np.lexsort(found.T)]

    def visit_rows(self) -> list[tuple[int, int, float, float]]:
        """Return all visits as rows of (station, purpose, start, seconds), in order of start.

        Of those that start at one instant, each station's are together, in the order of its queue.
        """
        self._settle()
        rows = [
            (station, purpose, start, seconds)
            for kinds, times in self._all_visits
            for (station, purpose), (start, seconds) in zip(
                kinds.tolist(), times.tolist(), strict=True
            )
        ]
        return sorted(rows, key=itemgetter(2, 0))

    def latencies(self, *guests: str) -> Latencies:
        """Return the I/Os of *guests*, of all where none is named, in order of arrival."""
        self._settle()
        rows = np.concatenate([*map(self.ios, guests or tuple(self._numbers)), np.empty((0, 2))])
        order = np.argsort(rows[:, 0], kind="stable")
        return Latencies(rows[order, 0], (rows[:, 1] - rows[:, 0])[order])

    # What a meter tells. -----------------------------------------------------------------------

    def begin(self, time: float) -> None:
        """Do nothing: there are no cells."""

    def turn(self, time: float, *going_on: str) -> None:
        """Say what goes on from *time* on."""
        self._cells.frontier = max(self._cells.frontier, time)
        if frozenset(going_on) != self._words[-1]:
            self._turns.append(time)
            self._words.append(frozenset(going_on))

    def felt(self, going_on: str = "", *guests: str) -> Felt:
        """Return what *guests* felt of I/O that arrived while this went on."""
        found = self.latencies(*guests)
        there = np.array([not going_on or going_on in words for words in self._words])
        stretch = np.searchsorted(self._turns, found.arrived, side="right") - 1
        return _exactly(found.seconds[there[stretch]])

    def line(self, edges: NDArray[np.float64]) -> list[Felt]:
        """Return what all guests felt of I/O that arrived between consecutive *edges*."""
        found = self.latencies()
        rows = np.searchsorted(found.arrived, edges)
        return [_exactly(found.seconds[a:b]) for a, b in pairwise(rows)]

    def seconds_of(self, going_on: str) -> float:
        """Return for how long this has been going on."""
        self._settle()
        ends = [*self._turns[1:], max(self._cells.frontier, self._turns[-1])]
        stretches = zip(self._turns, ends, self._words, strict=True)
        return sum(end - start for start, end, words in stretches if going_on in words)

    def last_arrival(self, guest: str) -> float:
        """Return when the latest I/O of a guest that has completed arrived; 0 without any."""
        return float(self.ios(guest)[:, 0].max(initial=0.0))

    def until(self, guest: str, time: float) -> tuple[int, float]:
        """Return how many of a guest's I/Os arrived before *time*, and their summed latency."""
        found = self.latencies(guest).during(0.0, time)
        return len(found.seconds), float(found.seconds.sum())

    def busy(
        self, stations: list[int], edges: NDArray[np.float64], purposes: tuple[int, ...] = ()
    ) -> NDArray[np.float64]:
        """Return the busy seconds of *stations* between consecutive *edges*, summed over them."""
        rows = self._chosen(stations, purposes)
        return busy_between(rows[:, 0], rows[:, 1], edges)

    def visits(self, stations: list[int], purposes: tuple[int, ...] = ()) -> int:
        """Return how many visits *stations* have begun to serve."""
        return len(self._chosen(stations, purposes))

    def in_flight(self, guest: str, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many of a guest's I/Os were in flight, on average between *edges*."""
        rows = self.ios(guest)
        found: NDArray[np.float64] = busy_between(rows[:, 0], rows[:, 1] - rows[:, 0], edges)
        return found / np.diff(edges)

    def recent_latency(self, guests: list[str], since: float) -> float:
        """Return the mean latency of I/O completed from *since* on, rounded as a meter does it."""
        first = int(since * SLOTS_A_SECOND) / SLOTS_A_SECOND
        ended = [rows[rows[:, 1] >= first] for rows in map(self.ios, guests)]
        rows = np.concatenate([*ended, np.empty((0, 2))])
        # The sum is the meter's own: what control does must not depend on who measures.
        total = int(nanoseconds(rows[:, 1] - rows[:, 0]).sum())
        return total * 1e-9 / len(rows) if len(rows) else 0.0

    def silences(self, guest: str) -> list[tuple[float, float]]:
        """Return when an I/O of a guest of more than 5 s was under way: united, in order."""
        rows = self.ios(guest)
        found: list[tuple[float, float]] = []
        for start, end in sorted(rows[rows[:, 1] - rows[:, 0] > SILENCE_SECONDS].tolist()):
            if found and start <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], end))
            else:
                found.append((start, end))
        return found

    # How it is kept. ---------------------------------------------------------------------------

    def _keep_ios(self, guests: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        self._cells.frontier = max(self._cells.frontier, float(times[:, 1].max()))
        self._ios.append((guests.copy(), times.copy()))

    def _keep_visits(self, kinds: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        self._cells.frontier = max(self._cells.frontier, float(times[:, 0].max()))
        self._all_visits.append((kinds.copy(), times.copy()))

    def _chosen(self, stations: list[int], purposes: tuple[int, ...]) -> NDArray[np.float64]:
        self._settle()
        rows = [np.empty((0, 2))]
        for kinds, times in self._all_visits:
            chosen = np.isin(kinds[:, 0], stations)
            if purposes:
                chosen &= np.isin(kinds[:, 1], purposes)
            rows.append(times[chosen])
        return np.concatenate(rows)


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


def _exactly(seconds: NDArray[np.float64]) -> Felt:
    ones = np.ones(len(seconds), np.int64)
    longest = float(seconds.max(initial=0.0))
    return Felt(len(seconds), float(seconds.sum()), longest, np.sort(seconds), ones)
