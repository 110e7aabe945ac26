"""Views: sets of managed objects that a client keeps for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.vsphere.objects import Entity, Managed, operation, prop
from stuntdouble.vsphere.vmomi import moid, vim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session


class View(Managed):
    """A view of one session."""

    kind = vim.view.View

    @operation("DestroyView")
    def destroy(self, session: Session) -> None:
        session.own.pop(self.moid, None)


class ContainerView(View):
    """What lies in a container now, whatever lay there when the view was made."""

    kind = vim.view.ContainerView

    def __init__(
        self, center: VirtualCenter, name: str, at: Entity, kinds: tuple[type[Any], ...]
    ) -> None:
        super().__init__(center, name)
        self.at = at
        self.kinds = kinds
        self.deep = False

    @prop
    def container(self) -> Any:
        return self.at.ref

    @prop
    def type_(self) -> list[Any]:
        return list(self.kinds)

    @prop
    def recursive(self) -> bool:
        return self.deep

    @prop
    def view(self) -> list[Any]:
        wanted = self.kinds or (vim.ManagedEntity,)
        return [each.ref for each in self._inside(self.at) if isinstance(each.ref, wanted)]

    def _inside(self, container: Entity) -> Iterator[Entity]:
        for each in container.below():
            yield each
            if self.deep:
                yield from self._inside(each)


class ListView(View):
    """A list of objects that the client named."""

    kind = vim.view.ListView

    def __init__(self, center: VirtualCenter, name: str, refs: list[Any]) -> None:
        super().__init__(center, name)
        self.refs = refs

    @prop
    def view(self) -> list[Any]:
        return list(self.refs)

    @operation("ModifyListView")
    def modify_list_view(
        self, session: Session, add: list[Any] | None = None, remove: list[Any] | None = None
    ) -> list[Any]:
        del session
        gone = {moid(ref) for ref in remove or ()}
        self.refs = [ref for ref in self.refs if moid(ref) not in gone]
        unknown = self._there(add or [])
        self.center.changes.regroup()
        return unknown

    @operation("ResetListView")
    def reset_list_view(self, session: Session, obj: list[Any] | None = None) -> list[Any]:
        del session
        self.refs = []
        unknown = self._there(obj or [])
        self.center.changes.regroup()
        return unknown

    def _there(self, refs: list[Any]) -> list[Any]:
        """Take in the objects that there are; return those that there are not."""
        unknown: list[Any] = []
        for ref in refs:
            (self.refs if self.center.has(ref) else unknown).append(ref)
        return unknown


class ViewManager(Managed):
    """``vim.view.ViewManager``."""

    kind = vim.view.ViewManager

    @prop
    def view_list(self) -> list[Any]:
        session = self.center.calling
        own = session.own.values() if session else ()
        return [each.ref for each in own if isinstance(each, View)]

    @operation("CreateContainerView")
    def create_container_view(
        self,
        session: Session,
        container: Any,
        recursive: bool,
        type_: list[type[Any]] | None = None,
    ) -> Any:
        at = self.center.resolve_as(container, Entity, "container")
        made = ContainerView(self.center, self._name(session), at, tuple(type_ or ()))
        made.deep = recursive
        return session.hold(made)

    @operation("CreateListView")
    def create_list_view(self, session: Session, obj: list[Any] | None = None) -> Any:
        made = ListView(self.center, self._name(session), list(obj or ()))
        return session.hold(made)

    def _name(self, session: Session) -> str:
        return f"session[{session.id}]view-{self.center.number('session')}"
