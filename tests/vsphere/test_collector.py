"""The property collector: selections, pages, missing properties, and what filters tell."""

from __future__ import annotations

from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.vsphere import Setting
from vcenter import USER, Site, played

PC = vmodl.query.PropertyCollector


def many(scenario: Any) -> Any:
    """The scenario with seven VMs like its first one."""
    first = scenario.vms[0]
    small = tuple(disk.model_copy(update={"size": 64 << 20, "written": 0}) for disk in first.disks)
    quiet = first.load.model_copy(update={"kind": "none"})
    vms = tuple(
        first.model_copy(update={"name": f"vm-{i}", "disks": small, "load": quiet})
        for i in range(7)
    )
    return scenario.model_copy(update={"vms": vms})


def viewed(site: Site, kinds: list[type], paths: list[str], **spec: Any) -> Any:
    view = site.content.viewManager.CreateContainerView(site.content.rootFolder, kinds, True)
    along = PC.TraversalSpec(name="t", path="view", skip=False, type=vim.view.ContainerView)
    return PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=view, skip=True, selectSet=[along])],
        propSet=[PC.PropertySpec(type=kinds[0], pathSet=paths, **spec)],
    )


def one(ref: Any, paths: list[str], **spec: Any) -> Any:
    return PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=ref)],
        propSet=[PC.PropertySpec(type=type(ref), pathSet=paths, **spec)],
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pages_hold_every_object_once(size: int) -> None:
    def client(site: Site) -> list[str]:
        collector = site.content.propertyCollector
        page = collector.RetrievePropertiesEx(
            [viewed(site, [vim.VirtualMachine], ["name"])], PC.RetrieveOptions(maxObjects=size)
        )
        names = []
        while page is not None:
            assert len(page.objects) <= size
            names += [each.propSet[0].val for each in page.objects]
            page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None
        return names

    assert played(client, change=many) == [f"vm-{i}" for i in range(7)]


def test_the_server_bounds_a_page_and_a_token_is_good_once() -> None:
    def client(site: Site) -> None:
        collector = site.content.propertyCollector
        spec = viewed(site, [vim.VirtualMachine], ["name"])
        page = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions())
        assert len(page.objects) == 3
        collector.ContinueRetrievePropertiesEx(page.token)
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ContinueRetrievePropertiesEx(page.token)
        rest = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions())
        collector.CancelRetrievePropertiesEx(rest.token)
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ContinueRetrievePropertiesEx(rest.token)

    played(client, change=many, setting=Setting(users=(USER,), page_objects_max=3))


def test_selections_that_name_each_other_end() -> None:
    """The traversal that every client of the first releases used: folders within folders."""

    def client(site: Site) -> None:
        again = PC.SelectionSpec(name="folders")
        folders = PC.TraversalSpec(
            name="folders",
            type=vim.Folder,
            path="childEntity",
            skip=False,
            selectSet=[again, PC.SelectionSpec(name="center")],
        )
        center = PC.TraversalSpec(
            name="center", type=vim.Datacenter, path="vmFolder", skip=False, selectSet=[again]
        )
        spec = PC.FilterSpec(
            objectSet=[
                PC.ObjectSpec(obj=site.content.rootFolder, skip=False, selectSet=[folders, center])
            ],
            propSet=[
                PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name"]),
                PC.PropertySpec(type=vim.ManagedEntity, pathSet=["parent"]),
            ],
        )
        found = site.content.propertyCollector.RetrieveContents([spec])
        vms = [each for each in found if isinstance(each.obj, vim.VirtualMachine)]
        assert len(vms) == 7
        assert {p.name for p in vms[0].propSet} == {"name", "parent"}
        unknown = PC.SelectionSpec(name="nowhere")
        spec.objectSet[0].selectSet = [unknown]
        with pytest.raises(vmodl.fault.InvalidArgument):
            site.content.propertyCollector.RetrieveContents([spec])

    played(client, change=many)


def test_paths_lead_into_lists_by_key() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        paths = [
            "config.hardware.device[2000].capacityInBytes",
            "config.hardware.device[2000].backing",
            "config.hardware.device[77]",
            "runtime.question",
        ]
        found = site.content.propertyCollector.RetrieveContents([one(vm, paths)])[0]
        values = {each.name: each.val for each in found.propSet}
        assert set(values) == set(paths[:2])
        assert values[paths[0]] == vm.config.hardware.device[8].capacityInBytes
        assert isinstance(values[paths[1]], vim.vm.device.VirtualDisk.FlatVer2BackingInfo)
        for path in ("config.nothing", "nothing", "config..name", "name.length", "config["):
            with pytest.raises(vmodl.query.InvalidProperty):
                site.content.propertyCollector.RetrieveContents([one(vm, [path])])

    played(client)


def test_what_is_not_emulated_is_missing_with_its_reason() -> None:
    def client(site: Site) -> None:
        host = site.content.rootFolder.childEntity[0].hostFolder.childEntity[0].host[0]
        found = site.content.propertyCollector.RetrieveContents(
            [one(host, ["name", "systemResources"])]
        )[0]
        assert [each.name for each in found.propSet] == ["name"]
        assert [each.path for each in found.missingSet] == ["systemResources"]
        assert isinstance(found.missingSet[0].fault, vmodl.fault.NotSupported)
        with pytest.raises(vmodl.fault.NotSupported):
            host.systemResources  # noqa: B018

    played(client)


def test_filters_tell_the_smallest_news_and_no_more() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        # One of its own, because waiting for tasks moves the version of the session's.
        collector = site.content.propertyCollector.CreatePropertyCollector()
        made = collector.CreateFilter(one(vm, ["snapshot", "config", "runtime.powerState"]), True)
        quiet = PC.WaitOptions(maxWaitSeconds=5)
        first = collector.WaitForUpdatesEx("", quiet)
        (entered,) = first.filterSet[0].objectSet
        assert entered.kind == "enter"
        assert {each.name for each in entered.changeSet} == {"config", "runtime.powerState"}
        assert collector.WaitForUpdatesEx(first.version, quiet) is None
        WaitForTask(vm.CreateSnapshot_Task("one", "", False, False), si=site.si)
        second = collector.WaitForUpdatesEx(first.version, quiet)
        (changed,) = second.filterSet[0].objectSet
        assert {each.name for each in changed.changeSet} == {"snapshot", "config.hardware.device"}
        WaitForTask(
            vm.snapshot.currentSnapshot.RemoveSnapshot_Task(removeChildren=False), si=site.si
        )
        third = collector.WaitForUpdatesEx(second.version, quiet)
        (gone,) = third.filterSet[0].objectSet
        unset = [each for each in gone.changeSet if each.name == "snapshot"]
        assert len(unset) == 1
        assert unset[0].op == "assign"
        assert unset[0].val is None
        with pytest.raises(vmodl.query.InvalidCollectorVersion):
            collector.WaitForUpdatesEx(first.version, quiet)
        again = collector.WaitForUpdatesEx("", quiet)
        assert [each.kind for each in again.filterSet[0].objectSet] == ["enter"]
        made.DestroyPropertyFilter()
        assert collector.WaitForUpdatesEx(again.version, quiet) is None

    played(client)


def test_a_wait_lasts_as_long_as_it_was_asked_to_and_ends_at_a_change() -> None:
    def client(site: Site) -> None:
        collector, vm = site.content.propertyCollector, site.vm()
        collector.CreateFilter(one(vm, ["runtime.powerState"]), True)
        version = collector.WaitForUpdatesEx("", PC.WaitOptions(maxWaitSeconds=0)).version
        began = site.now
        assert collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=30)) is None
        assert site.now == pytest.approx(began + 30)
        vm.PowerOffVM_Task()
        found = collector.WaitForUpdatesEx(version, PC.WaitOptions(maxWaitSeconds=1000))
        assert found.filterSet[0].objectSet[0].changeSet[0].val == "poweredOff"
        assert site.now < began + 60

    played(client)


def test_updates_are_cut_where_the_client_asks_and_none_is_lost() -> None:
    def client(site: Site) -> None:
        collector = site.content.propertyCollector
        collector.CreateFilter(viewed(site, [vim.VirtualMachine], ["name"]), False)
        version, seen, rounds = "", [], 0
        while True:
            options = PC.WaitOptions(maxWaitSeconds=0, maxObjectUpdates=3)
            found = collector.WaitForUpdatesEx(version, options)
            if found is None:
                break
            rounds += 1
            version = found.version
            seen += [each.obj._moId for each in found.filterSet[0].objectSet]
        assert rounds == 3
        assert len(seen) == len(set(seen)) == 7

    played(client, change=many)


def test_collectors_of_their_own_have_filters_of_their_own() -> None:
    def client(site: Site) -> None:
        shared, vm = site.content.propertyCollector, site.vm()
        own = shared.CreatePropertyCollector()
        own.CreateFilter(one(vm, ["name"]), True)
        assert shared.CheckForUpdates("") is None
        assert own.CheckForUpdates("").filterSet[0].objectSet[0].obj == vm
        own.DestroyPropertyCollector()
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            own.CheckForUpdates("")
        with pytest.raises(vmodl.fault.NotSupported):
            shared.DestroyPropertyCollector()

    played(client)


def test_the_same_run_gives_the_same_bytes() -> None:
    def client(site: Site) -> tuple[Any, ...]:
        vm = site.vm()
        task = vm.CreateSnapshot_Task("one", "", False, False)
        WaitForTask(task, si=site.si)
        return str(vm.config), str(task.info), str(vm.snapshot), site.si._stub._session.key

    assert played(client, seed=5) == played(client, seed=5)
    assert played(client, seed=5) != played(client, seed=6)
