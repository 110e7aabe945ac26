"""Taking over measured rows: one compiled pass over a batch, a few counters for each row.

All sums are of whole nanoseconds, so that they depend neither on the order of rows nor on where
one batch ends and the next begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.iops.measure.buckets import BASE, BUCKETS, PAGE, PAGE_BITS, SHIFT, new_page

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLOTS_A_SECOND: Final = 8  # sums for recent latency: a power of two, so that edges are exact
SLOTS: Final = 256  # 32 s; a hypervisor's view goes back 20 s

# What an entry of a table holds.
SUM_NS, SUM_IOS = range(2)
(AT_PAGES, AT_FREE, AT_CELL, AT_SLOT, AT_SPANS, AT_PENDING, AT_ROWS) = range(7)


class Tables(NamedTuple):
    """The tables that ``absorb_ios`` counts in; sums are of latency in nanoseconds."""

    starts: NDArray[np.float64]  # of each cell; a row that is never reached follows the last one
    labels: NDArray[np.int64]  # of each cell
    heads: NDArray[np.int32]  # by cell, histograms of all guests: a page for each part of the range
    sums: NDArray[np.int64]  # by cell
    longest: NDArray[np.float64]  # by cell: seconds
    guest_heads: NDArray[np.int32]  # by guest and label: histograms
    guest_sums: NDArray[np.int64]  # by guest and label
    guest_longest: NDArray[np.float64]  # by guest and label: seconds
    pages: NDArray[np.uint32]  # counters of histograms
    free: NDArray[np.int32]  # pages that can be used again
    state: NDArray[np.int64]  # how far each of them is used


@njit(cache=True)
def absorb_ios(tables: Any, row: Any, guests: Any, times: Any, seconds: Any, bits: Any) -> Any:
    """Count I/Os from *row* on; return the first that found no page, or the number of rows.

    Args:
        tables: ``Tables``.
        row: where to begin.
        guests: the number of each I/O's guest.
        times: rows of (arrived, completed).
        seconds: completed - arrived.
        bits: the same memory as whole numbers.
    """
    starts, labels, heads, sums, longest = tables[:5]
    guest_heads, guest_sums, guest_longest, pages, free, state = tables[5:]
    cell = state[AT_CELL]
    while row < len(guests) and state[AT_FREE] + len(pages) - state[AT_PAGES] >= 2:
        guest, arrived, took = guests[row], times[row, 0], seconds[row]
        while arrived < starts[cell] and cell > 0:
            cell -= 1
        while arrived >= starts[cell + 1]:
            cell += 1
        label = labels[cell]
        bucket = min(max((bits[row] >> SHIFT) - BASE, 0), BUCKETS - 1)
        part, place = bucket >> PAGE_BITS, bucket & (PAGE - 1)
        page = heads[cell, part]
        if page == 0:
            page = heads[cell, part] = new_page(free, state)
        pages[page, place] += 1
        page = guest_heads[guest, label, part]
        if page == 0:
            page = guest_heads[guest, label, part] = new_page(free, state)
        pages[page, place] += 1
        ns = np.int64(took * 1e9 + 0.5)
        sums[cell] += ns
        longest[cell] = max(longest[cell], took)
        guest_sums[guest, label] += ns
        guest_longest[guest, label] = max(guest_longest[guest, label], took)
        row += 1
    state[AT_CELL] = cell
    return row


@njit(forceinline=True)
def _put_down(edges: Any, cell: Any, at: Any, end: Any, column: Any, ns: Any) -> Any:
    """Add the time from *at* to *end* to *column* of the cells it lies in; return the first of them.

    The search begins at *cell*, since rows come almost in order.
    """
    while edges[cell] > at:
        cell -= 1
    while edges[cell + 1] <= at:
        cell += 1
    there = cell
    while end > edges[there + 1]:
        ns[there, column] += edges[there + 1] - at
        there += 1
        at = edges[there]
    ns[there, column] += end - at
    return cell


@njit(
    "void(int64[::1], float64[:, ::1], float64[::1], int64[::1], int64[:, ::1], float64[::1],"
    " int64[:, :, ::1], int64[::1])",
    cache=True,
)
def absorb_flights(
    guests: Any,
    times: Any,
    seconds: Any,
    edges: Any,
    flights: Any,
    last: Any,
    recent: Any,
    state: Any,
) -> None:
    """Put down where I/Os were in flight, when the last one arrived, and what completed lately.

    Args:
        guests: the number of each I/O's guest.
        times: rows of (arrived, completed).
        seconds: completed - arrived.
        edges: of cells, in nanoseconds.
        flights: by cell and guest: nanoseconds of I/O in flight.
        last: by guest: the latest arrival, in seconds.
        recent: by slot of time and guest: latency in nanoseconds, completions.
        state: AT_SLOT tells the latest slot.
    """
    cell, slot = 0, state[AT_SLOT]
    for row in range(len(guests)):
        guest, completed = guests[row], times[row, 1]
        at, end = np.int64(times[row, 0] * 1e9 + 0.5), np.int64(completed * 1e9 + 0.5)
        cell = _put_down(edges, cell, at, end, guest, flights)
        last[guest] = max(last[guest], times[row, 0])
        now = np.int64(completed * SLOTS_A_SECOND)
        while slot < now:
            slot = max(slot + 1, now - SLOTS + 1)
            recent[slot & (SLOTS - 1), :, :] = 0
        if slot - now < SLOTS:
            recent[now & (SLOTS - 1), guest, SUM_NS] += np.int64(seconds[row] * 1e9 + 0.5)
            recent[now & (SLOTS - 1), guest, SUM_IOS] += 1
    state[AT_SLOT] = slot


@njit(
    "void(int64[::1], float64[:, ::1], int64[::1], float64[:, ::1], int64[:, :, ::1])", cache=True
)
def absorb_before(guests: Any, times: Any, ns: Any, told: Any, sums: Any) -> None:
    """Count each guest's I/Os that arrived before each of the moments *told* for it."""
    for row in range(len(guests)):
        guest = guests[row]
        for k in range(told.shape[1]):
            if times[row, 0] < told[guest, k]:
                sums[guest, k, SUM_NS] += ns[row]
                sums[guest, k, SUM_IOS] += 1


@njit(
    "int64(int64, int64[::1], float64[:, ::1], float64, float64[:, ::1], int32[::1], int32[::1],"
    " int64[::1])",
    cache=True,
)
def absorb_silences(
    row: Any, guests: Any, times: Any, bound: Any, spans: Any, before: Any, last: Any, state: Any
) -> Any:
    """Unite the I/Os that took longer than *bound*, by guest; return as ``absorb_ios`` does.

    Rows come in order of completion, so that one can only touch a guest's latest spans: they are
    a list from *last* on by *before*, and of those at most a run's length / *bound* stay.

    Args:
        row: where to begin.
        guests: the number of each I/O's guest.
        times: rows of (arrived, completed).
        bound: in seconds.
        spans: rows of (start, end); row 0 belongs to nobody.
        before: of each span, the one before it of the same guest.
        last: each guest's latest span.
        state: counters of tables.
    """
    while row < len(guests):
        start, end, guest = times[row, 0], times[row, 1], guests[row]
        if end - start > bound:
            reused = 0
            while last[guest] != 0 and spans[last[guest], 1] >= start:
                reused = last[guest]
                start = min(start, spans[reused, 0])
                last[guest] = before[reused]
            if reused == 0:
                reused = state[AT_SPANS]
                if reused == len(spans):
                    break
                state[AT_SPANS] += 1
            before[reused] = last[guest]
            spans[reused, 0], spans[reused, 1] = start, end
            last[guest] = reused
        row += 1
    return row


@njit(
    "void(int64[:, ::1], int64, int64[::1], int64[:, ::1], int64[::1])",
    cache=True,
)
def absorb_spells(spells: Any, until: Any, edges: Any, busy: Any, state: Any) -> None:
    """Put down the time of *spells* up to *until* where it was spent; keep what is left of them.

    Args:
        spells: rows of (account, start, end), in nanoseconds; what is left comes to the front.
        until: in nanoseconds: all edges up to here are known.
        edges: of cells, in nanoseconds.
        busy: nanoseconds by cell and account; changed.
        state: AT_PENDING tells how many spells there are.
    """
    kept, cell = 0, 0
    for k in range(state[AT_PENDING]):
        account, at, end = spells[k, 0], spells[k, 1], spells[k, 2]
        stop = min(end, until)
        if stop > at:
            cell = _put_down(edges, cell, at, stop, account, busy)
            at = stop
        if end > until:
            spells[kept, 0], spells[kept, 1], spells[kept, 2] = account, at, end
            kept += 1
    state[AT_PENDING] = kept


@njit(
    "int64(int64[:, ::1], float64[:, ::1], int64[:, ::1], int32[:, ::1], int64[::1], int64[::1])",
    cache=True,
)
def note_visits(kinds: Any, times: Any, spells: Any, accounts: Any, counts: Any, state: Any) -> Any:
    """Turn visits into spells on accounts, which are made as they are needed; return how many.

    Args:
        kinds: rows of (station, purpose).
        times: rows of (start, seconds).
        spells: room for as many more rows of (account, start, end) as there are visits.
        accounts: by station and purpose; 0 where there is none yet.
        counts: visits of each account; there is room for as many as there can be.
        state: AT_PENDING tells how many spells there are, AT_ROWS how many accounts.
    """
    at = state[AT_PENDING]
    for k in range(len(kinds)):
        account = accounts[kinds[k, 0], kinds[k, 1]]
        if account == 0:
            account = state[AT_ROWS]
            state[AT_ROWS] += 1
            accounts[kinds[k, 0], kinds[k, 1]] = account
        counts[account] += 1
        start, seconds = times[k, 0], times[k, 1]
        spells[at, 0] = account
        spells[at, 1] = np.int64(start * 1e9 + 0.5)
        spells[at, 2] = np.int64((start + seconds) * 1e9 + 0.5)
        at += 1
    state[AT_PENDING] = at
    return at
