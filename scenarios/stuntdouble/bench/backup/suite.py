"""The benchmarks of backups, and what is made of their figures."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from stuntdouble.bench import figures
from stuntdouble.bench.backup.full import Full
from stuntdouble.bench.backup.incrementals import INCREMENTALS, Incrementals, line_of
from stuntdouble.bench.iscsi.parties import version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.bench.figures import Contest, Row

_PARTS: Final = ("numba", "numpy", "simpy", "pyvmomi", "zstandard", "blake3")


def contests(*, quick: bool = False) -> list[Contest]:
    """Return the benchmarks."""
    return [Full(quick=quick), Incrementals(quick=quick)]


def run(contests: Sequence[Contest], rounds: int, began: Callable[[str, int], object]) -> list[Row]:
    """Run them as ``figures.run`` does; with incrementals go a and b of their line."""
    return [_with_line(row) for row in figures.run(contests, rounds, began)]


def _with_line(row: Row) -> Row:
    if row.bench != INCREMENTALS:
        return row
    line = line_of(row.figures)
    found = {"a, s": line.fixed, "b, s per GiB": line.slope * 1024}
    return replace(row, figures=row.figures | found)


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    return {name: version(name) for name in _PARTS} | {"qemu-img": version_of("qemu-img")}
