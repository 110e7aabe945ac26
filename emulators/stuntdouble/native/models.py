"""What the native interface says: values, each with an example.

Sizes and offsets are bytes; times are seconds of site time unless their name says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

PAGE_MAX: Final = 10_000  # rows in one answer: about a megabyte of JSON
WAIT_SECONDS_MAX: Final = 60.0  # wall time of a long poll; proxies commonly give up after that


class Said(BaseModel):
    """Anything said on this interface: what is not known here is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [values]})


Name = Annotated[str, Field(min_length=1, max_length=400)]
Key = Annotated[int, Field(ge=0, description="Device key of a disk.")]
Bytes = Annotated[int, Field(ge=0)]


class Problem(Said):
    """Why something was not done."""

    model_config = _example(
        kind="NotFound",
        what="no VM named 'web-9'",
        where="POST /api/v1/faults/vm-crash",
        what_to_do="List what there is, and name one of those.",
    )
    kind: str = Field(description="The class of the error; see `stuntdouble.errors`.")
    what: str
    where: str
    what_to_do: str


# The site. -------------------------------------------------------------------------------------


class Health(Said):
    """Whether the site answers, and how far it is behind."""

    model_config = _example(ok=True, version="0.1.0", lag_seconds=0.0)
    ok: bool
    version: str
    lag_seconds: float


class Endpoint(Said):
    """Where one wire of the site listens."""

    model_config = _example(
        name="native", url="http://127.0.0.1:8080/api/v1", user="admin", fingerprint_sha256=""
    )
    name: str
    url: str
    user: str = ""
    fingerprint_sha256: str = Field("", description="Of the certificate; empty without TLS.")


class DiskSummary(Said):
    """A virtual disk."""

    key: int
    name: str
    capacity_bytes: int
    provisioning: str
    datastore: str
    obstacle: str = Field(description="Why it takes no part in snapshots; empty when it does.")


class SnapshotSummary(Said):
    """A VM snapshot; `change_ids` has one per disk key where tracking is active."""

    id: str
    name: str
    moment_seconds: float
    consistency: str
    change_ids: dict[int, str]


class VmSummary(Said):
    """A virtual machine."""

    name: str
    powered_on: bool
    tracking: bool
    consolidation_needed: bool
    question: str = Field(description="What a paused VM asks; empty while it runs.")
    disks: list[DiskSummary]
    snapshots: list[SnapshotSummary]


class DatastoreSummary(Said):
    """A datastore and the volumes under it."""

    name: str
    naas: list[str]
    free_bytes: int


class Volume(Said):
    """A volume of an array; `promoted_from` is an array snapshot, or empty."""

    name: str
    naa: str
    size_bytes: int
    read_only: bool
    promoted_from: str


class Site(Said):
    """What there is to see."""

    scenario: str
    title: str
    seed: int
    engine: str
    vms: list[VmSummary]
    datastores: list[DatastoreSummary]
    volumes: dict[str, list[Volume]] = Field(description="By array.")


# The clock. ------------------------------------------------------------------------------------


class Clock(Said):
    """Site time."""

    model_config = _example(
        seconds=86400.0,
        calendar="2026-11-02T00:00:00+00:00",
        rate=1.0,
        paused=False,
        lag_seconds=0.0,
    )
    seconds: float = Field(description="Since the site was built.")
    calendar: str = Field(description="The site's epoch and these seconds, in UTC.")
    rate: float = Field(description="Site seconds in a wall second, unless paused.")
    paused: bool
    lag_seconds: float = Field(description="How far the site is behind its clock.")


class Rate(Said):
    """A new rate."""

    model_config = _example(rate=60.0)
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Advance(Said):
    """Site time that is to pass at once."""

    model_config = _example(seconds=3600.0)
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


# Quirks. ---------------------------------------------------------------------------------------


class Quirk(Said):
    """A deviation that can be switched on; a contract calls a *legal* one no error."""

    model_config = _example(
        name="false-positives", on=False, legal=True, description="Areas that did not change."
    )
    name: str
    on: bool
    legal: bool
    description: str


class Switch(Said):
    """On, or off."""

    on: bool


class Paging(Said):
    """How the change tracker cuts its answers."""

    model_config = _example(
        mode="areas", areas=2000, span_bytes=0, modes=["areas", "one-page", "random"]
    )
    mode: str
    areas: int = Field(description="Areas in an answer, at most.")
    span_bytes: int = Field(description="How far an answer reaches; 0: as the mode has it.")
    modes: list[str] = Field(description="The modes that may be chosen.")


class PagingChoice(Said):
    """How answers are to be cut from now on; what is left out stays."""

    model_config = _example(mode="span-empty", span_bytes=1048576)
    mode: Name | None = None
    areas: Annotated[int, Field(ge=1)] | None = None
    span_bytes: Bytes | None = None


# Where a disk lies. ----------------------------------------------------------------------------


class BlockMapping(Said):
    """Bytes of a disk, and where they lie: `lun` and `physical` say nothing of a hole."""

    logical: int
    physical: int
    length: int
    lun: str = Field(description="NAA identifier of the volume.")
    state: Literal["written", "zeroed", "hole"] = Field(
        description="written: the bytes there are the disk's.  zeroed: the room is the disk's, but"
        " it reads as zeros whatever lies there.  hole: no room, reads as zeros."
    )


class HostDiskBlockInfo(Said):
    """A page of a disk's offset table, in the shape that vSphere once documented; in bytes."""

    granularity: int = Field(description="The file system's unit of allocation.")
    minBlockSize: int = Field(description="The smallest unit that a row is made of.")  # noqa: N815  (the vendor's name)
    size: int = Field(description="The disk's capacity.")
    map: list[BlockMapping]
    next: int | None = Field(description="Ask again from this offset; null at the end.")


# The oracle. -----------------------------------------------------------------------------------

At = Annotated[
    str,
    Field(
        min_length=1,
        description="The id of a VM snapshot, there or gone, or `now`.",
        examples=["snapshot-1", "now"],
    ),
]


class DigestRequest(Said):
    """Which disk, and as of when."""

    model_config = _example(vm="web-1", disk=2000, at="now")
    vm: Name
    disk: Key
    at: At = "now"


class Digest(Said):
    """The digest of what a guest had written, from the ledger that no emulator reads."""

    id: int
    vm: str
    disk: int
    at: str
    moment_seconds: float
    size_bytes: int
    done_bytes: int
    blake3: str | None = Field(description="Of the whole disk, in hexadecimal; null until done.")


class Extent(Said):
    """A range of bytes."""

    start: int
    length: int


class TrueChanges(Said):
    """Where a disk truly differs between two moments, within [start, start + covered)."""

    start: int
    covered: int
    extents: list[Extent]
    next: int | None = Field(description="Ask again from this offset; null at the end.")


# What has happened. ----------------------------------------------------------------------------


class Event(Said):
    """A line of the journal."""

    number: int
    seconds: float
    kind: str
    subject: str
    facts: dict[str, Any]


class Events(Said):
    """Lines of the journal; ask again with `cursor`."""

    events: list[Event]
    cursor: int


class Input(Said):
    """What entered the site through a door, at which instant: all it takes to live it again."""

    model_config = _example(
        seconds=12.5,
        door="native",
        payload={"operation": "crash-vm", "arguments": {"vm": "web-1"}},
    )
    seconds: float
    door: str
    payload: dict[str, Any]


class Inputs(Said):
    """Inputs; ask again with `cursor`."""

    inputs: list[Input]
    cursor: int


class Checkpoint(Said):
    """A site at an instant: how it was built, and what has entered it since."""

    format: Literal["stuntdouble-checkpoint-1"] = "stuntdouble-checkpoint-1"
    version: str
    scenario: dict[str, Any]
    seed: int
    engine: Literal["kernel", "reference"]
    seconds: float
    inputs: list[Input]


# Faults. ---------------------------------------------------------------------------------------


class VmName(Said):
    """A VM."""

    model_config = _example(vm="web-1")
    vm: Name


class HostName(Said):
    """A host."""

    model_config = _example(host="host-1")
    host: Name


class Answer(Said):
    """What a paused VM is told."""

    model_config = _example(choice="retry")
    choice: Literal["retry", "cancel"] = Field(
        "retry", description="retry: go on, or ask again.  cancel: power off."
    )


class ArrayName(Said):
    """An array."""

    model_config = _example(array="array-1")
    array: Name


class Damage(Said):
    """Blocks of a volume that go bad."""

    model_config = _example(
        array="array-1", volume="vol-1", start=1048576, length=65536, mode="error"
    )
    array: Name
    volume: Name
    start: Bytes
    length: Annotated[int, Field(gt=0)]
    mode: Literal["error", "silent"] = Field(
        "error", description="error: cannot be read.  silent: wrong bytes are read."
    )


# The array. ------------------------------------------------------------------------------------


class ArraySnapshot(Said):
    """A point-in-time image inside an array."""

    name: str
    volume: str
    created: float
    valid: bool
    space_bytes: int


class Mapping(Said):
    """Who sees which volume at which LUN number, and as what it is read over NBD."""

    volume: str
    naa: str
    initiator_iqn: str
    lun: int
    export: str = Field(description="The name of the export on the NBD server.")


class Naas(Said):
    """Volumes, by identity."""

    naas: Annotated[list[Name], Field(min_length=1)]


class SnapshotRequest(Naas):
    """Volumes to be snapshot in one instant; several get names with .1, .2, … behind."""

    name: Name


class Prepared(Said):
    """How much was copied."""

    copied_bytes: int


class Promote(Said):
    """The volume that an array snapshot is to become."""

    name: Name
    read_only: bool = True


class MapRequest(Said):
    """Who is to see a volume."""

    model_config = _example(volume="vol-1", initiator_iqn="iqn.2026-11.org.example:backup-server")
    volume: Name
    initiator_iqn: Name


class Export(Said):
    """Something that the NBD server can serve."""

    name: str
    kind: Literal["disk", "snapshot", "lun"]
    size_bytes: int
    read_only: bool
