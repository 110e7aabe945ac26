"""The inventory: VMs, their disks and snapshots, as the port shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pyVmomi import vim, vmodl

from stuntdouble.adapters.vsphere.connection import same
from stuntdouble.ports import Consistency, DiskInfo, Provisioning, VmInfo, VmSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_PC: Final = vmodl.query.PropertyCollector
_DISK: Final = vim.vm.device.VirtualDisk
PAGE_OBJECTS: Final = 200
"""Objects that one answer is asked to have: a vCenter's collector copes with hundreds."""

VM_PATHS: Final = (
    "name",
    "config.hardware.device",
    "config.changeTrackingEnabled",
    "runtime.powerState",
    "runtime.consolidationNeeded",
    "snapshot",
)


def retrieve(
    content: Any, kind: type[Any], paths: tuple[str, ...]
) -> list[tuple[Any, dict[str, Any]]]:
    """Return every object of a kind with these properties; what is unset is left out."""
    view = content.viewManager.CreateContainerView(
        container=content.rootFolder, type=[kind], recursive=True
    )
    try:
        along = _PC.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
        spec = _PC.FilterSpec(
            objectSet=[_PC.ObjectSpec(obj=view, skip=True, selectSet=[along])],
            propSet=[_PC.PropertySpec(type=kind, pathSet=list(paths))],
        )
        return list(_pages(content.propertyCollector, spec))
    finally:
        view.DestroyView()


def _pages(collector: Any, spec: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    options = _PC.RetrieveOptions(maxObjects=PAGE_OBJECTS)
    page = collector.RetrievePropertiesEx([spec], options)
    while page is not None:
        for found in page.objects:
            yield found.obj, {each.name: each.val for each in found.propSet}
        page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None


def datastores(content: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return name and volumes of each datastore, by its identifier."""
    return {
        ref._moId: (found["name"], _volumes(found.get("info")))  # noqa: SLF001
        for ref, found in retrieve(content, vim.Datastore, ("name", "info"))
    }


def _volumes(info: Any) -> tuple[str, ...]:
    vmfs = getattr(info, "vmfs", None)
    extents = vmfs.extent if vmfs is not None else ()
    return tuple(extent.diskName.removeprefix("naa.") for extent in extents)


def vm_info(found: dict[str, Any], stores: dict[str, tuple[str, tuple[str, ...]]]) -> VmInfo:
    """Return a VM as the port shows it."""
    tree = found.get("snapshot")
    return VmInfo(
        found["name"],
        found.get("runtime.powerState") == "poweredOn",
        tuple(disk_info(disk, stores) for disk in disks_of(found.get("config.hardware.device"))),
        tuple(node.snapshot._moId for node in nodes(tree)),  # noqa: SLF001
        bool(found.get("runtime.consolidationNeeded")),
        bool(found.get("config.changeTrackingEnabled")),
    )


def disks_of(devices: Any) -> list[Any]:
    """Return the virtual disks among devices, in order of their keys."""
    found = [device for device in devices or () if isinstance(device, _DISK)]
    return sorted(found, key=lambda disk: disk.key)


def disk_info(disk: Any, stores: dict[str, tuple[str, tuple[str, ...]]]) -> DiskInfo:
    """Return a virtual disk as the port shows it."""
    base = disk.backing
    while getattr(base, "parent", None) is not None:
        base = base.parent
    store, volumes = stores.get(getattr(base.datastore, "_moId", ""), ("", ()))
    return DiskInfo(
        disk.key,
        base.fileName.partition("] ")[2],
        capacity_of(disk),
        _provisioning(base),
        store,
        volumes,
        _obstacle(disk.backing),
    )


def capacity_of(disk: Any) -> int:
    """Return the bytes of a virtual disk; releases before 5.5 tell them in KB only."""
    return int(disk.capacityInBytes or disk.capacityInKB * 1024)


def _provisioning(backing: Any) -> Provisioning:
    if getattr(backing, "thinProvisioned", False):
        return Provisioning.THIN
    eager = getattr(backing, "eagerlyScrub", False)
    return Provisioning.EAGER_ZEROED if eager else Provisioning.LAZY_ZEROED


def _obstacle(backing: Any) -> str:
    if not isinstance(backing, _DISK.FlatVer2BackingInfo):
        return "raw mapping: its blocks are not the datastore's"
    if "independent" in (backing.diskMode or ""):
        return "independent disk: left out of snapshots"
    if backing.sharing == "sharingMultiWriter":
        return "shared by several writers: cannot be snapshotted"
    return ""


# Snapshots. --------------------------------------------------------------------------------------


def nodes(tree: Any) -> list[Any]:
    """Return the nodes of a snapshot tree, oldest first."""
    todo, found = list(tree.rootSnapshotList) if tree is not None else [], []
    while todo:
        node = todo.pop()
        found.append(node)
        todo += node.childSnapshotList
    return sorted(found, key=lambda node: (node.createTime, node.id))


def find_vm(content: Any, name: str) -> Any:
    """Return the VM of this name, None where there is none."""
    found = retrieve(content, vim.VirtualMachine, ("name",))
    return next((ref for ref, values in found if values.get("name") == name), None)


def snapshot_info(content: Any, vm: str, node: Any, epoch: datetime) -> VmSnapshot:
    """Return a snapshot as the port shows it; its changeIds are read from its own configuration."""
    config = same(content, node.snapshot).config
    ids = {
        disk.key: disk.backing.changeId
        for disk in disks_of(config.hardware.device if config is not None else ())
        if getattr(disk.backing, "changeId", None)
    }
    return VmSnapshot(
        node.snapshot._moId,  # noqa: SLF001
        vm,
        node.name,
        (node.createTime - epoch).total_seconds(),
        _consistency(node),
        ids,
    )


def _consistency(node: Any) -> Consistency:
    """A manifest is left by VSS, whose applications took part; "quiesced" says no more than that."""
    if node.backupManifest:
        return Consistency.APPLICATION
    return Consistency.FILE_SYSTEM if node.quiesced else Consistency.CRASH
