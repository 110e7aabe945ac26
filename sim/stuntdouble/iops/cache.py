"""Write-back caches: a host's write ends when the cache has taken it; the devices have it later.

    host     wait for room ─▶ port ─▶ cache ─▶ ended        at cache speed, below the mark
                                         │
    destage                              └─▶ old data and parity, copies, data, on the devices

What a cache changes is when work is done, never how much: every visit that a write makes without a
cache it makes at destage, in the same groups, on the same account, also the copy that a
copy-on-write snapshot needs.  Destages start in the order in which their writes ended, a bounded
number under way.

Room: a write sets out while fewer bytes are dirty than the mark allows, and counts from then on
until it is destaged.  Others wait, first in first out: the devices then set the pace, as with
write-through.  Written is what the devices are told to write for the host: data, metadata, zeroed
units, and a mirror of them; not the copies for snapshots.

Rewriting a dirty block is a write like any other: nothing is coalesced, and each version is
destaged.  Real caches overwrite dirty blocks in place and join neighbours, so they destage less
where a load rewrites within the seconds that data stays dirty: here the devices do somewhat too
much, by a share that no published model gives.

A read is served by the cache if every content block that it covers was dirty when it set out;
otherwise the devices serve all of it.  Blocks that are clean are not kept: there is no read cache.
The array's own reads, for copies, merges and parity, go to the devices.  Where an I/O writes none of
what counts (an array that frees its reserve), nothing of it is deferred.  The copying that makes a
mirror equal is read and written as a host's I/O is.

Within an instant: the end of a write queues its destage, and starts it if it may, before whoever
issued it goes on.  The end of a destage first starts the next one, then lets go of those that wait
for room, in their order.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from stuntdouble.iops.checks import SERVERS_MAX, check_bytes, check_number
from stuntdouble.iops.work import Service, flash
from stuntdouble.site import Role

if TYPE_CHECKING:
    from simpy.events import Event

    from stuntdouble.iops.engine import Purpose
    from stuntdouble.iops.route import Visit
    from stuntdouble.site import Step

SIDE_BY_SIDE = SERVERS_MAX
"""Servers of a cache's station: enough that nobody queues for its memory."""

_INTERNAL = (Role.COPY_READ, Role.COPY_WRITE, Role.MERGE_READ)


@dataclass(frozen=True, slots=True)
class Cache:
    """What a pool's write-back cache is like.

    Args:
        mark_bytes: above so much dirty data host writes wait.  Arrays state it as a share of the
            write cache: 80 % is the default of EMC's CLARiiON (its high watermark; DOC-19387) and
            of HP's FC60 (cache flush threshold), 70 % holds up all host I/O on Hitachi's USP-V.
        write_seconds: the time of a write that finds room, mirroring to the other controller
            included, besides the port.  No published figure stands alone; "microseconds rather
            than milliseconds" (HPE on Smart Array).
        read_seconds: the time of a read that the cache serves, besides the port; no source.
        destages: destages under way at a time; no source.
    """

    mark_bytes: int
    write_seconds: float = 200e-6
    read_seconds: float = 200e-6
    destages: int = 16

    def __post_init__(self) -> None:
        check_bytes("the mark of a cache", self.mark_bytes)
        if self.destages < 1:
            raise ValueError(f"{self.destages} destages at a time: nothing would ever be written")
        for name in ("write_seconds", "read_seconds"):
            check_number(f"{name} of a cache", getattr(self, name))

    def service(self) -> Service:
        """Return the service of the station that stands for it."""
        return flash(self.read_seconds, self.write_seconds, inf)


@dataclass(eq=False, slots=True)
class Destage:
    """What one I/O leaves for a pool's devices to do later."""

    purpose: Purpose
    steps: list[Step] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    size: int = 0
    blocks: list[int] = field(default_factory=list)


class CachedPool:
    """A pool behind a cache: what is dirty, who waits for room, what waits to be destaged."""

    def __init__(self, cache: Cache, station: int, port: int, block_bytes: int) -> None:
        self.cache = cache
        self.dirty_bytes = 0
        self.queue: deque[Destage] = deque()
        self.under_way = 0
        self._station = station
        self._port = port
        self._block_bytes = block_bytes
        self._blocks: Counter[int] = Counter()  # destages to come that write a block
        self._waiting: deque[tuple[Destage, Event]] = deque()

    def part(self, step: Step, visits: list[Visit], later: Destage) -> list[Visit]:
        """Return what of a step's visits the host waits for; the rest goes to *later*."""
        group, role, write, _, _, size = step
        at_port = [visit for visit in visits if visit[1] == self._port]
        at_devices = [visit for visit in visits if visit[1] != self._port]
        at_cache = (4 * group + 2, self._station, write, 0, size, role)
        if role in _INTERNAL or write:
            later.steps.append(step)
            later.visits += at_devices
            if role in _INTERNAL:
                return at_port
            later.size += size
            later.blocks += self._covered(step)
            return [*at_port, at_cache]
        if all(block in self._blocks for block in self._covered(step)):
            return [*at_port, at_cache]
        return visits

    def _covered(self, step: Step) -> range:
        """Return the blocks that a step covers, as the devices see it."""
        _, _, _, _, block, size = step
        return range(block, block + -(-size // self._block_bytes))

    def enter(self, later: Destage, room: Event) -> bool:
        """Take room for what is to be destaged, or queue up for *room*; say whether it was taken."""
        if self.dirty_bytes >= self.cache.mark_bytes:
            self._waiting.append((later, room))
            return False
        self._take(later)
        return True

    def _take(self, later: Destage) -> None:
        self.dirty_bytes += later.size
        self._blocks.update(later.blocks)

    def leave(self, done: Destage) -> None:
        """Free the room of what has been destaged."""
        self.dirty_bytes -= done.size
        self._blocks.subtract(done.blocks)
        for block in done.blocks:
            if not self._blocks[block]:
                del self._blocks[block]

    def let_in(self) -> None:
        """Give room that has come free to those that wait for it, in their order."""
        while self._waiting and self.dirty_bytes < self.cache.mark_bytes:
            later, room = self._waiting.popleft()
            self._take(later)
            room.succeed()

    def may_destage(self) -> bool:
        """Say whether another destage may start."""
        return bool(self.queue) and self.under_way < self.cache.destages
