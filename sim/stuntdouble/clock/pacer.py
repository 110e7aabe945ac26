"""Wall time: the pacer drives an environment from an ordinary loop, and never blocks it."""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple

from stuntdouble.clock.virtual import serial_tasks
from stuntdouble.clock.wall import Selector, WallTimers
from stuntdouble.errors import Bug, Interrupted, Misuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.clock.environment import Environment
    from stuntdouble.clock.wall import WallTimer

Ts = TypeVarTuple("Ts")

POLL_SECONDS: Final = 0.010  # wall time between looks at I/O that no event in the heap announces
SLICE_SECONDS: Final = 0.005  # wall time after which sockets get their turn
_PIECE_SECONDS: Final = 1.0  # site time of a slice's first piece at most: its cost is not known yet
_PIECES_MAX: Final = 1024  # so finely that, or a poll, is cut at most, however slow a step is
_TURNS: Final = 3  # of the loop: a timer is taken up, it wakes a task, the task runs
_OUTSIDE: Final = {"transport", "protocol", "socket"}  # contexts that a client may bring about


class PacedLoop(asyncio.SelectorEventLoop):
    """An ordinary event loop, sockets and threads included, whose clock is site time.

    So ``asyncio.sleep``, ``timeout`` and ``loop.time()`` mean the same on both clocks, at any
    *rate* (site seconds in a wall second), which may change at any time: a timer that is set keeps
    its instant of site time.  What guards a socket is counted in wall time, by ``call_later_wall``.
    The clock stands at *now* until ``start_clock``, while it is paused, and while it is held.
    An error in a callback ends the run, but for a client's broken connection, which is logged.

        site time    │        ╭────  pause()          A timer of site time fires where the line
                     │    ╭───╯ resume()              reaches it; one of wall time where the
                     │ ╭──╯ set_rate()                axis does.  Threads, sockets and wall timers
                     └─────────────────▶ wall time    are served throughout.
    """

    def __init__(self, rate: float, now: float = 0.0) -> None:
        self._rate = rate
        self._now = now
        self._origin: float | None = None  # wall time at which it was _now, where the clock goes
        self._started = self._paused = self._held = False
        self._failure: BaseException | None = None
        self._wall = WallTimers()
        selector = Selector(self._wall_timeout, self._ring)
        super().__init__(selector)
        self._create_task = serial_tasks()
        self.set_exception_handler(lambda _loop, context: self._failed(context))

    # Site time. ----------------------------------------------------------------------------

    def time(self) -> float:
        """Return the site time."""
        elapsed = 0.0 if self._origin is None else super().time() - self._origin
        return self._now + elapsed * self._rate

    @property
    def rate(self) -> float:
        """Site seconds in a wall second, while the clock goes."""
        return self._rate

    @property
    def paused(self) -> bool:
        """Whether somebody has stopped the clock."""
        return self._paused

    def start_clock(self) -> None:
        """Let time pass from here on."""
        self._started = True
        self._set()

    def set_rate(self, rate: float) -> None:
        """Let a wall second be *rate* site seconds from now on; Misuse unless it is above 0."""
        checked = _checked(rate)
        self._stand()
        self._rate = checked
        self._set()

    def pause(self) -> None:
        """Stop the clock: nothing in site time falls due any more; idempotent."""
        self._paused = True
        self._set()

    def resume(self) -> None:
        """Let the clock go on from where it stopped; idempotent."""
        self._paused = False
        self._set()

    def hold(self, now: float) -> None:
        """Let the clock stand at *now*, of which its owner takes care, until ``release``."""
        self._held = True
        self._set()
        self._now = now

    def release(self) -> None:
        """Let the clock go on from where it was held."""
        self._held = False
        self._set()

    def next_timer(self) -> float:
        """Return a site time before which no timer is due; infinity if none is set."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # asyncio's heap
        return scheduled[0].when() if scheduled else inf

    def _stand(self) -> None:
        self._now, self._origin = self.time(), None

    def _set(self) -> None:
        """Let the clock go from now on, or stand, as it should."""
        self._stand()
        if self._started and not self._paused and not self._held:
            self._origin = super().time()

    # Wall time. ----------------------------------------------------------------------------

    def wall_time(self) -> float:
        """Return wall seconds, from some instant on: for durations alone."""
        return super().time()

    def call_later_wall(
        self, seconds: float, callback: Callable[[*Ts], object], *args: *Ts
    ) -> WallTimer:
        """Call back after wall *seconds*, whatever the rate is or becomes, paused or not."""
        return self._wall.add(super().time() + seconds, partial(callback, *args))

    async def sleep_wall(self, seconds: float) -> None:
        """Return after wall *seconds*."""
        woken = self.create_future()
        timer = self.call_later_wall(seconds, woken.set_result, None)
        try:
            await woken
        finally:
            timer.cancel()

    def _wall_timeout(self, timeout: float | None) -> float | None:
        """Return for how many wall seconds nothing falls due, when it is *timeout* site seconds."""
        bounds = []
        if timeout is not None and (self._origin is not None or timeout == 0):
            bounds.append(timeout / self._rate)
        if (when := self._wall.next()) is not None:
            bounds.append(max(0.0, when - super().time()))
        return min(bounds, default=None)

    def _ring(self) -> None:
        for timer in self._wall.due(super().time()):
            self.call_soon(timer.fire)

    # The run. ------------------------------------------------------------------------------

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


def _checked(rate: float) -> float:
    if not 0 < rate < inf:
        raise Misuse("rate", f"{rate} is not a number above 0")
    return rate


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
        self._piece = _PIECE_SECONDS
        self._ahead = asyncio.Lock()
        self._advancing = self._stopped = False

    def start(self) -> None:
        """Take the environment over: from here on it keeps wall time."""
        self._loop.start_clock()
        self._env.driver = self
        self._env.horizon = self._env.now
        self.arm()

    async def stop(self) -> None:
        """Leave the environment where it is, for good: another one takes its place.

        Whoever still enters it is told by Interrupted, and what waits in it waits for ever.
        """
        self._stopped = True
        self._disarm()
        async with self._ahead:
            pass

    def catch_up(self) -> None:
        """Bring the environment up to the present, or as near to it as one slice allows.

        What enters while site time lags takes effect at the lagging instant: late, but in order.
        """
        self._check_running()
        target = self._loop.time()
        self._work(target)
        self._tell(target)

    def _check_running(self) -> None:
        if self._stopped:
            raise Interrupted("the site, which another one has replaced,")

    def _tell(self, present: float) -> None:
        """Note how far the environment is behind *present*, and tell whoever wants to know."""
        behind = self.lag_seconds > 0
        self.lag_seconds = max(0.0, present - self._env.now)
        if self.on_lag is not None and (behind or self.lag_seconds > 0):
            self._loop.call_soon(self.on_lag, self.lag_seconds)

    async def advance(self, seconds: float) -> None:
        """Let site time pass as fast as the machine can step, for *seconds*; return when it has.

        Sockets have their turn after each slice, and each timer of the loop at its own instant.
        Several at once follow one another.

        Raises:
            Misuse: *seconds* are below 0 or no number.
            Interrupted: the environment was replaced meanwhile.
        """
        if not 0 <= seconds < inf:
            raise Misuse("seconds to advance", f"{seconds} is not a number from 0 on")
        async with self._ahead:
            goal = self._loop.time() + seconds
            self._advancing = True
            self._disarm()
            try:
                while self._env.now < goal:
                    self._check_running()
                    self._loop.hold(max(self._loop.time(), self._env.now))
                    timer = self._loop.next_timer()
                    self._work(max(self._env.now, min(goal, timer)))
                    self._loop.hold(max(self._loop.time(), self._env.now))
                    for _ in range(_TURNS if timer <= self._env.now else 1):
                        await asyncio.sleep(0)
            finally:
                self._advancing = False
                self._loop.release()
                self._tell(self._loop.time())
                self.arm()

    @property
    def _poll(self) -> float:
        return POLL_SECONDS * self._loop.rate

    def _work(self, target: float) -> None:
        """Go on until *target*, for a slice at most; a failure is told to the loop and raised."""
        try:
            self._step(target)
        except BaseException as error:
            context = {"message": "a step failed", "exception": error}
            self._loop.call_exception_handler(context)
            raise

    def _step(self, target: float) -> None:
        """Go in pieces of site time, sized by what they cost: nothing stops within a piece."""
        began = self._loop.wall_time()
        deadline = began + SLICE_SECONDS
        largest = min(self._poll, _PIECE_SECONDS)
        self._piece = min(self._piece, largest)
        while True:
            self._env.catch_up(min(target, self._env.now + self._piece))
            ended = self._loop.wall_time()
            spent, wanted = ended - began, SLICE_SECONDS / 2
            if spent > wanted:
                self._piece = max(self._piece * wanted / spent, largest / _PIECES_MAX)
            elif spent < wanted / 4:
                self._piece *= 2
            if self._env.now >= target or ended >= deadline:
                return
            began = ended

    def arm(self) -> None:
        """Wake for the next event; also for I/O that no event announces, and to make up a lag."""
        if self._advancing or self._stopped:
            return
        when = self._env.peek()
        if self.lag_seconds > 0:
            when = self._env.now
        elif self._env.expecting or self._env.kernel is not None:
            when = min(when, self._loop.time() + self._poll)
        if when == inf or (self._timer is not None and self._timer.when() <= when):
            return
        self._disarm()
        self._timer = self._loop.call_at(when, self._wake)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._timer = None
        try:
            self.catch_up()
        finally:
            self.arm()
