"""A small site with an engine on it, loads played from a list, and a judge of order."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stuntdouble.clock import Environment
from stuntdouble.iops import (
    Geometry,
    Purpose,
    Raid,
    Recorder,
    Reference,
    Service,
    StreamSpec,
    link,
)
from stuntdouble.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stuntdouble.iops import Guest, Io, Load, Stream
    from stuntdouble.iops.kernel import CompiledEngine

BLOCK = 4096
FS_BLOCKS = 256  # 1 MiB

Row = tuple[float, int, bool, int, int]


class Keeper:
    """Hands out file-system blocks one after the other."""

    def __init__(self) -> None:
        self.used = 0

    def provide(self, file, index: int) -> int:
        file.place(index, 0, self.used)
        self.used += 1
        return 1


@dataclass
class Script:
    """A load told row by row."""

    rows: list[Row]
    outstanding: int = 0

    def ios(self) -> Iterator[Row]:
        return iter(self.rows)


def reads(*seconds: float, outstanding: int = 0) -> Script:
    """Return reads of one block each, at these times (or after these thinks)."""
    return Script([(t, 0, False, 0, BLOCK) for t in seconds], outstanding)


def fixed(seconds: float) -> Service:
    """Return a server whose visits all take the same time."""
    return link(float("inf"), seconds)


class Lab:
    """One LUN, a store on it, an engine; disks whose blocks all exist and are zeroed."""

    def __init__(
        self,
        engine: type[Reference | CompiledEngine] = Reference,
        *,
        blocks: int = 1 << 12,
        chunk: int = 16,
        reserve: int = 1 << 16,
        seed=1,
        env=None,
    ):
        self.env = env or Environment()
        self.site = Site()
        self.pool = self.site.create_pool(1 << 20, reserve)
        self.lun = self.site.create_lun(1 << 16, chunk, self.pool, 0)
        self.other = self.site.create_lun(1 << 16, chunk, self.pool, 1 << 16)
        self.store = self.site.create_store([self.lun], FS_BLOCKS, FS_BLOCKS)
        self.store.keeper = self.keeper = Keeper()
        self.engine = engine(self.env, self.site, seed, Recorder())
        self.starts: list[tuple[float, int, int]] = []
        self.disk = self.new_disk("base", blocks)

    def new_disk(self, name: str, blocks: int, lun=None):
        """Return a disk on the store, or on a store of its own on another LUN."""
        store, keeper = self.store, self.keeper
        if lun is not None:
            store = self.site.create_store([lun], FS_BLOCKS, FS_BLOCKS)
            store.keeper = keeper = Keeper()
        file = store.create_file(name, blocks, sparse=False, zeroed=True)
        for index in range(blocks // FS_BLOCKS):
            keeper.provide(file, index)
        return self.site.create_disk(name, blocks, file)

    def stations(
        self, *services: Service, servers: int = 1, stroke: int = 1 << 31, foreground_first=False
    ) -> list[int]:
        """Build stations, and note in ``starts`` what starts there."""
        numbers = [
            self.engine.add_station(s, servers, stroke, foreground_first=foreground_first)
            for s in services
        ]
        if isinstance(self.engine, Reference):
            for number in numbers:
                self.engine.stations[number].on_visit = self._note
        return numbers

    def _note(self, station: int, purpose: int, start: float, seconds: float) -> None:
        self.starts.append((start, station, int(purpose)))
        self.engine.meter.visit(station, purpose, start, seconds)

    def stripe(
        self, *services: Service, servers: int = 1, stripe: int = BLOCK, foreground_first=False
    ) -> list[int]:
        """Keep the pool's blocks on stations of these services, striped."""
        numbers = self.stations(*services, servers=servers, foreground_first=foreground_first)
        geometry = Geometry(Raid.RAID0, numbers[0], len(numbers), stripe)
        self.engine.add_pool(self.pool, geometry)
        return numbers

    def guest(
        self, load: Load | None, name: str = "vm", disks=None, *, start: bool = True
    ) -> Guest:
        disks = disks or [self.disk]
        luns = list(dict.fromkeys(lun for disk in disks for lun in disk.head.file.store.luns))
        guest = self.engine.add_guest(name, disks, luns, load)
        if start:
            self.engine.start(guest)
        return guest

    def at(self, seconds: float, *actions: Callable[[], object]) -> None:
        """Let control act at an instant."""

        def act(_event) -> None:
            for action in actions:
                action()

        self.env.at(seconds).callbacks.append(act)

    def run(self, until: float | None = None) -> None:
        self.env.run(until)

    def times(self, station: int = 0) -> list[float]:
        """Return when visits started at a station."""
        return [start for start, number, _ in self.starts if number == station]

    def stream(self, io: Io, target, items, depth: int = 1, **more) -> Stream:
        rows = np.array(items, np.int64).reshape(-1, 2)
        return self.engine.stream(StreamSpec(io, target, rows, depth, Purpose.BACKUP, **more))

    def io_times(self, name: str = "vm") -> list[tuple[float, float]]:
        """Return (arrived, completed) of a guest's I/Os in order of arrival."""
        found = self.engine.meter.latencies(name)
        ends = found.arrived + found.seconds
        return list(zip(found.arrived.tolist(), ends.tolist(), strict=True))


def conserved(guest: Guest) -> bool:
    """Say whether every I/O that arrived is accounted for."""
    held = len(guest.waiting) + guest.dropped
    return guest.arrived == guest.completed + held + guest.in_flight


class Ask(NamedTuple):
    """What a guest of the judge asks for: stations, group after group; blocks and what of them."""

    groups: list[list[int]]
    chunks: tuple[int, ...] = ()  # that it writes
    blocks: tuple[int, ...] = ()  # that it touches


@dataclass
class Told:
    """An I/O of the judge: groups of stations, visited group after group."""

    owner: int
    purpose: int
    arrived: int
    groups: list[list[int]]
    left: int = 0
    chunks: tuple[int, ...] = ()  # that it writes
    blocks: tuple[int, ...] = ()  # that it touches
    later: Told | None = None  # what it leaves to be destaged
    copied: frozenset[int] = frozenset()  # that it copies first
    copying: int = 0  # groups of copies that have not ended
    behind: int = 0  # copies that it waits for
    followers: list[Told] = field(default_factory=list)  # who waits for its copies
    begun: bool = False


@dataclass
class Held:
    """A guest of the judge: times are whole numbers of its own clock."""

    due: deque[tuple[int, Ask]]
    closed: bool = False
    limit: int = 0
    stuns: int = 0
    fences: int = 0
    stunned_at: int = 0
    shift: int = 0
    flying: int = 0
    gap: int = 0  # seconds between two tokens
    burst: int = 0  # tokens that there may be; 0 is no limit
    tokens: float = 0.0  # there were so many
    counted: float = 0.0  # at this time
    waiting: deque[Told] = field(default_factory=deque)
    ready: list[int] = field(default_factory=list)


class Judge:
    """Order by the book, on whole seconds: posts, ends by station as they started, arrivals by guest.

    Written from the rule alone, with lists; services take at least a second.
    """

    def __init__(self, services: list[int], servers: int, guests: list[Held]) -> None:
        self.services, self.servers, self.guests = services, servers, guests
        self.queues: list[deque[Told]] = [deque() for _ in services]
        self.busy = [0] * len(services)
        self.serving: list[tuple[int, int, Told]] = []  # end, station, I/O; in order of starts
        self.posts: list[Callable[[], object]] = []
        self.later: dict[float, list[Callable[[], object]]] = {}  # posted for a time to come
        self.starts: list[tuple[float, int, int]] = []
        self.over: list[tuple[int, int, int]] = []  # guest, arrived, completed
        self.now = 0
        self.owed: set[int] | None = None  # chunks that a snapshot has been given; None without
        self.blocking = False
        self.copies: list[Told] = []  # those under way
        self.disks = len(services)
        self.cache = self.mark = self.destages = 0  # its station, if any; blocks; under way at most
        self.dirty: Counter[int] = Counter()  # destages to come, by block
        self.room: deque[Told] = deque()  # who waits for it
        self.stage: deque[Told] = deque()  # what waits to be destaged
        self.staging = 0

    def add_cache(self, seconds: int, mark: int, destages: int) -> None:
        self.cache, self.mark, self.destages = len(self.services), mark, destages
        self.services.append(seconds)
        self.queues.append(deque())
        self.busy.append(-(1 << 20))  # so many may come at once

    def run(self, until: int, control: dict[int, list[Callable[[], object]]]) -> None:
        for self.now in range(until):
            for action in control.get(self.now, []):
                action()
            posts, self.posts = self.posts, []
            for post in [*self.later.pop(self.now, []), *posts]:
                post()
            ending = sorted((x for x in self.serving if x[0] == self.now), key=itemgetter(1))
            self.serving = [x for x in self.serving if x[0] != self.now]
            for _, station, io in ending:
                self._end(station, io)
            for number, guest in enumerate(self.guests):
                self._arrivals(number, guest)

    def _end(self, station: int, io: Told) -> None:
        self.busy[station] -= 1
        if self.queues[station]:
            self._serve(station, self.queues[station].popleft())
        io.left -= 1
        if not io.left:
            self.go_on(io)

    def set_out(self, io: Told) -> None:
        """Plan copies of every chunk that is owed, over all disks; ask the cache."""
        if self.owed is not None and (fresh := [c for c in io.chunks if c not in self.owed]):
            self.owed.update(fresh)
            every = [k for _ in fresh for k in range(self.disks)]
            io.groups = [list(every), list(every), *io.groups]
            io.copied, io.copying = frozenset(fresh), 2
        if self.cache and io.chunks:
            front = Told(io.owner, io.purpose, io.arrived, [[self.cache]], later=io)
            if self.dirty.total() >= self.mark:
                self.room.append(front)
            else:
                self.dirty.update(io.blocks)
                self.go_on(front)
            return
        if self.cache and io.blocks and all(self.dirty[block] for block in io.blocks):
            io.groups = [[self.cache]]
        self._wait_for_copies(io)

    def _wait_for_copies(self, io: Told) -> None:
        before = [other for other in self.copies if other.copied & set(io.chunks)]
        if io.copied and self.blocking:
            self.copies.append(io)
        io.behind = len(before)
        for other in before:
            other.followers.append(io)
        if not io.behind:
            self.go_on(io)

    def go_on(self, io: Told) -> None:
        copied = io.begun and io.copying == 1
        io.copying -= io.begun and io.copying > 0
        io.begun = True
        self._next_group(io)
        if copied and self.blocking:
            self.copies.remove(io)
            for follower in io.followers:
                follower.behind -= 1
                if not follower.behind:
                    self.go_on(follower)

    def _next_group(self, io: Told) -> None:
        if io.groups:
            group = io.groups.pop(0)
            io.left = len(group)
            for station in group:
                if self.busy[station] < self.servers:
                    self._serve(station, io)
                else:
                    self.queues[station].append(io)
        elif io.chunks and self.cache:
            self._destaged(io)
        else:
            if io.later:
                self.stage.append(io.later)
                self._start_destages()
            self._over(io)

    def _destaged(self, io: Told) -> None:
        self.staging -= 1
        self.dirty.subtract(io.blocks)
        self._start_destages()
        while self.room and self.dirty.total() < self.mark:
            front = self.room.popleft()
            assert front.later
            self.dirty.update(front.later.blocks)
            self.go_on(front)

    def _start_destages(self) -> None:
        while self.stage and self.staging < self.destages:
            self.staging += 1
            self._wait_for_copies(self.stage.popleft())

    def _over(self, io: Told) -> None:
        if io.owner >= 0:
            guest = self.guests[io.owner]
            guest.flying -= 1
            self.over.append((io.owner, io.arrived, self.now))
            self.admit(guest)
            if guest.closed and guest.due:
                guest.ready.append((guest.stunned_at if guest.stuns else self.now) - guest.shift)

    def _serve(self, station: int, io: Told) -> None:
        self.busy[station] += 1
        self.starts.append((self.now, station, int(Purpose.SIDE) if io.copying else io.purpose))
        self.serving.append((self.now + self.services[station], station, io))

    def admit(self, guest: Held) -> None:
        free = not (guest.stuns or guest.fences)
        while guest.waiting and free and not (guest.limit and guest.flying >= guest.limit):
            if guest.burst and not self._take_token(guest):
                return
            guest.flying += 1
            self.set_out(guest.waiting.popleft())

    def _take_token(self, guest: Held) -> bool:
        self.fill(guest)
        if guest.tokens < 1:
            due = self.now + (1 - guest.tokens) * guest.gap
            self.later.setdefault(due, []).append(lambda: self.admit(guest))
            return False
        guest.tokens -= 1
        return True

    def fill(self, guest: Held) -> None:
        came = (self.now - guest.counted) / guest.gap
        guest.tokens = min(guest.tokens + came, guest.burst)
        guest.counted = self.now

    def _arrivals(self, number: int, guest: Held) -> None:
        clock = self.now - guest.shift
        while not guest.stuns and guest.due and self._is_due(guest, clock):
            _, ask = guest.due.popleft()
            groups = [list(group) for group in ask.groups]
            io = Told(number, 0, self.now, groups, chunks=ask.chunks, blocks=ask.blocks)
            guest.waiting.append(io)
            self.admit(guest)

    def _is_due(self, guest: Held, clock: int) -> bool:
        if not guest.closed:
            return guest.due[0][0] <= clock
        if guest.ready and guest.ready[0] <= clock:
            guest.ready.pop(0)
            return True
        return False

    # What control may do. -------------------------------------------------------------------

    def stun(self, guest: Held) -> None:
        if not guest.stuns:
            guest.stunned_at = self.now
        guest.stuns += 1

    def resume(self, guest: Held) -> None:
        guest.stuns -= 1
        if not guest.stuns:
            guest.shift += self.now - guest.stunned_at
            self.posts.append(lambda: self.admit(guest))

    def limit(self, guest: Held, limit: int) -> None:
        guest.limit = limit
        self.posts.append(lambda: self.admit(guest))

    def tokens(self, guest: Held, burst: int) -> None:
        if guest.burst and burst:
            self.fill(guest)
            guest.tokens = min(guest.tokens, burst)
        else:
            guest.tokens, guest.counted = burst, self.now
        guest.burst = burst
        self.posts.append(lambda: self.admit(guest))

    def fence(self) -> None:
        for guest in self.guests:
            guest.fences += 1

    def unfence(self) -> None:
        for guest in self.guests:
            guest.fences -= 1
            self.posts.append(lambda guest=guest: self.admit(guest))

    def submit(self, groups: list[list[int]]) -> None:
        io = Told(-1, int(Purpose.CONTROL), self.now, [list(g) for g in groups])
        self.posts.append(lambda: self.set_out(io))
