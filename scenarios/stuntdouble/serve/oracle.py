"""The oracle of a running site: what guests had written, from the ledger, a slice at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import numpy as np
from blake3 import blake3

from stuntdouble.errors import Interrupted, LimitReached, NotFound
from stuntdouble.extents import Runs
from stuntdouble.native import models as m
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    from stuntdouble.scenarios.build import World
    from stuntdouble.serve.live import LiveSite
    from stuntdouble.site import Moment

NOW: Final = "now"
DIGESTS_MAX: Final = 1000  # moments are kept for them: half of what a site can hold of a large disk

_SLICE_BYTES: Final = MIB  # rendered and hashed in about a millisecond
_SLICE_BLOCKS: Final = 64 * KIB  # of tokens that are compared: likewise


def moment_of(world: World, vm: str, disk: int, at: str) -> Moment:
    """Return the truth of a disk at a snapshot, there or gone, or now; call it within ``entered``.

    Raises:
        NotFound: no such VM, disk or snapshot of it.
    """
    found = world.hypervisor.vm(vm).disk(disk)
    if at == NOW:
        return found.disk.moment(world.env.now)
    moment = world.hypervisor.moments.get((at, disk))
    if moment is None or moment.disk is not found.disk:
        raise NotFound(f"snapshot of disk {disk} of {vm}", at)
    return moment


class Digest:
    """The digest of a disk at a moment, while it is computed and after."""

    def __init__(self, number: int, request: m.DigestRequest, world: World) -> None:
        with world.env.entered():
            self._moment = moment_of(world, request.vm, request.disk, request.at)
        self._number = number
        self._request = request
        self._site = world.site
        self._size = self._moment.disk.size_bytes
        self._done = 0
        self._hash = blake3()
        self.task = asyncio.get_running_loop().create_task(self._compute())

    async def _compute(self) -> None:
        size = self._site.block_bytes
        step = max(1, _SLICE_BYTES // size)
        for start in range(0, self._size // size, step):
            count = min(step, self._size // size - start)
            tokens = self._site.truth(self._moment, start, count)
            self._hash.update(self._site.render(tokens).reshape(-1).data)
            self._done += count * size
            await asyncio.sleep(0)

    def show(self) -> m.Digest:
        """Return it as far as it is.

        Raises:
            Interrupted: it was called off.
        """
        if self.task.cancelled():
            raise Interrupted(f"digest {self._number}")
        done = self.task.done() and self.task.exception() is None
        return m.Digest(
            id=self._number,
            vm=self._request.vm,
            disk=self._request.disk,
            at=self._request.at,
            moment_seconds=self._moment.seconds,
            size_bytes=self._size,
            done_bytes=self._done,
            blake3=self._hash.hexdigest() if done else None,
        )


class Digests:
    """The digests that were asked for, by number; those of a site that was replaced are gone."""

    def __init__(self, live: LiveSite) -> None:
        self._live = live
        self._digests: dict[int, Digest] = {}
        self._last = 0
        live.on_restored.append(lambda _world: self._forget_all())

    def begin(self, request: m.DigestRequest) -> Digest:
        """Begin to compute one; LimitReached where too many are kept."""
        if len(self._digests) >= DIGESTS_MAX:
            raise LimitReached("digests", DIGESTS_MAX)
        made = Digest(self._last + 1, request, self._live.world)
        self._last += 1
        self._digests[self._last] = made
        return made

    def all(self) -> list[Digest]:
        """Return them in the order in which they were asked for."""
        return list(self._digests.values())

    async def wait(self, number: int, seconds: float) -> Digest:
        """Return one when it is done, or after wall *seconds*; NotFound where there is none."""
        if number not in self._digests:
            raise NotFound("digest", number)
        found = self._digests[number]
        if not found.task.done() and seconds > 0:
            woken: asyncio.Future[None] = self._live.loop.create_future()

            def wake(_task: object = None) -> None:
                if not woken.done():
                    woken.set_result(None)

            found.task.add_done_callback(wake)
            timer = self._live.loop.call_later_wall(seconds, wake)
            try:
                await woken
            finally:
                timer.cancel()
                found.task.remove_done_callback(wake)
        return found

    def forget(self, number: int) -> None:
        """Call one off and forget it; idempotent."""
        gone = self._digests.pop(number, None)
        if gone is not None:
            gone.task.cancel()

    def _forget_all(self) -> None:
        for number in list(self._digests):
            self.forget(number)


async def true_changes(
    world: World, vm: str, disk: int, since: str, until: str, start: int, limit: int
) -> m.TrueChanges:
    """Return a page of where a disk differs between two moments."""
    with world.env.entered():
        old = moment_of(world, vm, disk, since)
        new = moment_of(world, vm, disk, until)
    size = world.site.block_bytes
    stop = new.disk.size_bytes
    if start >= stop:
        return m.TrueChanges(start=start, covered=0, extents=[], next=None)
    found, reached = Runs.empty(), start
    async for begin, differs in _differences(world, old, new, start // size):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], differs, [False]))))
        rows = (edges.reshape(-1, 2) + begin) * size
        found = found | Runs.from_arrays(rows[:, 0], rows[:, 1] - rows[:, 0]).clip(start, stop)
        reached = min(stop, (begin + len(differs)) * size)
        if len(found) > limit:
            reached = int(found.stops[limit - 1])
            found = found.clip(start, reached)
            break
    extents = [m.Extent(start=begin, length=length) for begin, length in found]
    return m.TrueChanges(
        start=start,
        covered=reached - start,
        extents=extents,
        next=reached if reached < stop else None,
    )


async def _differences(
    world: World, old: Moment, new: Moment, first: int
) -> AsyncIterator[tuple[int, NDArray[np.bool_]]]:
    """Yield, from block *first* on, where a slice begins and which of its blocks differ."""
    for begin in range(first, new.disk.blocks, _SLICE_BLOCKS):
        count = min(_SLICE_BLOCKS, new.disk.blocks - begin)
        yield begin, world.site.truth(old, begin, count) != world.site.truth(new, begin, count)
        await asyncio.sleep(0)
