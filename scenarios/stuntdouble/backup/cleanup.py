"""Clean-up on every path: what a job makes is taken back whatever happens to the job.

Each thing has a step on an ``Undo`` stack *before* it is asked for, because a reply can be lost
after the request was carried out.  Leaving the stack's block runs the steps, newest first:

    pass 1    every step; Lost, TaskInProgress and cancellations are tried again after a pause
    pass 2    what failed is tried once more: what refused it may be gone by now; and so on, as
              long as a pass after the first removed something
    report    what still fails is left behind, and the report names it

A stack within another may have that one as its *heir*: what it could not remove is no loss yet, but
the heir's last step.  A delta disk whose consolidation found the array's snapshot reserve full is
consolidated once the array snapshot, which made every write need room, is gone.

A step waits for those that stand on what it removes, and is not tried while one of them has
failed: a LUN is never pulled from under a mounted datastore, even where the array would let go.

    array snapshot  <-  promoted volume  <-  mapping  <-  mount  <-  registered VM  <-  open disk

No failure of one step keeps any other from running, and a cancellation of the job, even a second
one in the middle of clean-up, waits until the clean-up is through.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from stuntdouble.errors import Error, Lost, NoSpace, TaskInProgress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType
    from typing import Self

    from stuntdouble.backup.report import Diary

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Something to take back: what it is, how, and whose diaries hear of it.

    ``needs`` are the steps of what it stands on; ``users`` those of what stands on it and could
    not be removed, on whichever stack they are.
    """

    name: str
    action: Callable[[], Awaitable[None]]
    diaries: tuple[Diary, ...]
    needs: tuple[Step, ...] = ()
    users: list[Step] = field(default_factory=list)

    def settle(self, *, removed: bool) -> None:
        """Tell the steps below whether they may go, as far as this one is concerned."""
        for below in self.needs:
            if self in below.users:
                below.users.remove(self)
            if not removed:
                below.users.append(self)


class Undo:
    """Hold the steps that take back what a job makes; leaving the block runs them.

    Actions must be idempotent: a step may run again although it succeeded, when only its reply
    was lost.  With *at_once*, steps are independent and run side by side.  *retry_seconds* are
    the pauses between attempts.  *heir* is the stack around this one that takes over what could
    not be removed; without one it is left behind.
    """

    def __init__(
        self,
        diaries: tuple[Diary, ...],
        retry_seconds: tuple[float, ...],
        *,
        at_once: bool = False,
        heir: Undo | None = None,
    ) -> None:
        self._diaries = diaries
        self._retry_seconds = retry_seconds
        self._at_once = at_once
        self._heir = heir
        self._steps: list[Step] = []
        self._inherited: list[Step] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        cancelled: asyncio.CancelledError | None = None
        while self._steps:  # a loop that shuts down may cancel even a task that has not begun
            try:
                await uninterrupted(self._unwind(failed=error is not None))
            except asyncio.CancelledError as cancellation:
                cancelled = cancellation
        if cancelled is not None:
            raise cancelled

    def add(
        self,
        name: str,
        action: Callable[[], Awaitable[None]],
        *diaries: Diary,
        needs: tuple[Step, ...] = (),
    ) -> Step:
        """Put a step on the stack; *diaries* default to the stack's own.

        *needs* are the steps of what the new thing stands on, here or on a stack around this
        one: they are left alone, and reported, as long as it could not be removed.
        """
        step = Step(name, action, diaries or self._diaries, needs)
        self._steps.append(step)
        return step

    def forget(self, step: Step) -> None:
        """Take a step off the stack: there is certainly nothing to take back."""
        self._steps.remove(step)

    def inherit(self, step: Step) -> None:
        """Take over a step that could not be done yet: it comes after all others.

        It waits for room as well: what others have given up comes free by and by.
        """
        self._steps.insert(0, step)
        self._inherited.append(step)
        _tell(step, "left for the end of the clean-up")

    async def now(self, step: Step) -> None:
        """Run a step before its time; if it fails, it stays on the stack and is told."""
        error = await uninterrupted(self._attempt(step))
        step.settle(removed=error is None)
        if error is None:
            self.forget(step)

    async def _unwind(self, *, failed: bool) -> None:
        steps, self._steps = self._steps[::-1], []
        bugs: list[BaseException] = []
        again = await self._pass(steps, bugs)
        for step in steps:
            if (failed or step in self._inherited) and step not in again:
                _taken_back(step, step.diaries)
            elif step not in again:
                _taken_back(step, tuple(diary for diary in step.diaries if diary.error))
        hopeless, before = again, -1
        while hopeless and len(hopeless) != before:
            before = len(hopeless)
            hopeless = await self._pass([*hopeless], bugs)
        for step in again:
            if step not in hopeless:
                _taken_back(step, step.diaries)
                continue
            if self._heir is not None:
                self._heir.inherit(step)
                continue
            for diary in step.diaries:
                diary.left_behind.append(f"{step.name}: {hopeless[step]}")
        if bugs:
            raise bugs[0]

    async def _pass(self, steps: list[Step], bugs: list[BaseException]) -> dict[Step, str]:
        """Run *steps*; return those that failed, with the cause.  Bugs wait for the end."""
        loop = asyncio.get_running_loop()
        failures: dict[Step, str] = {}
        for batch in [steps] if self._at_once else [[step] for step in steps]:
            attempts = [loop.create_task(self._attempt(step)) for step in batch]
            for step, attempt in zip(batch, attempts, strict=True):
                await _settled(attempt)
                cause = _cause(attempt, bugs)
                step.settle(removed=cause is None)
                if cause is not None:
                    failures[step] = cause
        return failures

    async def _attempt(self, step: Step) -> str | None:
        """Run one step, several times if something stood in its way; return why it failed."""
        if step.users:
            users = ", ".join(user.name for user in step.users)
            cause = f"not touched, because not removed: {users}"
            _tell(step, cause)
            return cause
        cause = ""
        for pause in (*self._retry_seconds, None):
            try:
                await step.action()
            except (Lost, TaskInProgress, asyncio.CancelledError) as error:
                cause = str(error) or "cancelled"
            except (Error, OSError) as error:
                cause = str(error)
                if not isinstance(error, NoSpace) or step not in self._inherited:
                    break
            else:
                return None
            if pause is None:
                break
            _tell(step, f"{cause}; trying again in {pause:g} s")
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(pause)
        _tell(step, f"not removed yet: {cause}")
        return cause


def _cause(attempt: asyncio.Task[str | None], bugs: list[BaseException]) -> str | None:
    """Return why an attempt that is over failed, or None if it did not."""
    if attempt.cancelled():
        return "cancelled before it began"
    if (bug := attempt.exception()) is not None:
        bugs.append(bug)
        return repr(bug)
    return attempt.result()


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end even if the caller is cancelled; then let the cancellation pass."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled = await _settled(task)
    if cancelled is not None:
        raise cancelled
    return task.result()


async def _settled(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Wait until *task* is done, come what may; return the last cancellation that came."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(asyncio.gather(task, return_exceptions=True))
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


async def adopted(
    create: Awaitable[T], find: Callable[[], Awaitable[T | None]], diaries: tuple[Diary, ...]
) -> T:
    """Await *create*; if its reply is lost, return what it made, if it made it.

    Raises:
        Lost: the reply was lost and nothing is there, or looking failed as well.
    """
    try:
        return await create
    except Lost as error:
        found = await find()
        if found is None:
            raise
        for diary in diaries:
            diary.line(f"{error}, but the request was carried out: going on")
        return found


def _tell(step: Step, text: str) -> None:
    for diary in step.diaries:
        diary.line(f"{step.name}: {text}")


def _taken_back(step: Step, diaries: tuple[Diary, ...]) -> None:
    for diary in diaries:
        diary.taken_back.append(step.name)
        diary.line(f"clean-up removed {step.name}")
