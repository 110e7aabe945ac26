"""Lifetimes: when a snapshot or volume goes by itself, and until when it must stay.

What has expired goes at once, without a request's time; if something uses it (it is mapped, has
descendants, or a task reads it), it goes as soon as nothing does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.array.volume import Snapshot, Volume
from stuntdouble.errors import InvalidState, Misuse, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.array.core import Core


class Lifetimes:
    """Sets lifetimes, and deletes what has expired, by ``discard``: it refuses what is in use."""

    def __init__(self, core: Core, discard: Callable[[str], object]) -> None:
        self._core = core
        self._discard = discard
        self._sweeping = False

    def check(self, name: str, expires_seconds: float | None, retain_seconds: float | None) -> None:
        """Raise Misuse unless the two, counted from now, make sense together."""
        for seconds in (expires_seconds, retain_seconds):
            if seconds is not None and not 0.0 < seconds < float("inf"):
                raise Misuse(f"lifetime of {name}", f"{seconds} s is not above 0")
        if expires_seconds is not None and expires_seconds < (retain_seconds or 0.0):
            text = f"it expires after {expires_seconds:g} s, and must stay {retain_seconds:g} s"
            raise Misuse(f"lifetime of {name}", text)

    def begin(
        self, thing: Volume | Snapshot, expires_seconds: float | None, retain_seconds: float | None
    ) -> None:
        """Give something that is new its lifetime."""
        now = self._core.env.now
        thing.retain_until = None if retain_seconds is None else now + retain_seconds
        if expires_seconds is not None:
            thing.expires = now + expires_seconds
            self._core.env.process(self._watch(thing, thing.expires))

    def set(
        self, name: str, expires_seconds: float | None, retain_seconds: float | None
    ) -> Generator[Event, Any, None]:
        """Change the lifetime of something; see ``Array.set_lifetime``."""
        core = self._core
        yield from core.take(0.0)
        thing = core.inventory.either(name)
        self.check(name, None, retain_seconds)
        left = max((thing.retain_until or 0.0) - core.env.now, 0.0)
        if retain_seconds is not None and retain_seconds < left:
            state = f"retained until {thing.retain_until:g} s"
            raise InvalidState(name, state, "retain it for less")
        retain = retain_seconds or left or None
        self.check(name, expires_seconds, retain)
        thing.expires = None
        self.begin(thing, expires_seconds, retain)
        core.note("array-lifetime", name, expires=thing.expires, retained=thing.retain_until)

    def sweep(self) -> None:
        """Delete what has expired and is not in use any more."""
        if self._sweeping or self._core.lost:
            return
        self._sweeping = True
        try:
            while self._sweep_once():
                pass
        finally:
            self._sweeping = False

    # Parts. --------------------------------------------------------------------------------

    def _watch(self, thing: Volume | Snapshot, due: float) -> Generator[Event, Any, None]:
        yield self._core.env.at(due)
        if thing.expires == due:
            self.sweep()

    def _sweep_once(self) -> bool:
        inventory, now = self._core.inventory, self._core.env.now
        things: list[Volume | Snapshot] = [*inventory.snapshots.values()]
        things += inventory.volumes.values()
        for thing in things:
            if thing.expires is not None and thing.expires <= now:
                try:
                    self._discard(thing.name)
                except Refused:
                    continue
                self._core.note("array-expired", thing.name)
                return True
        return False


def check_retention(thing: Volume | Snapshot, what: str, now: float) -> None:
    """Raise InvalidState while something has to stay."""
    if thing.retain_until is not None and now < thing.retain_until:
        raise InvalidState(what, f"retained until {thing.retain_until:g} s", "delete it")
