"""What a comparison on a served site reports: what a client can know, and nothing made up.

    RemoteResult
    ├── scenario, seed, command, server, rate    what reproduces it, and how fast the site's clock went
    ├── notes                                    what is not measured, in plain sentences
    └── methods {software|storage|mounted: RemoteMethod}

Times are site time, in seconds since the method's run began, but for those with ``wall`` in their
names.  The latency that guests felt is not among the figures: the server hands out bytes at once,
so what reading costs the guests has not happened.
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from stuntdouble.results.figures import METHOD_NAMES, Count, Figure, MethodName, Name, Record
from stuntdouble.results.parts import (
    Backup,
    Consolidation,
    Leftover,
    PointResult,
    RunResult,
    Stuns,
)
from stuntdouble.results.text import loaded, to_text

REMOTE_VERSION: Final = 1


class RemoteMethod(Record):
    """What one backup method cost and achieved on a served site."""

    snapshot_open_seconds: Figure
    """How long a VM snapshot was open, in seconds of site time: the longest of any VM and run."""
    stuns: Stuns
    """Stuns of all VMs, by the site's journal."""
    consolidation: Consolidation
    """Merging of deltas, all VMs, by the site's journal."""
    backup: Backup
    """All runs together."""
    wall_seconds: Figure
    """The same in wall time."""
    reading_wall_seconds: Figure
    """Wall time in which any disk was being read, all runs together."""
    runs: tuple[RunResult, ...]
    """Each run, in order."""
    restore_points: tuple[PointResult, ...]
    """Restore points that it made, in order of their moments."""
    leftovers: tuple[Leftover, ...]
    """What its jobs failed to clean up: empty after a sound run."""
    not_restored: tuple[str, ...] = ()
    """Restores that were asked for and could not be done: a served site is asked for none."""
    began: Figure
    """The instant that times of this part count from, in seconds of site time."""

    @property
    def wire_bytes_per_second(self) -> float | None:
        """Bytes read in a wall second of reading; None where nothing was read."""
        seconds = self.reading_wall_seconds
        return self.backup.bytes_read / seconds if seconds else None


class RemoteResult(Record):
    """The outcome of a scenario on a served site, which was the same before each method."""

    schema_version: Literal[1] = REMOTE_VERSION
    """Version of this format: raised when a field changes its meaning or goes away."""
    kind: Literal["remote"] = "remote"
    """Tells it from the result of a comparison that runs the site itself."""
    scenario: Name
    """Name of the scenario."""
    title: str
    """The scenario in one line."""
    seed: Count
    """Seed of all random streams."""
    command: Name
    """The command line that was given, without credentials."""
    server: Name
    """Where the site is served."""
    rate: Figure
    """Site seconds in a wall second when the comparison began."""
    methods: Annotated[dict[MethodName, RemoteMethod], Field(min_length=1)]
    """One part per method that was run."""
    expected_failures: tuple[MethodName, ...] = ()
    """Methods that the scenario is there to see fail; a success of theirs would be wrong."""
    notes: tuple[str, ...] = ()
    """What a reader should know, in plain sentences."""

    @property
    def restore_points(self) -> tuple[PointResult, ...]:
        """The restore points of all methods, in the order in which a report shows them."""
        return tuple(chain(*(method.restore_points for _, method in self.ordered_methods())))

    @property
    def leftovers(self) -> tuple[Leftover, ...]:
        """What no method cleaned up, in the order in which a report shows it."""
        return tuple(chain(*(method.leftovers for _, method in self.ordered_methods())))

    def ordered_methods(self) -> tuple[tuple[MethodName, RemoteMethod], ...]:
        """Return the methods that were run, in the order in which a report shows them."""
        return tuple((name, self.methods[name]) for name in METHOD_NAMES if name in self.methods)


def dump_remote(result: RemoteResult) -> str:
    """Return *result* as JSON, laid out as ``dump`` does."""
    value: dict[str, Any] = result.model_dump(mode="json")
    value["methods"] = {name: value["methods"][name] for name, _ in result.ordered_methods()}
    return to_text(value) + "\n"


def load_remote(text: str | bytes) -> RemoteResult:
    """Return the result that *text* holds.

    Raises:
        Misuse: not JSON, or not such a result of this version; names the first field that is wrong.
    """
    return loaded(RemoteResult, text, "result.json")
