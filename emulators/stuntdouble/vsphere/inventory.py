"""The inventory above the VMs: folders, a datacenter, a cluster of hosts, its resource pool, a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.vsphere.faults import not_supported
from stuntdouble.vsphere.objects import Entity, Managed, operation, prop
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session


class Folder(Entity):
    """A folder; ``children`` are asked for anew each time."""

    kind = vim.Folder

    def __init__(self, center: VirtualCenter, moid: str, name: str, over: Entity | None) -> None:
        super().__init__(center, moid)
        self.children: Callable[[], Iterator[Entity]] = lambda: iter(())
        self.child_kinds: list[str] = []
        self._name = name
        self._over = over

    def label(self) -> str:
        """Return the name."""
        return self._name

    def above(self) -> Entity | None:
        """Return the folder or datacenter that this one lies in."""
        return self._over

    def below(self) -> Iterator[Entity]:
        """Yield what lies in the folder."""
        return self.children()

    @prop
    def child_entity(self) -> list[Any]:
        return [each.ref for each in self.below()]

    @prop
    def child_type(self) -> list[str]:
        return list(self.child_kinds)

    @prop
    def namespace(self) -> None:
        return None

    @operation("CreateVM_Task")
    def create_vm(self, session: Session, config: Any, pool: Any, host: Any = None) -> Any:
        """Create a powered-off VM with the disks that its specification names."""
        if "VirtualMachine" not in self.child_kinds:
            raise vim.fault.InvalidFolder(target=self.ref)
        if host is not None:
            self.center.resolve(host)
        self.center.resolve_as(pool, ResourcePool, "pool")
        return self.center.roots.creation.create(self, session, config)

    @operation("RegisterVM_Task")
    def register_vm(
        self,
        session: Session,
        path: str,
        as_template: bool,
        name: str | None = None,
        pool: Any = None,
        host: Any = None,
    ) -> Any:
        """Register a VM found on a datastore."""
        if "VirtualMachine" not in self.child_kinds:
            raise vim.fault.InvalidFolder(target=self.ref)
        if as_template:
            raise not_supported("registering a template")
        if pool is not None:
            self.center.resolve_as(pool, ResourcePool, "pool")
        if host is not None:
            self.center.resolve(host)
        return self.center.roots.creation.register(self, session, path, name)


class Datacenter(Entity):
    """The datacenter, with a folder for each sort of thing."""

    kind = vim.Datacenter
    unset = frozenset({"configuration"})

    def __init__(self, center: VirtualCenter, moid: str, name: str, over: Folder) -> None:
        super().__init__(center, moid)
        self.folders: dict[str, Folder] = {}
        self._name = name
        self._over = over

    def label(self) -> str:
        """Return the name."""
        return self._name

    def above(self) -> Entity:
        """Return the root folder."""
        return self._over

    def below(self) -> Iterator[Entity]:
        """Yield the four folders."""
        return iter(self.folders.values())

    @prop
    def vm_folder(self) -> Any:
        return self.folders["vm"].ref

    @prop
    def host_folder(self) -> Any:
        return self.folders["host"].ref

    @prop
    def datastore_folder(self) -> Any:
        return self.folders["datastore"].ref

    @prop
    def network_folder(self) -> Any:
        return self.folders["network"].ref

    @prop
    def datastore(self) -> list[Any]:
        return [each.ref for each in self.center.roots.datastores()]

    @prop
    def network(self) -> list[Any]:
        return [self.center.roots.network.ref]


class Cluster(Entity):
    """The cluster of all hosts."""

    kind = vim.ClusterComputeResource
    unset = frozenset({"actionHistory", "drsFault", "drsRecommendation", "recommendation"})
    unset |= {"migrationHistory", "summaryEx", "hciConfig"}

    def __init__(self, center: VirtualCenter, moid: str, name: str, over: Folder) -> None:
        super().__init__(center, moid)
        self._name = name
        self._over = over

    def label(self) -> str:
        """Return the name."""
        return self._name

    def above(self) -> Entity:
        """Return the folder of hosts."""
        return self._over

    def below(self) -> Iterator[Entity]:
        """Yield the hosts, then the resource pool."""
        yield from self.center.roots.hosts()
        yield self.center.roots.pool

    @prop
    def host(self) -> list[Any]:
        return [each.ref for each in self.center.roots.hosts()]

    @prop
    def resource_pool(self) -> Any:
        return self.center.roots.pool.ref

    @prop
    def datastore(self) -> list[Any]:
        return [each.ref for each in self.center.roots.datastores()]

    @prop
    def network(self) -> list[Any]:
        return [self.center.roots.network.ref]

    @prop
    def environment_browser(self) -> Any:
        return self.center.roots.environment.ref

    @prop
    def configuration(self) -> Any:
        das = new(vim.cluster.DasConfigInfo, enabled=False)
        drs = new(vim.cluster.DrsConfigInfo, enabled=False)
        return new(vim.cluster.ConfigInfo, dasConfig=das, drsConfig=drs)

    @prop
    def configuration_ex(self) -> Any:
        das = new(vim.cluster.DasConfigInfo, enabled=False)
        drs = new(vim.cluster.DrsConfigInfo, enabled=False)
        return new(vim.cluster.ConfigInfoEx, dasConfig=das, drsConfig=drs)

    @prop
    def summary(self) -> Any:
        hosts = [host.hardware_summary for host in self.center.roots.hosts()]
        return new(
            vim.ClusterComputeResource.Summary,
            totalCpu=sum(h.cpuMhz * h.numCpuCores for h in hosts),
            totalMemory=sum(h.memorySize for h in hosts),
            numCpuCores=sum(h.numCpuCores for h in hosts),
            numCpuThreads=sum(h.numCpuThreads for h in hosts),
            effectiveCpu=sum(h.cpuMhz * h.numCpuCores for h in hosts),
            effectiveMemory=sum(h.memorySize for h in hosts) >> 20,
            numHosts=len(hosts),
            numEffectiveHosts=sum(h.up for h in self.center.hypervisor.hosts.values()),
            overallStatus="green",
        )


class ResourcePool(Entity):
    """The cluster's root resource pool, which every VM is in."""

    kind = vim.ResourcePool
    unset = frozenset({"resourcePool", "childConfiguration", "namespace"})

    def __init__(self, center: VirtualCenter, moid: str, over: Cluster) -> None:
        super().__init__(center, moid)
        self._over = over

    def label(self) -> str:
        """Return the name that every root resource pool has."""
        return "Resources"

    def above(self) -> Entity:
        """Return the cluster."""
        return self._over

    @prop
    def owner(self) -> Any:
        return self._over.ref

    @prop
    def vm(self) -> list[Any]:
        return [each.ref for each in self.center.roots.vms()]

    @prop
    def runtime(self) -> Any:
        usage = new(vim.ResourcePool.ResourceUsage)
        return new(
            vim.ResourcePool.RuntimeInfo,
            memory=usage,
            cpu=usage,
            overallStatus="green",
            sharesScalable=None,
        )

    @prop
    def config(self) -> Any:
        return new(vim.ResourceConfigSpec, entity=self.ref)

    @prop
    def summary(self) -> Any:
        return new(
            vim.ResourcePool.Summary, name="Resources", config=self.config(), runtime=self.runtime()
        )


class Network(Entity):
    """The one network, which every VM has a card on."""

    kind = vim.Network

    def __init__(self, center: VirtualCenter, moid: str, name: str, over: Folder) -> None:
        super().__init__(center, moid)
        self._name = name
        self._over = over

    def label(self) -> str:
        """Return the name."""
        return self._name

    def above(self) -> Entity:
        """Return the folder of networks."""
        return self._over

    @prop
    def host(self) -> list[Any]:
        return [each.ref for each in self.center.roots.hosts()]

    @prop
    def vm(self) -> list[Any]:
        return [each.ref for each in self.center.roots.vms()]

    @prop
    def summary(self) -> Any:
        return new(
            vim.Network.Summary, network=self.ref, name=self._name, accessible=True, ipPoolName=""
        )


class EnvironmentBrowser(Managed):
    """``vim.EnvironmentBrowser``: what could be configured, of which nothing is emulated."""

    kind = vim.EnvironmentBrowser
    unset = frozenset({"datastoreBrowser"})
