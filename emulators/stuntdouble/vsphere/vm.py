"""A virtual machine as clients see it: its properties.  What they can do with it: ``machine``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.units import MIB
from stuntdouble.vsphere import hardware, layout
from stuntdouble.vsphere.late import LateProperties
from stuntdouble.vsphere.machine import MachineOperations
from stuntdouble.vsphere.objects import Entity, prop
from stuntdouble.vsphere.snapshots import VmSnapshot
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from collections.abc import Hashable

    from stuntdouble.hypervisor import Snapshot, Vm
    from stuntdouble.vsphere.center import VirtualCenter

GUEST_ID: Final = "otherGuest64"
GUEST_NAME: Final = "Other (64-bit)"
PROCESSORS: Final = 2
MEMORY_BYTES: Final = 4096 * MIB
"""Processors and memory are not emulated; these are shown.  Chosen."""

_CONFIG: Final = frozenset({"config", "datastore", "network", "capability"})


class VirtualMachine(MachineOperations, Entity):
    """``vim.VirtualMachine`` over a VM of the hypervisor."""

    kind = vim.VirtualMachine
    unset = frozenset({"parentVApp", "resourceConfig", "layout"})

    def __init__(self, center: VirtualCenter, moid: str, vm: Vm) -> None:
        super().__init__(center, moid)
        self.vm = vm
        self.bios_uuid = vm.uuid  # of the descriptor: it stays when the VM is registered anew
        self.instance_uuid = center.uuid("instance", vm.uuid)
        self.late = LateProperties(self)

    def show(self, name: str) -> Any:
        """Return a property, which may be that of before the latest task."""
        return self.late.values[name] if name in self.late.values else super().show(name)

    def alive(self) -> bool:
        """Say whether the VM is in the inventory."""
        return self.center.hypervisor.vms.get(self.vm.name) is self.vm

    def label(self) -> str:
        """Return the VM's name."""
        return self.vm.name

    def above(self) -> Entity:
        """Return the folder of VMs."""
        return self.center.roots.datacenter.folders["vm"]

    def stamp(self, name: str) -> Hashable | None:
        """Return what the configuration depends on: files, tracking, snapshots, power."""
        if name not in _CONFIG or self.late.values:
            return None
        vm = self.vm
        return (
            vm.tracking,
            vm.powered_on,
            tuple(snapshot.id for snapshot in vm.snapshots),
            tuple(
                (
                    disk.spec.capacity_bytes,
                    disk.tracker.change_id,
                    tuple(level.file.name for level in disk.chain.levels),
                )
                for disk in vm.disks.values()
            ),
            tuple(disk.datastore.name for disk in vm.disks.values()),
        )

    # What it is. -----------------------------------------------------------------------------

    @property
    def home(self) -> str:
        """The datastore of its configuration: that of its first disk."""
        disks = self.vm.disks.values()
        return next((disk.datastore.name for disk in disks), "")

    @property
    def vmx_path(self) -> str:
        """The path of its configuration file."""
        first = next(iter(self.vm.disks.values()), None)
        folder = first.folder if first is not None else self.vm.name
        return f"[{self.home}] {folder}/{folder}.vmx"

    @property
    def host_name(self) -> str:
        """The name of the guest in its network."""
        return self.vm.name.replace(" ", "-").lower()

    @prop
    def config(self) -> Any:
        return self.configuration(hardware.devices(self.center, self.vm), self.vm.tracking)

    def configuration(self, devices: list[Any], tracking: bool) -> Any:
        """Return a configuration around *devices*."""
        vm, folder = self.vm, self.vmx_path.rpartition("/")[0] + "/"
        return new(
            vim.vm.ConfigInfo,
            changeVersion=self._change_version(),
            modified=self.center.setting.epoch,
            name=vm.name,
            guestFullName=GUEST_NAME,
            guestId=GUEST_ID,
            alternateGuestName="",
            version=f"vmx-{vm.hardware_version:02d}",
            uuid=self.bios_uuid,
            instanceUuid=self.instance_uuid,
            template=False,
            annotation="",
            files=new(
                vim.vm.FileInfo,
                vmPathName=self.vmx_path,
                snapshotDirectory=folder,
                suspendDirectory=folder,
                logDirectory=folder,
            ),
            tools=new(vim.vm.ToolsConfigInfo, toolsVersion=12389),
            hardware=new(
                vim.vm.VirtualHardware,
                numCPU=PROCESSORS,
                numCoresPerSocket=1,
                memoryMB=MEMORY_BYTES // MIB,
                virtualICH7MPresent=False,
                virtualSMCPresent=False,
                device=devices,
            ),
            extraConfig=[
                new(vim.option.OptionValue, key="ctkEnabled", value=str(tracking).upper())
            ],
            datastoreUrl=[
                new(vim.vm.ConfigInfo.DatastoreUrlPair, name=store.label(), url=store.url)
                for store in self._stores()
            ],
            changeTrackingEnabled=tracking,
            firmware="bios",
        )

    def _change_version(self) -> str:
        return self.center.setting.epoch.isoformat()

    @prop
    def capability(self) -> Any:
        return new(
            vim.vm.Capability,
            snapshotOperationsSupported=True,
            multipleSnapshotsSupported=True,
            snapshotConfigSupported=True,
            poweredOffSnapshotsSupported=True,
            revertToSnapshotSupported=True,
            quiescedSnapshotsSupported=True,
            changeTrackingSupported=True,
            seSparseDiskSupported=True,
        )

    @prop
    def datastore(self) -> list[Any]:
        return [store.ref for store in self._stores()]

    def _stores(self) -> list[Any]:
        names = dict.fromkeys(disk.datastore.name for disk in self.vm.disks.values())
        found = (self.center.roots.datastore(name) for name in names)
        return [store for store in found if store is not None]

    @prop
    def network(self) -> list[Any]:
        return [self.center.roots.network.ref]

    @prop
    def resource_pool(self) -> Any:
        return self.center.roots.pool.ref

    @prop
    def environment_browser(self) -> Any:
        return self.center.roots.environment.ref

    # How it is. ------------------------------------------------------------------------------

    @prop
    def runtime(self) -> Any:
        vm = self.vm
        return new(
            vim.vm.RuntimeInfo,
            host=self.center.roots.host_of(vm).ref,
            connectionState=self._connection(),
            powerState="poweredOn" if vm.powered_on else "poweredOff",
            toolsInstallerMounted=False,
            question=self._question(),
            consolidationNeeded=vm.consolidation_needed,
            bootTime=self.center.when(vm.booted_at) if vm.powered_on else None,
            maxCpuUsage=PROCESSORS * 2000,
            maxMemoryUsage=MEMORY_BYTES // MIB,
            paused=bool(vm.question),
            snapshotInBackground=False,
        )

    def _connection(self) -> str:
        if not self.vm.server.up:
            return "disconnected"
        return "connected" if self._reachable() else "inaccessible"

    def _reachable(self) -> bool:
        return all(store.reachable for store in self._stores())

    def _question(self) -> Any:
        if not self.vm.question:
            return None
        choices = [
            new(vim.ElementDescription, key="0", label="Retry", summary="Retry"),
            new(vim.ElementDescription, key="1", label="Cancel", summary="Cancel"),
        ]
        return new(
            vim.vm.QuestionInfo,
            id=self.question_id,
            text=f"msg.hbacommon.outofspace: {self.vm.question}",
            choice=new(vim.option.ChoiceOption, choiceInfo=choices, defaultIndex=0),
            message=[new(vim.vm.Message, id="msg.hbacommon.outofspace", text=self.vm.question)],
        )

    @prop
    def guest(self) -> Any:
        tools = self.vm.quiesce.tools
        return new(
            vim.vm.GuestInfo,
            toolsStatus="toolsOk" if tools else "toolsNotInstalled",
            toolsRunningStatus="guestToolsRunning" if self._runs_tools else "guestToolsNotRunning",
            toolsVersionStatus2="guestToolsCurrent" if tools else "guestToolsNotInstalled",
            guestId=GUEST_ID,
            guestFullName=GUEST_NAME,
            hostName=self.host_name if self._runs_tools else None,
            guestState="running" if self.vm.powered_on else "notRunning",
            guestOperationsReady=False,
        )

    @property
    def _runs_tools(self) -> bool:
        return self.vm.quiesce.tools and self.vm.powered_on

    @prop
    def guest_heartbeat_status(self) -> str:
        return "green" if self._runs_tools and not self.vm.question else "gray"

    @prop
    def summary(self) -> Any:
        vm, config = self.vm, self.center.property_of(self, "config")
        usage = layout.usage(self.center, vm)
        return new(
            vim.vm.Summary,
            vm=self.ref,
            runtime=self.runtime(),
            guest=new(
                vim.vm.Summary.GuestSummary,
                guestId=GUEST_ID,
                guestFullName=GUEST_NAME,
                toolsStatus="toolsOk" if vm.quiesce.tools else "toolsNotInstalled",
                hostName=self.host_name if self._runs_tools else None,
            ),
            config=new(
                vim.vm.Summary.ConfigSummary,
                name=vm.name,
                template=False,
                vmPathName=self.vmx_path,
                memorySizeMB=MEMORY_BYTES // MIB,
                numCpu=PROCESSORS,
                numEthernetCards=1,
                numVirtualDisks=len(vm.disks),
                uuid=config.uuid,
                instanceUuid=config.instanceUuid,
                guestId=GUEST_ID,
                guestFullName=GUEST_NAME,
                annotation="",
                hwVersion=config.version,
            ),
            storage=new(
                vim.vm.Summary.StorageSummary,
                committed=sum(each.committed for each in usage),
                uncommitted=sum(each.uncommitted for each in usage),
                unshared=sum(each.unshared for each in usage),
                timestamp=self.center.now(),
            ),
            quickStats=new(
                vim.vm.Summary.QuickStats, guestHeartbeatStatus=self.guest_heartbeat_status()
            ),
            overallStatus=self.overall_status(),
        )

    @prop
    def storage(self) -> Any:
        return new(
            vim.vm.StorageInfo,
            perDatastoreUsage=layout.usage(self.center, self.vm),
            timestamp=self.center.now(),
        )

    @prop
    def layout_ex(self) -> Any:
        return layout.layout_ex(self)

    # Snapshots. ------------------------------------------------------------------------------

    def snapshot_object(self, snapshot: Snapshot) -> VmSnapshot:
        """Return the object that stands for a snapshot of this VM."""
        made = self.center.of(snapshot, VmSnapshot, "snapshot", snapshot.id)
        made.machine = self
        return made

    def enroll_snapshots(self) -> None:
        """See to it that every snapshot has its name."""
        for snapshot in self.vm.snapshots:
            self.snapshot_object(snapshot)

    @prop
    def snapshot(self) -> Any:
        vm = self.vm
        if not vm.snapshots:
            return None
        current = self.snapshot_object(vm.current).ref if vm.current else None
        return new(vim.vm.SnapshotInfo, currentSnapshot=current, rootSnapshotList=self._tree(None))

    def _tree(self, parent: Snapshot | None) -> list[Any]:
        return [
            self.snapshot_object(each).node(self._tree(each))
            for each in self.vm.snapshots
            if each.parent is parent
        ]

    @prop
    def root_snapshot(self) -> list[Any]:
        return [self.snapshot_object(s).ref for s in self.vm.snapshots if s.parent is None]
