"""Merging the arrivals of many VMs: each has a source of its own, because a stun shifts one VM's only.

Three ways to find who is next, on the same arrivals: the engine's agenda (a binary heap, where the
next arrival of a source falls into the hole that its last one left), a tree of winners with a fixed
place for each source, and sorting all arrivals ahead.  The last is no rival while VMs are stunned:
it says what a merge costs when nothing can move.  All must come out the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.bench.cases import Case, Sample, wall_seconds
from stuntdouble.compiled import njit
from stuntdouble.errors import Bug
from stuntdouble.iops.draw import units
from stuntdouble.iops.kernel.agenda import plan, take_first
from stuntdouble.iops.kernel.tables import DO_ARRIVAL, RANK_ARRIVAL, new_state, see
from stuntdouble.trace import stream_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Merge = Callable[[NDArray[np.float64]], NDArray[np.float64]]

NAME: Final = "merge"
SOURCES: Final = (16, 128, 1024)  # VMs: a host's, a small site's, a large one's
SEED: Final = 1

_DO_ARRIVAL = DO_ARRIVAL
_RANK_ARRIVAL = RANK_ARRIVAL


def cases(ios: int) -> list[Case]:
    """Return each way for each number of sources; *ios* arrivals in all."""
    ways: list[tuple[str, Merge]] = [
        ("agenda", by_agenda),
        ("tree of winners", by_tree),
        ("sorted ahead", by_sorting),
    ]
    return [
        Case(NAME, f"{way}, {sources:,} VMs", partial(_run, merge, sources, ios))
        for sources in SOURCES
        for way, merge in ways
    ]


def drawn(sources: int, ios: int) -> NDArray[np.float64]:
    """Return the arrivals of each source, a row each: Poisson, mean gap 1."""
    draws = units(stream_key(SEED, NAME, str(sources)), 0, ios // sources * sources)
    return np.add.accumulate(-np.log1p(-draws).reshape(sources, -1), axis=1)


def by_agenda(arrivals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge as the engine does."""
    state, addresses = new_state()
    merged = np.empty(arrivals.size)
    _merge_by_agenda(addresses.ctypes.data, arrivals, merged)
    del state  # it had to live until here
    return merged


def by_tree(arrivals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge by matches: who has lost to a source is looked at only when that source moves on."""
    merged = np.empty(arrivals.size)
    _merge_by_tree(arrivals, merged, np.zeros(len(arrivals), np.int64))
    return merged


def by_sorting(arrivals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sort everything, once."""
    return np.sort(arrivals, axis=None, kind="stable")


@njit
def _merge_by_agenda(at: Any, arrivals: Any, merged: Any) -> None:
    k = see(at)
    sources, each = arrivals.shape
    following = np.ones(sources, np.int64)
    for source in range(sources):
        plan(k, arrivals[source, 0], _RANK_ARRIVAL + source, _DO_ARRIVAL, source)
    for n in range(merged.shape[0]):
        merged[n] = k.times[0, 0]
        _, source = take_first(k)
        j = following[source]
        following[source] = j + 1
        when = arrivals[source, j] if j < each else np.inf
        plan(k, when, _RANK_ARRIVAL + source, _DO_ARRIVAL, source)


@njit
def _merge_by_tree(arrivals: Any, merged: Any, tree: Any) -> None:
    """*tree* has a winner for each match: of matches 2i and 2i + 1, or of two sources at the end."""
    sources, each = arrivals.shape
    following = np.ones(sources, np.int64)
    times = arrivals[:, 0].copy()
    for i in range(sources - 1, 0, -1):
        one = 2 * i - sources if 2 * i >= sources else tree[2 * i]
        other = 2 * i + 1 - sources if 2 * i + 1 >= sources else tree[2 * i + 1]
        tree[i] = one if times[one] <= times[other] else other
    for n in range(merged.shape[0]):
        best = tree[1]
        merged[n] = times[best]
        j = following[best]
        following[best] = j + 1
        times[best] = arrivals[best, j] if j < each else np.inf
        i = best + sources
        while i > 1:
            rival = (i ^ 1) - sources if i ^ 1 >= sources else tree[i ^ 1]
            if times[rival] < times[best]:
                best = rival
            i >>= 1
            tree[i] = best


def _run(merge: Merge, sources: int, ios: int) -> Sample:
    arrivals = drawn(sources, ios)
    merge(arrivals[:, :2].copy())  # compiles it
    began = wall_seconds()
    merged = merge(arrivals)
    seconds = wall_seconds() - began
    if not np.array_equal(merged, by_sorting(arrivals)):
        raise Bug(f"{merge.__name__} of {sources} sources is not in order")
    facts = {"ns per I/O": 1e9 * seconds / merged.size}
    return Sample(merged.size, seconds, events=merged.size, facts=facts)
