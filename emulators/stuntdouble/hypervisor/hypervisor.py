"""The hypervisor: datastores, VMs, and what an administrator can do with them.

Building (``add_datastore``, ``add_vm``) takes no time.  Operations are SimPy generators: yield from
them in a process, or run them from a workflow with ``clock.perform``.  They may be interrupted at
any point and leave a consistent state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.errors import InvalidState, Misuse, NotFound, Unsupported
from stuntdouble.hypervisor import consolidate as merging
from stuntdouble.hypervisor import extend, hosts, snapshot, tracking
from stuntdouble.hypervisor.administration import Administration
from stuntdouble.hypervisor.building import make_disks
from stuntdouble.hypervisor.datastore import Datastore, format_datastore
from stuntdouble.hypervisor.host import Host
from stuntdouble.hypervisor.hosts import HostSystem
from stuntdouble.hypervisor.inventory import Vm
from stuntdouble.hypervisor.parameters import (
    HARDWARE_VERSION,
    LATENCY_WINDOW_SECONDS,
    Parameters,
    QuiesceProfile,
)
from stuntdouble.hypervisor.progress import zeroing_pieces, zeroing_shares
from stuntdouble.hypervisor.quirks import DELAYED_PROPERTIES, Quirks
from stuntdouble.hypervisor.records import new_uuid
from stuntdouble.hypervisor.storage import HostStorage
from stuntdouble.hypervisor.stun import lose_power
from stuntdouble.iops import Purpose
from stuntdouble.ports import Provisioning, VmSnapshot
from stuntdouble.site import IO_BLOCKS_MAX
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from simpy.events import Event

    from stuntdouble.errors import NoSpace
    from stuntdouble.extents import OffsetTable
    from stuntdouble.hypervisor.inventory import VmDisk
    from stuntdouble.hypervisor.notes import Cause
    from stuntdouble.hypervisor.parameters import DiskSpec
    from stuntdouble.hypervisor.registry import Parked
    from stuntdouble.iops import Engine, Guest, Load
    from stuntdouble.site import Level, Lun, Moment, Step
    from stuntdouble.trace import Journal, Streams


ANSWERS: Final = ("retry", "cancel")
"""What a VM that is paused for want of space may be answered, as vSphere asks."""


class Hypervisor:
    """An emulated hypervisor.

    ``moments`` has what the guest had written at each snapshot, by (snapshot id, disk key); it is
    there for the oracle, and going back to a snapshot is the only thing that reads it here.  They
    outlive their snapshots until ``forget_moments``: 2,000 of a disk of 1 TiB are as many as a site
    can hold.  ``quirks`` and ``paging`` may be switched at any time; ``hosts`` are where VMs run.
    ``parked`` is what is kept of unregistered VMs, by their uuid.  ``admin`` has what an
    administrator can do besides, ``storage`` what the host sees of arrays.

    Args:
        engine: whose guests the VMs are.
        streams: named randomness: fragmentation, tracking identities, names of copies.
        journal: where stuns, freezes, snapshots, consolidations and pauses are noted.
        parameters: see there.
        lan_station: the engine's station for the management network, or -1 for none.

    Raises:
        Misuse: the parameters do not go with the site's content block.
    """

    def __init__(
        self,
        engine: Engine,
        streams: Streams,
        journal: Journal,
        parameters: Parameters | None = None,
        lan_station: int = -1,
    ) -> None:
        parameters = parameters or Parameters()
        parameters.check_block(engine.site.block_bytes, IO_BLOCKS_MAX)
        self.quirks, self.paging = Quirks(parameters.quirks), parameters.paging
        self.host = Host(
            engine, streams, journal, parameters, lan_station, self.quirks, self.paging
        )
        self.hosts = {name: HostSystem(name) for name in parameters.hosts}
        self.datastores: dict[str, Datastore] = {}
        self.vms: dict[str, Vm] = {}
        self.moments: dict[tuple[str, int], Moment] = {}
        self.parked: dict[str, Parked] = {}
        self.admin = Administration(self)
        self.storage = HostStorage(self)
        self._snapshots = 0

    # Building. -----------------------------------------------------------------------------

    def add_datastore(
        self,
        name: str,
        luns: list[Lun],
        naas: tuple[str, ...],
        *,
        fs_block_bytes: int = MIB,
        zero_bytes: int = MIB,
        fragmentation: float = 0.0,
    ) -> Datastore:
        """Format a datastore on fresh LUNs.

        Args:
            name: unique.
            luns: the LUNs, in order.
            naas: their identifiers.
            fs_block_bytes: unit of allocation; VMFS has 1 MiB.
            zero_bytes: unit that is zeroed before its first write; VMFS zeroes 1 MiB.
            fragmentation: 0 (new) to 1: how much other files scatter the free space.
        """
        if name in self.datastores:
            raise Misuse("datastore", f"there are two named {name!r}")
        made = format_datastore(
            self.host,
            name,
            luns,
            naas,
            fs_block_bytes=fs_block_bytes,
            zero_bytes=zero_bytes,
            fragmentation=fragmentation,
        )
        return self.adopt_datastore(made)

    def adopt_datastore(self, datastore: Datastore) -> Datastore:
        """Add a datastore, new or found on a copy."""
        self.datastores[datastore.name] = datastore
        datastore.on_free.append(lambda: self.answer_all(datastore))
        return datastore

    def add_vm(
        self,
        name: str,
        disks: Iterable[DiskSpec],
        load: Load | None,
        *,
        quiesce: QuiesceProfile | None = None,
        hardware_version: int = HARDWARE_VERSION,
        powered_on: bool = True,
    ) -> Vm:
        """Create a VM at once, powered on; ``engine.start(vm.guest)`` lets its load begin.

        One that stays powered off begins when it is powered on.  The load's disks are numbered in
        order of their keys.

        Raises:
            NoSpace: its thick disks do not fit.
            Misuse: the name or a key is taken, a datastore unknown, a capacity not whole blocks.
        """
        vm = self._create(name, disks, load, quiesce, hardware_version)
        for disk in vm.disks.values():
            if disk.spec.provisioning is Provisioning.EAGER_ZEROED:
                for _ in self.host.site.zero_file(disk.disk.head.file):
                    pass
        vm.powered_on = vm.started = powered_on
        return vm

    def create_vm(self, name: str, disks: Iterable[DiskSpec]) -> Generator[Event, object, Vm]:
        """Create a powered-off VM; eager zeroing takes the time of its I/O.

        Raises:
            NoSpace: its thick disks do not fit, or zeroing them found the array full; there is no
                such VM then.
            InvalidState: the name is taken.
        """
        if name in self.vms:
            raise InvalidState(name, "in the inventory already", "create it again")
        yield self.host.env.timeout(self.host.parameters.task_seconds)
        vm = self._create(name, disks, None, None, HARDWARE_VERSION)
        try:
            shares = zeroing_shares([disk.disk.head.file for disk in vm.disks.values()])
            for disk, share in zip(vm.disks.values(), shares, strict=True):
                yield from disk.datastore.lock()
                if disk.spec.provisioning is Provisioning.EAGER_ZEROED:
                    for steps in _zeroing(vm, disk, share):
                        yield self.host.engine.submit(steps, Purpose.RESTORE)
        except BaseException:
            del self.vms[name]
            vm.delete_files()
            raise
        vm.task_progress.reset()
        return vm

    def _create(
        self,
        name: str,
        disks: Iterable[DiskSpec],
        load: Load | None,
        quiesce: QuiesceProfile | None,
        hardware_version: int,
    ) -> Vm:
        if name in self.vms:
            raise Misuse("VM", f"there are two named {name!r}")
        made = make_disks(self.host, self.datastores, name, disks)
        return self.add(name, made, load, quiesce or QuiesceProfile(), hardware_version)

    def add(
        self,
        name: str,
        disks: list[VmDisk],
        load: Load | None,
        quiesce: QuiesceProfile,
        hardware_version: int,
        uuid: str = "",
        guest: Guest | None = None,
    ) -> Vm:
        """Add a VM, powered off, to the inventory; a new one unless *uuid* and *guest* are known."""
        if guest is None:
            luns = dict.fromkeys(lun for disk in disks for lun in disk.datastore.luns)
            guest = self.host.engine.add_guest(name, [d.disk for d in disks], list(luns), load)
        by_key = {disk.key: disk for disk in disks}
        uuid = uuid or new_uuid(self.host.streams["vm uuid", name].hex(32))
        vm = Vm(self.host, name, by_key, guest, quiesce, hardware_version, uuid=uuid)
        vm.server = next(iter(self.hosts.values()))
        guest.on_no_space = lambda error: self._pause(vm, error)
        self.vms[name] = vm
        vm.chain_changed()
        return vm

    def vm(self, name: Vm | str) -> Vm:
        """Return a VM by its name (or itself); NotFound where there is none.

        Every operation takes either.
        """
        if isinstance(name, Vm):
            return name
        if name not in self.vms:
            raise NotFound("VM", name)
        return self.vms[name]

    # Power. --------------------------------------------------------------------------------

    def power_on(self, vm: Vm | str, host: str = "") -> Generator[Event, object, None]:
        """Start a VM: its load goes on where it stopped, and tracking begins where it is wanted.

        Raises:
            NotFound: there is no such *host*; without one, the VM starts on the one it is on.
            InvalidState: the VM runs on another host.
            Unreachable: the host is down.
            LimitReached: the host tracks as many disks as it can.
        """
        vm = self.vm(vm)
        if vm.is_copy:
            raise Unsupported("running a registered copy", "its disks can be read")
        if host:
            self.place(vm, host)
        if vm.tracking and not vm.powered_on:
            hosts.check_tracked(self, vm)
        with vm.task("PowerOnVM_Task"):
            yield self.host.env.timeout(0)
            if not vm.powered_on:
                self._power_on(vm)

    def _power_on(self, vm: Vm) -> None:
        vm.settle_tracking()
        vm.powered_on = True
        vm.booted_at = self.host.env.now
        self.host.note("powered-on", vm.name)
        if vm.started:
            self.host.engine.resume(vm.guest)
        else:
            vm.started = True
            self.host.engine.start(vm.guest)

    def power_off(self, vm: Vm | str) -> Generator[Event, object, None]:
        """Stop a VM once its I/O in flight has ended; see ``Parameters.power_off_tracking``.

        What the guest had issued and was not admitted yet is dropped, here as in a crash.
        """
        vm = self.vm(vm)
        with vm.task("PowerOffVM_Task"):
            yield self.host.env.timeout(0)
            ran = vm.powered_on
            yield from self._stop(vm)
            if ran:
                self._close_tracking(vm)

    def _close_tracking(self, vm: Vm) -> None:
        if self.host.parameters.power_off_tracking == "lost":
            vm.lose_tracking("power off")

    def crash(self, vm: Vm | str) -> Generator[Event, object, None]:
        """Let the VM's process die: its task is cut off, its tracking state is lost, it is off."""
        return self.die(self.vm(vm), "crash")

    def die(self, vm: Vm, cause: Cause) -> Generator[Event, object, None]:
        """Let a VM's process die of its own, or with its host."""
        yield from vm.abort_task()
        with vm.task("crash", on_host=False):
            yield from self._stop(vm)
            vm.lose_tracking(cause)
            self.host.note("crash", vm.name, line="change tracking state was not flushed")

    def crash_host(self, name: str) -> Generator[Event, object, None]:
        """Let a host fail, and every VM process on it; see ``stuntdouble.hypervisor.hosts``."""
        return hosts.crash(self, name)

    def place(self, vm: Vm | str, host: str) -> None:
        """Put a VM that is off on another host; see ``stuntdouble.hypervisor.hosts``."""
        hosts.place(self, self.vm(vm), host)

    def restart_host(self, name: str) -> None:
        """Let a host be up again; nothing happens where it is."""
        hosts.restart(self, name)

    def _stop(self, vm: Vm) -> Generator[Event, object, None]:
        if not vm.powered_on:
            return
        lose_power(vm)
        yield self.host.engine.drained(vm.guest)

    # A full datastore. -----------------------------------------------------------------------

    def _pause(self, vm: Vm, error: NoSpace) -> None:
        """Pause a VM that cannot write; its I/O waits, nothing is lost."""
        if vm.question:
            return
        vm.question = f"{error}: free some space and retry, or cancel"
        vm.questions += 1
        self.host.engine.stun(vm.guest)
        self.host.note("paused", vm.name, question=vm.question)

    def answer(self, vm: Vm | str, choice: str = "retry") -> None:
        """Answer a paused VM's question; nothing happens where it asks none.

        Args:
            vm: the VM.
            choice: "retry": it goes on, or asks again; "cancel": it is powered off.

        Raises:
            Misuse: another choice.
        """
        if choice not in ANSWERS:
            raise Misuse("answer", f"{choice!r} is none of {', '.join(ANSWERS)}")
        vm = self.vm(vm)
        if not vm.question:
            return
        if choice == "cancel":
            lose_power(vm)
            self._close_tracking(vm)
            return
        vm.question = ""
        self.host.engine.resume(vm.guest)
        self.host.note("resumed", vm.name)

    def answer_all(self, datastore: Datastore | None = None) -> None:
        """Answer the questions of every VM, or of those of *datastore*, which has space again.

        Where an array's snapshot reserve was what ran out, only the array knows when to call this.
        """
        for vm in self.vms.values():
            homes = [disk.datastore for disk in vm.disks.values()]
            if datastore is None or datastore in homes:
                self.answer(vm)

    # Snapshots. ------------------------------------------------------------------------------

    def create_snapshot(
        self, vm: Vm | str, name: str, *, quiesce: bool = False, description: str = ""
    ) -> Generator[Event, object, VmSnapshot]:
        """Take a snapshot; see ``stuntdouble.hypervisor.snapshot.create``."""
        self._snapshots += 1
        made = snapshot.unborn(f"snapshot-{self._snapshots}", name, description)
        return snapshot.create(self.vm(vm), made, self.moments, quiesce=quiesce)

    def remove_snapshot(
        self,
        vm: Vm | str,
        snapshot_id: str,
        *,
        remove_children: bool = False,
        consolidate: bool = True,
    ) -> Generator[Event, object, None]:
        """Remove a snapshot; see ``stuntdouble.hypervisor.consolidate.remove``."""
        return merging.remove(
            self.vm(vm), snapshot_id, children=remove_children, consolidate=consolidate
        )

    def remove_all_snapshots(
        self, vm: Vm | str, *, consolidate: bool = True
    ) -> Generator[Event, object, None]:
        """Remove every snapshot of a VM and, unless told otherwise, consolidate."""
        return merging.remove_all(self.vm(vm), consolidate=consolidate)

    def consolidate(self, vm: Vm | str) -> Generator[Event, object, None]:
        """Merge what earlier removals have left over."""
        return merging.consolidate(self.vm(vm))

    def release_locks(self, vm: Vm | str) -> None:
        """Let whoever has delta disks of a VM open let go of them."""
        merging.release(self.vm(vm))

    def revert(self, vm: Vm | str, snapshot_id: str) -> Generator[Event, object, None]:
        """Go back to a snapshot; see ``stuntdouble.hypervisor.snapshot.revert``."""
        return snapshot.revert(self.vm(vm), snapshot_id, self.moments)

    def forget_moments(self, wanted: Callable[[Moment], bool]) -> None:
        """Let go of the moments of snapshots that are gone, but for those that are *wanted*.

        Whoever checks restore points says which of them there still are.
        """
        there = {snapshot.id for vm in self.vms.values() for snapshot in vm.snapshots}
        there = there.union(*(parked.snapshots for parked in self.parked.values()))
        for at, moment in list(self.moments.items()):
            if at[0] not in there and not wanted(moment):
                del self.moments[at]

    # Change tracking. ------------------------------------------------------------------------

    def enable_tracking(self, vm: Vm | str) -> Generator[Event, object, None]:
        """Switch change tracking on."""
        return self.set_tracking(vm, enabled=True)

    def set_tracking(self, vm: Vm | str, *, enabled: bool) -> Generator[Event, object, None]:
        """Switch change tracking on or off; see ``stuntdouble.hypervisor.tracking``."""
        return tracking.switch(self, self.vm(vm), enabled=enabled)

    def reattach_disk(self, vm: Vm | str, key: int) -> Generator[Event, object, None]:
        """Remove a disk from a VM that is off and add it again; see ``hypervisor.tracking``."""
        return tracking.reattach(self.vm(vm), key)

    def extend_disk(
        self, vm: Vm | str, key: int, capacity_bytes: int
    ) -> Generator[Event, object, None]:
        """Extend a disk; see ``stuntdouble.hypervisor.extend``."""
        return extend.extend(self.vm(vm), key, capacity_bytes)

    # Views. ----------------------------------------------------------------------------------

    def layout(self, vm: Vm | str, key: int, level: Level | None = None) -> OffsetTable:
        """Return where each range of a disk lies, as seen from *level*: from its head if None."""
        disk = self.vm(vm).disk(key)
        names = disk.datastore.volume_names()
        return self.host.site.offset_table(level or disk.disk.head, disk.disk.blocks, names)

    @property
    def property_delay_seconds(self) -> float:
        """How late properties are to follow a task: 0 without that quirk."""
        delayed = DELAYED_PROPERTIES in self.quirks
        return self.host.parameters.property_delay_seconds if delayed else 0.0

    def latency_seconds(self, datastore: str) -> float:
        """Return the mean latency of the last 20 s of the VMs on a datastore; 0 without I/O."""
        if datastore not in self.datastores:
            raise NotFound("datastore", datastore)
        home = self.datastores[datastore]
        guests = [
            vm.guest.name
            for vm in self.vms.values()
            if any(disk.datastore is home for disk in vm.disks.values())
        ]
        since = self.host.env.now - LATENCY_WINDOW_SECONDS
        return self.host.engine.meter.recent_latency(guests, since)


def _zeroing(vm: Vm, disk: VmDisk, share: tuple[float, float]) -> Iterator[list[Step]]:
    """Yield the I/Os that zero a new disk, which is such a share of the task."""
    file = disk.disk.head.file
    steps = vm.host.site.zero_file(file)
    return vm.task_progress.counted(steps, zeroing_pieces(file), *share)
