"""Copies under way in pools that block: who writes to their chunks waits; see ``iops.copies``.

cell ─▶ span ─▶ span        where copies read: found by block, in cells of a hash table
│
▼
job ─▶ wait ─▶ wait        who waits for them, in the order in which they came
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.agenda import add_normal
from stuntdouble.iops.kernel.tables import (
    CELLS,
    FULL,
    J_KIND,
    JOB_DESTAGE,
    KEPT_NEXT,
    N_BLOCK_BYTES,
    N_COPYING,
    N_KEPT_FREE,
    N_KEPT_TOP,
    N_SPAN_FREE,
    N_SPAN_TOP,
    N_WAIT_FREE,
    N_WAIT_TOP,
    NEWS_GO,
    O_BLOCKS,
    O_LAID,
    P_HEAD,
    P_KEPT,
    P_LAST_COPY,
    P_LATER,
    P_LEFT,
    P_MARK,
    P_ROOM,
    P_SPANS,
    P_STATE,
    P_TAIL,
    ROOM_ROWS,
    SPAN_CELL,
    SPAN_JOB,
    SPAN_MORE,
    SPAN_NEXT,
    SPAN_POOL,
    SPAN_START,
    SPAN_STOP,
    WAIT_JOB,
    WAIT_NEXT,
    WAY_SET_OUT,
    see,
)
from stuntdouble.site import Role
from stuntdouble.site.tables import T_BLOCK, T_BYTES, T_POOL, T_ROLE, T_WRITE, view

NO_POOL = -1
"""What stands for a step in a pool that lies on no stations."""

_NO_POOL = NO_POOL
_CELL_BITS = 6  # blocks of a cell; any number is right, this one suits chunks of 256 KiB
_CELLS = CELLS
_FULL = FULL
_JOB_DESTAGE = JOB_DESTAGE
_NEWS_GO = NEWS_GO
_ROOM_ROWS = ROOM_ROWS
_WAY_SET_OUT = WAY_SET_OUT
_BEFORE_ALL = -1 << 30  # growth of a file comes in groups below 0, its copies too
_COPY_READ = int(Role.COPY_READ)
_COPY_WRITE = int(Role.COPY_WRITE)


# Steps that a job keeps until it sets out. ---------------------------------------------------------


@njit(forceinline=True)
def fresh_passage(k: Any, job: Any) -> None:
    """Let a job begin a way that is nothing but visits."""
    k.passages[job, P_STATE] = 0
    k.passages[job, P_KEPT] = 0
    k.passages[job, P_LATER] = 0
    k.passages[job, P_ROOM] = 0
    k.passages[job, P_LAST_COPY] = -1
    k.passages[job, P_SPANS] = 0
    k.passages[job, P_HEAD] = 0
    k.passages[job, P_TAIL] = 0
    k.passages[job, P_MARK] = 0


@njit(forceinline=True)
def _keep_row(k: Any, job: Any, table: Any, i: Any) -> None:
    row = k.ints[N_KEPT_FREE, 0]
    if row != 0:
        k.ints[N_KEPT_FREE, 0] = k.kept[row, KEPT_NEXT]
    else:
        row = k.ints[N_KEPT_TOP, 0]
        k.ints[N_KEPT_TOP, 0] = row + 1
    for column in range(KEPT_NEXT):
        k.kept[row, column] = table[i, column]
    k.kept[row, KEPT_NEXT] = k.passages[job, P_KEPT]
    k.passages[job, P_KEPT] = row


@njit(forceinline=True)
def free_row(k: Any, row: Any) -> None:
    """Give the row of a kept step back."""
    k.kept[row, KEPT_NEXT] = k.ints[N_KEPT_FREE, 0]
    k.ints[N_KEPT_FREE, 0] = row


@njit(forceinline=True)
def free_kept(k: Any, job: Any) -> None:
    """Give back all the steps that a job keeps."""
    row = k.passages[job, P_KEPT]
    k.passages[job, P_KEPT] = 0
    while row != 0:
        following = k.kept[row, KEPT_NEXT]
        free_row(k, row)
        row = following


@njit(forceinline=True)
def _may_wait(k: Any, table: Any, i: Any) -> Any:
    """Say whether a step can meet a copy: it writes, and is none itself."""
    return (
        k.pools[table[i, T_POOL], O_BLOCKS] != 0
        and table[i, T_WRITE] != 0
        and table[i, T_ROLE] != _COPY_WRITE
    )


@njit(forceinline=True)
def _copies(k: Any, table: Any, i: Any) -> Any:
    """Say whether a step is a copy that others wait for."""
    return k.pools[table[i, T_POOL], O_BLOCKS] != 0 and table[i, T_ROLE] == _COPY_READ


@njit(forceinline=True)
def note_last_copy(k: Any, n: Any, job: Any) -> None:
    """Note the last group with a visit of a copy, of the *n* that were routed."""
    last = _BEFORE_ALL
    for i in range(n):
        if k.out[i, 5] in (_COPY_READ, _COPY_WRITE):
            last = max(last, k.out[i, 0])
    k.passages[job, P_LAST_COPY] = last


@njit("int64(int64, int64, int64, int64, int64)", cache=True)
def keep(kt: Any, t: Any, count: Any, job: Any, n: Any) -> Any:
    """Let a job keep, of *count* steps, what it needs to know when it sets out.

    That is what has to do with copies where *n* visits were routed, and everything where *n* is
    negative: caches then decide what is visited.  Returns 0, FULL or NO_POOL.
    """
    k = see(kt)
    s = view(t)
    fresh_passage(k, job)
    if k.ints[N_KEPT_TOP, 0] + count > k.kept.shape[0]:
        return _FULL
    for i in range(count - 1, -1, -1):
        if k.pools[s.steps[i, T_POOL], O_LAID] == 0:
            return _NO_POOL
        if n < 0 or _may_wait(k, s.steps, i) or _copies(k, s.steps, i):
            _keep_row(k, job, s.steps, i)
    if n >= 0:
        if k.passages[job, P_KEPT] == 0:
            return 0
        note_last_copy(k, n, job)
    k.passages[job, P_STATE] = _WAY_SET_OUT
    return 0


# Copies under way. -----------------------------------------------------------------------------------


@njit(forceinline=True)
def _cell(pool: Any, piece: Any) -> Any:
    return (piece + (piece >> 16) * 9973 + pool * 40503) & (_CELLS - 1)


@njit(forceinline=True)
def _stop(k: Any, row: Any) -> Any:
    """Return the block after the last of a kept step."""
    return k.kept[row, T_BLOCK] - (-k.kept[row, T_BYTES] // k.ints[N_BLOCK_BYTES, 0])


@njit(forceinline=True)
def _wait_for(k: Any, job: Any, copier: Any) -> None:
    """Put a job behind those that wait for the copies of another."""
    wait = k.ints[N_WAIT_FREE, 0]
    if wait != 0:
        k.ints[N_WAIT_FREE, 0] = k.waits[wait, WAIT_NEXT]
    else:
        wait = k.ints[N_WAIT_TOP, 0]
        k.ints[N_WAIT_TOP, 0] = wait + 1
    k.waits[wait, WAIT_JOB] = job
    k.waits[wait, WAIT_NEXT] = 0
    tail = k.passages[copier, P_TAIL]
    if tail == 0:
        k.passages[copier, P_HEAD] = wait
    else:
        k.waits[tail, WAIT_NEXT] = wait
    k.passages[copier, P_TAIL] = wait


@njit(forceinline=True)
def _meet(k: Any, job: Any, row: Any) -> Any:
    """Let a job wait for the copies that a step of it meets; return how many are new to it."""
    pool, start, stop = k.kept[row, T_POOL], k.kept[row, T_BLOCK], _stop(k, row)
    met = 0
    for piece in range(start >> _CELL_BITS, ((stop - 1) >> _CELL_BITS) + 1):
        span = k.cells[_cell(pool, piece), 0]
        while span != 0:
            copier = k.spans[span, SPAN_JOB]
            touch = k.spans[span, SPAN_START] < stop and start < k.spans[span, SPAN_STOP]
            if touch and k.spans[span, SPAN_POOL] == pool and k.passages[copier, P_MARK] != job:
                k.passages[copier, P_MARK] = job
                _wait_for(k, job, copier)
                met += 1
            span = k.spans[span, SPAN_NEXT]
    return met


@njit(forceinline=True)
def _begin(k: Any, job: Any, row: Any) -> None:
    """Let everybody find the chunks that a job copies."""
    pool, start, stop = k.kept[row, T_POOL], k.kept[row, T_BLOCK], _stop(k, row)
    for piece in range(start >> _CELL_BITS, ((stop - 1) >> _CELL_BITS) + 1):
        span = k.ints[N_SPAN_FREE, 0]
        if span != 0:
            k.ints[N_SPAN_FREE, 0] = k.spans[span, SPAN_NEXT]
        else:
            span = k.ints[N_SPAN_TOP, 0]
            k.ints[N_SPAN_TOP, 0] = span + 1
        cell = _cell(pool, piece)
        k.spans[span, SPAN_POOL] = pool
        k.spans[span, SPAN_START] = start
        k.spans[span, SPAN_STOP] = stop
        k.spans[span, SPAN_JOB] = job
        k.spans[span, SPAN_CELL] = cell
        k.spans[span, SPAN_NEXT] = k.cells[cell, 0]
        k.spans[span, SPAN_MORE] = k.passages[job, P_SPANS]
        k.cells[cell, 0] = span
        k.passages[job, P_SPANS] = span
        k.ints[N_COPYING, 0] += 1


@njit(forceinline=True)
def set_out(k: Any, job: Any) -> Any:
    """Let a job set out: return how many others' copies it waits for; its own are under way."""
    left = 0
    row = k.passages[job, P_KEPT]
    while row != 0 and k.ints[N_COPYING, 0] != 0:
        if _may_wait(k, k.kept, row):
            left += _meet(k, job, row)
        row = k.kept[row, KEPT_NEXT]
    k.passages[job, P_LEFT] = left
    row = k.passages[job, P_KEPT]
    while row != 0:
        if _copies(k, k.kept, row):
            _begin(k, job, row)
        row = k.kept[row, KEPT_NEXT]
    if k.jobs[job, J_KIND] != _JOB_DESTAGE:
        free_kept(k, job)
    return left


@njit(forceinline=True)
def are_full(k: Any) -> Any:
    """Say whether there may be too little room for one more to set out."""
    return (
        k.ints[N_SPAN_TOP, 0] + _ROOM_ROWS > k.spans.shape[0]
        or k.ints[N_WAIT_TOP, 0] + _ROOM_ROWS > k.waits.shape[0]
    )


@njit(forceinline=True)
def _forget(k: Any, span: Any) -> None:
    """Take a span out of its cell and give its row back."""
    cell = k.spans[span, SPAN_CELL]
    following = k.spans[span, SPAN_NEXT]
    at = k.cells[cell, 0]
    if at == span:
        k.cells[cell, 0] = following
    else:
        while k.spans[at, SPAN_NEXT] != span:
            at = k.spans[at, SPAN_NEXT]
        k.spans[at, SPAN_NEXT] = following
    k.spans[span, SPAN_NEXT] = k.ints[N_SPAN_FREE, 0]
    k.ints[N_SPAN_FREE, 0] = span
    k.ints[N_COPYING, 0] -= 1


@njit(forceinline=True)
def end(k: Any, job: Any) -> None:
    """Let go of who waits for a job's copies, in the order in which they came."""
    span = k.passages[job, P_SPANS]
    k.passages[job, P_SPANS] = 0
    while span != 0:
        more = k.spans[span, SPAN_MORE]
        _forget(k, span)
        span = more
    wait = k.passages[job, P_HEAD]
    k.passages[job, P_HEAD] = 0
    k.passages[job, P_TAIL] = 0
    while wait != 0:
        following = k.waits[wait, WAIT_NEXT]
        waiter = k.waits[wait, WAIT_JOB]
        k.waits[wait, WAIT_NEXT] = k.ints[N_WAIT_FREE, 0]
        k.ints[N_WAIT_FREE, 0] = wait
        left = k.passages[waiter, P_LEFT] - 1
        k.passages[waiter, P_LEFT] = left
        if left == 0:
            add_normal(k, _NEWS_GO, waiter, 0)
        wait = following
