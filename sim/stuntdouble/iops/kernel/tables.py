"""The kernel's own tables, beside the site's, and how compiled code sees them.

    loader ─next I/O of a load─▶ job ─visits─▶ visit, visit, …        (rows of a list)
                                  ▲                  │
        guest: what waits ────────┤                  ▼
        stream: what is under way ┤               station: queue, servers
        submit ───────────────────┘

    agenda   what happens at a time to come: posts, ends of service, arrivals; a heap
    free     when the servers of a station come free
    backs    how far the instant at hand had come when it went back to what comes before that
    stack    what is left to do of the event at hand, last in, first out
    urgent   items of streams, destages that start now       ┐ first in, first out, as SimPy's
    normal   I/Os let go, loops resumed, news for control     ┘ events of these priorities are

Column names start with the letter of their table.  Rows are numbered from 1 where 0 is "none".
Rows are reserved address space, not memory.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from stuntdouble.compiled.tables import viewer
from stuntdouble.errors import LimitReached
from stuntdouble.site.pool import reserve
from stuntdouble.site.tables import SHAPES as SITE_SHAPES

# Columns. ------------------------------------------------------------------------------------
(N_SERIAL, N_AGENDA, N_STACK, N_URGENT_HEAD, N_URGENT_TAIL, N_NORMAL_HEAD, N_NORMAL_TAIL,
 N_CONTROLLED, N_JOB_FREE, N_JOB_TOP, N_JOBS, N_VISIT_FREE, N_VISIT_TOP, N_LOADERS, N_GUESTS,
 N_FENCED_HEAD, N_FENCED_TAIL, N_HELD, N_REFILL, N_IOS, N_SERVICES, N_ANSWER, N_STEPS,
 N_ASK, N_EVENTS, N_ANY_FENCE, N_LEAVES_MAX, N_NODES_MAX, N_FAULTY, N_ANY_CUT, N_WATCHES,
 N_OPAQUE, N_STREAMS, N_HOLE, N_WAYS, N_CACHES, N_BLOCKING, N_BLOCK_BYTES, N_KEPT_FREE,
 N_KEPT_TOP, N_SPAN_FREE, N_SPAN_TOP, N_WAIT_FREE, N_WAIT_TOP, N_COPYING, N_DIRTY_BYTES,
 N_DIRTY_BLOCKS, N_QUIET, N_LIMITS, N_REACHED, N_FREE_TOP,
 N_FLUSH_AT, N_REACHED_AT, N_BACKS) = range(54)  # fmt: skip
(A_KIND, A_SERVERS, A_BUSY, A_HEAD, A_TAIL, A_LATE_HEAD, A_LATE_TAIL, A_COUNT, A_ARM,
 A_FIRST, A_FREE, A_TAKEN, A_IDLE) = range(13)  # fmt: skip
(B_RATE, B_ROW, B_STROKE, B_TRACK) = (0, 1, 7, 8)  # B_ROW is the first of six parameters
(G_STUNS, G_FENCES, G_LIMIT, G_IN_FLIGHT, G_ARRIVED, G_COMPLETED, G_DROPPED, G_WAITING, G_HEAD,
 G_TAIL, G_FRESH, G_DRAINS, G_RETIRED, G_RESUMED_HEAD, G_RESUMED_TAIL, G_SECONDS, G_ROWS,
 G_COUNT, G_CURSOR, G_ENDED, G_LOOPS, G_DISKS, G_DISK_COUNT, G_HUNG, G_HUNG_HEAD, G_HUNG_TAIL,
 G_LOST, G_SILENT, G_SILENT_HEAD, G_SILENT_MAX) = range(30)  # fmt: skip
H_STUNNED_AT, H_SHIFT = range(2)
(L_GUEST, L_DISK, L_WRITE, L_OFFSET, L_LENGTH, L_NEXT) = range(6)
(J_KIND, J_OWNER, J_LOADER, J_DISK, J_WRITE, J_OFFSET, J_LENGTH, J_LEFT, J_VISITS, J_NEXT,
 J_ADMITTED, J_BEFORE, J_KEY) = range(13)  # fmt: skip
M_ARRIVED, M_END = range(2)
NOW, UNTIL = range(2)
(V_JOB, V_GROUP, V_STATION, V_WRITE, V_POSITION, V_BYTES, V_PURPOSE, V_NEXT) = range(
    8
)  # V_NEXT is the job's, then the queue's
(S_IO, S_TARGET, S_BLOCKS, S_ITEMS, S_ENDED, S_COUNT, S_FIRST, S_UNDER_WAY, S_DEPTH, S_DONE,
 S_PREFIX, S_MARK, S_STOPPED, S_FINISHED, S_FENCES, S_IS_HELD, S_NEXT, S_PURPOSE, S_LINK,
 S_PACED_BYTES, S_LOST, S_FAILED) = range(22)  # fmt: skip
Y_RATE, Y_PACED_FROM, Y_WAKE = range(3)
(SERVED_STATION, SERVED_PURPOSE, SERVED_JOB, SERVED_KEY) = range(4)
SERVED_START, SERVED_SECONDS, SERVED_BUILT = range(3)
W_ADDRESS, W_SIGN, W_THRESHOLD = range(3)
BACK_KEY, BACK_AT = range(2)
(O_LAID, O_RAID, O_FIRST, O_MEMBERS, O_STRIPE, O_PORT, O_CUT, O_BLOCKS) = range(8)
DISK_NUMBER, DISK_BUCKET = range(2)
BUCKET_IOPS, BUCKET_BURST, BUCKET_TOKENS, BUCKET_SINCE, BUCKET_WAKE = range(5)
(P_STATE, P_KEPT, P_LATER, P_ROOM, P_PURPOSE, P_LINK, P_LINK_BYTES, P_LAST_COPY, P_SPANS, P_LEFT,
 P_HEAD, P_TAIL, P_MARK) = range(13)  # fmt: skip
KEPT_NEXT = 6  # behind the columns of a step
(SPAN_POOL, SPAN_START, SPAN_STOP, SPAN_JOB, SPAN_CELL, SPAN_NEXT, SPAN_MORE) = range(7)
WAIT_JOB, WAIT_NEXT = range(2)
(CACHE_MARK, CACHE_DESTAGES, CACHE_STATION, CACHE_PORT, CACHE_DIRTY, CACHE_UNDER_WAY, CACHE_HEAD,
 CACHE_TAIL, CACHE_ROOM_HEAD, CACHE_ROOM_TAIL) = range(10)  # fmt: skip
DIRTY_KEY, DIRTY_COUNT = range(2)

# N_REFILL is one more than the guest whose load runs out; -1 is several.

# Kinds of jobs.
JOB_GUEST, JOB_STREAM, JOB_SUBMIT, JOB_DESTAGE = 1, 2, 3, 4

# How far a job is on its way, where that is more than visits; 0 is nothing but visits.
WAY_SET_OUT, WAY_ROOM, WAY_COPIES, WAY_MOVING = 1, 2, 3, 4

# What happens, on the agenda; and what is left to do, on the stack. ------------------------------
(DO_END, DO_ARRIVAL, DO_START, DO_LET_GO, DO_ADMIT, DO_UNFENCE, DO_OPEN, DO_GO, DO_AFTER_ARRIVAL,
 DO_REST, DO_NEXT_STREAM, DO_NEXT_GUEST, DO_ITEM_FAILED, DO_UNTIL, DO_NEXT,
 DO_DROPPED, DO_CHECK, DO_AFTER_REST, DO_TELL, DO_GROUP_END) = range(1, 21)  # fmt: skip

# Entries of the normal queue: the first three are the kernel's, the rest news for control.
(NEWS_GO, NEWS_UNTIL, NEWS_NEXT, NEWS_DRAINED, NEWS_MARK, NEWS_FINISHED, NEWS_ENDED,
 NEWS_UNREACHABLE, NEWS_QUIET) = range(1, 10)  # fmt: skip

# Why the kernel returns.
(DONE, TRANSFER, REFILL, FLUSH, SETTLE, ASK_GUEST, ASK_ITEM, OVERSIZE, FULL, WATCH) = range(10)

# What Python answered to a question.
ANSWER_NONE, ANSWER_GIVEN, ANSWER_REFUSED = range(3)
LOAD_READ, LOAD_REFUSED = 1, 2  # how the rows of a guest's load came to an end

# Ranks within an instant, in the agenda's keys: rank << 44 | serial.  Ends of service are ranked by
# station, arrivals by guest.
RANK_POST, RANK_END, RANK_ARRIVAL = 0, 1, 1 << 17
RANK_SHIFT: Final = 44  # 17 trillion events, 260,000 guests

FLUSH_ROWS: Final = 1 << 16  # measured rows that the meter takes over at a time
JOBS_MAX: Final = 1 << 21  # I/Os at a time, whether they wait or are under way
VISIT_ROWS: Final = 1 << 24  # visits of all of them
SERVED_ROWS: Final = 1 << 26  # of those that have not ended, and what is not told yet
FREE_ROWS: Final = 1 << 20  # servers of all stations that know ahead when visits end
AHEAD_MAX: Final = 1 << 12  # servers of such a station: one of more has room for everybody
OUT_ROWS: Final = 1 << 21  # visits of one I/O
GUESTS_MAX: Final = 1 << 16  # with one row each for up to 16 disks
STREAMS_MAX: Final = 1 << 18  # of one run
WATCHES_MAX: Final = 1 << 10  # at a time
BACKS_MAX: Final = 1 << 18  # one for each rank of an instant
CELLS: Final = 1 << 16  # of the map of copies under way
DIRTY_ROWS: Final = 1 << 23  # of the map of dirty blocks, a power of two
ROOM_ROWS: Final = 1 << 17  # more than one I/O takes of the tables below


class State(NamedTuple):
    """The kernel's tables, as numpy arrays; in compiled code, as views of the same memory."""

    ints: Any
    now: Any
    stations: Any
    speeds: Any
    keys: Any
    free: Any
    guests: Any
    clocks: Any
    disks: Any
    loaders: Any
    loader_seconds: Any
    jobs: Any
    moments: Any
    visits: Any
    streams: Any
    paces: Any
    times: Any  # the agenda again: its first column is a time
    agenda: Any
    stack: Any
    urgent: Any
    normal: Any
    pools: Any
    out: Any
    ios: Any
    io_kinds: Any
    services: Any
    service_kinds: Any
    told: Any
    told_kinds: Any
    fences: Any
    watches: Any
    backs: Any
    passages: Any
    kept: Any
    deferred: Any
    cells: Any
    spans: Any
    waits: Any
    caches: Any
    dirty: Any
    buckets: Any


SHAPES: Final[dict[str, tuple[int, int, Any]]] = {
    "ints": (64, 1, np.int64),
    "now": (2, 1, np.float64),
    "stations": (1 << 16, 13, np.int64),
    "speeds": (1 << 16, 9, np.float64),
    "keys": (1 << 16, 1, np.uint64),
    "free": (FREE_ROWS, 1, np.float64),
    "guests": (GUESTS_MAX, 30, np.int64),
    "clocks": (GUESTS_MAX, 2, np.float64),
    "disks": (1 << 20, 2, np.int64),
    "loaders": (1 << 20, 6, np.int64),
    "loader_seconds": (1 << 20, 1, np.float64),
    "jobs": (2 * JOBS_MAX, 13, np.int64),
    "moments": (2 * JOBS_MAX, 2, np.float64),
    "visits": (VISIT_ROWS, 8, np.int64),
    "streams": (STREAMS_MAX, 22, np.int64),
    "paces": (STREAMS_MAX, 3, np.float64),
    "agenda": (1 << 23, 4, np.int64),
    "stack": (1 << 10, 2, np.int64),
    "urgent": (1 << 23, 2, np.int64),
    "normal": (1 << 23, 3, np.int64),
    "pools": (1 << 8, 8, np.int64),
    "out": (OUT_ROWS, 6, np.int64),
    "ios": (1 << 23, 2, np.float64),
    "io_kinds": (1 << 23, 4, np.int64),
    "services": (SERVED_ROWS, 3, np.float64),
    "service_kinds": (SERVED_ROWS, 4, np.int64),
    "told": (SERVED_ROWS, 2, np.float64),
    "told_kinds": (SERVED_ROWS, 2, np.int64),
    "fences": (1 << 14, 1, np.int64),
    "watches": (WATCHES_MAX, 3, np.int64),
    "backs": (BACKS_MAX, 2, np.int64),
    "passages": (2 * JOBS_MAX, 13, np.int64),
    "kept": (1 << 23, 7, np.int64),
    "deferred": (OUT_ROWS, 7, np.int64),
    "cells": (CELLS, 1, np.int64),
    "spans": (1 << 22, 7, np.int64),
    "waits": (1 << 22, 2, np.int64),
    "caches": (1 << 8, 10, np.int64),
    "dirty": (DIRTY_ROWS, 2, np.int64),
    "buckets": (1 << 20, 5, np.float64),
}
"""Rows, columns and type of each table."""


def new_state() -> tuple[State, np.ndarray[Any, Any]]:
    """Return fresh tables and the table of their addresses."""
    tables = {
        name: reserve(*shape, number=number)
        for number, (name, shape) in enumerate(SHAPES.items(), start=len(SITE_SHAPES))
    }
    state = State(**tables, times=tables["agenda"].view(np.float64))
    addresses = np.array([[table.ctypes.data, table.shape[0]] for table in state], np.int64)
    state.ints[[N_JOB_TOP, N_VISIT_TOP, N_KEPT_TOP, N_SPAN_TOP, N_WAIT_TOP, N_FREE_TOP]] = 1
    state.ints[N_FLUSH_AT] = FLUSH_ROWS
    return state, addresses


see = viewer(State, {**SHAPES, "times": (*SHAPES["agenda"][:2], np.float64)}, {"times": "agenda"})
"""From where the table of addresses lies to the tables."""


def bound(number: int, most: int, what: str) -> None:
    """Refuse more than there is room for."""
    if number > most:
        raise LimitReached(what, most)
