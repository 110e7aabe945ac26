"""How much a client may ask of a server, and how long it may take to say it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import TypeAlias

    CallLater: TypeAlias = Callable[[float, Callable[[], object]], "Timer"]

_BYTES_PER_SECOND_MIN: Final = MIB
"""The pace below which a payload counts as held back: 1 MiB in a second of wall time.  Chosen."""


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Let it not happen."""
        ...


@dataclass(frozen=True)
class Limits:
    """What one server grants.  All of it is chosen, to be far beyond what an honest client needs.

    Args:
        connections: clients at a time; one more is turned away at once.
        requests: requests of a connection that are under way at a time; the next waits unread.
        options: options of one negotiation.
        payload_bytes: data of writes that are held in memory, over all connections.
        handshake_seconds: wall time that a negotiation may take.
        stall_seconds: wall time after which a message that does not come, or is not taken, ends
            its connection.  A client that says nothing between two messages may stay for ever.
    """

    connections: int = 64
    requests: int = 64
    options: int = 1024
    payload_bytes: int = 256 * MIB
    handshake_seconds: float = 30.0
    stall_seconds: float = 60.0


@dataclass
class Patience:
    """Limits in wall time on a loop whose clock may be another.

    Args:
        wall_seconds: loop seconds that pass in so many wall seconds, at the loop's present rate.
        limits: how long is too long.
        call_later: calls back after wall seconds, on a loop whose clock may stand still; None where
            the loop's own timers will do.
    """

    wall_seconds: Callable[[float], float]
    limits: Limits
    call_later: CallLater | None = None

    def handshake(self) -> AbstractAsyncContextManager[object]:
        """Return the time that a negotiation has."""
        return self._within(self.limits.handshake_seconds)

    def stall(self, size: int) -> AbstractAsyncContextManager[object]:
        """Return the time that a message of *size* bytes has."""
        return self._within(self.limits.stall_seconds + size / _BYTES_PER_SECOND_MIN)

    def _within(self, seconds: float) -> AbstractAsyncContextManager[object]:
        if self.call_later is None:
            return asyncio.timeout(self.wall_seconds(seconds))
        return _by(self.call_later, seconds)


@asynccontextmanager
async def _by(call_later: CallLater, seconds: float) -> AsyncIterator[None]:
    """Bound what is done within by a timer that is not the loop's."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = call_later(seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield
        finally:
            timer.cancel()


@dataclass
class Budget:
    """So many bytes, taken and given back; who finds too few left waits, first in first out."""

    free: int
    _waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)

    async def take(self, size: int) -> None:
        """Wait until *size* bytes are free, and take them."""
        if not self._waiting and size <= self.free:
            self.free -= size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was its turn, and it does not come to use it
                self.give(size)
            self._serve()
            raise

    def give(self, size: int) -> None:
        """Give *size* bytes back."""
        self.free += size
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if size > self.free:
                    return
                self.free -= size
                turn.set_result(None)
            self._waiting.popleft()
