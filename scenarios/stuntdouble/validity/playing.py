"""Playing a scenario of the library, or a variation of it, for its figures alone."""

from __future__ import annotations

import tempfile
import tomllib
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stuntdouble.results import Progress
from stuntdouble.scenarios import compare, library, parse

if TYPE_CHECKING:
    from stuntdouble.results import Result
    from stuntdouble.scenarios import Scenario


def table_of(name: str) -> dict[str, Any]:
    """Return the table of the library's scenario *name*, to be varied."""
    (listed,) = (each for each in library() if each.name == name)
    return tomllib.loads(listed.path.read_text("utf-8"))


def varied(table: dict[str, Any], changes: dict[str, Any], where: str) -> Scenario:
    """Return the scenario of *table* with keys changed; ``"backup.throttle.rate"`` names one.

    A part of a key that is a number is an index: ``"vms.0.load.iops"``.  Tables that are missing
    are made.

    Raises:
        Misuse: the grammar of scenarios knows no such key, or the value makes no sense there.
    """
    made = deepcopy(table)
    for key, value in changes.items():
        *path, last = key.split(".")
        inner: Any = made
        for part in path:
            inner = inner[int(part)] if part.isdecimal() else inner.setdefault(part, {})
        inner[last] = value
    return parse(made, where)


def play(scenario: Scenario, methods: tuple[str, ...], seed: int) -> Result:
    """Run *scenario* by *methods* and return what they cost; no restore point is left."""
    with tempfile.TemporaryDirectory(prefix="stuntdouble-validity-") as directory:
        return compare(
            scenario,
            seed=seed,
            trace=None,
            methods=methods,
            command=f"stuntdouble compare {scenario.name} --seed {seed}",
            directory=Path(directory),
            progress=Progress(quiet=True),
        )


@cache
def played(name: str, seed: int) -> Result:
    """Return the library's scenario *name*, played by its own methods once per process."""
    return play(varied(table_of(name), {}, name), (), seed)
