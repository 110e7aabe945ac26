"""QEMU's live commit, by its own rules, on the engine.

A commit of the active layer is a mirror job in the background: what the overlay holds is dirty;
dirty chunks are read from the overlay and written to the base; a guest write goes to the overlay
only, and makes its chunk dirty again.  The job is ready when nothing is dirty and nothing under
way, whenever that happens to be.

    copy unit     64 KiB: the granularity of a dirty bitmap over a target without clusters of its
                  own (block.c, bdrv_get_default_bitmap_granularity).  Chunks that were written in
                  random order are not neighbours in the overlay's file, so each is copied alone
    under way     16 copies (block/mirror.c, MAX_IN_FLIGHT); the buffer of 16 MiB never binds
    a copy        one read of the overlay, then one write of the base
    order         rising, and round again (the dirty bitmap's iterator)
    pace          none: the job's speed is not limited
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from stuntdouble.clock import Environment
from stuntdouble.iops import ClosedLoad, Geometry, Pattern, Purpose, Raid, Recorder, Reference, link
from stuntdouble.lab import thick_disk
from stuntdouble.site import REDIRECT_ON_WRITE, Role, Site
from stuntdouble.validity.rig import BLOCK_BYTES, VM
from stuntdouble.validity.throttle import ThrottleGroup

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray
    from simpy.events import Event

    from stuntdouble.lab import Curve

IN_FLIGHT_MAX: Final = 16
"""Copies under way (QEMU 7.2, block/mirror.c)."""

OVERLAY: Final = 0
BASE: Final = 1

PHASES: Final = ("before", "copying", "catching up", "after")
"""Of the guest: the first bin, with its burst credit, is left out."""

Row = tuple[float, int, bool, int, int]


@dataclass
class Chunks:
    """What the overlay holds, and what of it the base has not."""

    allocated: set[int] = field(default_factory=set)
    dirty: set[int] = field(default_factory=set)
    merged: bool = False
    members: list[int] = field(default_factory=list)  # of reads that are on their way, in order


@dataclass(frozen=True, slots=True)
class Noted:
    """A load whose writes are noted as they are issued, and for whose reads it is known where to."""

    load: ClosedLoad
    chunks: Chunks
    chunk_bytes: int

    @property
    def outstanding(self) -> int:
        """Requests under way at a time."""
        return self.load.outstanding

    def ios(self) -> Iterator[Row]:
        """Yield what the load yields."""
        known = self.chunks
        for row in self.load.ios():
            chunk = row[3] // self.chunk_bytes
            if row[2] and not known.merged:
                known.allocated.add(chunk)
                known.dirty.add(chunk)
            elif not row[2]:
                there = chunk in known.allocated and not known.merged
                known.members.append(OVERLAY if there else BASE)
            yield row


@dataclass(frozen=True, slots=True)
class Commit:
    """What came of a live commit.

    Args:
        iops: the guest's I/Os per second, bin by bin.
        phases: the same by phase: before, copying, catching up, after.
        caught_up_seconds: how long it took until nothing was dirty for the first time.
        seconds: how long it took until nothing was under way either.
    """

    iops: NDArray[np.float64]
    phases: dict[str, float]
    caught_up_seconds: float
    seconds: float


class Laboratory:
    """The measured set-up: a disk with an overlay behind a throttle, and a closed loop on it."""

    def __init__(self, curve: Curve, seed: int, *, by_turns: bool) -> None:
        setup = curve.setup
        self.env, self.site = Environment(), Site()
        self.recorder = Recorder()
        self.engine = Reference(self.env, self.site, seed, self.recorder)
        self.chunks = Chunks()
        self._curve = curve
        blocks = setup.disk_bytes // BLOCK_BYTES
        self.pool = self.site.create_pool(2 * blocks, 2 * blocks)
        station = self.engine.add_station(link(float("inf"), 1 / setup.iops))
        self.engine.add_pool(self.pool, Geometry(Raid.RAID0, station, 1, 1 << 20))
        if by_turns:
            group = ThrottleGroup(self.env, setup.iops, setup.burst_ios, self._member)
            self.engine.stations[station] = group  # type: ignore[call-overload]
        disk, lun = thick_disk(self.site, self.pool, blocks, setup.chunk_bytes // BLOCK_BYTES)
        (self.image,) = self.site.freeze([lun], REDIRECT_ON_WRITE)
        pattern = Pattern(curve.read_fraction, setup.io_bytes, setup.disk_bytes)
        load = ClosedLoad(seed, VM, setup.outstanding, 0.0, (pattern,))
        noted = Noted(load, self.chunks, setup.chunk_bytes)
        self.guest = self.engine.add_guest(VM, [disk], [lun], noted)
        self.engine.start(self.guest)

    def _member(self, write: int, _position: int, purpose: int) -> int:
        """Return which file a visit is to: where a guest reads was noted when it was issued."""
        if purpose == Purpose.SIDE:
            return BASE  # what a first write fetches
        if purpose == Purpose.CONSOLIDATION:
            return BASE if write else OVERLAY
        if write:
            return BASE if self.chunks.merged else OVERLAY
        return self.chunks.members.pop(0)

    def commit(self) -> Generator[Event, object, tuple[float, float]]:
        """Run the job; return when it had caught up for the first time, and when it was ready."""
        cursor, caught_up = 0, 0.0
        under_way: dict[int, Event] = {}
        left = self.chunks.dirty
        while left or under_way:
            if not left:
                caught_up = caught_up or self.env.now
            if len(under_way) >= IN_FLIGHT_MAX or not left:
                oldest = next(iter(under_way.values()))
                if not oldest.processed:
                    yield oldest
                under_way = {k: e for k, e in under_way.items() if not e.processed}
                continue
            chunk = min((c for c in left if c >= cursor), default=-1)
            if chunk < 0:
                cursor = 0
                continue
            if chunk in under_way:
                yield under_way.pop(chunk)
                continue
            cursor = chunk + 1
            left.discard(chunk)
            under_way[chunk] = self._copy(chunk)
        self.site.thaw(self.image)
        self.chunks.merged = True
        return caught_up, self.env.now

    def _copy(self, chunk: int) -> Event:
        size = self._curve.setup.chunk_bytes
        at = chunk * size // BLOCK_BYTES
        steps = [
            (0, int(Role.MOVE_READ), 0, self.pool, at, size),
            (1, int(Role.DATA), 1, self.pool, at, size),
        ]
        return self.engine.submit(steps, Purpose.CONSOLIDATION)


@cache
def live_commit(curve: Curve, seed: int, *, by_turns: bool = True) -> Commit:
    """Run the laboratory's live commit on the engine.

    Args:
        curve: the measured one, for its set-up and for when the commit began.
        seed: of the guest's addresses.
        by_turns: whether the throttle serves by turns, as it does, or first come first served.
    """
    assert curve.commit is not None
    began, width = curve.commit.started_seconds, curve.setup.bin_seconds
    lab = Laboratory(curve, seed, by_turns=by_turns)
    lab.env.run(began)
    job = lab.env.process(lab.commit())
    lab.env.run(curve.seconds)
    assert job.processed, "the job ends before the curve does"
    caught_up, ready = cast("tuple[float, float]", job.value)
    found = lab.recorder.latencies(VM)
    ends = found.arrived + found.seconds
    edges = (width, began, caught_up, ready, curve.seconds)
    counted = np.histogram(ends, bins=np.array(edges))[0] / np.diff(edges)
    binned, _ = np.histogram(ends, bins=np.arange(len(curve.iops) + 1) * width)
    return Commit(
        iops=binned / width,
        phases=dict(zip(PHASES, counted.tolist(), strict=True)),
        caught_up_seconds=caught_up - began,
        seconds=ready - began,
    )
