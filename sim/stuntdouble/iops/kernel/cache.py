"""Write-back caches: an I/O is parted when it sets out, and its destages are jobs of their own.

    host's job ─▶ destage ─▶ destage        one for each pool that takes something, by pool
                     │
    cache: room  ────┤   who waits for it, first in, first out
           queue ────┘   what waits to be destaged, in the order in which the writes ended

A destage's row has its pool as owner and its dirty bytes as length; offset is the host's job, next
the link of the list and then of the queue, before that of those who wait for room.  See
``iops.cache``.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.agenda import add_normal, add_urgent
from stuntdouble.iops.kernel.copies import free_kept, free_row, fresh_passage, note_last_copy
from stuntdouble.iops.kernel.dirt import add_dirt, is_dirty, is_full_of_dirt, take_dirt
from stuntdouble.iops.kernel.loads import free_job, new_job
from stuntdouble.iops.kernel.tables import (
    CACHE_DESTAGES,
    CACHE_DIRTY,
    CACHE_HEAD,
    CACHE_MARK,
    CACHE_PORT,
    CACHE_ROOM_HEAD,
    CACHE_ROOM_TAIL,
    CACHE_STATION,
    CACHE_TAIL,
    CACHE_UNDER_WAY,
    FULL,
    J_BEFORE,
    J_LENGTH,
    J_NEXT,
    J_OFFSET,
    J_OWNER,
    J_VISITS,
    JOB_DESTAGE,
    KEPT_NEXT,
    N_BLOCK_BYTES,
    N_DIRTY_BYTES,
    N_QUIET,
    N_VISIT_TOP,
    NEWS_GO,
    NEWS_QUIET,
    P_KEPT,
    P_LATER,
    P_LINK,
    P_LINK_BYTES,
    P_PURPOSE,
    P_ROOM,
    P_STATE,
    WAY_COPIES,
    see,
)
from stuntdouble.iops.kernel.visits import add_link, enlist, route
from stuntdouble.site import Role
from stuntdouble.site.tables import T_BLOCK, T_BYTES, T_GROUP, T_POOL, T_ROLE, T_WRITE

_FULL = FULL
_JOB_DESTAGE = JOB_DESTAGE
_NEWS_GO = NEWS_GO
_NEWS_QUIET = NEWS_QUIET
_WAY_COPIES = WAY_COPIES
_INTERNAL = (int(Role.COPY_READ), int(Role.COPY_WRITE), int(Role.MERGE_READ))
_FIELDS = 6  # of a visit that was routed
_TO_WHOM = 6  # whose it is, where it is deferred


# Parting. ------------------------------------------------------------------------------------------


@njit(forceinline=True)
def _destage_of(k: Any, job: Any, pool: Any) -> Any:
    """Return the destage of a job for a pool; they are in order of their pools."""
    before = 0
    later = k.passages[job, P_LATER]
    while later != 0 and k.jobs[later, J_OWNER] < pool:
        before = later
        later = k.jobs[later, J_NEXT]
    if later != 0 and k.jobs[later, J_OWNER] == pool:
        return later
    made = new_job(k, _JOB_DESTAGE, pool)
    fresh_passage(k, made)
    k.passages[made, P_STATE] = _WAY_COPIES
    k.jobs[made, J_OFFSET] = job
    k.jobs[made, J_LENGTH] = 0
    k.jobs[made, J_VISITS] = 0
    k.jobs[made, J_NEXT] = later
    if before == 0:
        k.passages[job, P_LATER] = made
    else:
        k.jobs[before, J_NEXT] = made
    return made


@njit(forceinline=True)
def _blocks(k: Any, row: Any) -> Any:
    """Return the first block of a kept step, and the one after its last."""
    first = k.kept[row, T_BLOCK]
    return first, first - (-k.kept[row, T_BYTES] // k.ints[N_BLOCK_BYTES, 0])


@njit(forceinline=True)
def _is_dirty(k: Any, row: Any) -> Any:
    """Say whether a cache has every block of a step."""
    block, stop = _blocks(k, row)
    while block < stop and is_dirty(k, k.kept[row, T_POOL], block):
        block += 1
    return block >= stop


@njit(forceinline=True)
def _give(k: Any, row: Any, job: Any) -> None:
    """Let a job keep the step in *row*."""
    k.kept[row, KEPT_NEXT] = k.passages[job, P_KEPT]
    k.passages[job, P_KEPT] = row


@njit(forceinline=True)
def _split(k: Any, port: Any, first: Any, n: Any, later: Any, deferred: Any) -> Any:
    """Leave of the visits from *first* to *n* what crosses the port; the rest is *later*'s.

    Returns how many there are now, and how many are deferred; 0 for *later* is nobody.
    """
    left = first
    for i in range(first, n):
        if k.out[i, 1] == port:
            for column in range(_FIELDS):
                k.out[left, column] = k.out[i, column]
            left += 1
        elif later != 0:
            for column in range(_FIELDS):
                k.deferred[deferred, column] = k.out[i, column]
            k.deferred[deferred, _TO_WHOM] = later
            deferred += 1
    return left, deferred


@njit(forceinline=True)
def _part_step(k: Any, job: Any, row: Any, first: Any, n: Any, deferred: Any) -> Any:
    """Part a step whose visits are those from *first* to *n*; return as ``_split`` does."""
    pool, role, write = k.kept[row, T_POOL], k.kept[row, T_ROLE], k.kept[row, T_WRITE]
    if k.caches[pool, CACHE_MARK] == 0:
        _give(k, row, job)
        return n, deferred
    internal = role in _INTERNAL
    later = 0
    group, size = k.kept[row, T_GROUP], k.kept[row, T_BYTES]
    if internal or write != 0:
        later = _destage_of(k, job, pool)
        _give(k, row, later)
        if not internal:
            k.jobs[later, J_LENGTH] += size
    else:
        served = _is_dirty(k, row)
        free_row(k, row)
        if not served:
            return n, deferred
    n, deferred = _split(k, k.caches[pool, CACHE_PORT], first, n, later, deferred)
    if not internal:
        k.out[n, 0] = 4 * group + 2
        k.out[n, 1] = k.caches[pool, CACHE_STATION]
        k.out[n, 2] = write
        k.out[n, 3] = 0
        k.out[n, 4] = size
        k.out[n, 5] = role
        n += 1
    return n, deferred


@njit(forceinline=True)
def _gather(k: Any, later: Any, deferred: Any) -> Any:
    """Put a destage's visits where visits are routed to; return how many."""
    n = 0
    for i in range(deferred):
        if k.deferred[i, _TO_WHOM] == later:
            for column in range(_FIELDS):
                k.out[n, column] = k.deferred[i, column]
            n += 1
    return n


@njit("int64(int64, int64)", cache=True)
def part(kt: Any, job: Any) -> Any:
    """Part a job that sets out: what it visits itself, and what it leaves to caches.

    Returns 0 or FULL.
    """
    k = see(kt)
    n = deferred = 0
    row = k.passages[job, P_KEPT]
    k.passages[job, P_KEPT] = 0
    while row != 0:
        following = k.kept[row, KEPT_NEXT]
        made = route(k, k.kept, row, n)
        if made < 0 or deferred + made - n > k.deferred.shape[0] or is_full_of_dirt(k):
            return _FULL
        n, deferred = _part_step(k, job, row, n, made, deferred)
        row = following
    whose, following = job, k.passages[job, P_LATER]
    k.passages[job, P_ROOM] = following
    purpose = k.passages[job, P_PURPOSE]
    while True:
        if k.ints[N_VISIT_TOP, 0] + n + 1 >= k.visits.shape[0]:
            return _FULL
        note_last_copy(k, n, whose)
        last = enlist(k, n, whose, purpose)
        if whose == job and k.passages[job, P_LINK] >= 0:
            add_link(k, job, purpose, k.passages[job, P_LINK], k.passages[job, P_LINK_BYTES], last)
        if following == 0:
            return 0
        whose, following = following, k.jobs[following, J_NEXT]
        n = _gather(k, whose, deferred)


# Room. ---------------------------------------------------------------------------------------------


@njit(forceinline=True)
def _count(k: Any, later: Any, sign: Any) -> None:
    """Count what is dirty by a destage, or no more."""
    pool = k.jobs[later, J_OWNER]
    k.caches[pool, CACHE_DIRTY] += sign * k.jobs[later, J_LENGTH]
    k.ints[N_DIRTY_BYTES, 0] += sign * k.jobs[later, J_LENGTH]
    row = k.passages[later, P_KEPT]
    while row != 0:
        if k.kept[row, T_ROLE] not in _INTERNAL:
            first, stop = _blocks(k, row)
            for block in range(first, stop):
                if sign > 0:
                    add_dirt(k, pool, block)
                else:
                    take_dirt(k, pool, block)
        row = k.kept[row, KEPT_NEXT]


@njit(forceinline=True)
def enter(k: Any, job: Any) -> Any:
    """Take room for what a job leaves, pool by pool; say whether it has found all of it.

    If not, it goes on from there when it is let in.
    """
    later = k.passages[job, P_ROOM]
    while later != 0:
        pool = k.jobs[later, J_OWNER]
        following = k.jobs[later, J_NEXT]
        k.passages[job, P_ROOM] = following
        if k.caches[pool, CACHE_DIRTY] >= k.caches[pool, CACHE_MARK]:
            k.jobs[later, J_BEFORE] = 0
            tail = k.caches[pool, CACHE_ROOM_TAIL]
            if tail == 0:
                k.caches[pool, CACHE_ROOM_HEAD] = later
            else:
                k.jobs[tail, J_BEFORE] = later
            k.caches[pool, CACHE_ROOM_TAIL] = later
            return False
        _count(k, later, 1)
        later = following
    return True


@njit(forceinline=True)
def _let_in(k: Any, pool: Any) -> None:
    """Give room that has come free to those that wait for it, in their order."""
    later = k.caches[pool, CACHE_ROOM_HEAD]
    while later != 0 and k.caches[pool, CACHE_DIRTY] < k.caches[pool, CACHE_MARK]:
        following = k.jobs[later, J_BEFORE]
        k.caches[pool, CACHE_ROOM_HEAD] = following
        if following == 0:
            k.caches[pool, CACHE_ROOM_TAIL] = 0
        _count(k, later, 1)
        add_normal(k, _NEWS_GO, k.jobs[later, J_OFFSET], 0)
        later = following


# Destages. -----------------------------------------------------------------------------------------


@njit(forceinline=True)
def _start_destages(k: Any, pool: Any) -> None:
    """Start what may be destaged; it sets out when the event at hand is over."""
    later = k.caches[pool, CACHE_HEAD]
    while later != 0 and k.caches[pool, CACHE_UNDER_WAY] < k.caches[pool, CACHE_DESTAGES]:
        following = k.jobs[later, J_NEXT]
        k.caches[pool, CACHE_HEAD] = following
        if following == 0:
            k.caches[pool, CACHE_TAIL] = 0
        k.caches[pool, CACHE_UNDER_WAY] += 1
        add_urgent(k, 0, later)
        later = following


@njit(forceinline=True)
def leave_to_caches(k: Any, job: Any) -> None:
    """Queue what a job has left to be destaged, now that it has ended."""
    later = k.passages[job, P_LATER]
    k.passages[job, P_LATER] = 0
    while later != 0:
        following = k.jobs[later, J_NEXT]
        pool = k.jobs[later, J_OWNER]
        k.jobs[later, J_NEXT] = 0
        tail = k.caches[pool, CACHE_TAIL]
        if tail == 0:
            k.caches[pool, CACHE_HEAD] = later
        else:
            k.jobs[tail, J_NEXT] = later
        k.caches[pool, CACHE_TAIL] = later
        _start_destages(k, pool)
        later = following


@njit(forceinline=True)
def end_destage(k: Any, later: Any) -> None:
    """Free the room of what has been destaged: for the next destage, then for who waits."""
    pool = k.jobs[later, J_OWNER]
    k.caches[pool, CACHE_UNDER_WAY] -= 1
    _count(k, later, -1)
    free_kept(k, later)
    free_job(k, later)
    _start_destages(k, pool)
    _let_in(k, pool)
    if k.ints[N_QUIET, 0] != 0 and k.ints[N_DIRTY_BYTES, 0] == 0:
        k.ints[N_QUIET, 0] = 0
        add_normal(k, _NEWS_QUIET, 0, 0)
