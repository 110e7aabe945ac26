"""Promotion: an array snapshot becomes a volume that can be mapped; and the way back.

The new volume starts out as the image, costs nothing, and has an identity of its own, so that no
host mistakes it for the original.  What is written to it takes space of the snapshot reserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.array.volume import Volume
from stuntdouble.errors import InvalidState, LimitReached

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.masking import Masking
    from stuntdouble.array.mirror import Mirrors
    from stuntdouble.array.reclaim import Reclaim
    from stuntdouble.array.snapshot import Snapshots
    from stuntdouble.site import Image


class Promotion:
    """Promote snapshots, and delete volumes; its generators commit in one instant, or not at all."""

    def __init__(
        self,
        core: Core,
        masking: Masking,
        snapshots: Snapshots,
        mirrors: Mirrors,
        reclaim: Reclaim,
    ) -> None:
        self._core = core
        self._masking = masking
        self._snapshots = snapshots
        self._mirrors = mirrors
        self._reclaim = reclaim

    def promote(
        self,
        snapshot: str,
        name: str,
        read_only: bool,  # noqa: FBT001  # keyword-only at the array's own door
    ) -> Generator[Event, Any, Volume]:
        """Make a snapshot a volume; see ``Array.promote``."""
        core = self._core
        yield from core.take(0.0)
        self._check(snapshot, name)
        yield from core.take(core.parameters.promote_seconds)
        image = self._check(snapshot, name)
        origin = core.inventory.snapshot(snapshot)
        volume = Volume(
            name,
            core.new_naa(name),
            image.open(),
            origin.pool,
            read_only=read_only,
            origin=origin,
            id=core.inventory.next_id(),
            uuid=core.new_uuid(name),
            created=core.env.now,
        )
        volume.lun.keeper = self._snapshots
        origin.copies.append(volume)
        core.inventory.volumes[name] = volume
        core.note("array-promoted", name, snapshot=snapshot, naa=volume.naa)
        return volume

    def delete(self, name: str) -> Generator[Event, Any, None]:
        """Delete a volume; see ``Array.delete_volume``."""
        core = self._core
        yield from core.take(0.0)
        self._check_unused(name)
        yield from core.take(core.parameters.delete_seconds)
        self._check_unused(name)
        volume = core.inventory.volumes.pop(name, None)
        if volume is None:
            return
        core.gauge()
        before = volume.pool.reserve_free_bytes
        core.site.drop_lun(volume.lun)
        freed = volume.pool.reserve_free_bytes - before
        if volume.origin is None:
            volume.pool.give_back(volume.start_block, volume.size_bytes)
            self._mirrors.drop(volume)
        else:
            volume.origin.copies.remove(volume)
            # a mirror may lie in another pool than what it was split off
            lun = volume.origin.volume.lun if volume.origin.mirror is None else volume.lun
            self._reclaim.take(volume.pool, lun, freed)
        core.gauge()
        core.note("array-volume-deleted", name, naa=volume.naa, freed_bytes=freed)

    def _check(self, snapshot: str, name: str) -> Image:
        """Return the image that may be promoted under the name."""
        core = self._core
        origin = core.inventory.snapshot(snapshot)
        if origin.image is None:
            raise InvalidState(f"array snapshot {snapshot}", "no longer valid", "promote it")
        core.inventory.check_free(name)
        if len(origin.copies) >= core.parameters.copies_per_snapshot_max:
            limit = core.parameters.copies_per_snapshot_max
            raise LimitReached(f"promoted volumes of array snapshot {snapshot}", limit)
        return origin.image

    def _check_unused(self, name: str) -> None:
        volume = self._core.inventory.volumes.get(name)
        if volume is None:
            return
        if self._masking.mapped(volume):
            raise InvalidState(f"volume {name}", "mapped", "delete it")
        if volume.snapshots:
            raise InvalidState(f"volume {name}", "the parent of snapshots", "delete it")
