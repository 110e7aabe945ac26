"""Arrivals: an I/O of a load comes, and mostly goes on at once.

Where nothing waits and nothing can hold it up, it is admitted as it comes.  Else it takes its place
in its guest's queue, and goes on from there, in the same instant if it may.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.engine import Purpose
from stuntdouble.iops.kernel.agenda import push
from stuntdouble.iops.kernel.guests import attempt, is_open, site_is_full
from stuntdouble.iops.kernel.loads import new_job, next_of_load
from stuntdouble.iops.kernel.tables import (
    DO_ADMIT,
    DO_AFTER_ARRIVAL,
    DO_GO,
    DO_NEXT,
    DO_UNTIL,
    G_ARRIVED,
    G_FRESH,
    G_HEAD,
    G_IN_FLIGHT,
    G_LOOPS,
    G_RETIRED,
    G_STUNS,
    G_TAIL,
    G_WAITING,
    H_SHIFT,
    J_ADMITTED,
    J_BEFORE,
    J_DISK,
    J_LENGTH,
    J_LOADER,
    J_NEXT,
    J_OFFSET,
    J_WRITE,
    JOB_GUEST,
    L_DISK,
    L_GUEST,
    L_LENGTH,
    L_OFFSET,
    L_WRITE,
    M_ARRIVED,
    N_ANY_CUT,
    N_ANY_FENCE,
    N_ASK,
    N_LIMITS,
    N_WATCHES,
    NOW,
    OVERSIZE,
)
from stuntdouble.iops.kernel.visits import lay_out
from stuntdouble.iops.kernel.watches import check_later
from stuntdouble.site.rules import IO_BLOCKS_MAX
from stuntdouble.site.tables import C_BLOCK_BYTES

_DO_ADMIT, _DO_AFTER_ARRIVAL, _DO_NEXT, _DO_UNTIL = DO_ADMIT, DO_AFTER_ARRIVAL, DO_NEXT, DO_UNTIL
_DO_GO = DO_GO
_JOB_GUEST = JOB_GUEST
_OVERSIZE = OVERSIZE
_GUEST = int(Purpose.GUEST)
_IO_BLOCKS_MAX = IO_BLOCKS_MAX


@njit(forceinline=True)
def _new_io(k: Any, g: Any, loader: Any) -> Any:
    """Return a job for the I/O that a loader has at hand."""
    job = new_job(k, _JOB_GUEST, g)
    k.jobs[job, J_DISK] = k.loaders[loader, L_DISK]
    k.jobs[job, J_WRITE] = k.loaders[loader, L_WRITE]
    k.jobs[job, J_OFFSET] = k.loaders[loader, L_OFFSET]
    k.jobs[job, J_LENGTH] = k.loaders[loader, L_LENGTH]
    k.moments[job, M_ARRIVED] = k.now[NOW, 0]
    return job


@njit(forceinline=True)
def _queue_up(k: Any, g: Any, job: Any) -> None:
    """Put a job behind its guest's queue, and let it be admitted if it may."""
    k.guests[g, G_WAITING] += 1
    tail = k.guests[g, G_TAIL]
    k.jobs[job, J_BEFORE] = tail
    if tail == 0:
        k.guests[g, G_HEAD] = job
    else:
        k.jobs[tail, J_NEXT] = job
    k.guests[g, G_TAIL] = job
    k.guests[g, G_FRESH] = job
    push(k, _DO_AFTER_ARRIVAL, g)
    check_later(k)
    push(k, _DO_ADMIT, g)


@njit(forceinline=True)
def _is_free(k: Any, s: Any, g: Any) -> Any:
    """Say whether nothing can hold up an I/O of a guest that runs."""
    return (
        k.guests[g, G_HEAD] == 0
        and k.ints[N_WATCHES, 0] == 0
        and k.ints[N_ANY_FENCE, 0] == 0
        and k.ints[N_ANY_CUT, 0] == 0
        and k.ints[N_LIMITS, 0] == 0
        and is_open(k, g)
        and not site_is_full(k, s)
    )


@njit(forceinline=True)
def _come(k: Any, kt: Any, t: Any, s: Any, g: Any, job: Any) -> Any:
    """Admit a job as it comes, or let it queue up; return as ``arrive`` does."""
    if _is_free(k, s, g):
        steps = attempt(k, t, s, g, job)
        if steps >= 0:
            code = lay_out(kt, t, steps, job, _GUEST, -1, 0)
            if code != 0:
                return code, 0
            k.guests[g, G_IN_FLIGHT] += 1
            return 0, job
    _queue_up(k, g, job)
    return 0, 0


@njit(forceinline=True)
def arrive(k: Any, kt: Any, t: Any, s: Any, loader: Any) -> Any:
    """Let a loader's I/O arrive if its time has come, else let it wait on.

    Returns why Python is needed, or 0, and the job that goes on at once, if one does.
    """
    g = k.loaders[loader, L_GUEST]
    if k.guests[g, G_RETIRED] != 0:
        return 0, 0
    come = k.loader_seconds[loader, 0] + k.clocks[g, H_SHIFT] <= k.now[NOW, 0]
    if k.guests[g, G_STUNS] != 0 or not come:
        push(k, _DO_UNTIL, loader)
        return 0, 0
    job = _new_io(k, g, loader)
    if k.jobs[job, J_LENGTH] > _IO_BLOCKS_MAX * s.counters[C_BLOCK_BYTES, 0]:
        k.ints[N_ASK, 0] = job
        return _OVERSIZE, 0
    k.guests[g, G_ARRIVED] += 1
    if k.guests[g, G_LOOPS] != 0:
        k.jobs[job, J_LOADER] = loader
    else:
        next_of_load(k, s, loader)
    return _come(k, kt, t, s, g, job)


@njit(forceinline=True)
def after_arrival(k: Any, g: Any) -> None:
    """Let what has just arrived go on, if it was admitted at once."""
    job = k.guests[g, G_FRESH]
    k.guests[g, G_FRESH] = 0
    if job != 0 and k.jobs[job, J_ADMITTED] != 0:
        push(k, _DO_GO, job)
