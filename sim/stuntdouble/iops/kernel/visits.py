"""From steps to visits, and from visits to ends of service.

A job's visits are a list in the order of their groups; a group's visits start side by side, in the
order in which the router gave them.  A job moves on when the last of its group has ended.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.engine import BACKGROUND, Purpose
from stuntdouble.iops.kernel.agenda import plan_as
from stuntdouble.iops.kernel.copies import NO_POOL, keep
from stuntdouble.iops.kernel.services import serve_in_turn, serve_now
from stuntdouble.iops.kernel.silent import fall_silent, may_be_silent
from stuntdouble.iops.kernel.tables import (
    A_BUSY,
    A_FIRST,
    A_FREE,
    A_HEAD,
    A_LATE_HEAD,
    A_LATE_TAIL,
    A_SERVERS,
    A_TAIL,
    DO_END,
    DO_GROUP_END,
    FULL,
    J_KEY,
    J_LEFT,
    J_VISITS,
    M_END,
    N_BLOCK_BYTES,
    N_BLOCKING,
    N_CACHES,
    N_SERVICES,
    N_VISIT_FREE,
    N_VISIT_TOP,
    O_FIRST,
    O_LAID,
    O_MEMBERS,
    O_PORT,
    O_RAID,
    O_STRIPE,
    P_LINK,
    P_LINK_BYTES,
    P_PURPOSE,
    V_BYTES,
    V_GROUP,
    V_JOB,
    V_NEXT,
    V_POSITION,
    V_PURPOSE,
    V_STATION,
    V_WRITE,
    see,
)
from stuntdouble.iops.route import PIECE_VISITS, add_visits
from stuntdouble.site import Role
from stuntdouble.site.tables import (
    T_BLOCK,
    T_BYTES,
    T_GROUP,
    T_POOL,
    T_ROLE,
    T_WRITE,
    view,
)

_VISITS_OF_PIECE = PIECE_VISITS
_DO_END = DO_END
_DO_GROUP_END = DO_GROUP_END
_FULL = FULL
_GUEST = int(Purpose.GUEST)
_SIDE = int(Purpose.SIDE)
_BACKGROUND = tuple(sorted(int(purpose) for purpose in BACKGROUND))
_ROLE_DATA = int(Role.DATA)
LAST_GROUP = 1 << 30
"""The group of a visit behind every group of a plan."""
_LAST_GROUP = LAST_GROUP
_NO_POOL = NO_POOL


@njit(forceinline=True)
def _new_visit(k: Any, job: Any, group: Any, station: Any, after: Any) -> Any:
    """Return a fresh visit behind the visit *after* of *job*; 0 is in front."""
    v = k.ints[N_VISIT_FREE, 0]
    if v != 0:
        k.ints[N_VISIT_FREE, 0] = k.visits[v, V_NEXT]
    else:
        v = k.ints[N_VISIT_TOP, 0]
        k.ints[N_VISIT_TOP, 0] = v + 1
    k.visits[v, V_JOB] = job
    k.visits[v, V_GROUP] = group
    k.visits[v, V_STATION] = station
    k.visits[v, V_NEXT] = 0
    if after == 0:
        k.jobs[job, J_VISITS] = v
    else:
        k.visits[after, V_NEXT] = v
    return v


@njit(forceinline=True)
def _append(k: Any, i: Any, job: Any, purpose: Any, last: Any) -> Any:
    """Make a visit of row *i* of what was routed; return it."""
    v = _new_visit(k, job, k.out[i, 0], k.out[i, 1], last)
    k.visits[v, V_WRITE] = k.out[i, 2]
    k.visits[v, V_POSITION] = k.out[i, 3]
    k.visits[v, V_BYTES] = k.out[i, 4]
    aside = purpose == _GUEST and k.out[i, 5] != _ROLE_DATA
    k.visits[v, V_PURPOSE] = _SIDE if aside else purpose
    return v


@njit(forceinline=True)
def enlist(k: Any, n: Any, job: Any, purpose: Any) -> Any:
    """Make a job's list of the *n* visits that were routed, group by group; return the last."""
    if n == 1:
        return _append(k, 0, job, purpose, 0)
    last = 0
    done = 0
    group = -_LAST_GROUP
    while done < n:
        following = _LAST_GROUP
        for i in range(n):
            here = k.out[i, 0]
            if here == group:
                last = _append(k, i, job, purpose, last)
                done += 1
            elif group < here < following:
                following = here
        group = following
    return last


@njit(forceinline=True)
def add_link(k: Any, job: Any, purpose: Any, link: Any, size: Any, last: Any) -> None:
    """Let *size* bytes cross the station *link* behind the visit *last* of a job."""
    v = _new_visit(k, job, _LAST_GROUP, link, last)
    k.visits[v, V_WRITE] = 0
    k.visits[v, V_POSITION] = 0
    k.visits[v, V_BYTES] = size
    k.visits[v, V_PURPOSE] = purpose


@njit(forceinline=True)
def route(k: Any, table: Any, i: Any, n: Any) -> Any:
    """Add the visits of the step in row *i* to *n* that are there; negative: they are too many."""
    pool = table[i, T_POOL]
    size = table[i, T_BYTES]
    shift = k.pools[pool, O_STRIPE]
    if n + ((size >> shift) + 2) * _VISITS_OF_PIECE + 1 > k.out.shape[0]:
        return -1
    step = (table[i, T_GROUP], table[i, T_ROLE], table[i, T_WRITE], table[i, T_BLOCK], size)
    raid, first = k.pools[pool, O_RAID], k.pools[pool, O_FIRST]
    g = (raid, first, k.pools[pool, O_MEMBERS], shift, k.pools[pool, O_PORT])
    return add_visits(step, n, g, k.ints[N_BLOCK_BYTES, 0], k.out)


@njit("int64(int64, int64, int64, int64, int64, int64, int64)", cache=True)
def lay_out(kt: Any, t: Any, count: Any, job: Any, purpose: Any, link: Any, size: Any) -> Any:
    """Give *job* the visits of the *count* steps in the site's table.

    *size* bytes cross the station *link* at the end; -1 is none.  Returns 0, FULL or NO_POOL.
    """
    k = see(kt)
    s = view(t)
    k.jobs[job, J_VISITS] = 0
    if k.ints[N_CACHES, 0] != 0:  # what caches take is decided when it sets out
        k.passages[job, P_PURPOSE] = purpose
        k.passages[job, P_LINK] = link
        k.passages[job, P_LINK_BYTES] = size
        return keep(kt, t, count, job, -1)
    n = 0
    for i in range(count):
        if k.pools[s.steps[i, T_POOL], O_LAID] == 0:
            return _NO_POOL
        n = route(k, s.steps, i, n)
        if n < 0:
            return _FULL
    most = max(k.ints[N_VISIT_TOP, 0], k.ints[N_SERVICES, 0])  # to come, and not over
    if most + n + 1 >= k.visits.shape[0]:
        return _FULL
    last = enlist(k, n, job, purpose)
    if link >= 0:
        add_link(k, job, purpose, link, size, last)
    if k.ints[N_BLOCKING, 0] != 0:
        return keep(kt, t, count, job, n)
    return 0


@njit(forceinline=True)
def _queue_up(k: Any, v: Any, station: Any) -> None:
    k.visits[v, V_NEXT] = 0
    late = k.stations[station, A_FIRST] != 0 and k.visits[v, V_PURPOSE] in _BACKGROUND
    head, last = (A_LATE_HEAD, A_LATE_TAIL) if late else (A_HEAD, A_TAIL)
    tail = k.stations[station, last]
    if tail == 0:
        k.stations[station, head] = v
    else:
        k.visits[tail, V_NEXT] = v
    k.stations[station, last] = v


@njit(forceinline=True)
def free_visit(k: Any, v: Any) -> None:
    """Give a visit's row back."""
    k.visits[v, V_NEXT] = k.ints[N_VISIT_FREE, 0]
    k.ints[N_VISIT_FREE, 0] = v


@njit(forceinline=True)
def _serve(k: Any, v: Any) -> None:
    """Start a service of a station with queues; its end is an event."""
    end, key = serve_now(k, v)
    plan_as(k, end, key, _DO_END, v)


@njit(forceinline=True)
def _come(k: Any, v: Any, station: Any) -> None:
    """Let a visit come to a station with queues."""
    if k.stations[station, A_BUSY] < k.stations[station, A_SERVERS]:
        k.stations[station, A_BUSY] += 1
        _serve(k, v)
    else:
        _queue_up(k, v, station)


@njit(forceinline=True)
def start_group(k: Any, job: Any) -> None:
    """Start the next group of a job that has one.

    Where all ends are known the last of them is the group's, and one event, or none.
    """
    v = k.jobs[job, J_VISITS]
    group = k.visits[v, V_GROUP]
    left = 0
    last, last_key = -1.0, 0
    while v != 0 and k.visits[v, V_GROUP] == group:
        station = k.visits[v, V_STATION]
        following = k.visits[v, V_NEXT]
        if k.stations[station, A_FREE] != 0:
            end, key = serve_in_turn(k, v)
            free_visit(k, v)
            if end > last or (end == last and key > last_key):
                last, last_key = end, key
        else:
            left += 1
            _come(k, v, station)
        v = following
    k.jobs[job, J_VISITS] = v
    if last >= 0.0:
        k.moments[job, M_END] = last
        k.jobs[job, J_KEY] = last_key
        if v == 0 and left == 0 and may_be_silent(k, job, last):
            fall_silent(k, job)
            return
        left += 1
        plan_as(k, last, last_key, _DO_GROUP_END, job)
    k.jobs[job, J_LEFT] = left


@njit(forceinline=True)
def end_visit(k: Any, v: Any) -> Any:
    """End a service of a station with queues, which takes its next visit; return whose it was."""
    station = k.visits[v, V_STATION]
    job = k.visits[v, V_JOB]
    free_visit(k, v)
    head, last = A_HEAD, A_TAIL
    if k.stations[station, head] == 0:
        head, last = A_LATE_HEAD, A_LATE_TAIL
    following = k.stations[station, head]
    if following != 0:
        behind = k.visits[following, V_NEXT]
        k.stations[station, head] = behind
        if behind == 0:
            k.stations[station, last] = 0
        _serve(k, following)
    else:
        k.stations[station, A_BUSY] -= 1
    return job


@njit(forceinline=True)
def is_group_over(k: Any, job: Any) -> Any:
    """Count an end of a job's group; say whether it was the last."""
    left = k.jobs[job, J_LEFT] - 1
    k.jobs[job, J_LEFT] = left
    return left == 0
