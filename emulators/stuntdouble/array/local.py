"""The array in process: the port, without a wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.clock import perform

if TYPE_CHECKING:
    from stuntdouble.array.system import Array
    from stuntdouble.ports import ArraySnapshot, Mapping, VolumeInfo


class LocalArray:
    """Implements ``ports.Array`` over an emulated array in the same process."""

    def __init__(self, array: Array) -> None:
        self._array = array

    async def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume, promoted ones included."""
        self._array.core.check_reachable()
        return tuple(volume.info() for volume in self._array.inventory.volumes.values())

    async def snapshots(self) -> tuple[ArraySnapshot, ...]:
        """Return every array snapshot."""
        with self._array.core.env.entered():  # what they have cost is up to date only then
            self._array.core.check_reachable()
            return tuple(snapshot.info() for snapshot in self._array.inventory.snapshots.values())

    async def mappings(self) -> tuple[Mapping, ...]:
        """Return every mapping."""
        return self._array.mappings()

    async def prepare(self, naas: tuple[str, ...]) -> int:
        """Make ready for a snapshot of the volumes; see ``Array.prepare``."""
        return await perform(self._array.core.env, self._array.prepare(naas))

    async def create_snapshots(self, naas: tuple[str, ...], name: str) -> tuple[ArraySnapshot, ...]:
        """Snapshot the volumes in one instant; see ``Array.create_snapshots``."""
        made = await perform(self._array.core.env, self._array.create_snapshots(naas, name))
        return tuple(snapshot.info() for snapshot in made)

    async def promote(self, snapshot: str, name: str, *, read_only: bool = True) -> VolumeInfo:
        """Make *snapshot* a volume *name*; see ``Array.promote``."""
        model = self._array.promote(snapshot, name, read_only=read_only)
        volume = await perform(self._array.core.env, model)
        return volume.info()

    async def map_volume(self, volume: str, initiator_iqn: str) -> Mapping:
        """Let *initiator_iqn* see *volume*; see ``Array.map_volume``."""
        return await perform(self._array.core.env, self._array.map_volume(volume, initiator_iqn))

    async def unmap_volume(self, volume: str, initiator_iqn: str) -> None:
        """Take the mapping away; idempotent."""
        await perform(self._array.core.env, self._array.unmap_volume(volume, initiator_iqn))

    async def delete_volume(self, volume: str) -> None:
        """Delete a volume; see ``Array.delete_volume``."""
        await perform(self._array.core.env, self._array.delete_volume(volume))

    async def delete_snapshot(self, snapshot: str) -> None:
        """Delete an array snapshot; see ``Array.delete_snapshot``."""
        await perform(self._array.core.env, self._array.delete_snapshot(snapshot))
