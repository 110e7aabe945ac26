"""Copies of datastores: found on promoted volumes, mounted, and VMs registered from them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from stuntdouble.adapters.vsphere.inventory import datastores, retrieve
from stuntdouble.errors import InvalidState, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.adapters.vsphere.connection import Connection


def home(content: Any) -> tuple[Any, Any]:
    """Return the folder that VMs are put into, and the resource pool: the first ones that there are.

    Raises:
        NotFound: there is no datacenter, or no resource pool.
    """
    centers = retrieve(content, vim.Datacenter, ("vmFolder",))
    pools = retrieve(content, vim.ResourcePool, ("name",))
    if not centers or not pools:
        raise NotFound("datacenter or resource pool", "any")
    return centers[0][1]["vmFolder"], pools[0][0]


async def mount(connection: Connection, volumes: tuple[str, ...]) -> str:
    """Rescan, resignature and mount the datastore on *volumes*; return its name.

    Raises:
        InvalidState: no copy of a datastore lies on them, or it is not whole.
    """
    await connection.change(_rescan, "the host", "rescan")

    async def visible() -> str | None:
        return await connection.read(_named(volumes), "datastores", "list them")

    if (known := await visible()) is not None:
        return known
    where = ", ".join(volumes)

    def start(content: Any) -> Any:
        system = _host(content).configManager.datastoreSystem
        paths = _paths(system.QueryUnresolvedVmfsVolumes(), volumes, where)
        spec = vim.host.UnresolvedVmfsResignatureSpec(extentDevicePath=paths)
        return system.ResignatureUnresolvedVmfsVolume_Task(spec)

    await connection.task(start, where, "resignature the copy")

    return await connection.until(visible, f"the datastore on {where}")


def _rescan(content: Any) -> None:
    """Let the host look for LUNs; for copies on them it looks when it is asked which there are."""
    _host(content).configManager.storageSystem.RescanAllHba()


def _host(content: Any) -> Any:
    """Return the host that copies are mounted on: the first one that is connected."""
    found = retrieve(content, vim.HostSystem, ("runtime.connectionState",))
    for ref, values in found:
        if values.get("runtime.connectionState") == "connected":
            return ref
    raise NotFound("connected host", "any")


def _named(volumes: tuple[str, ...]) -> Callable[[Any], str | None]:
    def look(content: Any) -> str | None:
        found = datastores(content).values()
        return next((name for name, lie_on in found if lie_on == volumes), None)

    return look


def _paths(unresolved: list[Any], volumes: tuple[str, ...], where: str) -> list[str]:
    """Return the device paths of the copy whose extents are *volumes*."""
    wanted = {f"naa.{volume}" for volume in volumes}
    for volume in unresolved:
        paths = {extent.device.diskName: extent.devicePath for extent in volume.extent}
        if paths.keys() == wanted:
            return [paths[f"naa.{each}"] for each in volumes]
    raise InvalidState(f"what lies on {where}", "no whole copy of a datastore", "mount it")


async def register(connection: Connection, datastore: str, vm: str) -> str:
    """Register the copy of a VM found on a datastore; return the name that it is given.

    Raises:
        NotFound: nothing of such a VM lies there, or the server wants a configuration file.
    """
    name = f"{vm} on {datastore}"
    path = await _configuration(connection, datastore, vm)

    def start(content: Any) -> Any:
        folder, pool = home(content)
        return folder.RegisterVM_Task(path=path, name=name, asTemplate=False, pool=pool)

    await connection.task(start, name, "register it")
    return name


async def _configuration(connection: Connection, datastore: str, vm: str) -> str:
    """Return the path of a VM's configuration on a datastore.

    A VM has one, beside its first disk.  Where only others of its disks lie, in a folder of its
    name, it is the path that it would have: whether a VM may be registered by that, the server says.
    """
    for pattern in (f"{vm}.vmx", f"{vm}*.vmdk"):
        results = await connection.task(
            partial(_search, datastore=datastore, pattern=pattern), datastore, f"look for {vm}"
        )
        for result in results:
            folder = result.folderPath.rstrip("/")
            if result.file and (pattern.endswith(".vmx") or folder == f"[{datastore}] {vm}"):
                return f"{folder}{' ' if folder.endswith(']') else '/'}{vm}.vmx"
    raise NotFound(f"VM on {datastore}", vm)


def _search(content: Any, datastore: str, pattern: str) -> Any:
    """Start to look for files on a datastore."""
    found = retrieve(content, vim.Datastore, ("name", "browser"))
    browser = next((v["browser"] for _, v in found if v.get("name") == datastore), None)
    if browser is None:
        raise NotFound("datastore", datastore)
    spec = vim.host.DatastoreBrowser.SearchSpec(matchPattern=[pattern])
    return browser.SearchDatastoreSubFolders_Task(f"[{datastore}]", spec)


async def unmount(connection: Connection, datastore: str) -> None:
    """Unmount a datastore; nothing happens where there is none."""

    def find(content: Any) -> Any:
        found = retrieve(content, vim.Datastore, ("name", "summary.url"))
        return next((v["summary.url"] for _, v in found if v.get("name") == datastore), None)

    url = await connection.read(find, datastore, "find it")
    if url is None:
        return
    uuid = url.rstrip("/").rpartition("/")[2]
    try:
        await connection.change(
            lambda content: _host(content).configManager.storageSystem.UnmountVmfsVolume(uuid),
            datastore,
            "unmount it",
        )
    except NotFound:
        return
