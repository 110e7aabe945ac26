"""A site in wall time: the world, the pacer that drives it, and the one way in for what changes it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.clock import Pacer, completed
from stuntdouble.errors import Bug, Interrupted, Unsupported
from stuntdouble.serve import operations
from stuntdouble.serve.inputs import Recorder
from stuntdouble.serve.overlays import Overlays
from stuntdouble.serve.reviving import described, in_thread, revived, understood

if TYPE_CHECKING:
    from collections.abc import Callable

    from simpy.events import Event

    from stuntdouble.clock import PacedLoop
    from stuntdouble.scenarios.build import World
    from stuntdouble.serve.inputs import Play
    from stuntdouble.serve.reviving import Origin
    from stuntdouble.trace import Event as Line


MOMENTS_MAX: Final = 1000
"""Moments of truth that are kept for the oracle: half of what a site can hold of large disks."""


class LiveSite:
    """A site that runs; ``world`` may be another one after a restore.

    Everything here belongs to the site's loop.

    ``overlays`` are the faults that lie over the site, whichever it is.
    ``doors`` says how the inputs of each door are lived through again: whoever opens one, adds it.
    ``on_restored`` are called with the new world, once its clock goes: what they kept of the old
    one is worth nothing any more.

    Args:
        origin: what the site was made of.
        world: the site.
        loop: which runs it, from ``start`` on.
        on_lag: called as a pacer's.
    """

    def __init__(
        self,
        origin: Origin,
        world: World,
        loop: PacedLoop,
        on_lag: Callable[[float], object] | None = None,
    ) -> None:
        self.origin = origin
        self.world = world
        self.loop = loop
        self.overlays = Overlays()
        self.doors: dict[str, Play] = {operations.DOOR: operations.play}
        self.on_restored: list[Callable[[World], object]] = []
        self._on_lag = on_lag
        self.lines: list[Line] = []
        self.recorder = Recorder(world.env)
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self._readers: list[asyncio.Future[None]] = []
        self._restoring = asyncio.Lock()
        self._take(world)

    def _take(self, world: World) -> None:
        self.world = world
        self.lines = list(world.journal)
        world.journal.listeners.append(self._noted)
        self.pacer = Pacer(world.env, self.loop)
        self.pacer.on_lag = self._on_lag

    def start(self) -> None:
        """Let the site run from here on."""
        self.pacer.start()

    # The way in. ---------------------------------------------------------------------------

    async def enter(
        self, door: str, payload: dict[str, Any], act: Callable[[World], Event | None]
    ) -> Any:
        """Record an input and do what it says; return what that comes to.

        Args:
            door: through which it enters.
            payload: all that ``doors[door]`` needs to do the same again.
            act: does it at once, and returns the event of its end, or None if it is over.

        Raises:
            Error: the site refuses it, at once or in the end.
            Interrupted: another site has taken this one's place meanwhile.
        """
        if door not in self.doors:
            raise Bug(f"nobody says how inputs of {door} are lived through again")
        world = self.world
        with world.env.entered():
            self.recorder.record(door, payload)
            event = act(world)
        return None if event is None else await self._outcome(event)

    async def look(self, act: Callable[[World], Event]) -> Any:
        """Return what comes of an event that changes nothing: no input of the site."""
        world = self.world
        with world.env.entered():
            event = act(world)
        return await self._outcome(event)

    async def act(self, operation: str, arguments: dict[str, Any]) -> Any:
        """Do an operation of the native interface; see ``stuntdouble.serve.operations``."""
        payload = {"operation": operation, "arguments": arguments}
        begin = partial(operations.start, name=operation, arguments=arguments)
        return await self.enter(operations.DOOR, payload, begin)

    async def _outcome(self, event: Event) -> Any:
        future = completed(event)
        self._waiting[future] = None
        try:
            return await future
        finally:
            del self._waiting[future]

    # The journal. --------------------------------------------------------------------------

    def _noted(self, line: Line) -> None:
        self.lines.append(line)
        self._wake_readers()
        if len(self.world.hypervisor.moments) > MOMENTS_MAX:
            self.loop.call_soon(self._forget_moments)

    def _forget_moments(self) -> None:
        """Let go of the older half of the moments whose snapshots are gone."""
        host = self.world.hypervisor
        seconds = sorted(moment.seconds for moment in host.moments.values())
        since = seconds[len(seconds) // 2]
        host.forget_moments(lambda moment: moment.seconds >= since)

    def _wake_readers(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            if not reader.done():
                reader.set_result(None)

    async def news(self, seconds: float) -> None:
        """Return when there is another line in the journal, or after wall *seconds*."""
        reader: asyncio.Future[None] = self.loop.create_future()
        self._readers.append(reader)
        timer = self.loop.call_later_wall(seconds, _set, reader)
        try:
            await reader
        finally:
            timer.cancel()
            if reader in self._readers:
                self._readers.remove(reader)

    # Going back. ---------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any]:
        """Return the site as it is: how it was made, and what has entered it since.

        Raises:
            Unsupported: more has entered it than is kept.
        """
        if self.recorder.given_up:
            raise Unsupported(
                f"a checkpoint after {self.recorder.given_up}", "take it before, or write less"
            )
        with self.world.env.entered():
            return described(self.origin, self.recorder.inputs, self.world.env.now)

    async def restore(self, checkpoint: dict[str, Any]) -> None:
        """Put a site in this one's place that has lived through *checkpoint*.

        This one goes on until the other is ready; the clock is then set to the checkpoint's
        instant.  Whoever waits for something in this one is told by Interrupted.

        Raises:
            Misuse: the checkpoint makes no sense; this site stays.
            Unsupported: another version took it; this site stays.
        """
        async with self._restoring:
            origin, inputs, seconds = understood(checkpoint, self.origin.recorded)
            work = partial(revived, origin, dict(self.doors), inputs, seconds)
            world = await in_thread(work)
            await self.pacer.stop()
            self.origin = origin
            self.recorder = Recorder(world.env, inputs)
            self.loop.hold(world.env.now)
            self._take(world)
            self.pacer.start()
            self.loop.release()
            for future in list(self._waiting):
                if not future.done():
                    future.set_exception(Interrupted("the site, which was put back,"))
            self._wake_readers()
            for call in self.on_restored:
                call(world)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
