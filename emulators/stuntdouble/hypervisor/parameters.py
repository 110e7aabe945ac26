"""The numbers of an emulated hypervisor, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from stuntdouble.errors import Misuse
from stuntdouble.hypervisor.paging import Mode, Paging
from stuntdouble.hypervisor.quirks import Quirks
from stuntdouble.iops import OUTSTANDING_MAX
from stuntdouble.units import KIB, MIB, SIZE_BYTES_MAX, TIB

if TYPE_CHECKING:
    from stuntdouble.ports import Provisioning

DiskMode = Literal["dependent", "independent", "raw", "multi-writer"]
DeltaFormat = Literal["vmfs-sparse", "se-sparse"]
Consolidation = Literal["mirror", "helper"]
Lock = Literal["ats", "reservation"]
Unknown = Literal["whole-disk", "refuse"]
PowerOff = Literal["kept", "lost"]

VMFS_SPARSE_BYTES_MAX: Final = 2 * TIB
"""Disks of 2 TiB and more always get SEsparse delta disks (VMFS5 and VMFS6 documentation)."""

SE_SPARSE_SUFFIX: Final = "-sesparse.vmdk"
"""How the name of an SEsparse delta disk's file ends."""

HARDWARE_VERSION: Final = 19
"""Virtual hardware of a VM unless it says otherwise: vSphere 7.0 U2's."""

HARDWARE_TRACKING_MIN: Final = 7
"""Change tracking needs virtual hardware version 7 (KB 320557)."""

LATENCY_WINDOW_SECONDS: Final = 20.0
"""Latency is averaged over 20 s, as performance counters of a running host are sampled."""

METADATA_IOS_MAX: Final = 4096
"""Metadata writes of one event, one after the other.  Chosen: half a minute on a 7.2k disk."""

CHAIN_DEPTH_MAX: Final = 255
"""Delta disks in a chain.  Chosen: eight times as many as KB 318825 allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """How the hypervisor behaves and how long it takes.

    "No source" marks a parameter whose default is an assumption; reports should name it.
    """

    # VM snapshots.
    task_seconds: float = 4.0
    """What a snapshot task takes besides its stun and its I/O.  A published example has 5 s for
    creating a VM snapshot and 5 s for removing it, all told."""
    chain_depth_max: int = 32
    """Delta disks in a chain (KB 318825)."""
    delta_format: DeltaFormat = "vmfs-sparse"
    """Delta disks of VMs below 2 TiB on VMFS5; VMFS6 has "se-sparse" throughout.

    What differs here: the step of growth, and the metadata writes of each step.  What does not,
    although it does in the field: VMFSsparse counts in units of 512 B and SEsparse in grains of
    4 KiB, but a grain is one content block in both; each allocating write costs both one write of
    the grain table; and an SEsparse delta gives no space back (unmap is not emulated)."""
    growth_bytes: int = 16 * MIB
    """A VMFSsparse delta grows in steps of at least 15 to 16 MiB.  Steps of either format are
    rounded down to whole file-system blocks, one at least."""
    se_growth_bytes: int = MIB
    """An SEsparse delta grows in steps of this: a block of VMFS.  No source."""
    se_growth_ios: int = 1
    """Metadata writes in an SEsparse delta itself, its journal, at each step of growth, besides
    the ``lock_ios`` of either format.  No source."""
    snapshot_concurrency: int = 0
    """Outstanding I/Os of a VM while it has a delta disk; 0 is no limit.  An assumption: measured
    losses of concurrency exist for vSphere 5.5 only, and whoever sets it should say so."""

    # Stun.
    stun_fixed_seconds: float = 0.15
    """Part of a stun that does not depend on load.  The shortest stuns reported as a whole are
    188 ms; what remains of it after a few metadata I/Os on an idle array."""
    metadata_ios_per_disk: int = 8
    """Metadata writes that a stun waits for, per disk, one after the other.  No source.  A snapshot
    waits for one more per tracked disk, of its tracking file (``Tracker.sealed_bytes``)."""

    # Consolidation.
    consolidation: Consolidation = "mirror"
    """"mirror" from vSphere 6.0 on, "helper" before (KB 2039754 describes the latter)."""
    consolidation_depth: int = 8
    """I/Os that a consolidation keeps under way: as many as a backup's readers do by default.  No
    source."""
    consolidation_io_bytes: int = 64 * KIB
    """Bytes of one I/O of a consolidation, rounded down to whole content blocks, one at least; at
    most what one I/O may have (``stuntdouble.site.IO_BLOCKS_MAX`` blocks).  No source."""
    consolidation_bytes_per_second: float = 0.0
    """Pace of a consolidation; 0 is as fast as it goes."""
    helper_stun_seconds_max: float = 12.0
    """A helper delta that merges within this time is merged with the VM stunned (KB 2039754)."""
    helper_budgets_seconds: tuple[float, ...] = (300, 600, 1200, 1800, 2400, 3000, 3600)
    """Time that each iteration with helper deltas may take: 5, 10, 20, 30 … 60 min."""

    # Change tracking.
    tracking_grain_bytes: int = 64 * KIB
    """Unit of change tracking, the size met most often on disks of up to some 100 GiB."""
    tracking_paging: Mode = "areas"
    """How answers are cut into pages; see ``stuntdouble.hypervisor.paging``."""
    tracking_page_areas: int = 2000
    """Areas in one answer at most, as observed by clients."""
    tracking_page_bytes: int = 0
    """Span that one answer covers; 0 is no limit for "areas", and an eighth of the disk for the
    modes that are about spans.  Large disks are sliced by span."""
    tracking_with_snapshots: bool = False
    """Whether tracking may be enabled while snapshots exist: unsupported in the field."""
    tracking_unknown: Unknown = "whole-disk"
    """What is said of the areas in use where tracking began on top of a snapshot: "whole-disk" are
    all in use, "refuse" says that it is not known.  vSphere may do either (KB 320557)."""
    tracking_disks_max: int = 1024
    """Disks of running VMs that a host tracks at a time (VDDK guide)."""
    power_off_tracking: PowerOff = "kept"
    """What powering off does to change tracking: "kept" closes it cleanly, "lost" starts it anew,
    as a power failure does.  Which of them vSphere does is not documented."""

    # The hosts that VMs run on, and what the field is known for.
    hosts: tuple[str, ...] = ("host-1",)
    """Names of the hosts; a VM is on the first of them unless it is put elsewhere."""
    quirks: tuple[str, ...] = ()
    """Those that are on from the start; see ``stuntdouble.hypervisor.quirks``."""
    property_delay_seconds: float = 2.0
    """How late properties follow a task under the quirk "delayed-properties".  No source."""

    # Quiescing.
    quiesce_seconds_max: float = 10.0
    """VSS cancels a flush-and-hold after 10 s."""
    freeze_seconds_max: float = 60.0
    """A guest without VSS stays frozen for 60 s at most, as VSS writers do."""

    # Datastores.
    lock: Lock = "ats"
    """"ats" locks a file-system block by one compare-and-write; "reservation" locks the LUNs and
    is felt by every VM there (VMFS without hardware acceleration)."""
    lock_ios: int = 2
    """Metadata writes of a file's creation, growth or deletion: bitmap and descriptor.  No
    source."""
    reservation_seconds: float = 0.02
    """How long a SCSI reservation is held.  No source."""

    # Copies mounted on a host, registration, transports.  All without a source but "minutes".
    rescan_seconds: float = 30.0
    resignature_seconds: float = 20.0
    mount_seconds: float = 5.0
    register_seconds: float = 10.0
    unregister_seconds: float = 5.0
    unmount_seconds: float = 5.0
    hot_add_seconds: float = 15.0
    """Reconfiguring a proxy VM so that it has the disk; charged when a disk is opened."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                least = 0 if field.name in _MAY_BE_ZERO else 1
                _check_count(field.name, value, least, _MOST.get(field.name, SIZE_BYTES_MAX))
            elif field.type == "float":
                _check_seconds_or_rate(field.name, value)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                text = f"{getattr(self, name)!r} is none of {', '.join(map(repr, choices))}"
                raise Misuse(name, text)
        self._check_budgets()
        self._check_hosts()
        Quirks(self.quirks)
        grain = self.tracking_grain_bytes
        if grain & (grain - 1):
            raise Misuse("tracking_grain_bytes", f"{grain} is not a power of two")

    def _check_budgets(self) -> None:
        name = "helper_budgets_seconds"
        budgets: Any = self.helper_budgets_seconds
        if not isinstance(budgets, tuple) or not budgets:
            raise Misuse(name, f"{budgets!r} is not a list of one time or more")
        for seconds in budgets:
            _check_seconds_or_rate(name, seconds)
            if not seconds:
                raise Misuse(name, "0 is not above 0")

    def _check_hosts(self) -> None:
        hosts: Any = self.hosts
        if not isinstance(hosts, tuple) or not hosts or len(set(hosts)) < len(hosts):
            raise Misuse("hosts", f"{hosts!r} is not a list of one name or more, each once")
        if not all(isinstance(name, str) and name for name in hosts):
            raise Misuse("hosts", f"{hosts!r} has a host without a name")

    @property
    def paging(self) -> Paging:
        """How answers of the change tracker are paged to begin with."""
        return Paging(self.tracking_paging, self.tracking_page_areas, self.tracking_page_bytes)

    def check_block(self, block_bytes: int, io_blocks_max: int) -> None:
        """Refuse what does not go with content blocks of *block_bytes*.

        Raises:
            Misuse: change tracking is finer than a block, or an I/O of a consolidation longer than
                the *io_blocks_max* blocks that one I/O may have.
        """
        if self.tracking_grain_bytes < block_bytes:
            text = f"{self.tracking_grain_bytes} is less than a content block of {block_bytes}"
            raise Misuse("tracking_grain_bytes", text)
        most = block_bytes * io_blocks_max
        if self.consolidation_io_bytes > most:
            text = f"{self.consolidation_io_bytes} is more than the {most} bytes of one I/O"
            raise Misuse("consolidation_io_bytes", text)


_MAY_BE_ZERO: Final = frozenset(
    {
        "snapshot_concurrency",
        "se_growth_ios",
        "metadata_ios_per_disk",
        "lock_ios",
        "tracking_page_bytes",
    }
)
_MOST: Final = {
    "snapshot_concurrency": OUTSTANDING_MAX,
    "consolidation_depth": OUTSTANDING_MAX,
    "metadata_ios_per_disk": METADATA_IOS_MAX,
    "se_growth_ios": METADATA_IOS_MAX,
    "lock_ios": METADATA_IOS_MAX,
    "chain_depth_max": CHAIN_DEPTH_MAX,
}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "delta_format": get_args(DeltaFormat),
    "consolidation": get_args(Consolidation),
    "lock": get_args(Lock),
    "tracking_paging": get_args(Mode),
    "tracking_unknown": get_args(Unknown),
    "power_off_tracking": get_args(PowerOff),
}


def _check_count(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Misuse(name, f"{value!r} is not a whole number")
    if value < least:
        raise Misuse(name, f"{value} is below {least}")
    if value > most:
        raise Misuse(name, f"{value} is more than {most}")


def _check_seconds_or_rate(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.0 <= cast("float", value) < float("inf"):
        raise Misuse(name, f"{value!r} is not a number of 0 or more")


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A virtual disk to be made; ``key`` is its device key, unique within the VM.

    Only a dependent disk takes part in snapshots: an independent one is left out by its user's
    choice, a raw mapping's blocks lie outside of the datastore, and a disk with several writers
    belongs to several VMs.
    """

    key: int
    capacity_bytes: int
    provisioning: Provisioning
    datastore: str
    mode: DiskMode = "dependent"

    @property
    def obstacle(self) -> str:
        """Why the disk cannot be part of a snapshot; empty when it can."""
        return {
            "dependent": "",
            "independent": "independent disk: left out of snapshots",
            "raw": "raw mapping: its blocks are not the datastore's",
            "multi-writer": "shared by several writers: cannot be snapshotted",
        }[self.mode]


@dataclass(frozen=True, slots=True)
class QuiesceProfile:
    """What happens in the guest when a snapshot asks for quiescing.

    Args:
        tools: guest tools run; without them a request to quiesce is ignored, as vSphere does.
        vss: applications take part, so that the snapshot is application-consistent.
        freeze_seconds: how long the guest needs to flush and freeze; its I/O is held meanwhile.
    """

    tools: bool = True
    vss: bool = False
    freeze_seconds: float = 0.5

    def __post_init__(self) -> None:
        _check_seconds_or_rate("freeze_seconds", self.freeze_seconds)
