"""Where what has been read is stored: on the loop itself, or in a thread while it reads on.

    loop     read k | read k+1 | read k+2 |            one after the other: ``at_once``
             store k-1 after k-1 was read, and so on

    loop     read k+1 | read k+2 | read k+3 |          side by side: ``InThread``
    thread     store k  | store k+1 |

Digests and compression let other threads run meanwhile, so that a second processor is used.  In
virtual time nothing takes any, and a thread would only make the order of things uncertain.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Storing(Protocol):
    """How a call that stores something is made."""

    async def __call__(self, call: Callable[[], None]) -> None:
        """Make the call and return at its end, cancelled or not; raise what it raises."""


async def at_once(call: Callable[[], None]) -> None:
    """Make the call here."""
    call()


class InThread:
    """Makes calls in one thread, in the order in which they come; a context manager.

    Whoever is cancelled while his call runs waits for its end: it has his buffers until then.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="storing")

    async def __call__(self, call: Callable[[], None]) -> None:
        """Make the call in the thread; see ``Storing``."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with suppress(asyncio.CancelledError):  # once more: it changes nothing
                    await asyncio.gather(asyncio.shield(future), return_exceptions=True)
            future.exception()  # the cancellation says why, whatever became of the call
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
