"""The way of a job through caches and past copies, from its admission to its end.

    set out ─▶ room, pool by pool ─▶ copies of others ─▶ visits, group by group ─▶ destages, ended

A job that has to do with neither is never here.  See ``iops.passage``.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel import cache, copies
from stuntdouble.iops.kernel.tables import (
    FULL,
    J_KIND,
    J_LEFT,
    J_VISITS,
    JOB_DESTAGE,
    N_CACHES,
    P_LAST_COPY,
    P_LATER,
    P_SPANS,
    P_STATE,
    V_GROUP,
    WAY_COPIES,
    WAY_MOVING,
    WAY_ROOM,
    WAY_SET_OUT,
    see,
)
from stuntdouble.iops.kernel.visits import LAST_GROUP

STAYS = -2
"""What ``pass_on`` returns for a job that does not go on now: it waits, or has ended."""

_STAYS = STAYS
_FULL = FULL
_JOB_DESTAGE = JOB_DESTAGE
_LAST_GROUP = LAST_GROUP
_WAY_SET_OUT, _WAY_ROOM, _WAY_COPIES = WAY_SET_OUT, WAY_ROOM, WAY_COPIES
_WAY_MOVING = WAY_MOVING


@njit(forceinline=True)
def _set_out(k: Any, kt: Any, job: Any) -> Any:
    """Bring a job to its first visit; return STAYS where it waits, FULL, or 0."""
    if k.passages[job, P_STATE] == _WAY_SET_OUT:
        k.jobs[job, J_LEFT] = 1  # it has started, though it may wait
        k.passages[job, P_STATE] = _WAY_ROOM
        if k.ints[N_CACHES, 0] != 0:
            code = cache.part(kt, job)
            if code != 0:
                return code
    if k.passages[job, P_STATE] == _WAY_ROOM:
        if not cache.enter(k, job):
            return _STAYS
        k.passages[job, P_STATE] = _WAY_COPIES
    if k.passages[job, P_STATE] == _WAY_COPIES:
        if copies.are_full(k):
            return _FULL
        k.passages[job, P_STATE] = _WAY_MOVING
        if copies.set_out(k, job) != 0:
            return _STAYS
    return 0


@njit("int64(int64, int64)", cache=True)
def pass_on(kt: Any, job: Any) -> Any:
    """Let a job go on; return 0 where it makes visits, or ends, as any other now."""
    k = see(kt)
    code = _set_out(k, kt, job)
    if code != 0:
        return code
    visit = k.jobs[job, J_VISITS]
    moves = visit != 0 and k.visits[visit, V_GROUP] < _LAST_GROUP
    # the next visits and those let go do not meet before this event is over: either may be first
    copying = k.passages[job, P_SPANS] != 0
    if copying and not (moves and k.visits[visit, V_GROUP] <= k.passages[job, P_LAST_COPY]):
        copies.end(k, job)
        copying = False
    is_destage = k.jobs[job, J_KIND] == _JOB_DESTAGE
    if moves:
        if not (copying or is_destage or k.passages[job, P_LATER] != 0):
            k.passages[job, P_STATE] = 0
        return 0
    if is_destage:
        cache.end_destage(k, job)
        return _STAYS
    k.passages[job, P_STATE] = 0
    cache.leave_to_caches(k, job)
    return 0
