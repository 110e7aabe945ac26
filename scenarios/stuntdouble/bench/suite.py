"""All benchmarks by name, run by turns in one process; and the report of it."""

from __future__ import annotations

import platform
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.bench import merge, pooled, queue, runs, scaling
from stuntdouble.bench.capacity import Capacity
from stuntdouble.bench.cases import Case, Row, Sample, rounds_of, rows
from stuntdouble.bench.full import Full
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NAMES: Final = (queue.NAME, merge.NAME, "snapshot", "simple", "full", "capacity", scaling.NAME)

_PARTS: Final = ("numba", "numpy", "simpy")


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the suite found."""

    rounds: int
    quick: bool
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        versions = {name: version(name) for name in _PARTS}
        return {
            "schema_version": 1,
            "rounds": self.rounds,
            "quick": self.quick,
            "machine": {"processor": platform.machine(), "system": platform.system()},
            "versions": {"python": platform.python_version(), **versions},
            "rows": [row.as_json() for row in self.rows],
        }


def cases(names: Iterable[str], *, quick: bool = False, full: bool = False) -> list[Case]:
    """Return the cases of some benchmarks, of all where none is named.

    Raises:
        Misuse: there is no benchmark of that name.
    """
    chosen = tuple(dict.fromkeys(names)) or NAMES
    for name in chosen:
        if name not in NAMES:
            raise Misuse(f"the benchmark {name!r}", f"there are {', '.join(NAMES)}")
    return [
        case for name in NAMES if name in chosen for case in _cases(name, quick=quick, full=full)
    ]


def run(chosen: Sequence[Case], rounds: int, began: Callable[[Case], object]) -> list[Row]:
    """Run cases by turns; *began* hears of each run before it begins."""
    samples: dict[Case, list[Sample]] = defaultdict(list)
    for case in rounds_of(chosen, rounds):
        began(case)
        samples[case].append(case.run())
    return rows(chosen, samples)


def _cases(name: str, *, quick: bool, full: bool) -> list[Case]:
    match name:
        case queue.NAME:
            return queue.cases(queue.QUICK if quick else queue.Sizes())
        case merge.NAME:
            return merge.cases(10**5 if quick else 3 * 10**6)
        case "snapshot" | "simple":
            pool = pooled.SNAPSHOT if name == "snapshot" else pooled.SIMPLE
            world = replace(pool, seconds=2.0) if quick else pool
            return runs.cases(name, world, 0.02 if quick else 0.1, "counts", "bytes")
        case "full":
            everything = Full(warm_up_seconds=60.0, seconds=60.0) if quick else Full()
            return runs.cases(name, everything, 0.5 if quick else 3.0, "counts", "bytes")
        case "capacity":
            night = Capacity(luns_backed_up=1, seconds=20.0) if quick else Capacity()
            who = "compiled, a slice" if quick else "compiled, the night"
            measured = partial(runs.measure, night, "compiled", "counts")
            return [Case(name, who, measured, "counts", rounds=1)]
    return scaling.cases(quick=quick, full=full)
