"""Guests and streams of the compiled engine: Python's view of rows in its tables."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from stuntdouble.errors import Bug, Misuse
from stuntdouble.iops.checks import check_new_pace
from stuntdouble.iops.engine import Guest, Io, Turn
from stuntdouble.iops.kernel.batches import batches
from stuntdouble.iops.kernel.silent import catch_up
from stuntdouble.iops.kernel.streams import MOVE_LEVEL, READ_LEVEL, READ_LUN, WRITE_DISK
from stuntdouble.iops.kernel.tables import (
    DO_OPEN,
    G_ARRIVED,
    G_COMPLETED,
    G_COUNT,
    G_CURSOR,
    G_DROPPED,
    G_ENDED,
    G_FENCES,
    G_IN_FLIGHT,
    G_LIMIT,
    G_LOOPS,
    G_LOST,
    G_ROWS,
    G_SECONDS,
    G_STUNS,
    G_WAITING,
    H_SHIFT,
    H_STUNNED_AT,
    LOAD_READ,
    LOAD_REFUSED,
    S_BLOCKS,
    S_COUNT,
    S_DEPTH,
    S_DONE,
    S_ENDED,
    S_FAILED,
    S_IO,
    S_ITEMS,
    S_LINK,
    S_MARK,
    S_PREFIX,
    S_PURPOSE,
    S_STOPPED,
    S_TARGET,
    Y_PACED_FROM,
    Y_RATE,
    Y_WAKE,
    State,
)
from stuntdouble.iops.paths import fail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.errors import Error, Unreachable
    from stuntdouble.iops.draw import Batch
    from stuntdouble.iops.engine import Load, StreamSpec
    from stuntdouble.iops.paths import Paths
    from stuntdouble.site import Disk, Lun, Step

_NEVER: Final = 1 << 62  # no stream has as many items
_IOS: Final = {
    Io.READ_LEVEL: READ_LEVEL,
    Io.READ_LUN: READ_LUN,
    Io.WRITE_DISK: WRITE_DISK,
    Io.MOVE_LEVEL: MOVE_LEVEL,
}


def _count(column: int) -> Any:
    """Return a property that is a cell of the guest's row."""

    def read(guest: KernelGuest) -> int:
        return int(guest.row[column])

    def write(guest: KernelGuest, value: int) -> None:
        guest.row[column] = value

    return property(read, write)


def _present(column: int) -> Any:
    """Return a property that is a cell of the guest's row, once it is brought up to the present."""

    def read(guest: KernelGuest) -> int:
        guest.catch_up()
        return int(guest.row[column])

    def write(guest: KernelGuest, value: int) -> None:
        guest.catch_up()
        guest.row[column] = value

    return property(read, write)


def _seconds(column: int) -> Any:
    """Return a property that is a cell of the guest's clock."""

    def read(guest: KernelGuest) -> float:
        return float(guest.clock[column])

    def write(guest: KernelGuest, value: float) -> None:
        guest.clock[column] = value

    return property(read, write)


def _held_by_the_kernel() -> list[Step]:
    raise Bug("the kernel admits what waits, nobody else")


class KernelGuest(Guest):
    """A guest whose figures are a row of the kernel's tables."""

    limit = _count(G_LIMIT)
    stuns = _count(G_STUNS)
    fences = _count(G_FENCES)
    arrived = _count(G_ARRIVED)
    completed = _present(G_COMPLETED)
    in_flight = _present(G_IN_FLIGHT)
    dropped = _count(G_DROPPED)
    stunned_at = _seconds(H_STUNNED_AT)
    shift = _seconds(H_SHIFT)

    def __init__(
        self,
        engine: Poster,
        number: int,
        name: str,
        disks: list[Disk],
        luns: list[Lun],
        load: Load | None,
    ) -> None:
        self.row, self.clock = engine.state.guests[number], engine.state.clocks[number]
        self._addresses = engine.addresses
        self._paths = engine.paths
        self._batches: Iterator[Batch] | None = None
        self._refused: Misuse | None = None  # what is to be said once all before it is issued
        self._ahead: Batch = np.empty(0), np.empty((0, 4), np.int64)
        super().__init__(name, number, disks, luns, load)

    @property
    def waiting(self) -> deque[Turn]:
        """As many turns as wait, for counting: they lie in the kernel, and nobody can take one."""
        return deque(
            Turn(self.disks[0], _held_by_the_kernel) for _ in range(int(self.row[G_WAITING]))
        )

    @waiting.setter
    def waiting(self, turns: deque[Turn]) -> None:
        if turns:
            raise Bug("what waits lies in the kernel")

    @property
    def lost(self) -> Unreachable | None:
        """Why something hangs; None as long as nothing does."""
        pool = int(self.row[G_LOST]) - 1
        return self._paths.error_of(pool) if pool >= 0 else None

    @lost.setter
    def lost(self, error: Unreachable | None) -> None:
        if error is not None:
            raise Bug("what hangs lies in the kernel")

    def catch_up(self) -> None:
        """Count the I/Os that have ended, though nobody was told."""
        catch_up(self._addresses, self.number)

    def begin(self, load: Load) -> None:
        """Read the load from its start."""
        self._batches = batches(load, self)
        self.started = True
        self.row[G_LOOPS] = load.outstanding
        self.refill()

    def refill(self) -> None:
        """See to it that what one event can take of the load is at hand, if there is as much.

        Raises:
            Misuse: the next I/O makes no sense, and it is its turn.
        """
        row = self.row
        if self._refused is not None and row[G_COUNT] == row[G_CURSOR]:
            raise self._refused
        while not row[G_ENDED] and row[G_COUNT] - row[G_CURSOR] <= row[G_LOOPS] + 1:
            assert self._batches is not None, f"{self.name} has begun"
            try:
                more = next(self._batches, None)
            except Misuse as error:
                self._refused, row[G_ENDED] = error, LOAD_REFUSED
                return
            if more is None:
                row[G_ENDED] = LOAD_READ
                return
            at = int(row[G_CURSOR])
            seconds = np.concatenate([self._ahead[0][at:], more[0]])
            ios = np.concatenate([self._ahead[1][at:], more[1]])
            self._ahead = seconds, ios
            row[G_SECONDS], row[G_ROWS] = seconds.ctypes.data, ios.ctypes.data
            row[G_COUNT], row[G_CURSOR] = len(seconds), 0


class Poster(Protocol):
    """What a stream needs of its engine."""

    env: Environment
    state: State
    addresses: int
    paths: Paths

    def post(self, do: int, what: int) -> None:
        """Let something be done after all control of this instant."""
        ...


class KernelStream:
    """A stream that is a row of the kernel's tables; see ``stuntdouble.iops.engine.Stream``."""

    def __init__(self, engine: Poster, number: int, spec: StreamSpec) -> None:
        self.spec = spec
        self.number = number
        self._failure: Error | None = None
        self.finished: Event = engine.env.expect(engine.env.event())
        self._engine = engine
        self._row, self._pace = engine.state.streams[number], engine.state.paces[number]
        self._marks: list[tuple[int, Event]] = []
        self._items = np.ascontiguousarray(spec.items, np.int64).reshape(-1, 2)
        self._ended = np.zeros(len(self._items), np.uint8)
        self._fill()
        engine.post(DO_OPEN, number)

    def _fill(self) -> None:
        row, spec, target = self._row, self.spec, self.spec.target
        now = self._engine.env.now
        row[S_IO], row[S_TARGET] = _IOS[spec.io], target.number
        row[S_BLOCKS] = _blocks(spec)
        row[S_ITEMS], row[S_COUNT] = self._items.ctypes.data, len(self._items)
        row[S_ENDED] = self._ended.ctypes.data
        row[S_DEPTH], row[S_MARK] = spec.depth, _NEVER
        row[S_PURPOSE], row[S_LINK] = int(spec.purpose), spec.link
        self._pace[Y_RATE] = spec.bytes_per_second
        self._pace[Y_PACED_FROM] = self._pace[Y_WAKE] = now

    @property
    def depth(self) -> int:
        """Items under way at a time; 0 pauses the stream."""
        return int(self._row[S_DEPTH])

    @depth.setter
    def depth(self, depth: int) -> None:
        check_new_pace(depth, self.bytes_per_second)
        if depth != self.depth:
            self._row[S_DEPTH] = depth
            self._engine.post(DO_OPEN, self.number)

    @property
    def bytes_per_second(self) -> float:
        """Pace of the starts; 0 is as fast as it goes."""
        return float(self._pace[Y_RATE])

    @bytes_per_second.setter
    def bytes_per_second(self, rate: float) -> None:
        check_new_pace(self.depth, rate)
        if rate != self.bytes_per_second:
            self._pace[Y_RATE] = rate
            self._engine.post(DO_OPEN, self.number)

    @property
    def done(self) -> int:
        """How many items have ended."""
        return int(self._row[S_DONE])

    @property
    def failure(self) -> Error | None:
        """What stopped the stream short, if anything did."""
        if self._failure is None and self._row[S_FAILED]:
            return self._engine.paths.error_of(int(self._row[S_FAILED]) - 1)
        return self._failure

    def item(self, index: int) -> tuple[int, int]:
        """Return (start, count) of an item."""
        return int(self._items[index, 0]), int(self._items[index, 1])

    def reached(self, count: int) -> Event:
        """Return an event that happens once the first *count* items have all ended."""
        mark = self._engine.env.expect(self._engine.env.event())
        prefix = int(self._row[S_PREFIX])
        if prefix >= count:
            mark.succeed(prefix)
        elif self.finished.triggered:
            self._give_up(mark, prefix)
        else:
            self._marks.append((count, mark))
            self._row[S_MARK] = min(int(self._row[S_MARK]), count)
        return mark

    def stop(self) -> None:
        """Start no further item; ``finished`` happens when what is under way has ended."""
        self._row[S_STOPPED] = 1
        self._engine.post(DO_OPEN, self.number)

    # What the engine tells. ----------------------------------------------------------------

    def has_reached(self, prefix: int) -> None:
        """Let the marks happen that *prefix* meets."""
        met = [mark for count, mark in self._marks if count <= prefix]
        self._marks = [(count, mark) for count, mark in self._marks if count > prefix]
        self._row[S_MARK] = min((count for count, _ in self._marks), default=_NEVER)
        for mark in met:
            mark.succeed(prefix)

    def fail(self, error: Error) -> None:
        """Stop short; the first error is the one that is told."""
        self._failure = self.failure or error
        self._row[S_STOPPED] = 1

    def finish(self, prefix: int) -> None:
        """Tell everybody who waits."""
        marks, self._marks = self._marks, []
        self._row[S_MARK] = _NEVER
        for event in (self.finished, *(mark for _, mark in marks)):
            self._give_up(event, prefix)

    def _give_up(self, event: Event, prefix: int) -> None:
        if self.failure is None:
            event.succeed(prefix)
            return
        fail(event, self.failure)  # a stream may have been left to itself, or be asked later


def _blocks(spec: StreamSpec) -> int:
    """Return how far the target reaches; -1 lets the site's own door look at every item."""
    target: Any = spec.target
    if spec.io is Io.MOVE_LEVEL and not target.file.sparse:
        return -1
    if spec.io in {Io.READ_LEVEL, Io.MOVE_LEVEL}:
        return int(target.file.blocks)
    return int(target.blocks)
