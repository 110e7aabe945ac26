"""Managed objects, as a server has them: what a client sees of an emulated thing, and may ask of it.

pyVmomi's own ``ManagedObject`` is a client's reference and cannot hold a property; so each thing
has a ``Managed`` here, whose ``ref`` is that reference.  A property is a method under ``@prop``, an
operation one under ``@operation``; both are found by the names of the vSphere API.
"""

from __future__ import annotations

import builtins
import re
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from stuntdouble.errors import Bug
from stuntdouble.vsphere.vmomi import managed_properties, moid, vmodl

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

F = TypeVar("F", bound="Callable[..., Any]")

NAME_CHARACTERS_MAX: Final = 80
"""Names in the inventory have 80 characters at most (vSphere API, ManagedEntity.name)."""

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def prop(function: F) -> F:
    """Show the method as the property of the same name, in the API's spelling."""
    function.__shown__ = True  # type: ignore[attr-defined]
    return function


def operation(name: str) -> Callable[[F], F]:
    """Let clients call the method by *name*, as it stands on the wire.

    It is given the session and the arguments by name, spelled with underscores; one that would
    hide a builtin has one at its end.  It returns the result; or a generator, which is a model
    that takes site time and whose result is the call's; or an awaitable.
    """

    def mark(function: F) -> F:
        function.__operation__ = name  # type: ignore[attr-defined]
        return function

    return mark


@cache
def snake(name: str) -> str:
    """Return the Python spelling of a name of the API."""
    text = _WORD_START.sub("_", name).lower()
    return f"{text}_" if text in vars(builtins) else text


def camel(name: str) -> str:
    """Return the API's spelling of a Python name."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


class Managed:
    """A managed object of the server.

    ``unset`` are properties that are not there because there is nothing to show, as opposed to
    those that are not emulated.
    """

    kind: ClassVar[Any]
    unset: ClassVar[frozenset[str]] = frozenset()
    shown: ClassVar[dict[str, Callable[[Any], Any]]] = {}
    operations: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.shown, cls.operations = {}, {}
        cls.unset = cls.unset.union(*(base.__dict__.get("unset", ()) for base in cls.__mro__))
        for base in reversed(cls.__mro__):  # of parts as well, which are no managed objects
            for name, function in vars(base).items():
                if getattr(function, "__shown__", False):
                    cls.shown[camel(name)] = function
                if wire := getattr(function, "__operation__", ""):
                    cls.operations[wire] = function

    def __init__(self, center: VirtualCenter, moid: str) -> None:
        self.center = center
        self.ref = self.kind(moid)

    @property
    def moid(self) -> str:
        """The managed object's identifier."""
        return moid(self.ref)

    def alive(self) -> bool:
        """Say whether there still is what this stands for."""
        return True

    def gone(self) -> bool:
        """Say whether what this stands for is no more, as opposed to not visible yet."""
        return not self.alive()

    def stamp(self, name: str) -> Hashable | None:
        """Return what the property *name* depends on, None where that may change at any time.

        While the stamp is the same, so is the value.
        """
        del name
        return None

    def show(self, name: str) -> Any:
        """Return the value of a property.

        Raises:
            vmodl.query.InvalidProperty: the type has no such property.
            vmodl.fault.NotSupported: it has, and it is not emulated.
        """
        if name in self.shown:
            return self.shown[name](self)
        if name in self.unset:
            return None
        if name not in managed_properties(self.kind):
            raise vmodl.query.InvalidProperty(name=name)
        raise vmodl.fault.NotSupported(
            msg=f"The property {name} of {self.kind.__name__} is not emulated."
        )


class Entity(Managed):
    """A managed entity: what has a place in the inventory."""

    unset = frozenset(
        {
            *("value", "availableField", "customValue", "configIssue", "declaredAlarmState"),
            *("tag", "disabledMethod", "permission"),
        }
    )

    def above(self) -> Entity | None:
        """Return the entity that this one lies in."""
        return None

    def label(self) -> str:
        """Return the name."""
        raise Bug(f"{type(self).__name__} has no name")

    def below(self) -> Iterator[Entity]:
        """Yield what lies directly in this one, as container views walk it."""
        return iter(())

    @prop
    def name(self) -> str:
        return self.label()

    @prop
    def parent(self) -> Any:
        above = self.above()
        return above.ref if above else None

    @prop
    def overall_status(self) -> str:
        return self.center.roots.alarms.status_of(self)

    @prop
    def triggered_alarm_state(self) -> list[Any]:
        return self.center.roots.alarms.triggered_in(self)

    @prop
    def config_status(self) -> str:
        return "green"

    @prop
    def alarm_actions_enabled(self) -> bool:
        return True

    @prop
    def effective_role(self) -> list[int]:
        return [-1]  # Admin, the first of vSphere's built-in roles

    @prop
    def recent_task(self) -> list[Any]:
        return self.center.tasks.recent_of(self)

    @operation("Reload")
    def reload(self, session: Session) -> None:
        """Read the state again: there is no other copy of it here."""


def path_of(entity: Entity) -> str:
    """Return the inventory path: names from below the root folder down, '/' and '%' escaped."""
    names = []
    at: Entity | None = entity
    while at is not None and at.above() is not None:
        names.append(at.label().replace("%", "%25").replace("/", "%2f"))
        at = at.above()
    return "/".join(reversed(names))
