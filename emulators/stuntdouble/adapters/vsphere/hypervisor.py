"""The hypervisor behind the port that backup workflows call, by the vSphere API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from pyVmomi import vim, vmodl

from stuntdouble.adapters.vsphere import inventory, latency, mounting
from stuntdouble.adapters.vsphere.connection import same
from stuntdouble.adapters.vsphere.faults import changes_error
from stuntdouble.errors import InvalidState, NotFound
from stuntdouble.extents import Runs
from stuntdouble.ports import ChangedPage, Transport

if TYPE_CHECKING:
    from stuntdouble.adapters.vsphere.connection import Connection
    from stuntdouble.extents import OffsetTable
    from stuntdouble.ports import BlockDevice, Provisioning, VmInfo, VmSnapshot

UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KIB: Final = 1024


class SideChannel(Protocol):
    """What a backup server needs and the vSphere API leaves out."""

    async def offset_table(self, snapshot: VmSnapshot, disk: int) -> OffsetTable:
        """Return where each range of a frozen disk lies on its volumes."""
        ...

    async def open_snapshot(
        self, snapshot: VmSnapshot, disk: int, transport: Transport
    ) -> BlockDevice:
        """Open a frozen disk for reading."""
        ...

    async def open_registered(self, vm: str, disk: int, transport: Transport) -> BlockDevice:
        """Open a disk of a VM that is off for reading: as its snapshot froze it, if it has one."""
        ...

    async def open_target(self, vm: str, disk: int) -> BlockDevice:
        """Open a disk of a VM that is off and has no snapshot for writing."""
        ...


class VsphereHypervisor:
    """``ports.Hypervisor`` by the vSphere API.

    Args:
        connection: to a vCenter or a host.
        side: offset tables and the bytes of disks.
        epoch: the calendar time that moments are counted from.
    """

    def __init__(
        self, connection: Connection, side: SideChannel, epoch: datetime = UNIX_EPOCH
    ) -> None:
        self._connection = connection
        self._side = side
        self._epoch = epoch

    # Inventory. ------------------------------------------------------------------------------

    async def vms(self) -> tuple[VmInfo, ...]:
        """Return the inventory, in the order in which the server tells it."""

        def look(content: Any) -> tuple[VmInfo, ...]:
            stores = inventory.datastores(content)
            found = inventory.retrieve(content, vim.VirtualMachine, inventory.VM_PATHS)
            return tuple(inventory.vm_info(values, stores) for _, values in found)

        return await self._connection.read(look, "the inventory", "list VMs")

    async def _vm(self, name: str) -> Any:
        """Return the VM of a name; NotFound where there is none."""
        found = await self._connection.read(
            lambda content: inventory.find_vm(content, name), name, "find it"
        )
        if found is None:
            raise NotFound("VM", name)
        return found

    async def _info(self, name: str) -> VmInfo | None:
        return next((vm for vm in await self.vms() if vm.name == name), None)

    async def snapshots(self, vm: str) -> tuple[VmSnapshot, ...]:
        """Return the snapshots of *vm*, oldest first."""
        ref = await self._vm(vm)

        def look(content: Any) -> tuple[VmSnapshot, ...]:
            found = inventory.nodes(same(content, ref).snapshot)
            return tuple(inventory.snapshot_info(content, vm, n, self._epoch) for n in found)

        return await self._connection.read(look, vm, "list snapshots")

    # Snapshots. ------------------------------------------------------------------------------

    async def create_snapshot(self, vm: str, name: str, *, quiesce: bool) -> VmSnapshot:
        """Take a snapshot; return it once its properties are visible, changeIds included."""
        ref = await self._vm(vm)
        made = await self._connection.task(
            lambda content: same(content, ref).CreateSnapshot_Task(
                name=name, description="", memory=False, quiesce=quiesce
            ),
            vm,
            "take a snapshot",
        )

        async def visible() -> VmSnapshot | None:
            return await self._connection.read(
                lambda content: self._complete(content, vm, ref, made), vm, "read a snapshot"
            )

        return await self._connection.until(visible, f"snapshot {name} of {vm}")

    def _complete(self, content: Any, vm: str, ref: Any, made: Any) -> VmSnapshot | None:
        """Return a snapshot, None while a part of it is not visible yet."""
        machine = same(content, ref)
        found = [n for n in inventory.nodes(machine.snapshot) if n.snapshot._moId == made._moId]  # noqa: SLF001
        if not found:
            return None
        try:
            info = inventory.snapshot_info(content, vm, found[0], self._epoch)
        except vmodl.fault.ManagedObjectNotFound:
            return None
        if machine.config.changeTrackingEnabled and not info.change_ids and _trackable(machine):
            return None
        return info

    async def remove_snapshot(self, snapshot: VmSnapshot) -> None:
        """Remove a snapshot and consolidate; idempotent once it is gone."""
        ref = vim.vm.Snapshot(snapshot.id)
        try:
            await self._connection.task(
                lambda content: same(content, ref).RemoveSnapshot_Task(
                    removeChildren=False, consolidate=True
                ),
                snapshot.vm,
                "remove a snapshot",
            )
        except NotFound:
            return

    async def consolidate(self, vm: str) -> None:
        """Merge delta disks that no snapshot needs any more."""
        ref = await self._vm(vm)
        await self._connection.task(
            lambda content: same(content, ref).ConsolidateVMDisks_Task(), vm, "consolidate"
        )

    async def enable_tracking(self, vm: str) -> None:
        """Switch changed block tracking on; it becomes active at the next stun."""
        ref = await self._vm(vm)
        spec = vim.vm.ConfigSpec(changeTrackingEnabled=True)
        await self._connection.task(
            lambda content: same(content, ref).ReconfigVM_Task(spec), vm, "switch tracking on"
        )

    # What is where, and what has changed. ------------------------------------------------------

    async def offset_table(self, snapshot: VmSnapshot, disk: int) -> OffsetTable:
        """Return where each range of the frozen disk lies on its volumes."""
        return await self._side.offset_table(snapshot, disk)

    async def changed_ranges(
        self, snapshot: VmSnapshot, disk: int, since: str, start: int
    ) -> ChangedPage:
        """Return one page of the areas written from changeId *since* to *snapshot*.

        Raises:
            ChangeHistoryLost: the tracker cannot tell: take a full backup.
            InvalidState: the disk is not tracked, or an answer makes no sense.
        """
        vm = await self._vm(snapshot.vm)
        frozen = vim.vm.Snapshot(snapshot.id)
        where = f"disk {disk} of {snapshot.vm}"

        def ask(content: Any) -> Any:
            try:
                return same(content, vm).QueryChangedDiskAreas(
                    snapshot=same(content, frozen),
                    deviceKey=disk,
                    startOffset=start,
                    changeId=since,
                )
            except vim.fault.FileFault as fault:
                raise changes_error(fault, where, since) from fault

        return _page(await self._connection.read(ask, where, "list its changes"), start, where)

    async def open_disk(self, snapshot: VmSnapshot, disk: int, transport: Transport) -> BlockDevice:
        """Open the frozen disk for reading."""
        return await self._side.open_snapshot(snapshot, disk, transport)

    async def latency_seconds(self, datastore: str) -> float:
        """Return the mean latency of the datastore's recent I/O; 0 when it had none."""
        return await self._connection.read(
            lambda content: latency.recent(content, datastore), datastore, "read its latency"
        )

    # Mounted copies. ---------------------------------------------------------------------------

    async def mount_copy(self, volumes: tuple[str, ...]) -> str:
        """Rescan, resignature and mount the datastore on *volumes*; return its new name."""
        return await mounting.mount(self._connection, volumes)

    async def register_vm(self, datastore: str, vm: str) -> VmInfo:
        """Register the copy of *vm* found on *datastore*; its change tracking starts anew."""
        name = await mounting.register(self._connection, datastore, vm)

        async def visible() -> VmInfo | None:
            return await self._info(name)

        return await self._connection.until(visible, f"VM {name}")

    async def open_registered(self, vm: str, disk: int, transport: Transport) -> BlockDevice:
        """Open a disk of a registered, powered-off VM for reading: as its snapshot froze it."""
        return await self._side.open_registered(vm, disk, transport)

    async def unregister_vm(self, vm: str) -> None:
        """Take a registered copy out of the inventory; idempotent."""
        try:
            ref = await self._vm(vm)
            await self._connection.change(
                lambda content: same(content, ref).UnregisterVM(), vm, "unregister it"
            )
        except NotFound:
            return

    async def unmount(self, datastore: str) -> None:
        """Unmount a mounted copy; idempotent."""
        await mounting.unmount(self._connection, datastore)

    # Restoring. --------------------------------------------------------------------------------

    async def create_vm(
        self, name: str, datastore: str, disks: dict[int, int], provisioning: Provisioning
    ) -> VmInfo:
        """Create a powered-off VM with a disk of so many bytes per device key."""
        spec = _new_vm(name, datastore, disks, provisioning)

        def start(content: Any) -> Any:
            folder, pool = mounting.home(content)
            return folder.CreateVM_Task(config=spec, pool=pool)

        await self._connection.task(start, name, "create it")

        async def visible() -> VmInfo | None:
            return await self._info(name)

        return await self._connection.until(visible, f"VM {name}")

    async def open_target(self, vm: str, disk: int) -> BlockDevice:
        """Open a disk of a powered-off VM without snapshots for writing (a restore)."""
        return await self._side.open_target(vm, disk)


def _trackable(machine: Any) -> bool:
    """Say whether a VM has a disk that can be tracked: independent and raw ones cannot."""
    stores: dict[str, tuple[str, tuple[str, ...]]] = {}
    disks = inventory.disks_of(machine.config.hardware.device)
    return any(not inventory.disk_info(disk, stores).obstacle for disk in disks)


def _page(info: Any, start: int, where: str) -> ChangedPage:
    """Return an answer as the port has it; one that leads nowhere is refused."""
    if info.startOffset != start or info.length < 1:
        raise InvalidState(
            where, f"answering {info.length} bytes from {info.startOffset}", "list its changes"
        )
    areas = info.changedArea
    starts = np.fromiter((area.start for area in areas), np.int64, len(areas))
    lengths = np.fromiter((area.length for area in areas), np.int64, len(areas))
    return ChangedPage(start, info.length, Runs.from_arrays(starts, lengths))


def _new_vm(name: str, datastore: str, disks: dict[int, int], provisioning: Provisioning) -> Any:
    """Return the specification of a VM to restore to: a controller, and the disks on it."""
    thin = str(provisioning) == "thin"
    eager = str(provisioning) == "eager-zeroed"
    controller = vim.vm.device.ParaVirtualSCSIController(
        key=1000, busNumber=0, sharedBus="noSharing"
    )
    changes = [vim.vm.device.VirtualDeviceSpec(operation="add", device=controller)]
    for unit, (key, size) in enumerate(disks.items()):
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"[{datastore}]",
            diskMode="persistent",
            thinProvisioned=thin,
            eagerlyScrub=eager,
        )
        disk = vim.vm.device.VirtualDisk(
            key=key,
            controllerKey=1000,
            unitNumber=unit + (unit >= 7),  # unit 7 is the controller's own
            capacityInKB=-(-size // KIB),
            capacityInBytes=size,
            backing=backing,
        )
        changes.append(
            vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
        )
    return vim.vm.ConfigSpec(
        name=name,
        guestId="otherGuest64",
        numCPUs=1,
        memoryMB=512,
        files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
        deviceChange=changes,
    )
