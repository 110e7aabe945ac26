"""What to back up and how: a job's parameters, and what they mean for a given inventory."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Error, InvalidState, Misuse, NotFound
from stuntdouble.ports import Kind, Throttle, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stuntdouble.backup.latency import LatencyLimits
    from stuntdouble.ports import DiskInfo, VmInfo


PREFIX_LENGTH_MAX: Final = 11
"""Longest name prefix: arrays allow 31 characters for a name (HPE WSAPI, error 57 beyond)."""


class Method(StrEnum):
    """The three ways to a consistent image of a running VM."""

    SOFTWARE = "software"
    STORAGE = "storage"
    MOUNTED = "mounted"


class QuiesceFallback(StrEnum):
    """What to do with a VM whose guest cannot be frozen."""

    FAIL = "fail"
    CRASH_CONSISTENT = "crash-consistent"


@dataclass(frozen=True, slots=True)
class Selection:
    """Name the VMs to back up and, where not all disks of one are wanted, their device keys.

    Raises:
        Misuse: no VM, a VM or a disk named twice, or disks of a VM that is not selected.
    """

    vms: tuple[str, ...]
    disks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.vms:
            raise Misuse("selection", "it names no VM: name at least one")
        if len(set(self.vms)) < len(self.vms):
            raise Misuse("selection", f"a VM is named twice in {', '.join(self.vms)}")
        for vm, keys in self.disks.items():
            if vm not in self.vms:
                raise Misuse("selection", f"disks of {vm} are named, but not the VM itself")
            if not keys or len(set(keys)) < len(keys):
                raise Misuse("selection", f"disks of {vm}: name each once, and at least one")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Describe a backup job; the same fields for every method, so that methods compare.

    ``throttle`` is how hard the job may read, all its VMs together; it works on a copy of it.
    ``transport`` is how the software method, and the host of the mounted method, read disks.
    ``concurrency`` bounds how many VMs (storage and mounted method: groups of VMs that share
    volumes) are worked on at a time, and in every method how many VMs are read at a time.
    ``snapshot_prefix`` begins the name of everything the job makes; the instant of its start and
    ``run``, its number among all runs of the catalog (see ``run_recorded``), tell it from others.
    ``enable_tracking`` switches changed block tracking on where it is off and the VM has no
    snapshot (with one, tracking would start from a false picture).  ``retry_seconds`` are the pauses
    of a clean-up step that is tried again.

    Raises:
        Misuse: a bound below 1, a negative pause or run, or a prefix that is empty or too long.
    """

    method: Method
    selection: Selection
    kind: Kind = Kind.FULL
    quiesce: bool = False
    quiesce_fallback: QuiesceFallback = QuiesceFallback.FAIL
    transport: Transport = Transport.NBD
    throttle: Throttle = field(default_factory=Throttle)
    concurrency: int = 4
    latency: LatencyLimits | None = None
    snapshot_prefix: str = "stuntdouble"
    enable_tracking: bool = True
    retry_seconds: tuple[float, ...] = (1.0, 5.0, 20.0, 60.0)
    run: int = 0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise Misuse("concurrency", f"{self.concurrency} VMs at a time: need at least 1")
        if not 1 <= len(self.snapshot_prefix) <= PREFIX_LENGTH_MAX:
            raise Misuse(
                "snapshot_prefix",
                f"{self.snapshot_prefix!r}: need 1 to {PREFIX_LENGTH_MAX} characters",
            )
        if self.run < 0:
            raise Misuse("run", f"{self.run}: need 0 or more")
        if any(pause < 0 for pause in self.retry_seconds):
            raise Misuse("retry_seconds", f"{self.retry_seconds}: need pauses of 0 s or more")


@dataclass(frozen=True, slots=True)
class Target:
    """A VM to back up: its disks that can be taken, and a line for each that cannot."""

    vm: VmInfo
    disks: tuple[DiskInfo, ...]
    skipped: tuple[str, ...]

    @property
    def volumes(self) -> tuple[str, ...]:
        """NAA identifiers of the volumes under the disks, each once, in their order."""
        return tuple(dict.fromkeys(naa for disk in self.disks for naa in disk.volumes))

    @property
    def capacities(self) -> dict[int, int]:
        """Capacity in bytes by device key."""
        return {disk.key: disk.capacity_bytes for disk in self.disks}


def resolve(
    selection: Selection,
    inventory: Iterable[VmInfo],
    array_volumes: frozenset[str] | None = None,
) -> tuple[tuple[Target, ...], dict[str, Error]]:
    """Return the VMs that can be backed up and, by name, why the others cannot.

    With *array_volumes* (NAA identifiers), a disk must lie on these volumes and no others: the
    methods that work on array snapshots cannot take a local or network disk.
    """
    by_name = {vm.name: vm for vm in inventory}
    targets: list[Target] = []
    refused: dict[str, Error] = {}
    for name in selection.vms:
        try:
            targets.append(_target(name, by_name, selection.disks.get(name), array_volumes))
        except Error as error:
            refused[name] = error
    return tuple(targets), refused


def volume_groups(targets: Iterable[Target]) -> tuple[tuple[Target, ...], ...]:
    """Group VMs that share a volume, directly or through others, in the order given.

    A group can be snapshotted in one call: no volume is needed by two groups, and a VM whose
    disks span volumes has all of them in its group (connected components over volumes).
    """
    groups: list[list[Target]] = []
    for target in targets:
        volumes = set(target.volumes)
        near = [g for g in groups if any(volumes.intersection(t.volumes) for t in g)]
        joined = [member for group in near for member in group]
        groups = [group for group in groups if group not in near]
        groups.append([*joined, target])
    return tuple(tuple(group) for group in groups)


def _target(
    name: str,
    by_name: Mapping[str, VmInfo],
    keys: tuple[int, ...] | None,
    array_volumes: frozenset[str] | None,
) -> Target:
    if name not in by_name:
        raise NotFound("VM", name)
    vm = by_name[name]
    disks = {disk.key: disk for disk in vm.disks}
    for key in keys or ():
        if key not in disks:
            raise NotFound(f"disk of {name}", key)
    wanted = [disk for disk in vm.disks if keys is None or disk.key in keys]
    obstacles = {disk.key: _obstacle(disk, array_volumes) for disk in wanted}
    skipped = tuple(
        f"disk {d.key} {d.name}: {obstacles[d.key]}" for d in wanted if obstacles[d.key]
    )
    taken = tuple(disk for disk in wanted if not obstacles[disk.key])
    if not taken:
        why = "; ".join(skipped) or "it has no disk at all"
        raise InvalidState(name, f"without a disk that can be taken ({why})", "back it up")
    return Target(vm, taken, skipped)


def _obstacle(disk: DiskInfo, array_volumes: frozenset[str] | None) -> str:
    if disk.obstacle or array_volumes is None:
        return disk.obstacle
    if not disk.volumes or not array_volumes.issuperset(disk.volumes):
        return f"datastore {disk.datastore} does not lie on volumes of the array"
    return ""
