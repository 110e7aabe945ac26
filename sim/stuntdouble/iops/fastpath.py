"""The fast path: a plain first-come-first-served station as a recursion, without events.

Where nothing but arrivals acts on a pooled station, an I/O's start follows from the times at which
the servers come free (Kiefer and Wolfowitz, "On the theory of queues with many servers", 1955):

    start = max(arrival, the earliest time that a server is free)      completion = start + seconds

The floating-point expressions are the station's own, so starts and completions are the same as the
executable specification's, bit for bit.  An I/O is taken only if it *starts* before the limit, the
time of the next control event: until it starts, control may still change the rate.

Servers lie in rows, each sorted, filled up with servers that are never free:

    0.7 │ 0.9 │ 1.4 │ 2.0        the earliest is the least head of a row; its successor is carried
    0.8 │ 1.1 │  ∞  │  ∞         through that row by minima and maxima, without a branch

Up to four servers stay in registers: ``stuntdouble bench engine --only queue`` measures M/M/4 at a
load of 0.8.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.errors import Misuse, Unsupported
from stuntdouble.iops.work import DISK, Service, visit_seconds
from stuntdouble.trace import unit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_IN_REGISTERS: Final = 4  # servers: more would not be worth a function that spells them out
_WIDTH: Final = 16  # servers of a row.  Chosen by trying 2, 4, 8, 16 and 32
_WIDE: Final = 32  # the same, of a station with many
_MANY: Final = 192  # servers from which on rows are wide


class Started(NamedTuple):
    """I/Os that have started: seconds, arrays of one length, in order of arrival."""

    arrived: NDArray[np.float64]
    starts: NDArray[np.float64]
    completed: NDArray[np.float64]


class FastStation:
    """A pooled station, first come first served, that takes I/O as arrays.

    Args:
        service: how long a visit takes; no disk, whose arm would have to follow the addresses.
        servers: how many visits it serves at a time.
        key: of the counter-based stream that exponential times are drawn from, as the engine's.
    """

    def __init__(self, service: Service, servers: int, key: int) -> None:
        if service.kind == DISK:
            raise Unsupported("a disk in the fast path", "let an engine serve it")
        self._kind = service.kind
        self._row = service.row()
        self._key = np.uint64(key)
        self._free = idle(servers)
        self._rate = 1.0
        self._count = 0
        self._arrived = np.empty(0)
        self._what = np.empty((0, 2), np.int64)

    @property
    def rate(self) -> float:
        """How many times as fast as built it works, for what starts from now on."""
        return self._rate

    @rate.setter
    def rate(self, factor: float) -> None:
        if not 0 < factor < inf:
            raise Misuse("the rate of a station", f"{factor} is not above 0 and finite")
        self._rate = factor

    @property
    def waiting(self) -> int:
        """I/Os that were offered and have not started."""
        return len(self._arrived)

    def offer(self, arrived: ArrayLike, write: ArrayLike, size: ArrayLike) -> None:
        """Let I/Os arrive, in order, behind those that were offered before.

        Raises:
            ValueError: they are out of order, not finite, of no size, or not of one length.
        """
        times = np.atleast_1d(np.asarray(arrived, np.float64))
        what = np.empty((len(times), 2), np.int64)
        what[:, 0], what[:, 1] = write, size
        arrivals = np.concatenate([self._arrived, times])
        if not (np.isfinite(times).all() and (np.diff(arrivals) >= 0).all()):
            raise ValueError("arrivals are finite and in order")
        if not (what[:, 1] > 0).all():
            raise ValueError("an I/O has at least a byte")
        self._arrived, self._what = arrivals, np.concatenate([self._what, what])

    def advance(self, limit: float = inf) -> Started:
        """Start every I/O that can start before *limit*."""
        starts, completed = np.empty(self.waiting), np.empty(self.waiting)
        station = (self._kind, self._key, self._count, self._rate)
        done = int(
            serve(
                self._arrived, self._what, station, self._row, limit, self._free, starts, completed
            )
        )
        made = Started(self._arrived[:done], starts[:done], completed[:done])
        self._arrived, self._what = self._arrived[done:], self._what[done:]
        self._count += done
        return made


def idle(servers: int) -> NDArray[np.float64]:
    """Return the table of so many servers that are all free at 0.

    Raises:
        ValueError: there is none.
    """
    if servers < 1:
        raise ValueError(f"a station of {servers} servers: it needs at least one")
    width = _WIDE if servers >= _MANY else _WIDTH
    if servers <= _WIDTH:
        width = servers
    rows = -(-servers // width)
    free = np.full((rows, width), inf)
    free.T.flat[:servers] = 0.0  # column by column: no row is without one
    return free


@njit(forceinline=True)
def _earliest(free: Any) -> Any:
    """Return the row of the server that is free first, and when that is."""
    row = 0
    first = free[0, 0]
    for r in range(1, free.shape[0]):
        head = free[r, 0]
        row = r if head < first else row
        first = min(first, head)
    return row, first


@njit(forceinline=True)
def _occupy(free: Any, row: Any, until: Any) -> None:
    """Let the first server of *row* be busy *until* then, and take its place in the row."""
    for j in range(1, free.shape[1]):
        other = free[row, j]
        free[row, j - 1] = min(other, until)
        until = max(until, other)
    free[row, free.shape[1] - 1] = until


@njit(
    "int64(float64[::1], float64[::1], float64, float64, float64[:, ::1], float64[::1],"
    " float64[::1])",
    cache=True,
)
def _recurse_few(
    arrived: Any, built: Any, rate: Any, limit: Any, free: Any, starts: Any, completed: Any
) -> Any:
    """Do what ``recurse`` does for up to four servers, whose times stay in registers."""
    n = free.shape[1]
    f0 = free[0, 0]
    f1 = free[0, 1] if n > 1 else np.inf
    f2 = free[0, 2] if n > 2 else np.inf
    f3 = free[0, 3] if n > 3 else np.inf
    done = 0
    while done < arrived.shape[0]:
        start = max(arrived[done], f0)
        if start >= limit:
            break
        until = start + built[done] / rate
        starts[done] = start
        completed[done] = until
        f0 = min(f1, until)
        until = max(until, f1)
        f1 = min(f2, until)
        until = max(until, f2)
        f2 = min(f3, until)
        f3 = max(until, f3)
        done += 1
    free[0, 0] = f0
    if n > 1:
        free[0, 1] = f1
    if n > 2:
        free[0, 2] = f2
    if n > 3:
        free[0, 3] = f3
    return done


@njit(
    "int64(float64[::1], float64[::1], float64, float64, float64[:, ::1], float64[::1],"
    " float64[::1])",
    cache=True,
)
def recurse(
    arrived: Any, built: Any, rate: Any, limit: Any, free: Any, starts: Any, completed: Any
) -> Any:
    """Serve I/Os of given times at a station; return how many of them started before *limit*.

    Args:
        arrived: seconds, in order.
        built: seconds that each takes at rate 1.
        rate: how many times as fast as built the station works.
        limit: an I/O that would start then or later stays.
        free: of ``idle``; changed.
        starts: of those that started; filled in.
        completed: of those that started; filled in.
    """
    if free.size <= _IN_REGISTERS:
        return _recurse_few(arrived, built, rate, limit, free, starts, completed)
    for i in range(arrived.shape[0]):
        row, first = _earliest(free)
        start = max(arrived[i], first)
        if start >= limit:
            return i
        starts[i] = start
        completed[i] = start + built[i] / rate
        _occupy(free, row, completed[i])
    return arrived.shape[0]


@njit(
    "int64(float64[::1], int64[:, ::1], Tuple((int64, uint64, int64, float64)),"
    " UniTuple(float64, 6), float64, float64[:, ::1], float64[::1], float64[::1])",
    cache=True,
)
def serve(
    arrived: Any,
    what: Any,
    station: Any,
    row: Any,
    limit: Any,
    free: Any,
    starts: Any,
    completed: Any,
) -> Any:
    """Serve I/Os at a station, their times as it makes them; return how many started.

    Args:
        arrived: seconds, in order.
        what: rows of (write, bytes).
        station: kind of service, key of its draws, draws so far, rate.
        row: ``Service.row()``.
        limit: an I/O that would start then or later stays.
        free: of ``idle``; changed.
        starts: of those that started; filled in.
        completed: of those that started; filled in.
    """
    kind, key, count, rate = station
    for i in range(arrived.shape[0]):
        at, first = _earliest(free)
        start = max(arrived[i], first)
        if start >= limit:
            return i
        drawn = unit(key, count + i)
        starts[i] = start
        completed[i] = start + visit_seconds(kind, row, what[i, 0], what[i, 1], 0.0, drawn) / rate
        _occupy(free, at, completed[i])
    return arrived.shape[0]
