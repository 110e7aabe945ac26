"""Wall time, on any loop: what guards a socket does not wait for a clock that stands still.

A loop whose own clock is another one has ``call_later_wall`` and ``wall_time``; on every other loop,
its clock is the wall's.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from stuntdouble.errors import Error, Interrupted, TimedOut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


_ATTENTIONS_MAX: Final = 64
"""Unit attentions that one command may meet: a unit queues a few of each kind.  Chosen."""


class Timer(Protocol):
    """What has been set to ring."""

    def cancel(self) -> object:
        """Let it not ring."""
        ...


class Wall:
    """The wall clock of the running loop; made within it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        loop = cast("Any", self._loop)
        self._later: Callable[..., Timer] = getattr(loop, "call_later_wall", loop.call_later)
        self.time: Callable[[], float] = getattr(loop, "wall_time", loop.time)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back after wall *seconds*."""
        return self._later(seconds, callback)

    async def sleep(self, seconds: float) -> None:
        """Return after wall *seconds*."""
        woken = self._loop.create_future()
        timer = self.call_later(seconds, partial(woken.set_result, None))
        try:
            await woken
        finally:
            timer.cancel()

    @asynccontextmanager
    async def limit(self, seconds: float, what: str) -> AsyncIterator[None]:
        """End what runs within after wall *seconds*: TimedOut, which names *what*."""
        try:
            async with asyncio.timeout(None) as scope:
                timer = self.call_later(seconds, lambda: scope.reschedule(self._loop.time()))
                try:
                    yield
                finally:
                    timer.cancel()
        except TimeoutError as error:
            raise TimedOut(what, seconds) from error


class Patience:
    """Tries again after longer and longer waits, for so many wall seconds in all.

    Args:
        wall: the clock.
        seconds: for how long to try again.
        first: the first wait; each next one is twice as long.
        longest: the longest wait.
    """

    def __init__(
        self, wall: Wall, seconds: float, first: float = 0.02, longest: float = 1.0
    ) -> None:
        self._wall = wall
        self._until = wall.time() + seconds
        self._wait = first
        self._longest = longest
        self._attentions = 0

    async def again(self, error: Error) -> None:
        """Return after a wait; raise *error* where the time is over."""
        if self._wall.time() + self._wait > self._until:
            raise error
        await self._wall.sleep(self._wait)
        self._wait = min(2 * self._wait, self._longest)

    def heard(self, where: str) -> None:
        """Take a unit attention, after which one tries again at once; Interrupted after very many."""
        self._attentions += 1
        if self._attentions > _ATTENTIONS_MAX:
            raise Interrupted(f"{where} ({self._attentions} unit attentions, one after the other)")
