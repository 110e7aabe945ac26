"""What a client can make the server keep is bounded, whoever it is."""

from __future__ import annotations

import pytest
from pyVmomi import vim, vmodl

from stuntdouble.vsphere import Setting
from stuntdouble.vsphere import center as center_module
from stuntdouble.vsphere.sessions import OWN_MAX, RESTS_MAX, SESSIONS_MAX, TICKETS_MAX
from vcenter import USER, Site, played
from vsphere.mutating import quiet
from vsphere.test_collector import many, viewed


def test_views_of_a_session_are_counted_and_those_destroyed_are_not() -> None:
    def client(site: Site) -> None:
        views = site.content.viewManager
        first = views.CreateListView([])
        for _ in range(OWN_MAX - 1):
            views.CreateListView([])
        with pytest.raises(vim.fault.LimitExceeded) as refused:
            views.CreateListView([])
        assert refused.value.limit == OWN_MAX
        first.DestroyView()
        assert views.CreateListView([])
        site.content.sessionManager.Logout()
        assert site.center.sessions.all == {}

    played(client, change=quiet)


def test_of_retrievals_that_nobody_ends_the_oldest_is_let_go() -> None:
    def client(site: Site) -> None:
        collector = site.content.propertyCollector
        spec = viewed(site, [vim.VirtualMachine], ["name"])
        ask = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=1)
        tokens = [collector.RetrievePropertiesEx([spec], ask).token for _ in range(RESTS_MAX + 1)]
        with pytest.raises(vmodl.fault.InvalidArgument):
            collector.ContinueRetrievePropertiesEx(tokens[0])
        assert collector.ContinueRetrievePropertiesEx(tokens[1]).objects

    played(client, change=many)


def test_tickets_and_sessions_are_counted() -> None:
    def client(site: Site) -> None:
        manager = site.content.sessionManager
        first = manager.AcquireCloneTicket()
        for _ in range(TICKETS_MAX):
            manager.AcquireCloneTicket()
        assert len(site.center.tickets) == TICKETS_MAX
        assert first not in site.center.tickets
        sessions = site.center.sessions
        for _ in range(SESSIONS_MAX - 1):
            sessions.login(sessions.anonymous(), USER.name, USER.password, None)
        with pytest.raises(vim.fault.InvalidState):
            sessions.login(sessions.anonymous(), USER.name, USER.password, None)

    played(client, change=quiet)


def test_values_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(center_module, "KEPT_MAX", 10)

    def client(site: Site) -> None:
        vm = site.vm()
        collector = site.content.propertyCollector
        kinds = vmodl.query.PropertyCollector
        for key in range(2000, 2100):
            wanted = kinds.PropertySpec(
                type=vim.VirtualMachine, pathSet=[f"config.hardware.device[{key}]"]
            )
            spec = kinds.FilterSpec(objectSet=[kinds.ObjectSpec(obj=vm)], propSet=[wanted])
            collector.RetrieveContents([spec])
            collector.RetrievePropertiesEx([spec], kinds.RetrieveOptions())
        assert len(site.center._texts) <= 10
        assert len(site.center._values) <= 10
        long = f"config.hardware.device[{'1' * 2000}]"
        wanted.pathSet = [long]
        with pytest.raises(vmodl.query.InvalidProperty):
            collector.RetrieveContents([spec])

    played(client, setting=Setting(users=(USER,)), change=quiet)
