"""The specification, counting what random histories make it do: a feature that never fires is not
tested, however many histories agree."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from stuntdouble.iops import Purpose, Recorder, Reference
from stuntdouble.site import Role
from stuntdouble.site.tables import L_MIRROR

if TYPE_CHECKING:
    from collections.abc import Callable

FIRED: Counter[str] = Counter()
"""How often each feature fired since the process began."""

STEPS = {
    Role.MOVE_READ: "grains moved to the parent",
    Role.COPY_WRITE: "chunks copied before a write",
    Role.MERGE_READ: "merges of a redirected chunk",
    Role.METADATA: "metadata writes, allocation of deltas included",
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
        }.items():
            tap(self, method, lambda *_, what=what: fire(what))
        tap(self, "hold", lambda held, _: fire("streams held by a fence", held))
        tap(self, "watch", self._note_watch)
        tap(self, "quiet", lambda event: self._note(event, "caches heard to be quiet"))

    @staticmethod
    def _note_steps(_model: object, steps: list[Any], _purpose: object) -> None:
        for step in steps:
            if (what := STEPS.get(step[1])) is not None:
                fire(what)

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
        tap(guest, "has_no_space", lambda *_: fire("I/Os without space"))
        return guest

    def add_pool(self, pool: int, geometry: Any) -> None:
        fire(f"pools of {geometry.raid.name}")
        super().add_pool(pool, geometry)

    def stream(self, spec: Any) -> Any:
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


def note_outcome(world: Any) -> None:
    """Count what is seen in what came of a history only, and what was judged of it."""
    for what, times in world.site.fired.items():
        fire(what, times)
    for guest in world.guests:
        closed = guest.load is not None and guest.load.outstanding
        fire("I/Os of closed loops" if closed else "I/Os of open loads", guest.completed)
        fire("I/Os dropped", guest.dropped)
    fire("snapshots that each get a copy of their own", world.plan.each * len(world.images))
    for stream in world.streams:
        fire("items of streams", stream.done)
        fire("streams stopped short", stream.failure is not None)
        fire("streams with a pace", stream.bytes_per_second > 0)
    if isinstance(world.engine.meter, Recorder):
        note_services(world.engine.meter.visit_rows())


def note_services(rows: list[tuple[int, int, float, float]]) -> None:
    """Count services, and the instants at which several of them end."""
    ends = np.array([start + seconds for _, _, start, seconds in rows])
    _, counts = np.unique(ends, return_counts=True)
    fire("ends of service at one instant", int((counts > 1).sum()))
    fire("services", len(rows))


def table() -> str:
    """Return how often each feature fired, as lines."""
    return "\n".join(f"{count:>12,}  {what}" for what, count in sorted(FIRED.items()))
