"""A station that serves by turns, as a throttle group of QEMU's block layer does.

The laboratory's "disk" of 400 I/Os a second is such a group, not a device with one queue.  Reads
and writes of each member (the overlay, the base) wait in queues of their own.  A direction has one
timer; it is set for when the bucket has room again, and goes to the members in turn.

    reads   overlay ▯▯▯▯▯▯ ┐
            base    ▯▯     ┴─ turn by turn ─┐
    writes  overlay ▯▯     ┐                ├─ one bucket: each I/O adds 1, it leaks 400 a second
            base    ▯▯▯▯   ┴─ turn by turn ─┘

Source: QEMU 7.2, block/throttle-groups.c (turns, timers) and util/throttle.c (leaky bucket); an
I/O counts once, of whatever size (``iops-size`` is not set).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from stuntdouble.clock import Priority

if TYPE_CHECKING:
    from collections.abc import Callable

    from simpy.events import Event

    from stuntdouble.clock import Environment

MEMBERS: Final = 2
"""Overlay and base."""


class ThrottleGroup:
    """Lets visits through, one bucket for all; takes the place of a station of the reference.

    Args:
        env: the clock.
        rate: I/Os per second that leak from the bucket.
        burst: I/Os that it holds.
        member: from (write, position, purpose) to the number of the member asked.
    """

    def __init__(
        self,
        env: Environment,
        rate: float,
        burst: float,
        member: Callable[[int, int, int], int],
    ) -> None:
        self._env = env
        self._rate = rate
        self._burst = burst
        self._member = member
        self._level = 0.0
        self._leaked = 0.0  # when the bucket leaked last
        self._armed = [False, False]  # by direction: read, write
        self._turn = [0, 0]
        self._queues: list[list[deque[Event]]] = [
            [deque() for _ in range(MEMBERS)] for _ in range(2)
        ]

    def visit(self, write: int, position: int, _size: int, purpose: int) -> Event:
        """Return an event that happens when the visit has been let through."""
        event = self._env.event()
        queues = self._queues[write]
        mine = self._member(write, position, purpose)
        if not self._armed[write]:
            self._arm_if_full(write, self._next(write, mine))
        if self._armed[write] or queues[mine]:
            queues[mine].append(event)
        else:
            self._let_through(write, mine, event)
        return event

    def _let_through(self, write: int, mine: int, event: Event) -> None:
        self._leak()
        self._level += 1.0
        event._ok = True  # noqa: SLF001  (an event that happens at once, as an end of service)
        event._value = None  # noqa: SLF001
        self._env.schedule(event, Priority.END)
        token = self._next(write, mine)
        if self._armed[write] or not self._queues[write][token]:
            return
        if not self._arm_if_full(write, token):
            self._arm(write, token, 0.0)

    def _next(self, write: int, mine: int) -> int:
        """Return whose turn it is: the next member that waits, or *mine* where none does."""
        start = self._turn[write]
        for step in range(1, MEMBERS + 1):
            token = (start + step) % MEMBERS
            if self._queues[write][token]:
                return token
        return mine

    def _arm_if_full(self, write: int, token: int) -> bool:
        self._leak()
        excess = self._level - self._burst
        if excess <= 0:
            return False
        self._arm(write, token, excess / self._rate)
        return True

    def _arm(self, write: int, token: int, seconds: float) -> None:
        self._armed[write], self._turn[write] = True, token

        def fire(_event: Event) -> None:
            self._armed[write] = False
            if self._queues[write][token]:
                self._let_through(write, token, self._queues[write][token].popleft())

        self._env.at(self._env.now + seconds, Priority.POST).callbacks.append(fire)

    def _leak(self) -> None:
        self._level = max(self._level - (self._env.now - self._leaked) * self._rate, 0.0)
        self._leaked = self._env.now
