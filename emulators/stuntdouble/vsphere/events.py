"""Events: what an operator sees of what has happened, and asks for afterwards.

They are made of the notes in the hypervisor's journal, of tasks and of sessions, and kept in order,
so many at most; see ``incidents`` for what there are events of.  A task's first event has the
number by which all that happens on its account is found again: its ``eventChainId``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.faults import not_supported
from stuntdouble.vsphere.history import (
    COLLECTORS_MAX,
    Followers,
    HistoryCollector,
    is_about,
    is_by,
    is_within,
    lineage,
    open_collector,
)
from stuntdouble.vsphere.incidents import (
    API,
    ENDS,
    INCIDENTS,
    NOT_CONSOLIDATED,
    NOTES,
    STARTS,
    description,
    task_label,
    type_of,
)
from stuntdouble.vsphere.objects import Entity, Managed, operation, prop
from stuntdouble.vsphere.vmomi import data_fields, make, moid, vim, vmodl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.trace.journal import Event as Note
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session
    from stuntdouble.vsphere.tasks import Task

KEPT_MAX: Final = 10_000
"""Events that are remembered.  vCenter keeps them for 30 days in its database."""
TEXT_MAX: Final = 1024
"""Characters of a text that an event keeps: some come from whoever knocks at the door.  Chosen."""
OUT_OF_SPACE: Final = "msg.hbacommon.outofspace"
"""Identifier of the question that a VM asks on a full datastore."""

_SUBJECTS: Final = {
    **dict.fromkeys(("host-crash", "host-up", "rescanned"), vim.HostSystem),
    **dict.fromkeys(("mounted", "unmounted", "datastore-full"), vim.Datastore),
}
"""What notes are about, where that is not a VM."""
_IGNORED: Final = ("scheduledTask", "tag", "auditable", "auditId")


@dataclass(frozen=True, slots=True)
class Posted:
    """An event, its identifier, and what it concerns, by identifiers of objects."""

    event: Any
    identifier: str
    own: frozenset[str]
    above: frozenset[str]


class EventHistoryCollector(HistoryCollector):
    """``vim.event.EventHistoryCollector``."""

    kind = vim.event.EventHistoryCollector

    def items(self) -> Sequence[tuple[int, Any]]:
        """Return the events that the filter lets through, oldest first."""
        return [(each.key, each) for each in self.center.events.matching(self.spec)]

    @prop
    def initialized(self) -> bool:
        return True

    @operation("ReadNextEvents")
    def read_next(self, session: Session, max_count: int) -> list[Any]:
        del session
        return self.forward(max_count)

    @operation("ReadPreviousEvents")
    def read_previous(self, session: Session, max_count: int) -> list[Any]:
        del session
        return self.back(max_count)


class EventManager(Managed):
    """``vim.event.EventManager``."""

    kind = vim.event.EventManager

    def __init__(self, center: VirtualCenter, moid: str) -> None:
        super().__init__(center, moid)
        self._kept: deque[Posted] = deque(maxlen=KEPT_MAX)
        self._keys = 0
        self._followers = Followers(center)
        center.hypervisor.host.journal.listeners.append(self._heard)

    @property
    def next_key(self) -> int:
        """The key of the event that is posted next."""
        return self._keys + 1

    # What happens. ---------------------------------------------------------------------------

    def post(
        self,
        identifier: str,
        subjects: Sequence[Managed],
        user: str = "",
        chain: int | None = None,
        **facts: Any,
    ) -> None:
        """Let something have happened.

        Args:
            identifier: one of ``INCIDENTS``.
            subjects: the entities that it concerns, the first one most of all.
            user: on whose account; the system's, where nobody is named.
            chain: the first event of what this belongs to; by default, itself.
            facts: further properties of the event, and what its text tells.
        """
        self._keys += 1
        kind = type_of(identifier)
        names = {field.name for field in data_fields(kind)}
        told = _arguments(self.center, subjects) | _clipped(facts)
        values = {
            "key": self._keys,
            "chainId": chain or self._keys,
            "createdTime": self.center.now(),
            "userName": user[:TEXT_MAX],
            **{name: value for name, value in told.items() if name in names},
        }
        incident = INCIDENTS[identifier]
        text = incident.text.format(**(told | values))
        values["fullFormattedMessage"] = text
        if not identifier.startswith(API):
            values |= _extended(identifier, incident.category, text, subjects, _clipped(facts))
        event = make(kind, values)
        own, above = lineage(self.center, subjects)
        root = self.center.roots.root_folder.moid  # sessions concern all there is
        self._kept.append(Posted(event, identifier, own or frozenset({root}), above))
        self.center.changes.touch(self)
        self._followers.tell()

    def task_started(self, task: Task) -> None:
        """Tell of a task that has just begun; its chain begins with the event."""
        info, name = task.info(), task.method
        user = info.reason.userName
        chain = info.eventChainId
        self.post(f"{API}TaskEvent", [task.on], user, chain, info=info, what=task_label(name))
        if name in STARTS:
            self.post(STARTS[name], [task.on], user, chain)

    def task_ended(self, task: Task) -> None:
        """Tell of what a task has achieved."""
        info = task.info()
        if str(info.state) != "success" or task.method not in ENDS:
            return
        on = task.on if info.result is None else self.center.resolve(info.result)
        self.post(ENDS[task.method], [on], info.reason.userName, info.eventChainId)

    def _heard(self, note: Note) -> None:
        """Make events of a note."""
        for identifier in NOTES.get(note.kind, ()):
            if note.kind == "consolidation" and not note.facts["done"]:
                identifier = NOT_CONSOLIDATED  # noqa: PLW2901 -- it says of itself which it is
            self._tell(identifier, note)

    def _tell(self, identifier: str, note: Note) -> None:
        subjects = self._subjects(note)
        if not subjects:
            return
        facts = dict(note.facts)
        if note.kind == "paused":
            facts["message"] = f"{OUT_OF_SPACE}: {note.facts['question']}"
            shown = vim.vm.Message(id=OUT_OF_SPACE, text=note.facts["question"])
            facts["messageInfo"] = [shown]
        arguments = _arguments(self.center, subjects)
        if note.kind in {"mounted", "unmounted"}:
            facts["datastore"] = arguments["ds"]
            subjects.append(next(self.center.roots.hosts()))
        if note.kind == "relocated":
            facts["sourceHost"] = arguments["host"]
            facts["sourceDatacenter"] = arguments["datacenter"]
        task = self.center.tasks.task_on(subjects[0])
        reason = task.info() if task is not None else None
        user = reason.reason.userName if reason else ""
        self.post(identifier, subjects, user, reason.eventChainId if reason else None, **facts)

    def _subjects(self, note: Note) -> list[Entity]:
        """Return what a note is about, also where that has just gone; nothing if nobody saw it."""
        wanted = _SUBJECTS.get(note.kind, vim.VirtualMachine)
        there = [each for each in self.center.roots.about(note) if isinstance(each.ref, wanted)]
        if not there:  # the latest one of that name
            there = [
                each
                for each in self.center.everything()
                if isinstance(each.ref, wanted) and _label(each) == note.subject
            ][-1:]
        return [each for each in there[:1] if isinstance(each, Entity)]

    # What is asked for. ----------------------------------------------------------------------

    def matching(self, spec: Any) -> list[Any]:
        """Return the events that a filter lets through, oldest first.

        Raises:
            vmodl.fault.NotSupported: it asks for what no event here has.
        """
        for name in _IGNORED:
            if getattr(spec, name, None):
                raise not_supported(f"filtering events by {name}")
        if spec.entity is not None:
            self.center.resolve_as(spec.entity.entity, Entity, "filter.entity.entity")
        found = [each.event for each in self._kept if _matches(each, spec)]
        return found[-spec.maxCount :] if spec.maxCount else found

    @prop
    def description(self) -> Any:
        return description()

    @prop
    def latest_event(self) -> Any:
        return self._kept[-1].event if self._kept else None

    @prop
    def max_collector(self) -> int:
        return COLLECTORS_MAX

    @operation("QueryEvents")
    def query_events(self, session: Session, filter_: Any, event_view_spec: Any = None) -> Any:
        """Return what a filter lets through, oldest first; of too many, the newest."""
        del session, event_view_spec
        return self.matching(filter_)[-1000:]

    @operation("CreateCollectorForEvents")
    def create_collector(self, session: Session, filter_: Any) -> Any:
        self.matching(filter_)  # whether it can be answered is said now
        name = f"session[{session.id}]events-{self.center.number('session')}"
        made = EventHistoryCollector(self.center, name, session, filter_)
        self._followers.add(made)
        return open_collector(session, made)

    @operation("LogUserEvent")
    def log_user_event(self, session: Session, entity: Any, msg: str) -> None:
        """Let a user's own words stand among the events."""
        found = self.center.resolve_as(entity, Entity, "entity")
        shown = vim.event.ManagedEntityEventArgument(name=found.label(), entity=found.ref)
        user = session.user.name if session.user else ""
        self.post(f"{API}GeneralUserEvent", [found], user, message=msg, entity=shown)

    @operation("PostEvent")
    def post_event(self, session: Session, event_to_post: Any, task_info: Any = None) -> None:
        del session, event_to_post, task_info
        raise not_supported("posting an extension's own events")


_TESTS: Final[tuple[Callable[[Posted, Any], bool], ...]] = (
    lambda posted, spec: (
        spec.entity is None
        or is_about(spec.entity, moid(spec.entity.entity), posted.own, posted.above)
    ),
    lambda posted, spec: (
        spec.time is None
        or is_within(posted.event.createdTime, spec.time.beginTime, spec.time.endTime)
    ),
    lambda posted, spec: spec.userName is None or is_by(spec.userName, posted.event.userName),
    lambda posted, spec: spec.eventChainId in {None, posted.event.chainId},
    lambda posted, spec: spec.alarm is None or _rings(posted.event, spec.alarm),
    lambda posted, spec: (
        not spec.category or INCIDENTS[posted.identifier].category in spec.category
    ),
    lambda posted, spec: not spec.eventTypeId or posted.identifier in spec.eventTypeId,
    lambda posted, spec: (
        not spec.type or bool(spec.eventTypeId) or isinstance(posted.event, tuple(spec.type))
    ),
)
"""What an event must pass; identifiers, where a filter has them, say more than types."""


def _matches(posted: Posted, spec: Any) -> bool:
    return all(test(posted, spec) for test in _TESTS)


def _rings(event: Any, alarm: Any) -> bool:
    rung = getattr(event, "alarm", None)
    return rung is not None and moid(rung.alarm) == moid(alarm)


def _arguments(center: VirtualCenter, subjects: Sequence[Managed]) -> dict[str, Any]:
    """Return the arguments that every event has: the VM, host, datastore that it concerns."""
    roots, event = center.roots, vim.event
    found: dict[str, Any] = {}
    for each in subjects:
        if not isinstance(each, Entity):
            continue
        host: Entity | None = None
        if isinstance(each.ref, vim.VirtualMachine):
            found["vm"] = event.VmEventArgument(name=each.label(), vm=each.ref)
            found["template"] = False
            host = roots.host_of(each.vm)  # type: ignore[attr-defined]  # it is one
        elif isinstance(each.ref, vim.HostSystem):
            host = each
        elif isinstance(each.ref, vim.Datastore):
            found["ds"] = event.DatastoreEventArgument(name=each.label(), datastore=each.ref)
        if host is not None:
            cluster = roots.cluster
            found["host"] = event.HostEventArgument(name=host.label(), host=host.ref)
            found["computeResource"] = event.ComputeResourceEventArgument(
                name=cluster.label(), computeResource=cluster.ref
            )
        home = roots.datacenter
        found["datacenter"] = event.DatacenterEventArgument(name=home.label(), datacenter=home.ref)
    return found


def _label(entity: Managed) -> str:
    return entity.label() if isinstance(entity, Entity) else ""


def _clipped(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts whose texts are no longer than is kept."""
    return {k: v[:TEXT_MAX] if isinstance(v, str) else v for k, v in facts.items()}


def _extended(
    identifier: str, category: str, text: str, subjects: Sequence[Managed], facts: dict[str, Any]
) -> dict[str, Any]:
    """Return what an EventEx has besides."""
    values: dict[str, Any] = {
        "eventTypeId": identifier,
        "severity": category,
        "message": text,
        "arguments": [vmodl.KeyAnyValue(key=k, value=str(v)) for k, v in facts.items()],
    }
    for each in subjects[:1]:
        values |= {"objectId": each.moid, "objectType": each.kind}
        if isinstance(each, Entity):
            values["objectName"] = each.label()
    return values
