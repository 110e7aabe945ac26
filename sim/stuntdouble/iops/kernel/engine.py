"""The compiled engine: the same as the executable specification, bit for bit, and much faster.

Python is entered only where control has a part: news for whoever waits, a keeper's decision, a
full log, the next batch of a load.  Everything in between is one compiled loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from stuntdouble.errors import Unsupported
from stuntdouble.iops import checks
from stuntdouble.iops.cache import SIDE_BY_SIDE
from stuntdouble.iops.fences import Fences
from stuntdouble.iops.kernel import agenda, loop
from stuntdouble.iops.kernel.copies import NO_POOL
from stuntdouble.iops.kernel.driver import Driver
from stuntdouble.iops.kernel.guests import drop_waiting
from stuntdouble.iops.kernel.parts import KernelGuest, KernelStream
from stuntdouble.iops.kernel.rates import set_rate
from stuntdouble.iops.kernel.services import IS_HEAP, LIST_MIN
from stuntdouble.iops.kernel.silent import let_all_speak, let_speak
from stuntdouble.iops.kernel.tables import (
    A_FIRST,
    A_FREE,
    A_KIND,
    A_SERVERS,
    A_TAKEN,
    AHEAD_MAX,
    B_RATE,
    B_ROW,
    B_STROKE,
    B_TRACK,
    CACHE_DESTAGES,
    CACHE_DIRTY,
    CACHE_MARK,
    CACHE_PORT,
    CACHE_STATION,
    DISK_NUMBER,
    DO_ADMIT,
    DO_GO,
    DO_LET_GO,
    DO_START,
    DO_TELL,
    DO_UNFENCE,
    FULL,
    G_DISK_COUNT,
    G_DISKS,
    G_DRAINS,
    G_HUNG,
    G_RETIRED,
    GUESTS_MAX,
    N_ANY_CUT,
    N_ANY_FENCE,
    N_BLOCKING,
    N_CACHES,
    N_DIRTY_BYTES,
    N_FREE_TOP,
    N_GUESTS,
    N_JOBS,
    N_LOADERS,
    N_QUIET,
    N_STREAMS,
    N_WAYS,
    O_BLOCKS,
    O_CUT,
    O_PORT,
    S_FENCES,
    S_LOST,
    SHAPES,
    STREAMS_MAX,
    bound,
)
from stuntdouble.iops.kernel.tokens import show_buckets
from stuntdouble.iops.load import check_load
from stuntdouble.iops.paths import fail
from stuntdouble.iops.stream import check_stream
from stuntdouble.iops.tokens import set_bucket
from stuntdouble.iops.work import DISK
from stuntdouble.trace import stream_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.errors import Unreachable
    from stuntdouble.iops.cache import Cache
    from stuntdouble.iops.engine import Guest, Load, Purpose, StreamSpec
    from stuntdouble.iops.measure import Meter
    from stuntdouble.iops.route import Geometry
    from stuntdouble.iops.work import Service
    from stuntdouble.site import Disk, Lun, Site, Step


class CompiledEngine(Driver):
    """The engine that runs as the clock's kernel; see ``stuntdouble.iops.engine.Engine``."""

    def __init__(self, env: Environment, site: Site, seed: int, meter: Meter | None = None) -> None:
        super().__init__(env, site, meter)
        self._seed = seed
        self._stations = 0
        self._pools: dict[int, None] = {}  # those that lie on stations, in order
        self._fences = Fences()
        self._streams_made = 0
        self._submits = 0

    # Building. -----------------------------------------------------------------------------

    def add_station(
        self, service: Service, servers: int = 1, stroke: int = 1, *, foreground_first: bool = False
    ) -> int:
        """Return the number of a station; *stroke* is a disk's size in bytes."""
        number = self._stations
        checks.check_servers(number, servers)
        if service.kind == DISK and stroke <= 1:
            raise ValueError(f"station {number} is a disk and needs its size in bytes as stroke")
        bound(number, SHAPES["stations"][0], "stations of the compiled engine")
        row, speeds = self.state.stations[number], self.state.speeds[number]
        row[[A_KIND, A_SERVERS, A_FIRST]] = service.kind, servers, foreground_first
        if not foreground_first:
            row[A_FREE] = self._servers(servers)
            row[A_TAKEN] = IS_HEAP if servers < LIST_MIN else 0
        speeds[B_RATE] = 1.0
        speeds[B_ROW : B_ROW + 6] = service.row()
        speeds[B_STROKE] = float(stroke)
        speeds[B_TRACK] = service.turn_seconds * service.bytes_per_second
        self.state.keys[number] = np.uint64(stream_key(self._seed, "station", str(number)))
        self._stations += 1
        return number

    def _servers(self, servers: int) -> int:
        """Return where the ends of a station's servers lie, all of them free; 0 is nowhere."""
        top = int(self.state.ints[N_FREE_TOP, 0])
        if servers > AHEAD_MAX or top + servers >= SHAPES["free"][0]:
            return 0
        self.state.free[top : top + servers] = 0.0
        self.state.free[top + servers] = np.inf
        self.state.ints[N_FREE_TOP] = top + servers + 1
        return top

    def add_pool(self, pool: int, geometry: Geometry) -> None:
        """Say which stations the blocks of a pool of the site lie on."""
        checks.check_pool_of(self.site, pool)
        checks.check_geometry(geometry, self._stations)
        self._pools[pool] = None
        self.state.pools[pool, :O_CUT] = (1, *geometry.row())

    def block_copies(self, pool: int) -> None:
        """Let a write wait for the copy of its chunk that is under way in this pool."""
        checks.check_pool(pool, self._pools)
        self._refuse_under_way(f"blocking copies in pool {pool}")
        self.state.pools[pool, O_BLOCKS] = 1
        self.state.ints[[N_WAYS, N_BLOCKING]] = 1

    def add_cache(self, pool: int, cache: Cache) -> int:
        """Put a write-back cache before a pool's devices; return the number of its station."""
        checks.check_pool(pool, self._pools)
        checks.check_uncached(pool, np.flatnonzero(self.state.caches[:, CACHE_MARK]).tolist())
        self._refuse_under_way(f"a cache before pool {pool}")
        row = self.state.caches[pool]
        station = self.add_station(cache.service(), SIDE_BY_SIDE)
        row[[CACHE_MARK, CACHE_DESTAGES]] = cache.mark_bytes, cache.destages
        row[[CACHE_STATION, CACHE_PORT]] = station, self.state.pools[pool, O_PORT]
        self.state.ints[[N_WAYS, N_CACHES]] = 1
        return station

    def _refuse_under_way(self, what: str) -> None:
        """Refuse what decides how an I/O sets out while some have been admitted."""
        if self.state.ints[N_JOBS, 0]:
            raise Unsupported(
                f"{what} of the compiled engine while I/O is under way",
                "say so before it starts, or use the reference engine",
            )

    def add_guest(self, name: str, disks: list[Disk], luns: list[Lun], load: Load | None) -> Guest:
        """Return a guest that issues *load* from ``start`` on."""
        number = len(self.guests)
        bound(number, GUESTS_MAX, "guests of the compiled engine")
        guest = KernelGuest(self, number, name, disks, luns, load)
        guest.fences = self._fences.count(luns)
        at = 0
        if number:
            before = self.state.guests[number - 1]
            at = int(before[G_DISKS] + before[G_DISK_COUNT])
        bound(at + len(disks), SHAPES["disks"][0], "disks of all guests of the compiled engine")
        guest.row[G_DISKS], guest.row[G_DISK_COUNT] = at, len(disks)
        self.state.disks[at : at + len(disks), DISK_NUMBER] = [disk.number for disk in disks]
        if name not in self.names:
            self.names.append(name)
        self.name_of.append(self.names.index(name))
        self.guests.append(guest)
        self.state.ints[N_GUESTS] = len(self.guests)
        return guest

    # Load. ---------------------------------------------------------------------------------

    def start(self, guest: Guest) -> None:
        """Let the guest's load begin."""
        mine, load = cast("KernelGuest", guest), guest.load
        if load is None:
            return
        check_load(guest)
        loops = max(load.outstanding, 1)
        most = SHAPES["loaders"][0] - 1
        bound(int(self.state.ints[N_LOADERS, 0]) + loops, most, "loops of all loads")
        guest.shift = guest.stunned_at = self.env.now
        mine.begin(load)
        for _ in range(loops):
            self.post(DO_START, guest.number)

    def retire(self, guest: Guest) -> None:
        """Let the guest issue no further I/O, for good; what waits is dropped."""
        guest.load = None
        self.state.guests[guest.number, G_RETIRED] = 1
        self.drop_waiting(guest)

    def drop_waiting(self, guest: Guest) -> None:
        """Drop what waits to be admitted; who issued it in a closed loop is let go."""
        drop_waiting(self.addresses, guest.number, self.env.now)

    # Holding up and letting go. --------------------------------------------------------------

    def stun(self, guest: Guest) -> None:
        """Stop the guest's clock and admit no more of its I/O; nests."""
        guest.stun(self.env.now)

    def resume(self, guest: Guest) -> None:
        """Undo one ``stun``; the guest's arrivals go on where they stopped."""
        if guest.resume(self.env.now):
            self.post(DO_LET_GO, guest.number)

    def drained(self, guest: Guest) -> Event:
        """Return an event that happens once none of the guest's I/O is in flight."""
        event = self.env.expect(self.env.event())
        if self.state.guests[guest.number, G_HUNG]:
            fail(event, cast("Unreachable", guest.lost))
        elif guest.in_flight:
            guest.drains.append(event)
            self.state.guests[guest.number, G_DRAINS] = 1
            let_speak(self.addresses, guest.number)
        else:
            event.succeed()
        return event

    def set_limit(self, guest: Guest, outstanding: int) -> None:
        """Limit the guest's outstanding I/O; 0 lifts the limit."""
        checks.check_outstanding(guest, outstanding)
        guest.limit = outstanding
        self.post(DO_ADMIT, guest.number)

    def set_iops_limit(self, guest: Guest, disk: int, iops: float, burst: int = 1) -> None:
        """Limit the I/Os per second that the guest's disk number *disk* is admitted."""
        set_bucket(guest, disk, self.env.now, iops, burst)
        show_buckets(self.state, guest)
        self.post(DO_ADMIT, guest.number)

    def fence(self, luns: list[Lun]) -> None:
        """Admit no I/O to *luns*: their guests' clocks run on; nests."""
        self._fences.put(luns)
        self._recount_fences()

    def unfence(self, luns: list[Lun]) -> None:
        """Undo one ``fence``."""
        self._fences.lift(luns)
        self._recount_fences()
        self.post(DO_UNFENCE, 0)

    def cut_off(self, pool: int, error: Unreachable) -> None:
        """Answer no I/O to a pool of the site any more, for good."""
        checks.check_pool_of(self.site, pool)
        let_all_speak(self.addresses)
        self.paths.cut(pool, error)
        self.state.pools[pool, O_CUT] = 1
        self.state.ints[N_ANY_CUT] = 1
        for number, stream in self.streams.items():
            self.state.streams[number, S_LOST] = self.paths.lost_pool(stream.spec.luns)
        for _ended, steps, job in self.submitted.values():
            if self.paths.lost_steps(steps) is not None:
                loop.skip_visits(self.addresses, job)
        self.post(DO_TELL, 1)

    def _recount_fences(self) -> None:
        for number, fences in self._fences.items():
            self.state.fences[number] = fences
        self.state.ints[N_ANY_FENCE] = self._fences.up
        for guest in self.guests:
            guest.fences = self._fences.count(guest.luns)
        for number, stream in self.streams.items():
            self.state.streams[number, S_FENCES] = self._fences.count(stream.spec.luns)

    # What control posts. -----------------------------------------------------------------------

    def post(self, do: int, what: int) -> None:
        """Let something be done after all control of this instant, before any I/O of it."""
        agenda.post(self.addresses, self.env.now, do, what)

    def dirty_bytes(self, pool: int) -> int:
        """Return what of a pool of the site is in its cache only."""
        return int(self.state.caches[pool, CACHE_DIRTY])

    def quiet(self) -> Event:
        """Return an event that happens once no cache holds dirty data."""
        event = self.env.expect(self.env.event())
        if self.state.ints[N_DIRTY_BYTES, 0]:
            self.quiets.append(event)
            self.state.ints[N_QUIET] = 1
        else:
            event.succeed()
        return event

    def submit(self, steps: list[Step], purpose: Purpose) -> Event:
        """Post one I/O of given steps; the event happens when it has ended."""
        checks.check_steps(steps, self._pools, self.site.block_bytes)
        ended = self.env.expect(self.env.event())
        self.write_steps(steps)
        self._submits += 1
        number, tables = self._submits, (self.addresses, self.site.arena.addresses)
        job = int(loop.prepare(*tables, number, len(steps), int(purpose)))
        if job < 0:
            self.handlers[NO_POOL if job == NO_POOL else FULL]()
        self.submitted[number] = ended, steps, job
        if self.paths.lost_steps(steps) is not None:
            loop.skip_visits(self.addresses, job)
        self.post(DO_GO, job)
        return ended

    def stream(self, spec: StreamSpec) -> KernelStream:
        """Post a stream."""
        check_stream(spec, self._stations)
        number = self._streams_made + 1
        bound(number, STREAMS_MAX, "streams of one run of the compiled engine")
        self._streams_made = self.state.ints[N_STREAMS, 0] = number
        stream = self.streams[number] = KernelStream(self, number, spec)
        self.state.streams[number, S_FENCES] = self._fences.count(spec.luns)
        self.state.streams[number, S_LOST] = self.paths.lost_pool(spec.luns)
        return stream

    def set_rate(self, station: int, factor: float) -> None:
        """Let a station work *factor* times as fast as built."""
        checks.check_rate(station, factor, self._stations)
        set_rate(self.addresses, station, factor)

    def watch(self, quantity: Callable[[], float], threshold: float) -> Event:
        """Return an event that happens as soon as I/O has driven *quantity* to *threshold*.

        Quantities of ``stuntdouble.iops.quantity`` are looked at without leaving the loop; for any
        other function Python is entered whenever an I/O arrives, is admitted or ends.
        """
        checks.check_threshold(threshold)
        event = self.env.expect(self.env.event())
        self.add_watch(quantity, threshold, event)
        return event
