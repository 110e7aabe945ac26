"""The end of what is destroyed: by request, or by itself when the eradication delay is over."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stuntdouble.array import Snapshot, Volume
from stuntdouble.arrayapi.pure.estate import DESTROYED, ENDING, ERADICATION_SECONDS
from stuntdouble.errors import Lost, Refused

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.arrayapi.pure.estate import Estate


class Eradication:
    """Deletes what is destroyed."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate

    def begin(self, thing: Volume | Snapshot) -> None:
        """Destroy something; unless it is recovered, it goes by itself in a day of site time."""
        since = self._estate.now
        thing.notes[DESTROYED] = since
        self._estate.array.core.note("array-destroyed", thing.name, naa=thing.naa)
        self._estate.array.core.env.process(self._wait(thing, since))

    def end(self, thing: Volume | Snapshot) -> Generator[Event, Any, None]:
        """Delete something for good, a volume with its snapshots; nobody recovers it meanwhile."""
        thing.notes[ENDING] = True
        try:
            yield from self._delete(thing)
        finally:
            thing.notes.pop(ENDING, None)

    def _delete(self, thing: Volume | Snapshot) -> Generator[Event, Any, None]:
        array = self._estate.array
        if isinstance(thing, Snapshot):
            yield from array.delete_snapshot(thing.name)
            return
        for snapshot in list(thing.snapshots):
            yield from array.delete_snapshot(snapshot.name)
        yield from array.delete_volume(thing.name)

    def _wait(self, thing: Volume | Snapshot, since: float) -> Generator[Event, Any, None]:
        """Delete something a day after; as often as another interface holds it, a day later."""
        env = self._estate.array.core.env
        while True:
            yield env.timeout(ERADICATION_SECONDS)
            if thing.notes.get(DESTROYED) != since or not self._there(thing):
                return
            with suppress(Refused):
                try:
                    yield from self.end(thing)
                except Lost:
                    return

    def _there(self, thing: Volume | Snapshot) -> bool:
        inventory = self._estate.array.inventory
        if isinstance(thing, Snapshot):
            return inventory.snapshots.get(thing.name) is thing
        return inventory.volumes.get(thing.name) is thing
