"""What a backup server asks of a hypervisor.

The shape follows the vSphere Web Services API where it has one (snapshots, changeIds, windowed
changed areas); offset tables have the shape of vSphere's once documented ``HostDiskBlockInfo``.
Offsets and lengths are bytes; moments are seconds of site time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from stuntdouble.extents import OffsetTable, Runs
    from stuntdouble.ports.device import BlockDevice

ALL_ALLOCATED: Final = "*"
"""The changeId that asks for every area in use, not for changes (vSphere API; KB 320557)."""


class Consistency(StrEnum):
    """What a guest finds when it starts from a restore point."""

    CRASH = "crash"
    FILE_SYSTEM = "file system"
    APPLICATION = "application"


class Provisioning(StrEnum):
    """When a disk's blocks are allocated, and when zeroed."""

    THIN = "thin"
    LAZY_ZEROED = "lazy-zeroed"
    EAGER_ZEROED = "eager-zeroed"


class Transport(StrEnum):
    """How the software method reads the frozen disks."""

    NBD = "nbd"  # through the host's management network
    HOT_ADD = "hot-add"  # attached to a proxy VM, read through the host's storage stack
    SAN = "san"  # straight from the LUN, by the offset table


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """A virtual disk as the inventory shows it.

    ``obstacle`` says why the disk cannot be part of a snapshot (independent, raw mapping, shared
    by several writers), and is empty when it can.  ``volumes`` are the NAA identifiers of the
    volumes under its datastore, in the order of the datastore's extents.
    """

    key: int
    name: str
    capacity_bytes: int
    provisioning: Provisioning
    datastore: str
    volumes: tuple[str, ...]
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class VmInfo:
    """A virtual machine as the inventory shows it; ``snapshots`` are ids, oldest first."""

    name: str
    powered_on: bool
    disks: tuple[DiskInfo, ...]
    snapshots: tuple[str, ...]
    consolidation_needed: bool
    tracking: bool


@dataclass(frozen=True, slots=True)
class VmSnapshot:
    """A point in time of a VM; ``change_ids`` has an id per disk key where tracking is active.

    ``moment`` is the instant of the stun: the same for every disk of the VM.
    """

    id: str
    vm: str
    name: str
    moment: float
    consistency: Consistency
    change_ids: dict[int, str]


@dataclass(frozen=True, slots=True)
class ChangedPage:
    """One answer of the change tracker: ``extents`` within [start, start + covered).

    Ask again from ``start + covered`` until the disk's capacity is reached; an empty page in the
    middle is legal and does not mean the end.
    """

    start: int
    covered: int
    extents: Runs


class Hypervisor(Protocol):
    """The calls that the three backup methods and a restore need.

    Errors: NotFound for an unknown VM, snapshot or disk; TaskInProgress when the VM is busy;
    NoSpace, QuiesceFailed, LimitReached, ChangeHistoryLost, InvalidState as their names say.
    """

    async def vms(self) -> tuple[VmInfo, ...]:
        """Return the inventory, in the order in which it was built."""
        ...

    async def snapshots(self, vm: str) -> tuple[VmSnapshot, ...]:
        """Return the snapshots of *vm*, oldest first: names are whatever their makers chose."""
        ...

    async def create_snapshot(self, vm: str, name: str, *, quiesce: bool) -> VmSnapshot:
        """Take a snapshot of every disk of *vm* that can have one; stuns the VM."""
        ...

    async def remove_snapshot(self, snapshot: VmSnapshot) -> None:
        """Remove *snapshot* and consolidate its delta disks; idempotent once it is gone."""
        ...

    async def consolidate(self, vm: str) -> None:
        """Merge delta disks that no snapshot needs any more."""
        ...

    async def enable_tracking(self, vm: str) -> None:
        """Switch changed block tracking on; it becomes active at the next stun."""
        ...

    async def offset_table(self, snapshot: VmSnapshot, disk: int) -> OffsetTable:
        """Return where each range of the frozen disk lies on its volumes."""
        ...

    async def changed_ranges(
        self, snapshot: VmSnapshot, disk: int, since: str, start: int
    ) -> ChangedPage:
        """Return one page of the areas written from changeId *since* to *snapshot*."""
        ...

    async def open_disk(self, snapshot: VmSnapshot, disk: int, transport: Transport) -> BlockDevice:
        """Open the frozen disk for reading through the hypervisor."""
        ...

    async def latency_seconds(self, datastore: str) -> float:
        """Return the mean latency of the datastore's recent I/O; 0 when it had none."""
        ...

    async def mount_copy(self, volumes: tuple[str, ...]) -> str:
        """Rescan, resignature and mount the datastore on *volumes*; return its new name."""
        ...

    async def register_vm(self, datastore: str, vm: str) -> VmInfo:
        """Register the copy of *vm* found on *datastore*; its change tracking starts anew."""
        ...

    async def open_registered(self, vm: str, disk: int, transport: Transport) -> BlockDevice:
        """Open a disk of a registered, powered-off VM for reading."""
        ...

    async def unregister_vm(self, vm: str) -> None:
        """Take a registered copy out of the inventory; idempotent."""
        ...

    async def unmount(self, datastore: str) -> None:
        """Unmount a mounted copy; idempotent."""
        ...

    async def create_vm(
        self, name: str, datastore: str, disks: dict[int, int], provisioning: Provisioning
    ) -> VmInfo:
        """Create a powered-off VM with a disk of so many bytes per device key."""
        ...

    async def open_target(self, vm: str, disk: int) -> BlockDevice:
        """Open a disk of a powered-off VM without snapshots for writing (a restore)."""
        ...
