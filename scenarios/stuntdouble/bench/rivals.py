"""Others' simulators on the same queue: salabim, Ciw, and a recursion in C compiled on the spot.

None of them is needed to run the project; whoever is missing is said to be, with what to do.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.bench.cases import wall_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Solved = tuple[float, NDArray[np.float64]]

_COMPILE_SECONDS_MAX: Final = 60  # a compiler that takes longer for thirty lines hangs
_COMPILERS: Final = ("cc", "gcc", "clang")

# Three times as fast as without: told that there is no NaN and no -0.0, the compiler takes the
# processor's minimum and maximum.  So the limit is the largest number, not infinity.
_FLAGS: Final = ("-O3", "-march=native", "-ffinite-math-only", "-fno-signed-zeros")
_NO_LIMIT: Final = float(np.finfo(np.float64).max)

_SOURCE: Final = r"""
#include <stdint.h>

/* The number of servers is known when this is compiled, so the sorted times of all servers
   can stay in registers; they are passed through by minima and maxima. */
int64_t recurse(const double *arrived, const double *built, int64_t count, double rate,
                double limit, double *free, double *starts, double *completed)
{
    double f[SERVERS];
    int64_t i;
    for (int j = 0; j < SERVERS; j++) f[j] = free[j];
    for (i = 0; i < count; i++) {
        double start = f[0] > arrived[i] ? f[0] : arrived[i];
        if (start >= limit) break;
        double until = start + built[i] / rate;
        starts[i] = start;
        completed[i] = until;
        for (int j = 1; j < SERVERS; j++) {
            double other = f[j];
            f[j - 1] = until < other ? until : other;
            until = until < other ? other : until;
        }
        f[SERVERS - 1] = until;
    }
    for (int j = 0; j < SERVERS; j++) free[j] = f[j];
    return i;
}
"""


def missing(module: str) -> str:
    """Say why a simulator cannot be run; nothing where it can."""
    return "" if find_spec(module) else "not installed: make bench"


def salabim(arrived: NDArray[np.float64], built: NDArray[np.float64]) -> Solved:
    """Serve them by four components that sleep while nothing waits.

    A component for each I/O, the other usual way, is many times slower: it inspects the signature
    of its process every time.
    """
    sim: Any = import_module("salabim")
    env = sim.Environment(trace=False, yieldless=False)
    came, work = arrived.tolist(), built.tolist()
    waiting, asleep, completed = deque[int](), list[Any](), [0.0] * len(came)

    class Server(sim.Component):  # type: ignore[misc]  # salabim is untyped
        def process(self) -> Iterator[object]:
            while True:
                while not waiting:
                    asleep.append(self)
                    yield self.passivate()
                i = waiting.popleft()
                yield self.hold(work[i])
                completed[i] = env.now()

    class Source(sim.Component):  # type: ignore[misc]  # salabim is untyped
        def process(self) -> Iterator[object]:
            for i, time in enumerate(came):
                yield self.hold(till=time)
                waiting.append(i)
                if asleep:
                    asleep.pop().activate()

    for _ in range(4):
        Server()
    Source()
    began = wall_seconds()
    env.run()
    return wall_seconds() - began, np.array(completed)


def ciw(arrived: NDArray[np.float64], built: NDArray[np.float64]) -> Solved:
    """Serve them by a network of one node with four servers."""
    sim: Any = import_module("ciw")
    gaps = [*np.diff(arrived, prepend=0.0).tolist(), float("inf")]
    network = sim.create_network(
        arrival_distributions=[sim.dists.Sequential(gaps)],
        service_distributions=[sim.dists.Sequential(built.tolist())],
        number_of_servers=[4],
    )
    simulation = sim.Simulation(network)
    began = wall_seconds()
    simulation.simulate_until_max_customers(len(arrived), method="Finish")
    seconds = wall_seconds() - began
    records = sorted(simulation.get_all_records(), key=lambda record: record.id_number)
    return seconds, np.array([record.service_end_date for record in records])


@dataclass(frozen=True, slots=True)
class Library:
    """A recursion in machine code, or why there is none."""

    solve: Callable[[NDArray[np.float64], NDArray[np.float64]], Solved]
    missing: str = ""


@cache
def compiled_recursion(servers: int) -> Library:
    """Compile the recursion for so many servers, for this machine."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, _COMPILERS), None)
    if not compiler:
        return Library(_not_there, "no C compiler: install gcc or clang")
    with tempfile.TemporaryDirectory(prefix="stuntdouble-") as folder:
        source, library = Path(folder, "recurse.c"), Path(folder, "recurse.so")
        source.write_text(_SOURCE, encoding="ascii")
        flags = [*_FLAGS, "-shared", "-fPIC"]
        command = [compiler, *flags, f"-DSERVERS={servers}", "-o", str(library), str(source)]
        try:
            subprocess.run(  # noqa: S603  (the compiler of whoever runs this, on our own source)
                command, check=True, capture_output=True, timeout=_COMPILE_SECONDS_MAX
            )
            function: Any = ctypes.CDLL(str(library)).recurse
        except (OSError, subprocess.SubprocessError) as error:
            return Library(_not_there, f"{compiler} does not work: {type(error).__name__}")
    return Library(_bound(function, servers))


def _bound(function: Any, servers: int) -> Callable[..., Solved]:
    array = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
    number = ctypes.c_double
    function.argtypes = [array, array, ctypes.c_int64, number, number, array, array, array]
    function.restype = ctypes.c_int64

    def solve(arrived: NDArray[np.float64], built: NDArray[np.float64]) -> Solved:
        starts, completed, free = touched(arrived), touched(arrived), np.zeros(servers)
        began = wall_seconds()
        done = function(arrived, built, len(arrived), 1.0, _NO_LIMIT, free, starts, completed)
        seconds = wall_seconds() - began
        assert done == len(arrived), "no limit, so all of them start"
        return seconds, completed

    return solve


def touched(like: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an array of that length whose memory is there, so that no run pays for finding it."""
    return np.full(len(like), np.nan)


def _not_there(arrived: NDArray[np.float64], built: NDArray[np.float64]) -> Solved:
    raise AssertionError(f"nobody to serve {len(arrived)} I/Os in {built.sum()} s")
