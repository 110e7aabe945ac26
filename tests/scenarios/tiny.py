"""A scenario that takes a second, as a table that tests may change."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from stuntdouble.results import Progress, Result
from stuntdouble.scenarios import compare, parse

if TYPE_CHECKING:
    from pathlib import Path

    from stuntdouble.results import EngineName
    from stuntdouble.scenarios.doors import Door

TINY: dict[str, Any] = {
    "name": "tiny",
    "title": "A small VM on a small array",
    "arrays": [
        {
            "name": "array-1",
            "pools": [
                {
                    "name": "pool-1",
                    "media": "10k",
                    "raid": "raid10",
                    "disks": 4,
                    "disk_size": "1 GiB",
                    "reserve": "256 MiB",
                }
            ],
            "volumes": [{"name": "vol-1", "pool": "pool-1", "size": "1 GiB"}],
        }
    ],
    "datastores": [{"name": "ds-1", "volumes": ["vol-1"], "fragmentation": 0.5}],
    "vms": [
        {
            "name": "vm-1",
            "disks": [{"datastore": "ds-1", "size": "64 MiB", "written": "16 MiB"}],
            "load": {"iops": 40, "reads": 0.4, "io": "4 KiB", "working_set": "24 MiB"},
        }
    ],
    "backup": {
        "runs": ["full", "incremental"],
        "throttle": {"depth": 4, "block": "256 KiB", "rate": "4 MiB/s"},
    },
    "times": {"before": 5, "between": 5, "after": 5},
}


def tiny(**changes: Any) -> dict[str, Any]:
    """Return the tiny scenario with top-level keys replaced."""
    table = copy.deepcopy(TINY)
    table.update(changes)
    return table


def live_through(
    table: dict[str, Any],
    directory: Path,
    *,
    methods: tuple[str, ...] = (),
    seed: int = 1,
    trace: Path | None = None,
    engine: EngineName = "kernel",
    door: Door = "direct",
) -> Result:
    """Run a scenario given as a table, without a display."""
    return compare(
        parse(table, "test"),
        seed=seed,
        trace=trace,
        methods=methods,
        command="test",
        directory=directory,
        progress=Progress(quiet=True),
        engine=engine,
        door=door,
    )


def with_vm(table: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return *table* with keys of its first VM replaced."""
    table = copy.deepcopy(table)
    table["vms"][0].update(changes)
    return table
