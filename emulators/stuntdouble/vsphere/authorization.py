"""Authorization: who may do what, and which operations are disabled for a while.

A user of a ``Setting`` has privileges everywhere: a permission on the root folder that is passed on.
Those who may do everything are administrators, those who may only look are read-only; each other set
of privileges is a role of its own.

``DisableMethods`` and ``EnableMethods`` are in no published interface: a backup that reads disks
calls them through VDDK, so that a VM is not moved meanwhile.  Their shape is that of govmomi's
``AuthorizationManager``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.faults import invalid_argument, not_supported
from stuntdouble.vsphere.machine import MachineOperations
from stuntdouble.vsphere.objects import Entity, Managed, operation, prop
from stuntdouble.vsphere.sessions import ALL_PRIVILEGES, ANONYMOUS, READ_ONLY
from stuntdouble.vsphere.vmomi import VIM25, lookup_method, managed_properties, new, vim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sized

    from stuntdouble.vsphere.sessions import Session, User

_A: Final = vim.AuthorizationManager

ADMIN: Final = -1
SYSTEM_ROLES: Final = {
    ADMIN: ("Admin", "Full access rights", ALL_PRIVILEGES),
    -2: ("ReadOnly", "See details of objects, but not make changes", READ_ONLY),
    -3: ("View", "Visibility access", frozenset({"System.Anonymous", "System.View"})),
    -4: ("Anonymous", "Not logged-in user", ANONYMOUS),
    -5: ("NoAccess", "Used for restricting granted access", frozenset[str]()),
}
"""The roles that every vCenter has, by their identifiers (vSphere API, AuthorizationRole)."""
ANSWERS_MAX: Final = 100_000
"""Privileges of entities in one answer: fifty of two thousand.  Chosen."""
OWN_ROLE: Final = 11
"""The first identifier of another role.  Chosen: above those of vCenter's sample roles."""


@cache
def privileges() -> tuple[str, ...]:
    """Return every privilege that an operation or a property here takes."""
    found = {"System.Anonymous", "System.View", "System.Read"}
    for kind in _kinds(Managed):
        for name in kind.operations:
            method = lookup_method(VIM25, name)
            if method is not None and method.privilege:
                found.add(method.privilege)
        known = managed_properties(kind.kind) if "kind" in vars(kind) else {}
        found |= {field.privilege for field in known.values() if field.privilege}
    return tuple(sorted(found))


def _kinds(kind: type[Managed]) -> Iterator[type[Managed]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


def _granted(user: User) -> list[str]:
    """Return the privileges of a user, one by one."""
    wanted = user.privileges | ANONYMOUS
    return [name for name in privileges() if "*" in wanted or name in wanted]


class AuthorizationManager(Managed):
    """``vim.AuthorizationManager``."""

    kind = _A

    # What there is. --------------------------------------------------------------------------

    @prop
    def privilege_list(self) -> list[Any]:
        return [
            new(
                _A.Privilege,
                privId=each,
                onParent=False,
                name=each.rpartition(".")[2],
                privGroupName=each.rpartition(".")[0],
            )
            for each in privileges()
        ]

    @prop
    def description(self) -> Any:
        groups = dict.fromkeys(each.rpartition(".")[0] for each in privileges())
        return new(
            vim.AuthorizationDescription,
            privilege=[_element(each) for each in privileges()],
            privilegeGroup=[_element(each) for each in groups],
        )

    @prop
    def role_list(self) -> list[Any]:
        return [
            new(
                _A.Role,
                roleId=number,
                system=number < 0,
                name=name,
                info=new(vim.Description, label=name, summary=summary),
                privilege=[each for each in privileges() if "*" in wanted or each in wanted],
            )
            for number, (name, summary, wanted) in self._roles().items()
        ]

    def _roles(self) -> dict[int, tuple[str, str, frozenset[str]]]:
        roles = dict(SYSTEM_ROLES)
        for user in self.center.sessions.users.values():
            if all(wanted != user.privileges for _, _, wanted in roles.values()):
                number = OWN_ROLE + len(roles) - len(SYSTEM_ROLES)
                roles[number] = f"Role of {user.name}", "A set of privileges", user.privileges
        return roles

    def _permissions(self) -> list[Any]:
        roles = self._roles()
        return [
            new(
                _A.Permission,
                entity=self.center.roots.root_folder.ref,
                principal=user.name,
                group=False,
                roleId=next(n for n, (_, _, each) in roles.items() if each == user.privileges),
                propagate=True,
            )
            for user in self.center.sessions.users.values()
        ]

    @operation("RetrieveAllPermissions")
    def retrieve_all(self, session: Session) -> list[Any]:
        del session
        return self._permissions()

    @operation("RetrieveRolePermissions")
    def retrieve_of_role(self, session: Session, role_id: int) -> list[Any]:
        del session
        if role_id not in self._roles():
            raise vim.fault.NotFound(msg=f"There is no role {role_id}.")
        return [each for each in self._permissions() if each.roleId == role_id]

    @operation("RetrieveEntityPermissions")
    def retrieve_of_entity(self, session: Session, entity: Any, inherited: bool) -> list[Any]:
        del session
        found = self.center.resolve_as(entity, Entity, "entity")
        own = found is self.center.roots.root_folder
        return self._permissions() if own or inherited else []

    # Who may. --------------------------------------------------------------------------------

    @operation("HasPrivilegeOnEntity")
    def may_on_entity(
        self, session: Session, entity: Any, session_id: str, priv_id: list[str] | None = None
    ) -> list[bool]:
        del session
        self._entities([entity])
        other = self._session(session_id)
        return [other.may(name) for name in priv_id or ()]

    @operation("HasPrivilegeOnEntities")
    def may_on_entities(
        self,
        session: Session,
        entity: list[Any],
        session_id: str,
        priv_id: list[str] | None = None,
    ) -> list[Any]:
        del session
        other = self._session(session_id)
        answers = {name: other.may(name) for name in priv_id or ()}
        _check_size(entity, answers)
        return [_of_entity(ref, answers) for ref in self._entities(entity)]

    @operation("HasUserPrivilegeOnEntities")
    def user_may_on_entities(
        self,
        session: Session,
        entities: list[Any],
        user_name: str,
        priv_id: list[str] | None = None,
    ) -> list[Any]:
        del session
        user = self.center.sessions.users.get(user_name.lower())
        there = set(_granted(user)) if user else set()
        everything = user is not None and "*" in user.privileges
        answers = {name: everything or name in there for name in priv_id or ()}
        _check_size(entities, answers)
        return [_of_entity(ref, answers) for ref in self._entities(entities)]

    @operation("FetchUserPrivilegeOnEntities")
    def fetch_of_user(self, session: Session, entities: list[Any], user_name: str) -> list[Any]:
        del session
        user = self.center.sessions.users.get(user_name.lower())
        there = _granted(user) if user else []
        _check_size(entities, there)
        return [
            new(_A.UserPrivilegeResult, entity=ref, privileges=list(there))
            for ref in self._entities(entities)
        ]

    def _entities(self, refs: Iterable[Any]) -> list[Any]:
        return [self.center.resolve_as(ref, Entity, "entity").ref for ref in refs]

    def _session(self, name: str) -> Session:
        for each in self.center.sessions.all.values():
            if each.id == name:
                return each
        raise invalid_argument("sessionId", "there is no such session")

    # Disabled operations. --------------------------------------------------------------------

    @operation("DisableMethods")
    def disable(
        self,
        session: Session,
        entity: list[Any],
        method: list[Any],
        source_id: str,
        session_scope: bool | None = None,
    ) -> None:
        """Refuse operations of VMs from now on, until the same source enables them."""
        del session
        if session_scope:
            raise not_supported("disabling methods for as long as a session lasts")
        names = [each.method for each in method]
        machines = self._machines(entity, source_id)
        for name in names:
            if lookup_method(VIM25, name) is None:
                raise invalid_argument("method", f"there is no method {name[:80]!r}")
        for machine in machines:
            self.center.hypervisor.admin.disable_methods(machine.vm, names, source_id)
            self.center.changes.touch(machine)

    @operation("EnableMethods")
    def enable(
        self, session: Session, entity: list[Any], method: list[str], source_id: str
    ) -> None:
        """Take back what a source has disabled."""
        del session
        for machine in self._machines(entity, source_id):
            self.center.hypervisor.admin.enable_methods(machine.vm, method, source_id)
            self.center.changes.touch(machine)

    def _machines(self, refs: Iterable[Any], source: str) -> list[Any]:
        if not source:
            raise invalid_argument("sourceId", "it is empty")
        found = [self.center.resolve_as(ref, Entity, "entity") for ref in refs]
        for each in found:
            if not isinstance(each, MachineOperations):
                raise not_supported(f"disabling methods of a {each.kind.__name__}")
        return found


def _check_size(entities: Sized, names: Sized) -> None:
    """Refuse a question whose answer would be without bounds."""
    if len(entities) * len(names) > ANSWERS_MAX:
        raise invalid_argument("entities", f"they make more than {ANSWERS_MAX} answers")


def _of_entity(ref: Any, answers: dict[str, bool]) -> Any:
    return new(
        _A.EntityPrivilege,
        entity=ref,
        privAvailability=[
            new(_A.PrivilegeAvailability, privId=name, isGranted=granted)
            for name, granted in answers.items()
        ],
    )


def _element(key: str) -> Any:
    return new(vim.ElementDescription, key=key, label=key, summary=key)
