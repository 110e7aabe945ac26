"""The I/O engine, as the control plane sees it.

Control (workflows, the emulators' policies) never starts an I/O; it *posts*: opens a stream, stops
and resumes guests, fences LUNs.  Whatever happens to I/O afterwards is the engine's business, until
a stream ends, a guest has drained or a watch is met, which is a control event again.

The process-per-I/O model in ``reference`` is the executable specification of this interface; a
compiled kernel takes its place behind the same methods.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from stuntdouble.errors import Bug
from stuntdouble.iops.checks import check_pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.errors import Error, NoSpace, Unreachable
    from stuntdouble.iops.measure import Meter
    from stuntdouble.iops.tokens import TokenBucket
    from stuntdouble.site import Disk, Level, Lun, Site, Step


class Purpose(IntEnum):
    """On whose account a device is busy."""

    GUEST = 0  # what the guest asked for
    SIDE = 1  # what its I/O caused: delta tables, zeroing, copies for array snapshots
    BACKUP = 2  # reading for a backup
    CONSOLIDATION = 3  # merging delta disks
    CONTROL = 4  # metadata of snapshots, stuns and file-system locks
    RESTORE = 5  # writing a restored disk


BACKGROUND: Final = frozenset({Purpose.BACKUP, Purpose.CONSOLIDATION, Purpose.RESTORE})
"""What waits at a station that serves the foreground first."""


class Io(Enum):
    """What an item of a stream does; items are (start, count) rows."""

    READ_LEVEL = "read through a disk chain"  # bytes of a virtual disk
    READ_LUN = "read a volume"  # bytes of a volume
    WRITE_DISK = "write a virtual disk"  # bytes of a virtual disk, content from the caller
    MOVE_LEVEL = "move grains to the parent"  # content blocks of a virtual disk


class Load(Protocol):
    """A source of guest I/O.

    Open loads tell absolute times of the guest's clock, which a stun holds up.  A closed load has
    ``outstanding`` requests under way and thinks between a completion and the next; its ``seconds``
    are think times.
    """

    @property
    def outstanding(self) -> int:
        """Requests under way at a time; 0 for an open load."""
        ...

    def ios(self) -> Iterator[tuple[float, int, bool, int, int]]:
        """Yield (seconds, index of the disk, write, offset, length): bytes, and guest time."""
        ...


@dataclass(eq=False, slots=True)
class Turn:
    """An I/O that has arrived and waits to be admitted; it takes nothing until it is.

    ``admitted`` happens without ``steps`` when the I/O was dropped.
    """

    disk: Disk
    attempt: Callable[[], list[Step]]
    steps: list[Step] | None = None
    admitted: Event | None = None


@dataclass(eq=False)
class Guest:
    """A running VM, to the engine: disks, load, and what holds it up.

    Conservation, always: arrived = completed + waiting + in flight + dropped.
    """

    name: str
    number: int
    disks: list[Disk]
    luns: list[Lun]
    load: Load | None
    started: bool = False  # whether the load has begun
    limit: int = 0  # outstanding I/Os while a snapshot layer lies between; 0 is no limit
    buckets: dict[int, TokenBucket] = field(default_factory=dict)  # by number of the limited disk
    stuns: int = 0
    fences: int = 0
    stunned_at: float = 0.0
    shift: float = 0.0  # how long the guest's clock has stood still
    arrived: int = 0
    completed: int = 0
    in_flight: int = 0
    dropped: int = 0  # what waited when the guest was retired or lost its power
    waiting: deque[Turn] = field(default_factory=deque)
    drains: list[Event] = field(default_factory=list)
    resumed: list[Event] = field(default_factory=list)
    hung: list[Event] = field(default_factory=list)  # what is in flight to where nobody answers
    lost: Unreachable | None = None  # why something hangs
    on_no_space: Callable[[NoSpace], object] | None = None

    @property
    def open(self) -> bool:
        """Whether an I/O may be admitted now."""
        return not (self.stuns or (self.limit and self.in_flight >= self.limit))

    def stun(self, now: float) -> None:
        """Stop the guest's clock; nests."""
        if not self.stuns:
            self.stunned_at = now
        self.stuns += 1

    def resume(self, now: float) -> bool:
        """Undo one ``stun``; say whether the clock runs again."""
        if not self.stuns:
            raise Bug(f"{self.name} is resumed and was not stunned")
        self.stuns -= 1
        if self.stuns:
            return False
        self.shift += now - self.stunned_at
        return True

    def has_no_space(self, error: NoSpace) -> None:
        """Let whoever keeps the guest's space hold it up, since its next write finds none."""
        if self.on_no_space is None:
            raise error
        self.on_no_space(error)
        if self.waiting and not (self.stuns or self.fences):
            raise Bug(f"{self.name} has no space and was not paused") from error


class Stream(Protocol):
    """Bulk I/O in a closed loop: a backup's reads, a consolidation's moves.

    Items start in order.  ``depth`` and ``bytes_per_second`` may be changed while it runs, from
    control; a depth of 0 pauses the stream, which still counts as I/O that somebody waits for.

    NoSpace, MediumError and Unreachable stop a stream.  ``failure`` keeps the error, and whoever
    waits for the end gets it, also who begins to wait later; if nobody does, the run goes on.
    """

    depth: int
    bytes_per_second: float

    @property
    def failure(self) -> Error | None:
        """What stopped the stream short, if anything did."""
        ...

    @property
    def finished(self) -> Event:
        """Happens when every item has ended, or the stream was stopped and has drained."""
        ...

    @property
    def done(self) -> int:
        """How many items have ended."""
        ...

    def reached(self, count: int) -> Event:
        """Return an event that happens once the first *count* items have all ended.

        It happens, too, when the stream is over without; its value is how many have ended.
        """
        ...

    def stop(self) -> None:
        """Start no further item."""
        ...


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a stream does.

    Args:
        io: what an item does.
        target: the level, LUN or disk it does it to.
        items: (start, count) rows, int64; bytes, or content blocks for moves.
        depth: items under way at a time.
        purpose: on whose account.
        bytes_per_second: pace of the starts; 0 is as fast as it goes.
        link: a station that each item's bytes cross at the end (a LAN), or -1.
        luns: the LUNs whose fences hold the stream up, and whose loss ends it.
    """

    io: Io
    target: Level | Lun | Disk
    items: NDArray[np.int64]
    depth: int
    purpose: Purpose
    bytes_per_second: float = 0.0
    link: int = -1
    luns: tuple[Lun, ...] = ()

    def __post_init__(self) -> None:
        check_pace(self.depth, self.bytes_per_second)
        if self.link < -1:
            raise ValueError(f"a stream over station {self.link}: -1 is none")
        rows = self.items
        if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype != np.int64:
            raise ValueError(
                f"items of a stream are (start, count) rows of int64, not {rows.shape}"
            )
        most = np.iinfo(np.int64).max
        odd = np.flatnonzero((rows[:, 0] < 0) | (rows[:, 1] < 1) | (rows[:, 0] > most - rows[:, 1]))
        if len(odd):
            start, count = rows[odd[0]].tolist()
            raise ValueError(f"item {odd[0]} of a stream is {count} at {start}")


class Engine(Protocol):
    """The methods that hypervisor, array and devices call, from control only."""

    env: Environment
    site: Site
    meter: Meter

    def add_guest(self, name: str, disks: list[Disk], luns: list[Lun], load: Load | None) -> Guest:
        """Return a guest that issues *load* from ``start`` on."""
        ...

    def start(self, guest: Guest) -> None:
        """Let the guest's load begin; its clock starts at 0 now."""
        ...

    def retire(self, guest: Guest) -> None:
        """Let the guest issue no further I/O, for good.

        What is in flight ends; what waits is dropped, since nobody is left who issued it.
        """
        ...

    def drop_waiting(self, guest: Guest) -> None:
        """Drop what waits to be admitted: whoever issued it has lost its power.

        What is in flight ends.  A closed load thinks, and goes on with as many as before.
        """
        ...

    def stun(self, guest: Guest) -> None:
        """Stop the guest's clock and admit no more of its I/O; nests."""
        ...

    def resume(self, guest: Guest) -> None:
        """Undo one ``stun``; the guest's arrivals go on where they stopped."""
        ...

    def drained(self, guest: Guest) -> Event:
        """Return an event that happens once none of the guest's I/O is in flight.

        It fails with Unreachable where some will never end (see ``cut_off``).
        """
        ...

    def set_limit(self, guest: Guest, outstanding: int) -> None:
        """Limit the guest's outstanding I/O; 0 lifts the limit."""
        ...

    def set_iops_limit(self, guest: Guest, disk: int, iops: float, burst: int = 1) -> None:
        """Limit the I/Os per second that the guest's disk number *disk* is admitted.

        An I/O that finds no token waits, first in first out, and takes nothing; other disks of the
        guest go on.  The bucket fills in site time, also while the guest is stunned or a LUN
        fenced, and never beyond *burst*.  It is full when a limit is put where none was; another
        limit goes on with the tokens that are there.

        Within an instant: a token that comes lets go of who waits for it as something does that
        control posted when the wait began, before ends of service and arrivals.

        Args:
            guest: whose disk it is.
            disk: its place among the guest's disks, from 0.
            iops: tokens that come in a second; 0 lifts the limit.
            burst: tokens that the bucket holds, 1 or more.

        Raises:
            Misuse: no such disk, a rate or a burst that makes no sense.
        """
        ...

    def fence(self, luns: list[Lun]) -> None:
        """Admit no I/O to *luns*: their guests' clocks run on; nests."""
        ...

    def unfence(self, luns: list[Lun]) -> None:
        """Undo one ``fence``."""
        ...

    def cut_off(self, pool: int, error: Unreachable) -> None:
        """Answer no I/O to a pool of the site any more, for good: all paths are down.

        Guest I/O to it hangs, waiting or in flight, while the clocks run on: it is lost, counted as
        dropped, only with its guest's power.  Streams and submitted I/O fail with *error*.
        """
        ...

    def submit(self, steps: list[Step], purpose: Purpose) -> Event:
        """Post one I/O of given steps; the event happens when it has ended, or fails."""
        ...

    def stream(self, spec: StreamSpec) -> Stream:
        """Post a stream."""
        ...

    def dirty_bytes(self, pool: int) -> int:
        """Return what of a pool of the site is in its write-back cache only; 0 without one."""
        ...

    def quiet(self) -> Event:
        """Return an event that happens once no write-back cache holds dirty data.

        Somebody waits for it, so destaging goes on after all else has ended.  Under load it may be
        long in coming.
        """
        ...

    def set_rate(self, station: int, factor: float) -> None:
        """Let a station work *factor* times as fast as built (a fault when below 1).

        It holds for services that start from now on.  Misuse: *factor* is not above 0.
        """
        ...

    def watch(self, quantity: Callable[[], float], threshold: float) -> Event:
        """Return an event that happens as soon as I/O has driven *quantity* to *threshold*.

        It is looked at whenever an I/O arrives, is admitted or ends.  Whoever no longer waits
        triggers the event, as ``Environment.expect`` asks.
        """
        ...
