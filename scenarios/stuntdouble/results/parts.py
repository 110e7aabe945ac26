"""The parts of a method's result: load, stuns, runs, restore points, VMs, time line ...

Each is one question that a planner asks; ``stuntdouble.results.model`` puts them together.
Fields name their units, and their descriptions become those of the published schema.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stuntdouble.results.figures import (
    Consistency,
    Count,
    Figure,
    Kind,
    MethodName,
    Name,
    PhaseName,
    Record,
    Share,
    Signed,
)


class Latency(Record):
    """Latency of the guests' I/O in milliseconds; null where there was no I/O."""

    p50: Figure | None = None
    """Median, in milliseconds."""
    p95: Figure | None = None
    """95th percentile, in milliseconds."""
    p99: Figure | None = None
    """99th percentile, in milliseconds."""
    max: Figure | None = None
    """Longest, in milliseconds."""


class Load(Record):
    """What the guests' own I/O felt like during a phase."""

    seconds: Figure = 0.0
    """Length of the phase in seconds; 0 when the job had no such phase."""
    iops: Figure = 0.0
    """Guest I/Os completed per second."""
    latency_ms: Latency = Latency()
    """Latency in milliseconds, from the guest's request to its completion."""


class WholeJob(Record):
    """What the guests felt over the whole job: comparable where phases differ."""

    excess_latency_seconds: Signed
    """Latency beyond that of the same I/Os on the same site without a backup, summed over all
    guest I/Os of the run, in seconds: comparable where phases differ."""
    iops: Figure = 0.0
    """Guest I/Os completed per second."""
    latency_ms: Latency = Latency()
    """Latency in milliseconds."""


class Foreground(Record):
    """The guests' own I/O, phase by phase."""

    before: Load
    """Before the job: the yardstick."""
    reading: Load
    """While the backup reads."""
    consolidating: Load
    """While deltas are merged into their base disks."""
    after: Load
    """After the last clean-up step."""
    whole: WholeJob
    """From the job's start to its end."""


class ByPhase(Record):
    """A share from 0 to 1 for each phase; null when the job had no such phase."""

    before: Share | None = None
    """Before the job."""
    reading: Share | None = None
    """While the backup reads."""
    consolidating: Share | None = None
    """While deltas are merged into their base disks."""
    after: Share | None = None
    """After the last clean-up step."""


class Stuns(Record):
    """Times at which all virtual CPUs of a VM stood still."""

    count: Count
    """Number of stuns."""
    total_seconds: Figure
    """All stuns together, in seconds."""
    longest_seconds: Figure
    """The longest single stun, in seconds."""


class Stalls(Record):
    """Silences that a client outside the VM would have seen; each also counts as a shorter one."""

    over_5_seconds: Count = 0
    """Number of silences longer than 5 s."""
    over_30_seconds: Count = 0
    """Number of silences longer than 30 s: many clients time out."""
    over_60_seconds: Count = 0
    """Number of silences longer than 60 s: many clusters fail over."""


class Consolidation(Record):
    """Merging delta disks back into their bases when VM snapshots are removed."""

    rounds: Count
    """Passes over the deltas, all VMs together."""
    seconds: Figure
    """Duration in seconds, all VMs together."""
    converged: bool | None
    """Whether every merge ended by itself; false when a VM had to be stopped for the rest, or
    still needs consolidation; null when nothing was consolidated."""


class Backup(Record):
    """The backup work of a method, all its runs together."""

    seconds: Figure
    """Sum of the runs' durations, in seconds."""
    bytes_read: Count
    """Bytes read from disks."""
    bytes_stored: Count
    """Bytes added to the repository."""
    kind: Literal["full", "incremental", "mixed"]
    """What the runs were."""


class RunResult(Record):
    """One backup run over the selected VMs."""

    kind: Kind
    """Full, or incremental where change tracking allowed it."""
    start: Figure
    """Start, in seconds since the run began."""
    end: Figure
    """End of the last clean-up step, in seconds since the run began."""
    bytes_read: Count
    """Bytes read from disks."""
    bytes_stored: Count
    """Bytes added to the repository."""
    window_met: bool | None = None
    """Whether it ended within the backup window; null when no window was asked for."""
    rpo_seconds_achieved: Figure | None = None
    """Most data, in seconds, that could have been lost until this run's restore points existed."""
    outcome: Name = "ok"
    """`ok`, or the error in one line."""


class PointResult(Record):
    """A restore point and what became of its verification."""

    id: Name
    """Its id in the repository."""
    vm: Name
    """The VM that it restores."""
    method: MethodName
    """The method that made it."""
    kind: Kind
    """Full or incremental."""
    moment: Figure
    """The instant it stands for, the stun of the VM snapshot, in seconds of site time, as in the
    repository; less `began` of the method it is a time of this part."""
    consistency: Consistency
    """What the guest finds: after a crash, with clean file systems, or clean applications."""
    verified: bool | None
    """Whether every byte equals what the guest had written at the moment; null when the run did
    not keep contents."""
    bytes_read: Count
    """Bytes read from disks for it."""
    bytes_stored: Count
    """Bytes it added to the repository."""
    seconds: Figure
    """Time from its VM snapshot to its commit, in seconds."""
    skipped: tuple[str, ...] = ()
    """Disks that could not be part of it, each with the reason."""


class Leftover(Record):
    """Something that a job created and did not remove."""

    kind: Name
    """`VM snapshot`, `array snapshot`, `mapping`, `promoted volume`, `mount` ..."""
    name: Name
    """Its name."""


class VmResult(Record):
    """What one VM went through."""

    name: Name
    """Name of the VM."""
    stuns: Stuns
    """Its stuns."""
    snapshot_open_seconds: Figure
    """How long a VM snapshot of it was open, in seconds: the longest of any run."""
    delta_peak_bytes: Count
    """Largest size of its delta disks, in bytes."""
    foreground: Foreground
    """Its own I/O by phase."""
    stalls: Stalls = Stalls()
    """Silences that its clients would have seen."""


class DatastoreResult(Record):
    """Room on a datastore."""

    name: Name
    """Name of the datastore."""
    capacity_bytes: Count
    """Capacity in bytes."""
    free_bytes_min: Count
    """Lowest free space during the job, in bytes."""


class Phase(Record):
    """A stretch of the job on the time line; phases of different VMs may overlap.

    `before` and `after` frame the job; `snapshot` lasts while VM snapshots are open but neither
    read nor merged yet; `preparing` is taking, promoting, mapping and mounting array snapshots;
    `cleaning` is removing them again.
    """

    name: PhaseName
    """What goes on."""
    start: Figure
    """Start, in seconds since the run began."""
    end: Figure
    """End, in seconds since the run began."""


class Event(Record):
    """Something that happened at an instant."""

    time: Figure
    """When, in seconds since the run began."""
    kind: Name
    """What kind: `stun`, `snapshot-open`, `snapshot-removed`, `array-snapshot`, `fault` ..."""
    subject: str
    """To whom: a VM, a volume, a disk."""
    text: str
    """What happened, in one line."""


class Series(Record):
    """The time line in whole bins of equal width; column `i` of each list is bin `i`."""

    bin_seconds: Annotated[Figure, Field(gt=0)]
    """Width of a bin, in seconds."""
    time: tuple[Figure, ...]
    """Start of each bin, in seconds since the run began."""
    iops: tuple[Figure, ...]
    """Guest I/Os completed per second."""
    latency_ms_p50: tuple[Figure | None, ...]
    """Median latency in milliseconds; null in a bin without I/O."""
    latency_ms_p95: tuple[Figure | None, ...]
    """95th percentile of latency in milliseconds; null in a bin without I/O."""
    latency_ms_max: tuple[Figure | None, ...]
    """Longest latency in milliseconds; null in a bin without I/O."""
    delta_bytes: tuple[Count, ...]
    """Size of all delta disks at the end of the bin, in bytes."""
    utilisation: tuple[Share, ...]
    """Busy share of the array's disks."""
    utilisation_backup: tuple[Share, ...]
    """The part of `utilisation` that the backup caused."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        columns = {name: value for name, value in self if isinstance(value, tuple)}
        wrong = [name for name, value in columns.items() if len(value) != len(self.time)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} must have {len(self.time)} bins, as time has")
        return self
