"""Alarms: what should not stay as it is.

Three of those that every vCenter defines on its root folder look at what is emulated: whether a
host answers, how full a datastore is, and whether a VM's disks need consolidation.  There are no
others, and no actions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.counters import COUNTERS
from stuntdouble.vsphere.history import lineage
from stuntdouble.vsphere.incidents import API, CONSOLIDATED, CONSOLIDATION_NEEDED
from stuntdouble.vsphere.objects import Entity, Managed, operation, prop
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.trace.journal import Event as Note
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

GREEN, YELLOW, RED = "green", "yellow", "red"
USED: Final = "disk.used.latest"
YELLOW_USED: Final = 7500
RED_USED: Final = 8500
"""Hundredths of a percent of a datastore in use: vCenter's "Datastore usage on disk" warns at 75 %
and alerts at 85 %, which is where the hypervisor notes a change."""

_A: Final = vim.alarm


class Alarm(Managed):
    """``vim.alarm.Alarm``."""

    kind = _A.Alarm
    unset = frozenset({"value", "availableField"})

    def __init__(
        self, center: VirtualCenter, moid: str, name: str, text: str, expressions: list[Any]
    ) -> None:
        super().__init__(center, moid)
        self.name = name
        self._text = text
        self._expressions = expressions

    @prop
    def info(self) -> Any:
        return new(
            _A.AlarmInfo,
            key=self.moid,
            alarm=self.ref,
            entity=self.center.roots.root_folder.ref,
            name=self.name,
            description=self._text,
            enabled=True,
            expression=new(_A.OrAlarmExpression, expression=self._expressions),
            lastModifiedTime=self.center.setting.epoch,
            lastModifiedUser="",
            creationEventId=0,
        )


class AlarmManager(Managed):
    """``vim.alarm.AlarmManager``."""

    kind = _A.AlarmManager

    def __init__(self, center: VirtualCenter, moid: str) -> None:
        super().__init__(center, moid)
        self.connection = center.add(
            Alarm(
                center,
                "alarm-1",
                "Host connection and power state",
                "Default alarm to monitor host connection and power state",
                [_silence()],
            )
        )
        self.usage = center.add(
            Alarm(
                center,
                "alarm-7",
                "Datastore usage on disk",
                "Default alarm to monitor datastore disk usage",
                [_usage()],
            )
        )
        self.consolidation = center.add(
            Alarm(
                center,
                "alarm-8",
                "Virtual machine Consolidation Needed status",
                "Default alarm that is triggered when VM consolidation needed status is set",
                [_on(CONSOLIDATION_NEEDED, RED), _on(CONSOLIDATED, GREEN)],
            )
        )
        self._levels: dict[str, str] = {}
        self._since: dict[tuple[str, str], float] = {}
        journal = center.hypervisor.host.journal
        for note in journal.of("datastore-usage"):
            self._levels[note.subject] = note.facts["level"]
            self._since[self.usage.moid, note.subject] = note.time
        journal.listeners.append(self._heard)

    # What is the matter. ---------------------------------------------------------------------

    def status_of(self, entity: Entity) -> str:
        """Return "green", "yellow" or "red"."""
        if isinstance(entity.ref, vim.VirtualMachine):
            needy = entity.vm.consolidation_needed  # type: ignore[attr-defined]  # it is one
            return RED if needy else GREEN
        if isinstance(entity.ref, vim.Datastore):
            return self._levels.get(entity.label(), GREEN)
        if isinstance(entity.ref, vim.HostSystem):
            return GREEN if entity.up else RED  # type: ignore[attr-defined]  # it is one
        return GREEN

    def _alarm_of(self, entity: Entity) -> Alarm | None:
        for kind, alarm in (
            (vim.VirtualMachine, self.consolidation),
            (vim.Datastore, self.usage),
            (vim.HostSystem, self.connection),
        ):
            if isinstance(entity.ref, kind):
                return alarm
        return None

    def triggered_in(self, entity: Entity) -> list[Any]:
        """Return the states of the alarms that an entity, or one within it, has set off."""
        return [
            self._state(each)
            for each in self._watched(entity)
            if self.status_of(each) != GREEN and _is_within(self.center, each, entity)
        ]

    def _watched(self, within: Entity) -> Iterator[Entity]:
        if self._alarm_of(within) is not None:
            yield within
        if isinstance(within.ref, vim.VirtualMachine | vim.Datastore):
            return
        if not isinstance(within.ref, vim.HostSystem):
            yield from self.center.roots.hosts()
        yield from self.center.roots.vms()
        yield from self.center.roots.datastores()

    def _state(self, entity: Entity) -> Any:
        alarm = self._alarm_of(entity)
        assert alarm is not None, "only what is watched has a state"
        since = self._since.get((alarm.moid, entity.label()), 0.0)
        return new(
            _A.AlarmState,
            key=f"{alarm.moid}.{entity.moid}",
            entity=entity.ref,
            alarm=alarm.ref,
            overallStatus=self.status_of(entity),
            time=self.center.when(since),
            acknowledged=False,
        )

    def _heard(self, note: Note) -> None:
        """Set off an alarm, or call it off, where a note says so."""
        if note.kind == "datastore-usage":
            before = self._levels.get(note.subject, GREEN)
            self._levels[note.subject] = note.facts["level"]
            self._tell(self.usage, note, before, note.facts["level"])
        elif note.kind == "unmounted":
            self._levels.pop(note.subject, None)
        elif note.kind in {"host-crash", "host-up"}:
            before, after = (GREEN, RED) if note.kind == "host-crash" else (RED, GREEN)
            self._tell(self.connection, note, before, after)
        elif note.kind == "needs-consolidation":
            self._tell(self.consolidation, note, GREEN, RED)
        elif note.kind == "consolidation" and note.facts["done"]:
            known = (self.consolidation.moid, note.subject)
            if known in self._since:
                self._tell(self.consolidation, note, RED, GREEN)
                del self._since[known]

    def _tell(self, alarm: Alarm, note: Note, before: str, after: str) -> None:
        self._since[alarm.moid, note.subject] = note.time
        roots, argument = self.center.roots, vim.event.ManagedEntityEventArgument
        told: dict[str, Any] = {
            "alarm": new(vim.event.AlarmEventArgument, name=alarm.name, alarm=alarm.ref),
            "source": new(argument, name=roots.root_folder.label(), entity=roots.root_folder.ref),
            "from": before,
            "to": after,
        }
        for entity in roots.about(note):
            if isinstance(entity, Entity) and self._alarm_of(entity) is alarm:
                told["entity"] = new(argument, name=entity.label(), entity=entity.ref)
                self.center.events.post(f"{API}AlarmStatusChangedEvent", [entity], **told)

    # What clients ask. -----------------------------------------------------------------------

    @prop
    def default_expression(self) -> list[Any]:
        return []

    @prop
    def description(self) -> Any:
        return new(_A.AlarmDescription)

    @operation("GetAlarm")
    def get_alarm(self, session: Session, entity: Any = None) -> list[Any]:
        """Return the alarms that are defined on an entity: on the root folder, if on any."""
        del session
        root = self.center.roots.root_folder
        if entity is not None and self.center.resolve_as(entity, Entity, "entity") is not root:
            return []
        return [self.connection.ref, self.usage.ref, self.consolidation.ref]

    @operation("GetAlarmState")
    def get_alarm_state(self, session: Session, entity: Any) -> list[Any]:
        """Return the state of the alarm that looks at an entity, set off or not."""
        del session
        found = self.center.resolve_as(entity, Entity, "entity")
        return [self._state(found)] if self._alarm_of(found) is not None else []

    @operation("AreAlarmActionsEnabled")
    def are_actions_enabled(self, session: Session, entity: Any) -> bool:
        del session
        return self.center.resolve_as(entity, Entity, "entity").alarm_actions_enabled()


def _is_within(center: VirtualCenter, entity: Entity, place: Entity) -> bool:
    own, above = lineage(center, [entity])
    return place.moid in own | above


def _silence() -> Any:
    return new(
        _A.StateAlarmExpression,
        operator="isEqual",
        type=vim.HostSystem,
        statePath="runtime.connectionState",
        red="notResponding",
    )


def _usage() -> Any:
    key = next(key for key, counter in enumerate(COUNTERS, 1) if counter.name == USED)
    metric = new(vim.PerformanceManager.MetricId, counterId=key, instance="")
    return new(
        _A.MetricAlarmExpression,
        operator="isAbove",
        type=vim.Datastore,
        metric=metric,
        yellow=YELLOW_USED,
        red=RED_USED,
    )


def _on(identifier: str, status: str) -> Any:
    return new(
        _A.EventAlarmExpression,
        eventType=vim.event.EventEx,
        eventTypeId=identifier,
        objectType=vim.VirtualMachine,
        status=status,
    )
