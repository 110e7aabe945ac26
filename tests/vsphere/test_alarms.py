"""Alarms: what sets them off, whose status shows it, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim, vmodl

from stuntdouble.clock import perform
from stuntdouble.ports import Provisioning
from stuntdouble.vsphere import VirtualCenter
from vcenter import Site, awaited, ended, played

SPEC = vim.event.EventFilterSpec


def told(site: Site) -> list[Any]:
    kind = vim.event.AlarmStatusChangedEvent
    return site.content.eventManager.QueryEvents(SPEC(type=[kind]))


def test_a_datastore_that_fills_up_turns_yellow_and_red() -> None:
    def client(site: Site) -> None:
        store = site.vm().datastore[0]
        host = site.world.hypervisor.host
        assert store.overallStatus == "green"
        assert list(store.triggeredAlarmState) == []
        for level in ("yellow", "red"):
            host.note("datastore-usage", store.name, level=level, used=0.8)
            assert store.overallStatus == level
            for entity in (store, store.parent, site.content.rootFolder):
                (state,) = entity.triggeredAlarmState
                assert (state.entity, state.overallStatus) == (store, level)
                assert state.time == site.si.CurrentTime()
        assert list(site.vm().triggeredAlarmState) == []
        assert list(site.vm().parent.triggeredAlarmState) == []
        host.note("datastore-usage", store.name, level="green", used=0.1)
        assert list(site.content.rootFolder.triggeredAlarmState) == []
        events = told(site)
        assert [(getattr(e, "from"), e.to) for e in events] == [
            ("green", "yellow"),
            ("yellow", "red"),
            ("red", "green"),
        ]
        assert {e.entity.entity for e in events} == {store}
        (alarm,) = {e.alarm.alarm for e in events}
        assert "'Datastore usage on disk' on datastore-1" in events[0].fullFormattedMessage
        found = site.content.eventManager.QueryEvents(SPEC(alarm=alarm))
        assert [e.key for e in found] == [e.key for e in events]

    played(client)


def test_what_was_noted_before_anybody_asked_is_known() -> None:
    def client(site: Site) -> None:
        name = site.vm().datastore[0].name
        host = site.world.hypervisor.host
        host.note("datastore-usage", name, level="red", used=0.9)
        later = VirtualCenter(site.world.hypervisor)
        (store,) = later.roots.datastores()
        assert later.roots.alarms.status_of(store) == "red"
        (state,) = later.roots.alarms.triggered_in(later.roots.root_folder)
        assert state.time == later.now()
        host.note("unmounted", name)
        assert later.roots.alarms.status_of(store) == "green"

    played(client)


def test_the_level_of_a_datastore_that_is_filled_is_noted() -> None:
    """Not by a note of the test's own: a file that takes up 80 % of what there is."""

    def client(site: Site) -> None:
        store = site.vm().datastore[0]
        inside = next(iter(site.world.hypervisor.datastores.values()))
        wanted = int(inside.capacity_bytes * 0.8) - (inside.capacity_bytes - inside.free_bytes)
        size = site.world.site.block_bytes
        file = inside.create_flat("big-flat.vmdk", wanted // size, Provisioning.LAZY_ZEROED)
        assert store.overallStatus == "yellow"
        inside.delete(file)
        assert store.overallStatus == "green"

    played(client)


def test_a_vm_that_needs_consolidation_is_red_until_it_is_done() -> None:
    def client(site: Site) -> None:
        vm, inside = site.vm(), next(iter(site.world.hypervisor.vms.values()))
        assert ended(vm.CreateSnapshot_Task("s", None, False, False)).state == "success"
        snapshot = vm.snapshot.currentSnapshot
        assert ended(snapshot.RemoveSnapshot_Task(False, False)).state == "success"
        assert inside.consolidation_needed
        assert vm.overallStatus == vm.summary.overallStatus == "red"
        (state,) = vm.parent.triggeredAlarmState
        assert (state.entity, state.alarm.info.name) == (
            vm,
            "Virtual machine Consolidation Needed status",
        )
        assert ended(vm.ConsolidateVMDisks_Task()).state == "success"
        assert vm.overallStatus == "green"
        assert [(getattr(e, "from"), e.to) for e in told(site)] == [
            ("green", "red"),
            ("red", "green"),
        ]

    played(client)


def test_a_host_that_does_not_answer_is_red_and_so_are_its_vms_cut_off() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        host = vm.runtime.host
        collect = vmodl.query.PropertyCollector
        properties = site.content.propertyCollector
        wanted = collect.PropertySpec(type=vim.HostSystem, pathSet=["runtime", "overallStatus"])
        some = [collect.ObjectSpec(obj=host)]
        properties.CreateFilter(collect.FilterSpec(objectSet=some, propSet=[wanted]), True)
        version = properties.WaitForUpdatesEx(None, collect.WaitOptions(maxWaitSeconds=0)).version
        hypervisor = site.world.hypervisor
        awaited(perform(site.world.env, hypervisor.crash_host("host-1")))
        assert (host.runtime.connectionState, host.runtime.powerState) == (
            "notResponding",
            "unknown",
        )
        assert (host.overallStatus, host.summary.overallStatus) == ("red", "red")
        assert (vm.runtime.connectionState, vm.runtime.powerState) == ("disconnected", "poweredOff")
        (state,) = host.parent.triggeredAlarmState
        assert (state.entity, state.alarm.info.name) == (host, "Host connection and power state")
        update = properties.WaitForUpdatesEx(version, collect.WaitOptions(maxWaitSeconds=0))
        changed = {c.name: c.val for c in update.filterSet[0].objectSet[0].changeSet}
        assert changed["runtime.connectionState"] == "notResponding"
        assert changed["overallStatus"] == "red"
        hypervisor.restart_host("host-1")
        assert (host.overallStatus, vm.runtime.connectionState) == ("green", "connected")
        assert [(getattr(e, "from"), e.to) for e in told(site)] == [
            ("green", "red"),
            ("red", "green"),
        ]
        said = site.content.eventManager.QueryEvents(SPEC(type=[vim.event.HostEvent]))
        assert [type(e).__name__.rpartition(".")[2] for e in said] == [
            "HostConnectionLostEvent",
            "HostConnectedEvent",
        ]

    played(client)


def test_alarms_are_defined_on_the_root() -> None:
    def client(site: Site) -> None:
        manager, vm = site.content.alarmManager, site.vm()
        connection, usage, consolidation = manager.GetAlarm()
        assert manager.GetAlarm(site.content.rootFolder) == [connection, usage, consolidation]
        assert connection.info.expression.expression[0].statePath == "runtime.connectionState"
        assert manager.GetAlarm(vm) == []
        (expression,) = usage.info.expression.expression
        counters = {c.key: c.nameInfo.key for c in site.content.perfManager.perfCounter}
        assert counters[expression.metric.counterId] == "used"
        assert (expression.yellow, expression.red) == (7500, 8500)
        (state,) = manager.GetAlarmState(vm)
        assert (state.alarm, state.overallStatus) == (consolidation, "green")
        assert manager.GetAlarmState(vm.parent) == []
        assert manager.AreAlarmActionsEnabled(vm)
        assert list(manager.defaultExpression) == []
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            manager.GetAlarm(vim.VirtualMachine("vm-0"))

    played(client)
