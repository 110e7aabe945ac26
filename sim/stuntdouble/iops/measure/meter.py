"""The meter: what an engine measures, in memory that does not grow with the number of I/Os.

    what                                   by                        kept as
    latency of all guests                  cell                      histogram, sum, longest
    latency of a guest                     what goes on (label)      histogram, sum, longest
    I/O in flight                          guest, cell               nanoseconds
    busy time                              station, purpose, cell    nanoseconds
    completions of the last half minute    guest, 1/8 s              nanoseconds, number
    silences of more than 5 s              guest                     intervals
    I/Os before moments told beforehand    guest                     nanoseconds, number

A percentile is within ``ALPHA`` (0.39 %) of the latency of that rank; everything else is exact, to
the nearest nanosecond for each I/O.  Cells are half a second wide at first (see ``cells``).

Cost: a page of counters takes 256 bytes, a histogram 352 and usually a dozen pages.  300 guests
with 8 labels, 2,000 cells and 64 stations take 55 MB, of which 10 are for what is in flight; a
station in use for three purposes adds 24 bytes to a cell.  Counters of pages have 32 bits: up to four
thousand million I/Os in one bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.errors import Misuse
from stuntdouble.iops.measure import absorb
from stuntdouble.iops.measure.buckets import BUCKETS, PAGE, PAGES, Felt, pour, tally, values
from stuntdouble.iops.measure.cells import Cells, nanoseconds
from stuntdouble.iops.measure.doors import PURPOSES, Doors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

SILENCE_SECONDS: Final = 5.0  # the shortest stall that is reported; see results.Stalls
_FIRST_PAGES: Final = 1 << 10  # a quarter of a megabyte; doubled when they are used up
_FIRST: Final = 8  # guests, stations, accounts: doubled when there are more
_LABELS: Final = 8  # at first


class Meter(Doors):
    """Collects; the engine's only output besides the site's state.

    Args:
        edges: the instants between which busy time and time lines will be asked for, where they
            are known; else cells are of equal width, and cut where ``turn`` is called.
        before: moments for each guest: of I/O that arrived before each of them, ``until`` tells
            number and sum.
    """

    def __init__(
        self,
        edges: Iterable[float] | None = None,
        before: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self._cells = Cells(self._join, edges)
        self._state = np.zeros(7, np.int64)
        self._state[[absorb.AT_PAGES, absorb.AT_SPANS, absorb.AT_ROWS]] = 1
        self._pages = np.zeros((_FIRST_PAGES, PAGE), np.uint32)
        self._free = np.zeros(_FIRST_PAGES, np.int32)
        cells = len(self._cells.starts)
        self._heads = np.zeros((cells, PAGES), np.int32)
        self._sums = np.zeros(cells, np.int64)
        self._longest = np.zeros(cells)
        self._guest_heads = np.zeros((_FIRST, _LABELS, PAGES), np.int32)
        self._guest_sums = np.zeros((_FIRST, _LABELS), np.int64)
        self._guest_longest = np.zeros((_FIRST, _LABELS))
        self._flights = np.zeros((cells, _FIRST), np.int64)
        self._last_arrival = np.zeros(_FIRST)
        self._recent = np.zeros((absorb.SLOTS, _FIRST, 2), np.int64)
        self._spans = np.zeros((_FIRST, 2))
        self._span_before = np.zeros(_FIRST, np.int32)
        self._last_span = np.zeros(_FIRST, np.int32)
        self._busy = np.zeros((cells, _FIRST), np.int64)
        self._accounts = np.zeros((_FIRST, PURPOSES), np.int32)
        self._visits = np.zeros(_FIRST * PURPOSES + 1, np.int64)
        self._spells = np.zeros((0, 3), np.int64)
        self._before = {name: np.array(sorted(told)) for name, told in (before or {}).items()}
        most = max((len(told) for told in self._before.values()), default=0)
        self._told = np.zeros((_FIRST, most))
        self._until = np.zeros((_FIRST, most, 2), np.int64)
        self._held: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []

    # What goes on. -----------------------------------------------------------------------------

    def begin(self, time: float) -> None:
        """Say that the run begins: cells are counted from here."""
        self._take_over()
        self._cells.begin(time)

    def turn(self, time: float, *going_on: str) -> None:
        """Say what goes on from *time*, which is now, on: any number of words, in any order.

        I/O that arrives from here on is kept under these words, and ``felt`` looks it up by each of
        them.  Where the same went on before, nothing happens.

        Raises:
            Misuse: *time* has passed, or there are more than 64 combinations of words.
        """
        self._take_over()
        self._cells.turn(time, frozenset(going_on))
        labels = self._guest_sums.shape[1]
        if len(self._cells.names) > labels:
            self._guest_heads = grown(self._guest_heads, 2 * labels, axis=1)
            self._guest_sums = grown(self._guest_sums, 2 * labels, axis=1)
            self._guest_longest = grown(self._guest_longest, 2 * labels, axis=1)

    # Results. ----------------------------------------------------------------------------------

    def felt(self, going_on: str = "", *guests: str) -> Felt:
        """Return what *guests*, all if none is named, felt of I/O that arrived while this went on.

        Without a word it is all their I/O.  Number, sum and longest are exact, percentiles are
        within ``ALPHA``.
        """
        self._settle()
        names = self._cells.names
        there = [not going_on or going_on in words for words in names]
        labels = np.flatnonzero(there)
        rows = self._rows(guests or tuple(self._numbers))
        counts = np.zeros(BUCKETS, np.int64)
        for row in rows.tolist():
            for label in labels.tolist():
                tally(self._guest_heads[row, label], self._pages, counts)
        chosen = np.ix_(rows, labels)
        longest = float(self._guest_longest[chosen].max(initial=0.0))
        return _felt(counts, int(self._guest_sums[chosen].sum()), longest)

    def line(self, edges: NDArray[np.float64]) -> list[Felt]:
        """Return what all guests felt of I/O that arrived between consecutive *edges*.

        Exact, but for ``ALPHA``, where the edges are those of cells; else each cell is put down
        where its middle lies.
        """
        self._settle()
        found = self._cells.number_of(edges)
        made = []
        for number in range(len(edges) - 1):
            counts = np.zeros(BUCKETS, np.int64)
            cells = np.flatnonzero(found == number)
            for cell in cells.tolist():
                tally(self._heads[cell], self._pages, counts)
            longest = float(self._longest[cells].max(initial=0.0))
            made.append(_felt(counts, int(self._sums[cells].sum()), longest))
        return made

    def seconds_of(self, going_on: str) -> float:
        """Return for how long this has been going on."""
        self._settle()
        cells = self._cells
        there = [k for k, words in enumerate(cells.names) if going_on in words]
        inside = np.isin(cells.labels[: cells.count], there)
        ends = np.append(cells.starts[1 : cells.count], cells.frontier)
        return float((ends - cells.starts[: cells.count])[inside].sum())

    def last_arrival(self, guest: str) -> float:
        """Return when the latest I/O of a guest that has completed arrived; 0 without any."""
        self._settle()
        return float(self._last_arrival[self._numbers[guest]]) if guest in self._numbers else 0.0

    def until(self, guest: str, time: float) -> tuple[int, float]:
        """Return how many of a guest's I/Os arrived before *time*, and their summed latency.

        Raises:
            Misuse: the meter was not told of this moment when it was made.
        """
        self._settle()
        told = self._before.get(guest, np.empty(0))
        if time not in told:
            raise Misuse(f"I/O of {guest} before {time} s", "name the moment when making the meter")
        if guest not in self._numbers:
            return 0, 0.0
        ns, ios = self._until[self._numbers[guest], int(np.searchsorted(told, time))].tolist()
        return ios, ns * 1e-9

    def busy(
        self, stations: list[int], edges: NDArray[np.float64], purposes: tuple[int, ...] = ()
    ) -> NDArray[np.float64]:
        """Return the busy seconds of *stations* between consecutive *edges*, summed over them.

        Exact where the edges are those of cells; a cell that an edge cuts through is taken to be
        as busy in all its parts.
        """
        self._settle()
        self._spend()
        accounts = [a for a in self._accounts_of(stations, purposes) if a]
        found = self._between(self._busy[:, accounts].sum(axis=1), edges)
        left = self._spells[: self._state[absorb.AT_PENDING]]
        mine = left[np.isin(left[:, 0], accounts), 1:]
        cuts = nanoseconds(edges)[:, None]
        later = np.clip(cuts, mine[:, 0], mine[:, 1]) - mine[:, 0] if len(mine) else cuts * 0
        found += np.diff(later.sum(axis=1)) * 1e-9
        return found

    def visits(self, stations: list[int], purposes: tuple[int, ...] = ()) -> int:
        """Return how many visits *stations* have begun to serve."""
        self._settle()
        return int(self._visits[self._accounts_of(stations, purposes)].sum())

    def in_flight(self, guest: str, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many of a guest's I/Os were in flight, on average between *edges*.

        From arrival to completion, so what waits for admission counts as well: the integral that
        Little's law is about.  I/O that has not completed yet is not counted.  The number of visits
        in service at a station is ``busy`` over the width; how many wait there is not kept.
        """
        self._settle()
        if guest not in self._numbers:
            return np.zeros(len(edges) - 1)
        column = self._flights[:, self._numbers[guest]]
        found: NDArray[np.float64] = self._between(column, edges) / np.diff(edges)
        return found

    def recent_latency(self, guests: list[str], since: float) -> float:
        """Return the mean latency of I/O completed from *since* on, 0 where there was none.

        *since* is rounded down to an eighth of a second, as samples of a hypervisor are taken at
        intervals.  The cost is that of adding up at most 256 numbers per guest.

        Raises:
            Misuse: *since* lies more than 31 s before the last completion.
        """
        self._settle()
        last = int(self._state[absorb.AT_SLOT])
        first = max(int(since * absorb.SLOTS_A_SECOND), 0)
        if first < last - absorb.SLOTS + 1:
            raise Misuse(f"recent latency since {since} s", "only the last 31 s are kept")
        slots = np.arange(first, last + 1) % absorb.SLOTS
        ns, ios = self._recent[np.ix_(slots, self._rows(guests))].sum(axis=(0, 1)).tolist()
        return ns * 1e-9 / ios if ios else 0.0

    def silences(self, guest: str) -> list[tuple[float, float]]:
        """Return when an I/O of a guest of more than 5 s was under way: united, in order."""
        self._settle()
        found = []
        at = int(self._last_span[self._numbers[guest]]) if guest in self._numbers else 0
        while at:
            found.append((float(self._spans[at, 0]), float(self._spans[at, 1])))
            at = int(self._span_before[at])
        return found[::-1]

    @property
    def nbytes(self) -> int:
        """The size of all tables in bytes; of some, most has never been touched."""
        return sum(v.nbytes for v in vars(self).values() if isinstance(v, np.ndarray))

    # How it is kept. ---------------------------------------------------------------------------

    def _make_room(self, guests: int) -> None:
        """Make room for more guests."""
        self._guest_heads = grown(self._guest_heads, guests)
        self._guest_sums = grown(self._guest_sums, guests)
        self._guest_longest = grown(self._guest_longest, guests)
        self._last_span = grown(self._last_span, guests)
        self._last_arrival = grown(self._last_arrival, guests)
        self._told = grown(self._told, guests)
        self._until = grown(self._until, guests)
        self._recent = grown(self._recent, guests, axis=1)
        self._flights = grown(self._flights, guests, axis=1, used=self._cells.count)

    def _settle(self) -> None:
        """Take over all there is, what is held back included."""
        self._take_over()
        self._take_held()

    def _keep_ios(self, guests: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        """Count I/Os, but hold back what arrived at this very instant and is over already.

        It may belong to a cell that does not exist yet, if control turns to something else at
        this instant.
        """
        if len(self._numbers) > len(self._guest_sums):
            self._make_room(max(len(self._numbers), 2 * len(self._guest_sums)))
        now = times[:, 1].max()
        if self._held and now > self._held[0][1][0, 1]:
            self._take_held()
        self._cells.advance(float(now))
        if (times[:, 0] >= now).any():
            last = times[:, 1] >= now
            self._held.append((guests[last], times[last]))
            guests, times = guests[~last], times[~last]
        self._count(guests, times)

    def _take_held(self) -> None:
        held, self._held = self._held, []
        for guests, times in held:
            self._count(guests, times)

    def _count(self, guests: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        seconds = times[:, 1] - times[:, 0]
        row = 0
        while row < len(guests):
            tables = absorb.Tables(
                self._cells.starts, self._cells.labels, self._heads, self._sums, self._longest,
                self._guest_heads, self._guest_sums, self._guest_longest, self._pages, self._free,
                self._state,
            )  # fmt: skip
            row = absorb.absorb_ios(tables, row, guests, times, seconds, seconds.view(np.int64))
            if row < len(guests):
                self._pages = grown(self._pages, 2 * len(self._pages))
                self._free = grown(self._free, len(self._pages))
        absorb.absorb_flights(
            guests, times, seconds, self._cells.edges, self._flights, self._last_arrival,
            self._recent, self._state,
        )  # fmt: skip
        if self._before:
            self._count_before(guests, times, seconds)
        silent = np.flatnonzero(seconds > SILENCE_SECONDS)
        if len(silent):
            silent = silent[np.argsort(times[silent, 1], kind="stable")]
            self._note_silences(guests[silent], times[silent])

    def _count_before(
        self, guests: NDArray[np.int64], times: NDArray[np.float64], seconds: NDArray[np.float64]
    ) -> None:
        for name, told in self._before.items():
            if name in self._numbers:
                self._told[self._numbers[name], : len(told)] = told
        absorb.absorb_before(guests, times, nanoseconds(seconds), self._told, self._until)

    def _note_silences(self, guests: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        row = 0
        while row < len(guests):
            row = absorb.absorb_silences(
                row, guests, times, SILENCE_SECONDS, self._spans, self._span_before,
                self._last_span, self._state,
            )  # fmt: skip
            if row < len(guests):
                self._spans = grown(self._spans, 2 * len(self._spans))
                self._span_before = grown(self._span_before, len(self._spans))

    def _keep_visits(self, kinds: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        self._cells.advance(float(times[:, 0].max()))
        station = int(kinds[:, 0].max())
        if station >= len(self._accounts):
            self._accounts = grown(self._accounts, max(station + 1, 2 * len(self._accounts)))
            self._visits = grown(self._visits, self._accounts.size + 1)
        pending = int(self._state[absorb.AT_PENDING])
        if len(self._spells) < pending + len(kinds):
            self._spells = grown(self._spells, pending + max(len(kinds), 2 * len(self._spells)))
        absorb.note_visits(kinds, times, self._spells, self._accounts, self._visits, self._state)
        accounts = int(self._state[absorb.AT_ROWS])
        if accounts > self._busy.shape[1]:
            room = max(accounts, 3 * self._busy.shape[1] // 2)
            self._busy = grown(self._busy, room, axis=1, used=self._cells.count)
        self._spend()

    def _spend(self) -> None:
        """Put down the time of visits as far as all edges are known."""
        until = int(nanoseconds(self._cells.frontier))
        absorb.absorb_spells(self._spells, until, self._cells.edges, self._busy, self._state)

    def _accounts_of(self, stations: list[int], purposes: tuple[int, ...]) -> NDArray[np.int32]:
        known = [station for station in stations if station < len(self._accounts)]
        columns = list(purposes) or list(range(PURPOSES))
        found: NDArray[np.int32] = self._accounts[np.ix_(known, columns)].ravel()
        return found

    def _between(self, ns: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what *ns*, a number for each cell, comes to between edges, in seconds."""
        cells = self._cells
        sums = np.concatenate(([0], np.cumsum(ns[: cells.count])))
        ends = np.append(
            cells.starts[: cells.count], max(cells.frontier, cells.starts[cells.count - 1])
        )
        found: NDArray[np.float64] = np.diff(np.interp(edges, ends, sums)) * 1e-9
        return found

    def _join(self, group: NDArray[np.int64]) -> None:
        """Join cells, each with those of the same new number; these are ascending."""
        old, first = len(group), np.flatnonzero(np.diff(group, prepend=-1))
        for cell in range(old):
            if cell != group[cell]:
                heads = self._heads
                pour(heads[cell], heads[group[cell]], self._pages, self._free, self._state)
        add, most = np.add, np.maximum
        for table, unite in (
            (self._flights, add), (self._busy, add), (self._sums, add), (self._longest, most),
        ):  # fmt: skip
            table[: len(first)] = unite.reduceat(table[:old], first, axis=0)
            table[len(first) : old] = 0
        self._state[absorb.AT_CELL] = 0


def grown(
    table: NDArray[Any], size: int, axis: int = 0, *, used: int | None = None
) -> NDArray[Any]:
    """Return *table* with room for *size* entries along an axis; of its rows, some are *used*."""
    shape = list(table.shape)
    shape[axis] = size
    made = np.zeros(shape, table.dtype)
    rows = len(table) if used is None else used
    made[(slice(rows), *map(slice, table.shape[1:]))] = table[:rows]
    return made


_VALUES: Final = values()


def _felt(counts: NDArray[np.int64], ns: int, longest: float) -> Felt:
    used = np.flatnonzero(counts)
    ios = int(counts.sum())
    top = longest or (float(_VALUES[used[-1]]) if len(used) else 0.0)
    return Felt(ios, ns * 1e-9, top, _VALUES[used], counts[used])
