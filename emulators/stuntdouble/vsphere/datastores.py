"""Datastores as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Lost
from stuntdouble.units import MIB
from stuntdouble.vsphere.objects import Entity, operation, prop
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from stuntdouble.hypervisor import Datastore as EmulatedDatastore
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

VMFS_VERSION: Final = "6.82"
"""A minor version of VMFS 6 as vSphere 7 and 8 show it.  Nothing depends on it."""
FILE_BYTES_MAX: Final = 64 << 40
"""A file on VMFS has 64 TB at most; a virtual disk 62 TB (vSphere configuration maximums)."""


class Datastore(Entity):
    """``vim.Datastore`` over a datastore of the hypervisor."""

    kind = vim.Datastore
    unset = frozenset({"iormConfiguration"})

    def __init__(self, center: VirtualCenter, moid: str, store: EmulatedDatastore) -> None:
        super().__init__(center, moid)
        self.store = store

    def alive(self) -> bool:
        """Say whether it is mounted."""
        return self.center.hypervisor.datastores.get(self.store.name) is self.store

    def label(self) -> str:
        """Return the name."""
        return self.store.name

    def above(self) -> Entity:
        """Return the folder of datastores."""
        return self.center.roots.datacenter.folders["datastore"]

    @property
    def uuid(self) -> str:
        """The identifier of the VMFS volume."""
        return self.store.uuid

    @property
    def url(self) -> str:
        """Where hosts find it."""
        return f"ds:///vmfs/volumes/{self.uuid}/"

    @property
    def reachable(self) -> bool:
        """Whether every LUN below is there."""
        try:
            self.store.check_reachable()
        except Lost:
            return False
        return True

    @prop
    def summary(self) -> Any:
        return new(
            vim.Datastore.Summary,
            datastore=self.ref,
            name=self.label(),
            url=self.url,
            capacity=self.store.capacity_bytes,
            freeSpace=self.store.free_bytes,
            uncommitted=None,
            accessible=self.reachable,
            multipleHostAccess=len(list(self.center.roots.hosts())) > 1,
            type="VMFS",
            maintenanceMode="normal",
        )

    @prop
    def info(self) -> Any:
        return new(
            vim.host.VmfsDatastoreInfo,
            name=self.label(),
            url=self.url,
            freeSpace=self.store.free_bytes,
            maxFileSize=FILE_BYTES_MAX,
            maxVirtualDiskCapacity=62 << 40,
            timestamp=self.center.now(),
            vmfs=self.volume(),
        )

    def volume(self) -> Any:
        """Return the VMFS volume: its extents are the LUNs below, in their order."""
        return new(
            vim.host.VmfsVolume,
            type="VMFS",
            name=self.label(),
            capacity=self.store.capacity_bytes,
            blockSizeMb=max(self.store.fs_block_bytes // MIB, 1),
            maxBlocks=63 << 20,
            majorVersion=6,
            version=VMFS_VERSION,
            uuid=self.uuid,
            extent=[
                new(vim.host.ScsiDisk.Partition, diskName=f"naa.{naa}", partition=1)
                for naa in self.store.naas
            ],
            vmfsUpgradable=False,
            ssd=False,
            local=False,
        )

    @prop
    def host(self) -> list[Any]:
        info = new(
            vim.host.MountInfo,
            path=f"/vmfs/volumes/{self.uuid}",
            accessMode="readWrite",
            mounted=True,
            accessible=self.reachable,
        )
        hosts = self.center.roots.hosts()
        return [new(vim.Datastore.HostMount, key=host.ref, mountInfo=info) for host in hosts]

    @prop
    def vm(self) -> list[Any]:
        return [
            vm.ref
            for vm in self.center.roots.vms()
            if any(disk.datastore is self.store for disk in vm.vm.disks.values())
        ]

    @prop
    def browser(self) -> Any:
        return self.center.roots.browser_of(self).ref

    @prop
    def capability(self) -> Any:
        return new(
            vim.Datastore.Capability,
            directoryHierarchySupported=True,
            rawDiskMappingsSupported=True,
            perFileThinProvisioningSupported=True,
            storageIORMSupported=False,
            nativeSnapshotSupported=False,
            seSparseSupported=True,
            vmfsSparseSupported=True,
            topLevelDirectoryCreateSupported=True,
        )

    @operation("RefreshDatastore")
    def refresh(self, session: Session) -> None:
        """Read capacity and free space again, which is done whenever they are asked for."""
        del session

    @operation("RefreshDatastoreStorageInfo")
    def refresh_storage_info(self, session: Session) -> None:
        """Read usage again, which is done whenever it is asked for."""
        del session
