"""Space reclaim: what deleted snapshots held comes free by and by, and costs I/O.

The snapshot itself is gone at once, and with it the copies before writes; its space comes back
extent by extent, each for one read and one write of metadata on the pool's own devices, on
nobody's account but the array's.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Unreachable
from stuntdouble.iops import Purpose
from stuntdouble.site import Role

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.pool import Pool
    from stuntdouble.site import Lun, Step

_EXTENTS_AT_A_TIME: Final = 8  # one after the other: often enough to be smooth, few control events


class Reclaim:
    """The background process of each pool that gives space back."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[str, deque[tuple[Lun, int]]] = {}

    def take(self, pool: Pool, lun: Lun, size: int) -> None:
        """Take over *size* bytes that the site has just released for *lun*, to free them slowly."""
        if not size:
            return
        self._core.site.release_reserve(lun, -size)  # not free yet, after all
        busy = pool.name in self._waiting
        self._waiting.setdefault(pool.name, deque()).append((lun, size))
        if not busy:
            self._core.env.process(self._run(pool))

    def pending_bytes(self, pool: Pool) -> int:
        """Return what will come free without anybody doing anything."""
        return sum(size for _, size in self._waiting.get(pool.name, ()))

    def _run(self, pool: Pool) -> Generator[Event, Any, None]:
        core, queue = self._core, self._waiting[pool.name]
        due = core.env.now
        while queue:
            lun, size = queue[0]
            steps, freed = self._next_steps(pool, size)
            rate = core.parameters.reclaim_bytes_per_second
            due = max(due, core.env.now) + (freed / rate if rate else 0.0)
            try:
                yield core.engine.submit(steps, Purpose.CONTROL)
            except Unreachable:
                return
            if due > core.env.now:
                yield core.env.at(due)
            if core.lost:
                return
            core.site.release_reserve(lun, freed)
            queue[0] = lun, size - freed
            if size == freed:
                queue.popleft()
            core.gauge()
            for tell in core.on_space_freed:
                tell(pool.name)
        del self._waiting[pool.name]
        core.note("array-reclaimed", pool.name)

    def _next_steps(self, pool: Pool, size: int) -> tuple[list[Step], int]:
        """Return the I/O of the next few extents, and how many bytes it gives back."""
        core = self._core
        block_bytes, extent = core.site.block_bytes, core.parameters.reclaim_extent_bytes
        draws = core.streams["reclaim", core.name, pool.name]
        first, blocks = pool.area_bytes // block_bytes, pool.reserve_bytes // block_bytes
        steps: list[Step] = []
        freed = 0
        while freed < size and len(steps) < 2 * _EXTENTS_AT_A_TIME:
            at, group = first + draws.integers(0, blocks), len(steps)
            steps += [
                (group, int(Role.COPY_READ), 0, pool.number, at, block_bytes),
                (group + 1, int(Role.COPY_WRITE), 1, pool.number, at, block_bytes),
            ]
            freed += extent
        return steps, _whole(min(freed, size), size, block_bytes)


def _whole(freed: int, size: int, block_bytes: int) -> int:
    """Round down to content blocks, by which the reserve is counted, but never to nothing."""
    return size if freed == size else max(freed - freed % block_bytes, block_bytes)
