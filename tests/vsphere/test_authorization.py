"""Authorization: roles, permissions, privileges, and operations that somebody has disabled."""

from __future__ import annotations

from typing import Any

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from stuntdouble.vsphere import Setting
from stuntdouble.vsphere.sessions import READ_ONLY, User
from vcenter import USER, Site, played
from vsphere.wire import envelope

SNAPSHOTS = "VirtualMachine.State.CreateSnapshot"
USERS = (
    USER,
    User("reader", "r", READ_ONLY),
    User("backup", "b", READ_ONLY | {SNAPSHOTS}),
)


def asked(
    site: Site, method: str, names: str, vm: str, source: str = "backup"
) -> tuple[bytes, bool]:
    """Call an unpublished method as govmomi does."""
    body = envelope(
        f'<{method} xmlns="urn:internalvim25">'
        '<_this type="AuthorizationManager">AuthorizationManager</_this>'
        f'<entity type="VirtualMachine">{vm}</entity>{names}'
        f"<sourceId>{source}</sourceId></{method}>"
    )
    answer: tuple[bytes, bool] = site.si._stub.exchange(body, method)
    return answer


def disabling(*names: str) -> str:
    return "".join(f"<method><method>{n}</method><reasonId>r</reasonId></method>" for n in names)


def enabling(*names: str) -> str:
    return "".join(f"<method>{n}</method>" for n in names)


def test_a_source_disables_what_it_enables_again() -> None:
    def client(site: Site) -> None:
        vm = site.vm()
        moid = vm._moId
        body, fault = asked(
            site, "DisableMethods", disabling("RelocateVM_Task", "CreateSnapshot_Task"), moid
        )
        assert not fault
        assert b'<DisableMethodsResponse xmlns="urn:vim25"' in body
        asked(site, "DisableMethods", disabling("CreateSnapshot_Task"), moid, "another")
        assert list(vm.disabledMethod) == ["CreateSnapshot_Task", "RelocateVM_Task"]
        asked(site, "EnableMethods", enabling("CreateSnapshot_Task", "RelocateVM_Task"), moid)
        assert list(vm.disabledMethod) == ["CreateSnapshot_Task"]
        with pytest.raises(vim.fault.MethodDisabled) as refused:
            vm.CreateSnapshot_Task("s", None, False, False)
        assert refused.value.source == "another"
        asked(site, "EnableMethods", enabling("CreateSnapshot_Task"), moid, "another")
        WaitForTask(vm.CreateSnapshot_Task("s", None, False, False), si=site.si)

    played(client)


@pytest.mark.parametrize(
    ("names", "vm", "source", "said"),
    [
        (disabling("X"), "vm-0", "s", b"ManagedObjectNotFound"),
        (disabling("X"), "", "", b"sourceId"),
        (disabling("CreateSnapshot_Task", "X"), "", "s", b"there is no method"),
        (disabling("X") + "<sessionScope>true</sessionScope>", "", "s", b"NotSupported"),
        ("<method>X</method>", "", "s", b"InvalidRequest"),
    ],
)
def test_what_cannot_be_disabled_is_refused(names: str, vm: str, source: str, said: bytes) -> None:
    def client(site: Site) -> None:
        there = site.vm()
        body, fault = asked(site, "DisableMethods", names, vm or there._moId, source)
        assert fault
        assert said in body
        assert list(there.disabledMethod) == []

    played(client)


def test_a_reader_cannot_disable_anything() -> None:
    def client(site: Site) -> None:
        moid = site.vm()._moId
        manager = site.content.sessionManager
        manager.Logout()
        manager.Login("reader", "r", None)
        body, fault = asked(site, "DisableMethods", disabling("X"), moid)
        assert fault
        assert b"Global.DisableMethods" in body

    played(client, setting=Setting(users=USERS))


def test_users_have_roles_on_the_root() -> None:
    def client(site: Site) -> None:
        manager, root = site.content.authorizationManager, site.content.rootFolder
        roles = {role.roleId: role for role in manager.roleList}
        everything = {each.privId for each in manager.privilegeList}
        assert everything >= {
            "System.View",
            SNAPSHOTS,
            "VirtualMachine.Provisioning.DiskRandomRead",
        }
        assert {*roles[-1].privilege} == everything
        assert {*roles[-2].privilege} == READ_ONLY
        assert list(roles[-5].privilege) == []
        given = {each.principal: each.roleId for each in manager.RetrieveAllPermissions()}
        assert (given[USER.name], given["reader"]) == (-1, -2)
        own = roles[given["backup"]]
        assert not own.system
        assert {*own.privilege} == READ_ONLY | {SNAPSHOTS}
        assert [e.principal for e in manager.RetrieveRolePermissions(own.roleId)] == ["backup"]
        assert {e.entity for e in manager.RetrieveEntityPermissions(root, False)} == {root}
        vm = site.vm()
        assert manager.RetrieveEntityPermissions(vm, False) == []
        assert len(manager.RetrieveEntityPermissions(vm, True)) == len(USERS)
        with pytest.raises(vim.fault.NotFound):
            manager.RetrieveRolePermissions(99)
        groups = {each.key for each in manager.description.privilegeGroup}
        assert groups == {each.privGroupName for each in manager.privilegeList}

    played(client, setting=Setting(users=USERS))


def test_privileges_are_those_that_calls_are_refused_by() -> None:
    def client(site: Site) -> dict[str, bool]:
        content, vm = site.content, site.vm()
        sessions, manager = content.sessionManager, content.authorizationManager
        sessions.Logout()
        key = sessions.Login("backup", "b", None).key
        wanted = [SNAPSHOTS, "VirtualMachine.Interact.PowerOff"]
        assert list(manager.HasPrivilegeOnEntity(vm, key, wanted)) == [True, False]
        of_session = manager.HasPrivilegeOnEntities([vm, vm.parent], key, wanted)
        of_user = manager.HasUserPrivilegeOnEntities([vm, vm.parent], "backup", wanted)
        for answers in (of_session, of_user):
            assert [each.entity for each in answers] == [vm, vm.parent]
            for each in answers:
                said = {one.privId: one.isGranted for one in each.privAvailability}
                assert said == dict(zip(wanted, (True, False), strict=True))
        (mine,) = manager.FetchUserPrivilegeOnEntities([vm], "backup")
        assert {*mine.privileges} == READ_ONLY | {SNAPSHOTS}
        (nobodys,) = manager.HasUserPrivilegeOnEntities([vm], "nobody", wanted)
        assert not any(one.isGranted for one in nobodys.privAvailability)
        many = [str(n) for n in range(400)]
        for unbounded in (
            lambda: manager.HasPrivilegeOnEntities([vm], "no such session", wanted),
            lambda: manager.HasPrivilegeOnEntities([vm] * 400, key, many),
            lambda: manager.HasUserPrivilegeOnEntities([vm] * 400, "backup", many),
            lambda: manager.FetchUserPrivilegeOnEntities([vm] * 40_000, "backup"),
        ):
            with pytest.raises(vmodl.fault.InvalidArgument):
                unbounded()
        with pytest.raises(vim.fault.NoPermission):
            vm.PowerOffVM_Task()
        WaitForTask(vm.CreateSnapshot_Task("s", None, False, False), si=site.si)
        return {}

    played(client, setting=Setting(users=USERS))


OPTIONS = {"stuntdouble.native": "http://127.0.0.1:1/", "stuntdouble.nbd": "nbd://127.0.0.1:2"}


def test_options_tell_where_other_endpoints_are() -> None:
    def client(site: Site) -> Any:
        manager = site.content.setting
        (native,) = manager.QueryOptions("stuntdouble.native")
        assert native.value == OPTIONS["stuntdouble.native"]
        for every in (
            manager.setting,
            manager.QueryOptions(),
            manager.QueryOptions("stuntdouble."),
        ):
            assert {each.key: each.value for each in every} == OPTIONS
        for unknown in ("stuntdouble", "x", "x."):
            with pytest.raises(vim.fault.InvalidName):
                manager.QueryOptions(unknown)
        with pytest.raises(vmodl.fault.NotSupported):
            manager.UpdateOptions([native])
        with pytest.raises(vim.fault.InvalidName):
            manager.UpdateOptions([vim.option.OptionValue(key="x", value="y")])

    played(client, setting=Setting(users=USERS, options=OPTIONS))
