"""Filters: what a client waits to hear of, and the smallest word of what is new.

A filter remembers what it has told.  When something has changed, only the objects that were touched
since are looked at again; all of them only where the inventory has been regrouped.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.collector import PropertyCollector, Selection, content_of
from stuntdouble.vsphere.faults import invalid_argument
from stuntdouble.vsphere.objects import Managed, operation, prop
from stuntdouble.vsphere.paths import declared_at
from stuntdouble.vsphere.vmomi import coerced, data_fields, vmodl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session
    from stuntdouble.vsphere.vmomi import Kind

_PC: Final = vmodl.query.PropertyCollector
WAIT_SECONDS_MAX: Final = 1800.0
"""How long a client is kept waiting that does not say: as long as its session lasts unused."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at the progress of tasks, on behalf of a client that waits.  Chosen."""
FILTERS_MAX: Final = 1000
"""Filters of a session.  Chosen; a client that makes more has lost count of them."""


class Filter(Managed):
    """``PropertyCollector.Filter``, of one session and one collector."""

    kind = _PC.Filter

    def __init__(
        self, center: VirtualCenter, moid: str, owner: tuple[Session, FilteringCollector], spec: Any
    ) -> None:
        super().__init__(center, moid)
        self.session, self.collector = owner
        self.partial = False
        self._spec = spec
        self._told: dict[str, dict[str, Any]] = {}
        self._chosen: dict[str, Managed] = {}
        self._seen = -1
        self._walked = -1
        self._selection = Selection(center, spec)
        self._selection.walk()  # what cannot be walked is refused now

    @prop
    def spec(self) -> Any:
        return self._spec

    @prop
    def partial_updates(self) -> bool:
        return self.partial

    @operation("DestroyPropertyFilter")
    def destroy(self, session: Session) -> None:
        session.own.pop(self.moid, None)

    def reset(self) -> None:
        """Forget what has been told."""
        self._told.clear()
        self._seen = self._walked = -1

    def updates(self, most: int | None) -> tuple[list[Any], bool]:
        """Return what is new, and whether there is more than *most* objects of it."""
        now = self.center.changes.latest
        found: list[Any] = []
        for managed in self._candidates():
            if not managed.alive():
                continue
            if most is not None and len(found) >= most:
                return found, True  # those told are remembered, the rest is looked at again
            if (update := self._update(managed)) is not None:
                found.append(update)
        chosen = self._chosen
        for moid in [m for m in self._told if m not in chosen or not chosen[m].alive()]:
            if most is not None and len(found) >= most:
                return found, True
            gone = self._told.pop(moid)
            found.append(_PC.ObjectUpdate(kind="leave", obj=gone["\0ref"]))
        self._seen = now
        return found, False

    def _candidates(self) -> list[Managed]:
        """Return the objects that may have something new, those of the selection in its order."""
        changes = self.center.changes
        if self._seen == changes.latest:
            return []
        if self._walked < changes.structure or self._seen < 0:
            self._walked = changes.latest
            self._chosen = self._selection.walk(again=True)
        new = [each for moid, each in self._chosen.items() if moid not in self._told]
        touched = changes.since(self._seen) if self._seen >= 0 else []
        return new + [
            self._chosen[moid] for moid in touched if moid in self._chosen and moid in self._told
        ]

    def _update(self, managed: Managed) -> Any:
        content = content_of(
            self.center, self.session, managed, self._selection.paths_of(managed), strict=False
        )
        new = {each.name: each.val for each in content.propSet}
        old = self._told.get(managed.moid)
        self._told[managed.moid] = {**new, "\0ref": managed.ref}
        if old is None:
            changes = [_PC.Change(name=k, op="assign", val=v) for k, v in new.items()]
            return _PC.ObjectUpdate(
                kind="enter", obj=managed.ref, changeSet=changes, missingSet=content.missingSet
            )
        changes = list(self._differences(managed.kind, old, new))
        if not changes:
            return None
        return _PC.ObjectUpdate(kind="modify", obj=managed.ref, changeSet=changes)

    def _differences(self, kind: Kind, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Any]:
        for name in old.keys() - new.keys() - {"\0ref"}:
            yield _PC.Change(name=name, op="assign")
        for name, value in new.items():
            if name not in old:
                yield _PC.Change(name=name, op="assign", val=value)
            elif not same(old[name], value):
                pairs = parts(old[name], value, name) if self.partial else [(name, value)]
                for path, part in pairs:
                    typed = coerced(part, declared_at(kind, path))
                    yield _PC.Change(name=path, op="assign", val=typed)


def same(old: Any, new: Any) -> bool:
    """Say whether two values of properties are equal, all the way down."""
    if old is new:
        return True
    if type(old) is not type(new):
        return bool(old == new) and not isinstance(old, vmodl.DynamicData)
    if isinstance(old, list):
        return len(old) == len(new) and all(map(same, old, new))
    if isinstance(old, vmodl.DynamicData | vmodl.MethodFault):
        return all(same(getattr(old, p), getattr(new, p)) for p in _members(old.__class__))
    return bool(old == new)


def parts(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the smallest differing members of two data objects, with their paths.

    A list is told whole, and so is an object of another type than before.
    """
    if not isinstance(new, vmodl.DynamicData) or type(old) is not type(new):
        yield path, new
        return
    for name in _members(new.__class__):
        before, after = getattr(old, name), getattr(new, name)
        if not same(before, after):
            yield from parts(before, after, f"{path}.{name}")


@cache
def _members(kind: Any) -> list[str]:
    return [field.name for field in data_fields(kind)]


class Watching:
    """Looks every now and then how far running tasks are, for as long as a client waits.

    Nothing announces progress: it is worked out when somebody asks.
    """

    def __init__(self, center: VirtualCenter) -> None:
        self._center = center
        self._timer = center.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._center.tasks.tell_progress()
        self._timer = self._center.call_later(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()


class FilteringCollector(PropertyCollector):
    """A property collector with filters, and the calls that wait for updates of them."""

    @prop
    def filter(self) -> list[Any]:
        session = self.center.calling
        return [each.ref for each in self.filters(session)] if session else []

    def filters(self, session: Session) -> list[Filter]:
        """Return the session's filters on this collector, oldest first."""
        own = session.own.values()
        return [each for each in own if isinstance(each, Filter) and each.collector is self]

    @operation("CreateFilter")
    def create_filter(self, session: Session, spec: Any, partial_updates: bool) -> Any:
        if sum(isinstance(each, Filter) for each in session.own.values()) >= FILTERS_MAX:
            raise invalid_argument("spec", f"the session has {FILTERS_MAX} filters")
        moid = f"session[{session.id}]filter-{self.center.number('session')}"
        made = Filter(self.center, moid, (session, self), spec)
        made.partial = partial_updates
        return session.hold(made)

    @operation("CreatePropertyCollector")
    def create_property_collector(self, session: Session) -> Any:
        moid = f"session[{session.id}]collector-{self.center.number('session')}"
        made = FilteringCollector(self.center, moid)
        made.owner = session
        return session.hold(made)

    @operation("DestroyPropertyCollector")
    def destroy_property_collector(self, session: Session) -> None:
        if self.owner is None:
            raise vmodl.fault.NotSupported(msg="The session's own collector cannot be destroyed.")
        for each in self.filters(session):
            session.own.pop(each.moid, None)
        session.own.pop(self.moid, None)
        session.versions.pop(self.moid, None)
        self.center.changes.cancel(self.moid, session.key)

    # Waiting. --------------------------------------------------------------------------------

    @operation("CheckForUpdates")
    def check_for_updates(self, session: Session, version: str | None = None) -> Any:
        self._begin(session, version)
        return self._collect(session, None)

    @operation("WaitForUpdates")
    def wait_for_updates(self, session: Session, version: str | None = None) -> Any:
        self._begin(session, version)
        return self._collect(session, None) or self._wait_for_any(session)

    async def _wait_for_any(self, session: Session) -> Any:
        """Wait as long as it takes; in the end, tell that there is nothing."""
        found = await self._wait(session, None, None)
        number = session.versions.get(self.moid, 0)
        return found or _PC.UpdateSet(version=str(number), filterSet=[])

    @operation("WaitForUpdatesEx")
    def wait_for_updates_ex(
        self, session: Session, version: str | None = None, options: Any = None
    ) -> Any:
        seconds = options.maxWaitSeconds if options is not None else None
        most = options.maxObjectUpdates if options is not None else None
        if seconds is not None and seconds < 0:
            raise invalid_argument("options.maxWaitSeconds", f"{seconds} is below 0")
        if most is not None and most < 1:
            raise invalid_argument("options.maxObjectUpdates", f"{most} is below 1")
        self._begin(session, version)
        found = self._collect(session, most)
        if found is not None or seconds == 0:
            return found
        return self._wait(session, seconds, most)

    @operation("CancelWaitForUpdates")
    def cancel_wait_for_updates(self, session: Session) -> None:
        self.center.changes.cancel(self.moid, session.key)

    def _begin(self, session: Session, version: str | None) -> None:
        """Check the version that the client has; none at all means from the beginning."""
        if not version:
            for each in self.filters(session):
                each.reset()
        elif version != str(session.versions.get(self.moid, 0)):
            raise vmodl.query.InvalidCollectorVersion(
                msg=f"The collector is not at version {version}."
            )

    def _collect(self, session: Session, most: int | None) -> Any:
        """Return an UpdateSet of what is new, None where nothing is."""
        found: list[Any] = []
        truncated = False
        for each in self.filters(session):
            left = None if most is None else most - sum(len(f.objectSet) for f in found)
            if left == 0:
                truncated = True
                break
            updates, more = each.updates(left)
            truncated = truncated or more
            if updates:
                found.append(_PC.FilterUpdate(filter=each.ref, objectSet=updates))
        if not found:
            return None
        number = session.versions[self.moid] = session.versions.get(self.moid, 0) + 1
        return _PC.UpdateSet(version=str(number), filterSet=found, truncated=truncated or None)

    async def _wait(self, session: Session, seconds: float | None, most: int | None) -> Any:
        wait = min(WAIT_SECONDS_MAX if seconds is None else seconds, WAIT_SECONDS_MAX)
        speaking = self.center.speaking
        over: list[bool] = []

        def give_up() -> None:
            over.append(True)
            self.center.changes.cancel(self.moid, session.key)

        timer = self.center.call_later(wait, give_up)
        session.waiting += 1
        watching = Watching(self.center)
        try:
            while (found := await self._news(session, most, speaking, over)) is None and not over:
                pass
            return found
        finally:
            timer.cancel()
            watching.stop()
            session.waiting -= 1
            session.active_at = self.center.patience_now()

    async def _news(
        self, session: Session, most: int | None, speaking: str, over: list[bool]
    ) -> Any:
        """Wait for a change, and return what is new by it; None where nothing is, or all is *over*."""
        change = self.center.changes.next(self.moid, session.key)
        try:
            called_off = await change
        finally:
            self.center.changes.left(self.moid, session.key, change)
        if over:
            return None
        if called_off:
            raise vmodl.fault.RequestCanceled(msg="The wait was cancelled.")
        if session.user is None:
            raise vmodl.fault.RequestCanceled(msg="The session has ended.")
        with self.center.env.entered():
            self.center.calling, self.center.speaking = session, speaking
            try:
                return self._collect(session, most)
            finally:
                self.center.calling = None
