"""Stations: servers behind one queue, first come first served.

A station that serves the foreground first has a second queue behind the first: what backups,
consolidations and restores ask for waits there until nothing else does.  No service is broken off.

A disk, a flash device's channels, a front-end port and a LAN are stations.  When a service ends,
the station takes its next visit before the I/O that was served moves on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

import numpy as np

from stuntdouble.clock import Priority
from stuntdouble.iops.checks import check_servers
from stuntdouble.iops.engine import BACKGROUND
from stuntdouble.iops.work import DISK, Service, travel, visit_seconds
from stuntdouble.trace import unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from simpy.events import Event

    from stuntdouble.clock import Environment


class Station:
    """Serves visits; their times are fixed when they start.

    Args:
        env: the clock.
        number: how the meter knows the station.
        service: how long a visit takes.
        servers: how many visits it serves at a time.
        stroke: a disk's size in bytes; of no meaning to other stations.
        key: of the counter-based stream that rotation is drawn from.
        foreground_first: whether background I/O waits until nothing else does.
    """

    def __init__(
        self,
        env: Environment,
        number: int,
        service: Service,
        servers: int,
        stroke: int,
        key: int,
        *,
        foreground_first: bool = False,
    ) -> None:
        check_servers(number, servers)
        if service.kind == DISK and stroke <= 1:
            raise ValueError(f"station {number} is a disk and needs its size in bytes as stroke")
        self.env = env
        self.number = number
        self.servers = servers
        self.busy = 0
        self.queue: deque[tuple[Event, int, int, int, int]] = deque()
        self.late: deque[tuple[Event, int, int, int, int]] = deque()
        self._foreground_first = foreground_first
        self.on_visit: Callable[[int, int, float, float], None] | None = None
        self.rate = 1.0  # how many times as fast as built it works, from the next service on
        self._kind = service.kind
        self._row = service.row()
        self._stroke = float(stroke)
        self._track = service.turn_seconds * service.bytes_per_second
        self._key = np.uint64(key)
        self._count = 0
        self._arm = 0

    def visit(self, write: int, position: int, size: int, purpose: int) -> Event:
        """Return an event that happens when the visit has been served."""
        ended = self.env.event()
        ended.callbacks.append(self._leave)  # before whoever waits for it
        entry = (ended, write, position, size, purpose)
        if self.busy < self.servers:
            self.busy += 1
            self._serve(entry)
        else:
            late = self._foreground_first and purpose in BACKGROUND
            (self.late if late else self.queue).append(entry)
        return ended

    def _serve(self, entry: tuple[Event, int, int, int, int]) -> None:
        ended, write, position, size, purpose = entry
        distance = 0.0
        if self._kind == DISK:
            distance, passed = travel(self._arm, position, self._stroke, self._track)
            self._arm = position + size
            size += passed
        drawn = unit(self._key, cast("np.int64", self._count))
        self._count += 1
        built = visit_seconds(self._kind, self._row, write, size, distance, drawn)
        seconds = built / self.rate
        if self.on_visit is not None:
            self.on_visit(self.number, purpose, self.env.now, seconds)
        # an event that is triggered from the start and happens at the end of the service
        ended._ok = True  # noqa: SLF001  (as simpy.Timeout is made)
        ended._value = None  # noqa: SLF001
        self.env.schedule(ended, Priority.END + self.number, seconds)

    def _leave(self, _ended: Event) -> None:
        waiting = self.queue or self.late
        if waiting:
            self._serve(waiting.popleft())
        else:
            self.busy -= 1
