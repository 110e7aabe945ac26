"""Who descends from whom, and what may be let go when somebody is deleted.

    volume ─▶ snapshot ─▶ promoted volume ─▶ its snapshot ─▶ …

A promoted volume shares blocks with the snapshot that it was promoted from.  A dependent one keeps
that snapshot from being deleted.  An *independent* one does not: the snapshot is gone to everybody,
and is kept out of sight for as long as the volume needs its blocks.  So is a volume that was deleted
while such a snapshot of it is still kept; its place in the pool comes free with the last of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stuntdouble.array.core import Core
    from stuntdouble.array.mirror import Mirrors
    from stuntdouble.array.reclaim import Reclaim
    from stuntdouble.array.volume import Snapshot, Volume


class Lineage:
    """Lets go of snapshots and volumes that are deleted, as soon as nothing needs them."""

    def __init__(self, core: Core, mirrors: Mirrors, reclaim: Reclaim) -> None:
        self._core = core
        self._mirrors = mirrors
        self._reclaim = reclaim

    def let_snapshot_go(self, snapshot: Snapshot) -> int:
        """Delete a snapshot, which nobody finds any more; return the bytes that come free now."""
        snapshot.volume.snapshots.remove(snapshot)
        snapshot.volume.kept.append(snapshot)
        snapshot.hidden = True
        return self.release(snapshot)

    def let_volume_go(self, volume: Volume) -> int:
        """Delete a volume, which nobody finds any more; return the bytes that come free now."""
        volume.deleted = True
        freed = self._drop_own(volume) if volume.origin is not None else 0
        return freed + self._finish(volume)

    def drop_image(self, snapshot: Snapshot) -> int:
        """Give up what a snapshot keeps; return the bytes of reserve that came free."""
        image, snapshot.image = snapshot.image, None
        if snapshot.mirror is not None:
            snapshot.mirror.snapshot = None  # it stays, and is synchronised again from there
        if image is None:
            return 0
        freed = self._core.site.thaw(image)
        self._core.site.drop_lun(image.lun)
        return freed

    def release(self, snapshot: Snapshot) -> int:
        """Let a hidden snapshot go, if nothing needs it any more; return the bytes that come free."""
        if snapshot.copies or snapshot.readers:
            return 0
        volume = snapshot.volume
        volume.kept.remove(snapshot)
        freed = self.drop_image(snapshot)
        self._reclaim.take(volume.pool, volume.lun, freed)
        return freed + self._finish(volume)

    # Parts. --------------------------------------------------------------------------------

    def _finish(self, volume: Volume) -> int:
        """Let a deleted volume go, if no snapshot of it is kept any more."""
        if not volume.deleted or volume.kept:
            return 0
        if volume.origin is None:
            self._core.site.drop_lun(volume.lun)
            volume.pool.give_back(volume.start_block, volume.size_bytes)
            self._mirrors.drop(volume)
            return 0
        volume.origin.copies.remove(volume)
        return self.release(volume.origin) if volume.origin.hidden else 0

    def _drop_own(self, volume: Volume) -> int:
        """Give up what a promoted volume has of its own; layers below it keep theirs."""
        before = volume.pool.reserve_free_bytes
        self._core.site.drop_lun(volume.lun)
        freed = volume.pool.reserve_free_bytes - before
        self._reclaim.take(volume.pool, volume.lun, freed)
        return freed


def needed(snapshot: Snapshot) -> bool:
    """Say whether an independent volume descends from a snapshot: it may not be given up."""
    return any(
        copy.independent or any(map(needed, copy.snapshots + copy.kept)) for copy in snapshot.copies
    )
