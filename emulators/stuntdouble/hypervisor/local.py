"""The emulated hypervisor behind the port that backup workflows call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stuntdouble.clock import perform
from stuntdouble.errors import InvalidState, NotFound
from stuntdouble.hypervisor import copies
from stuntdouble.hypervisor.changes import changed_ranges
from stuntdouble.hypervisor.device import LocalDisk, RestoreTarget
from stuntdouble.hypervisor.parameters import DiskSpec
from stuntdouble.ports import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.extents import OffsetTable
    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.inventory import Snapshot, Vm, VmDisk
    from stuntdouble.ports import BlockDevice, ChangedPage, Provisioning, VmInfo, VmSnapshot
    from stuntdouble.site import Level, Lun


class LocalHypervisor:
    """``ports.Hypervisor``, in process.

    Args:
        hypervisor: whose operations take their site time.
        resolve_luns: the volume that this host sees under a NAA identifier; it raises where
            masking does not let the host see it.
    """

    def __init__(self, hypervisor: Hypervisor, resolve_luns: Callable[[str], Lun]) -> None:
        self.hypervisor = hypervisor
        self._host = hypervisor.host
        self._resolve_luns = resolve_luns

    # Inventory and snapshots. ------------------------------------------------------------------

    async def vms(self) -> tuple[VmInfo, ...]:
        """Return the inventory, in the order in which it was built."""
        with self._host.env.entered():
            return tuple(vm.info() for vm in self.hypervisor.vms.values())

    async def snapshots(self, vm: str) -> tuple[VmSnapshot, ...]:
        """Return the snapshots of a VM, oldest first."""
        with self._host.env.entered():
            machine = self.hypervisor.vm(vm)
            return tuple(machine.show(snapshot) for snapshot in machine.snapshots)

    async def create_snapshot(self, vm: str, name: str, *, quiesce: bool) -> VmSnapshot:
        """Take a snapshot of every disk that can have one."""
        machine = self._reachable(vm)
        model = self.hypervisor.create_snapshot(machine, name, quiesce=quiesce)
        return await perform(self._host.env, model)

    async def remove_snapshot(self, snapshot: VmSnapshot) -> None:
        """Remove a snapshot and consolidate; idempotent once it is gone."""
        vm = self._reachable(snapshot.vm)
        await perform(self._host.env, self.hypervisor.remove_snapshot(vm, snapshot.id))

    async def consolidate(self, vm: str) -> None:
        """Merge delta disks that no snapshot needs any more."""
        machine = self._reachable(vm)
        await perform(self._host.env, self.hypervisor.consolidate(machine))

    async def enable_tracking(self, vm: str) -> None:
        """Switch change tracking on; it becomes active at the next stun."""
        machine = self._reachable(vm)
        await perform(self._host.env, self.hypervisor.set_tracking(machine, enabled=True))

    def _reachable(self, vm: str) -> Vm:
        """Return a VM; Unreachable before anything is changed where its storage is lost."""
        machine = self.hypervisor.vm(vm)
        machine.check_reachable()
        return machine

    # What is where, and what has changed. ------------------------------------------------------

    async def offset_table(self, snapshot: VmSnapshot, disk: int) -> OffsetTable:
        """Return where each range of the frozen disk lies, chain and all.

        Raises:
            NotFound: the snapshot is gone: no table outlives the snapshot that keeps it true.
        """
        with self._host.env.entered():
            vm, _, level = self._frozen(snapshot, disk)
            return self.hypervisor.layout(vm, disk, level)

    async def changed_ranges(
        self, snapshot: VmSnapshot, disk: int, since: str, start: int
    ) -> ChangedPage:
        """Return one page of the areas written from changeId *since* to *snapshot*.

        See ``stuntdouble.hypervisor.changes``, also for why it may be refused.
        """
        with self._host.env.entered():
            return changed_ranges(self.hypervisor, snapshot.vm, disk, since, snapshot.id, start)

    def _snapshot(self, snapshot: VmSnapshot) -> tuple[Vm, Snapshot]:
        vm = self.hypervisor.vm(snapshot.vm)
        return vm, vm.snapshot(snapshot.id)

    def _frozen(self, snapshot: VmSnapshot, key: int) -> tuple[Vm, VmDisk, Level]:
        vm, found = self._snapshot(snapshot)
        disk = vm.disk(key)
        disk.check_reachable()
        if key not in found.frozen:
            raise InvalidState(
                f"disk {key} of {vm.name}", disk.obstacle or "new", "read a snapshot"
            )
        return vm, disk, found.frozen[key]

    # Reading and restoring. --------------------------------------------------------------------

    async def open_disk(self, snapshot: VmSnapshot, disk: int, transport: Transport) -> BlockDevice:
        """Open the frozen disk; reads fail with NotFound once the snapshot is gone."""
        vm, device, _ = self._frozen(snapshot, disk)
        await self._attach(transport)
        return LocalDisk(vm, device, lambda: self._frozen(snapshot, disk)[2], self._link(transport))

    async def open_registered(self, vm: str, disk: int, transport: Transport) -> BlockDevice:
        """Open a disk of a VM that is off: as its current snapshot froze it, if it has one.

        A copy registered from an array snapshot has the VM snapshot that was open then, and what
        that one froze is the moment that the backup is of.
        """
        machine = self.hypervisor.vm(vm)
        if machine.powered_on:
            raise InvalidState(vm, "powered on", "open its disks")
        device = machine.disk(disk)
        device.check_reachable()
        await self._attach(transport)
        return LocalDisk(machine, device, lambda: machine.image(disk), self._link(transport))

    def _link(self, transport: Transport) -> int:
        return self._host.lan_station if transport is Transport.NBD else -1

    async def _attach(self, transport: Transport) -> None:
        if transport is Transport.HOT_ADD:
            await asyncio.sleep(self._host.parameters.hot_add_seconds)

    async def create_vm(
        self, name: str, datastore: str, disks: dict[int, int], provisioning: Provisioning
    ) -> VmInfo:
        """Create a powered-off VM with a disk of so many bytes per device key."""
        if datastore not in self.hypervisor.datastores:
            raise NotFound("datastore", datastore)
        self.hypervisor.datastores[datastore].check_reachable()
        specs = [DiskSpec(key, size, provisioning, datastore) for key, size in disks.items()]
        vm = await perform(self._host.env, self.hypervisor.create_vm(name, specs))
        return vm.info()

    async def open_target(self, vm: str, disk: int) -> BlockDevice:
        """Open a disk of a powered-off VM without snapshots for writing."""
        machine = self.hypervisor.vm(vm)
        machine.require_off("write its disks")
        device = machine.disk(disk)
        device.check_reachable()
        return RestoreTarget(machine, device)

    async def latency_seconds(self, datastore: str) -> float:
        """Return the mean latency of the datastore's I/O of the last 20 s."""
        with self._host.env.entered():
            return self.hypervisor.latency_seconds(datastore)

    # Mounted copies. ---------------------------------------------------------------------------

    async def mount_copy(self, volumes: tuple[str, ...]) -> str:
        """Rescan, resignature and mount the datastore on *volumes*; return its new name."""
        luns = [self._resolve_luns(naa) for naa in volumes]
        found = await perform(self._host.env, copies.mount(self.hypervisor, luns, volumes))
        return found.name

    async def register_vm(self, datastore: str, vm: str) -> VmInfo:
        """Register the copy of *vm* found on *datastore*."""
        model = copies.register(self.hypervisor, datastore, vm)
        return (await perform(self._host.env, model)).info()

    async def unregister_vm(self, vm: str) -> None:
        """Take a registered copy out of the inventory; idempotent."""
        await perform(self._host.env, copies.unregister(self.hypervisor, vm))

    async def unmount(self, datastore: str) -> None:
        """Unmount a mounted copy; idempotent."""
        await perform(self._host.env, copies.unmount(self.hypervisor, datastore))
