"""The executable specification: a SimPy process for each I/O.

An I/O *arrives* (and may have to wait) → is *admitted* (addresses, maps, plan, tokens: at once)
→ makes its *visits*, group after group, those of a group side by side → *completes*.

Within an instant: what control posted, then ends of service, then arrivals in order of their
guests.  A station serves in order of arrival; when a service ends, the station takes its next visit
before the I/O that was served moves on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

import numpy as np

from stuntdouble.clock import Environment, Priority
from stuntdouble.errors import Bug, NoSpace
from stuntdouble.iops.engine import Guest, Io, Load, Purpose, StreamSpec
from stuntdouble.iops.measure import Meter
from stuntdouble.iops.route import Geometry, Router
from stuntdouble.iops.work import DISK, Service, visit_seconds
from stuntdouble.site import Role
from stuntdouble.trace import stream_key, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from simpy.events import Event

    from stuntdouble.iops.route import Visit
    from stuntdouble.site import Disk, Level, Lun, Site, Step


class Station:
    """Servers behind one queue, first come first served."""

    def __init__(
        self, env: Environment, number: int, service: Service, servers: int, stroke: int, key: int
    ) -> None:
        self.env = env
        self.number = number
        self.servers = servers
        self.rate = 1.0
        self.busy = 0
        self.queue: deque[tuple[Event, int, int, int, int]] = deque()
        self.on_visit: Callable[[int, int, float, float], None] | None = None
        self._kind = service.kind
        self._row = service.row()
        self._stroke = float(stroke)
        self._key = np.uint64(key)
        self._count = 0
        self._arm = 0

    def visit(self, write: int, position: int, size: int, purpose: int) -> Event:
        """Return an event that happens when the visit has been served."""
        ended = self.env.event()
        entry = (ended, write, position, size, purpose)
        if self.busy < self.servers:
            self.busy += 1
            self._serve(entry)
        else:
            self.queue.append(entry)
        return ended

    def _serve(self, entry: tuple[Event, int, int, int, int]) -> None:
        ended, write, position, size, purpose = entry
        distance = 0.0
        if self._kind == DISK:
            distance = abs(position - self._arm) / self._stroke
            self._arm = position + size
        drawn = unit(self._key, self._count)
        self._count += 1
        seconds = visit_seconds(self._kind, self._row, write, size, distance, drawn) / self.rate
        if self.on_visit is not None:
            self.on_visit(self.number, purpose, self.env.now, seconds)
        ended.callbacks.append(self._leave)
        # an event that is triggered from the start and happens at the end of the service
        ended._ok = True  # noqa: SLF001  (as simpy.Timeout is made)
        ended._value = None  # noqa: SLF001
        self.env.schedule(ended, Priority.END, seconds)

    def _leave(self, _ended: Event) -> None:
        if self.queue:
            self._serve(self.queue.popleft())
        else:
            self.busy -= 1


class ReferenceStream:
    """A closed loop of items: ``depth`` workers take the next item each."""

    def __init__(self, engine: Reference, spec: StreamSpec) -> None:
        self.depth = spec.depth
        self.bytes_per_second = spec.bytes_per_second
        self._engine = engine
        self._spec = spec
        self._items: list[tuple[int, int]] = list(map(tuple, spec.items.tolist()))
        self._next = 0
        self._workers = 0
        self._ended: set[int] = set()
        self._prefix = 0
        self._due = engine.env.now
        self._marks: list[tuple[int, Event]] = []
        self._stopped = False
        self.failure: BaseException | None = None
        self.finished: Event = engine.env.expect(engine.env.event())
        engine.post(self._open)

    @property
    def done(self) -> int:
        """How many items have ended."""
        return len(self._ended) + self._prefix

    def reached(self, count: int) -> Event:
        """Return an event that happens once the first *count* items have all ended."""
        env = self._engine.env
        mark = env.expect(env.event())
        if self._prefix >= count or self.finished.triggered:
            self._settle(mark)
        else:
            self._marks.append((count, mark))
        return mark

    def stop(self) -> None:
        """Start no further item; ``finished`` happens when what is under way has ended."""
        self._stopped = True
        self._engine.post(self._open)

    def _settle(self, mark: Event) -> None:
        if self.failure is None:
            mark.succeed()
        else:
            mark.fail(self.failure)

    def _open(self) -> None:
        """Start workers up to the depth; finish where there is nothing to do."""
        while self._workers < self.depth and self._has_next():
            self._workers += 1
            self._engine.env.process(self._worker())
        self._finish_if_over()

    def _has_next(self) -> bool:
        return not self._stopped and self._next < len(self._items)

    def _finish_if_over(self) -> None:
        if self._workers or self._has_next() or self.finished.triggered:
            return
        self._settle(self.finished)
        for _, mark in self._marks:
            self._settle(mark)
        self._marks.clear()

    def _worker(self) -> Generator[Event, object, None]:
        while self._has_next() and self._workers <= self.depth:
            index = self._next
            self._next += 1
            start, count = self._items[index]
            yield from self._pace(count)
            try:
                yield from self._engine.item(self._spec, start, count)
            except NoSpace as error:
                self.failure, self._stopped = error, True
                break
            self._note(index)
        self._workers -= 1
        if self._workers < self.depth and self._has_next():
            self._open()
        self._finish_if_over()

    def _pace(self, count: int) -> Generator[Event, object, None]:
        """Keep the starts at the stream's rate."""
        if self.bytes_per_second <= 0:
            return
        env = self._engine.env
        scale = self._engine.site.block_bytes if self._spec.io is Io.MOVE_LEVEL else 1
        due = max(self._due, env.now)
        self._due = due + count * scale / self.bytes_per_second
        if due > env.now:
            yield env.at(due, Priority.POST)

    def _note(self, index: int) -> None:
        self._ended.add(index)
        while self._prefix in self._ended:
            self._ended.discard(self._prefix)
            self._prefix += 1
        met = [mark for count, mark in self._marks if count <= self._prefix]
        self._marks = [(count, mark) for count, mark in self._marks if count > self._prefix]
        for mark in met:
            mark.succeed()


class Reference:
    """The engine of model and specification; see ``stuntdouble.iops.engine.Engine``."""

    def __init__(self, env: Environment, site: Site, seed: int) -> None:
        self.env = env
        self.site = site
        self.meter = Meter()
        self.stations: list[Station] = []
        self.guests: list[Guest] = []
        self._seed = seed
        self._router = Router(site.block_bytes)
        self._fences: dict[int, int] = {}
        self._fenced: list[Event] = []
        self._watches: list[tuple[Callable[[], float], float, Event]] = []

    # Building. -----------------------------------------------------------------------------

    def add_station(self, service: Service, servers: int = 1, stroke: int = 1) -> int:
        """Return the number of a station; *stroke* is a disk's size in bytes."""
        number = len(self.stations)
        key = stream_key(self._seed, "station", str(number))
        station = Station(self.env, number, service, servers, stroke, key)
        station.on_visit = self.meter.visit
        self.stations.append(station)
        return number

    def add_pool(self, pool: int, geometry: Geometry) -> None:
        """Say which stations the blocks of a pool of the site lie on."""
        self._router.add_pool(pool, geometry)

    def add_guest(
        self, name: str, disks: list[Disk], luns: list[Lun], load: Load | None
    ) -> Guest:
        """Return a guest that issues *load* from ``start`` on."""
        guest = Guest(name, len(self.guests), disks, luns, load)
        self.guests.append(guest)
        return guest

    # Load. ---------------------------------------------------------------------------------

    def start(self, guest: Guest) -> None:
        """Let the guest's load begin."""
        if guest.load is None:
            return
        guest.shift += self.env.now
        ios = iter(guest.load.ios())
        if not guest.load.outstanding:
            self.post(lambda: self.env.process(self._open_load(guest, ios)))
        for _ in range(guest.load.outstanding):
            self.post(lambda: self.env.process(self._closed_load(guest, ios)))

    def retire(self, guest: Guest) -> None:
        """Let the guest issue no further I/O, for good."""
        guest.load = None

    def _open_load(
        self, guest: Guest, ios: Iterable[tuple[float, int, bool, int, int]]
    ) -> Generator[Event, object, None]:
        for seconds, disk, write, offset, length in ios:
            yield from self._until(guest, seconds, guest.number)
            if guest.load is None:
                return
            guest.arrived += 1
            self.env.process(self._io(guest, disk, write, offset, length))

    def _closed_load(
        self, guest: Guest, ios: Iterable[tuple[float, int, bool, int, int]]
    ) -> Generator[Event, object, None]:
        for think, disk, write, offset, length in ios:
            yield from self._until(guest, self.env.now - guest.shift + think, guest.number)
            if guest.load is None:
                return
            guest.arrived += 1
            yield from self._io(guest, disk, write, offset, length)

    def _until(self, guest: Guest, seconds: float, order: int) -> Generator[Event, object, None]:
        """Wait for *seconds* of the guest's own clock, which stands still in a stun."""
        while guest.load is not None:
            if guest.stuns:
                resumed = self.env.event()
                guest.resumed.append(resumed)
                yield resumed
            elif (due := seconds + guest.shift) > self.env.now:
                yield self.env.at(due, Priority.ARRIVAL + order)
            else:
                return

    def _io(
        self, guest: Guest, disk: int, write: bool, offset: int, length: int  # noqa: FBT001
    ) -> Generator[Event, object, None]:
        """One guest I/O, from arrival to completion."""
        arrived = self.env.now
        target = guest.disks[disk]

        def attempt() -> list[Step]:
            if write:
                return self.site.write(target, offset, length)
            return self.site.read(target.head, offset, length)

        steps = yield from self._admission(guest, attempt)
        self._check_watches()
        yield from self._visits(steps, Purpose.GUEST)
        guest.completed += 1
        self.meter.io(guest.name, arrived, self.env.now)
        self._leave(guest)
        self._check_watches()

    def _admission(
        self, guest: Guest, attempt: Callable[[], list[Step]]
    ) -> Generator[Event, object, list[Step]]:
        """Wait for the guest's turn, then admit; an I/O without space keeps its place."""
        if guest.open and not guest.waiting:
            guest.in_flight += 1
        else:
            turn = self.env.event()
            guest.waiting.append(turn)
            yield turn  # whoever lets it go has counted it as in flight
        while True:
            try:
                return attempt()
            except NoSpace as error:
                if guest.on_no_space is None:
                    raise
                guest.on_no_space(error)
                if guest.open:
                    raise Bug(f"{guest.name} has no space and was not paused") from error
                turn = self.env.event()
                guest.waiting.appendleft(turn)
                self._leave(guest)
            yield turn

    def _leave(self, guest: Guest) -> None:
        guest.in_flight -= 1
        self._admit_waiting(guest)
        if not guest.in_flight:
            for drain in guest.drains:
                drain.succeed()
            guest.drains.clear()

    def _admit_waiting(self, guest: Guest) -> None:
        while guest.waiting and guest.open:
            guest.in_flight += 1
            guest.waiting.popleft().succeed()

    def _visits(self, steps: list[Step], purpose: Purpose) -> Generator[Event, object, None]:
        """Make the visits of an I/O: group after group, a group's side by side."""
        visits = self._router.visits(steps)
        at = 0
        while at < len(visits):
            group = visits[at][0]
            ends = []
            while at < len(visits) and visits[at][0] == group:
                ends.append(self._visit(visits[at], purpose))
                at += 1
            for end in ends:
                if not end.processed:
                    yield end

    def _visit(self, visit: Visit, purpose: Purpose) -> Event:
        _, station, write, position, size, role = visit
        if purpose is Purpose.GUEST and role != Role.DATA:
            purpose = Purpose.SIDE
        return self.stations[station].visit(write, position, size, purpose)

    # Holding up and letting go. --------------------------------------------------------------

    def stun(self, guest: Guest) -> None:
        """Stop the guest's clock and admit no more of its I/O; nests."""
        if not guest.stuns:
            guest.stunned_at = self.env.now
        guest.stuns += 1

    def resume(self, guest: Guest) -> None:
        """Undo one ``stun``; the guest's arrivals go on where they stopped."""
        guest.stuns -= 1
        if guest.stuns:
            return
        guest.shift += self.env.now - guest.stunned_at
        resumed, guest.resumed = guest.resumed, []

        def let_go() -> None:
            for event in resumed:
                event.succeed()
            self._admit_waiting(guest)

        self.post(let_go)

    def drained(self, guest: Guest) -> Event:
        """Return an event that happens once none of the guest's I/O is in flight."""
        event = self.env.expect(self.env.event())
        if guest.in_flight:
            guest.drains.append(event)
        else:
            event.succeed()
        return event

    def set_limit(self, guest: Guest, outstanding: int) -> None:
        """Limit the guest's outstanding I/O; 0 lifts the limit."""
        guest.limit = outstanding
        self.post(lambda: self._admit_waiting(guest))

    def fence(self, luns: list[Lun]) -> None:
        """Admit no I/O to *luns*: their guests' clocks run on; nests."""
        for lun in luns:
            self._fences[lun.number] = self._fences.get(lun.number, 0) + 1
        for guest in self.guests:
            guest.fences += sum(lun in luns for lun in guest.luns)

    def unfence(self, luns: list[Lun]) -> None:
        """Undo one ``fence``."""
        for lun in luns:
            self._fences[lun.number] -= 1
        for guest in self.guests:
            guest.fences -= sum(lun in luns for lun in guest.luns)
        fenced, self._fenced = self._fenced, []

        def let_go() -> None:
            for event in fenced:
                event.succeed()
            for guest in self.guests:
                self._admit_waiting(guest)

        self.post(let_go)

    # What control posts. -----------------------------------------------------------------------

    def post(self, action: Callable[[], object]) -> None:
        """Let *action* happen after all control of this instant, before any I/O of it."""
        self.env.at(self.env.now, Priority.POST).callbacks.append(lambda _event: action())

    def submit(self, steps: list[Step], purpose: Purpose) -> Event:
        """Post one I/O of given steps; the event happens when it has ended."""
        ended = self.env.expect(self.env.event())

        def model() -> Generator[Event, object, None]:
            yield from self._visits(steps, purpose)
            ended.succeed()

        self.post(lambda: self.env.process(model()))
        return ended

    def stream(self, spec: StreamSpec) -> ReferenceStream:
        """Post a stream."""
        return ReferenceStream(self, spec)

    def item(
        self, spec: StreamSpec, start: int, count: int
    ) -> Generator[Event, object, None]:
        """One item of a stream."""
        while any(self._fences.get(lun.number) for lun in spec.luns):
            fenced = self.env.event()
            self._fenced.append(fenced)
            yield fenced
        steps = self._item_steps(spec, start, count)
        self._check_watches()
        yield from self._visits(steps, spec.purpose)
        if spec.link >= 0:
            yield self.stations[spec.link].visit(0, 0, count, spec.purpose)

    def _item_steps(self, spec: StreamSpec, start: int, count: int) -> list[Step]:
        target = spec.target
        if spec.io is Io.READ_LEVEL:
            return self.site.read(cast("Level", target), start, count)
        if spec.io is Io.MOVE_LEVEL:
            return self.site.move(cast("Level", target), start, count)
        if spec.io is Io.READ_LUN:
            return self.site.volume_read(cast("Lun", target), start, count)
        return self.site.write(cast("Disk", target), start, count)

    def set_rate(self, station: int, factor: float) -> None:
        """Let a station work *factor* times as fast as built."""
        self.stations[station].rate = factor

    def watch(self, quantity: Callable[[], float], threshold: float) -> Event:
        """Return an event that happens as soon as I/O has driven *quantity* to *threshold*."""
        event = self.env.expect(self.env.event())
        self._watches.append((quantity, threshold, event))
        self._check_watches()
        return event

    def _check_watches(self) -> None:
        if not self._watches:
            return
        met = [w for w in self._watches if w[0]() >= w[1]]
        if met:
            self._watches = [w for w in self._watches if w not in met]
            for _, _, event in met:
                if not event.triggered:
                    event.succeed()
