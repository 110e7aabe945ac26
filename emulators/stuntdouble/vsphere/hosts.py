"""Hosts as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.units import GIB
from stuntdouble.vsphere.objects import Entity, prop
from stuntdouble.vsphere.storage import HostDatastoreSystem, HostStorageSystem
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from stuntdouble.vsphere.center import VirtualCenter

CORES: Final = 32
CLOCK_MHZ: Final = 2000
MEMORY_BYTES: Final = 256 * GIB
"""Processors and memory of a host are not emulated; these are shown.  Chosen."""


class HostSystem(Entity):
    """``vim.HostSystem``."""

    kind = vim.HostSystem
    unset = frozenset({"licensableResource", "complianceCheckResult", "precheckRemediationResult"})

    def __init__(self, center: VirtualCenter, moid: str, thing: tuple[str, str]) -> None:
        super().__init__(center, moid)
        self._name = thing[1]
        self.uuid = center.uuid("host", self._name)
        number = moid.rpartition("-")[2]
        self.storage = center.add(HostStorageSystem(center, f"storageSystem-{number}", self))
        self.stores = center.add(HostDatastoreSystem(center, f"datastoreSystem-{number}", self))

    def label(self) -> str:
        """Return the name."""
        return self._name

    def above(self) -> Entity:
        """Return the cluster."""
        return self.center.roots.cluster

    @property
    def up(self) -> bool:
        """Whether it has not failed."""
        return self.center.hypervisor.hosts[self._name].up

    @property
    def hardware_summary(self) -> Any:
        """What the host is made of."""
        return new(
            vim.host.Summary.HardwareSummary,
            vendor="stuntdouble",
            model="emulated",
            uuid=self.uuid,
            memorySize=MEMORY_BYTES,
            cpuModel="emulated",
            cpuMhz=CLOCK_MHZ,
            numCpuPkgs=2,
            numCpuCores=CORES,
            numCpuThreads=CORES,
            numNics=1,
            numHBAs=1,
        )

    @prop
    def runtime(self) -> Any:
        return new(
            vim.host.RuntimeInfo,
            connectionState="connected" if self.up else "notResponding",
            powerState="poweredOn" if self.up else "unknown",
            inMaintenanceMode=False,
            bootTime=self.center.setting.epoch,
        )

    @prop
    def summary(self) -> Any:
        return new(
            vim.host.Summary,
            host=self.ref,
            hardware=self.hardware_summary,
            runtime=self.runtime(),
            config=new(
                vim.host.Summary.ConfigSummary,
                name=self._name,
                port=443,
                product=self.center.roots.about_info(),
                vmotionEnabled=False,
            ),
            quickStats=vim.host.Summary.QuickStats(),
            overallStatus=self.overall_status(),
            rebootRequired=False,
        )

    @prop
    def config_manager(self) -> Any:
        return new(
            vim.host.ConfigManager,
            storageSystem=self.storage.ref,
            datastoreSystem=self.stores.ref,
        )

    @prop
    def config(self) -> Any:
        return new(
            vim.host.ConfigInfo,
            host=self.ref,
            product=self.center.roots.about_info(),
            storageDevice=self.storage.storage_device_info(),
            fileSystemVolume=self.storage.file_system_volume_info(),
        )

    @prop
    def vm(self) -> list[Any]:
        roots = self.center.roots
        return [vm.ref for vm in roots.vms() if roots.host_of(vm.vm) is self]

    @prop
    def datastore(self) -> list[Any]:
        return [each.ref for each in self.center.roots.datastores()]

    @prop
    def network(self) -> list[Any]:
        return [self.center.roots.network.ref]

    @prop
    def datastore_browser(self) -> Any:
        return self.center.roots.browser_of_host(self).ref
