"""Loads: loops that take the next I/O of a load and wait for its time; and the rows of jobs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.np.numpy_support import carray

from stuntdouble.compiled import njit
from stuntdouble.compiled.tables import as_pointer, prefetch
from stuntdouble.iops.kernel.agenda import add_normal, plan, push
from stuntdouble.iops.kernel.tables import (
    DISK_NUMBER,
    DO_ADMIT,
    DO_ARRIVAL,
    DO_NEXT,
    G_COUNT,
    G_CURSOR,
    G_DISKS,
    G_ENDED,
    G_LOOPS,
    G_RESUMED_HEAD,
    G_RESUMED_TAIL,
    G_RETIRED,
    G_ROWS,
    G_SECONDS,
    G_STUNS,
    H_SHIFT,
    H_STUNNED_AT,
    J_ADMITTED,
    J_KIND,
    J_LOADER,
    J_NEXT,
    J_OWNER,
    L_DISK,
    L_GUEST,
    L_LENGTH,
    L_NEXT,
    L_OFFSET,
    L_WRITE,
    LOAD_REFUSED,
    N_JOB_FREE,
    N_JOB_TOP,
    N_JOBS,
    N_LOADERS,
    N_REFILL,
    NEWS_UNTIL,
    RANK_ARRIVAL,
)
from stuntdouble.site.places import approach_way, approach_words
from stuntdouble.site.tables import C_BLOCK_SHIFT

_DO_ADMIT = DO_ADMIT
_DO_ARRIVAL = DO_ARRIVAL
_DO_NEXT = DO_NEXT
_LOAD_REFUSED = LOAD_REFUSED
_NEWS_UNTIL = NEWS_UNTIL
_RANK_ARRIVAL = RANK_ARRIVAL
_AHEAD = 4  # rows: two to a line of the cache
_ROW_BYTES = 32  # disk, write, offset and length


# Jobs. -------------------------------------------------------------------------------------------


@njit(forceinline=True)
def new_job(k: Any, kind: Any, owner: Any) -> Any:
    """Return a fresh job."""
    job = k.ints[N_JOB_FREE, 0]
    if job != 0:
        k.ints[N_JOB_FREE, 0] = k.jobs[job, J_NEXT]
    else:
        job = k.ints[N_JOB_TOP, 0]
        k.ints[N_JOB_TOP, 0] = job + 1
    k.ints[N_JOBS, 0] += 1
    k.jobs[job, J_KIND] = kind
    k.jobs[job, J_OWNER] = owner
    k.jobs[job, J_LOADER] = 0
    k.jobs[job, J_NEXT] = 0
    k.jobs[job, J_ADMITTED] = 0
    return job


@njit(forceinline=True)
def free_job(k: Any, job: Any) -> None:
    """Give a job's row back."""
    k.jobs[job, J_NEXT] = k.ints[N_JOB_FREE, 0]
    k.ints[N_JOB_FREE, 0] = job
    k.ints[N_JOBS, 0] -= 1


# Loads. ------------------------------------------------------------------------------------------


@njit(forceinline=True)
def wait_until(k: Any, loader: Any) -> None:
    """Let a loader wait for its time on its guest's clock, which stands still in a stun."""
    g = k.loaders[loader, L_GUEST]
    if k.guests[g, G_RETIRED] != 0:
        return
    if k.guests[g, G_STUNS] != 0:
        k.loaders[loader, L_NEXT] = 0
        tail = k.guests[g, G_RESUMED_TAIL]
        if tail == 0:
            k.guests[g, G_RESUMED_HEAD] = loader
        else:
            k.loaders[tail, L_NEXT] = loader
        k.guests[g, G_RESUMED_TAIL] = loader
        return
    due = k.loader_seconds[loader, 0] + k.clocks[g, H_SHIFT]
    plan(k, max(due, k.now[0, 0]), _RANK_ARRIVAL + g, _DO_ARRIVAL, loader)


@njit(forceinline=True)
def _look_ahead(k: Any, s: Any, g: Any, row: Any, left: Any) -> None:
    """Let what the guest's next I/Os will ask for come near, while others have their turn.

    Of the I/O in *row*, which arrives next, the words that it asks for first; of the one behind it,
    what leads there; and the rows a few further on.
    """
    rows, seconds = k.guests[g, G_ROWS], k.guests[g, G_SECONDS]
    prefetch(rows + (row + _AHEAD) * _ROW_BYTES)
    prefetch(seconds + (row + _AHEAD) * 8)
    ios = carray(as_pointer(rows), (row + 2, 4), np.int64)
    shift = s.counters[C_BLOCK_SHIFT, 0]
    first = k.guests[g, G_DISKS]
    disk = k.disks[first + ios[row, 0], DISK_NUMBER]
    approach_words(s, disk, ios[row, 2] >> shift)
    if left > 1:
        disk = k.disks[first + ios[row + 1, 0], DISK_NUMBER]
        approach_way(s, disk, ios[row + 1, 2] >> shift)


@njit(forceinline=True)
def next_of_load(k: Any, s: Any, loader: Any) -> None:
    """Let a loader take its load's next I/O and wait for its time; the end of a load ends it."""
    g = k.loaders[loader, L_GUEST]
    row = k.guests[g, G_CURSOR]
    left = k.guests[g, G_COUNT] - row
    loops = k.guests[g, G_LOOPS]
    if left <= loops + 1 and k.guests[g, G_ENDED] == 0:
        before = k.ints[N_REFILL, 0]
        k.ints[N_REFILL, 0] = g + 1 if before in (0, g + 1) else -1
    if left == 0:
        if k.guests[g, G_ENDED] == _LOAD_REFUSED:
            k.ints[N_REFILL, 0] = g + 1  # whoever reads the load says why
        return
    _look_ahead(k, s, g, row, left)
    k.guests[g, G_CURSOR] = row + 1
    seconds = carray(as_pointer(k.guests[g, G_SECONDS]), (row + 1,), np.float64)[row]
    ios = carray(as_pointer(k.guests[g, G_ROWS]), (row + 1, 4), np.int64)
    k.loaders[loader, L_DISK] = ios[row, 0]
    k.loaders[loader, L_WRITE] = ios[row, 1]
    k.loaders[loader, L_OFFSET] = ios[row, 2]
    k.loaders[loader, L_LENGTH] = ios[row, 3]
    if loops != 0:
        # a guest that is stunned begins to think when it is resumed
        stunned = k.guests[g, G_STUNS] != 0
        now = k.clocks[g, H_STUNNED_AT] if stunned else k.now[0, 0]
        seconds = now - k.clocks[g, H_SHIFT] + seconds
    k.loader_seconds[loader, 0] = seconds
    wait_until(k, loader)


@njit(forceinline=True)
def start_load(k: Any, g: Any) -> None:
    """Begin an open load, or one loop of a closed one."""
    loader = k.ints[N_LOADERS, 0] + 1
    k.ints[N_LOADERS, 0] = loader
    k.loaders[loader, L_GUEST] = g
    push(k, _DO_NEXT, loader)


@njit(forceinline=True)
def let_go(k: Any, g: Any) -> None:
    """Wake the loops that a stun held up, then admit what waits."""
    loader = k.guests[g, G_RESUMED_HEAD]
    k.guests[g, G_RESUMED_HEAD] = 0
    k.guests[g, G_RESUMED_TAIL] = 0
    while loader != 0:
        add_normal(k, _NEWS_UNTIL, loader, 0)
        loader = k.loaders[loader, L_NEXT]
    push(k, _DO_ADMIT, g)
