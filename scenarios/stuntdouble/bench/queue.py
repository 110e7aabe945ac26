"""M/M/4 at a load of 0.8: the same arrivals and service times for everybody.

A queue with known answers, and nothing else: no addresses, no snapshots.  What it shows is what an
I/O costs when a process, an event or an expression stands for it.  Everybody's completions are
compared with the recursion's: to the bit, or to 1e-9 of the time for those who add up gaps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import simpy

from stuntdouble.bench import rivals
from stuntdouble.bench.cases import Case, Sample, wall_seconds
from stuntdouble.bench.rivals import touched
from stuntdouble.errors import Bug
from stuntdouble.iops.draw import units
from stuntdouble.iops.fastpath import idle, recurse
from stuntdouble.trace import stream_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from stuntdouble.bench.rivals import Solved

    Solve = Callable[[NDArray[np.float64], NDArray[np.float64]], Solved]

NAME: Final = "queue"
SERVERS: Final = 4
LOAD: Final = 0.8  # where an M/M/4 queue has most to do and is still stable
SEED: Final = 1

_SHORT_SECONDS: Final = 0.1
_REPEATS: Final = 5
_CLOSE: Final = 1e-9  # of the time: what adding up gaps instead of times may cost in rounding


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many I/Os each kind of simulator gets: enough for about a second."""

    recursion: int = 10_000_000
    callbacks: int = 400_000
    processes: int = 100_000
    slow: int = 30_000


QUICK: Final = Sizes(1_000_000, 50_000, 20_000, 5_000)


def drawn(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return arrivals and service times (mean 1) of *count* I/Os."""
    gaps = -np.log1p(-units(stream_key(SEED, "gaps", NAME), 0, count)) / (LOAD * SERVERS)
    return np.add.accumulate(gaps), -np.log1p(-units(stream_key(SEED, "work", NAME), 0, count))


def cases(sizes: Sizes) -> list[Case]:
    """Return everybody, the slowest kind first: that is what the ratio refers to."""
    library = rivals.compiled_recursion(SERVERS)
    ways: list[tuple[str, int, Solve, str]] = [
        ("SimPy, a process per I/O", sizes.processes, _processes, ""),
        ("SimPy, callbacks", sizes.callbacks, _callbacks, ""),
        ("salabim", sizes.slow, rivals.salabim, rivals.missing("salabim")),
        ("Ciw", sizes.slow, rivals.ciw, rivals.missing("ciw")),
        ("C recursion", sizes.recursion, library.solve, library.missing),
        ("our fast path", sizes.recursion, fast_path, ""),
    ]
    return [
        Case(NAME, name, partial(_measure, name, count, solve), missing=missing)
        for name, count, solve, missing in ways
    ]


def _measure(name: str, count: int, solve: Solve) -> Sample:
    arrived, built = drawn(count)
    seconds, completed = solve(arrived, built)
    if seconds < _SHORT_SECONDS:  # what is over so soon is told apart from its first time
        seconds = median(solve(arrived, built)[0] for _ in range(_REPEATS))
    expected = fast_path(arrived, built)[1]
    if completed.shape != expected.shape or not np.allclose(completed, expected, _CLOSE, 0.0):
        raise Bug(f"{name} and the recursion give different completions")
    exact = float(np.mean(completed == expected))
    return Sample(count, seconds, visits=count, facts={"equal to the bit": exact})


def fast_path(arrived: NDArray[np.float64], built: NDArray[np.float64]) -> Solved:
    """Serve them by the engine's own recursion."""
    starts, completed = touched(arrived), touched(arrived)
    free = idle(SERVERS)
    began = wall_seconds()
    done = recurse(arrived, built, 1.0, inf, free, starts, completed)
    seconds = wall_seconds() - began
    assert done == len(arrived), "no limit, so all of them start"
    return seconds, completed


def _processes(arrived: NDArray[np.float64], built: NDArray[np.float64]) -> Solved:
    """Serve them as SimPy's tutorial does: a process waits for a Resource."""
    env, came, work = simpy.Environment(), arrived.tolist(), built.tolist()
    server, completed = simpy.Resource(env, SERVERS), [0.0] * len(came)

    def io(i: int) -> Generator[simpy.Event, Any, None]:
        with server.request() as turn:
            yield turn
            yield env.timeout(work[i])
        completed[i] = env.now

    def source() -> Generator[simpy.Event, Any, None]:
        for i, time in enumerate(came):
            yield env.timeout(time - env.now)
            env.process(io(i))

    env.process(source())
    return _timed(env.run, completed)


def _callbacks(arrived: NDArray[np.float64], built: NDArray[np.float64]) -> Solved:
    """Serve them with as little of SimPy as can be: an event per end of service."""
    env, came, work = simpy.Environment(), arrived.tolist(), built.tolist()
    waiting, completed = deque[int](), [0.0] * len(came)
    busy = 0

    def start(i: int) -> None:
        env.timeout(work[i], i).callbacks.append(end)

    def end(event: simpy.Event) -> None:
        nonlocal busy
        completed[cast("int", event.value)] = env.now
        if waiting:
            start(waiting.popleft())
        else:
            busy -= 1

    def source() -> Generator[simpy.Event, Any, None]:
        nonlocal busy
        for i, time in enumerate(came):
            yield env.timeout(time - env.now)
            if busy < SERVERS:
                busy += 1
                start(i)
            else:
                waiting.append(i)

    env.process(source())
    return _timed(env.run, completed)


def _timed(run: Callable[[], object], completed: list[float]) -> Solved:
    began = wall_seconds()
    run()
    return wall_seconds() - began, np.array(completed)
