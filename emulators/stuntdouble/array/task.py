"""Tasks: what an array goes on doing after the request for it has been answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from stuntdouble.errors import InvalidState, NotFound

if TYPE_CHECKING:
    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.errors import Error

TaskState = Literal["active", "done", "failed", "cancelled"]
TaskKind = Literal["copy", "revert"]

_KEPT: Final = 1024  # tasks that are over; chosen: more than anybody lists


@dataclass(eq=False)
class Task:
    """A task; ``created`` and ``finished`` are site time.

    ``subject`` is the volume that is written, ``source`` what it is written from.  ``ended``
    happens when it is over, whatever came of it; ``error`` says why it failed.
    """

    id: int
    kind: TaskKind
    subject: str
    source: str
    created: float
    total_bytes: int
    ended: Event
    done_bytes: int = 0
    state: TaskState = "active"
    finished: float | None = None
    error: Error | None = None
    stopping: bool = False

    @property
    def active(self) -> bool:
        """Whether it goes on."""
        return self.state == "active"


class Tasks:
    """The tasks of an array, by id; of those that are over, the latest."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._next = 1
        self.by_id: dict[int, Task] = {}

    def begin(self, kind: TaskKind, subject: str, source: str, total_bytes: int) -> Task:
        """Return a new task, which goes on."""
        env = self._core.env
        task = Task(self._next, kind, subject, source, env.now, total_bytes, env.event())
        self._next += 1
        self.by_id[task.id] = task
        over = [each.id for each in self.by_id.values() if not each.active]
        for number in over[: max(0, len(over) - _KEPT)]:
            del self.by_id[number]
        self._core.note("array-task", subject, task=task.id, doing=kind, source=source)
        return task

    def end(self, task: Task, state: TaskState, error: Error | None = None) -> None:
        """Say what came of a task, and let whoever waits for it go on."""
        task.state, task.error, task.finished = state, error, self._core.env.now
        facts = {"task": task.id, "outcome": state, "done_bytes": task.done_bytes}
        self._core.note("array-task-ended", task.subject, **facts, error=str(error or ""))
        task.ended.succeed()

    def get(self, number: int) -> Task:
        """Return the task of this id, or raise NotFound."""
        if number not in self.by_id:
            raise NotFound("task", str(number))
        return self.by_id[number]

    def cancel(self, number: int) -> None:
        """Let a copy stop; what it has copied by then stays.

        Raises:
            NotFound: there is no such task.
            InvalidState: it is over, or is no copy.
        """
        self._core.check_reachable()
        task = self.get(number)
        if not task.active:
            raise InvalidState(f"task {number}", task.state, "cancel it")
        if task.kind != "copy":
            raise InvalidState(f"task {number}", "done already, but for its I/O", "cancel it")
        task.stopping = True
