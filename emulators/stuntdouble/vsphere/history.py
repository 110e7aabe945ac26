"""What has been: pages through the events and tasks of the past, and which of them are asked for.

    oldest ┌──────┬──────┬──────┬─ latest page ─┐ newest
           │  1 2 │  3 4 │  5 6 │    7 8 9      │
           └──────┴──────┴──────┴───────────────┘
           ▲ RewindCollector    ▲ ResetCollector     the place is between two items; reading moves it

What a page holds is looked up when it is read, so a collector costs no memory beyond its filter.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Bug
from stuntdouble.vsphere.faults import invalid_argument
from stuntdouble.vsphere.objects import Entity, Managed, operation, prop
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

COLLECTORS_MAX: Final = 32
"""Collectors of a session at a time.  Chosen; vCenter has a limit of its own."""
PAGE: Final = 10
"""Items of the latest page, where a client does not say.  Chosen."""
PAGE_MAX: Final = 1000
"""Items that are read at a time, and that a latest page has (vSphere API: a page of events or tasks
has 1000 items at most)."""

Item = tuple[int, Any]
"""A number that grows, and what is shown."""


class HistoryCollector(Managed):
    """A collector of one session: a filter, a place, and the latest page."""

    def __init__(self, center: VirtualCenter, moid: str, session: Session, spec: Any) -> None:
        super().__init__(center, moid)
        self.session = session
        self.spec = spec
        self._place = 0
        self._size = PAGE

    def items(self) -> Sequence[Item]:
        """Return everything that the filter lets through, oldest first."""
        raise Bug(f"{type(self).__name__} has nothing to show")

    @prop
    def filter(self) -> Any:
        return self.spec

    @prop
    def latest_page(self) -> list[Any]:
        return [shown for _, shown in self.items()[-self._size :]]

    def forward(self, most: int) -> list[Any]:
        """Return the next newer items, oldest first, and move on behind them."""
        found = [item for item in self.items() if item[0] > self._place][: _checked(most)]
        if found:
            self._place = found[-1][0]
        return [shown for _, shown in found]

    def back(self, most: int) -> list[Any]:
        """Return the next older items, newest first, and move back before them."""
        found = [item for item in self.items() if item[0] <= self._place][-_checked(most) :]
        if found:
            self._place = found[0][0] - 1
        return [shown for _, shown in reversed(found)]

    @operation("SetCollectorPageSize")
    def set_page_size(self, session: Session, max_count: int) -> None:
        del session
        self._size = _checked(max_count)
        self.center.changes.touch(self)

    @operation("RewindCollector")
    def rewind(self, session: Session) -> None:
        """Move before the oldest item."""
        del session
        self._place = 0

    @operation("ResetCollector")
    def reset(self, session: Session) -> None:
        """Move before the latest page."""
        del session
        older = self.items()[: -self._size]
        self._place = older[-1][0] if older else 0

    @operation("DestroyCollector")
    def destroy(self, session: Session) -> None:
        session.own.pop(self.moid, None)
        self.center.changes.forget(self)


def _checked(most: int) -> int:
    if not 0 < most <= PAGE_MAX:
        raise invalid_argument("maxCount", f"{most} is none of 1 to {PAGE_MAX}")
    return most


def open_collector(session: Session, made: HistoryCollector) -> Any:
    """Let a session have a collector; return its reference.

    Raises:
        vim.fault.InvalidState: it has too many.
    """
    there = sum(type(each) is type(made) for each in session.own.values())
    if there >= COLLECTORS_MAX:
        raise vim.fault.InvalidState(msg=f"The session has {there} collectors: destroy one.")
    session.own[made.moid] = made
    return made.ref


class Followers:
    """The collectors whose latest page follows what happens."""

    def __init__(self, center: VirtualCenter) -> None:
        self._center = center
        self._open: deque[HistoryCollector] = deque()

    def add(self, made: HistoryCollector) -> None:
        """Take a collector in."""
        self._open.append(made)

    def tell(self) -> None:
        """Say that there are new items; let go of collectors that are no more."""
        for _ in range(len(self._open)):
            each = self._open.popleft()
            if each.session.own.get(each.moid) is each:
                self._open.append(each)
                self._center.changes.touch(each)
            else:
                self._center.changes.forget(each)


def lineage(center: VirtualCenter, entities: Iterable[Managed]) -> tuple[frozenset[str], ...]:
    """Return the identifiers of entities, and of everything that they lie in or run on."""
    own: set[str] = set()
    above: set[str] = set()
    for each in entities:
        own.add(each.moid)
        todo: list[Managed | None] = [each.above()] if isinstance(each, Entity) else []
        vm = getattr(each, "vm", None)
        if isinstance(each.ref, vim.VirtualMachine) and vm is not None:
            todo += [center.roots.pool, center.roots.host_of(vm)]
        while todo:
            at = todo.pop()
            if isinstance(at, Entity) and at.moid not in above:
                above.add(at.moid)
                todo.append(at.above())
    return frozenset(own), frozenset(above)


def is_about(spec: Any, named: str, own: frozenset[str], above: frozenset[str]) -> bool:
    """Say whether what concerns *own*, which lies in *above*, is within an entity filter."""
    here, below = named in own, named in above
    reach = str(spec.recursion)
    return (here and reach != "children") or (below and reach != "self")


def is_by(spec: Any, user: str) -> bool:
    """Say whether what a user did, or the system where it is empty, is within a user filter."""
    return spec.systemUser if not user else user in (spec.userList or ())


def is_within(at: datetime | None, begin: datetime | None, end: datetime | None) -> bool:
    """Say whether a time lies between two, both of which may be open."""
    if at is None:
        return begin is None and end is None
    return (begin is None or at >= begin) and (end is None or at <= end)
