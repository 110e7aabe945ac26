"""What comes, goes and stays the same while clients look on: objects, identities, sessions, progress."""

from __future__ import annotations

from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.vsphere import Setting, User, connect
from stuntdouble.vsphere.sessions import READ_ONLY
from vcenter import USER, Site, ended, played

PC = vmodl.query.PropertyCollector
READER = User("reader", "secret", READ_ONLY)
NOBODY = User("nobody", "secret", frozenset({"System.Anonymous"}))


def snapshot(site: Site, vm: Any, name: str) -> Any:
    task = vm.CreateSnapshot_Task(name, "", False, False)
    WaitForTask(task, si=site.si)
    return task.info.result


def spec_of(ref: Any, paths: list[str], *walks: Any, kind: Any = None) -> Any:
    return PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=ref, skip=bool(walks), selectSet=list(walks))],
        propSet=[PC.PropertySpec(type=kind or type(ref), pathSet=paths)],
    )


def watched(site: Site, spec: Any) -> tuple[Any, str]:
    collector = site.content.propertyCollector.CreatePropertyCollector()
    collector.CreateFilter(spec, True)
    first = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=0))
    return collector, first.version if first else ""


def kinds(update: Any) -> list[str]:
    return [] if update is None else [each.kind for each in update.filterSet[0].objectSet]


def disk_of(config: Any) -> Any:
    return next(d for d in config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk))


def files_of(backing: Any) -> list[str]:
    found = []
    while backing is not None:
        found.append(backing.fileName)
        backing = backing.parent
    return found


def test_a_chain_that_was_merged_is_shown_merged() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        first = snapshot(site, vm, "one")
        snapshot(site, vm, "two")
        WaitForTask(first.RemoveSnapshot_Task(False, False), si=site.si)
        assert len(files_of(disk_of(vm.config).backing)) == 3
        parent = disk_of(vm.config).backing.parent
        assert parent.changeId
        assert parent.parent.changeId  # of the snapshot that is gone, whose file is still there
        WaitForTask(vm.ConsolidateVMDisks_Task(), si=site.si)
        shown = files_of(disk_of(vm.config).backing)
        assert len(shown) == 2
        assert set(shown) <= {each.name for each in vm.layoutEx.file}

    played(client)


def test_contents_that_differ_have_identifiers_that_differ() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        seen = []
        for name in ("one", "two"):
            snap = snapshot(site, vm, name)
            seen.append(disk_of(snap.config).backing.contentId)
            assert disk_of(snap.config).backing.contentId == seen[-1]
            seen.append(disk_of(vm.config).backing.contentId)
            WaitForTask(snap.RemoveSnapshot_Task(False), si=site.si)
        assert len(set(seen)) == 4

    played(client)


def test_a_vm_registered_under_another_name_is_the_same_vm() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        config = vm.config
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        vm.UnregisterVM()
        center = site.content.rootFolder.childEntity[0]
        pool = center.hostFolder.childEntity[0].resourcePool
        path = config.files.vmPathName
        task = center.vmFolder.RegisterVM_Task(path, "renamed", False, pool)
        WaitForTask(task, si=site.si)
        again = task.info.result.config
        assert again.name == "renamed"
        assert (again.uuid, again.instanceUuid) == (config.uuid, config.instanceUuid)
        assert again.files.vmPathName == path
        assert disk_of(again).backing.uuid == disk_of(config).backing.uuid

    played(client)


@pytest.mark.parametrize("field", ["capacityInKB", "capacityInBytes"])
def test_a_disk_grows_by_whichever_size_the_client_changes(field: str) -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        disk = disk_of(vm.config)
        wanted = disk.capacityInBytes * 2
        setattr(disk, field, wanted if field == "capacityInBytes" else wanted // 1024)
        change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
        spec = vim.vm.ConfigSpec(deviceChange=[change])
        WaitForTask(vm.ReconfigVM_Task(spec), si=site.si)
        assert disk_of(vm.config).capacityInBytes == wanted

    played(client)


def test_a_filter_that_makes_no_sense_is_refused_when_it_is_made() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        collector = site.content.propertyCollector
        with pytest.raises(vmodl.query.InvalidProperty):
            collector.CreateFilter(spec_of(vm, ["nonsense"]), True)
        gone = snapshot(site, vm, "one")
        WaitForTask(gone.RemoveSnapshot_Task(False), si=site.si)
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            collector.CreateFilter(spec_of(gone, ["config"]), True)

    played(client)


def test_an_object_that_goes_leaves_and_takes_nothing_along() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        snap = snapshot(site, vm, "one")
        collector, version = watched(site, spec_of(snap, ["vm"]))
        collector.CreateFilter(spec_of(vm, ["runtime.powerState"]), True)
        options = PC.WaitOptions(maxWaitSeconds=5)
        version = collector.WaitForUpdatesEx(version, options).version
        WaitForTask(snap.RemoveSnapshot_Task(False), si=site.si)
        update = collector.WaitForUpdatesEx(version, options)
        assert kinds(update) == ["leave"]
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        update = collector.WaitForUpdatesEx(update.version, options)
        assert kinds(update) == ["modify"]
        vm.UnregisterVM()
        update = collector.WaitForUpdatesEx(update.version, options)
        assert kinds(update) == ["leave"]
        assert "enter" not in kinds(
            collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=0))
        )

    played(client)


def test_a_task_that_comes_enters_and_tells_how_far_it_is() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        snap = snapshot(site, vm, "one")
        manager = site.content.taskManager
        walk = PC.TraversalSpec(
            name="t", type=vim.TaskManager, path="recentTask", skip=False, selectSet=[]
        )
        spec = spec_of(manager, ["info.progress", "info.state"], walk, kind=vim.Task)
        collector, version = watched(site, spec)
        task = snap.RemoveSnapshot_Task(False)
        seen, entered = set(), []
        while task.info.state == "running":
            update = collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=30))
            version = update.version
            for each in update.filterSet[0].objectSet:
                entered += [each.obj] if each.kind == "enter" else []
                seen |= {c.val for c in each.changeSet if c.name == "info.progress"}
        assert task in entered
        assert len({each for each in seen if each is not None and 0 < each < 100}) >= 2

    played(client)


def test_what_has_gone_is_let_go_of() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        held = len(list(site.center.everything()))
        for number in range(5):
            snap = snapshot(site, vm, f"{number}")
            ended(snap.RemoveSnapshot_Task(False))
        assert vm.name
        tasks = len(site.content.taskManager.recentTask)
        assert len(list(site.center.everything())) <= held + tasks

    played(client)


def test_a_client_that_waits_keeps_its_session() -> None:
    def client(site: Site) -> None:
        site.center.sessions.idle_seconds = 60.0
        collector, version = watched(site, spec_of(site.vm(), ["name"]))
        assert collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=300)) is None
        assert site.vm().name

    played(client)


def test_privileges_hold_where_the_tables_name_none() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        site.si = connect(site.dispatcher, READER.name, READER.password)
        reader = site.vm()
        for call in (
            lambda: reader.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=False)),
            reader.Destroy_Task,
        ):
            with pytest.raises(vim.fault.NoPermission):
                call()
        with pytest.raises(vim.fault.NoPermission):
            site.content.sessionManager.sessionList  # noqa: B018
        stub = connect(site.dispatcher, NOBODY.name, NOBODY.password)._stub
        with pytest.raises(vim.fault.NoPermission):
            vim.VirtualMachine(vm._moId, stub).config  # noqa: B018

    played(client, setting=Setting(users=(USER, READER, NOBODY)))


def test_who_has_not_logged_in_does_not_see_who_has() -> None:
    def client(site: Site) -> None:
        manager = site.content.sessionManager
        manager.Logout()
        with pytest.raises(vim.fault.NotAuthenticated):
            manager.sessionList  # noqa: B018
        assert manager.currentSession is None
        assert site.si.content.about.apiType == "VirtualCenter"

    played(client)
