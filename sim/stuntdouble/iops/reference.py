"""The executable specification: a SimPy process for each I/O.

An I/O *arrives* (and may have to wait) → is *admitted* (addresses, maps, plan, tokens: at once)
→ makes its *visits*, group after group, those of a group side by side → *completes*.

Within an instant: what control posted, then ends of service, then arrivals in order of their
guests.  Who ends lets go of who waits, at once.  Nothing that waits has taken anything: an I/O
that is held up or finds no space stays where it is in its guest's queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from stuntdouble.clock import Priority
from stuntdouble.errors import NoSpace
from stuntdouble.iops import checks
from stuntdouble.iops.cache import SIDE_BY_SIDE
from stuntdouble.iops.engine import Guest, Load, Purpose, StreamSpec, Turn
from stuntdouble.iops.fences import Fences
from stuntdouble.iops.load import check_load, checked
from stuntdouble.iops.measure import Meter
from stuntdouble.iops.passage import Passages
from stuntdouble.iops.paths import Paths, drain, fail, give_up, hang
from stuntdouble.iops.station import Station
from stuntdouble.iops.stream import (
    ReferenceStream,
    check_stream,
    item_bytes,
    item_steps,
    refuse_oversize,
)
from stuntdouble.iops.tokens import set_bucket
from stuntdouble.iops.watches import Watch, Watches
from stuntdouble.trace import stream_key

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.errors import Unreachable
    from stuntdouble.iops.cache import Cache
    from stuntdouble.iops.route import Geometry
    from stuntdouble.iops.work import Service
    from stuntdouble.site import Disk, Lun, Site, Step


class Reference:
    """The engine of model and specification; see ``stuntdouble.iops.engine.Engine``."""

    def __init__(self, env: Environment, site: Site, seed: int, meter: Meter | None = None) -> None:
        self.env = env
        self.site = site
        self.meter = Meter() if meter is None else meter
        self.paths = Paths()
        self.stations: list[Station] = []
        self.guests: list[Guest] = []
        self._seed = seed
        self._passages = Passages(env, self.stations, site.block_bytes)
        self._fences = Fences()
        self._fenced: list[ReferenceStream] = []
        self._streams: dict[Event, ReferenceStream] = {}  # those under way
        self._watches = Watches()

    # Building. -----------------------------------------------------------------------------

    def add_station(
        self, service: Service, servers: int = 1, stroke: int = 1, *, foreground_first: bool = False
    ) -> int:
        """Return the number of a station; *stroke* is a disk's size in bytes."""
        number = len(self.stations)
        key = stream_key(self._seed, "station", str(number))
        station = Station(
            self.env, number, service, servers, stroke, key, foreground_first=foreground_first
        )
        station.on_visit = self.meter.visit
        self.stations.append(station)
        return number

    def add_pool(self, pool: int, geometry: Geometry) -> None:
        """Say which stations the blocks of a pool of the site lie on."""
        checks.check_pool_of(self.site, pool)
        self._passages.add_pool(pool, geometry)

    def block_copies(self, pool: int) -> None:
        """Let a write wait for the copy of its chunk that is under way in this pool."""
        self._passages.block_copies(pool)

    def add_cache(self, pool: int, cache: Cache) -> int:
        """Put a write-back cache before a pool's devices; return the number of its station."""
        checks.check_pool(pool, self._passages.ports)
        checks.check_uncached(pool, self._passages.caches)
        station = self.add_station(cache.service(), SIDE_BY_SIDE)
        self._passages.add_cache(pool, cache, station)
        return station

    def add_guest(self, name: str, disks: list[Disk], luns: list[Lun], load: Load | None) -> Guest:
        """Return a guest that issues *load* from ``start`` on."""
        guest = Guest(name, len(self.guests), disks, luns, load)
        guest.fences = self._fences.count(luns)
        self.guests.append(guest)
        return guest

    # Load. ---------------------------------------------------------------------------------

    def start(self, guest: Guest) -> None:
        """Let the guest's load begin."""
        if guest.load is None:
            return
        check_load(guest)
        guest.started = True
        guest.shift = guest.stunned_at = self.env.now
        ios = checked(guest.load, guest)
        if not guest.load.outstanding:
            self.post(lambda: self.env.process(self._open_load(guest, ios)))
        for _ in range(guest.load.outstanding):
            self.post(lambda: self.env.process(self._closed_load(guest, ios)))

    def retire(self, guest: Guest) -> None:
        """Let the guest issue no further I/O, for good; what waits is dropped."""
        guest.load = None
        self.drop_waiting(guest)

    def drop_waiting(self, guest: Guest) -> None:
        """Drop what waits to be admitted; who issued it in a closed loop is let go."""
        dropped = list(guest.waiting)
        guest.waiting.clear()
        guest.dropped += len(dropped)
        issuers = [turn.admitted for turn in dropped if turn.admitted is not None]
        issuers += give_up(guest)

        def go_on() -> None:
            for event in issuers:
                event.succeed()

        self.post(go_on)

    def _open_load(self, guest: Guest, ios: Iterable[checks.Row]) -> Generator[Event, object, None]:
        for seconds, disk, write, offset, length in ios:
            yield from self._until(guest, seconds)
            if guest.load is None:
                return
            self.env.process(self._io(guest, disk, write, offset, length))

    def _closed_load(
        self, guest: Guest, ios: Iterable[checks.Row]
    ) -> Generator[Event, object, None]:
        for think, disk, write, offset, length in ios:
            # A guest that is stunned begins to think when it is resumed.
            now = guest.stunned_at if guest.stuns else self.env.now
            yield from self._until(guest, now - guest.shift + think)
            if guest.load is None:
                return
            yield from self._io(guest, disk, write, offset, length)

    def _until(self, guest: Guest, seconds: float) -> Generator[Event, object, None]:
        """Wait for *seconds* of the guest's own clock, which stands still in a stun.

        An arrival that is due already still takes its place among the arrivals of its instant.
        """
        while guest.load is not None:
            if guest.stuns:
                resumed = self.env.event()
                guest.resumed.append(resumed)
                yield resumed
                continue
            due = max(seconds + guest.shift, self.env.now)
            yield self.env.at(due, Priority.ARRIVAL + guest.number)
            if self._has_come(guest, seconds):
                return

    def _has_come(self, guest: Guest, seconds: float) -> bool:
        return not guest.stuns and seconds + guest.shift <= self.env.now

    def _io(
        self,
        guest: Guest,
        disk: int,
        write: bool,  # noqa: FBT001  (a row of a load)
        offset: int,
        length: int,
    ) -> Generator[Event, object, None]:
        """One guest I/O, from arrival to completion."""
        arrived = self.env.now
        target = guest.disks[disk]
        refuse_oversize(length, self.site)

        def attempt() -> list[Step]:
            if write:
                return self.site.write(target, offset, length)
            return self.site.read(target.head, offset, length)

        steps = yield from self._admission(guest, target, attempt)
        if steps is None:
            return
        yield from self._passages.make(steps, Purpose.GUEST)
        if (error := self.paths.lost_disk(target)) is not None:
            if hang(guest, answer := self.env.event(), error):
                yield answer
            return
        guest.completed += 1
        guest.in_flight -= 1
        self.meter.io(guest.name, arrived, self.env.now, (disk, int(write), length))
        self._admit_waiting(guest)
        drain(guest)
        self.check_watches()

    def _admission(
        self, guest: Guest, disk: Disk, attempt: Callable[[], list[Step]]
    ) -> Generator[Event, object, list[Step] | None]:
        """Queue up, and wait for the guest's turn; return no steps when it was dropped."""
        guest.arrived += 1
        turn = Turn(disk, attempt)
        guest.waiting.append(turn)
        self._admit_waiting(guest)
        self.check_watches()
        if turn.steps is None:
            turn.admitted = turn.admitted or self.env.event()
            yield turn.admitted
        return turn.steps

    def _admit_waiting(self, guest: Guest) -> None:
        """Admit in order what may be; what is fenced or lacks a token or space keeps its place."""
        held: list[Turn] = []
        disks: set[int] = set()  # those that are held up
        while guest.waiting and guest.open and len(disks) < len(guest.disks):
            turn = guest.waiting.popleft()
            if (lost := self.paths.lost_disk(turn.disk)) is not None:
                turn.admitted = turn.admitted or self.env.event()
                guest.in_flight += 1
                hang(guest, turn.admitted, lost)
                continue
            if turn.disk.number in disks or self._is_held(guest, turn.disk):
                disks.add(turn.disk.number)
                held.append(turn)
                continue
            try:
                turn.steps = turn.attempt()
            except NoSpace as error:
                guest.waiting.appendleft(turn)
                guest.waiting.extendleft(reversed(held))
                guest.has_no_space(error)
                return
            guest.in_flight += 1
            if (bucket := guest.buckets.get(turn.disk.number)) is not None:
                bucket.take(self.env.now)
            if turn.admitted is not None:
                turn.admitted.succeed()
                guest.waiting.extendleft(reversed(held))  # they wait: a watch may count them
                self.check_watches()
                for _ in held:
                    guest.waiting.popleft()
        guest.waiting.extendleft(reversed(held))

    def _is_held(self, guest: Guest, disk: Disk) -> bool:
        """Say whether I/O to a disk has to wait; if for a token, see to it that it is let go."""
        if self._is_fenced(disk):
            return True
        bucket = guest.buckets.get(disk.number)
        if bucket is None or bucket.due <= self.env.now:
            return False
        if bucket.due != bucket.wake:
            bucket.wake = bucket.due
            self.post(lambda: self._admit_waiting(guest), bucket.due)
        return True

    def _is_fenced(self, disk: Disk) -> bool:
        """Say whether a LUN under a disk is fenced."""
        return self._fences.up and self._fences.count(disk.head.file.store.luns) > 0

    # Holding up and letting go. --------------------------------------------------------------

    def stun(self, guest: Guest) -> None:
        """Stop the guest's clock and admit no more of its I/O; nests."""
        guest.stun(self.env.now)

    def resume(self, guest: Guest) -> None:
        """Undo one ``stun``; the guest's arrivals go on where they stopped."""
        if not guest.resume(self.env.now):
            return
        resumed, guest.resumed = guest.resumed, []

        def let_go() -> None:
            for event in resumed:
                event.succeed()
            self._admit_waiting(guest)

        self.post(let_go)

    def drained(self, guest: Guest) -> Event:
        """Return an event that happens once none of the guest's I/O is in flight."""
        event = self.env.expect(self.env.event())
        if guest.hung:
            fail(event, cast("Unreachable", guest.lost))
        elif guest.in_flight:
            guest.drains.append(event)
        else:
            event.succeed()
        return event

    def set_limit(self, guest: Guest, outstanding: int) -> None:
        """Limit the guest's outstanding I/O; 0 lifts the limit."""
        checks.check_outstanding(guest, outstanding)
        guest.limit = outstanding
        self.post(lambda: self._admit_waiting(guest))

    def set_iops_limit(self, guest: Guest, disk: int, iops: float, burst: int = 1) -> None:
        """Limit the I/Os per second that the guest's disk number *disk* is admitted."""
        set_bucket(guest, disk, self.env.now, iops, burst)
        self.post(lambda: self._admit_waiting(guest))

    def fence(self, luns: list[Lun]) -> None:
        """Admit no I/O to *luns*: their guests' clocks run on; nests."""
        self._fences.put(luns)
        self._recount_fences()

    def unfence(self, luns: list[Lun]) -> None:
        """Undo one ``fence``."""
        self._fences.lift(luns)
        self._recount_fences()

        def let_go() -> None:
            held, self._fenced = self._fenced, []
            for stream in held:
                stream.open()
            for guest in self.guests:
                self._admit_waiting(guest)

        self.post(let_go)

    def cut_off(self, pool: int, error: Unreachable) -> None:
        """Answer no I/O to a pool of the site any more, for good."""
        checks.check_pool_of(self.site, pool)
        self.paths.cut(pool, error)

        def tell() -> None:
            for stream in list(self._streams.values()):
                stream.open()

        self.post(tell)

    def _recount_fences(self) -> None:
        for guest in self.guests:
            guest.fences = self._fences.count(guest.luns)

    def hold(self, stream: ReferenceStream) -> bool:
        """Say whether a fence holds a stream up; if so, it is opened when a fence is lifted."""
        fenced = self._fences.count(stream.spec.luns) > 0
        if fenced and stream not in self._fenced:
            self._fenced.append(stream)
        return fenced

    # What control posts. -----------------------------------------------------------------------

    def post(self, action: Callable[[], object], when: float | None = None) -> None:
        """Let *action* happen after all control of an instant (this one), before any I/O of it."""

        def happen(_event: Event) -> None:
            action()

        at = self.env.now if when is None else when
        self.env.at(at, Priority.POST).callbacks.append(happen)

    def dirty_bytes(self, pool: int) -> int:
        """Return what of a pool of the site is in its cache only."""
        return self._passages.dirty_bytes(pool)

    def quiet(self) -> Event:
        """Return an event that happens once no cache holds dirty data."""
        return self._passages.quiet()

    def submit(self, steps: list[Step], purpose: Purpose) -> Event:
        """Post one I/O of given steps; the event happens when it has ended."""
        checks.check_steps(steps, self._passages.ports, self.site.block_bytes)
        ended = self.env.expect(self.env.event())

        def model() -> Generator[Event, object, None]:
            if self.paths.lost_steps(steps) is None:
                yield from self._passages.make(steps, purpose)
            if (error := self.paths.lost_steps(steps)) is None:
                ended.succeed()
            else:
                fail(ended, error)
            self.check_watches()

        self.post(lambda: self.env.process(model()))
        return ended

    def stream(self, spec: StreamSpec) -> ReferenceStream:
        """Post a stream."""
        check_stream(spec, len(self.stations))
        stream = ReferenceStream(self, spec)
        self._streams[stream.finished] = stream

        def over(event: Event) -> None:
            del self._streams[event]

        stream.finished.callbacks.append(over)
        return stream

    def item(self, spec: StreamSpec, start: int, count: int) -> Generator[Event, object, None]:
        """One item of a stream."""
        steps = item_steps(spec, start, count, self.site)
        self.check_watches()
        yield from self._passages.make(steps, spec.purpose)
        if spec.link >= 0:
            size = item_bytes(spec, count, self.site)
            yield self.stations[spec.link].visit(0, 0, size, spec.purpose)
        if (error := self.paths.lost(spec.luns)) is not None:
            raise error

    def set_rate(self, station: int, factor: float) -> None:
        """Let a station work *factor* times as fast as built."""
        checks.check_rate(station, factor, len(self.stations))
        self.stations[station].rate = factor

    def watch(self, quantity: Callable[[], float], threshold: float) -> Event:
        """Return an event that happens as soon as I/O has driven *quantity* to *threshold*."""
        checks.check_threshold(threshold)
        event = self.env.expect(self.env.event())
        self._watches.append(Watch(quantity, threshold, event))
        self.check_watches()
        return event

    def check_watches(self) -> None:
        """Let the watches happen that are met by now."""
        if self._watches:
            self._watches.check()
