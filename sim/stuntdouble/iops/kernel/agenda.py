"""The agenda of times to come, and the queues of the instant at hand.

The agenda is a binary heap in the order (time, rank, serial), which is the order of SimPy's queue:
a serial number is drawn when an event is put down, as SimPy draws its event ids.
"""

from __future__ import annotations

from typing import Any

from stuntdouble.compiled import njit
from stuntdouble.iops.kernel.tables import (
    N_AGENDA,
    N_CONTROLLED,
    N_NORMAL_HEAD,
    N_NORMAL_TAIL,
    N_SERIAL,
    N_STACK,
    N_URGENT_HEAD,
    N_URGENT_TAIL,
    NEWS_DRAINED,
    RANK_POST,
    RANK_SHIFT,
    see,
)

_RANK_SHIFT = RANK_SHIFT
_RANK_POST = RANK_POST
_NEWS_DRAINED = NEWS_DRAINED


@njit(forceinline=True)
def plan(k: Any, when: Any, rank: Any, do: Any, what: Any) -> None:
    """Put down that *what* is to be done at *when*."""
    serial = k.ints[N_SERIAL, 0]
    k.ints[N_SERIAL, 0] = serial + 1
    key = rank << _RANK_SHIFT | serial
    i = k.ints[N_AGENDA, 0]
    k.ints[N_AGENDA, 0] = i + 1
    while i > 0:
        above = (i - 1) >> 1
        time = k.times[above, 0]
        if time < when or (time == when and k.agenda[above, 0] < key):
            break
        k.times[i, 0] = time
        k.agenda[i, 0] = k.agenda[above, 0]
        k.agenda[i, 1] = k.agenda[above, 1]
        k.agenda[i, 2] = k.agenda[above, 2]
        i = above
    k.times[i, 0] = when
    k.agenda[i, 0] = key
    k.agenda[i, 1] = do
    k.agenda[i, 2] = what


@njit(forceinline=True)
def take_first(k: Any) -> Any:
    """Take the first entry off the agenda; return what is to be done, and with what."""
    do = k.agenda[0, 1]
    what = k.agenda[0, 2]
    n = k.ints[N_AGENDA, 0] - 1
    k.ints[N_AGENDA, 0] = n
    when = k.times[n, 0]
    key = k.agenda[n, 0]
    i = 0
    while True:
        below = 2 * i + 1
        if below >= n:
            break
        time = k.times[below, 0]
        if below + 1 < n:
            other = k.times[below + 1, 0]
            if other < time or (other == time and k.agenda[below + 1, 0] < k.agenda[below, 0]):
                below += 1
                time = other
        if when < time or (when == time and key < k.agenda[below, 0]):
            break
        k.times[i, 0] = time
        k.agenda[i, 0] = k.agenda[below, 0]
        k.agenda[i, 1] = k.agenda[below, 1]
        k.agenda[i, 2] = k.agenda[below, 2]
        i = below
    k.times[i, 0] = when
    k.agenda[i, 0] = key
    k.agenda[i, 1] = k.agenda[n, 1]
    k.agenda[i, 2] = k.agenda[n, 2]
    return do, what


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


@njit("void(int64, float64, int64, int64)", cache=True)
def post(t: Any, when: Any, do: Any, what: Any) -> None:
    """Let *what* be done at *when*, after all control of that instant and before any other I/O."""
    plan(see(t), when, _RANK_POST, do, what)
