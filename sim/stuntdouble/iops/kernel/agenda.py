"""The agenda of times to come, and the queues of the instant at hand.

The agenda is a binary heap in the order (time, rank, serial), which is the order of SimPy's queue:
a serial number is drawn when an event is put down, as SimPy draws its event ids.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.tables import (
    BACK_AT,
    BACK_KEY,
    N_AGENDA,
    N_BACKS,
    N_CONTROLLED,
    N_HOLE,
    N_NORMAL_HEAD,
    N_NORMAL_TAIL,
    N_REACHED,
    N_REACHED_AT,
    N_SERIAL,
    N_STACK,
    N_URGENT_HEAD,
    N_URGENT_TAIL,
    NEWS_DRAINED,
    NOW,
    RANK_POST,
    RANK_SHIFT,
    see,
)

_RANK_SHIFT = RANK_SHIFT
_SERIALS = (1 << RANK_SHIFT) - 1  # the bits of a key below its rank
_RANK_POST = RANK_POST
_NEWS_DRAINED = NEWS_DRAINED


@njit(forceinline=True)
def _put(k: Any, i: Any, when: Any, key: Any, do: Any, what: Any) -> None:
    k.times[i, 0] = when
    k.agenda[i, 1] = key
    k.agenda[i, 2] = do
    k.agenda[i, 3] = what


@njit(forceinline=True)
def _move(k: Any, source: Any, target: Any) -> None:
    for column in range(4):
        k.agenda[target, column] = k.agenda[source, column]


@njit(forceinline=True)
def _sink(k: Any, n: Any, i: Any, when: Any, key: Any, do: Any, what: Any) -> None:
    """Put an entry into the hole at *i* of *n* entries, or below; behind them, time is infinite."""
    while True:
        below = 2 * i + 1
        if below >= n:
            break
        # of two siblings the one that comes first; ties are rare, the rest is not branched on
        left, right = k.times[below, 0], k.times[below + 1, 0]
        if left == right:
            below += int(k.agenda[below + 1, 1] < k.agenda[below, 1])
        else:
            below += int(right < left)
        time = k.times[below, 0]
        if when <= time and (when < time or key < k.agenda[below, 1]):
            break
        _move(k, below, i)
        i = below
    _put(k, i, when, key, do, what)


@njit(forceinline=True)
def _rise(k: Any, n: Any, when: Any, key: Any, do: Any, what: Any) -> None:
    """Put an entry behind *n* others."""
    k.times[n + 1, 0] = np.inf
    i = n
    while i > 0:
        above = (i - 1) >> 1
        time = k.times[above, 0]
        if time < when or (time == when and k.agenda[above, 1] < key):
            break
        _move(k, above, i)
        i = above
    _put(k, i, when, key, do, what)


@njit(forceinline=True)
def next_key(k: Any, rank: Any) -> Any:
    """Return the key of an event that is fixed now."""
    serial = k.ints[N_SERIAL, 0]
    k.ints[N_SERIAL, 0] = serial + 1
    return rank << _RANK_SHIFT | serial


@njit(forceinline=True)
def plan(k: Any, when: Any, rank: Any, do: Any, what: Any) -> None:
    """Put down that *what* is to be done at *when*."""
    plan_as(k, when, next_key(k, rank), do, what)


@njit(forceinline=True)
def plan_as(k: Any, when: Any, key: Any, do: Any, what: Any) -> None:
    """Put down an event that has its key."""
    n = k.ints[N_AGENDA, 0]
    if k.ints[N_HOLE, 0] != 0:
        k.ints[N_HOLE, 0] = 0
        _sink(k, n, 0, when, key, do, what)
    else:
        k.ints[N_AGENDA, 0] = n + 1
        _rise(k, n, when, key, do, what)


@njit(forceinline=True)
def fill_hole(k: Any) -> None:
    """Close the gap that the entry taken last has left, if nothing took its place."""
    if k.ints[N_HOLE, 0] == 0:
        return
    k.ints[N_HOLE, 0] = 0
    n = k.ints[N_AGENDA, 0] - 1
    k.ints[N_AGENDA, 0] = n
    when, key, do, what = k.times[n, 0], k.agenda[n, 1], k.agenda[n, 2], k.agenda[n, 3]
    k.times[n, 0] = np.inf
    if n > 0:
        _sink(k, n, 0, when, key, do, what)


@njit(forceinline=True)
def take_first(k: Any) -> Any:
    """Take the first entry off the agenda; return what is to be done, and with what.

    It leaves a hole: whoever is served next, or arrives next, mostly falls into it.
    """
    k.ints[N_HOLE, 0] = 1
    return k.agenda[0, 2], k.agenda[0, 3]


@njit
def _step_back(k: Any, key: Any) -> None:
    """Note that an instant has come to *key* once more, behind which it had been already."""
    n = k.ints[N_BACKS, 0]
    while n > 0 and k.backs[n - 1, BACK_KEY] <= key:
        n -= 1
    k.backs[n, BACK_KEY] = key
    k.backs[n, BACK_AT] = k.ints[N_SERIAL, 0]
    k.ints[N_BACKS, 0] = n + 1


@njit(forceinline=True)
def come_to(k: Any, when: Any, key: Any) -> None:
    """Let the time be *when*, and the event with this *key* the one that happens."""
    if when == k.now[NOW, 0] and key < k.ints[N_REACHED, 0]:
        _step_back(k, key)
        return
    k.now[NOW, 0] = when
    k.ints[N_REACHED, 0] = key
    k.ints[N_REACHED_AT, 0] = k.ints[N_SERIAL, 0]
    k.ints[N_BACKS, 0] = 0


@njit
def has_happened(k: Any, key: Any) -> Any:
    """Say whether an event of the instant at hand has happened, or would have if it were one.

    It has if the instant came to it, or past it, after its key had been drawn.
    """
    serial = key & _SERIALS
    for i in range(k.ints[N_BACKS, 0] - 1, -1, -1):
        if key <= k.backs[i, BACK_KEY]:
            return serial < k.backs[i, BACK_AT]
    return key <= k.ints[N_REACHED, 0] and serial < k.ints[N_REACHED_AT, 0]


@njit(forceinline=True)
def push(k: Any, do: Any, what: Any) -> None:
    """Leave *what* to be done before anything that was left to be done until now."""
    n = k.ints[N_STACK, 0]
    k.stack[n, 0] = do
    k.stack[n, 1] = what
    k.ints[N_STACK, 0] = n + 1


@njit(forceinline=True)
def add_urgent(k: Any, stream: Any, index: Any) -> None:
    """Let an item of a stream start when the event at hand is over."""
    n = k.ints[N_URGENT_TAIL, 0]
    k.urgent[n, 0] = stream
    k.urgent[n, 1] = index
    k.ints[N_URGENT_TAIL, 0] = n + 1


@njit(forceinline=True)
def add_normal(k: Any, news: Any, what: Any, count: Any) -> None:
    """Let something happen in this instant, after what is urgent.

    News for control make control the judge of the order: everything in the queue goes to it.
    """
    n = k.ints[N_NORMAL_TAIL, 0]
    k.normal[n, 0] = news
    k.normal[n, 1] = what
    k.normal[n, 2] = count
    k.ints[N_NORMAL_TAIL, 0] = n + 1
    if news >= _NEWS_DRAINED:
        k.ints[N_CONTROLLED, 0] = 1


@njit(forceinline=True)
def take_urgent(k: Any) -> Any:
    """Take the first entry off the urgent queue, which is not empty."""
    n = k.ints[N_URGENT_HEAD, 0]
    stream = k.urgent[n, 0]
    index = k.urgent[n, 1]
    n += 1
    if n == k.ints[N_URGENT_TAIL, 0]:
        n = 0
        k.ints[N_URGENT_TAIL, 0] = 0
    k.ints[N_URGENT_HEAD, 0] = n
    return stream, index


@njit(forceinline=True)
def take_normal(k: Any) -> Any:
    """Take the first entry off the normal queue, which is not empty."""
    n = k.ints[N_NORMAL_HEAD, 0]
    news = k.normal[n, 0]
    what = k.normal[n, 1]
    n += 1
    if n == k.ints[N_NORMAL_TAIL, 0]:
        n = 0
        k.ints[N_NORMAL_TAIL, 0] = 0
    k.ints[N_NORMAL_HEAD, 0] = n
    return news, what


@njit
def restore_order(k: Any) -> None:
    """Make a heap of the agenda again, after times in it have been changed."""
    fill_hole(k)
    n = k.ints[N_AGENDA, 0]
    for hole in range(n // 2 - 1, -1, -1):
        when, key = k.times[hole, 0], k.agenda[hole, 1]
        _sink(k, n, hole, when, key, k.agenda[hole, 2], k.agenda[hole, 3])


@njit("void(int64, float64, int64, int64)", cache=True)
def post(t: Any, when: Any, do: Any, what: Any) -> None:
    """Let *what* be done at *when*, after all control of that instant and before any other I/O."""
    plan(see(t), when, _RANK_POST, do, what)
