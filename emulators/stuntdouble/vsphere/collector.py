"""The property collector: many properties of many objects in one call, and word of their changes.

A filter's specification names objects to start from, how to walk on from them, and which properties
of which types are wanted.  Selections may name one another and so go in circles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Error
from stuntdouble.vsphere import paths
from stuntdouble.vsphere.faults import fault_of, invalid_argument, not_permitted
from stuntdouble.vsphere.objects import Managed, operation
from stuntdouble.vsphere.reply import object_content, retrieve_result
from stuntdouble.vsphere.vmomi import coerced, managed_properties, vmodl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.reply import Rendered
    from stuntdouble.vsphere.sessions import Session
    from stuntdouble.vsphere.vmomi import Kind

_PC: Final = vmodl.query.PropertyCollector
SELECTED_MAX: Final = 1_000_000
"""Objects that one specification may select.  Chosen: a hundred times the largest inventory."""


class Selection:
    """What a filter specification asks for: objects in the order in which they are met."""

    def __init__(self, center: VirtualCenter, spec: Any) -> None:
        self._center = center
        self._wanted = list(spec.propSet)
        self._paths: dict[type[Managed], tuple[str, ...]] = {}
        self._objects = list(spec.objectSet)
        if not self._wanted:
            raise invalid_argument("propSet", "it is empty")
        for wanted in self._wanted:
            for path in wanted.pathSet:
                _check(wanted.type, path)

    def walk(self, *, again: bool = False) -> dict[str, Managed]:
        """Return the selected objects by their identifiers.

        Where they are walked *again*, a start that has gone meanwhile selects nothing.

        Raises:
            vmodl.fault.ManagedObjectNotFound: a start is gone.
            vmodl.fault.InvalidArgument: a selection names one that there is not.
        """
        found: dict[str, Managed] = {}
        for start in self._objects:
            if again and not self._center.has(start.obj):
                continue
            named = {s.name: s for s in _named(start.selectSet) if s.name}
            self._visit(self._center.resolve(start.obj), start, named, found)
        return found

    def _visit(
        self, start: Managed, spec: Any, named: dict[str, Any], found: dict[str, Managed]
    ) -> None:
        seen: set[tuple[str, int]] = set()
        todo: list[tuple[Managed, bool, Sequence[Any]]] = [(start, bool(spec.skip), spec.selectSet)]
        while todo:
            at, skip, selections = todo.pop()
            if not skip and self.paths_of(at):
                found.setdefault(at.moid, at)
                if len(found) > SELECTED_MAX:
                    raise invalid_argument("objectSet", f"it selects more than {SELECTED_MAX}")
            onward: list[tuple[Managed, bool, Sequence[Any]]] = []
            for selection in selections:
                step = _step(selection, named)
                if not isinstance(at.ref, step.type) or (at.moid, id(step)) in seen:
                    continue
                seen.add((at.moid, id(step)))
                onward += [
                    (child, bool(step.skip), step.selectSet) for child in self._along(at, step.path)
                ]
            todo += reversed(onward)

    def _along(self, at: Managed, path: str) -> Iterator[Managed]:
        value = paths.value_at(at, path)
        if value is None:
            return
        for ref in value if isinstance(value, list) else [value]:
            try:
                yield self._center.resolve(ref)
            except vmodl.fault.ManagedObjectNotFound:
                continue  # it went between being named and being visited

    def paths_of(self, managed: Managed) -> tuple[str, ...]:
        """Return the properties that are wanted of an object."""
        kind = type(managed)
        if kind not in self._paths:
            self._paths[kind] = tuple(self._paths_for(kind))
        return self._paths[kind]

    def _paths_for(self, kind: type[Managed]) -> Iterable[str]:
        found: dict[str, None] = {}
        for wanted in self._wanted:
            if not issubclass(kind.kind, wanted.type):
                continue
            # All are all that the type has: of those not emulated the reason is told.
            every = [
                name
                for name in managed_properties(kind.kind)
                if name in kind.shown or name not in kind.unset
            ]
            found.update(dict.fromkeys(every if wanted.all else wanted.pathSet))
        return found


def _check(kind: Kind, path: str) -> None:
    """Raise InvalidProperty where objects of a type have no such property."""
    (name, _key), *_rest = paths.parse(path)
    if name not in managed_properties(kind):
        raise vmodl.query.InvalidProperty(
            name=path, msg=f"The property {path} is not one of {kind.__name__}."
        )


def _named(selections: Iterable[Any]) -> Iterator[Any]:
    for selection in selections or ():
        if isinstance(selection, _PC.TraversalSpec):
            yield selection
            yield from _named(selection.selectSet)


def _step(selection: Any, named: dict[str, Any]) -> Any:
    if isinstance(selection, _PC.TraversalSpec):
        return selection
    if selection.name not in named:
        raise invalid_argument("selectSet", f"there is no selection named {selection.name!r}")
    return named[selection.name]


def content_of(
    center: VirtualCenter,
    session: Session,
    managed: Managed,
    wanted: Iterable[str],
    *,
    strict: bool = True,
) -> Any:
    """Return an ObjectContent: values, and per property the reason why it has none.

    A path that leads nowhere is refused; where that is not *strict*, it is a reason as well.
    """
    there, missing = [], []
    for path, reason in readable(session, managed, wanted):
        try:
            if reason is not None:
                raise reason
            value = center.property_of(managed, path)
        except (Error, vmodl.MethodFault) as error:
            missing.append(_missing(center, path, error, strict=strict))
        else:
            if paths.is_set(value):
                typed = coerced(value, paths.declared_at(managed.kind, path))
                there.append(vmodl.DynamicProperty(name=path, val=typed))
    return _PC.ObjectContent(obj=managed.ref, propSet=there, missingSet=missing)


def readable(
    session: Session, managed: Managed, wanted: Iterable[str]
) -> Iterator[tuple[str, Any]]:
    """Yield each path, and the fault that keeps this user from it, or None."""
    fields = managed_properties(managed.kind)
    for path in wanted:
        field = fields.get(path.partition(".")[0].partition("[")[0])
        privilege = (field.privilege if field else None) or "System.Read"
        yield path, None if session.may(privilege) else not_permitted(managed.ref, privilege)


def _missing(center: VirtualCenter, path: str, error: Any, *, strict: bool = True) -> Any:
    """Return why a property has no value; a path that there is not is the caller's mistake."""
    if strict and isinstance(error, vmodl.query.InvalidProperty):
        raise error
    fault = fault_of(error, center) if isinstance(error, Error) else error
    return _PC.MissingProperty(path=path, fault=fault)


def written(
    center: VirtualCenter, session: Session, managed: Managed, wanted: Iterable[str]
) -> Rendered:
    """Return what ``content_of`` does, as text: what has not changed is not written again."""
    there, missing = [], []
    for path, reason in readable(session, managed, wanted):
        try:
            if reason is not None:
                raise reason
            there.append(center.text_of(managed, path))
        except (Error, vmodl.MethodFault) as error:
            missing.append(_missing(center, path, error))
    return object_content(managed.ref, there, center.speaking, missing)


@dataclass(frozen=True, slots=True)
class _Rest:
    """What a paged retrieval has not told yet."""

    left: list[tuple[Managed, tuple[str, ...]]]
    size: int


class PropertyCollector(Managed):
    """``vmodl.query.PropertyCollector``, as far as it answers at once; see ``filters``."""

    kind = _PC

    def __init__(self, center: VirtualCenter, moid: str) -> None:
        super().__init__(center, moid)
        self.owner: Session | None = None

    # Asking once. ----------------------------------------------------------------------------

    @operation("RetrievePropertiesEx")
    def retrieve_properties_ex(
        self, session: Session, spec_set: list[Any], options: Any = None
    ) -> Any:
        asked = options.maxObjects if options is not None else None
        if asked is not None and asked < 1:
            raise invalid_argument("options.maxObjects", f"{asked} is below 1")
        most = self.center.setting.page_objects_max
        return self._page(session, self._select(spec_set, options), min(asked or most, most))

    @operation("ContinueRetrievePropertiesEx")
    def continue_retrieve_properties_ex(self, session: Session, token: str) -> Any:
        rest = session.rests.pop(token, None)
        if not isinstance(rest, _Rest):
            raise invalid_argument("token")
        return self._page(session, rest.left, rest.size)

    @operation("CancelRetrievePropertiesEx")
    def cancel_retrieve_properties_ex(self, session: Session, token: str) -> None:
        if not isinstance(session.rests.pop(token, None), _Rest):
            raise invalid_argument("token")

    @operation("RetrieveProperties")
    def retrieve_properties(self, session: Session, spec_set: list[Any]) -> Any:
        chosen = self._select(spec_set, None)
        return [content_of(self.center, session, each, wanted) for each, wanted in chosen]

    def _select(self, spec_set: list[Any], options: Any) -> list[tuple[Managed, tuple[str, ...]]]:
        del options
        if not spec_set:
            raise invalid_argument("specSet", "it is empty")
        chosen = []
        for spec in spec_set:
            selection = Selection(self.center, spec)
            try:
                found = selection.walk()
            except vmodl.fault.ManagedObjectNotFound:
                if not spec.reportMissingObjectsInResults:
                    raise
                continue
            chosen += [(each, selection.paths_of(each)) for each in found.values()]
        return chosen

    def _page(
        self, session: Session, chosen: list[tuple[Managed, tuple[str, ...]]], size: int
    ) -> Any:
        if not chosen:
            return None
        now, left = chosen[:size], chosen[size:]
        token = None
        if left:
            token = self.center.secret(16)
            session.put_off(token, _Rest(left, size))
        contents = [written(self.center, session, e, wanted) for e, wanted in now if e.alive()]
        return retrieve_result(contents, self.center.speaking, token)
