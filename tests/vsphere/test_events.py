"""Events: what there is one of, who finds it by which filter, and pages through the past."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.clock import perform
from stuntdouble.hypervisor import notes
from stuntdouble.vsphere import events
from stuntdouble.vsphere.incidents import INCIDENTS, NOTES, type_of
from vcenter import USER, Site, awaited, played

EVENT = vim.event
SPEC = EVENT.EventFilterSpec


def found(site: Site, **filters: Any) -> list[Any]:
    return site.content.eventManager.QueryEvents(SPEC(**filters))


def about(entity: Any, recursion: str) -> Any:
    return SPEC.ByEntity(entity=entity, recursion=recursion)


def ids(some: list[Any]) -> list[str]:
    return [e.eventTypeId if isinstance(e, EVENT.EventEx) else type(e).__name__ for e in some]


def snapped(site: Site) -> Any:
    vm = site.vm()
    WaitForTask(vm.CreateSnapshot_Task("s", None, False, False), si=site.si)
    WaitForTask(vm.snapshot.currentSnapshot.RemoveSnapshot_Task(False), si=site.si)
    return vm


def test_a_snapshot_is_a_task_with_a_chain_of_its_own() -> None:
    def client(site: Site) -> None:
        vm = snapped(site)
        tasks = found(site, type=[EVENT.TaskEvent])
        assert [e.info.name.info.wsdlName for e in tasks] == [
            "CreateSnapshot_Task",
            "RemoveSnapshot_Task",
        ]
        assert tasks[0].fullFormattedMessage == "Task: Create virtual machine snapshot"
        for event in tasks:
            assert event.userName == USER.name
            assert event.chainId == event.info.eventChainId == event.key
            assert event.vm.vm == vm
        made = found(site, eventChainId=tasks[0].key)
        assert "stuntdouble.vm.snapshot.created" in ids(made)
        assert "stuntdouble.vm.snapshot.removed" not in ids(made)
        assert {e.userName for e in made} == {USER.name}
        removed = ids(found(site, eventChainId=tasks[1].key))
        assert "stuntdouble.vm.snapshot.removed" in removed
        assert "com.vmware.vc.VmDiskConsolidatedEvent" in removed

    played(client)


def test_keys_and_times_grow_and_the_newest_is_the_managers() -> None:
    def client(site: Site) -> None:
        snapped(site)
        all_of_them = found(site)
        keys = [event.key for event in all_of_them]
        assert keys == sorted(set(keys))
        times = [event.createdTime for event in all_of_them]
        assert times == sorted(times)
        latest = site.content.eventManager.latestEvent
        assert latest.key == keys[-1]

    played(client)


def test_power_is_told_of_at_both_ends() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        WaitForTask(vm.PowerOffVM_Task(), si=site.si)
        WaitForTask(vm.PowerOnVM_Task(), si=site.si)
        mine = ids(found(site, entity=about(vm, "self")))
        assert [i for i in mine if i.startswith("vim.event.Vm")] == [
            "vim.event.VmStoppingEvent",
            "vim.event.VmPoweredOffEvent",
            "vim.event.VmStartingEvent",
            "vim.event.VmPoweredOnEvent",
        ]
        text = found(site, eventTypeId=["vim.event.VmPoweredOnEvent"])[0].fullFormattedMessage
        assert text == f"{vm.name} on host-1 in Datacenter is powered on"

    played(client)


def test_an_entity_is_found_with_what_lies_in_it_or_without() -> None:
    def client(site: Site) -> None:
        vm = snapped(site)
        content = site.content
        center = content.rootFolder.childEntity[0]
        folder, store = center.vmFolder, vm.datastore[0]
        for place in (content.rootFolder, center, folder, vm.resourcePool, vm.runtime.host):
            assert not [e for e in found(site, entity=about(place, "self")) if e.vm]
            below = found(site, entity=about(place, "children"))
            assert any(e.vm and e.vm.vm == vm for e in below)
            assert ids(below) == ids(
                [e for e in found(site, entity=about(place, "all")) if e in below or e.vm or e.ds]
            )
        assert found(site, entity=about(vm, "self"))
        assert not found(site, entity=about(vm, "children"))
        assert not found(site, entity=about(store, "all"))
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            found(site, entity=about(vim.VirtualMachine("vm-0"), "all"))

    played(client)


def test_filters_of_time_user_category_and_type() -> None:
    def client(site: Site) -> None:
        before = site.si.CurrentTime()
        vm = snapped(site)
        tasks = found(site, type=[EVENT.TaskEvent])
        second = tasks[1].createdTime
        later = found(site, time=SPEC.ByTime(beginTime=second))
        assert later[0].key <= tasks[1].key
        assert all(e.createdTime >= second for e in later)
        assert not found(site, time=SPEC.ByTime(endTime=before - timedelta(seconds=1)))
        mine = found(site, userName=SPEC.ByUsername(systemUser=False, userList=[USER.name]))
        assert {e.userName for e in mine} == {USER.name}
        assert len(mine) == len([e for e in found(site) if e.userName])
        assert all(isinstance(e, EVENT.VmEvent) for e in found(site, type=[EVENT.VmEvent]))
        site.content.eventManager.LogUserEvent(vm, "I was here")
        said = found(site, category=["user"])
        assert [e.message for e in said] == ["I was here"]
        assert len(found(site, maxCount=2)) == 2
        with pytest.raises(vmodl.fault.NotSupported):
            found(site, tag=["x"])

    played(client)


def test_a_vm_that_is_created_is_told_of_and_posting_is_refused() -> None:
    def client(site: Site) -> None:
        vm, manager = site.vm(), site.content.eventManager
        files = vim.vm.FileInfo(vmPathName=f"[{vm.datastore[0].name}] new/new.vmx")
        spec = vim.vm.ConfigSpec(name="new", files=files)
        task = vm.parent.CreateVM_Task(spec, vm.resourcePool)
        WaitForTask(task, si=site.si)
        (made,) = found(site, eventTypeId=["vim.event.VmCreatedEvent"])
        assert (made.vm.vm, made.chainId) == (task.info.result, task.info.eventChainId)
        with pytest.raises(vmodl.fault.NotSupported):
            manager.PostEvent(made)
        assert manager.CreateCollectorForEvents(SPEC()).initialized

    played(client)


def test_sessions_are_told_of() -> None:
    def client(site: Site) -> None:
        other = vim.ServiceInstance("ServiceInstance", type(site.si._stub)(site.dispatcher))
        manager = other.RetrieveContent().sessionManager
        with pytest.raises(vim.fault.InvalidLogin):
            manager.Login(USER.name, "wrong", None)
        session = manager.Login(USER.name, USER.password, None)
        manager.Logout()
        told = found(site, type=[EVENT.SessionEvent])
        assert [e.sessionId for e in told[-2:]] == [session.key] * 2
        assert session.key not in other._stub._session.key
        assert ids(told) == [
            "vim.event.UserLoginSessionEvent",
            "vim.event.BadUsernameSessionEvent",
            "vim.event.UserLoginSessionEvent",
            "vim.event.UserLogoutSessionEvent",
        ]

    played(client)


def test_what_the_hypervisor_notes_is_told_of() -> None:
    def client(site: Site) -> None:
        vm, host = site.vm(), site.world.hypervisor.host
        name, store = vm.name, vm.datastore[0].name
        host.note("paused", name, question="datastore x: no space")
        host.note("needs-consolidation", name)
        host.note("consolidation", name, done=False)
        host.note("stun", name, seconds=0.2, why="snapshot", line="stopped for 200000 us")
        host.note("tracking-lost", name, disk=2000, cause="crash")
        host.note("datastore-full", store, bytes_needed=2, bytes_free=1)
        host.note("host-crash", "host-1", vms=(name,))
        host.note("relocated", name, to=store, bytes=1, seconds=1.0)
        told = [e for e in found(site) if not isinstance(e, EVENT.AlarmEvent)][-8:]
        assert ids(told) == [
            "vim.event.VmMessageEvent",
            "com.vmware.vc.VmDiskConsolidationNeeded",
            "com.vmware.vc.VmDiskFailedToConsolidateEvent",
            "stuntdouble.vm.stunned",
            "stuntdouble.vm.tracking.lost",
            "stuntdouble.datastore.full",
            "vim.event.HostConnectionLostEvent",
            "vim.event.VmRelocatedEvent",
        ]
        question, needed, failed, stun, lost, full, host_lost, moved = told
        assert question.messageInfo[0].id == "msg.hbacommon.outofspace"
        assert (needed.severity, failed.severity) == ("warning", "error")
        assert needed.objectType is vim.VirtualMachine
        assert "stopped for 200000 us" in stun.fullFormattedMessage
        assert {each.key: each.value for each in lost.arguments} == {
            "disk": "2000",
            "cause": "crash",
        }
        assert full.ds.datastore == vm.datastore[0]
        assert host_lost.host.host == vm.runtime.host == moved.sourceHost.host

    played(client)


FACTS: dict[str, dict[str, Any]] = {
    "paused": {"question": "q"},
    "crash": {"line": "l"},
    "host-crash": {"vms": ()},
    "stun": {"seconds": 0.1, "why": "w", "line": "l"},
    "freeze": {"seconds": 0.1},
    "snapshot": {"id": "snapshot-1", "consistency": "crash"},
    "snapshot-removed": {"id": "snapshot-1"},
    "revert": {"id": "snapshot-1"},
    "consolidation": {"started": 0.0, "rounds": 1, "seconds": 1.0, "bytes": 1, "done": True},
    "delta-locked": {"files": ("f",), "by": "somebody"},
    "tracking-lost": {"disk": 2000, "cause": "crash"},
    "extended": {"disk": 2000, "bytes": 2, "bytes_before": 1},
    "datastore-usage": {"level": "red", "used": 0.9},
    "datastore-full": {"bytes_needed": 2, "bytes_free": 1},
    "mounted": {"volumes": ("6000",)},
    "rescanned": {"devices": 3},
    "relocated": {"to": "d", "bytes": 1, "seconds": 1.0},
}


def documented() -> dict[str, str]:
    """The kinds of notes that the hypervisor says it writes, and what each is about."""
    rows = re.findall(r"^    ([a-z-]+)  +(VM|host|datastore)\b", notes.__doc__, re.MULTILINE)
    return dict(rows)


def test_each_note_of_the_hypervisor_makes_an_event_of_its_subject() -> None:
    def client(site: Site) -> None:
        vm, host = site.vm(), site.world.hypervisor.host
        names = {"VM": vm.name, "host": "host-1", "datastore": vm.datastore[0].name}
        kinds = documented()
        assert {*kinds} - {*NOTES} == {"datastore-usage"}  # which an alarm tells of
        assert {*NOTES} <= {*kinds}
        for kind, subject in kinds.items():
            before = len(found(site))
            host.note(kind, names[subject], **FACTS.get(kind, {}))
            made = found(site)[before:]
            assert made, kind
            assert names[subject] in made[0].fullFormattedMessage

    played(client)


def test_what_nobody_has_seen_goes_unnoticed_and_what_has_gone_does_not() -> None:
    def client(site: Site) -> None:
        hypervisor = site.world.hypervisor
        before = len(found(site))
        hypervisor.host.note("destroyed", "never there")
        assert len(found(site)) == before
        name = next(iter(hypervisor.vms))
        awaited(perform(site.world.env, hypervisor.power_off(name)))
        awaited(perform(site.world.env, hypervisor.admin.unregister(name)))
        last = found(site)[-1]
        assert isinstance(last, EVENT.VmRemovedEvent)
        assert last.vm.name == name
        assert last.host.name == "host-1"

    played(client)


def test_a_reconfiguration_says_what_was_asked_for() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        wanted = not vm.config.changeTrackingEnabled
        spec = vim.vm.ConfigSpec(changeTrackingEnabled=wanted)
        WaitForTask(vm.ReconfigVM_Task(spec), si=site.si)
        (event,) = found(site, eventTypeId=["vim.event.VmReconfiguredEvent"])
        assert event.configSpec.changeTrackingEnabled is wanted
        assert event.userName == USER.name

    played(client)


def collector_of(site: Site, many: int) -> Any:
    vm = site.vm()
    for number in range(many):
        site.content.eventManager.LogUserEvent(vm, str(number))
    return site.content.eventManager.CreateCollectorForEvents(SPEC(category=["user"]))


def said(some: list[Any]) -> list[int]:
    return [int(event.message) for event in some]


def test_a_collector_reads_forth_and_back() -> None:
    def client(site: Site) -> None:
        collector = collector_of(site, 25)
        assert said(collector.latestPage) == list(range(15, 25))
        assert said(collector.ReadNextEvents(10)) == list(range(10))
        assert said(collector.ReadNextEvents(100)) == list(range(10, 25))
        assert collector.ReadNextEvents(10) == []
        assert said(collector.ReadPreviousEvents(5)) == [24, 23, 22, 21, 20]
        collector.ResetCollector()
        assert said(collector.ReadPreviousEvents(2)) == [14, 13]
        collector.ResetCollector()
        assert said(collector.ReadNextEvents(100)) == list(range(15, 25))
        collector.RewindCollector()
        assert collector.ReadPreviousEvents(10) == []
        collector.SetCollectorPageSize(3)
        assert said(collector.latestPage) == [22, 23, 24]
        assert collector.filter.category == ["user"]
        for wrong in (0, -1, 1001):
            with pytest.raises(vmodl.fault.InvalidArgument):
                collector.ReadNextEvents(wrong)
        collector.DestroyCollector()
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            collector.ReadNextEvents(1)

    played(client)


@given(pages=st.lists(st.integers(1, 9), min_size=30, max_size=30))
def test_pages_of_any_size_hold_every_event_once(pages: list[int]) -> None:
    kept = list(range(1, 21))

    class Some(events.EventHistoryCollector):
        def items(self) -> list[tuple[int, int]]:
            return [(3 * n, n) for n in kept]

    some = Some.__new__(Some)
    some._place, some._size = 0, 10
    assert [n for most in pages for n in some.forward(most)] == kept
    assert [n for most in pages for n in some.back(most)] == kept[::-1]


def test_a_session_has_so_many_collectors() -> None:
    def client(site: Site) -> None:
        manager = site.content.eventManager
        for _ in range(manager.maxCollector):
            manager.CreateCollectorForEvents(SPEC())
        with pytest.raises(vim.fault.InvalidState):
            manager.CreateCollectorForEvents(SPEC())

    played(client)


def test_a_latest_page_that_is_waited_for_follows() -> None:
    collect = vmodl.query.PropertyCollector

    def client(site: Site) -> None:
        collector = collector_of(site, 1)
        properties = site.content.propertyCollector
        wanted = collect.PropertySpec(type=type(collector), pathSet=["latestPage"])
        spec = collect.FilterSpec(objectSet=[collect.ObjectSpec(obj=collector)], propSet=[wanted])
        properties.CreateFilter(spec, False)
        version = properties.WaitForUpdatesEx(None, collect.WaitOptions(maxWaitSeconds=0)).version
        site.content.eventManager.LogUserEvent(site.vm(), "1")
        update = properties.WaitForUpdatesEx(version, collect.WaitOptions(maxWaitSeconds=0))
        (change,) = update.filterSet[0].objectSet[0].changeSet
        assert said(change.val) == [0, 1]

    played(client)


def test_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT_MAX", 5)

    def client(site: Site) -> None:
        for number in range(8):
            site.content.eventManager.LogUserEvent(site.vm(), str(number))
        assert said(found(site)) == [3, 4, 5, 6, 7]

    played(client)


def test_a_text_from_outside_is_kept_in_part() -> None:
    def client(site: Site) -> None:
        manager, long = site.content.sessionManager, "x" * 100_000
        site.content.eventManager.LogUserEvent(site.vm(), long)
        manager.Logout()
        with pytest.raises(vim.fault.InvalidLogin):
            manager.Login(long, "wrong", None)
        manager.Login(USER.name, USER.password, None)
        said, _out, bad, _in = found(site)[-4:]
        assert (len(said.message), len(bad.userName)) == (1024, 1024)
        assert max(len(e.fullFormattedMessage) for e in (said, bad)) < 2000

    played(client)


def test_tasks_of_the_past_are_found() -> None:
    def client(site: Site) -> None:
        vm = snapped(site)
        manager, spec = site.content.taskManager, vim.TaskFilterSpec
        collector = manager.CreateCollectorForTasks(spec(state=["success"]))
        names = [info.name.info.wsdlName for info in collector.ReadNextTasks(10)]
        assert names == ["CreateSnapshot_Task", "RemoveSnapshot_Task"]
        first, second = collector.latestPage
        by_chain = manager.CreateCollectorForTasks(spec(eventChainId=[second.eventChainId]))
        assert [info.key for info in by_chain.latestPage] == [second.key]
        ended = spec.ByTime(timeType="completedTime", endTime=first.completeTime)
        by_time = manager.CreateCollectorForTasks(spec(time=ended))
        assert [info.key for info in by_time.ReadNextTasks(9)] == [first.key]
        folder = spec.ByEntity(entity=vm.parent, recursion="children")
        assert len(manager.CreateCollectorForTasks(spec(entity=folder)).latestPage) == 2
        nobody = spec.ByUsername(systemUser=False, userList=["nobody"])
        assert manager.CreateCollectorForTasks(spec(userName=nobody)).latestPage == []
        with pytest.raises(vmodl.fault.NotSupported):
            manager.CreateCollectorForTasks(spec(tag=["x"]))

    played(client)


def test_the_catalogue_names_every_incident() -> None:
    def client(site: Site) -> Any:
        return site.content.eventManager.description

    described = played(client)
    extended = {
        each.fullFormat.partition("|")[0]
        for each in described.eventInfo
        if each.key is EVENT.EventEx
    }
    plain = {f"vim.event.{each.key.__name__.rpartition('.')[2]}" for each in described.eventInfo}
    assert set(INCIDENTS) == extended | (plain - {"vim.event.EventEx"})
    assert {identifier for some in NOTES.values() for identifier in some} <= set(INCIDENTS)
    assert all(issubclass(type_of(i), EVENT.Event) for i in INCIDENTS)
