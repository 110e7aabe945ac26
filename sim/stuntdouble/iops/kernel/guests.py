"""Guests: the queue of what waits, admission, completion."""

from __future__ import annotations

from typing import Any

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.iops.engine import Purpose
from stuntdouble.iops.kernel.agenda import add_normal, plan, push
from stuntdouble.iops.kernel.loads import free_job
from stuntdouble.iops.kernel.lost import give_up, hang, lost_pool
from stuntdouble.iops.kernel.silent import note_io, speak, take_out_ended
from stuntdouble.iops.kernel.tables import (
    ANSWER_NONE,
    ANSWER_REFUSED,
    ASK_GUEST,
    DO_ADMIT,
    DO_AFTER_ARRIVAL,
    DO_AFTER_REST,
    DO_DROPPED,
    DO_GO,
    DO_NEXT,
    DO_NEXT_GUEST,
    DO_REST,
    DO_UNTIL,
    G_DISK_COUNT,
    G_DISKS,
    G_DRAINS,
    G_DROPPED,
    G_FRESH,
    G_HEAD,
    G_IN_FLIGHT,
    G_LIMIT,
    G_SILENT,
    G_STUNS,
    G_TAIL,
    G_WAITING,
    J_ADMITTED,
    J_BEFORE,
    J_DISK,
    J_LENGTH,
    J_LOADER,
    J_NEXT,
    J_OFFSET,
    J_OWNER,
    J_WRITE,
    JOB_GUEST,
    N_ANSWER,
    N_ANY_FENCE,
    N_ASK,
    N_GUESTS,
    N_LEAVES_MAX,
    N_NODES_MAX,
    N_STEPS,
    N_WATCHES,
    NEWS_DRAINED,
    NEWS_GO,
    NEWS_NEXT,
    OVERSIZE,
    RANK_POST,
    SETTLE,
    see,
)
from stuntdouble.iops.kernel.tokens import lacks_token, take_token
from stuntdouble.iops.kernel.visits import lay_out
from stuntdouble.iops.kernel.watches import check_later
from stuntdouble.site import rules
from stuntdouble.site.rules import IO_BLOCKS_MAX
from stuntdouble.site.tables import (
    C_BLOCK_SHIFT,
    C_LEAVES,
    C_LOG,
    C_NODES,
    D_HEAD,
    F_STORE,
    L_FILE,
    S_VOLUMES,
    SHAPES,
    STORE_VOLUMES,
)

OUT_OF_RANGE = -9
"""What an attempt returns that the site's doors would refuse."""

_OUT_OF_RANGE = OUT_OF_RANGE
_ANSWER_NONE = ANSWER_NONE
_ANSWER_REFUSED = ANSWER_REFUSED
_ASK_GUEST = ASK_GUEST
_OVERSIZE = OVERSIZE
_SETTLE = SETTLE
_DO_ADMIT = DO_ADMIT
_DO_AFTER_ARRIVAL = DO_AFTER_ARRIVAL
_DO_AFTER_REST = DO_AFTER_REST
_DO_DROPPED = DO_DROPPED
_DO_GO = DO_GO
_DO_NEXT = DO_NEXT
_DO_NEXT_GUEST = DO_NEXT_GUEST
_DO_REST = DO_REST
_DO_UNTIL = DO_UNTIL
_JOB_GUEST = JOB_GUEST
_NEWS_DRAINED = NEWS_DRAINED
_NEWS_GO = NEWS_GO
_NEWS_NEXT = NEWS_NEXT
_RANK_POST = RANK_POST
_GUEST = int(Purpose.GUEST)
_IO_BLOCKS_MAX = IO_BLOCKS_MAX
_MASK_BITS = 62  # disks of a guest that a number has bits for
_READS = rules.read
_WRITES = rules.write
_NO_TOKEN = np.uint64(0)

# The site settles its log before an admission when there is more in it.
_LOG_MAX = SHAPES["log"][0] - 8 * IO_BLOCKS_MAX
_STORE_VOLUMES = STORE_VOLUMES


@njit(forceinline=True)
def site_is_full(k: Any, s: Any) -> Any:
    """Say whether the site's log must be settled, or its arena looked at, before an admission."""
    return (
        s.counters[C_LOG, 0] > _LOG_MAX
        or s.counters[C_LEAVES, 0] > k.ints[N_LEAVES_MAX, 0]
        or s.counters[C_NODES, 0] > k.ints[N_NODES_MAX, 0]
    )


@njit(forceinline=True)
def attempt(k: Any, t: Any, s: Any, g: Any, job: Any) -> Any:
    """Try to admit a guest's I/O: the number of its steps, or negative."""
    disk = k.disks[k.guests[g, G_DISKS] + k.jobs[job, J_DISK], 0]
    shift = s.counters[C_BLOCK_SHIFT, 0]
    offset = k.jobs[job, J_OFFSET]
    length = k.jobs[job, J_LENGTH]
    block = offset >> shift
    stop = -(-(offset + length) >> shift)
    count = stop - block
    if count > _IO_BLOCKS_MAX:
        return _OUT_OF_RANGE
    head = offset - (block << shift)
    tail = (stop << shift) - offset - length
    if k.jobs[job, J_WRITE] != 0:
        return _WRITES(t, disk, block, count, _NO_TOKEN, head, tail)
    return _READS(t, s.disks[disk, D_HEAD], block, count, head, tail)


@njit(forceinline=True)
def is_open(k: Any, g: Any) -> Any:
    """Say whether a guest may have one more I/O under way now."""
    if k.guests[g, G_STUNS] != 0:
        return False
    limit = k.guests[g, G_LIMIT]
    if limit == 0 or k.guests[g, G_IN_FLIGHT] < limit:
        return True
    if k.guests[g, G_SILENT] != 0:
        take_out_ended(k, g)
    return k.guests[g, G_IN_FLIGHT] < limit


@njit(forceinline=True)
def _is_fenced(k: Any, s: Any, g: Any, job: Any) -> Any:
    """Say whether a LUN under the disk of a job is fenced."""
    if k.ints[N_ANY_FENCE, 0] == 0:
        return False
    disk = k.disks[k.guests[g, G_DISKS] + k.jobs[job, J_DISK], 0]
    store = s.files[s.levels[s.disks[disk, D_HEAD], L_FILE], F_STORE]
    for i in range(S_VOLUMES, S_VOLUMES + _STORE_VOLUMES):
        if k.fences[s.stores[store, i], 0] != 0:
            return True
    return False


@njit(forceinline=True)
def _take_out(k: Any, g: Any, job: Any) -> Any:
    """Take a job out of its guest's queue, into flight; return the one behind it."""
    before = k.jobs[job, J_BEFORE]
    following = k.jobs[job, J_NEXT]
    if before == 0:
        k.guests[g, G_HEAD] = following
    else:
        k.jobs[before, J_NEXT] = following
    if following == 0:
        k.guests[g, G_TAIL] = before
    else:
        k.jobs[following, J_BEFORE] = before
    k.guests[g, G_WAITING] -= 1
    k.guests[g, G_IN_FLIGHT] += 1
    return following


@njit(forceinline=True)
def _next_to_admit(k: Any, s: Any, g: Any, job: Any) -> Any:
    """Return the first from *job* on that nothing holds up; 0 where none may be admitted.

    What goes to where nobody answers any more is let hang on the way.
    """
    count = k.guests[g, G_DISK_COUNT]
    held = np.int64(0)  # which disks are, as bits; where all are, nothing behind need be looked at
    every = (1 << count) - 1 if count < _MASK_BITS else -1
    while job != 0 and is_open(k, g):
        lost = lost_pool(k, s, g, job)
        if lost != 0:
            following = _take_out(k, g, job)
            hang(k, g, job, lost)
            job = following
        elif _is_fenced(k, s, g, job) or lacks_token(k, g, job):
            held |= 1 << min(k.jobs[job, J_DISK], _MASK_BITS)
            if held == every:
                return 0
            job = k.jobs[job, J_NEXT]
        else:
            return job
    return 0


@njit(forceinline=True)
def _let_ends_be_heard(k: Any, g: Any) -> None:
    """See to it that what waits is looked at when an I/O of its guest ends."""
    if k.guests[g, G_HEAD] != 0 and k.guests[g, G_SILENT] != 0:
        speak(k, g)


@njit(forceinline=True)
def _let_go(k: Any, g: Any, job: Any) -> Any:
    """Let an I/O go that has waited; say whether watches are to be looked at before the next."""
    add_normal(k, _NEWS_GO, job, 0)
    if k.ints[N_WATCHES, 0] == 0:
        return False
    push(k, _DO_ADMIT, g)
    check_later(k)
    return True


@njit(forceinline=True)
def admit(k: Any, kt: Any, t: Any, s: Any, g: Any) -> Any:
    """Admit in order what may be admitted; what finds no token or space, or is fenced, keeps its place."""
    answer = k.ints[N_ANSWER, 0]
    k.ints[N_ANSWER, 0] = _ANSWER_NONE
    if answer == _ANSWER_REFUSED:
        _let_ends_be_heard(k, g)
        return 0
    job = k.guests[g, G_HEAD] if answer == _ANSWER_NONE else k.ints[N_ASK, 0]
    while True:
        steps = k.ints[N_STEPS, 0]
        if answer == _ANSWER_NONE:
            job = _next_to_admit(k, s, g, job)
            if job == 0:
                _let_ends_be_heard(k, g)
                return 0
            if site_is_full(k, s):
                push(k, _DO_ADMIT, g)
                return _SETTLE
            steps = attempt(k, t, s, g, job)
            if steps < 0:
                push(k, _DO_ADMIT, g)
                k.ints[N_ASK, 0] = job
                return _ASK_GUEST
        code = lay_out(kt, t, steps, job, _GUEST, -1, 0)
        if code != 0:
            return code
        answer = _ANSWER_NONE
        following = _take_out(k, g, job)
        take_token(k, g, job)
        k.jobs[job, J_ADMITTED] = 1
        if k.guests[g, G_FRESH] != job and _let_go(k, g, job):
            return 0
        job = following


@njit(forceinline=True)
def rest_of_completion(k: Any, job: Any) -> None:
    """Tell who waits for the guest to drain; a closed loop thinks about its next I/O."""
    g = k.jobs[job, J_OWNER]
    if k.guests[g, G_IN_FLIGHT] == 0 and k.guests[g, G_DRAINS] != 0:
        k.guests[g, G_DRAINS] = 0
        add_normal(k, _NEWS_DRAINED, g, 0)
    loader = k.jobs[job, J_LOADER]
    free_job(k, job)
    if k.ints[N_WATCHES, 0] != 0:
        push(k, _DO_AFTER_REST, loader)
        check_later(k)
    elif loader != 0:
        push(k, _DO_NEXT, loader)


@njit(forceinline=True)
def complete(k: Any, s: Any, job: Any) -> None:
    """End a guest's I/O and let go of what waits for it."""
    g = k.jobs[job, J_OWNER]
    lost = lost_pool(k, s, g, job)
    if lost != 0:
        hang(k, g, job, lost)
        return
    note_io(k, g, job, k.now[0, 0])
    if k.guests[g, G_HEAD] == 0:
        rest_of_completion(k, job)
    else:
        push(k, _DO_REST, job)
        push(k, _DO_ADMIT, g)


@njit(forceinline=True)
def admit_next_guest(k: Any, g: Any) -> None:
    """Admit what waits of the guest *g*, then of those after it: a fence was lifted."""
    while g < k.ints[N_GUESTS, 0] and k.guests[g, G_HEAD] == 0:
        g += 1
    if g < k.ints[N_GUESTS, 0]:
        push(k, _DO_NEXT_GUEST, g + 1)
        push(k, _DO_ADMIT, g)


@njit(forceinline=True)
def release(k: Any, job: Any) -> None:
    """Let the closed loops go on whose I/Os were dropped."""
    while job != 0:
        following = k.jobs[job, J_NEXT]
        if k.jobs[job, J_LOADER] != 0:
            add_normal(k, _NEWS_NEXT, k.jobs[job, J_LOADER], 0)
        free_job(k, job)
        job = following


@njit("void(int64, int64, float64)", cache=True)
def drop_waiting(kt: Any, g: Any, when: Any) -> None:
    """Drop what waits of a guest; who issued it in a closed loop is let go at *when*."""
    k = see(kt)
    fresh = k.guests[g, G_FRESH]
    if fresh != 0 and k.jobs[fresh, J_ADMITTED] == 0:
        k.jobs[fresh, J_LOADER] = 0  # it does not listen yet
        k.guests[g, G_FRESH] = 0
    k.guests[g, G_DROPPED] += k.guests[g, G_WAITING]
    first = k.guests[g, G_HEAD]
    hung = give_up(k, g)
    if first == 0:
        first = hung
    else:
        k.jobs[k.guests[g, G_TAIL], J_NEXT] = hung
    plan(k, when, _RANK_POST, _DO_DROPPED, first)
    k.guests[g, G_WAITING] = 0
    k.guests[g, G_HEAD] = 0
    k.guests[g, G_TAIL] = 0
