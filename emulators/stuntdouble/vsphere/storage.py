"""What a host sees of arrays, and what it does with the file systems that it finds there.

    array maps a copy ─▶ RescanAllHba ─▶ QueryUnresolvedVmfsVolume ─▶ Resignature… ─▶ a datastore

The hosts of a cluster see the same LUNs here, because masking does not tell them apart; each has an
adapter and one path to each LUN, since neither is emulated any further.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Error
from stuntdouble.units import MIB, SECTOR_BYTES
from stuntdouble.vsphere.faults import fault_of, invalid_argument
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.vmomi import new, vim, vmodl

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from simpy.events import Event

    from stuntdouble.hypervisor import Datastore as EmulatedDatastore
    from stuntdouble.hypervisor import Device, UnresolvedVolume, Volume
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.hosts import HostSystem
    from stuntdouble.vsphere.sessions import Session

ADAPTER: Final = "vmhba0"
PARTITION: Final = 1
"""A VMFS extent is the first partition of its LUN, as vSphere lays it out."""
DEVICES: Final = "/vmfs/devices/disks/"
VMFS_VERSION: Final = "6.82"
"""A minor version of VMFS 6 as vSphere 7 and 8 show it.  Nothing depends on it."""

_DEVICE_PATH: Final = re.compile(rf"{DEVICES}naa\.([^:/]+)(?::{PARTITION})?")


def disk_name(naa: str) -> str:
    """Return the canonical name of a LUN."""
    return f"naa.{naa}"


def extent_path(naa: str) -> str:
    """Return the path of an extent: of the partition on a LUN."""
    return f"{DEVICES}{disk_name(naa)}:{PARTITION}"


def naas_at(paths: Iterable[str], argument: str) -> tuple[str, ...]:
    """Return the LUNs that device paths name.

    Raises:
        vmodl.fault.InvalidArgument: there is none, or one is no path of a device.
    """
    found = []
    for path in paths:
        match = _DEVICE_PATH.fullmatch(path)
        if match is None:
            raise invalid_argument(argument, f"{path!r} is no path such as {extent_path('…')}")
        found.append(match[1])
    if not found:
        raise invalid_argument(argument, "it is empty")
    return tuple(found)


def vmfs(volume: Volume) -> Any:
    """Return a file system: its extents are LUNs, in their order."""
    return new(
        vim.host.VmfsVolume,
        type="VMFS",
        name=volume.name,
        capacity=volume.capacity_bytes,
        blockSizeMb=1,
        blockSize=1024,
        maxBlocks=63 << 20,
        majorVersion=6,
        version=VMFS_VERSION,
        uuid=volume.uuid,
        extent=[_partition(naa) for naa in volume.naas],
        vmfsUpgradable=False,
        ssd=False,
        local=False,
    )


def _partition(naa: str) -> Any:
    return new(vim.host.ScsiDisk.Partition, diskName=disk_name(naa), partition=PARTITION)


def device_info(devices: Iterable[Device]) -> Any:
    """Return the adapter, the LUNs behind it, and how they hang together."""
    there = list(devices)
    adapter = new(
        vim.host.HostBusAdapter,
        key=f"key-vim.host.HostBusAdapter-{ADAPTER}",
        device=ADAPTER,
        bus=0,
        status="online",
        model="emulated",
    )
    topology = new(
        vim.host.ScsiTopology.Interface,
        key=f"key-vim.host.ScsiTopology.Interface-{ADAPTER}",
        adapter=adapter.key,
        target=[
            new(
                vim.host.ScsiTopology.Target,
                key=f"key-vim.host.ScsiTopology.Target-{ADAPTER}:0:0",
                target=0,
                lun=[
                    new(
                        vim.host.ScsiTopology.Lun,
                        key=f"key-vim.host.ScsiTopology.Lun-{each.naa}",
                        lun=number,
                        scsiLun=_key(each),
                    )
                    for number, each in enumerate(there)
                ],
            )
        ],
    )
    return new(
        vim.host.StorageDeviceInfo,
        hostBusAdapter=[adapter],
        scsiLun=[_disk(each) for each in there],
        scsiTopology=new(vim.host.ScsiTopology, adapter=[topology]),
        multipathInfo=new(
            vim.host.MultipathInfo,
            lun=[_paths(number, each, adapter.key) for number, each in enumerate(there)],
        ),
        softwareInternetScsiEnabled=False,
    )


def _key(device: Device) -> str:
    return f"key-vim.host.ScsiDisk-{device.naa}"


def _disk(device: Device) -> Any:
    name = disk_name(device.naa)
    sectors = device.size_bytes // SECTOR_BYTES
    return new(
        vim.host.ScsiDisk,
        deviceName=DEVICES + name,
        deviceType="disk",
        key=_key(device),
        uuid=device.naa,
        canonicalName=name,
        displayName=f"Emulated disk ({name})",
        lunType="disk",
        vendor="stuntdouble",
        model="emulated",
        operationalState=["ok" if device.state == "ok" else "lostCommunication"],
        capacity=new(vim.host.DiskDimensions.Lba, blockSize=SECTOR_BYTES, block=sectors),
        devicePath=DEVICES + name,
        ssd=False,
        localDisk=False,
    )


def _paths(number: int, device: Device, adapter: str) -> Any:
    name = f"{ADAPTER}:C0:T0:L{number}"
    state = "active" if device.state == "ok" else "dead"
    key = f"key-vim.host.MultipathInfo.LogicalUnit-{device.naa}"
    path = new(
        vim.host.MultipathInfo.Path,
        key=f"key-vim.host.MultipathInfo.Path-{name}",
        name=name,
        pathState=state,
        state=state,
        isWorkingPath=device.state == "ok",
        adapter=adapter,
        lun=key,
    )
    policy = new(vim.host.MultipathInfo.FixedLogicalUnitPolicy, policy="VMW_PSP_FIXED", prefer=name)
    return new(
        vim.host.MultipathInfo.LogicalUnit,
        key=key,
        id=device.naa,
        lun=_key(device),
        path=[path],
        policy=policy,
    )


def unresolved(volume: UnresolvedVolume) -> Any:
    """Return a copy of a file system that waits to be resignatured."""
    starts: dict[int, int] = {}
    at = 0
    for extent in volume.extents:  # of each ordinal there may be several copies
        if extent.ordinal not in starts:
            starts[extent.ordinal] = at
            at += extent.size_bytes // MIB
    return new(
        vim.host.UnresolvedVmfsVolume,
        extent=[
            new(
                vim.host.UnresolvedVmfsExtent,
                device=_partition(extent.naa),
                devicePath=extent_path(extent.naa),
                vmfsUuid=volume.uuid,
                isHeadExtent=extent.ordinal == 0,
                ordinal=extent.ordinal,
                startBlock=starts[extent.ordinal],
                endBlock=starts[extent.ordinal] + extent.size_bytes // MIB - 1,
                reason="diskIdMismatch",
            )
            for extent in volume.extents
        ],
        vmfsLabel=volume.label,
        vmfsUuid=volume.uuid,
        totalBlocks=at,
        resolveStatus=new(
            vim.host.UnresolvedVmfsVolume.ResolveStatus,
            resolvable=volume.resolvable,
            incompleteExtents=volume.incomplete_extents,
            multipleCopies=volume.multiple_copies,
        ),
    )


class _OfHost(Managed):
    """A manager of one host."""

    def __init__(self, center: VirtualCenter, moid: str, host: HostSystem) -> None:
        super().__init__(center, moid)
        self.on = host

    @property
    def seen(self) -> Any:
        """What the host sees, and does about it."""
        return self.center.hypervisor.storage

    def resignature(self, paths: list[str], argument: str) -> Generator[Event, Any, Any]:
        """Resignature and mount the copy on devices; return its datastore, as clients see it."""
        naas = naas_at(paths, argument)
        made: EmulatedDatastore = yield from self.seen.resignature(naas)
        self.changed()
        return self.center.roots.datastore(made.name)

    def changed(self) -> None:
        """Let who waits hear that the host sees something else now."""
        self.center.changes.touch(self)
        self.center.changes.touch(self.on)


class HostStorageSystem(_OfHost):
    """``vim.host.StorageSystem``."""

    kind = vim.host.StorageSystem
    unset = frozenset({"systemFile", "value", "availableField"})

    @prop
    def storage_device_info(self) -> Any:
        return device_info(self.seen.devices())

    @prop
    def file_system_volume_info(self) -> Any:
        return new(
            vim.host.FileSystemVolumeInfo,
            volumeTypeList=["VMFS"],
            mountInfo=[self._mount(volume) for volume in self.seen.volumes()],
        )

    def _mount(self, volume: Volume) -> Any:
        dead = {device.naa for device in self.seen.devices() if device.state != "ok"}
        there = volume.mounted and dead.isdisjoint(volume.naas)
        info = new(
            vim.host.MountInfo,
            path=f"/vmfs/volumes/{volume.uuid}",
            accessMode="readWrite",
            mounted=volume.mounted,
            accessible=there,
        )
        return new(vim.host.FileSystemMountInfo, mountInfo=info, volume=vmfs(volume))

    @prop
    def multipath_state_info(self) -> Any:
        paths = [p for lun in self.storage_device_info().multipathInfo.lun for p in lun.path]
        one = vim.host.MultipathStateInfo.Path
        return new(
            vim.host.MultipathStateInfo,
            path=[new(one, name=p.name, pathState=p.pathState) for p in paths],
        )

    # Looking. --------------------------------------------------------------------------------

    @operation("RescanAllHba")
    def rescan_all(self, session: Session) -> Generator[Event, Any, None]:
        """Look which LUNs are mapped to the host; return when that is done."""
        del session
        return self._rescan()

    @operation("RescanHba")
    def rescan_one(self, session: Session, hba_device: str) -> Generator[Event, Any, None]:
        del session
        if hba_device != ADAPTER:
            raise vim.fault.NotFound(msg=f"There is no adapter {hba_device}, only {ADAPTER}.")
        return self._rescan()

    @operation("RescanVmfs")
    def rescan_vmfs(self, session: Session) -> Generator[Event, Any, None]:
        """Look which file systems lie on the LUNs that the host has seen; return at once.

        The time of a rescan is one parameter, and it is taken by the look at the adapters.
        """
        del session
        yield self.center.env.timeout(0)
        self.changed()

    def _rescan(self) -> Generator[Event, Any, None]:
        yield from self.seen.rescan(self.on.label())
        self.changed()

    @operation("RefreshStorageSystem")
    def refresh(self, session: Session) -> None:
        """Show the present state, as is done whenever it is asked for."""
        del session

    @operation("QueryUnresolvedVmfsVolume")
    def query_unresolved(self, session: Session) -> list[Any]:
        del session
        return [unresolved(volume) for volume in self.seen.unresolved()]

    # Mounting. -------------------------------------------------------------------------------

    @operation("ResolveMultipleUnresolvedVmfsVolumes")
    def resolve_all(
        self, session: Session, resolution_spec: list[Any]
    ) -> Generator[Event, Any, list[Any]]:
        """Resignature copies one after the other; say of each what came of it."""
        del session
        return self._resolve_all(resolution_spec)

    def _resolve_all(self, specs: list[Any]) -> Generator[Event, Any, list[Any]]:
        results = []
        for spec in specs:
            result = new(vim.host.UnresolvedVmfsResolutionResult, spec=spec)
            try:
                if spec.uuidResolution == "forceMount":
                    self.seen.force_mount(naas_at(spec.extentDevicePath, "extentDevicePath"))
                elif spec.uuidResolution != "resignature":
                    raise invalid_argument("uuidResolution")
                made = yield from self.resignature(spec.extentDevicePath, "extentDevicePath")
                result.vmfs = made.volume()
            except Error as error:
                result.fault = fault_of(error, self.center)
            except vmodl.MethodFault as fault:
                result.fault = fault
            results.append(result)
        return results

    @operation("MountVmfsVolume")
    def mount(self, session: Session, vmfs_uuid: str) -> Generator[Event, Any, None]:
        del session
        return self._mount_all([vmfs_uuid])

    @operation("UnmountVmfsVolume")
    def unmount(self, session: Session, vmfs_uuid: str) -> Generator[Event, Any, None]:
        del session
        return self._unmount_all([vmfs_uuid])

    @operation("MountVmfsVolumeEx_Task")
    def mount_all(self, session: Session, vmfs_uuid: list[str]) -> Any:
        del session
        model = self._mount_all(vmfs_uuid)
        return self.center.tasks.start(self.on, "MountVmfsVolumeEx_Task", model)

    @operation("UnmountVmfsVolumeEx_Task")
    def unmount_all(self, session: Session, vmfs_uuid: list[str]) -> Any:
        del session
        model = self._unmount_all(vmfs_uuid)
        return self.center.tasks.start(self.on, "UnmountVmfsVolumeEx_Task", model)

    def _mount_all(self, uuids: list[str]) -> Generator[Event, Any, None]:
        for uuid in uuids:
            yield from self.seen.mount_volume(uuid)
        self.changed()

    def _unmount_all(self, uuids: list[str]) -> Generator[Event, Any, None]:
        for uuid in uuids:
            volume = self._volume(uuid)
            if not volume.mounted:
                raise vim.fault.InvalidState(msg=f"{volume.name} is not mounted.")
            self._require_unused(volume.name)
            yield from self.seen.unmount_volume(volume.name)
        self.changed()

    def _volume(self, uuid: str) -> Volume:
        volumes: Iterable[Volume] = self.seen.volumes()
        for volume in volumes:
            if volume.uuid == uuid:
                return volume
        raise vim.fault.NotFound(msg=f"There is no file system {uuid}.")

    def _require_unused(self, name: str) -> None:
        store = self.center.roots.datastore(name)
        if store is not None and store.vm():
            raise vim.fault.ResourceInUse(
                type=vim.Datastore, name=name, msg=f"VMs are registered on {name}."
            )


class HostDatastoreSystem(_OfHost):
    """``vim.host.DatastoreSystem``."""

    kind = vim.host.DatastoreSystem

    @prop
    def datastore(self) -> list[Any]:
        return [each.ref for each in self.center.roots.datastores()]

    @prop
    def capabilities(self) -> Any:
        return new(
            vim.host.DatastoreSystem.Capabilities,
            nfsMountCreationRequired=False,
            nfsMountCreationSupported=False,
            localDatastoreSupported=False,
            vmfsExtentExpansionSupported=False,
        )

    @operation("QueryUnresolvedVmfsVolumes")
    def query_unresolved(self, session: Session) -> list[Any]:
        del session
        return [unresolved(volume) for volume in self.seen.unresolved()]

    @operation("ResignatureUnresolvedVmfsVolume_Task")
    def resignature_task(self, session: Session, resolution_spec: Any) -> Any:
        """Give a copy an identity of its own and mount it: the result is the new datastore."""
        del session
        paths = list(resolution_spec.extentDevicePath)
        naas_at(paths, "resolutionSpec.extentDevicePath")

        def told(made: Any) -> Any:
            rescan = new(vim.host.VmfsRescanResult, host=self.on.ref)
            return new(vim.host.ResignatureRescanResult, rescan=[rescan], result=made.ref)

        model = self.resignature(paths, "resolutionSpec.extentDevicePath")
        name = "ResignatureUnresolvedVmfsVolume_Task"
        return self.center.tasks.start(self.on, name, model, told)
