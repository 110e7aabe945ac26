"""The objects that are there from the start, and how emulated things are found among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.alarms import AlarmManager
from stuntdouble.vsphere.authorization import AuthorizationManager
from stuntdouble.vsphere.browser import DatastoreBrowser
from stuntdouble.vsphere.creation import Creation
from stuntdouble.vsphere.datafiles import FileManager, VirtualDiskManager
from stuntdouble.vsphere.datastores import Datastore
from stuntdouble.vsphere.events import EventManager
from stuntdouble.vsphere.extensions import ExtensionManager
from stuntdouble.vsphere.filters import FilteringCollector
from stuntdouble.vsphere.hosts import HostSystem
from stuntdouble.vsphere.inventory import (
    Cluster,
    Datacenter,
    EnvironmentBrowser,
    Folder,
    Network,
    ResourcePool,
)
from stuntdouble.vsphere.leases import Leases
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.options import OptionManager
from stuntdouble.vsphere.ovf import OvfManager
from stuntdouble.vsphere.performance import PerformanceManager
from stuntdouble.vsphere.search import SearchIndex
from stuntdouble.vsphere.sessions import SessionManager
from stuntdouble.vsphere.tasks import TaskManager
from stuntdouble.vsphere.versions import version_id
from stuntdouble.vsphere.views import ViewManager
from stuntdouble.vsphere.vm import VirtualMachine
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from stuntdouble.hypervisor import Vm
    from stuntdouble.trace.journal import Event
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

BUILD: Final = "0"  # no build of VMware's


class ServiceInstance(Managed):
    """``vim.ServiceInstance``: where every client begins."""

    kind = vim.ServiceInstance

    @prop
    def server_clock(self) -> datetime:
        return self.center.now()

    @prop
    def capability(self) -> Any:
        return vim.Capability(
            provisioningSupported=True,
            multiHostSupported=True,
            userShellAccessSupported=False,
            networkBackupAndRestoreSupported=False,
        )

    @prop
    def content(self) -> Any:
        return self.center.roots.content()

    @operation("RetrieveServiceContent")
    def retrieve_content(self, session: Session) -> Any:
        del session
        return self.center.roots.content()

    @operation("CurrentTime")
    def current_time(self, session: Session) -> datetime:
        del session
        return self.center.now()


class Roots:
    """The fixed objects of a vCenter."""

    def __init__(self, center: VirtualCenter) -> None:
        self._center = center
        add = center.add
        self.service = add(ServiceInstance(center, "ServiceInstance"))
        self.root_folder = add(Folder(center, "group-d1", "Datacenters", None))
        self.datacenter = add(Datacenter(center, "datacenter-2", "Datacenter", self.root_folder))
        for stem, name, kinds in (
            ("group-v3", "vm", ["Folder", "VirtualMachine", "VirtualApp"]),
            ("group-h4", "host", ["Folder", "ComputeResource"]),
            ("group-s5", "datastore", ["Folder", "Datastore", "StoragePod"]),
            ("group-n6", "network", ["Folder", "Network", "DistributedVirtualSwitch"]),
        ):
            made = add(Folder(center, stem, name, self.datacenter))
            made.child_kinds = kinds
            self.datacenter.folders[name] = made
        folders = self.datacenter.folders
        self.cluster = add(Cluster(center, "domain-c7", "Cluster", folders["host"]))
        self.pool = add(ResourcePool(center, "resgroup-8", self.cluster))
        self.network = add(Network(center, "network-9", "VM Network", folders["network"]))
        self.environment = add(EnvironmentBrowser(center, "envbrowser-7"))
        self.root_folder.child_kinds = ["Folder", "Datacenter"]
        self.root_folder.children = lambda: iter((self.datacenter,))
        folders["vm"].children = self.vms
        folders["host"].children = lambda: iter((self.cluster,))
        folders["datastore"].children = self.datastores
        folders["network"].children = lambda: iter((self.network,))
        self.creation = Creation(center)
        self.collector = add(FilteringCollector(center, "propertyCollector"))
        self.session_manager = add(SessionManager(center, "SessionManager"))
        self.views = add(ViewManager(center, "ViewManager"))
        self.search = add(SearchIndex(center, "SearchIndex"))
        self.tasks = add(TaskManager(center, "TaskManager"))
        self.events = add(EventManager(center, "EventManager"))
        self.options = add(OptionManager(center, "VpxSettings"))
        self.authorization = add(AuthorizationManager(center, "AuthorizationManager"))
        self.extensions = add(ExtensionManager(center, "ExtensionManager"))
        self.alarms = add(AlarmManager(center, "AlarmManager"))
        self.performance = add(PerformanceManager(center, "PerfMgr"))
        self.leases = Leases(center)
        self.ovf = add(OvfManager(center, "OvfManager"))
        self.files = add(FileManager(center, "FileManager"))
        self.virtual_disks = add(VirtualDiskManager(center, "virtualDiskManager"))

    # Emulated things. --------------------------------------------------------------------------

    def vms(self) -> Iterator[VirtualMachine]:
        """Yield the VMs, in the order in which they came."""
        of = self._center.of
        return (of(vm, VirtualMachine, "vm") for vm in self._center.hypervisor.vms.values())

    def datastores(self) -> Iterator[Datastore]:
        """Yield the datastores, mounted copies included."""
        of = self._center.of
        stores = self._center.hypervisor.datastores.values()
        return (of(store, Datastore, "datastore") for store in stores)

    def hosts(self) -> Iterator[HostSystem]:
        """Yield the hosts."""
        of = self._center.of
        return (of(("host", name), HostSystem, "host") for name in self.host_names())

    def enroll(self) -> None:
        """See to it that every emulated thing has its name: those tell who came when."""
        for things in (self.hosts(), self.datastores(), self.vms()):
            for each in things:
                if isinstance(each, VirtualMachine):
                    each.enroll_snapshots()

    def host_names(self) -> tuple[str, ...]:
        """Return the names of the hosts."""
        return tuple(self._center.hypervisor.hosts)

    def host_of(self, vm: Vm) -> HostSystem:
        """Return the host that a VM is on."""
        return self._center.of(("host", vm.server.name), HostSystem, "host")

    def datastore_of(self, ref: Any) -> Datastore:
        """Return the datastore that an argument names."""
        return self._center.resolve_as(ref, Datastore, "datastore")

    def vm(self, name: str) -> VirtualMachine | None:
        """Return a VM by its name, None where there is none.

        Those before it get their numbers first, so that these tell who came when, not who asked.
        """
        found = self._center.hypervisor.vms.get(name)
        if found is None:
            return None
        if self._center.known(found) is None:
            self.enroll()
        return self._center.of(found, VirtualMachine, "vm")

    def datastore(self, name: str) -> Datastore | None:
        """Return a datastore by its name, None where there is none."""
        found = self._center.hypervisor.datastores.get(name)
        return self._center.of(found, Datastore, "datastore") if found else None

    def browser_of(self, store: Datastore) -> DatastoreBrowser:
        """Return the browser of a datastore."""
        return self._center.of(("browser", store.store), DatastoreBrowser, "datastoreBrowser")

    def browser_of_host(self, host: HostSystem) -> DatastoreBrowser:
        """Return the browser of all datastores that a host sees: each sees them all."""
        thing = ("browser", host.label())
        make = lambda center, moid, _thing: DatastoreBrowser(center, moid, ("", None))  # noqa: E731
        return self._center.of(thing, make, "datastoreBrowser")

    def about(self, event: Event) -> list[Managed]:
        """Return the objects that an event of the journal is about; with a host, its VMs."""
        if event.subject in self._center.hypervisor.hosts:
            host = self._center.of(("host", event.subject), HostSystem, "host")
            return [host, *(vm for vm in self.vms() if self.host_of(vm.vm) is host)]
        found = (self.vm(event.subject), self.datastore(event.subject))
        return [each for each in found if each is not None]

    # What a client is told first. --------------------------------------------------------------

    def about_info(self) -> Any:
        """Return what a client is told of the server."""
        version = version_id(self._center.setting.version)
        release = ".".join(version.split(".")[:3])
        return vim.AboutInfo(
            name="VMware vCenter Server",
            fullName=f"VMware vCenter Server {release} (emulated by stuntdouble)",
            vendor="stuntdouble",
            version=release,
            build=BUILD,
            localeVersion="INTL",
            localeBuild="000",
            osType="linux-x64",
            productLineId="vpx",
            apiType="VirtualCenter",
            apiVersion=version,
            instanceUuid=self._center.uuid("vcenter"),
            licenseProductName="none",
            licenseProductVersion=release.split(".")[0],
        )

    def content(self) -> Any:
        """Return the service's content: the managers that there are."""
        return vim.ServiceInstanceContent(
            rootFolder=self.root_folder.ref,
            propertyCollector=self.collector.ref,
            viewManager=self.views.ref,
            about=self.about_info(),
            sessionManager=self.session_manager.ref,
            searchIndex=self.search.ref,
            taskManager=self.tasks.ref,
            eventManager=self.events.ref,
            perfManager=self.performance.ref,
            alarmManager=self.alarms.ref,
            extensionManager=self.extensions.ref,
            setting=self.options.ref,
            authorizationManager=self.authorization.ref,
            fileManager=self.files.ref,
            ovfManager=self.ovf.ref,
            virtualDiskManager=self.virtual_disks.ref,
        )
