"""Random histories: a small site, an engine on it, what guests ask and what control does and when.

Half of the histories live on a lattice: services take whole units, so that ends, arrivals and
control fall on the same instants and the order within an instant decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from iops.keepers import Keeper, Sacrifice
from iops.lab import BLOCK, FS_BLOCKS, Script, conserved, fixed
from iops.metering import heard
from iops.streaming import BLOCKS, LUN_BLOCKS, Bulk
from stuntdouble.clock import Environment
from stuntdouble.errors import NoSpace, Unreachable
from stuntdouble.iops import (
    Cache,
    ClosedLoad,
    DeltaGrains,
    Geometry,
    GuestCount,
    ItemsDone,
    Meter,
    Mix,
    OfGuest,
    Pattern,
    PoissonLoad,
    Purpose,
    Raid,
    RateCurve,
    Recorded,
    Recorder,
    ReserveTaken,
    TraceLoad,
    disk,
    exponential,
    flash,
)
from stuntdouble.site import COPY_INTO_EACH, COPY_ON_WRITE, REDIRECT_ON_WRITE, Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.site import Disk, Lun, Replica

UNTIL = 60.0
GUESTS = 3
WORDS = ("reading", "merging", "waiting")
TABLES = ("disks", "levels", "files", "stores", "volumes", "images", "pools", "maps", "counters",
          "replicas")  # fmt: skip


@dataclass
class Plan:
    """A history: what is built, what the guests ask, what control does and when."""

    raid: Raid
    services: str
    servers: int
    port: bool
    reserve: int
    room: int
    counts: bool
    loads: list[tuple[int, list[tuple[int, int, bool, int, int]]]]
    acts: list[tuple[int, str, int, int]] = field(default_factory=list)
    blocking: bool = False
    cache: tuple[int, int] | None = None  # the mark, in blocks, and destages under way
    hot: bool = False  # everything near the start, where I/Os meet each other's copies
    each: bool = False  # images get a copy each
    mirror: int = 0  # 1: the LUN has a mirror in its own pool; 2: in another one
    pairs: bool = False  # guests have two disks
    chain: int = 0  # deltas of each disk from the start
    pooled: bool = False  # the pool is one station with several servers
    first: bool = False  # stations serve the foreground first


SERVICES: dict[str, Callable[[int], Any]] = {
    "lattice": lambda k: fixed(1.0 + k % 2),
    "instant": lambda k: fixed(float(k % 2)),
    "disk": lambda _: disk(7200, 0.1, 1.04, 1e6),
    "flash": lambda _: flash(0.3, 0.2, 1e6),
    "exponential": lambda _: exponential(0.7),
}
MEMBERS = {Raid.RAID0: 3, Raid.RAID10: 4, Raid.RAID5: 3, Raid.RAID6: 4}


TRACE, CURVE = 100, -100  # instead of a number of I/Os outstanding


def recorded(rows: list[tuple[int, int, bool, int, int]], unit: float) -> Recorded:
    """Return rows of a load as a recording, of a disk that is larger than the one it is played on."""
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    offsets = 3 * columns[3] * BLOCK
    return Recorded(columns[0] * unit, columns[2] > 0, offsets, columns[4] * BLOCK)


class World(Bulk):
    """A site with an engine, under a script."""

    def __init__(
        self,
        plan: Plan,
        engine: Callable[..., Any],
        meter: Callable[[], Meter] = Recorder,
        site: type[Site] = Site,
    ) -> None:
        super().__init__()
        self.plan, self.events = plan, []
        self.env = Environment()
        self.site = site(keep_log=True, content="counts" if plan.counts else "bytes")
        self.pool = self.site.create_pool(1 << 20, plan.reserve)
        self.lun = self.site.create_lun(LUN_BLOCKS, 4, self.pool, 0)
        self.other = self.site.create_lun(LUN_BLOCKS, 4, self.pool, LUN_BLOCKS)
        self.images: list[Any] = []
        self.disks: list[Any] = []
        self.guests: list[Any] = []
        self.lun.keeper = Sacrifice(self)
        self.store = self.site.create_store([self.lun], FS_BLOCKS, FS_BLOCKS // 4)
        self.store.keeper = Keeper(plan.room)
        self.engine = engine(self.env, self.site, 5, meter())
        self.numbers = count()
        self.build()
        for time, act, first, second in plan.acts:
            event = self.env.at(
                float(time) if plan.services in {"lattice", "instant"} else time / 3
            )
            event.callbacks.append(
                lambda _, a=act, x=first, y=second: getattr(self, f"do_{a}")(x, y)
            )

    def build(self) -> None:
        plan, engine = self.plan, self.engine
        service, members, raid = SERVICES[plan.services], MEMBERS[plan.raid], plan.raid
        if plan.pooled:
            members, raid = 1, Raid.RAID0
        servers = plan.servers + 2 * plan.pooled
        build = partial(engine.add_station, foreground_first=plan.first)
        stations = [build(service(k), servers, 1 << 27) for k in range(members)]
        port = engine.add_station(fixed(1.0)) if plan.port else -1
        self.lan = engine.add_station(fixed(2.0), 2)
        engine.add_pool(self.pool, Geometry(raid, stations[0], members, 2 * BLOCK, port))
        self.port = port
        if plan.blocking:  # a snapshot from the start, or there is seldom anything to copy
            self.do_freeze(0, 0)
            engine.block_copies(self.pool)
        if plan.cache is not None:
            assert engine.add_cache(self.pool, self.cache(*plan.cache)) == self.lan + 1
        self.mirror = self.mirrored(plan.mirror) if plan.mirror else None
        self.stations = stations
        self.deltas: dict[int, list[Any]] = {}
        for number in range(len(plan.loads) * (2 if plan.pairs else 1)):
            self.disks.append(self.new_disk(number))
        for number, (outstanding, rows) in enumerate(plan.loads):
            disks = self.disks[number :: len(plan.loads)]
            load = self.load(number, outstanding, rows, len(disks))
            guest = engine.add_guest(f"vm-{number % 2}", disks, [self.lun], load)
            guest.on_no_space = lambda error, guest=guest: self.pause(guest, error)
            self.guests.append(guest)
            engine.start(guest)

    def new_disk(self, number: int) -> Disk:
        """Return a disk with the deltas that it has from the start, each of which was written to."""
        file = self.store.create_file(f"base-{number}", BLOCKS, sparse=False, zeroed=number > 0)
        disk = self.site.create_disk(f"disk-{number}", BLOCKS, file)
        disk.track(8)
        for level in range(self.plan.chain):
            self.push(number, disk)
            try:  # what was written last year takes no time
                self.site.write(disk, 2 * level * BLOCK, 2 * BLOCK)
            except NoSpace:
                self.log("a delta without space", number)
        return disk

    def cache(self, mark: int, destages: int) -> Cache:
        seconds = 1.0 if self.plan.services in {"lattice", "instant"} else 0.1
        return Cache(mark * BLOCK, seconds, seconds / 2, destages)

    def mirrored(self, where: int) -> Replica:
        """Return a mirror of the LUN that is equal where the first disks will lie."""
        pool, engine = self.pool, self.engine
        if where > 1:
            pool = self.site.create_pool(1 << 20, 0)
            station = engine.add_station(SERVICES[self.plan.services](1), 1, 1 << 27)
            engine.add_pool(pool, Geometry(Raid.RAID0, station, 1, 2 * BLOCK))
            if self.plan.cache is not None:
                engine.add_cache(pool, self.cache(*self.plan.cache))
        mirror = self.site.add_replica(self.lun, pool, 1 << 15)
        mirror.attach()
        mirror.equalise(0, 2 * BLOCKS // 4)
        return mirror

    def load(self, number: int, outstanding: int, rows, disks: int) -> Any:
        size = (16 if self.plan.hot else BLOCKS) * BLOCK
        pattern = Pattern(0.4, 3 * BLOCK // 2, size, 1.7, 0.3)
        mix = Mix(((3.0, pattern), (1.0, Pattern(0.8, 4 * BLOCK, size, 1.0, 0.5))))
        patterns = (pattern, mix)[:disks] if number % 2 == 0 else (mix, pattern)[:disks]
        if outstanding in {CURVE, -1, -3}:
            curve = RateCurve(((4.0, 0.2), (3.0, 0.0), (5.0, 2.0)))
            rate = 0.6 * (2 if outstanding == CURVE else -outstanding)
            return PoissonLoad(
                number, "vm", rate, patterns, curve=curve if outstanding == CURVE else None
            )
        unit = 1.0 if self.plan.services in {"lattice", "instant"} else 0.37
        if outstanding == TRACE:
            return TraceLoad(recorded(sorted(rows), unit), BLOCKS * BLOCK, speed=2.0)
        if outstanding > 4:
            return ClosedLoad(number, "vm", outstanding - 4, 1.5, patterns)
        script = [(t * unit, d % disks, w, b * BLOCK + 512, n * BLOCK) for t, d, w, b, n in rows]
        return Script(script, outstanding)

    def pause(self, guest, error) -> None:
        self.log("no space", guest.number, str(error))
        self.engine.stun(guest)
        self.env.process(self.relief(guest))

    def relief(self, guest):
        self.log("relief is on its way", guest.number)
        yield self.env.timeout(5)
        self.store.keeper.blocks += 1
        self.site.release_reserve(self.lun, 8 * BLOCK)
        self.engine.resume(guest)

    def log(self, *what) -> None:
        self.events.append((self.env.now, *what))

    def tell(self, event, *what) -> None:
        def note(event) -> None:
            event.defused = True
            self.log(*what, str(event.value), self.site.writes)
            self.log([g.completed for g in self.guests], [len(g.waiting) for g in self.guests])

        event.callbacks.append(note)

    # What control does. --------------------------------------------------------------------------

    def do_stun(self, number: int, seconds: int) -> None:
        guest = self.guests[number % len(self.guests)]
        self.engine.stun(guest)
        self.tell(self.engine.drained(guest), "drained", number)
        end = self.env.at(self.env.now + seconds)
        end.callbacks.append(lambda _: self.engine.resume(guest))

    def do_limit(self, number: int, limit: int) -> None:
        self.engine.set_limit(self.guests[number % len(self.guests)], limit % 4)

    def do_iops_limit(self, number: int, factor: int) -> None:
        guest = self.guests[number % len(self.guests)]
        iops = [0.0, 0.5, 1.0, 1.7, 0.3][factor % 5]
        self.engine.set_iops_limit(guest, number // 3 % len(guest.disks), iops, 1 + number % 3)

    def do_quiet(self, number: int, _second: int) -> None:
        self.log("dirty", self.engine.dirty_bytes(self.pool))
        self.tell(self.engine.quiet(), "quiet", number)

    def do_fence(self, which: int, seconds: int) -> None:
        luns = [self.lun] if which % 2 else [self.other, self.lun]
        self.engine.fence(luns)
        end = self.env.at(self.env.now + seconds)
        end.callbacks.append(lambda _: self.engine.unfence(luns))

    def do_rate(self, number: int, factor: int) -> None:
        self.engine.set_rate(self.stations[number % len(self.stations)], (1 + factor) / 2)

    def do_retire(self, number: int, _second: int) -> None:
        self.engine.retire(self.guests[number % len(self.guests)])

    def do_drop(self, number: int, seconds: int) -> None:
        self.do_stun(number, seconds)
        self.engine.drop_waiting(self.guests[number % len(self.guests)])

    def do_freeze(self, kind: int, _second: int) -> None:
        kinds = (COPY_INTO_EACH,) if self.plan.each else (COPY_ON_WRITE, REDIRECT_ON_WRITE)
        self.write_catalogue()
        self.images += self.site.freeze([self.lun], kinds[kind % len(kinds)])

    def do_mirror(self, number: int, chunks: int) -> None:
        if self.mirror is None:
            return
        if number % 4 == 0:
            (self.mirror.detach if self.mirror.attached else self.mirror.attach)()
        elif self.mirror.attached:
            steps = self.mirror.equalise(8 * number, 8 * number + 1 + chunks)
            self.tell(self.engine.submit(steps, Purpose.CONTROL), "mirror", number)

    def do_thaw(self, number: int, _second: int) -> None:
        if self.images:
            self.site.thaw(self.images.pop(number % len(self.images)))

    def do_push(self, number: int, _second: int) -> None:
        number %= len(self.disks)
        self.push(number, self.disks[number])

    def push(self, number: int, disk: Disk) -> None:
        name = f"delta-{next(self.numbers)}"
        file = self.store.create_file(name, BLOCKS, sparse=True, zeroed=True)
        self.deltas.setdefault(number, []).append(disk.push(file))

    def do_seal(self, number: int, _second: int) -> None:
        self.disks[number % len(self.disks)].seal()

    def do_submit(self, number: int, purpose: int) -> None:
        self.write_to(self.lun, number, Purpose(purpose % 6))

    def write_to(self, lun: Lun, number: int, purpose: Purpose) -> None:
        """Write to a volume, if the reserve allows it."""
        try:
            steps = self.site.volume_write(lun, (number % 64) * BLOCK, 3 * BLOCK)
            if number % 2:
                lun = self.lun if number % 4 == 1 else self.other
                steps = [*self.site.metadata_write(lun, 700), *steps]
        except NoSpace as error:
            self.log("refused", str(error))
            return
        if number % 5 == 0:
            steps = []
        self.tell(self.engine.submit(steps, purpose), "submit", number)

    def do_drained(self, number: int, _second: int) -> None:
        self.tell(self.engine.drained(self.guests[number % len(self.guests)]), "drained", number)

    def do_turn(self, number: int, second: int) -> None:
        self.engine.meter.turn(self.env.now, *{WORDS[number % 3], WORDS[second % 3]})

    def do_look(self, number: int, _second: int) -> None:
        meter = self.engine.meter
        self.log(meter.recent_latency(["vm-0", "vm-1"], self.env.now - 5.0))
        self.log(meter.busy(self.stations, np.linspace(0, UNTIL, 7)).tolist())

    def do_watch(self, number: int, threshold: int) -> None:
        guest = self.guests[number % len(self.guests)]
        kinds = list(OfGuest)
        quantities: list[Any] = [GuestCount(guest, kind) for kind in kinds]
        quantities.append(ReserveTaken(self.site, self.pool, self.plan.reserve))
        quantities += [DeltaGrains(level.file) for level in self.deltas.get(guest.number, [])]
        quantities += [ItemsDone(stream) for stream in self.streams]
        quantity = quantities[number % len(quantities)]
        if threshold % 3 == 0:
            quantity = lambda: guest.completed - len(guest.waiting) / 2  # noqa: E731
        watch = self.engine.watch(quantity, quantity() + threshold % 7 - 0.5)
        self.tell(watch, "watch", number, threshold)
        if threshold % 5 == 0:
            later = self.env.at(self.env.now + 3)
            later.callbacks.append(lambda _: watch.triggered or watch.succeed("called off"))

    def do_cut(self, number: int, late: int) -> None:
        if late > 8:  # seldom: not much happens afterwards
            self.engine.cut_off(self.pool, Unreachable(f"array {number}"))

    # What came of it. ----------------------------------------------------------------------------

    def outcome(self, run: Callable[[float], object] | None = None) -> dict[str, Any]:
        """Play the history, in virtual time unless *run* lets time pass, and return what it made."""
        for until in (UNTIL / 3, UNTIL / 2, UNTIL):
            (run or self.env.run)(until)
            assert all(conserved(guest) for guest in self.guests)
        self.site.settle()
        tables = self.site.arena.tables
        told = {name: np.array(getattr(tables, name)[:64]).tolist() for name in TABLES}
        return {
            "events": self.events,
            **self.heard(),
            "guests": [self.figures(guest) for guest in self.guests],
            "streams": [
                (s.done, s.depth, s.bytes_per_second, repr(s.failure)) for s in self.streams
            ],
            "lost": [repr(guest.lost) for guest in self.guests],
            "history": self.site.history,
            **told,
            "content": [d.site.chain_tokens(d.head, 0, BLOCKS).tolist() for d in self.disks],
            "ledger": [self.words(d) for d in self.disks],
            "expecting": self.env.expecting,
            "dirty": self.engine.dirty_bytes(self.pool),
            "leaves": np.array(tables.leaves[: int(tables.counters[0, 0])]).tolist(),
        }

    def heard(self) -> dict[str, Any]:
        """Return what was measured: every row where rows are kept."""
        meter = self.engine.meter
        if isinstance(meter, Recorder):
            ios = {guest.name: meter.ios(guest.name).tolist() for guest in self.guests}
            return {"ios": ios, "visits": meter.visit_rows()}
        return heard(meter, [g.name for g in self.guests], self.stations, UNTIL, list(WORDS))

    def words(self, disk) -> list[int]:
        ledger = self.site.arena.column("disks", disk.number, 1)
        return self.site.arena.words(ledger, 0, BLOCKS).tolist()

    @staticmethod
    def figures(guest) -> tuple[Any, ...]:
        return (
            guest.arrived, guest.completed, guest.in_flight, len(guest.waiting), guest.dropped,
            guest.stuns, guest.fences, guest.limit, guest.shift,
        )  # fmt: skip


# near the start, where I/Os meet each other's copies and dirty blocks, or anywhere
places = st.one_of(st.integers(0, 12), st.integers(0, BLOCKS - 9))
row = st.tuples(st.integers(0, 20), st.integers(0, 1), st.booleans(), places, st.integers(1, 8))
loads = st.lists(
    st.one_of(
        st.tuples(st.just(0), st.lists(row, max_size=12).map(sorted)),
        st.tuples(st.integers(1, 3), st.lists(row, max_size=12)),
        st.tuples(st.just(TRACE), st.lists(row, max_size=12)),
        st.tuples(st.sampled_from([-3, -1, 5, 7, CURVE]), st.just([])),
    ),
    min_size=1,
    max_size=GUESTS,
)
ACTS = sorted(name[3:] for name in dir(World) if name.startswith("do_"))
acts = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from([*ACTS, "freeze", "freeze", "iops_limit", "mirror", "promote", "move"]),
        st.integers(0, 60),
        st.integers(0, 12),
    ),
    min_size=2,
    max_size=24,
)
plans = st.builds(
    Plan,
    raid=st.sampled_from(list(Raid)),
    services=st.sampled_from(["lattice", "instant", "lattice", "disk", "flash", "exponential"]),
    servers=st.integers(1, 2),
    port=st.booleans(),
    reserve=st.sampled_from([1 << 16, 64]),
    room=st.sampled_from([60, 8, 3]),
    counts=st.booleans(),
    loads=loads,
    acts=acts,
    blocking=st.booleans(),
    hot=st.booleans(),
    cache=st.sampled_from([None, None, (1, 1), (4, 1), (16, 2), (1 << 20, 4)]),
    each=st.booleans(),
    mirror=st.sampled_from([0, 0, 1, 2]),
    pairs=st.booleans(),
    chain=st.sampled_from([0, 0, 1, 2]),
    pooled=st.sampled_from([False, False, True]),
    first=st.sampled_from([False, False, True]),
)
