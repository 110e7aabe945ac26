"""What may be done with volumes, whatever the version of the interface that asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.array import Snapshot, Volume
from stuntdouble.arrayapi.pure.estate import DESTROYED, ENDING, SOURCE, SUFFIX
from stuntdouble.arrayapi.pure.names import check_name
from stuntdouble.arrayapi.pure.refusals import Refusal, gone, taken, unsupported
from stuntdouble.errors import InvalidState

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.arrayapi.pure.eradication import Eradication
    from stuntdouble.arrayapi.pure.estate import Estate

SIZE_BYTES_MIN: Final = 1 << 20  # "The minimum size is 1048576 (1MB)", REST 2 reference
SIZE_BYTES_MAX: Final = 4503599627370496  # "the maximum size is 4503599627370496 (4PB)"
SECTOR_BYTES: Final = 512  # "as a multiple of 512"

CONNECTED: Final = "Volume cannot be deleted due to existing connections."


class Volumes:
    """Operations on volumes; each is a SimPy generator that does all of it, or refuses."""

    def __init__(self, estate: Estate, eradication: Eradication) -> None:
        self._estate = estate
        self._eradication = eradication

    def create(self, name: str, size_bytes: int) -> Generator[Event, Any, Volume]:
        """Make a volume that reads as zeros."""
        self._check_new(name)
        check_size(size_bytes, name)
        pool = self._estate.pool_for(size_bytes)
        try:
            return (yield from self._estate.array.make_volume(name, size_bytes, pool.name))
        except InvalidState:
            self._check_new(name)  # somebody may have been quicker
            raise

    def copy(
        self, source: str, name: str, *, overwrite: bool = False
    ) -> Generator[Event, Any, Volume]:
        """Make a volume *name* of a volume or snapshot; let it stand in an existing one's place.

        The copy is independent of what it was made from.
        """
        origin = self._estate.live_either(source)
        target = self._estate.find_volume(name)
        if target is not None:
            if not overwrite:
                raise taken("Volume", name)
            return (yield from self._overwrite(origin, target))
        self._check_new(name)
        try:
            made: Volume = yield from self._copied(origin, name)
        except InvalidState:
            self._check_new(name)
            raise
        self._say_source(made, origin)
        return made

    def rename(self, name: str, new: str) -> Generator[Event, Any, Volume]:
        """Call a volume something else, and its snapshots with it."""
        volume = self._estate.live_volume(name)
        if new == volume.name:
            return volume
        check_name("Volume", new)
        other = self._estate.find_volume(new)
        if other is not None and other is not volume:
            raise taken("Volume", new)
        # what a snapshot is called here follows from its volume; let its suffix be what it was
        for snapshot in volume.snapshots:
            snapshot.notes.setdefault(SUFFIX, self._estate.suffix(snapshot))
        yield from self._estate.array.rename(volume.name, new)
        for snapshot in volume.snapshots:
            yield from self._estate.follow_name(snapshot)
        return volume

    def resize(
        self, name: str, size_bytes: int, *, truncate: bool
    ) -> Generator[Event, Any, Volume]:
        """Let a volume grow; a smaller one is not emulated."""
        volume = self._estate.live_volume(name)
        check_size(size_bytes, name)
        if size_bytes < volume.size_bytes:
            if not truncate:
                raise Refusal("Implicit truncation not permitted.", name)
            raise unsupported("Truncating a volume", name)
        if size_bytes > volume.size_bytes:
            yield from self._estate.array.grow_volume(volume.name, size_bytes)
        return volume

    def demote(self, name: str, *, demoted: bool) -> Volume:
        """Let a volume take no more writes, or take them again."""
        volume = self._estate.live_volume(name)
        volume.read_only = demoted
        return volume

    def destroy(self, name: str) -> Volume:
        """Let a volume be gone but for its recovery, and its snapshots with it.

        One that carries a datastore is connected to the hypervisor's hosts, by whatever way.
        """
        volume = self._estate.live_volume(name)
        in_use = volume.origin is None and volume.lun.stores  # a copy has an image of the datastore
        if self._estate.array.masking.mapped(volume) or in_use:
            raise Refusal(CONNECTED, name)
        self._eradication.begin(volume)
        return volume

    def recover(self, name: str) -> Volume:
        """Let a destroyed volume be there again, with the snapshots that it took along."""
        volume = self._estate.volume(name)
        if DESTROYED not in volume.notes:
            raise Refusal("Volume is not destroyed.", name)
        if ENDING in volume.notes:
            raise Refusal("Volume is being eradicated.", name)
        del volume.notes[DESTROYED]
        return volume

    def eradicate(self, name: str) -> Generator[Event, Any, None]:
        """Delete a destroyed volume for good, and its snapshots with it."""
        volume = self._estate.volume(name)
        if DESTROYED not in volume.notes:
            raise Refusal("Volume is not destroyed.", name)
        yield from self._eradication.end(volume)

    # Parts. --------------------------------------------------------------------------------

    def _check_new(self, name: str) -> None:
        check_name("Volume", name)
        other = self._estate.find_volume(name)
        if other is not None:
            destroyed = self._estate.destroyed_at(other) is not None
            raise gone("Volume", name) if destroyed else taken("Volume", name)

    def _copied(self, origin: Volume | Snapshot, name: str) -> Generator[Event, Any, Volume]:
        """Return a new volume that shares its blocks with what it was copied from."""
        array = self._estate.array
        if isinstance(origin, Snapshot):
            _check_valid(origin, self._estate)
            return (yield from array.promote(origin.name, name, read_only=False, independent=True))
        between = yield from self._between(origin, "copy")
        try:
            return (yield from array.promote(between.name, name, read_only=False, independent=True))
        finally:
            yield from array.delete_snapshot(between.name)

    def _between(self, volume: Volume, why: str) -> Generator[Event, Any, Snapshot]:
        """Return a snapshot that nobody asked for: what a volume is copied by."""
        estate = self._estate
        name = estate.free_name(f"{volume.name}.{why}-{estate.next_suffix()}")
        made = yield from estate.array.create_snapshots((volume.naa,), name)
        return made[0]

    def _overwrite(
        self, origin: Volume | Snapshot, target: Volume
    ) -> Generator[Event, Any, Volume]:
        """Let a volume hold what another one, or a snapshot, holds; it keeps its identity."""
        if self._estate.destroyed_at(target) is not None:
            raise gone("Volume", target.name)
        if origin is target:
            raise Refusal("A volume cannot be copied over itself.", target.name)
        if isinstance(origin, Snapshot):
            _check_valid(origin, self._estate)
        if origin.size_bytes != target.size_bytes:
            raise unsupported("Overwriting a volume of another size", target.name)
        yield from self._estate.array.overwrite(target.name, origin.name, mapped=True)
        self._say_source(target, origin)
        return target

    def _say_source(self, volume: Volume, origin: Volume | Snapshot) -> None:
        """Keep what a volume was copied from: the volume, also where a snapshot was copied."""
        source = origin.volume if isinstance(origin, Snapshot) else origin
        volume.notes[SOURCE] = {"name": source.name, "id": source.uuid}


def check_size(size_bytes: int, name: str) -> None:
    """Refuse what no volume of this vendor may be large."""
    if size_bytes % SECTOR_BYTES:
        raise Refusal("Volume size must be a multiple of 512 bytes.", name)
    if not SIZE_BYTES_MIN <= size_bytes <= SIZE_BYTES_MAX:
        raise Refusal("Volume size must be between 1048576 and 4503599627370496 bytes.", name)


def _check_valid(snapshot: Snapshot, estate: Estate) -> None:
    if not snapshot.valid:
        raise Refusal("The snapshot is no longer available.", estate.snapshot_name(snapshot))
