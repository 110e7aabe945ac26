"""Virtual time: an asyncio event loop whose only queue is the environment's."""

from __future__ import annotations

import asyncio
import itertools
import sys
import weakref
from collections import deque
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple

from simpy.core import EmptySchedule

from stuntdouble.errors import NoProgress, Unsupported

if TYPE_CHECKING:
    import contextvars
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from types import FrameType

    from simpy.events import Event

    from stuntdouble.clock.environment import Environment

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SerialTask(asyncio.Task[T]):
    """A task that hashes by its serial number in its loop.

    asyncio keeps tasks in sets and cancels a TaskGroup in set order.  The default hash is the
    address, so that order would differ from one run to the next.
    """

    def __init__(self, coro: Coroutine[Any, Any, T], *, serial: int, **options: Any) -> None:
        self._serial = serial  # before Task.__init__, which adds the task to a set
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._serial


def serial_tasks() -> Callable[..., SerialTask[Any]]:
    """Return a task factory that numbers its tasks from 1, and names the nameless by number."""
    serials = itertools.count(1)

    def create(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> SerialTask[Any]:
        serial = next(serials)
        options["name"] = options.get("name") or f"task-{serial}"
        return SerialTask(coro, serial=serial, loop=loop, **options)

    return create


class _Timer(asyncio.TimerHandle):
    """A timer that knows its event, so that cancelling takes it out of the queue."""

    event: Event | None = None


def _refuse_the_rest(loop_class: type[VirtualLoop]) -> type[VirtualLoop]:
    """Refuse by name all that event loops do and this one does not: mostly the outside world."""

    def refusal(name: str) -> Callable[..., NoReturn]:
        def refuse(*_args: Any, **_options: Any) -> NoReturn:
            raise Unsupported(
                f"{name} in virtual time", "use an in-process transport, or run in wall time"
            )

        return refuse

    for name in vars(asyncio.AbstractEventLoop):
        if not name.startswith("_") and name not in vars(loop_class):
            setattr(loop_class, name, refusal(name))
    return loop_class


@_refuse_the_rest
class VirtualLoop(asyncio.AbstractEventLoop):
    """An asyncio event loop in virtual time: as fast as the machine can step.

    Callbacks run first in, first out, to exhaustion, before the next event; timers are control
    events.  The order of everything is (time, priority, sequence) and nothing else.  An error in
    a callback, or one that nobody would have seen, ends the run.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._ready: deque[asyncio.Handle] = deque()
        self._create_task = serial_tasks()
        self._generators: weakref.WeakValueDictionary[int, AsyncGenerator[Any, Any]]
        self._generators = weakref.WeakValueDictionary()
        self._generator_serials = itertools.count()
        self._running = self._closed = False
        self._failure: BaseException | None = None

    def time(self) -> float:
        """Return the site time."""
        return self._env.now

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Queue a callback behind those that are ready."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # there are no other threads; signal handlers may call it

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Queue a callback for *delay* seconds from now."""
        return self.call_at(self._env.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Queue a callback for site time *when*; at infinity it is never called."""
        timer = _Timer(when, callback, args, self, context)
        if when != inf:
            timer.event = self._env.at(max(when, self._env.now))
            timer.event.callbacks.append(lambda _event: self._ready.append(timer))
        return timer

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        if isinstance(timer, _Timer) and timer.event is not None:
            self._env.withdraw(timer.event)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Start a task; its place in any set is its serial number."""
        return self._create_task(self, coro, **options)

    def get_task_factory(self) -> None:
        """Return None: tasks are made in one way only."""

    def run_until_complete(self, future: Any) -> Any:
        """Run until *future* is done or something fails; NoProgress if neither can happen."""
        main = asyncio.ensure_future(future, loop=self)
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._generator_started, self._generator_dropped)
        asyncio._set_running_loop(self)  # noqa: SLF001  (meant for those who implement loops)
        first, self._failure = self._failure, None  # told between two runs
        self._running = True
        try:
            while not main.done() and self._failure is None:
                self._run_one()
        finally:
            self._running = False
            asyncio._set_running_loop(None)  # noqa: SLF001
            sys.set_asyncgen_hooks(*hooks)
        if (failure := first or self._failure) is not None:
            self._failure = None
            raise failure
        return main.result()

    def _run_one(self) -> None:
        """Run the next callback, or the next event when no callback is ready."""
        if self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001  (loops are what runs handles)
            return
        with suppress(EmptySchedule):
            if self._env.live:
                self._env.step()
                return
        raise NoProgress("\n".join(_whereabouts(self)))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """End the run with the first error that no task took."""
        if self._failure is None:
            self._failure = context.get("exception") or RuntimeError(context["message"])

    def is_running(self) -> bool:
        """Tell whether the loop is running."""
        return self._running

    def is_closed(self) -> bool:
        """Tell whether the loop is closed."""
        return self._closed

    def close(self) -> None:
        """Close the loop; idempotent."""
        self._closed = True

    def get_debug(self) -> bool:
        """Return False: there is no debug mode."""
        return False

    def _generator_started(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators[next(self._generator_serials)] = generator

    def _generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        """Close the generators that were left in the middle, then raise what one of them did."""
        closing = [generator.aclose() for generator in self._generators.values()]
        for error in await asyncio.gather(*closing, return_exceptions=True):
            if error is not None:
                raise error

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  (asyncio's signature)
        """Do nothing: there are no threads."""


def _whereabouts(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """Say where each task waits: its innermost line outside asyncio and this package."""
    for task in sorted(asyncio.all_tasks(loop), key=hash):
        frames = [frame for frame in _frames(task.get_coro()) if not _is_ours(frame)]
        for frame in frames[-1:]:
            yield f"{task.get_name()} waits at {frame.f_code.co_filename}:{frame.f_lineno}"


def _frames(coro: Any) -> Iterator[FrameType]:
    while (frame := getattr(coro, "cr_frame", None)) is not None:
        yield frame
        coro = coro.cr_await


def _is_ours(frame: FrameType) -> bool:
    module: str = frame.f_globals["__name__"]
    return module.startswith(("asyncio.", "stuntdouble.clock."))
