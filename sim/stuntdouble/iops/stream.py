"""Bulk I/O of the executable specification: a SimPy process for each item of a stream.

An item starts when fewer than ``depth`` are under way, the pace allows it and no fence is up; until
then it belongs to nobody, so a stop or a change of pace finds nothing to take back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from stuntdouble.clock import Priority
from stuntdouble.errors import Bug, Error, Misuse
from stuntdouble.iops.checks import check_new_pace
from stuntdouble.iops.engine import Io
from stuntdouble.iops.paths import fail
from stuntdouble.site import IO_BLOCKS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.iops.engine import StreamSpec
    from stuntdouble.iops.paths import Paths
    from stuntdouble.site import Disk, Level, Lun, Site, Step


class Host(Protocol):
    """What a stream needs of its engine."""

    env: Environment
    site: Site
    paths: Paths

    def post(self, action: Callable[[], object]) -> None:
        """Let *action* happen after all control of this instant."""
        ...

    def hold(self, stream: ReferenceStream) -> bool:
        """Say whether a fence holds the stream up; if so, ``open`` is called when it is lifted."""
        ...

    def item(self, spec: StreamSpec, start: int, count: int) -> Generator[Event, object, None]:
        """Return the model of one item."""
        ...

    def check_watches(self) -> None:
        """Let the watches happen that are met by now."""
        ...


class ReferenceStream:
    """A closed loop of items, started in order; see ``stuntdouble.iops.engine.Stream``."""

    def __init__(self, engine: Host, spec: StreamSpec) -> None:
        self.spec = spec
        self.failure: Error | None = None
        self.finished: Event = engine.env.expect(engine.env.event())
        self._engine = engine
        self._depth = spec.depth
        self._bytes_per_second = spec.bytes_per_second
        self._items: list[list[int]] = spec.items.tolist()
        self._next = 0
        self._under_way = 0
        self._ended: set[int] = set()
        self._prefix = 0
        self._marks: list[tuple[int, Event]] = []
        self._stopped = False
        self._paced_from = engine.env.now  # the last start, and the bytes that it began to move
        self._paced_bytes = 0
        self._wake = engine.env.now
        engine.post(self.open)

    @property
    def depth(self) -> int:
        """Items under way at a time; 0 pauses the stream."""
        return self._depth

    @depth.setter
    def depth(self, depth: int) -> None:
        check_new_pace(depth, self._bytes_per_second)
        if depth != self._depth:
            self._depth = depth
            self._engine.post(self.open)

    @property
    def bytes_per_second(self) -> float:
        """Pace of the starts; 0 is as fast as it goes."""
        return self._bytes_per_second

    @bytes_per_second.setter
    def bytes_per_second(self, rate: float) -> None:
        check_new_pace(self._depth, rate)
        if rate != self._bytes_per_second:
            self._bytes_per_second = rate
            self._engine.post(self.open)

    @property
    def done(self) -> int:
        """How many items have ended."""
        return len(self._ended) + self._prefix

    def reached(self, count: int) -> Event:
        """Return an event that happens once the first *count* items have all ended."""
        mark = self._engine.env.expect(self._engine.env.event())
        if self._prefix >= count:
            mark.succeed(self._prefix)
        elif self.finished.triggered:
            self._give_up(mark)
        else:
            self._marks.append((count, mark))
        return mark

    def stop(self) -> None:
        """Start no further item; ``finished`` happens when what is under way has ended."""
        self._stopped = True
        self._engine.post(self.open)

    def open(self) -> None:
        """Start what may start now; finish where nothing is left, or nobody answers any more."""
        lost = self._engine.paths.lost(self.spec.luns)
        if lost is not None and not self.finished.triggered:
            self._fail(lost)
        while self._may_start():
            index = self._next
            self._next += 1
            self._under_way += 1
            self._paced_from = self._engine.env.now
            self._paced_bytes = item_bytes(self.spec, self._items[index][1], self._engine.site)
            self._engine.env.process(self._item(index))
        self._finish_if_over()

    def _has_next(self) -> bool:
        return not self._stopped and self._next < len(self._items)

    def _may_start(self) -> bool:
        if not self._has_next() or self._under_way >= self._depth:
            return False
        return not self._engine.hold(self) and self._is_due()

    def _is_due(self) -> bool:
        """Say whether the pace allows a start now; if not, see to it that the stream wakes."""
        if self._bytes_per_second <= 0:
            return True
        env = self._engine.env
        due = self._paced_from + self._paced_bytes / self._bytes_per_second
        if due <= env.now:
            return True
        if due != self._wake:
            self._wake = due
            env.at(due, Priority.POST).callbacks.append(lambda _event: self.open())
        return False

    def _item(self, index: int) -> Generator[Event, object, None]:
        start, count = self._items[index]
        try:
            yield from self._engine.item(self.spec, start, count)
        except Error as error:
            self._fail(error)
        else:
            self._note(index)
        self._under_way -= 1
        self.open()
        self._engine.check_watches()

    def _fail(self, error: Error) -> None:
        self.failure, self._stopped = self.failure or error, True

    def _note(self, index: int) -> None:
        self._ended.add(index)
        while self._prefix in self._ended:
            self._ended.discard(self._prefix)
            self._prefix += 1
        met = [mark for count, mark in self._marks if count <= self._prefix]
        self._marks = [(count, mark) for count, mark in self._marks if count > self._prefix]
        for mark in met:
            mark.succeed(self._prefix)

    def _finish_if_over(self) -> None:
        if self._under_way or self._has_next() or self.finished.triggered:
            return
        marks, self._marks = self._marks, []
        for event in (self.finished, *(mark for _, mark in marks)):
            self._give_up(event)

    def _give_up(self, event: Event) -> None:
        """Trigger an event of a stream that is over."""
        if self.failure is None:
            event.succeed(self._prefix)
            return
        fail(event, self.failure)  # a stream may have been left to itself, or be asked later


def item_bytes(spec: StreamSpec, count: int, site: Site) -> int:
    """Return the bytes of an item of *count* bytes, or blocks where the stream moves blocks."""
    return count * site.block_bytes if spec.io is Io.MOVE_LEVEL else count


def check_stream(spec: StreamSpec, stations: int) -> None:
    """Refuse a stream past the end of what it reads or writes, or over a link that is not there."""
    if spec.link >= stations:
        raise Misuse("a stream", f"its link is station {spec.link}, and there are {stations}")
    if not len(spec.items):
        return
    stop, end = int(spec.items.sum(axis=1).max()), _end(spec)
    if stop > end:
        raise Misuse("a stream", f"an item ends at {stop}, and its target at {end}")


def _end(spec: StreamSpec) -> int:
    """Return where a stream's target ends, in the unit of its items."""
    if spec.io is Io.READ_LUN:
        return cast("Lun", spec.target).size_bytes
    if spec.io is Io.WRITE_DISK:
        return cast("Disk", spec.target).size_bytes
    level = cast("Level", spec.target)
    return level.file.blocks * (1 if spec.io is Io.MOVE_LEVEL else level.site.block_bytes)


def item_steps(spec: StreamSpec, start: int, count: int, site: Site) -> list[Step]:
    """Admit an item; return its steps."""
    refuse_oversize(item_bytes(spec, count, site), site)
    target = spec.target
    if spec.io is Io.READ_LEVEL:
        return site.read(cast("Level", target), start, count)
    if spec.io is Io.MOVE_LEVEL:
        return site.move(cast("Level", target), start, count)
    if spec.io is Io.READ_LUN:
        return site.volume_read(cast("Lun", target), start, count)
    return site.write(cast("Disk", target), start, count)


def refuse_oversize(size: int, site: Site) -> None:
    """Raise Bug for more bytes than one I/O may have."""
    most = IO_BLOCKS_MAX * site.block_bytes
    if size > most:
        raise Bug(f"an I/O of {size} bytes: one I/O has at most {most}, so cut it up")
