"""From the loop that speaks HTTP to the loop that owns the site, and back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stuntdouble.errors import Error, Interrupted, TimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Crossing(Protocol):
    """Runs a coroutine where the site is."""

    async def __call__(self, asked: Coroutine[Any, Any, T], extra_seconds: float = 0.0) -> T:
        """Return what *asked* returns; it may take *extra_seconds* longer than others."""
        ...


class Here:
    """The site is on the same loop."""

    async def __call__(self, asked: Coroutine[Any, Any, T], extra_seconds: float = 0.0) -> T:  # noqa: ARG002  (nobody waits elsewhere)
        """Run *asked*."""
        return await asked


class Across:
    """The site is on the loop of another thread; nothing of it is touched from this one.

    Args:
        loop: the site's.
        limit_seconds: wall time that an answer may take.  The operation goes on all the same: what
            has entered the site is not taken back because a client went away.

    What fails otherwise than by an Error is a bug of ours: it is told to the site's loop as well.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_seconds: float) -> None:
        self._loop = loop
        self._limit_seconds = limit_seconds

    async def _watched(self, asked: Coroutine[Any, Any, T]) -> T:
        try:
            return await asked
        except Exception as error:
            if not isinstance(error, Error):
                context = {"message": "a request failed", "exception": error}
                self._loop.call_exception_handler(context)
            raise

    async def __call__(self, asked: Coroutine[Any, Any, T], extra_seconds: float = 0.0) -> T:
        """Run *asked* over there.

        Raises:
            TimedOut: it takes longer than the limit.
            Interrupted: the site's loop ended meanwhile.
            Unreachable: it had ended before.
        """
        watched = self._watched(asked)
        try:
            future = asyncio.run_coroutine_threadsafe(watched, self._loop)
        except RuntimeError:
            watched.close()
            asked.close()
            raise Unreachable("the site, which has ended,") from None
        limit = self._limit_seconds + extra_seconds
        answer = asyncio.wrap_future(future)
        answer.add_done_callback(_seen)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), limit)
        except TimeoutError:
            if answer.done():  # that is what the site says, not that it is late
                raise
            raise TimedOut("the answer of the site", f"{limit:g}") from None
        except asyncio.CancelledError:
            if future.cancelled():
                raise Interrupted("the site, which has ended,") from None
            raise


def _seen(answer: asyncio.Future[Any]) -> None:
    """Take note of a failure that came too late for whoever asked."""
    if not answer.cancelled():
        answer.exception()
