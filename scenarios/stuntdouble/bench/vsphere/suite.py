"""The benchmarks of the vSphere interface by name."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from stuntdouble.bench.vsphere.crowd import CROWD, Crowd
from stuntdouble.bench.vsphere.reading import IN_PROCESS, READS, InProcess, Reads
from stuntdouble.bench.vsphere.retrieving import CHANGES, INVENTORY, Changes, Inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stuntdouble.bench.figures import Contest

_KINDS: Final[dict[str, Callable[..., Contest]]] = {
    READS: Reads,
    IN_PROCESS: InProcess,
    INVENTORY: Inventory,
    CHANGES: Changes,
    CROWD: Crowd,
}

NAMES: Final = tuple(_KINDS)

_PARTS: Final = ("pyvmomi", "numba", "numpy", "simpy")


def contests(names: Iterable[str], *, quick: bool = False) -> list[Contest]:
    """Return some benchmarks, all where none is named."""
    chosen = tuple(names) or NAMES
    return [kind(quick=quick) for name, kind in _KINDS.items() if name in chosen]


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    return {name: version(name) for name in _PARTS}
