"""Streams: items start when depth, pace and fences allow it; prefixes and ends make news."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.np.numpy_support import carray

from stuntdouble.compiled import njit
from stuntdouble.compiled.tables import as_pointer
from stuntdouble.iops.kernel.agenda import add_normal, add_urgent, plan, push
from stuntdouble.iops.kernel.guests import OUT_OF_RANGE, site_is_full
from stuntdouble.iops.kernel.loads import free_job, new_job
from stuntdouble.iops.kernel.tables import (
    ANSWER_NONE,
    ANSWER_REFUSED,
    ASK_ITEM,
    DO_GO,
    DO_ITEM_FAILED,
    DO_NEXT_GUEST,
    DO_NEXT_STREAM,
    DO_OPEN,
    DO_TELL,
    J_OFFSET,
    J_OWNER,
    JOB_STREAM,
    N_ANSWER,
    N_FAULTY,
    N_FENCED_HEAD,
    N_FENCED_TAIL,
    N_HELD,
    N_STEPS,
    N_STREAMS,
    NEWS_FINISHED,
    NEWS_MARK,
    RANK_POST,
    S_BLOCKS,
    S_COUNT,
    S_DEPTH,
    S_DONE,
    S_ENDED,
    S_FAILED,
    S_FENCES,
    S_FINISHED,
    S_FIRST,
    S_IO,
    S_IS_HELD,
    S_ITEMS,
    S_LINK,
    S_LOST,
    S_MARK,
    S_NEXT,
    S_PACED_BYTES,
    S_PREFIX,
    S_PURPOSE,
    S_STOPPED,
    S_TARGET,
    S_UNDER_WAY,
    SETTLE,
    Y_PACED_FROM,
    Y_RATE,
    Y_WAKE,
)
from stuntdouble.iops.kernel.visits import lay_out
from stuntdouble.iops.kernel.watches import check_later
from stuntdouble.site import rules
from stuntdouble.site.rules import IO_BLOCKS_MAX
from stuntdouble.site.tables import C_BLOCK_BYTES

READ_LEVEL, READ_LUN, WRITE_DISK, MOVE_LEVEL = 1, 2, 3, 4  # what S_IO says

_READ_LEVEL = READ_LEVEL
_READ_LUN = READ_LUN
_WRITE_DISK = WRITE_DISK
_MOVE_LEVEL = MOVE_LEVEL
_OUT_OF_RANGE = OUT_OF_RANGE
_ANSWER_NONE = ANSWER_NONE
_ANSWER_REFUSED = ANSWER_REFUSED
_ASK_ITEM = ASK_ITEM
_SETTLE = SETTLE
_DO_GO = DO_GO
_DO_ITEM_FAILED = DO_ITEM_FAILED
_DO_NEXT_GUEST = DO_NEXT_GUEST
_DO_NEXT_STREAM = DO_NEXT_STREAM
_DO_OPEN = DO_OPEN
_DO_TELL = DO_TELL
_JOB_STREAM = JOB_STREAM
_NEWS_FINISHED = NEWS_FINISHED
_NEWS_MARK = NEWS_MARK
_RANK_POST = RANK_POST
_IO_BLOCKS_MAX = IO_BLOCKS_MAX
_READS = rules.read
_WRITES = rules.write
_MOVES = rules.move
_VOLUME_READS = rules.volume_read
_NO_TOKEN = np.uint64(0)


@njit(forceinline=True)
def _item(k: Any, z: Any, index: Any) -> Any:
    """Return (start, count) of an item."""
    items = carray(as_pointer(k.streams[z, S_ITEMS]), (index + 1, 2), np.int64)
    return items[index, 0], items[index, 1]


@njit(forceinline=True)
def _bytes(k: Any, s: Any, z: Any, count: Any) -> Any:
    moves = k.streams[z, S_IO] == _MOVE_LEVEL
    return count * s.counters[C_BLOCK_BYTES, 0] if moves else count


@njit(forceinline=True)
def _has_next(k: Any, z: Any) -> Any:
    return k.streams[z, S_STOPPED] == 0 and k.streams[z, S_FIRST] < k.streams[z, S_COUNT]


@njit(forceinline=True)
def _hold(k: Any, z: Any) -> Any:
    """Say whether a fence holds a stream up; if so, it is opened when a fence is lifted."""
    if k.streams[z, S_FENCES] == 0:
        return False
    if k.streams[z, S_IS_HELD] == 0:
        k.streams[z, S_IS_HELD] = 1
        k.streams[z, S_NEXT] = 0
        tail = k.ints[N_FENCED_TAIL, 0]
        if tail == 0:
            k.ints[N_FENCED_HEAD, 0] = z
        else:
            k.streams[tail, S_NEXT] = z
        k.ints[N_FENCED_TAIL, 0] = z
    return True


@njit(forceinline=True)
def _is_due(k: Any, z: Any) -> Any:
    """Say whether the pace allows a start now; if not, see to it that the stream wakes."""
    rate = k.paces[z, Y_RATE]
    if rate <= 0.0:
        return True
    due = k.paces[z, Y_PACED_FROM] + k.streams[z, S_PACED_BYTES] / rate
    if due <= k.now[0, 0]:
        return True
    if due != k.paces[z, Y_WAKE]:
        k.paces[z, Y_WAKE] = due
        plan(k, due, _RANK_POST, _DO_OPEN, z)
    return False


@njit(forceinline=True)
def _may_start(k: Any, z: Any) -> Any:
    if not _has_next(k, z) or k.streams[z, S_UNDER_WAY] >= k.streams[z, S_DEPTH]:
        return False
    return not _hold(k, z) and _is_due(k, z)


@njit(forceinline=True)
def _fail_if_lost(k: Any, z: Any) -> Any:
    """Stop a stream short whose LUNs nobody answers for any more; say so."""
    lost = k.streams[z, S_LOST]
    if lost == 0:
        return False
    k.streams[z, S_STOPPED] = 1
    if k.streams[z, S_FAILED] == 0:
        k.streams[z, S_FAILED] = lost
    return True


@njit(forceinline=True)
def open_stream(k: Any, s: Any, z: Any) -> None:
    """Start what may start now; finish where nothing is left, or nobody answers any more."""
    if k.streams[z, S_FINISHED] == 0:
        _fail_if_lost(k, z)
    while _may_start(k, z):
        index = k.streams[z, S_FIRST]
        k.streams[z, S_FIRST] = index + 1
        k.streams[z, S_UNDER_WAY] += 1
        k.paces[z, Y_PACED_FROM] = k.now[0, 0]
        _, count = _item(k, z, index)
        k.streams[z, S_PACED_BYTES] = _bytes(k, s, z, count)
        add_urgent(k, z, index)
    over = k.streams[z, S_UNDER_WAY] == 0 and not _has_next(k, z)
    if over and k.streams[z, S_FINISHED] == 0:
        k.streams[z, S_FINISHED] = 1
        add_normal(k, _NEWS_FINISHED, z, k.streams[z, S_PREFIX])


@njit(forceinline=True)
def _attempt(k: Any, t: Any, s: Any, z: Any, start: Any, count: Any) -> Any:
    """Try to admit an item: the number of its steps, or negative."""
    io = k.streams[z, S_IO]
    target = k.streams[z, S_TARGET]
    size = s.counters[C_BLOCK_BYTES, 0]
    blocks = k.streams[z, S_BLOCKS]
    offset = start * size if io == _MOVE_LEVEL else start
    length = _bytes(k, s, z, count)
    block = offset // size
    stop = -(-(offset + length) // size)
    if io == _MOVE_LEVEL and k.ints[N_FAULTY, 0] != 0:
        return _OUT_OF_RANGE  # something is damaged: the site looks whether it is this
    if length <= 0 or offset < 0 or stop > blocks or stop - block > _IO_BLOCKS_MAX:
        return _OUT_OF_RANGE
    head = offset - block * size
    tail = stop * size - offset - length
    if io == _READ_LEVEL:
        return _READS(t, target, block, stop - block, head, tail)
    if io == _READ_LUN:
        return _VOLUME_READS(t, target, block, stop - block)
    if io == _WRITE_DISK:
        return _WRITES(t, target, block, stop - block, _NO_TOKEN, head, tail)
    return _MOVES(t, target, block, stop - block)


@njit(forceinline=True)
def start_item(k: Any, kt: Any, t: Any, s: Any, z: Any, index: Any) -> Any:
    """Admit an item of a stream and let it go; returns why it cannot, or 0."""
    answer = k.ints[N_ANSWER, 0]
    k.ints[N_ANSWER, 0] = _ANSWER_NONE
    if answer == _ANSWER_REFUSED:
        push(k, _DO_ITEM_FAILED, z)
        return 0
    start, count = _item(k, z, index)
    steps = k.ints[N_STEPS, 0]
    if answer == _ANSWER_NONE:
        if site_is_full(k, s):
            return _SETTLE
        steps = _attempt(k, t, s, z, start, count)
        if steps < 0:
            return _ASK_ITEM
    job = new_job(k, _JOB_STREAM, z)
    k.jobs[job, J_OFFSET] = index
    size = _bytes(k, s, z, count)
    purpose = k.streams[z, S_PURPOSE]
    code = lay_out(kt, t, steps, job, purpose, k.streams[z, S_LINK], size)
    push(k, _DO_GO, job)
    check_later(k)
    return code


@njit(forceinline=True)
def complete_item(k: Any, job: Any) -> None:
    """Note that an item has ended, and let the stream go on."""
    z = k.jobs[job, J_OWNER]
    index = k.jobs[job, J_OFFSET]
    free_job(k, job)
    if not _fail_if_lost(k, z):
        _note_end(k, z, index)
    item_over(k, z)


@njit(forceinline=True)
def _note_end(k: Any, z: Any, index: Any) -> None:
    ended = carray(as_pointer(k.streams[z, S_ENDED]), (k.streams[z, S_COUNT],), np.uint8)
    ended[index] = 1
    k.streams[z, S_DONE] += 1
    prefix = k.streams[z, S_PREFIX]
    while prefix < k.streams[z, S_COUNT] and ended[prefix] != 0:
        prefix += 1
    k.streams[z, S_PREFIX] = prefix
    if prefix >= k.streams[z, S_MARK]:
        add_normal(k, _NEWS_MARK, z, prefix)


@njit(forceinline=True)
def item_over(k: Any, z: Any) -> None:
    """Let a stream go on after an item that has ended, or found no space."""
    k.streams[z, S_UNDER_WAY] -= 1
    check_later(k)
    push(k, _DO_OPEN, z)


@njit(forceinline=True)
def tell_streams(k: Any, z: Any) -> None:
    """Open the stream *z* and those after it, one by one: some may be lost."""
    if z <= k.ints[N_STREAMS, 0]:
        push(k, _DO_TELL, z + 1)
        push(k, _DO_OPEN, z)


@njit(forceinline=True)
def lift_fence(k: Any) -> None:
    """Open the streams that fences hold, then admit what waits, guest by guest."""
    k.ints[N_HELD, 0] = k.ints[N_FENCED_HEAD, 0]
    k.ints[N_FENCED_HEAD, 0] = 0
    k.ints[N_FENCED_TAIL, 0] = 0
    push(k, _DO_NEXT_GUEST, 0)
    push(k, _DO_NEXT_STREAM, 0)


@njit(forceinline=True)
def open_next_stream(k: Any) -> None:
    """Open the next of the streams that were held."""
    z = k.ints[N_HELD, 0]
    if z != 0:
        k.ints[N_HELD, 0] = k.streams[z, S_NEXT]
        k.streams[z, S_IS_HELD] = 0
        push(k, _DO_NEXT_STREAM, 0)
        push(k, _DO_OPEN, z)
