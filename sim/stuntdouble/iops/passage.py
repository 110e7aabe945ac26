"""How an admitted I/O passes the stations: group after group, a group's visits side by side."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from stuntdouble.iops.copies import COPYING, Copies
from stuntdouble.iops.engine import Purpose
from stuntdouble.iops.route import Router
from stuntdouble.site import Role

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.iops.route import Geometry, Visit
    from stuntdouble.iops.station import Station
    from stuntdouble.site import Step


class Passages:
    """The way of every I/O between its admission and its end.

    It sets out: it may have to wait for copies that are under way (see ``copies``).  Then it makes
    its visits.
    """

    def __init__(self, env: Environment, stations: list[Station], block_bytes: int) -> None:
        self._stations = stations
        self._router = Router(block_bytes)
        self._copies = Copies(env, block_bytes)

    def add_pool(self, pool: int, geometry: Geometry) -> None:
        """Say which stations the blocks of a pool of the site lie on."""
        self._router.add_pool(pool, geometry)

    def block_copies(self, pool: int) -> None:
        """Let a write wait for the copy of its chunk that is under way in this pool."""
        self._copies.block(pool)

    def make(self, steps: list[Step], purpose: Purpose) -> Generator[Event, object, None]:
        """Let an I/O set out, and make its visits."""
        yield from self._pass(steps, self._router.visits(steps), purpose)

    def _pass(
        self, steps: list[Step], visits: list[Visit], purpose: Purpose
    ) -> Generator[Event, object, None]:
        copy, wait = self._copies.set_out(steps)
        if wait is not None:
            yield wait
        groups = [list(group) for _, group in groupby(visits, itemgetter(0))]
        copying = [any(visit[5] in COPYING for visit in group) for group in groups]
        after = len(copying) - copying[::-1].index(True) if any(copying) else 0
        for number, group in enumerate(groups):
            ends = [self._visit(visit, purpose) for visit in group]
            if number == after and copy is not None:
                self._copies.end(copy)
            for end in ends:  # noqa: UP028  (a list cannot be sent what an event brings)
                yield end
        if after == len(groups) and copy is not None:
            self._copies.end(copy)

    def _visit(self, visit: Visit, purpose: Purpose) -> Event:
        _, station, write, position, size, role = visit
        if purpose is Purpose.GUEST and role != Role.DATA:
            purpose = Purpose.SIDE
        return self._stations[station].visit(write, position, size, purpose)
