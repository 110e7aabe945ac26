"""Tasks: what the array goes on doing after its request has been answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi.bodies import Shape, choice
from stuntdouble.arrayapi.wsapi.codes import Refusal, unsupported
from stuntdouble.arrayapi.wsapi.query import asked
from stuntdouble.arrayapi.wsapi.showing import members

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array import Array, Task
    from stuntdouble.arrayapi.messages import Request
    from stuntdouble.arrayapi.wsapi.setting import Setting

VV_COPY, RESYNC, PROMOTE, ONLINE_COPY = 1, 2, 4, 18  # type

MEDIUM: Final = 2  # taskPriorityEnum: 1 high, 2 medium, 3 low

NUMBER_MAX: Final = 2**31 - 1  # "int32" of the guide

_STATUS: Final = {"done": 1, "active": 2, "cancelled": 3, "failed": 4}

_TYPES: Final = {"copy": VV_COPY, "revert": PROMOTE}  # of tasks that others have begun

_CHANGE: Final = Shape({"action": choice(1)}, ("action",))


class Tasks:
    """The paths below ``/tasks``."""

    def __init__(self, array: Array, setting: Setting) -> None:
        self._array = array
        self._setting = setting
        self._called: dict[int, tuple[int, int]] = {}

    def call(self, task: Task, kind: int, priority: int) -> None:
        """Note which type and priority a task has to this interface."""
        self._called[task.id] = kind, priority

    def active(self, name: str, kind: int) -> bool:
        """Tell whether a task of this type goes on under a name."""
        return any(
            task.active and self._name(task) == name and self._kind(task)[0] == kind
            for task in self._array.tasks.values()
        )

    def listed(self, request: Request) -> Reply:
        """Return every task, the latest first: clients look for those that go on."""
        if asked(request.query):
            raise unsupported("a query of tasks")
        latest = sorted(self._array.tasks.values(), key=lambda task: -task.id)
        return Reply(200, members(self._show(task) for task in latest))

    def one(self, _request: Request, number: str) -> Reply:
        """Return a task."""
        return Reply(200, self._show(self._find(number)))

    def change(self, request: Request, number: str) -> Generator[Event, Any, Reply]:
        """Cancel a task."""
        task = self._find(number)
        _CHANGE.read(request.body)
        if not task.active or task.kind != "copy":
            raise Refusal("INV_INPUT", "the task cannot be cancelled", number)
        yield from self._array.cancel_task(task.id)
        return Reply(200)

    def _find(self, digits: str) -> Task:
        if not digits.removeprefix("-").isdigit() or not digits.isascii():
            raise Refusal("INV_INPUT_WRONG_TYPE", "the task ID is no integer", digits)
        if digits.startswith("-") or not digits.strip("0"):
            raise Refusal("INV_INPUT_BELOW_RANGE", "a task ID is positive", digits)
        if len(digits) > len(str(NUMBER_MAX)) or int(digits) > NUMBER_MAX:
            raise Refusal("INV_INPUT_EXCEEDS_RANGE", "the task ID is too large", digits)
        if int(digits) not in self._array.tasks:
            raise Refusal("NON_EXISTENT_TASK", ref=digits)
        return self._array.tasks[int(digits)]

    def _kind(self, task: Task) -> tuple[int, int]:
        return self._called.get(task.id, (_TYPES[task.kind], MEDIUM))

    def _name(self, task: Task) -> str:
        """Return what a task is called: after the copy that it makes, or that it promotes."""
        return task.source if task.kind == "revert" else task.subject

    def _show(self, task: Task) -> dict[str, Any]:
        kind, priority = self._kind(task)
        done = f"{task.done_bytes} of {task.total_bytes} bytes"
        return {
            "id": task.id,
            "type": kind,
            "name": self._name(task),
            "status": _STATUS[task.state],
            "startTime": self._calendar(task.created),
            "finishTime": self._calendar(task.finished),
            "priority": priority,
            "user": self._setting.user,
            "detailedStatus": done if task.error is None else f"{done}; {task.error}",
        }

    def _calendar(self, seconds: float | None) -> str:
        return "-" if seconds is None else self._setting.calendar(seconds).isoformat(" ")
