"""Benchmarks: what an emulated I/O costs, side by side with other ways to simulate it.

They are commands, not tests: tests look at what they do, never at how long it takes.
"""

from stuntdouble.bench.capacity import Capacity
from stuntdouble.bench.cases import Case, Row, Sample
from stuntdouble.bench.full import Full
from stuntdouble.bench.pooled import SIMPLE, SNAPSHOT, Pooled
from stuntdouble.bench.suite import NAMES, Report, cases, run

__all__ = [
    "NAMES",
    "SIMPLE",
    "SNAPSHOT",
    "Capacity",
    "Case",
    "Full",
    "Pooled",
    "Report",
    "Row",
    "Sample",
    "cases",
    "run",
]
