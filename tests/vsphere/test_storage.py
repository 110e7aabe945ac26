"""Host storage: devices, rescans, copies of file systems, resignaturing, mounting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import greenlet
import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.array import LocalArray
from stuntdouble.scenarios.build import HOST_IQN
from vcenter import Site, played

if TYPE_CHECKING:
    from collections.abc import Awaitable

SPEC = vim.host.UnresolvedVmfsResignatureSpec


def meanwhile(awaitable: Awaitable[Any]) -> Any:
    """Let time pass within a client that blocks."""
    return greenlet.getcurrent().parent.switch(awaitable)


def copied(site: Site, name: str = "copy") -> list[str]:
    """Map a promoted snapshot of every volume to the hosts; return the identifiers."""
    array = LocalArray(site.world.arrays["array-1"])
    [datastore] = site.world.hypervisor.datastores.values()

    async def work() -> list[str]:
        found = []
        for snapshot in await array.create_snapshots(datastore.naas, f"point-{name}"):
            volume = await array.promote(snapshot.name, f"{name}-{snapshot.name}")
            await array.map_volume(volume.name, HOST_IQN)
            found.append(volume.naa)
        return found

    found: list[str] = meanwhile(work())
    return found


def host_of(site: Site) -> Any:
    return site.vm().runtime.host


def managers(site: Site) -> tuple[Any, Any]:
    config = host_of(site).configManager
    return config.storageSystem, config.datastoreSystem


def names(storage: Any) -> list[str]:
    return [lun.canonicalName for lun in storage.storageDeviceInfo.scsiLun]


def mounts(storage: Any) -> dict[str, bool]:
    info = storage.fileSystemVolumeInfo.mountInfo
    return {each.volume.name: each.mountInfo.mounted for each in info}


def paths(volume: Any) -> list[str]:
    return [extent.devicePath for extent in volume.extent]


def test_a_copy_is_seen_after_a_rescan_and_mounted_under_a_new_identity() -> None:
    def client(site: Site) -> None:
        storage, stores = managers(site)
        vm = site.vm()
        [original] = stores.datastore
        before = names(storage)
        naas = copied(site)
        assert names(storage) == before
        assert storage.QueryUnresolvedVmfsVolume() == []
        began = site.now
        storage.RescanAllHba()
        parameters = site.world.hypervisor.host.parameters
        assert site.now - began == pytest.approx(parameters.rescan_seconds)
        assert names(storage) == [*before, *(f"naa.{naa}" for naa in naas)]
        [found] = stores.QueryUnresolvedVmfsVolumes()
        assert [paths(each) for each in storage.QueryUnresolvedVmfsVolume()] == [paths(found)]
        assert (found.vmfsLabel, found.vmfsUuid) == (original.name, original.info.vmfs.uuid)
        assert paths(found) == [f"/vmfs/devices/disks/naa.{naa}:1" for naa in naas]
        assert found.resolveStatus.resolvable
        assert found.extent[0].isHeadExtent
        assert found.totalBlocks == found.extent[-1].endBlock + 1
        task = stores.ResignatureUnresolvedVmfsVolume_Task(SPEC(extentDevicePath=paths(found)))
        WaitForTask(task, si=site.si)
        copy = task.info.result.result
        assert [each.host for each in task.info.result.rescan] == [host_of(site)]
        assert copy.name.startswith("snap-")
        assert copy.name.endswith(original.name)
        assert copy.info.vmfs.uuid != original.info.vmfs.uuid
        assert [e.diskName for e in copy.info.vmfs.extent] == [f"naa.{naa}" for naa in naas]
        assert storage.QueryUnresolvedVmfsVolume() == []
        assert mounts(storage) == {original.name: True, copy.name: True}
        folder, pool = vm.parent, vm.resourcePool
        path = f"[{copy.name}] {vm.name}/{vm.name}.vmx"
        registered = folder.RegisterVM_Task(path, None, False, pool, None)
        WaitForTask(registered, si=site.si)
        twin = registered.info.result
        assert twin.datastore[0] == copy
        uuid, name = copy.info.vmfs.uuid, copy.name
        with pytest.raises(vim.fault.ResourceInUse):
            storage.UnmountVmfsVolume(uuid)
        twin.UnregisterVM()
        storage.UnmountVmfsVolume(uuid)
        assert mounts(storage) == {original.name: True, name: False}
        assert stores.datastore == [original]
        with pytest.raises(vim.fault.InvalidState):
            storage.UnmountVmfsVolume(uuid)
        storage.MountVmfsVolume(uuid)
        assert mounts(storage) == {original.name: True, name: True}
        told = site.content.eventManager.QueryEvents(
            vim.event.EventFilterSpec(type=[vim.event.HostEvent])
        )
        assert [(type(e).__name__.rpartition(".")[2], e.datastore.name) for e in told] == [
            ("DatastoreDiscoveredEvent", name),
            ("DatastoreRemovedOnHostEvent", name),
            ("DatastoreDiscoveredEvent", name),
        ]

    played(client)


def test_what_cannot_be_resolved_says_why() -> None:
    def client(site: Site) -> None:
        storage, stores = managers(site)
        copied(site)
        storage.RescanVmfs()
        assert not storage.QueryUnresolvedVmfsVolume()  # it looks at no adapter
        storage.RescanAllHba()
        [found] = storage.QueryUnresolvedVmfsVolume()
        wrong = ["/vmfs/devices/disks/naa.0:1", "nonsense"]
        specs = [
            vim.host.UnresolvedVmfsResolutionSpec(extentDevicePath=extents, uuidResolution=how)
            for extents, how in (
                ([wrong[0]], "resignature"),
                ([wrong[1]], "resignature"),
                (paths(found), "forceMount"),
                (paths(found), "resignature"),
            )
        ]
        results = storage.ResolveMultipleUnresolvedVmfsVolumes(specs)
        assert [type(each.fault) for each in results] == [
            vim.fault.NotFound,
            vmodl.fault.InvalidArgument,
            vmodl.fault.NotSupported,
            type(None),
        ]
        assert results[-1].vmfs.name.startswith("snap-")
        assert [each.spec.uuidResolution for each in results] == [s.uuidResolution for s in specs]
        with pytest.raises(vmodl.fault.InvalidArgument):
            stores.ResignatureUnresolvedVmfsVolume_Task(SPEC(extentDevicePath=[wrong[1]]))
        with pytest.raises(vim.fault.NotFound):
            storage.RescanHba("vmhba9")
        with pytest.raises(vim.fault.NotFound):
            storage.UnmountVmfsVolume("0-0-0-0")
        with pytest.raises(vim.fault.NotFound):
            storage.MountVmfsVolume("0-0-0-0")

    played(client)


def test_two_copies_of_one_file_system_are_told_apart_by_their_devices() -> None:
    def client(site: Site) -> None:
        storage, stores = managers(site)
        both = [copied(site, "a"), copied(site, "b")]
        storage.RescanHba("vmhba0")
        [found] = storage.QueryUnresolvedVmfsVolume()
        status = found.resolveStatus
        assert (status.resolvable, status.multipleCopies) == (False, True)
        assert len(found.extent) == 2
        chosen = [f"/vmfs/devices/disks/naa.{naa}:1" for naa in both[1]]
        task = stores.ResignatureUnresolvedVmfsVolume_Task(SPEC(extentDevicePath=chosen))
        WaitForTask(task, si=site.si)
        [left] = storage.QueryUnresolvedVmfsVolume()
        assert paths(left) == [f"/vmfs/devices/disks/naa.{naa}:1" for naa in both[0]]

    played(client)


def test_volumes_are_unmounted_and_mounted_by_a_task() -> None:
    def client(site: Site) -> None:
        storage, _ = managers(site)
        copied(site)
        storage.RescanAllHba()
        [found] = storage.QueryUnresolvedVmfsVolume()
        spec = vim.host.UnresolvedVmfsResolutionSpec(
            extentDevicePath=paths(found), uuidResolution="resignature"
        )
        [made] = storage.ResolveMultipleUnresolvedVmfsVolumes([spec])
        uuid = made.vmfs.uuid
        WaitForTask(storage.UnmountVmfsVolumeEx_Task([uuid]), si=site.si)
        assert mounts(storage)[made.vmfs.name] is False
        WaitForTask(storage.MountVmfsVolumeEx_Task([uuid]), si=site.si)
        assert mounts(storage)[made.vmfs.name] is True

    played(client)


def test_a_device_that_is_gone_is_dead_and_its_paths_too() -> None:
    def client(site: Site) -> None:
        storage, _ = managers(site)
        copied(site)
        storage.RescanAllHba()
        [found] = storage.QueryUnresolvedVmfsVolume()
        spec = vim.host.UnresolvedVmfsResolutionSpec(
            extentDevicePath=paths(found), uuidResolution="resignature"
        )
        storage.ResolveMultipleUnresolvedVmfsVolumes([spec])
        site.world.arrays["array-1"].lose()
        storage.RescanAllHba()
        states = [lun.operationalState for lun in storage.storageDeviceInfo.scsiLun]
        assert states[-1] == ["lostCommunication"]
        assert storage.multipathStateInfo.path[-1].pathState == "dead"
        last = storage.fileSystemVolumeInfo.mountInfo[-1].mountInfo
        assert (last.mounted, last.accessible) == (True, False)
        config = host_of(site).config
        assert config.fileSystemVolume.mountInfo[-1].volume.name.startswith("snap-")
        assert len(config.storageDevice.scsiLun) == len(states)

    played(client)
