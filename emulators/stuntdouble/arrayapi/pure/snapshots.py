"""What may be done with snapshots of volumes, one at a time or several in one instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.arrayapi.pure.estate import (
    DESTROYED,
    ENDING,
    GROUP,
    SUFFIX,
    ProtectionGroup,
)
from stuntdouble.arrayapi.pure.names import check_name, check_suffix, same
from stuntdouble.arrayapi.pure.refusals import Refusal, gone, taken
from stuntdouble.errors import InvalidState

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from simpy.events import Event

    from stuntdouble.array import Snapshot, Volume
    from stuntdouble.arrayapi.pure.eradication import Eradication
    from stuntdouble.arrayapi.pure.estate import Estate


class Snapshots:
    """Operations on snapshots; each is a SimPy generator that does all of it, or refuses."""

    def __init__(self, estate: Estate, eradication: Eradication) -> None:
        self._estate = estate
        self._eradication = eradication

    def create(
        self, sources: Sequence[str], suffix: str | None
    ) -> Generator[Event, Any, list[Snapshot]]:
        """Snapshot volumes in one instant, all of them or none."""
        estate = self._estate
        volumes = [estate.live_volume(name) for name in sources]
        if len(set(map(id, volumes))) != len(volumes):
            raise Refusal("A volume is named more than once.", ",".join(sources))
        if suffix is not None:
            check_suffix(suffix)
        wanted = estate.next_suffix() if suffix is None else suffix
        names = [f"{volume.name}.{wanted}" for volume in volumes]
        made = yield from self._taken(volumes, names)
        for snapshot in made:
            snapshot.notes[SUFFIX] = wanted
        return made

    def create_of_group(
        self, group: ProtectionGroup, suffix: str | None
    ) -> Generator[Event, Any, list[Snapshot]]:
        """Snapshot the volumes of a protection group in one instant."""
        estate = self._estate
        if suffix is not None:
            check_suffix(suffix)
        volumes = [each for each in estate.members(group) if estate.destroyed_at(each) is None]
        if not volumes:
            raise Refusal("Protection group has no volumes.", group.name)
        called = f"{group.name}.{estate.next_suffix() if suffix is None else suffix}"
        names = [f"{called}.{volume.name}" for volume in volumes]
        made = yield from self._taken(volumes, names)
        for snapshot in made:
            snapshot.notes[GROUP] = called
        return made

    def rename(self, name: str, new: str) -> Generator[Event, Any, Snapshot]:
        """Give a snapshot another suffix; it stays its volume's."""
        snapshot = self._live(name)
        volume, _, suffix = new.partition(".")
        if GROUP in snapshot.notes:
            raise Refusal("A snapshot of a protection group cannot be renamed.", name)
        if not same(volume, snapshot.volume.name):
            check_name("Volume", volume)
            raise Refusal("A snapshot cannot be moved to another volume.", new)
        check_suffix(suffix)
        other = self._estate.find_snapshot(new)
        if other is not None and other is not snapshot:
            raise taken("Volume snapshot", new)
        snapshot.notes[SUFFIX] = suffix
        yield from self._estate.follow_name(snapshot)
        return snapshot

    def destroy(self, name: str) -> Snapshot:
        """Let a snapshot be gone but for its recovery."""
        snapshot = self._live(name)
        self._eradication.begin(snapshot)
        return snapshot

    def recover(self, name: str) -> Snapshot:
        """Let a destroyed snapshot be there again; its volume must not be destroyed itself."""
        snapshot = self._estate.snapshot(name)
        if DESTROYED in snapshot.volume.notes:
            raise gone("Volume", snapshot.volume.name)
        if not snapshot.valid:
            raise Refusal("The snapshot is no longer available.", name)
        if DESTROYED not in snapshot.notes:
            raise Refusal("Volume snapshot is not destroyed.", name)
        if ENDING in snapshot.notes:
            raise Refusal("Volume snapshot is being eradicated.", name)
        del snapshot.notes[DESTROYED]
        return snapshot

    def eradicate(self, name: str) -> Generator[Event, Any, None]:
        """Delete a destroyed snapshot for good."""
        snapshot = self._estate.snapshot(name)
        if self._estate.destroyed_at(snapshot) is None:
            raise Refusal("Volume snapshot is not destroyed.", name)
        yield from self._eradication.end(snapshot)

    def _live(self, name: str) -> Snapshot:
        snapshot = self._estate.snapshot(name)
        if self._estate.destroyed_at(snapshot) is not None:
            raise gone("Volume snapshot", name)
        return snapshot

    def _taken(
        self, volumes: Sequence[Volume], names: Sequence[str]
    ) -> Generator[Event, Any, list[Snapshot]]:
        for name in names:
            if self._estate.find_snapshot(name) is not None:
                raise taken("Volume snapshot", name)
        naas = tuple(volume.naa for volume in volumes)
        estate = self._estate
        yield from estate.array.prepare(naas)
        own = tuple(estate.free_name(name) for name in names)
        try:
            made = yield from estate.array.create_snapshots(naas, own)
        except InvalidState:
            for name in names:  # somebody was quicker
                if estate.find_snapshot(name) is not None:
                    raise taken("Volume snapshot", name) from None
            raise
        return list(made)
