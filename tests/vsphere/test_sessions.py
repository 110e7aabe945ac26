"""Sessions: who may do what, for how long, and what they see of each other."""

from __future__ import annotations

import asyncio

import pytest
from pyVmomi import vim, vmodl

from stuntdouble.vsphere import Setting, User, connect
from stuntdouble.vsphere.sessions import READ_ONLY
from vcenter import USER, Site, awaited, played


def test_who_is_not_logged_in_sees_nothing_and_who_only_reads_changes_nothing() -> None:
    reader = User("reader", "secret", READ_ONLY)

    def client(site: Site) -> None:
        with pytest.raises(vim.fault.InvalidLogin):
            connect(site.dispatcher, USER.name, "wrong")
        with pytest.raises(vim.fault.InvalidLogin):
            connect(site.dispatcher, "nobody", "")
        vm = site.vm()
        site.content.sessionManager.Logout()
        with pytest.raises(vim.fault.NotAuthenticated):
            vm.name  # noqa: B018
        site.si = connect(site.dispatcher, "READER", "secret")
        assert site.content.sessionManager.currentSession.userName == "reader"
        with pytest.raises(vim.fault.NoPermission) as caught:
            site.vm().CreateSnapshot_Task("one", "", False, False)
        assert caught.value.privilegeId == "VirtualMachine.State.CreateSnapshot"

    played(client, setting=Setting(users=(USER, reader)))


def test_a_session_ends_when_it_is_not_used() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        awaited(asyncio.sleep(1799))
        assert vm.name
        awaited(asyncio.sleep(1801))
        with pytest.raises(vim.fault.NotAuthenticated):
            vm.name  # noqa: B018

    played(client)


def test_sessions_do_not_show_each_other_their_keys() -> None:
    def client(site: Site) -> None:
        own = site.si._stub._session
        listed = site.content.sessionManager.sessionList
        assert own.key not in str(listed)
        view = site.content.viewManager.CreateContainerView(site.content.rootFolder, [], True)
        assert own.key[:8] not in view._moId
        other = connect(site.dispatcher, USER.name, USER.password)
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            vim.view.ContainerView(view._moId, other._stub).view  # noqa: B018
        assert other.RetrieveContent().sessionManager.SessionIsActive(own.id, USER.name)

    played(client)
