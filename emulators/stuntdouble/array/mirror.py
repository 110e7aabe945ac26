"""Mirrors: whole copies of a volume, synchronised beforehand and split off in an instant.

    prepare ──▶ attach ──▶ copy what is unequal ──▶ synchronised ──▶ snapshot: split ──▶ … ──▶ deleted
      ▲                    every write of hosts goes to both            │                       │
      └────────────────────── only what changed since is copied again ──┴───────────────────────┘

A mirror takes room in its pool, as large as its volume's, from its first preparation until it is
deleted: the snapshot's deletion keeps it, since the next synchronisation is the shorter for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stuntdouble.errors import InvalidState, LimitReached, NotFound
from stuntdouble.iops import Purpose

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.pool import Pool
    from stuntdouble.array.volume import Snapshot, Volume
    from stuntdouble.site import Image, Replica


@dataclass(eq=False)
class Mirror:
    """A mirror of a volume; ``snapshot`` is what was split off it and still needs it."""

    pool: Pool
    start_block: int
    replica: Replica
    snapshot: Snapshot | None = None

    @property
    def size_bytes(self) -> int:
        """The room that it takes in its pool."""
        return self.replica.lun.size_bytes

    @property
    def synchronised(self) -> bool:
        """Whether it could be split off now."""
        return self.replica.attached and not self.replica.unequal_bytes


class Mirrors:
    """Make mirrors, synchronise them, and split them off."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def prepare(self, naas: tuple[str, ...]) -> Generator[Event, Any, int]:
        """Synchronise a mirror of each volume; see ``Array.prepare``."""
        core = self._core
        yield from core.take(0.0)
        volumes = [core.inventory.by_naa(naa) for naa in naas]
        if core.parameters.snapshot_kind != "split-mirror":
            return 0
        mirrors = [(volume, self._free(volume)) for volume in volumes if volume.origin is None]
        copied = 0
        for volume, mirror in mirrors:
            began = core.env.now
            size = yield from self._synchronise(mirror)
            copied += size
            seconds = core.env.now - began
            core.note("array-mirror", volume.name, copied_bytes=size, seconds=seconds)
        return copied

    def check(self, volume: Volume) -> None:
        """Make sure that a mirror of the volume could be split off now."""
        if not any(mirror.synchronised for mirror in volume.mirrors):
            state = "without a synchronised mirror"
            raise InvalidState(f"volume {volume.name}", state, "split one off: prepare it first")

    def split(self, volumes: list[Volume]) -> list[tuple[Mirror, Image]]:
        """Split a mirror of each volume off in one instant; ``check`` has passed."""
        chosen = [next(m for m in volume.mirrors if m.synchronised) for volume in volumes]
        images = self._core.site.split([mirror.replica for mirror in chosen])
        return list(zip(chosen, images, strict=True))

    def delete(self, name: str) -> Generator[Event, Any, None]:
        """Delete the mirrors of a volume; see ``Array.delete_mirrors``."""
        core = self._core
        yield from core.take(0.0)
        self._check_unused(name)
        yield from core.take(core.parameters.delete_seconds)
        self._check_unused(name)
        volume = core.inventory.volumes.get(name)
        if volume is not None:
            self.drop(volume)

    def drop(self, volume: Volume) -> None:
        """Give the room of a volume's mirrors back: nothing needs them."""
        for mirror in volume.mirrors:
            mirror.replica.drop()
            mirror.pool.give_back(mirror.start_block, mirror.size_bytes)
            mirror.pool.mirrored_bytes -= mirror.size_bytes
            self._core.note("array-mirror-deleted", volume.name, freed_bytes=mirror.size_bytes)
        volume.mirrors.clear()
        self._core.gauge()

    # Parts. --------------------------------------------------------------------------------

    def _check_unused(self, name: str) -> None:
        volume = self._core.inventory.volumes.get(name)
        used = [m.snapshot.name for m in volume.mirrors if m.snapshot] if volume else []
        if used:
            state = f"split off for {', '.join(used)}"
            raise InvalidState(f"a mirror of volume {name}", state, "delete it")

    def _free(self, volume: Volume) -> Mirror:
        """Return a mirror that no snapshot needs: the one with least to copy, or a new one.

        Raises:
            LimitReached: there are as many as there may be.
            NoSpace: there is no room for another.
        """
        free = [mirror for mirror in volume.mirrors if mirror.snapshot is None]
        if free:
            return min(free, key=lambda mirror: mirror.replica.unequal_bytes)
        core = self._core
        limit = core.parameters.mirrors_per_volume_max
        if len(volume.mirrors) >= limit:
            raise LimitReached(f"mirrors of volume {volume.name}", limit)
        pool = self._pool(volume)
        start = pool.allot(volume.size_bytes)
        made = Mirror(pool, start, core.site.add_replica(volume.lun, pool.number, start))
        volume.mirrors.append(made)
        pool.mirrored_bytes += made.size_bytes
        core.gauge()
        return made

    def _pool(self, volume: Volume) -> Pool:
        name = self._core.parameters.mirror_pool or volume.pool.name
        if name not in self._core.pools:
            raise NotFound(f"pool for the mirrors of volume {volume.name}", name)
        return self._core.pools[name]

    def _synchronise(self, mirror: Mirror) -> Generator[Event, Any, int]:
        """Attach a mirror and copy to it what is unequal; return how many bytes that was.

        Cut short, it leaves the mirror detached: the next synchronisation goes on from there.
        """
        core, depth = self._core, self._core.parameters.synchronise_depth
        under_way: deque[Event] = deque()
        copied = 0
        mirror.replica.attach()
        try:
            for event, size in self._copies(mirror):
                if size == 0:
                    yield event
                    continue
                under_way.append(event)
                copied += size
                if len(under_way) == depth:
                    yield under_way.popleft()
            while under_way:
                yield under_way.popleft()
            core.check_reachable()
        except BaseException:
            mirror.replica.detach()
            raise
        return copied

    def _copies(self, mirror: Mirror) -> Iterator[tuple[Event, int]]:
        """Post the copying of each piece when its time has come: (its end, bytes), or (a wait, 0)."""
        core, p = self._core, self._core.parameters
        due, chunk = core.env.now, mirror.replica.lun.chunk_bytes
        for start, stop in mirror.replica.unequal(p.synchronise_io_bytes).tolist():
            if due > core.env.now:
                yield core.env.at(due), 0
            core.check_reachable()
            size = (stop - start) * chunk
            if steps := mirror.replica.equalise(start, stop):
                yield core.engine.submit(steps, Purpose.CONTROL), size
                rate = p.synchronise_bytes_per_second
                due = max(due, core.env.now) + (size / rate if rate else 0.0)
