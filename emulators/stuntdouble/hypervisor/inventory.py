"""VMs, their disks and their snapshots."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import simpy

from stuntdouble.errors import (
    Interrupted,
    InvalidState,
    MethodDisabled,
    NotFound,
    TaskInProgress,
    UnknownDisk,
)
from stuntdouble.hypervisor.hosts import HostSystem
from stuntdouble.hypervisor.parameters import SE_SPARSE_SUFFIX, VMFS_SPARSE_BYTES_MAX
from stuntdouble.hypervisor.progress import Progress
from stuntdouble.hypervisor.quirks import TRACKING_ON_SNAPSHOT
from stuntdouble.hypervisor.records import DiskRecord, SnapshotRecord, VmRecord, descriptor_of
from stuntdouble.ports import DiskInfo, VmInfo, VmSnapshot

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from simpy.events import Event, Process

    from stuntdouble.hypervisor.chain import Chain
    from stuntdouble.hypervisor.datastore import Datastore
    from stuntdouble.hypervisor.host import Host
    from stuntdouble.hypervisor.notes import Cause
    from stuntdouble.hypervisor.parameters import DiskSpec, QuiesceProfile
    from stuntdouble.hypervisor.tracker import Tracker
    from stuntdouble.iops import Guest
    from stuntdouble.ports import Consistency
    from stuntdouble.site import Disk, File, Level

CRASH: Final = "the VM crashed"


@dataclass(eq=False)
class Snapshot:
    """A VM snapshot; ``frozen`` is the level of each disk that it keeps as it was.

    ``number`` counts the snapshots that the VM has had, from 1.
    """

    id: str
    name: str
    moment: float
    consistency: Consistency
    parent: Snapshot | None
    frozen: dict[int, Level]
    change_ids: dict[int, str]
    description: str = ""
    number: int = 0


@dataclass(eq=False)
class VmDisk:
    """A virtual disk of a VM; ``sealed`` has the changeId of the instant in which a level froze."""

    spec: DiskSpec
    name: str
    datastore: Datastore
    chain: Chain
    tracker: Tracker
    serial: int = 0
    sealed: dict[Level, str] = field(default_factory=dict)

    @property
    def key(self) -> int:
        """The device key."""
        return self.spec.key

    @property
    def disk(self) -> Disk:
        """The disk, to the site."""
        return self.chain.disk

    @property
    def obstacle(self) -> str:
        """Why the disk takes no part in snapshots; empty when it does."""
        return self.spec.obstacle

    @property
    def file(self) -> str:
        """The name of the file that is written: the head's."""
        return self.disk.head.file.name

    @property
    def folder(self) -> str:
        """The folder of its files on its datastore."""
        return self.name.partition("/")[0]

    @property
    def delta_bytes(self) -> int:
        """Space that its delta disks occupy."""
        return sum(level.file.size_bytes for level in self.chain.deltas)

    def check_reachable(self) -> None:
        """Raise Unreachable where a LUN that the disk may lie on has been lost."""
        self.datastore.check_reachable()

    def info(self) -> DiskInfo:
        """Return the disk as the inventory shows it."""
        spec = self.spec
        return DiskInfo(
            spec.key,
            self.name,
            spec.capacity_bytes,
            spec.provisioning,
            self.datastore.name,
            self.datastore.naas,
            self.obstacle,
        )

    def drop(self, level: Level) -> None:
        """Delete the file of a level that is out of the chain."""
        self.sealed.pop(level, None)
        self.datastore.delete(level.file)


@dataclass(eq=False)
class Vm:
    """A virtual machine.

    ``guest`` is the engine's: what issues the I/O.  ``question`` is what a paused VM asks its
    administrator, empty while it runs, and ``questions`` how many it has asked.  ``locks`` are files that somebody else has open, by name,
    and who that is; ``server`` is the host that it is on.  ``disabled`` has the operations that
    nobody may ask for at the moment, each with who disabled it.  ``last_number`` is the number of
    its newest snapshot.
    """

    host: Host
    name: str
    disks: dict[int, VmDisk]
    guest: Guest
    quiesce: QuiesceProfile
    hardware_version: int
    powered_on: bool = False
    started: bool = False
    snapshots: list[Snapshot] = field(default_factory=list)
    current: Snapshot | None = None
    tracking: bool = False
    question: str = ""
    questions: int = 0
    booted_at: float = 0.0
    uuid: str = ""
    last_number: int = 0
    disabled: dict[str, set[str]] = field(default_factory=dict)
    server: HostSystem = field(default_factory=HostSystem)
    locks: dict[str, str] = field(default_factory=dict)
    task_progress: Progress = field(default_factory=Progress)
    _needy: bool = False
    _task: str = ""
    _process: Process | None = None
    _idle: list[Event] = field(default_factory=list)

    @property
    def is_copy(self) -> bool:
        """Whether it was registered from a mounted copy."""
        return any(disk.datastore.mounted_copy for disk in self.disks.values())

    # Tasks. --------------------------------------------------------------------------------

    @property
    def running_task(self) -> str:
        """The task that holds the VM, by its name; empty where none does."""
        return self._task

    @property
    def progress(self) -> float:
        """How far the running task is, from 0 to 1; 0 where none is running."""
        return self.task_progress.fraction

    @contextmanager
    def task(self, name: str, *, on_host: bool = True) -> Iterator[None]:
        """Hold the VM for a task; one that is not *on_host* needs no host that is up.

        Raises:
            MethodDisabled: somebody has disabled tasks of this name.
            TaskInProgress: another one does.
            Unreachable: its host is down.
            Interrupted: the VM crashed meanwhile.
        """
        if name in self.disabled:
            raise MethodDisabled(self.name, name, ", ".join(sorted(self.disabled[name])))
        if self._task:
            raise TaskInProgress(self.name, self._task)
        if on_host:
            self.server.check_up()
        self._task, self._process = name, self.host.env.active_process
        try:
            yield
        except simpy.Interrupt as interrupt:
            if interrupt.cause == CRASH:
                raise Interrupted(f"{name} of {self.name}") from interrupt
            raise
        finally:
            self._task, self._process = "", None
            self.task_progress.reset()
            self.note_need()
            for event in self._idle:
                event.succeed()
            self._idle.clear()

    def abort_task(self) -> Generator[Event, object, None]:
        """Cut off the running task, if any, and wait until it has cleaned up."""
        process = self._process
        if not self._task or process is None:
            return
        idle = self.host.env.event()
        self._idle.append(idle)
        process.interrupt(CRASH)
        yield idle

    # Disks and snapshots. --------------------------------------------------------------------

    @property
    def snapshot_disks(self) -> list[VmDisk]:
        """The disks that take part in snapshots, in order of their keys."""
        return [disk for disk in self.disks.values() if not disk.obstacle]

    def disk(self, key: int) -> VmDisk:
        """Return a disk by its key; NotFound where there is none."""
        if key not in self.disks:
            raise UnknownDisk(self.name, key)
        return self.disks[key]

    def check_reachable(self) -> None:
        """Raise Unreachable where a LUN below any of its disks has been lost."""
        for disk in self.disks.values():
            disk.check_reachable()

    def find(self, snapshot_id: str) -> Snapshot | None:
        """Return a snapshot by its id, None where it is gone."""
        return next((s for s in self.snapshots if s.id == snapshot_id), None)

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """Return a snapshot by its id; NotFound where it is gone."""
        found = self.find(snapshot_id)
        if found is None:
            raise NotFound(f"snapshot of {self.name}", snapshot_id)
        return found

    def frozen(self, key: int) -> list[Level]:
        """Return the levels of a disk that snapshots froze."""
        return [s.frozen[key] for s in self.snapshots if key in s.frozen]

    def image(self, key: int) -> Level:
        """Return the level that shows a disk as its current snapshot froze it, or its head."""
        disk = self.disk(key)
        if self.current is not None and key in self.current.frozen:
            return self.current.frozen[key]
        return disk.disk.head

    @property
    def consolidation_needed(self) -> bool:
        """Whether delta disks are left that no snapshot needs, and no task is at work on them."""
        return not self._task and any(
            disk.chain.mergeable(frozen) or disk.chain.unused(frozen)
            for disk in self.disks.values()
            for frozen in [self.frozen(disk.key)]
        )

    def note_need(self) -> None:
        """Note in the journal where the VM has come to need consolidation."""
        needy = self.consolidation_needed
        if needy and not self._needy:
            self.host.note("needs-consolidation", self.name)
        self._needy = needy

    def new_delta(self, disk: VmDisk) -> File:
        """Return the file of another delta disk, beside the base; NoSpace where there is no room."""
        sparse = disk.spec.capacity_bytes >= VMFS_SPARSE_BYTES_MAX
        sparse = sparse or self.host.parameters.delta_format == "se-sparse"
        suffix = SE_SPARSE_SUFFIX if sparse else "-delta.vmdk"
        stem, name = disk.name.removesuffix(".vmdk"), ""
        while not name or name in disk.datastore.store.files:  # somebody may have uploaded it
            disk.serial += 1
            name = f"{stem}-{disk.serial:06d}{suffix}"
        return disk.datastore.create_delta(name, disk.disk.blocks, self.gauge)

    def settle_tracking(self) -> None:
        """Let tracking begin or end where it was switched on or off: at a stun, or powered off."""
        for disk in self.snapshot_disks:
            if self.tracking and not disk.tracker.active:
                blind = bool(self.snapshots) and TRACKING_ON_SNAPSHOT in self.host.quirks
                disk.tracker.start(complete=not self.snapshots, blind=blind)
            elif disk.tracker.active and not self.tracking:
                disk.tracker.stop()
                self._note_lost(disk, "switched off")

    def lose_tracking(self, cause: Cause, key: int | None = None) -> None:
        """Let tracking start anew, of one disk or of all: what was noted so far is lost."""
        for disk in self.snapshot_disks:
            if disk.tracker.active and key in {None, disk.key}:
                disk.tracker.start(complete=not self.snapshots)
                self._note_lost(disk, cause)

    def _note_lost(self, disk: VmDisk, cause: Cause) -> None:
        self.host.note("tracking-lost", self.name, disk=disk.key, cause=cause)

    # Consequences of a changed chain. ----------------------------------------------------------

    def gauge(self) -> None:
        """Tell the meter how much space the delta disks occupy."""
        size = sum(disk.delta_bytes for disk in self.disks.values())
        self.host.gauge("delta_bytes", self.name, size)

    def chain_changed(self) -> None:
        """Write the descriptors, and set what depends on there being a snapshot layer."""
        self.write_records()
        self.gauge()
        layered = any(disk.chain.deltas for disk in self.disks.values())
        limit = self.host.parameters.snapshot_concurrency if layered else 0
        if self.guest.limit != limit:
            self.host.engine.set_limit(self.guest, limit)

    def folder(self, datastore: Datastore) -> str:
        """Return the VM's folder on a datastore that it has a disk on."""
        return next(d.folder for d in self.disks.values() if d.datastore is datastore)

    def write_records(self) -> None:
        """Write the VM's descriptor to each datastore, with the disks that lie there.

        A copy's descriptor stays as it was found.
        """
        if self.is_copy:
            return
        for datastore in dict.fromkeys(disk.datastore for disk in self.disks.values()):
            disks = [disk for disk in self.disks.values() if disk.datastore is datastore]
            datastore.store.records[self.folder(datastore)] = VmRecord(
                self.name,
                self.hardware_version,
                self.tracking,
                tuple(self._disk_record(disk) for disk in disks),
                tuple(map(_snapshot_record, self.snapshots)),
                self.current.id if self.current else "",
                self.uuid,
                self.last_number,
                self.host.env.now,
                tuple(
                    (disk.key, f"/vmfs/volumes/{disk.datastore.uuid}/{descriptor_of(disk.file)}")
                    for disk in self.disks.values()
                    if disk.datastore is not datastore
                ),
            )

    def _disk_record(self, disk: VmDisk) -> DiskRecord:
        levels = disk.chain.levels
        index = {level: i for i, level in enumerate(levels)}
        return DiskRecord(
            disk.spec,
            disk.name,
            tuple((x.file.name, index[x.parent] if x.parent else -1) for x in levels),
            index[disk.disk.head],
            tuple(
                (s.id, index[s.frozen[disk.key]]) for s in self.snapshots if disk.key in s.frozen
            ),
        )

    def delete_files(self) -> None:
        """Delete the files and descriptors of a VM that is off."""
        for disk in self.disks.values():
            disk.datastore.store.records.pop(disk.folder, None)
            for level in disk.chain.levels:
                disk.drop(level)

    # What others see. ------------------------------------------------------------------------

    def info(self) -> VmInfo:
        """Return the VM as the inventory shows it."""
        return VmInfo(
            self.name,
            self.powered_on,
            tuple(disk.info() for disk in self.disks.values()),
            tuple(snapshot.id for snapshot in self.snapshots),
            self.consolidation_needed,
            self.tracking,
        )

    def show(self, snapshot: Snapshot) -> VmSnapshot:
        """Return a snapshot as a client sees it."""
        return VmSnapshot(
            snapshot.id,
            self.name,
            snapshot.name,
            snapshot.moment,
            snapshot.consistency,
            dict(snapshot.change_ids),
        )

    def require_off(self, request: str) -> None:
        """Refuse *request* while the VM runs or has snapshots."""
        if self.powered_on:
            raise InvalidState(self.name, "powered on", request)
        if self.snapshots:
            raise InvalidState(self.name, "on top of a snapshot", request)


def _snapshot_record(snapshot: Snapshot) -> SnapshotRecord:
    parent = snapshot.parent.id if snapshot.parent else ""
    return SnapshotRecord(
        snapshot.id,
        snapshot.name,
        snapshot.moment,
        snapshot.consistency,
        parent,
        snapshot.description,
        snapshot.number,
    )
