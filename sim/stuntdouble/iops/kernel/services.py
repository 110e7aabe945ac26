"""Services: how long they take, when they start, when they end.

Most stations serve in the order of coming.  Such a station knows of a visit, as soon as it comes,
when it starts and when it ends: it starts when the first of the servers comes free (the recursion of
Kiefer and Wolfowitz).  It needs no queue, and no event for every end.  Only a change of its rate
makes it think again (``rates``).

A station that serves the foreground first cannot know, and one with room for everybody need not.
They have queues, and an event for each end (``visits``).
"""

from __future__ import annotations

from typing import Any, Final

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.agenda import next_key
from stuntdouble.iops.kernel.tables import (
    A_ARM,
    A_COUNT,
    A_FREE,
    A_IDLE,
    A_KIND,
    A_SERVERS,
    A_TAKEN,
    B_RATE,
    B_ROW,
    B_STROKE,
    B_TRACK,
    N_SERVICES,
    NOW,
    RANK_END,
    SERVED_BUILT,
    SERVED_JOB,
    SERVED_KEY,
    SERVED_PURPOSE,
    SERVED_SECONDS,
    SERVED_START,
    SERVED_STATION,
    V_BYTES,
    V_JOB,
    V_POSITION,
    V_PURPOSE,
    V_STATION,
    V_WRITE,
)
from stuntdouble.iops.work import DISK, EXPONENTIAL, travel, visit_seconds
from stuntdouble.trace import unit

IS_HEAP: Final = -1
"""What stands for the length of a list where a station's ends are a heap."""

LIST_MIN: Final = 2
"""A station of fewer servers never has a list."""

_DISK = DISK
_EXPONENTIAL = EXPONENTIAL
_RANK_END = RANK_END
_IS_HEAP = IS_HEAP
_LIST_MIN = LIST_MIN
_MANY_SHIFT = 2  # a quarter of the servers: as many visits pay for a look at all of them


@njit(forceinline=True)
def _seconds_as_built(k: Any, v: Any, station: Any) -> Any:
    """Return how long a visit takes where the station works as it was built."""
    size = k.visits[v, V_BYTES]
    kind = k.stations[station, A_KIND]
    distance = 0.0
    if kind == _DISK:
        position = k.visits[v, V_POSITION]
        stroke = k.speeds[station, B_STROKE]
        track = k.speeds[station, B_TRACK]
        distance, passed = travel(k.stations[station, A_ARM], position, stroke, track)
        k.stations[station, A_ARM] = position + size
        size += passed
    count = k.stations[station, A_COUNT]
    k.stations[station, A_COUNT] = count + 1
    turns = kind == _EXPONENTIAL or (kind == _DISK and distance > 0.0)
    drawn = unit(k.keys[station, 0], count) if turns else 0.0
    row = (
        k.speeds[station, B_ROW],
        k.speeds[station, B_ROW + 1],
        k.speeds[station, B_ROW + 2],
        k.speeds[station, B_ROW + 3],
        k.speeds[station, B_ROW + 4],
        k.speeds[station, B_ROW + 5],
    )
    return visit_seconds(kind, row, k.visits[v, V_WRITE], size, distance, drawn)


@njit(forceinline=True)
def at_rate(built: Any, rate: Any) -> Any:
    """Return how long a service takes at a rate: 1 but for faults, and a division is slow."""
    return built if rate == 1.0 else built / rate


@njit(forceinline=True)
def _serve(k: Any, v: Any, station: Any, start: Any) -> Any:
    """Serve a visit from *start* on; return when its service ends, and the key of that event."""
    built = _seconds_as_built(k, v, station)
    seconds = at_rate(built, k.speeds[station, B_RATE])
    key = next_key(k, _RANK_END + station)
    n = k.ints[N_SERVICES, 0]
    k.ints[N_SERVICES, 0] = n + 1
    k.service_kinds[n, SERVED_STATION] = station
    k.service_kinds[n, SERVED_PURPOSE] = k.visits[v, V_PURPOSE]
    k.service_kinds[n, SERVED_JOB] = k.visits[v, V_JOB]
    k.service_kinds[n, SERVED_KEY] = key
    k.services[n, SERVED_START] = start
    k.services[n, SERVED_SECONDS] = seconds
    k.services[n, SERVED_BUILT] = built
    return start + seconds, key


@njit(forceinline=True)
def serve_now(k: Any, v: Any) -> Any:
    """Serve a visit from now on; return when its service ends, and the key of that event."""
    return _serve(k, v, k.visits[v, V_STATION], k.now[NOW, 0])


# Servers. ------------------------------------------------------------------------------------------
#
# While many servers are idle nobody asks which of them was idle first: their ends are a list, and
# what is over is dropped when the list is full.  While most are busy the ends are a heap, of as many
# entries as there are servers, with one of infinite time behind it.


@njit(forceinline=True)
def _sink(k: Any, first: Any, servers: Any, i: Any, end: Any) -> None:
    """Put *end* into the heap, at *i* or below."""
    while True:
        below = 2 * i + 1
        if below >= servers:
            break
        below += int(k.free[first + below + 1, 0] < k.free[first + below, 0])
        time = k.free[first + below, 0]
        if end <= time:
            break
        k.free[first + i, 0] = time
        i = below
    k.free[first + i, 0] = end


@njit(forceinline=True)
def occupy(k: Any, station: Any, end: Any) -> None:
    """Let the server that comes free first be busy until *end*."""
    _sink(k, k.stations[station, A_FREE], k.stations[station, A_SERVERS], 0, end)


@njit
def order_servers(k: Any, station: Any) -> None:
    """Make a heap of a station's ends; who has none was free all along."""
    first, servers = k.stations[station, A_FREE], k.stations[station, A_SERVERS]
    if k.stations[station, A_TAKEN] == _IS_HEAP:
        return
    for i in range(k.stations[station, A_TAKEN], servers):
        k.free[first + i, 0] = 0.0
    k.stations[station, A_TAKEN] = _IS_HEAP
    for i in range(servers // 2 - 1, -1, -1):
        _sink(k, first, servers, i, k.free[first + i, 0])


@njit
def _drop_idle(k: Any, station: Any) -> None:
    """Make a list of a station's ends without those that are over, if they are many; else a heap."""
    first, servers = k.stations[station, A_FREE], k.stations[station, A_SERVERS]
    now = k.now[NOW, 0]
    idle = 0
    for i in range(servers):
        idle += int(k.free[first + i, 0] <= now)
    if idle < max(servers >> _MANY_SHIFT, 1):
        order_servers(k, station)
        return
    kept = 0
    for i in range(servers):
        end = k.free[first + i, 0]
        if end > now:
            k.free[first + kept, 0] = end
            kept += 1
    k.stations[station, A_TAKEN] = kept


@njit(forceinline=True)
def _look_for_idle(k: Any, station: Any) -> None:
    """See whether it is a list or a heap that a station's ends should be: seldom, as it takes long."""
    servers = k.stations[station, A_SERVERS]
    if k.stations[station, A_TAKEN] == _IS_HEAP:
        free = k.free[k.stations[station, A_FREE], 0] <= k.now[NOW, 0]
        if servers < _LIST_MIN or not free:
            return
        k.stations[station, A_IDLE] += 1
        if k.stations[station, A_IDLE] < servers:
            return
        k.stations[station, A_IDLE] = 0
    _drop_idle(k, station)


@njit(forceinline=True)
def serve_in_turn(k: Any, v: Any) -> Any:
    """Serve a visit when its turn comes; return when its service ends, and the key of that event."""
    station = k.visits[v, V_STATION]
    first = k.stations[station, A_FREE]
    if not 0 <= k.stations[station, A_TAKEN] < k.stations[station, A_SERVERS]:
        _look_for_idle(k, station)
    taken = k.stations[station, A_TAKEN]
    if taken >= 0:
        end, key = _serve(k, v, station, k.now[NOW, 0])
        k.free[first + taken, 0] = end
        k.stations[station, A_TAKEN] = taken + 1
    else:
        end, key = _serve(k, v, station, max(k.now[NOW, 0], k.free[first, 0]))
        occupy(k, station, end)
    return end, key
