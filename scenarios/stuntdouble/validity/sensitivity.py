"""Which method wins, over what is assumed: concurrency, algorithm, density, throttle, cache.

The scenario is ``quickstart`` with a full backup only.  However many VMs share the LUN, together
they hold and do what its one VM does: what changes is how many there are, not how much.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.validity.grid import Axis, Cell, Sensitivity
from stuntdouble.validity.playing import play, table_of, varied
from stuntdouble.validity.snapshots import CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCENARIO: Final = "quickstart"

_MIB: Final = 1 << 20  # of a size as scenarios write it

_FITTED: Final = f"{CONCURRENCY} (fitted)"

# By axis: its name, the key it sets, and the values; the first is where the others are held when
# one alone is varied.
_AXES: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (
        "snapshot-layer concurrency",
        "hypervisor.snapshot_concurrency",
        {"unlimited": 0, _FITTED: CONCURRENCY, "1": 1},
    ),
    ("consolidation", "hypervisor.consolidation", {"mirror": "mirror", "helper": "helper"}),
    ("VMs per LUN", "vms", {"1": 1, "4": 4, "16": 16}),
    (
        "read throttle",
        "backup.throttle.rate",
        {"3 MiB/s": "3 MiB/s", "12 MiB/s": "12 MiB/s"},
    ),
    (
        "write-back cache",
        "arrays.0.pools.0.cache",
        {"off": None, "on": {"size": "64 MiB"}},
    ),
)

Place = tuple[str, ...]


def axes() -> tuple[Axis, ...]:
    """Return what is varied."""
    return tuple(Axis(name=n, key=k, values=tuple(values)) for n, k, values in _AXES)


def places(*, quick: bool = False) -> list[Place]:
    """Return all cells of the grid, or with *quick* those in which one axis alone is varied."""
    values = [tuple(values) for _, _, values in _AXES]
    if not quick:
        return list(product(*values))
    home = tuple(each[0] for each in values)
    steps = [
        (*home[:number], value, *home[number + 1 :])
        for number, each in enumerate(values)
        for value in each[1:]
    ]
    return [home, *steps]


def run_grid(
    where: Iterable[Place], seed: int, *, told: Callable[[str], object] = lambda _: None
) -> Sensitivity:
    """Play the scenario at each place, by every method; *told* hears of each before it begins."""
    cells = []
    for place in where:
        told(", ".join(place))
        cells.append(_cell(place, seed))
    return Sensitivity(scenario=SCENARIO, axes=axes(), cells=tuple(cells))


def _cell(place: Place, seed: int) -> Cell:
    changes: dict[str, Any] = {"backup.runs": ["full"]}
    for (_, key, values), name in zip(_AXES, place, strict=True):
        if values[name] is not None:
            changes[key] = values[name]
    table = table_of(SCENARIO)
    changes["vms"] = _shared_out(table["vms"][0], changes["vms"])
    result = play(varied(table, changes, f"{SCENARIO} at {', '.join(place)}"), (), seed)
    return Cell(
        at=place,
        excess_seconds={
            name: method.foreground.whole.excess_latency_seconds
            for name, method in result.ordered_methods()
        },
    )


def _shared_out(vm: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return *count* VMs that together hold and do what *vm* does."""

    def part(size: str) -> int:
        mib, unit = size.split()
        assert unit == "MiB", f"{size}: the scenario is expected to count in MiB"
        return int(mib) * _MIB // count

    (disk,) = vm["disks"]
    return [
        vm
        | {
            "name": f"{vm['name']}-{number + 1}",
            "disks": [disk | {"size": part(disk["size"]), "written": part(disk["written"])}],
            "load": vm["load"]
            | {
                "iops": vm["load"]["iops"] / count,
                "working_set": part(vm["load"]["working_set"]),
            },
        }
        for number in range(count)
    ]
