"""How an admitted I/O passes the stations: group after group, a group's visits side by side.

It sets out at its admission: what it finds in caches is decided then.  It may have to wait for room
in caches (see ``cache``), pool by pool in order of their numbers, and for copies that are under way
(see ``copies``).  Then it makes its visits.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from stuntdouble.iops.cache import CachedPool, Destage
from stuntdouble.iops.checks import check_geometry, check_pool
from stuntdouble.iops.copies import COPYING, Copies
from stuntdouble.iops.engine import Purpose
from stuntdouble.iops.route import Router
from stuntdouble.site import Role

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.iops.cache import Cache
    from stuntdouble.iops.route import Geometry, Visit
    from stuntdouble.iops.station import Station
    from stuntdouble.site import Step

_group = itemgetter(0)


class Passages:
    """The way of every I/O between its admission and its end, and of what it leaves to caches."""

    def __init__(self, env: Environment, stations: list[Station], block_bytes: int) -> None:
        self._env = env
        self._stations = stations
        self._block_bytes = block_bytes
        self._router = Router(block_bytes)
        self.ports: dict[int, int] = {}  # of the pools that there are; -1 where there is none
        self._copies = Copies(env, block_bytes)
        self.caches: dict[int, CachedPool] = {}
        self._quiet: list[Event] = []

    def add_pool(self, pool: int, geometry: Geometry) -> None:
        """Say which stations the blocks of a pool of the site lie on."""
        check_geometry(geometry, len(self._stations))
        self._router.add_pool(pool, geometry)
        self.ports[pool] = geometry.port

    def block_copies(self, pool: int) -> None:
        """Let a write wait for the copy of its chunk that is under way in this pool."""
        check_pool(pool, self.ports)
        self._copies.block(pool)

    def add_cache(self, pool: int, cache: Cache, station: int) -> None:
        """Put a cache, for which *station* stands, before a pool's devices."""
        self.caches[pool] = CachedPool(cache, station, self.ports[pool], self._block_bytes)

    def dirty_bytes(self, pool: int) -> int:
        """Return what of a pool is in its cache only."""
        return self.caches[pool].dirty_bytes if pool in self.caches else 0

    def quiet(self) -> Event:
        """Return an event that happens once no cache holds dirty data."""
        event = self._env.expect(self._env.event())
        self._quiet.append(event)
        self._tell_if_quiet()
        return event

    def make(self, steps: list[Step], purpose: Purpose) -> Generator[Event, object, None]:
        """Let an I/O set out, and make the visits that its issuer waits for."""
        if self.caches:
            return self._pass_caches(steps, purpose)
        return self._pass(steps, self._router.visits(steps), purpose)

    def _pass_caches(self, steps: list[Step], purpose: Purpose) -> Generator[Event, object, None]:
        """Wait for room, make the visits that cannot be deferred, and leave the rest to caches."""
        at_once, visits, deferred = self._parts(steps, purpose)
        for pool, later in deferred:
            room = self._env.event()
            if not self.caches[pool].enter(later, room):
                yield room
        yield from self._pass(at_once, visits, purpose)
        for pool, later in deferred:
            self.caches[pool].queue.append(later)
            self._start_destages(self.caches[pool])

    def _parts(
        self, steps: list[Step], purpose: Purpose
    ) -> tuple[list[Step], list[Visit], list[tuple[int, Destage]]]:
        """Part an I/O: steps and visits that its issuer waits for, and what each pool defers."""
        at_once: list[Step] = []
        visits: list[Visit] = []
        deferred: dict[int, Destage] = {}
        for step in steps:
            made = self._router.visits([step])
            if (cached := self.caches.get(step[3])) is None:
                at_once.append(step)
                visits += made
            else:
                visits += cached.part(step, made, deferred.setdefault(step[3], Destage(purpose)))
        for later in deferred.values():
            later.visits.sort(key=_group)
            if not later.size:  # the array's own copying: no host has written, nothing is dirty
                at_once += later.steps
                visits += later.visits
        visits.sort(key=_group)
        return at_once, visits, sorted((p, later) for p, later in deferred.items() if later.size)

    def _start_destages(self, cached: CachedPool) -> None:
        while cached.may_destage():
            cached.under_way += 1
            self._env.process(self._destage(cached, cached.queue.popleft()))

    def _destage(self, cached: CachedPool, later: Destage) -> Generator[Event, object, None]:
        yield from self._pass(later.steps, later.visits, later.purpose)
        cached.under_way -= 1
        cached.leave(later)
        self._start_destages(cached)
        cached.let_in()
        self._tell_if_quiet()

    def _tell_if_quiet(self) -> None:
        if self._quiet and not any(cached.dirty_bytes for cached in self.caches.values()):
            told, self._quiet = self._quiet, []
            for event in told:
                event.succeed()

    def _pass(
        self, steps: list[Step], visits: list[Visit], purpose: Purpose
    ) -> Generator[Event, object, None]:
        """Wait for the copies that *steps* meet, and make *visits*."""
        copy, wait = self._copies.set_out(steps)
        if wait is not None:
            yield wait
        copied = 0 if copy is None else _after_copies(visits)
        at = 0
        while at < len(visits):
            begun, group = at, visits[at][0]
            ends = []
            while at < len(visits) and visits[at][0] == group:
                ends.append(self._visit(visits[at], purpose))
                at += 1
            if copy is not None and begun >= copied:
                self._copies.end(copy)
                copy = None
            for end in ends:  # noqa: UP028  (a list cannot be sent what an event brings)
                yield end
        if copy is not None:
            self._copies.end(copy)

    def _visit(self, visit: Visit, purpose: Purpose) -> Event:
        _, station, write, position, size, role = visit
        if purpose is Purpose.GUEST and role != Role.DATA:
            purpose = Purpose.SIDE
        return self._stations[station].visit(write, position, size, purpose)


def _after_copies(visits: list[Visit]) -> int:
    """Return the place after the last visit of a copy."""
    return 1 + max(place for place, visit in enumerate(visits) if visit[5] in COPYING)
