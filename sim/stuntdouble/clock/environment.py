"""Site time: SimPy's environment, with the order and the doors that make it exact.

    within one instant, in this order               SimPy priority     in a compiled kernel
    control, to exhaustion                          URGENT, NORMAL     stops short of it
    what control posted (it never starts I/O)       POST               first
    ends of service, by station, as they started    END + station      then
    arrivals, by stream                             ARRIVAL + stream   last

A watch (a stream has ended, a limit is passed) is control at the instant of its cause.
"""

from __future__ import annotations

from enum import IntEnum
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import simpy
from simpy.core import EmptySchedule, StopSimulation

from stuntdouble.errors import Bug

if TYPE_CHECKING:
    from collections.abc import Callable

    from simpy.events import Event

_WITHDRAWN_MAX: Final = 64  # fewer dead entries than this are not worth rebuilding the heap


class Priority(IntEnum):
    """Where an event stands within its instant; up to NORMAL it is control, above it is I/O."""

    URGENT = 0
    NORMAL = 1
    POST = 2
    END = 3
    ARRIVAL = 3 + (1 << 20)  # behind every station


_NORMAL: Final = int(Priority.NORMAL)  # a plain number is the quicker to compare


class Kernel(Protocol):
    """An engine with a heap of its own, which runs the I/O between two control events."""

    def advance(self, limit: float) -> bool:
        """Run I/O with time < *limit*; True as soon as that scheduled a control event earlier."""
        ...


class Driver(Protocol):
    """What keeps an environment in step with wall time."""

    lag_seconds: float
    on_lag: Callable[[float], object] | None

    def catch_up(self) -> None:
        """Bring the environment up to the present."""
        ...

    def arm(self) -> None:
        """See to it that the next event is woken for."""
        ...


class Environment(simpy.Environment):
    """The one queue of events; time is seconds of site time, from 0.

    ``kernel`` is the compiled engine, or None where every I/O is a SimPy process.  ``driver`` is
    None in virtual time.  ``horizon`` bounds the I/O: infinite, or the caught-up instant.
    """

    def __init__(self, now: float = 0.0) -> None:
        super().__init__(now)
        self.kernel: Kernel | None = None
        self.driver: Driver | None = None
        self.horizon = inf
        self._inside = 0
        self._control = 0
        self._expected = 0
        self._withdrawn = 0
        self._entered = Entered(self)

    @property
    def expecting(self) -> bool:
        """Whether I/O is under way that somebody waits for."""
        return self._expected > 0

    @property
    def live(self) -> bool:
        """Whether anything but load is left: load alone never keeps a run alive."""
        return self._control > 0 or self._expected > 0

    def schedule(self, event: Event, priority: int = _NORMAL, delay: float = 0) -> None:
        """Queue *event* in *delay* seconds.  Bug outside of a step or ``entered()`` when paced."""
        self._push(event, priority, self._now + delay)

    def at(self, when: float, priority: int = _NORMAL, value: Any = None) -> Event:
        """Return an event that happens exactly at *when*, free of the rounding of now + delay."""
        if not self._now <= when < inf:
            raise Bug(f"cannot schedule at {when} s: it is {self._now} s")
        event = self.event()
        event._ok = True  # noqa: SLF001  (as simpy.Timeout is made: triggered from the start)
        event._value = value  # noqa: SLF001
        self._push(event, priority, when)
        return event

    def _push(self, event: Event, priority: int, when: float) -> None:
        if self.driver is not None and not self._inside:
            raise Bug(f"{event} is scheduled from outside: do it within env.entered()")
        if priority <= _NORMAL:
            self._control += 1
        heappush(self._queue, (when, priority, next(self._eid), event))  # type: ignore[misc]  # EventPriority is an int by another name

    def withdraw(self, event: Event) -> None:
        """Take back a control event made by ``at``: it neither moves the clock nor counts."""
        if event.processed:  # it has happened, or was taken back before
            return
        event.callbacks = None  # type: ignore[assignment]  # SimPy's own mark of an event that is over
        self._control -= 1
        self._withdrawn += 1
        if self._withdrawn > max(_WITHDRAWN_MAX, len(self._queue) // 2):
            self._queue[:] = [entry for entry in self._queue if not entry[3].processed]
            heapify(self._queue)
            self._withdrawn = 0

    def expect(self, event: Event) -> Event:
        """Register an *event* that I/O, not control, will trigger; until then the run is alive.

        Whoever calls the I/O off triggers the event all the same.
        """
        if not event.processed:
            self._expected += 1
            event.callbacks.append(self._met)
        return event

    def _met(self, _event: Event) -> None:
        self._expected -= 1

    def peek(self) -> float:
        """Return the time of the next event, infinity if there is none."""
        queue = self._queue
        while queue and queue[0][3].processed:
            heappop(queue)
            self._withdrawn -= 1
        return queue[0][0] if queue else inf

    def step(self) -> None:
        """Let I/O run up to the next event, then process that one.

        Raises:
            EmptySchedule: there is none.
            BaseException: what a model failed with and nobody waited for, the original object.
        """
        self._inside += 1
        try:
            if self.kernel is not None:
                self._advance(self.kernel)
            self._pop()
        finally:
            self._inside -= 1

    def catch_up(self, instant: float) -> None:
        """Process control up to *instant* and I/O before it: control that enters now comes first."""
        self.horizon = max(instant, self._now)
        self._inside += 1
        try:
            while self._due():
                self._pop()
        finally:
            self._inside -= 1
        self._now = self.horizon

    def _due(self) -> bool:
        if self.kernel is not None:
            self._advance(self.kernel)
        return self.peek() < inf and self._queue[0][:2] <= (self.horizon, _NORMAL)

    def _advance(self, kernel: Kernel) -> None:
        while kernel.advance(min(self.peek(), self.horizon)):
            pass

    def _pop(self) -> None:
        # As SimPy's own step, but for the count and the error: SimPy raises a copy, without notes.
        if self.peek() == inf:
            raise EmptySchedule
        self._now, priority, _serial, event = heappop(self._queue)
        if priority <= _NORMAL:
            self._control -= 1
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]  # see withdraw
        for place, callback in enumerate(callbacks, start=1):
            try:
                callback(event)
            except StopSimulation:  # run(until=event): the other callbacks have their turn later
                event.callbacks = callbacks[place:]
                self._push(event, -1, self._now)
                raise
        if not event.ok and not event.defused:
            raise cast("BaseException", event.value)

    def entered(self) -> Entered:
        """Come in from outside: catch up first, and see to it that what was scheduled happens.

        Everything but SimPy processes is outside.  Never await within.
        """
        return self._entered


class Entered:
    """What ``Environment.entered`` returns: one for all who enter, since they nest."""

    __slots__ = ("_env",)

    def __init__(self, env: Environment) -> None:
        self._env = env

    def __enter__(self) -> None:
        env = self._env
        if not env._inside and env.driver is not None:  # noqa: SLF001  (a part of it)
            env.driver.catch_up()
        env._inside += 1  # noqa: SLF001

    def __exit__(self, *_error: object) -> None:
        env = self._env
        env._inside -= 1  # noqa: SLF001
        if not env._inside and env.driver is not None:  # noqa: SLF001
            env.driver.arm()
