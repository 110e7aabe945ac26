"""What clients can do with a VM, and how they are refused: by pyVmomi, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.clock import perform
from vcenter import USER, Site, awaited, played

NO_TRACK = "vim.hostd.vmsvc.cbt.noTrack"
NO_EPOCH = "vim.hostd.vmsvc.cbt.noEpoch"
CANNOT_GET_CHANGES = "vim.hostd.vmsvc.cbt.cannotGetChanges"


def with_parameters(**parameters: Any) -> Any:
    return lambda scenario: scenario.model_copy(
        update={"hypervisor": {**scenario.hypervisor, **parameters}}
    )


def untracked(scenario: Any) -> Any:
    vms = tuple(vm.model_copy(update={"tracking": False}) for vm in scenario.vms)
    return scenario.model_copy(update={"vms": vms})


def snapshot(site: Site, vm: Any, name: str = "one", **options: Any) -> Any:
    task = vm.CreateSnapshot_Task(
        name=name, **{"description": "", "memory": False, "quiesce": False, **options}
    )
    WaitForTask(task, si=site.si)
    return task.info.result


def remove(site: Site, snap: Any, **options: Any) -> None:
    WaitForTask(snap.RemoveSnapshot_Task(**{"removeChildren": False, **options}), si=site.si)


def change_id(snap: Any, key: int = 2000) -> str:
    return next(d.backing.changeId for d in snap.config.hardware.device if d.key == key)


def key_of(fault: Any) -> str:
    return fault.faultMessage[0].key


# Snapshots and tasks. ----------------------------------------------------------------------------


def test_overlapping_operations_are_refused_with_the_task_in_the_way() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        running = vm.CreateSnapshot_Task("one", "", False, False)
        for again in (
            lambda: vm.CreateSnapshot_Task("two", "", False, False),
            lambda: vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=False)),
            vm.ConsolidateVMDisks_Task,
            vm.PowerOffVM_Task,
        ):
            with pytest.raises(vim.fault.TaskInProgress) as caught:
                again()
            assert caught.value.task == running
        WaitForTask(running, si=site.si)
        removal = vm.snapshot.currentSnapshot.RemoveSnapshot_Task(removeChildren=False)
        with pytest.raises(vim.fault.TaskInProgress):
            vm.CreateSnapshot_Task("two", "", False, False)
        WaitForTask(removal, si=site.si)
        assert vm.snapshot is None
        assert not vm.runtime.consolidationNeeded

    played(client)


def test_a_task_tells_who_what_how_far_and_how_it_ended() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        task = vm.CreateSnapshot_Task("one", "before", False, True)
        info = task.info
        assert (info.state, info.name.info.wsdlName) == ("running", "CreateSnapshot_Task")
        assert info.entity == vm
        assert info.entityName == vm.name
        assert info.reason.userName == USER.name
        assert info.descriptionId == "VirtualMachine.createSnapshot"
        assert task in vm.recentTask
        assert task in site.content.taskManager.recentTask
        WaitForTask(task, si=site.si)
        info = task.info
        assert info.state == "success"
        assert info.startTime < info.completeTime
        assert info.result == vm.snapshot.currentSnapshot
        node = vm.snapshot.rootSnapshotList[0]
        assert (node.name, node.description, node.quiesced, node.id) == ("one", "before", True, 1)

    played(client)


def test_the_thirty_third_level_is_one_too_many() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        for number in range(3):
            snapshot(site, vm, f"{number}")
        task = vm.CreateSnapshot_Task("one more", "", False, False)
        with pytest.raises(vim.fault.TooManySnapshotLevels):
            WaitForTask(task, si=site.si)
        assert isinstance(task.info.error, vim.fault.TooManySnapshotLevels)
        backing = vm.config.hardware.device[8].backing
        depth = 0
        while backing.parent is not None:
            backing, depth = backing.parent, depth + 1
        assert depth == 3
        assert len(vm.layoutEx.disk[0].chain) == 4

    played(client, change=with_parameters(chain_depth_max=3, task_seconds=0.0))


def test_a_cancelled_task_leaves_nothing_behind() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        task = vm.CreateSnapshot_Task("one", "", False, False)
        task.CancelTask()
        with pytest.raises(vmodl.fault.RequestCanceled):
            WaitForTask(task, si=site.si)
        assert task.info.cancelled
        assert vm.snapshot is None
        snapshot(site, vm)
        with pytest.raises(vim.fault.InvalidState):
            task.CancelTask()

    played(client)


@pytest.mark.parametrize("consolidate", [True, False])
def test_a_removal_may_leave_the_consolidation_for_later(consolidate: bool) -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        remove(site, snapshot(site, vm), consolidate=consolidate)
        assert vm.snapshot is None
        assert vm.runtime.consolidationNeeded is not consolidate
        WaitForTask(vm.ConsolidateVMDisks_Task(), si=site.si)
        assert not vm.runtime.consolidationNeeded
        assert vm.config.hardware.device[8].backing.parent is None

    played(client)


def test_snapshots_make_a_tree_and_children_go_with_their_parent() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        first = snapshot(site, vm, "first")
        snapshot(site, vm, "second")
        WaitForTask(first.RevertToSnapshot_Task(), si=site.si)
        other = snapshot(site, vm, "other")
        root = vm.snapshot.rootSnapshotList[0]
        assert [each.name for each in root.childSnapshotList] == ["second", "other"]
        assert vm.snapshot.currentSnapshot == other
        assert list(first.childSnapshot) == [each.snapshot for each in root.childSnapshotList]
        other.RenameSnapshot(name="renamed", description="so")
        renamed = vm.snapshot.rootSnapshotList[0].childSnapshotList[1]
        assert (renamed.name, renamed.description) == ("renamed", "so")
        remove(site, first, removeChildren=True)
        assert vm.snapshot is None
        with pytest.raises(vmodl.fault.ManagedObjectNotFound) as caught:
            other.config  # noqa: B018
        assert caught.value.obj == other

    played(client)


def test_at_the_root_there_is_no_current_snapshot() -> None:
    """Some clients crash on that: the tree is there, and its current snapshot is unset."""

    def client(site: Site) -> None:
        vm = site.vm()
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        first = snapshot(site, vm, "first")
        second = snapshot(site, vm, "second")
        WaitForTask(first.RevertToSnapshot_Task(), si=site.si)
        remove(site, first, removeChildren=False)
        assert vm.snapshot.currentSnapshot is None
        assert [n.snapshot for n in vm.snapshot.rootSnapshotList] == [second]

    played(client)


# Changed areas. ----------------------------------------------------------------------------------


def test_each_reason_for_no_areas_has_its_own_fault() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        snap = snapshot(site, vm)
        for bad in ({"deviceKey": 77}, {"startOffset": 1 << 40}, {"startOffset": -1}):
            good = {"deviceKey": 2000, "startOffset": 0, "changeId": change_id(snap)}
            with pytest.raises(vmodl.fault.InvalidArgument) as caught:
                vm.QueryChangedDiskAreas(snapshot=snap, **{**good, **bad})
            assert caught.value.invalidProperty == next(iter(bad))
        size = vm.config.hardware.device[8].capacityInBytes
        with pytest.raises(vmodl.fault.InvalidArgument) as caught:
            vm.QueryChangedDiskAreas(snap, 2000, size, "*")
        assert caught.value.invalidProperty == "startOffset"
        for malformed in ("", "abc", "52 de/3", change_id(snap).replace("/", "-")):
            with pytest.raises(vmodl.fault.InvalidArgument) as caught:
                vm.QueryChangedDiskAreas(snap, 2000, 0, malformed)
            assert caught.value.invalidProperty == "changeId"
        with pytest.raises(vim.fault.FileFault) as refused:
            vm.QueryChangedDiskAreas(snap, 2000, 0, "52" + " 00" * 7 + "-" + "00 " * 7 + "00/1")
        assert key_of(refused.value) == CANNOT_GET_CHANGES
        assert refused.value.file.endswith(".vmdk")

    played(client)


def test_tracking_becomes_active_at_the_next_stun_only() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        before = snapshot(site, vm)
        assert change_id(before) is None
        with pytest.raises(vim.fault.FileFault) as refused:
            vm.QueryChangedDiskAreas(before, 2000, 0, "*")
        assert key_of(refused.value) == NO_TRACK
        remove(site, before)
        WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)), si=site.si)
        assert vm.config.changeTrackingEnabled
        after = snapshot(site, vm)
        assert change_id(after)
        assert vm.QueryChangedDiskAreas(after, 2000, 0, "*").length

    played(client, change=untracked)


def crash(site: Site, model: Any) -> None:
    """Let something happen that no client asks for."""
    awaited(perform(site.world.env, model))


def test_a_crash_of_the_host_makes_old_change_ids_worthless() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        first = snapshot(site, vm)
        old = change_id(first)
        remove(site, first)
        crash(site, site.world.hypervisor.crash_host("host-1"))
        assert vm.runtime.powerState == "poweredOff"
        site.world.hypervisor.restart_host("host-1")
        WaitForTask(vm.PowerOnVM_Task(), si=site.si)
        second = snapshot(site, vm)
        assert change_id(second).partition("/")[0] != old.partition("/")[0]
        with pytest.raises(vim.fault.FileFault) as refused:
            vm.QueryChangedDiskAreas(second, 2000, 0, old)
        assert key_of(refused.value) == CANNOT_GET_CHANGES
        assert vm.QueryChangedDiskAreas(second, 2000, 0, "*").length

    played(client)


@pytest.mark.parametrize("kept", [True, False])
def test_what_powering_off_does_to_tracking_is_configured(kept: bool) -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        first = snapshot(site, vm)
        old = change_id(first)
        remove(site, first)
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        second = snapshot(site, vm)
        if kept:
            assert vm.QueryChangedDiskAreas(second, 2000, 0, old).length
            return
        with pytest.raises(vim.fault.FileFault) as refused:
            vm.QueryChangedDiskAreas(second, 2000, 0, old)
        assert key_of(refused.value) == CANNOT_GET_CHANGES

    played(client, change=with_parameters(power_off_tracking="kept" if kept else "lost"))


def test_a_change_id_from_before_a_revert_is_lost() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        first = snapshot(site, vm)
        old = change_id(first)
        WaitForTask(first.RevertToSnapshot_Task(), si=site.si)
        second = snapshot(site, vm)
        with pytest.raises(vim.fault.FileFault) as refused:
            vm.QueryChangedDiskAreas(second, 2000, 0, old)
        assert key_of(refused.value) == CANNOT_GET_CHANGES

    played(client)


def test_registering_a_vm_again_resets_its_tracking() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        name, path = vm.name, vm.config.files.vmPathName
        first = snapshot(site, vm)
        old = change_id(first)
        remove(site, first)
        with pytest.raises(vim.fault.InvalidPowerState):
            vm.UnregisterVM()
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        vm.UnregisterVM()
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            vm.name  # noqa: B018
        center = site.content.rootFolder.childEntity[0]
        pool = center.hostFolder.childEntity[0].resourcePool
        task = center.vmFolder.RegisterVM_Task(path=path, asTemplate=False, pool=pool)
        WaitForTask(task, si=site.si)
        back = task.info.result
        assert back.name == name
        second = snapshot(site, back)
        with pytest.raises(vim.fault.FileFault) as refused:
            back.QueryChangedDiskAreas(second, 2000, 0, old)
        assert key_of(refused.value) == CANNOT_GET_CHANGES

    played(client)


# Reconfiguration, power, creation. -----------------------------------------------------------------


def test_a_disk_is_extended_and_never_made_smaller() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        disk = next(d for d in vm.config.hardware.device if d.key == 2000)
        wanted = disk.capacityInBytes * 2

        def extension(size: int) -> Any:
            edited = vim.vm.device.VirtualDisk(
                key=2000,
                controllerKey=1000,
                unitNumber=0,
                capacityInKB=size // 1024,
                capacityInBytes=size,
                backing=disk.backing,
            )
            change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=edited)
            return vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change]))

        WaitForTask(extension(wanted), si=site.si)
        assert next(d for d in vm.config.hardware.device if d.key == 2000).capacityInBytes == wanted
        with pytest.raises(vim.fault.InvalidDeviceSpec):
            extension(wanted // 2)
        snapshot(site, vm)
        with pytest.raises(vim.fault.InvalidState):
            WaitForTask(extension(wanted * 2), si=site.si)

    played(client)


def test_what_is_not_emulated_is_refused_and_not_passed_over() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        for spec in (
            vim.vm.ConfigSpec(numCPUs=4),
            vim.vm.ConfigSpec(name="other"),
            vim.vm.ConfigSpec(
                deviceChange=[
                    vim.vm.device.VirtualDeviceSpec(
                        operation="remove", device=vm.config.hardware.device[8]
                    )
                ]
            ),
        ):
            with pytest.raises(vmodl.fault.NotSupported):
                vm.ReconfigVM_Task(spec)
        with pytest.raises(vmodl.fault.NotSupported):
            vm.CreateSnapshot_Task("with memory", "", True, False)
        with pytest.raises(vmodl.fault.MethodNotFound) as caught:
            vm.CloneVM_Task(
                site.content.rootFolder,
                "copy",
                vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False),
            )
        assert caught.value.method == "CloneVM_Task"
        for name in ("", "x" * 81):
            with pytest.raises(vim.fault.InvalidName):
                vm.CreateSnapshot_Task(name, "", False, False)

    played(client)


def test_power_goes_off_and_on_and_not_twice() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        with pytest.raises(vim.fault.InvalidPowerState) as caught:
            vm.PowerOnVM_Task()
        assert (caught.value.existingState, caught.value.requestedState) == (
            "poweredOn",
            "poweredOn",
        )
        awaited(asyncio.sleep(1))
        WaitForTask(vm.ResetVM_Task(), si=site.si)
        assert vm.runtime.powerState == "poweredOn"
        assert vm.runtime.bootTime > vm.config.modified
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        assert vm.runtime.powerState == "poweredOff"
        assert vm.runtime.bootTime is None
        with pytest.raises(vim.fault.InvalidPowerState):
            vm.ResetVM_Task()
        with pytest.raises(vim.fault.InvalidPowerState):
            vm.PowerOffVM_Task()
        awaited(asyncio.sleep(5))
        WaitForTask(vm.PowerOnVM_Task(), si=site.si)
        assert vm.runtime.powerState == "poweredOn"
        assert vm.runtime.bootTime > vm.config.modified

    played(client)


def test_a_vm_is_created_and_destroyed() -> None:
    def client(site: Site) -> None:
        center = site.content.rootFolder.childEntity[0]
        pool = center.hostFolder.childEntity[0].resourcePool
        store = center.datastore[0].name
        disk = vim.vm.device.VirtualDisk(
            key=-1,
            controllerKey=1000,
            unitNumber=0,
            capacityInKB=64 << 10,
            backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                fileName=f"[{store}]", diskMode="persistent", thinProvisioned=True
            ),
        )
        spec = vim.vm.ConfigSpec(
            name="new",
            files=vim.vm.FileInfo(vmPathName=f"[{store}]"),
            deviceChange=[
                vim.vm.device.VirtualDeviceSpec(
                    operation="add", fileOperation="create", device=disk
                )
            ],
        )
        task = center.vmFolder.CreateVM_Task(spec, pool)
        WaitForTask(task, si=site.si)
        made = task.info.result
        assert made.name == "new"
        assert made.runtime.powerState == "poweredOff"
        found = [d for d in made.config.hardware.device if isinstance(d, type(disk))]
        assert [d.capacityInBytes for d in found] == [64 << 20]
        with pytest.raises(vim.fault.DuplicateName):
            center.vmFolder.CreateVM_Task(spec, pool)
        assert site.content.searchIndex.FindByInventoryPath("Datacenter/vm/new") == made
        assert site.content.searchIndex.FindByUuid(None, made.config.uuid, True, False) == made
        WaitForTask(made.Destroy_Task(), si=site.si)
        assert site.content.searchIndex.FindByInventoryPath("Datacenter/vm/new") is None

    played(client)
