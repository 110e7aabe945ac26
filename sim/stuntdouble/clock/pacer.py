"""Wall time: the pacer drives an environment from an ordinary loop, and never blocks it."""

from __future__ import annotations

import asyncio
import selectors
from math import inf
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.clock.virtual import serial_tasks
from stuntdouble.errors import Bug

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.clock.environment import Environment

POLL_SECONDS: Final = 0.010  # wall time between looks at I/O that no event in the heap announces
SLICE_SECONDS: Final = 0.005  # wall time after which sockets get their turn
_PIECES_MAX: Final = 1024  # so finely a poll is cut at most, however slow a step is
_OUTSIDE: Final = {"transport", "protocol", "socket"}  # contexts that a client may bring about


class _Selector(selectors.DefaultSelector):
    """A selector that is told site seconds and waits wall seconds."""

    rate = 1.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self.rate)


class PacedLoop(asyncio.SelectorEventLoop):
    """An ordinary event loop, sockets and threads included, whose clock is site time.

    So ``asyncio.sleep``, ``timeout`` and ``loop.time()`` mean the same on both clocks, at any
    *rate* (site seconds in a wall second).  The clock stands at *now* until ``start_clock``.
    An error in a callback ends the run, but for a client's broken connection, which is logged.
    """

    def __init__(self, rate: float, now: float = 0.0) -> None:
        self.rate = rate
        self._start = now
        self._origin: float | None = None
        self._failure: BaseException | None = None
        selector = _Selector()
        selector.rate = rate
        super().__init__(selector)
        self._create_task = serial_tasks()
        self.set_exception_handler(lambda _loop, context: self._failed(context))

    def time(self) -> float:
        """Return the site time."""
        elapsed = 0.0 if self._origin is None else super().time() - self._origin
        return self._start + elapsed * self.rate

    def start_clock(self) -> None:
        """Let time pass from here on."""
        self._origin = super().time()

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Start a task; its place in any set is its serial number."""
        return self._create_task(self, coro, **options)

    def run_until_complete(self, future: Any) -> Any:
        """Run until *future* is done or something fails."""
        try:
            result = super().run_until_complete(future)
        except BaseException:
            if self._failure is None:
                raise
        else:
            if self._failure is None:
                return result
        failure, self._failure = self._failure, None
        raise failure

    def _failed(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or (context.keys() & _OUTSIDE and not isinstance(error, Bug)):
            self.default_exception_handler(context)
            return
        self._failure = self._failure or error
        if self.is_running():
            self.stop()


class Pacer:
    """Keeps an environment in step with a PacedLoop.

    ``lag_seconds`` is how far site time is behind, after the latest slice; ``on_lag`` is called
    with it after each slice that ends behind, and with 0 once the present is reached.
    """

    def __init__(self, env: Environment, loop: PacedLoop) -> None:
        self.lag_seconds = 0.0
        self.on_lag: Callable[[float], object] | None = None
        self._env = env
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._poll = POLL_SECONDS * loop.rate
        self._slice = SLICE_SECONDS * loop.rate
        self._piece = self._poll

    def start(self) -> None:
        """Take the environment over: from here on it keeps wall time."""
        self._loop.start_clock()
        self._env.driver = self
        self._env.horizon = self._env.now
        self.arm()

    def catch_up(self) -> None:
        """Bring the environment up to the present, or as near to it as one slice allows.

        What enters while site time lags takes effect at the lagging instant: late, but in order.
        """
        target = self._loop.time()
        behind = self.lag_seconds > 0
        try:
            self._work(target)
        except BaseException as error:
            context = {"message": "a step failed", "exception": error}
            self._loop.call_exception_handler(context)
            raise
        self.lag_seconds = max(0.0, target - self._env.now)
        if self.on_lag is not None and (behind or self.lag_seconds > 0):
            self._loop.call_soon(self.on_lag, self.lag_seconds)

    def _work(self, target: float) -> None:
        """Go in pieces of site time, sized by what they cost: nothing stops within a piece."""
        began = self._loop.time()
        deadline = began + self._slice
        self._piece = min(self._piece, self._poll)
        while True:
            self._env.catch_up(min(target, self._env.now + self._piece))
            ended = self._loop.time()
            spent, wanted = ended - began, self._slice / 2
            if spent > wanted:
                self._piece = max(self._piece * wanted / spent, self._poll / _PIECES_MAX)
            elif spent < wanted / 4:
                self._piece *= 2
            if self._env.now >= target or ended >= deadline:
                return
            began = ended

    def arm(self) -> None:
        """Wake for the next event; also for I/O that no event announces, and to make up a lag."""
        when = self._env.peek()
        if self.lag_seconds > 0:
            when = self._env.now
        elif self._env.expecting or self._env.kernel is not None:
            when = min(when, self._loop.time() + self._poll)
        if when == inf or (self._timer is not None and self._timer.when() <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._timer = None
        try:
            self.catch_up()
        finally:
            self.arm()
