"""Tasks: what takes time on the server, its progress, and how it ended."""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import simpy

from stuntdouble.errors import Error
from stuntdouble.vsphere.faults import fault_of
from stuntdouble.vsphere.history import COLLECTORS_MAX, Followers, open_collector
from stuntdouble.vsphere.objects import Entity, Managed, operation, prop
from stuntdouble.vsphere.taskhistory import TaskHistoryCollector, matching
from stuntdouble.vsphere.vmomi import VIM25, support, vim, vmodl, wire_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from simpy.events import Event, Process

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

KEPT_MAX: Final = 1000
"""Finished tasks that are remembered.  vCenter keeps them for 30 days in its database; a client that
waits for one asks within minutes."""
RECENT_SECONDS: Final = 600.0
"""A task is recent for 10 minutes after it has ended (vSphere API, TaskManager.recentTask)."""

_CANCELABLE: Final = frozenset({"CreateSnapshot_Task", "CreateVM_Task", "RelocateVM_Task"})
"""Tasks that can be cancelled.  Which ones can is not published; merging disks is not undone."""


class Task(Managed):
    """``vim.Task``: a model of the hypervisor at work."""

    kind = vim.Task
    unset = frozenset({"value", "availableField"})

    def __init__(self, center: VirtualCenter, moid: str, on: Entity, name: str) -> None:
        super().__init__(center, moid)
        self.on = on
        self.method = name
        self.process: Process | None = None
        self.told: Callable[[Any], Any] = lambda value: value
        self.fraction: Callable[[], float | None] = lambda: None
        now = center.now()
        user = center.calling.user.name if center.calling and center.calling.user else "stuntdouble"
        self._info = vim.TaskInfo(
            key=moid,
            task=self.ref,
            name=support.GetWsdlMethod(VIM25, name),
            descriptionId=f"{wire_name(on.kind)[1]}.{_description(name)}",
            entity=on.ref,
            entityName=on.label(),
            state="running",
            cancelled=False,
            cancelable=name in _CANCELABLE,
            reason=vim.TaskReasonUser(userName=user),
            queueTime=now,
            startTime=now,
            eventChainId=center.events.next_key,
        )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return str(self._info.state) == "running"

    @property
    def ended_at(self) -> float:
        """Site time of its end; meaningless before."""
        return self._ended

    _ended = 0.0
    _percent = 0

    def went_on(self) -> bool:
        """Say whether it is further, by a per cent at least, than when this was asked before."""
        before, self._percent = self._percent, self.info().progress or 0
        return self._percent > before

    @prop
    def info(self) -> Any:
        if not self.running:
            return self._info
        fraction = self.fraction()
        shown = copy.copy(self._info)
        shown.progress = None if fraction is None else int(fraction * 100)
        return shown

    def run(self, model: Generator[Event, Any, Any]) -> Generator[Event, Any, None]:
        """Let a model run to its end, whatever that is, and tell of it."""
        fault = result = None
        try:
            result = self.told((yield from model))
        except simpy.Interrupt:
            self._info = copy.copy(self._info)
            self._info.cancelled = True
            fault = vmodl.fault.RequestCanceled(msg="The task was canceled by a user.")
        except Error as error:
            fault = fault_of(error, self.center)
        except vmodl.MethodFault as raised:
            fault = raised
        self._end(result, fault)

    def _end(self, result: Any, fault: Any) -> None:
        info = copy.copy(self._info)
        info.state = "error" if fault is not None else "success"
        info.result, info.error = result, fault
        info.completeTime = self.center.now()
        info.cancelable = False
        info.progress = None if fault is not None else 100
        self._info = info
        self._ended = self.center.env.now
        self.center.tasks.ended(self)

    @operation("CancelTask")
    def cancel(self, session: Session) -> None:
        del session
        if not self.running:
            raise vim.fault.InvalidState(msg="The task has ended.")
        if not self._info.cancelable:
            raise vmodl.fault.NotSupported(msg=f"{self.method} cannot be canceled.")
        if self.process is not None and self.process.is_alive:
            self.process.interrupt("cancelled")

    @operation("SetTaskState")
    def set_task_state(
        self, session: Session, state: str, result: Any = None, fault: Any = None
    ) -> None:
        del session, state, result, fault
        raise vim.fault.InvalidState(msg="Only a task that an extension made is set by it.")

    @operation("UpdateProgress")
    def update_progress(self, session: Session, percent_done: int) -> None:
        del session, percent_done
        raise vim.fault.InvalidState(msg="Only a task that an extension made is set by it.")


class TaskManager(Managed):
    """``vim.TaskManager``: every task, running or ended."""

    kind = vim.TaskManager

    def __init__(self, center: VirtualCenter, moid: str) -> None:
        super().__init__(center, moid)
        self._running: dict[str, Task] = {}
        self._ended: deque[Task] = deque()
        self._followers = Followers(center)

    def tell_progress(self) -> None:
        """Let waiting clients hear of each running task that is further than they were told."""
        with self.center.env.entered():
            for task in self._running.values():
                if task.went_on():
                    self.center.changes.touch(task)

    def start(
        self,
        on: Entity,
        name: str,
        model: Generator[Event, Any, Any],
        told: Callable[[Any], Any] | None = None,
        fraction: Callable[[], float | None] | None = None,
    ) -> Any:
        """Let a model run as a task on an entity; return the task.

        Args:
            on: the entity.
            name: the operation, by its name on the wire.
            model: takes the time.
            told: makes the result that clients see of the model's.
            fraction: how far it is, from 0 to 1; None where nobody knows.
        """
        task = self.center.add(Task(self.center, f"task-{self.center.number('task')}", on, name))
        task.told = told or task.told
        task.fraction = fraction or task.fraction
        self._running[task.moid] = task
        self.center.changes.touch(on)
        self.center.changes.touch(self)
        self.center.events.task_started(task)
        self._followers.tell()
        task.process = self.center.env.process(task.run(model))
        return task.ref

    def ended(self, task: Task) -> None:
        """Take note that a task has ended."""
        self._running.pop(task.moid, None)
        self._ended.append(task)
        self.center.events.task_ended(task)
        while len(self._ended) > KEPT_MAX:
            gone = self._ended.popleft()
            self.center.remove(gone)
            self.center.changes.forget(gone)
        self.center.changes.touch(task)
        self.center.changes.touch(task.on)
        self.center.changes.touch(self)
        self._followers.tell()

    def running_of(self, name: str) -> Any:
        """Return the task that runs on the entity of this name, None where a client started none."""
        found = (task for task in self._running.values() if task.on.label() == name)
        return next((task.ref for task in found), None)

    def task_on(self, entity: Managed) -> Task | None:
        """Return the task that runs on an entity, None where a client started none."""
        return next((task for task in self._running.values() if task.on is entity), None)

    def all(self) -> Iterator[Task]:
        """Yield every task that is remembered, running or ended."""
        yield from self._ended
        yield from self._running.values()

    def recent(self) -> Iterator[Task]:
        """Yield the running tasks and those that ended lately, oldest first."""
        since = self.center.env.now - RECENT_SECONDS
        yield from (task for task in self._ended if task.ended_at >= since)
        yield from self._running.values()

    def recent_of(self, entity: Entity) -> list[Any]:
        """Return the recent tasks of an entity."""
        return [task.ref for task in self.recent() if task.on is entity]

    @prop
    def recent_task(self) -> list[Any]:
        return [task.ref for task in self.recent()]

    @prop
    def max_collector(self) -> int:
        return COLLECTORS_MAX

    @prop
    def description(self) -> Any:
        return vim.TaskDescription(methodInfo=[], state=[], reason=[])

    @operation("CreateCollectorForTasks")
    def create_collector(self, session: Session, filter_: Any) -> Any:
        matching(self.center, filter_)  # whether it can be answered is said now
        name = f"session[{session.id}]tasks-{self.center.number('session')}"
        made = TaskHistoryCollector(self.center, name, session, filter_)
        self._followers.add(made)
        return open_collector(session, made)


def _description(name: str) -> str:
    stem = name.removesuffix("_Task")
    return stem[0].lower() + stem[1:]
