"""A queue that is run: one station, Poisson arrivals, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.iops import Pattern, PoissonLoad
from stuntdouble.validity.rig import BLOCK_BYTES, VM, Rig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stuntdouble.iops import Latencies, Service

    Floats = NDArray[np.float64]

BATCHES: Final = 40
"""Of a run.  Neighbours in a queue are alike, so that an error is estimated from batches of them."""

WARM: Final = 0.05
"""Share of the I/Os that is left out: the queue starts empty."""

_WORKING_SET_BYTES: Final = BLOCK_BYTES << 10


@dataclass(frozen=True, slots=True)
class Queue:
    """A run: times inside and in line, each in order of arrival, and both sides of Little's law."""

    seconds: Floats
    waits: Floats
    inside: float
    rate_times_mean: float


@cache
def run_queue(
    services: tuple[Service, ...], servers: int, rho: float, ios: int, seed: int
) -> Queue:
    """Return what becomes of about *ios* I/Os at services of mean 1, each *rho* busy."""
    rig = Rig(*services, servers=servers, seed=seed)
    iops = rho * servers * len(services)
    load = PoissonLoad(seed, VM, iops, (Pattern(1.0, BLOCK_BYTES, _WORKING_SET_BYTES),))
    rig.guest(load)
    until = ios / iops
    found = rig.run(until)
    issued = takewhile(lambda row: row[0] <= until, load.ios())
    columns = np.dtype([("at", np.float64), ("place", np.int64)])
    rows: NDArray[Any] = np.fromiter(((row[0], row[3]) for row in issued), columns)
    arrivals, stations = rows["at"].copy(), rows["place"] // BLOCK_BYTES % len(services)
    return Queue(
        seconds=found.seconds,
        waits=_in_line(arrivals, stations, found, servers),
        inside=_area(arrivals, np.sort(found.arrived + found.seconds), until) / until,
        rate_times_mean=_by_rate(arrivals, found, until),
    )


def _in_line(arrivals: Floats, stations: NDArray[Any], found: Latencies, servers: int) -> Floats:
    """Return the time in line of each I/O that has been begun, from both times without pairing them.

    Behind one line the I/O number k of a station begins with its arrival or, where that is later,
    with the completion number k - servers: then a server is free for it.
    """
    waits = np.full(len(arrivals), np.nan)
    of_found = stations[np.searchsorted(arrivals, found.arrived)]
    for station in np.unique(stations):
        mine = np.flatnonzero(stations == station)
        freed = np.sort((found.arrived + found.seconds)[of_found == station])
        begun = mine[: servers + len(freed)]
        waits[begun[:servers]] = 0.0
        late = freed[: len(begun) - servers] - arrivals[begun[servers:]]
        waits[begun[servers:]] = np.maximum(late, 0.0)
    return np.asarray(waits[~np.isnan(waits)])


def _area(arrivals: Floats, completions: Floats, until: float) -> float:
    """Return the integral of how many are inside, from both times without pairing them."""
    ends = np.concatenate((completions, np.full(len(arrivals) - len(completions), until)))
    edges = np.concatenate((arrivals, ends))
    steps = np.concatenate((np.ones(len(arrivals)), -np.ones(len(ends))))
    order = np.argsort(edges, kind="stable")
    inside = np.cumsum(steps[order])
    return float((inside[:-1] * np.diff(edges[order])).sum())


def _by_rate(arrivals: Floats, found: Latencies, until: float) -> float:
    """Return arrival rate × mean time inside; who is still inside has been so until now."""
    left: NDArray[Any] = np.setdiff1d(arrivals, found.arrived, assume_unique=True)
    times = np.concatenate((found.seconds, until - left))
    return len(times) / until * float(times.mean())


def mean_and_error(values: NDArray[Any]) -> tuple[float, float]:
    """Return the mean of what was measured in order, and its standard error by batch means."""
    kept = values[int(len(values) * WARM) :]
    means = np.array([batch.mean() for batch in np.array_split(kept, BATCHES)])
    return float(kept.mean()), float(means.std(ddof=1) / np.sqrt(BATCHES))
