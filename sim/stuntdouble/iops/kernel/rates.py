"""Rates: a station that knew when its visits end thinks again about those that have not started.

Services keep the time that they began with.  The visits that wait are the station's last rows of
what was served, and each of them starts when another ends: taking them back in turn, the last first,
gives every server the end before it.  Then they are served once more, at the new rate.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.agenda import has_happened, restore_order
from stuntdouble.iops.kernel.services import at_rate, occupy, order_servers
from stuntdouble.iops.kernel.silent import reached
from stuntdouble.iops.kernel.tables import (
    A_FREE,
    A_SERVERS,
    A_TAKEN,
    B_RATE,
    DO_GROUP_END,
    J_BEFORE,
    J_KEY,
    M_END,
    N_AGENDA,
    N_SERVICES,
    SERVED_BUILT,
    SERVED_JOB,
    SERVED_KEY,
    SERVED_SECONDS,
    SERVED_START,
    SERVED_STATION,
    see,
)

_DO_GROUP_END = DO_GROUP_END
_MARK = -1  # in J_BEFORE, which is of no use to a job under way


@njit
def started(k: Any, station: Any) -> Any:
    """Return the row of the first of a station's visits that has not started; the end if all have.

    Of those that start at this very instant as many have as servers were idle before it, or have
    been left in it.
    """
    now, begun = reached(k)
    n = k.ints[N_SERVICES, 0]
    left = k.stations[station, A_SERVERS]
    for i in range(n):
        if k.service_kinds[i, SERVED_STATION] == station:
            start = k.services[i, SERVED_START]
            end = start + k.services[i, SERVED_SECONDS]
            left -= int(start < now <= end)
            if end == now and begun:
                left += int(has_happened(k, k.service_kinds[i, SERVED_KEY]))
    for i in range(n):
        if k.service_kinds[i, SERVED_STATION] == station and k.services[i, SERVED_START] >= now:
            if k.services[i, SERVED_START] > now or left <= 0:
                return i
            left -= 1
    return n


@njit
def _take_back(k: Any, station: Any, row: Any) -> None:
    """Give the servers the ends back that they had before the visits from *row* on."""
    order_servers(k, station)
    for i in range(k.ints[N_SERVICES, 0] - 1, row - 1, -1):
        if k.service_kinds[i, SERVED_STATION] == station:
            start = k.services[i, SERVED_START]
            end = start + k.services[i, SERVED_SECONDS]
            server = k.stations[station, A_FREE]
            while k.free[server, 0] != end:
                server += 1
            k.free[server, 0] = start
    k.stations[station, A_TAKEN] = k.stations[station, A_SERVERS]
    order_servers(k, station)


@njit
def _serve_again(k: Any, station: Any, row: Any, now: Any) -> None:
    """Serve the visits from *row* on; mark their jobs."""
    first = k.stations[station, A_FREE]
    for i in range(row, k.ints[N_SERVICES, 0]):
        if k.service_kinds[i, SERVED_STATION] == station:
            start = max(now, k.free[first, 0])
            seconds = at_rate(k.services[i, SERVED_BUILT], k.speeds[station, B_RATE])
            k.services[i, SERVED_START] = start
            k.services[i, SERVED_SECONDS] = seconds
            occupy(k, station, start + seconds)
            job = k.service_kinds[i, SERVED_JOB]
            k.jobs[job, J_BEFORE] = _MARK
            k.moments[job, M_END] = -1.0


@njit
def _set_ends(k: Any) -> None:
    """Let the groups of the jobs that are marked end with their last visit, as it is now."""
    n = k.ints[N_SERVICES, 0]
    for i in range(n):
        job = k.service_kinds[i, SERVED_JOB]
        if k.jobs[job, J_BEFORE] == _MARK:
            end = k.services[i, SERVED_START] + k.services[i, SERVED_SECONDS]
            key = k.service_kinds[i, SERVED_KEY]
            last = k.moments[job, M_END]
            if end > last or (end == last and key > k.jobs[job, J_KEY]):
                k.moments[job, M_END] = end
                k.jobs[job, J_KEY] = key
    for e in range(k.ints[N_AGENDA, 0]):
        job = k.agenda[e, 3]
        if k.agenda[e, 2] == _DO_GROUP_END and k.jobs[job, J_BEFORE] == _MARK:
            k.times[e, 0] = k.moments[job, M_END]
            k.agenda[e, 1] = k.jobs[job, J_KEY]
    restore_order(k)
    for i in range(n):
        job = k.service_kinds[i, SERVED_JOB]
        if k.jobs[job, J_BEFORE] == _MARK:
            k.jobs[job, J_BEFORE] = 0


@njit("void(int64, int64, float64)", cache=True)
def set_rate(kt: Any, station: Any, rate: Any) -> None:
    """Let a station work *rate* times as fast as built, from the next service that starts on."""
    k = see(kt)
    k.speeds[station, B_RATE] = rate
    if k.stations[station, A_FREE] == 0:
        return
    row = started(k, station)
    if row < k.ints[N_SERVICES, 0]:
        now, _ = reached(k)
        _take_back(k, station, row)
        _serve_again(k, station, row, now)
        _set_ends(k)
