"""The specification, counting what random histories make it do: a feature that never fires is not
tested, however many histories agree."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import numpy as np

from stuntdouble.iops import (
    ClosedLoad,
    Io,
    Mix,
    PoissonLoad,
    Purpose,
    Recorder,
    Reference,
    TraceLoad,
)
from stuntdouble.site import Role
from stuntdouble.site.tables import L_MIRROR

if TYPE_CHECKING:
    from collections.abc import Callable

FIRED: Counter[str] = Counter()
"""How often each feature fired since the process began."""

FEATURES = (
    "I/Os dropped",
    "I/Os of closed loops",
    "I/Os of open loads",
    "I/Os of traces",
    "I/Os without space",
    "LAN crossings",
    "admissions judged by the textbook",
    "admissions while more than one snapshot is alive",
    "allocations of deltas: grain tables written",
    "caches heard to be quiet",
    "chain reads: by three levels",
    "chain reads: served by more than one level",
    "change tracking: marks sealed",
    "change tracking: seals",
    "changes of a station's rate",
    "chunks redirected",
    "consolidations by helper",
    "consolidations by mirror",
    "copies into each image",
    "copies on write",
    "destages",
    "ends of a merge: below a helper",
    "ends of a merge: the parent is the head",
    "ends of service at one instant",
    "fences",
    "files grown",
    "grains moved to the parent",
    "guests with one disk",
    "guests with two disks",
    "histories",
    "images given up, or not, for room",
    "IOPS limits set",
    "IOPS limits set on a second disk",
    "items of streams",
    "limits on outstanding I/O",
    "loads of mixed patterns",
    "loads whose rate follows a curve",
    "losses of power",
    "merges of a redirected chunk",
    "metadata writes, growth of deltas included",
    "mirrors split off",
    "opened images dropped",
    "pools bound to addresses",
    "pools cut off",
    "pools of one station",
    "port crossings",
    "reads of a disk of an opened image",
    "reads of opened images",
    "reads served by a cache",
    "services",
    "streams: consolidation of a level",
    "streams: reads of a level",
    "streams: reads of a volume",
    "streams: writes to a disk",
    "streams held by a fence",
    "streams stopped short",
    "streams with a pace",
    "stretches copied to a mirror",
    "stuns",
    "think times",
    "units zeroed",
    "visits that wait until no foreground does",
    "waits for a token",
    "waits for copies",
    "waits for room in a cache",
    "watches met or called off",
    "writes to a mirror",
    "writes to opened images",
)
"""What thousands of histories must make happen, all of it."""

STREAMS = {
    Io.READ_LEVEL: "reads of a level",
    Io.READ_LUN: "reads of a volume",
    Io.WRITE_DISK: "writes to a disk",
    Io.MOVE_LEVEL: "consolidation of a level",
}
STEPS = {
    Role.MOVE_READ: "grains moved to the parent",
    Role.METADATA: "metadata writes, growth of deltas included",
    Role.ZERO_FILL: "units zeroed",
    Role.REPLICA_READ: "stretches copied to a mirror",
    Role.REPLICA_WRITE: "writes to a mirror",
}


def tap(owner: Any, name: str, after: Callable[..., None]) -> None:
    """Call *after(result, *arguments)* behind a method of one object."""
    real = getattr(owner, name)

    def call(*args: Any, **facts: Any) -> Any:
        found = real(*args, **facts)
        after(found, *args)
        return found

    setattr(owner, name, call)


def fire(what: str, times: int = 1) -> None:
    FIRED[what] += times


class Late(deque[Any]):
    """The queue behind the queue of a station that serves the foreground first."""

    def append(self, entry: Any) -> None:
        fire("visits that wait until no foreground does")
        super().append(entry)


class Counted(Reference):
    """The specification, with an ear to it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        fire("histories")
        ways = self._passages
        tap(ways, "make", self._note_steps)
        tap(ways._copies, "set_out", lambda found, _: fire("waits for copies", bool(found[1])))
        tap(ways, "_destage", lambda *_: fire("destages"))
        for method, what in {
            "stun": "stuns",
            "fence": "fences",
            "drop_waiting": "losses of power",
            "cut_off": "pools cut off",
            "set_limit": "limits on outstanding I/O",
            "set_rate": "changes of a station's rate",
            "retire": "guests retired",
        }.items():
            tap(self, method, lambda *_, what=what: fire(what))
        tap(self, "set_iops_limit", self._note_limit)
        tap(self, "hold", lambda held, _: fire("streams held by a fence", held))
        tap(self, "watch", self._note_watch)
        tap(self, "quiet", lambda event: self._note(event, "caches heard to be quiet"))

    @staticmethod
    def _note_steps(_model: object, steps: list[Any], _purpose: object) -> None:
        for step in steps:
            if (what := STEPS.get(step[1])) is not None:
                fire(what)

    @staticmethod
    def _note_limit(_set: object, _guest: object, disk: int, *_: object) -> None:
        fire("IOPS limits set")
        fire("IOPS limits set on a second disk", disk)

    @staticmethod
    def _note(event: Any, what: str) -> None:
        if event.callbacks is not None:
            event.callbacks.append(lambda _: fire(what))

    def _note_watch(self, event: Any, *_: object) -> None:
        self._note(event, "watches met or called off")

    def post(self, action: Any, when: float | None = None) -> None:
        fire("waits for a token", when is not None)
        super().post(action, when)

    def add_guest(self, *args: Any) -> Any:
        guest = super().add_guest(*args)
        fire(f"guests with {'one disk' if len(guest.disks) == 1 else 'two disks'}")
        note_load(guest.load)
        tap(guest, "has_no_space", lambda *_: fire("I/Os without space"))
        return guest

    def add_station(self, *args: Any, **facts: Any) -> int:
        station = super().add_station(*args, **facts)
        late = Late(self.stations[station].late)
        self.stations[station].late = late
        return station

    def add_pool(self, pool: int, geometry: Any) -> None:
        fire(f"pools of {geometry.raid.name}")
        fire("pools of one station" if geometry.members == 1 else "pools bound to addresses")
        super().add_pool(pool, geometry)

    def stream(self, spec: Any) -> Any:
        fire(f"streams: {STREAMS[spec.io]}")
        if spec.purpose is Purpose.CONSOLIDATION:
            mirrored = self.site.arena.column("levels", spec.target.number, L_MIRROR)
            fire(f"consolidations by {'mirror' if mirrored else 'helper'}")
        return super().stream(spec)

    def add_cache(self, pool: int, cache: Any) -> int:
        station = super().add_cache(pool, cache)
        cached = self._passages.caches[pool]
        tap(cached, "enter", lambda entered, *_: fire("waits for room in a cache", not entered))
        tap(cached, "part", self._note_part)
        return station

    @staticmethod
    def _note_part(kept: list[Any], step: Any, visits: list[Any], _later: object) -> None:
        fire("reads served by a cache", step[1] == Role.DATA and not step[2] and kept is not visits)


def note_load(load: Any) -> None:
    """Count what kind of load a guest has."""
    curve = isinstance(load, PoissonLoad) and load.curve is not None
    fire("loads whose rate follows a curve", curve)
    fire("loads of mixed patterns", any(isinstance(p, Mix) for p in getattr(load, "patterns", ())))


def note_outcome(world: Any) -> None:
    """Count what is seen in what came of a history only, and what was judged of it."""
    for what, times in [*world.site.fired.items(), *world.noted.items()]:
        fire(what, times)
    for guest in world.guests:
        closed = guest.load is not None and guest.load.outstanding
        fire("I/Os of closed loops" if closed else "I/Os of open loads", guest.completed)
        fire("I/Os of traces", isinstance(guest.load, TraceLoad) * guest.completed)
        fire("think times", isinstance(guest.load, ClosedLoad) * guest.completed)
        fire("I/Os dropped", guest.dropped)
    fire("snapshots that each get a copy of their own", world.plan.each * len(world.images))
    for stream in world.streams:
        fire("items of streams", stream.done)
        fire("streams stopped short", stream.failure is not None)
        fire("streams with a pace", stream.bytes_per_second > 0)
    if isinstance(world.engine.meter, Recorder):
        note_services(world.engine.meter.visit_rows(), world.lan, world.port)


def note_services(rows: list[tuple[int, int, float, float]], lan: int, port: int) -> None:
    """Count services, where they are, and the instants at which several of them end."""
    fire("LAN crossings", sum(row[0] == lan for row in rows))
    fire("port crossings", sum(row[0] == port for row in rows))
    ends = np.array([start + seconds for _, _, start, seconds in rows])
    _, counts = np.unique(ends, return_counts=True)
    fire("ends of service at one instant", int((counts > 1).sum()))
    fire("services", len(rows))


def missing() -> list[str]:
    """Return which features never fired."""
    return [what for what in FEATURES if not FIRED[what]]


def table() -> str:
    """Return how often each feature fired, as lines."""
    return "\n".join(f"{count:>12,}  {what}" for what, count in sorted(FIRED.items()))
