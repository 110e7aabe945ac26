"""A random life of snapshots through two interfaces of one array, each judged by its golden image."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from serve.generations import READER, SIZE, TAIL, Writer, contents
from stuntdouble.errors import AccessDenied, InvalidState, NotFound

GENERATIONS_MAX = 5


@dataclass
class Shown:
    """A volume that shows a generation; ``golden`` is what it has to hold."""

    side: str
    name: str
    generation: str
    golden: bytearray = field(repr=False)
    read_only: bool
    mapping: object = None

    @property
    def keeps(self):
        """Whether the array has to keep the snapshot for it: mapped itself, or a copy by WSAPI."""
        return self.side == "wsapi" and (self.mapping is not None or not self.read_only)


async def by_our_initiator(served, shown):
    """Return whether what is shown equals its golden image, read over iSCSI by our initiator."""
    device = await served.initiator(READER).attach(shown.mapping)
    try:
        assert device.identity == shown.mapping.naa
        return await contents(device) == shown.golden
    finally:
        await device.close()


@dataclass
class Drive:
    """Does one thing after the other to an array while its base volume is being overwritten."""

    served: object
    by: dict
    writer: Writer
    rng: random.Random
    equals: object
    naa: str
    alive: list = field(default_factory=list)
    shown: list = field(default_factory=list)
    done: Counter = field(default_factory=Counter)
    read_bytes: int = 0
    alive_at_once: int = 0
    number: int = 0

    @classmethod
    @asynccontextmanager
    async def over(cls, served, seed, equals=by_our_initiator):
        """Yield one whose writer is at work; *equals* judges what is shown."""
        async with served.adapters() as by:
            writer = await Writer.of(served, by["wsapi"], seed + 100)
            async with writer.going():
                yield cls(served, by, writer, random.Random(seed), equals, writer.device.identity)
            await writer.device.close()

    async def through(self, steps):
        """Take so many steps at random, then judge all that is there and take it away."""
        for begin in (self.snapshot, self.show, self.snapshot, self.show):
            await begin()
        for _ in range(steps):
            ways = [self.snapshot, self.snapshot, self.show, self.show, self.judge, self.judge]
            await self.rng.choice([*ways, self.write, self.unmap, self.hide, self.delete])()
        for shown in list(self.shown):
            await self._judged(shown)
            await self._hidden(shown)
        for generation in list(self.alive):
            await self._deleted(generation)

    def _side(self):
        return self.rng.choice(list(self.by))

    def _called(self, side, generation):
        """Return what a side calls a snapshot: one of them puts the volume before it."""
        own = generation.removeprefix("vol-1.")
        return f"vol-1.{own}" if side == "pure" else generation

    async def snapshot(self):
        """Snapshot the base volume by either side; the writer knows what he had written by then."""
        if len(self.alive) >= GENERATIONS_MAX:
            await self.delete()
            return
        side, self.number = self._side(), self.number + 1
        known, least = set(self.served.golden), self.writer.acknowledged
        await self.by[side].create_snapshots((self.naa,), f"s{self.number}")
        most = len(self.writer.log)
        (made,) = set(self.served.golden) - known
        tail = self.served.golden[made][TAIL:]
        assert self.writer.wrote(tail, least, most), f"{made}: {least} to {most} writes"
        self.alive.append(made)
        self.alive_at_once = max(self.alive_at_once, len(self.alive))
        self.done["snapshot"] += 1

    async def show(self):
        """Promote a snapshot by either side, and map what comes of it."""
        if not self.alive:
            await self.snapshot()
            return
        side, generation = self._side(), self.rng.choice(self.alive)
        read_only, self.number = self.rng.random() < 0.7, self.number + 1
        name, snapshot = f"c{self.number}", self._called(side, generation)
        array = self.by[side]
        if side == "wsapi" and read_only and self._presented(generation):
            with pytest.raises(InvalidState, match="promoted already"):
                await array.promote(snapshot, name)
            return
        made = await array.promote(snapshot, name, read_only=read_only)
        assert made.size_bytes == SIZE
        golden = bytearray(self.served.golden[generation])
        shown = Shown(side, name, generation, golden, read_only)
        shown.mapping = await array.map_volume(name, READER)
        self.shown.append(shown)
        self.done[f"show by {side}"] += 1

    def _presented(self, generation):
        """Say whether the snapshot itself is shown: by one side, and but once."""
        return any(
            each.generation == generation and each.side == "wsapi" and each.read_only
            for each in self.shown
        )

    async def judge(self):
        """Compare something that is shown with its golden image."""
        if self.shown:
            await self._judged(self.rng.choice(self.shown))

    async def _judged(self, shown):
        if shown.mapping is None:
            shown.mapping = await self.by[shown.side].map_volume(shown.name, READER)
        await self.writer.more()
        assert await self.equals(self.served, shown), f"{shown.name} of {shown.generation}"
        self.read_bytes += SIZE
        self.done["judge"] += 1

    async def write(self):
        """Write to something that is shown: into a copy, or not at all."""
        mapped = [each for each in self.shown if each.mapping is not None]
        if not mapped:
            return
        shown = self.rng.choice(mapped)
        device = await self.served.initiator(READER).attach(shown.mapping)
        length = 512 * self.rng.choice((1, 9, 256))
        at, data = self.rng.randrange((SIZE - length) // 512) * 512, self.rng.randbytes(length)
        try:
            if shown.read_only:
                with pytest.raises(AccessDenied):
                    await device.write(at, memoryview(data))
            else:
                await device.write(at, memoryview(data))
                shown.golden[at : at + length] = data
        finally:
            await device.close()
        self.done["write"] += 1

    async def unmap(self):
        """Take a mapping away under a device that is open."""
        mapped = [each for each in self.shown if each.mapping is not None]
        if mapped:
            await self._unmapped(self.rng.choice(mapped))

    async def _unmapped(self, shown):
        device = await self.served.initiator(READER).attach(shown.mapping)
        await self.by[shown.side].unmap_volume(shown.name, READER)
        shown.mapping = None
        with pytest.raises((AccessDenied, NotFound)):
            await contents(device)
        await device.close()
        self.done["unmap"] += 1

    async def hide(self):
        """Delete something that is shown; not while it is mapped."""
        if self.shown:
            await self._hidden(self.rng.choice(self.shown))

    async def _hidden(self, shown):
        array = self.by[shown.side]
        if shown.mapping is not None:
            with pytest.raises(InvalidState):
                await array.delete_volume(shown.name)
            await self._unmapped(shown)
        await array.delete_volume(shown.name)
        self.shown.remove(shown)
        self.done["hide"] += 1

    async def delete(self):
        """Delete a snapshot by either side; not while something that is shown needs it.

        By WSAPI no snapshot goes that has a child; copies by the other are children as well.
        """
        if self.alive:
            await self._deleted(self.rng.choice(self.alive))

    async def _deleted(self, generation):
        side = self._side()
        called = self._called(side, generation)
        mine = [each for each in self.shown if each.generation == generation]
        if any(each.keeps or side == "wsapi" for each in mine):
            with pytest.raises(InvalidState):
                await self.by[side].delete_snapshot(called)
            assert called in {each.name for each in await self.by[side].snapshots() if each.valid}
            self.done["refused"] += 1
            return
        await self.by[side].delete_snapshot(called)
        self.alive.remove(generation)
        self.done["delete"] += 1
        for each in mine:
            if each.side == "wsapi":  # a name for what is gone
                with pytest.raises(NotFound):
                    await self.by["wsapi"].map_volume(each.name, READER)
                await self._hidden(each)
