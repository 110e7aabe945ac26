"""What a run reports: one result, a part per backup method, every figure with its unit.

    Result
    ├── scenario, seed, command        what reproduces it
    ├── site, assumptions, notes       what was emulated, on which footing, what is worth knowing
    └── methods {software|storage|mounted: MethodResult}
        ├── backup, runs               duration and bytes; each run with its window and RPO
        ├── restore_points             each verified against the oracle, or not (null)
        ├── leftovers                  what the job failed to clean up: must be empty
        ├── stuns, stalls, consolidation, delta, snapshot space
        ├── foreground, array_utilisation      by phase: before, reading, consolidating, after
        ├── vms, datastores            the same by VM; free space by datastore
        └── phases, events, series     the time line

Times are seconds since the run began, but for the moments of restore points, which are site
time as in the repository.  Sizes are bytes, latencies are milliseconds, shares are 0 to 1.
``null`` means that there is no such figure (no I/O in a phase, no window asked for), never zero.
"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from stuntdouble.results.figures import (
    METHOD_NAMES,
    Count,
    EngineName,
    Figure,
    MethodName,
    Name,
    Record,
)
from stuntdouble.results.parts import (
    Backup,
    ByPhase,
    Consolidation,
    DatastoreResult,
    Event,
    Foreground,
    Leftover,
    Phase,
    PointResult,
    RunResult,
    Series,
    Stalls,
    Stuns,
    VmResult,
)
from stuntdouble.results.text import loaded, to_text

SCHEMA_VERSION: Final = 1


class MethodResult(Record):
    """What one backup method cost and achieved on the scenario's site.

    `software` reads through the hypervisor while the VM snapshot stays open; `storage` reads a
    promoted array snapshot through offset tables; `mounted` registers the promoted snapshot with
    an extra hypervisor host and reads through that.
    """

    snapshot_open_seconds: Figure
    """How long a VM snapshot was open, in seconds: the longest of any VM and run."""
    delta_peak_bytes: Count
    """Largest size of all delta disks together, in bytes."""
    stuns: Stuns
    """Stuns of all VMs."""
    stalls: Stalls
    """Silences that clients outside would have seen, all VMs."""
    consolidation: Consolidation
    """Merging of deltas, all VMs."""
    foreground: Foreground
    """The guests' I/O by phase, all VMs."""
    array_utilisation: ByPhase
    """Mean busy share of the disks under the backed-up VMs: those of the pools of their datastores."""
    array_utilisation_backup_share: ByPhase
    """The share of the busy time that served the backup: reads, deltas, merges, copy-on-write."""
    array_snapshot_peak_bytes: Count
    """Largest space that array snapshots held, in bytes."""
    backup: Backup
    """All runs together."""
    runs: tuple[RunResult, ...]
    """Each run, in order."""
    restore_points: tuple[PointResult, ...]
    """Restore points that it made, in order of their moments."""
    leftovers: tuple[Leftover, ...]
    """What its jobs failed to clean up: empty after a sound run."""
    not_restored: tuple[str, ...] = ()
    """Restores that the scenario asks for and that could not be done, each with the reason."""
    began: Figure = 0.0
    """The instant that all times of this part count from, in seconds of site time: what was there
    before, such as existing snapshots, had been made by then."""
    vms: tuple[VmResult, ...]
    """Each VM, by name."""
    datastores: tuple[DatastoreResult, ...]
    """Each datastore, by name."""
    phases: tuple[Phase, ...]
    """Phases, by start."""
    events: tuple[Event, ...]
    """Events, by time."""
    series: Series
    """The time line of the site."""


class Assumption(Record):
    """A parameter of the model that the outcome hangs on, and where its value comes from."""

    name: Name
    """What it is."""
    value: str
    """Its value with its unit."""
    source: str
    """A measurement, a document, or `scenario`."""


class SiteVm(Record):
    """A VM of the emulated site."""

    name: Name
    """Name of the VM."""
    disks: Count
    """Number of virtual disks."""
    capacity_bytes: Count
    """Capacity of all disks, in bytes."""
    allocated_bytes: Count
    """Bytes allocated on its datastores at the start."""
    load: str
    """Its own I/O, in a few words."""


class SiteDatastore(Record):
    """A datastore of the emulated site."""

    name: Name
    """Name of the datastore."""
    capacity_bytes: Count
    """Capacity in bytes."""
    volumes: Count
    """Number of array volumes it spans."""


class SitePool(Record):
    """The disks behind everything."""

    name: Name
    """Name of the pool."""
    media: str
    """Disks and their number, in a few words."""
    raid: str
    """RAID level and its write penalty, in a few words."""
    capacity_bytes: Count
    """Usable capacity in bytes."""


class Site(Record):
    """What was emulated, in short."""

    vms: tuple[SiteVm, ...]
    """VMs, by name."""
    datastores: tuple[SiteDatastore, ...]
    """Datastores, by name."""
    pools: tuple[SitePool, ...]
    """Pools of the array, by name."""


class Result(Record):
    """The outcome of a scenario: every method on the same site, seed and guest I/O."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this format: raised when a field changes its meaning or goes away."""
    scenario: Name
    """Name of the scenario."""
    title: str
    """The scenario in one line."""
    seed: Count
    """Seed of all random streams."""
    command: Name
    """The command line that reproduces this result."""
    engine: EngineName = "kernel"
    """The I/O engine that ran it: both give the same result."""
    site: Site
    """What was emulated."""
    assumptions: tuple[Assumption, ...]
    """Parameters that the outcome hangs on."""
    methods: Annotated[dict[MethodName, MethodResult], Field(min_length=1)]
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

    def ordered_methods(self) -> tuple[tuple[MethodName, MethodResult], ...]:
        """Return the methods that were run, in the order in which a report shows them."""
        return tuple((name, self.methods[name]) for name in METHOD_NAMES if name in self.methods)


def dump(result: Result) -> str:
    """Return *result* as JSON: fields in the model's order, a list of numbers per line.

    The same result gives the same text, byte for byte; it ends with a newline.
    """
    value: dict[str, Any] = result.model_dump(mode="json")
    value["methods"] = {name: value["methods"][name] for name, _ in result.ordered_methods()}
    return to_text(value) + "\n"


def load(text: str | bytes) -> Result:
    """Return the result that *text*, a ``result.json``, holds.

    Raises:
        Misuse: not JSON, or not a result of this version; names the first field that is wrong.
    """
    return loaded(Result, text, "result.json")
