"""Promotion: an array snapshot becomes a volume that can be mapped; and the way back.

The new volume starts out as the image, costs nothing, and has an identity of its own, so that no
host mistakes it for the original.  What is written to it takes space of the snapshot reserve.  It
needs its snapshot; an independent one needs no more than the blocks (see ``lineage``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.array.lifetime import check_retention
from stuntdouble.array.volume import Volume
from stuntdouble.errors import InvalidState, LimitReached

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.lineage import Lineage
    from stuntdouble.array.masking import Masking
    from stuntdouble.array.snapshot import Snapshots
    from stuntdouble.site import Image


class Promotion:
    """Promote snapshots, and delete volumes; its generators commit in one instant, or not at all."""

    def __init__(
        self, core: Core, masking: Masking, snapshots: Snapshots, lineage: Lineage
    ) -> None:
        self._core = core
        self._masking = masking
        self._snapshots = snapshots
        self._lineage = lineage

    def promote(
        self,
        snapshot: str,
        name: str,
        *,
        read_only: bool,
        independent: bool,
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
            independent=independent,
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
        self.discard(name)

    def discard(self, name: str) -> None:
        """Delete a volume now; one that is not there is no error."""
        core = self._core
        self._check_unused(name)
        volume = core.inventory.volumes.pop(name, None)
        if volume is None:
            return
        core.gauge()
        freed = self._lineage.let_volume_go(volume)
        core.gauge()
        core.note("array-volume-deleted", name, naa=volume.naa, freed_bytes=freed)
        core.sweep()

    def _check(self, snapshot: str, name: str) -> Image:
        """Return the image that may be promoted under the name."""
        core = self._core
        origin = core.inventory.snapshot(snapshot)
        if origin.image is None or not origin.valid:
            raise InvalidState(f"array snapshot {snapshot}", "no longer valid", "promote it")
        core.inventory.check_free(name)
        if len(origin.copies) >= core.parameters.copies_per_snapshot_max:
            limit = core.parameters.copies_per_snapshot_max
            raise LimitReached(f"promoted volumes of array snapshot {snapshot}", limit)
        return origin.image

    def _check_unused(self, name: str) -> None:
        self._core.check_reachable()
        volume = self._core.inventory.volumes.get(name)
        if volume is None:
            return
        what = f"volume {name}"
        if self._masking.mapped(volume):
            raise InvalidState(what, "mapped", "delete it")
        if volume.snapshots:
            raise InvalidState(what, "the parent of snapshots", "delete it")
        if volume.writer is not None or volume.readers:
            raise InvalidState(what, "being copied", "delete it")
        check_retention(volume, what, self._core.env.now)
