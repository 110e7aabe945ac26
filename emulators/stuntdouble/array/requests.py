"""What can be asked of an array: requests, which take time and then commit in one instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.array.access import Access
from stuntdouble.array.blocks import Blocks
from stuntdouble.array.copying import Copying
from stuntdouble.array.lifetime import Lifetimes
from stuntdouble.array.lineage import Lineage
from stuntdouble.array.mirror import Mirrors
from stuntdouble.array.promote import Promotion
from stuntdouble.array.snapshot import Snapshots
from stuntdouble.array.task import Tasks
from stuntdouble.array.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.hosts import Hosts
    from stuntdouble.array.masking import HostMapping, Masking
    from stuntdouble.array.reclaim import Reclaim
    from stuntdouble.array.task import Task
    from stuntdouble.array.volume import Snapshot, Volume
    from stuntdouble.ports import Mapping


class Requests:
    """The requests of an ``Array``; each is a SimPy generator."""

    def __init__(self, core: Core, hosts: Hosts, masking: Masking, reclaim: Reclaim) -> None:
        self._core = core
        self._tasks = Tasks(core)
        self._mirrors = Mirrors(core)
        lineage = Lineage(core, self._mirrors, reclaim)
        self._snapshots = Snapshots(core, self._mirrors, lineage)
        self._promotion = Promotion(core, masking, self._snapshots, lineage)
        self._access = Access(core, hosts, masking, self._snapshots)
        self._volumes = Volumes(core, self._snapshots)
        self._blocks = Blocks(core, self._snapshots)
        self._copying = Copying(core, masking, self._snapshots, lineage, self._tasks)
        self._lifetimes = Lifetimes(core, self._discard)

    def _discard(self, name: str) -> None:
        """Delete a volume or snapshot now, or raise InvalidState."""
        if name in self._core.inventory.snapshots:
            self._snapshots.discard(name)
        else:
            self._promotion.discard(name)

    def prepare(self, naas: tuple[str, ...]) -> Generator[Event, Any, int]:
        """Make ready for a snapshot of volumes; return how many bytes were copied for it.

        Where snapshots are split mirrors, a mirror of each volume is made, if none is free, and
        synchronised; from then on until it is split off, it is written with the volume.  Other
        arrays have nothing to do.  One that is cut short leaves mirrors behind that are detached,
        and no worse for it; one that is repeated finds little to do.

        Raises:
            LimitReached: every mirror that a volume may have is in use by a snapshot.
            NoSpace: there is no room for a mirror.
        """
        return self._mirrors.prepare(naas)

    def delete_mirrors(self, volume: str) -> Generator[Event, Any, None]:
        """Delete the mirrors of a volume, and give their room back; none is no error.

        Raises:
            InvalidState: a snapshot needs one of them.
        """
        return self._mirrors.delete(volume)

    def create_snapshots(
        self,
        naas: tuple[str, ...],
        name: str,
        *,
        expires_seconds: float | None = None,
        retain_seconds: float | None = None,
    ) -> Generator[Event, Any, tuple[Snapshot, ...]]:
        """Snapshot volumes in one instant, and return the snapshots in their order.

        A single one is called *name*, those of a consistency group name.1, name.2, …  Promoted
        volumes can be snapshotted, too; what they write afterwards is redirected, whatever the
        array's kind of snapshot.  For the lifetime see ``set_lifetime``.

        Raises:
            LimitReached: too many snapshots of a volume, or of the array.
            InvalidState: a volume has no synchronised mirror to be split off, or is being written
                by a copy, or the snapshot that it shows has been given up.
        """
        self._lifetimes.check(name, expires_seconds, retain_seconds)
        made = yield from self._snapshots.create(naas, name)
        for snapshot in made:
            self._lifetimes.begin(snapshot, expires_seconds, retain_seconds)
        return made

    def delete_snapshot(self, snapshot: str) -> Generator[Event, Any, None]:
        """Delete an array snapshot; its space comes free in the background.

        One that is not there is no error.

        Raises:
            InvalidState: a volume that was promoted from it, and is not independent, still exists;
                or it is mapped, being copied, or retained.
        """
        return self._snapshots.delete(snapshot)

    def promote(
        self,
        snapshot: str,
        name: str,
        *,
        read_only: bool = True,
        independent: bool = False,
        expires_seconds: float | None = None,
        retain_seconds: float | None = None,
    ) -> Generator[Event, Any, Volume]:
        """Make an array snapshot a volume with an identity of its own.

        The snapshot cannot be deleted before the volume, unless it is *independent*: then the
        snapshot's blocks are kept for it, unseen, and are never given up for want of room.  For the
        lifetime see ``set_lifetime``.

        Raises:
            InvalidState: the array has given the snapshot up.
            LimitReached: it has been promoted too often.
        """
        self._lifetimes.check(name, expires_seconds, retain_seconds)
        volume = yield from self._promotion.promote(
            snapshot, name, read_only=read_only, independent=independent
        )
        self._lifetimes.begin(volume, expires_seconds, retain_seconds)
        return volume

    def make_volume(self, name: str, size_bytes: int, pool: str) -> Generator[Event, Any, Volume]:
        """Make a volume that reads as zeros, while the array runs.

        Args:
            name: unique among volumes and array snapshots.
            size_bytes: whole chunks.
            pool: the name of the pool where it lies, at its whole size.

        Raises:
            NotFound: no such pool.
            NoSpace: it does not fit into the pool.
        """
        return self._volumes.make(name, size_bytes, pool)

    def grow_volume(self, name: str, size_bytes: int) -> Generator[Event, Any, Volume]:
        """Let a volume have *size_bytes* in all; what is new reads as zeros.

        Its snapshots keep their size.  A promoted volume takes the room in the snapshot reserve.

        Raises:
            InvalidState: it would shrink; or it is read-only, mirrored, or being copied.
            NoSpace: there is no room in one piece, or not enough reserve.
        """
        return self._volumes.grow(name, size_bytes)

    def rename(self, name: str, new: str) -> Generator[Event, Any, None]:
        """Give a volume or array snapshot another name; it takes no time, and nothing else changes.

        Raises:
            NotFound: there is neither of this name.
            InvalidState: the new name is taken.
        """
        return self._volumes.rename(name, new)

    def set_lifetime(
        self,
        name: str,
        *,
        expires_seconds: float | None = None,
        retain_seconds: float | None = None,
    ) -> Generator[Event, Any, None]:
        """Say when a volume or array snapshot goes by itself, and until when it may not be deleted.

        Args:
            name: of the volume or snapshot.
            expires_seconds: from now; None for never.  What is in use then goes once it is not.
            retain_seconds: from now; None for as long as was said before.

        Raises:
            NotFound: there is neither of this name.
            InvalidState: it has to stay longer than that.
            Misuse: it would expire before it may be deleted.
        """
        return self._lifetimes.set(name, expires_seconds, retain_seconds)

    def zero_volume(self, volume: str, offset: int, length: int) -> Generator[Event, Any, None]:
        """Zero a byte range of a volume, however long: a piece at a time, in the engine's time.

        Raises:
            InvalidState: it is read-only.
            NoSpace: the snapshot reserve is full; what came before is zeroed.
            Misuse: beyond the end of the volume.
        """
        return self._blocks.zero(volume, offset, length)

    def start_copy(self, source: str, destination: str) -> Generator[Event, Any, Task]:
        """Begin a physical copy of a volume or snapshot onto a volume; the task goes on by itself.

        The copy holds what the source held when it began, and needs it no more once it is done.
        Until then nothing can be done with the destination, and the source cannot be deleted.  The
        rest of a larger destination stays as it was.

        Raises:
            InvalidState: the destination is mapped, read-only, smaller than the source, being
                copied, or carries a datastore; or the source is no longer valid.
        """
        return self._copying.start_copy(source, destination)

    def copy_volume(self, source: str, destination: str) -> Generator[Event, Any, Task]:
        """Copy a volume or snapshot onto a volume, and wait for the end; see ``start_copy``.

        Raises:
            Error: what the task failed of.
        """
        task = yield from self._copying.start_copy(source, destination)
        yield task.ended
        if task.error is not None:
            raise task.error
        return task

    def cancel_task(self, number: int) -> Generator[Event, Any, None]:
        """Let a copy stop, and wait until it has; its destination holds a part then.

        Raises:
            NotFound: there is no such task.
            InvalidState: it is over, or is no copy.
        """
        yield from self._core.take(0.0)
        self._tasks.cancel(number)
        yield self._tasks.get(number).ended

    def revert(
        self, volume: str, snapshot: str, *, mapped: bool = False
    ) -> Generator[Event, Any, Task]:
        """Bring a volume back to what it held at a snapshot of it.

        Its content changes in one instant; the task is the I/O of it, which goes on.  Snapshots of
        it all keep their moments.

        Args:
            volume: what is brought back.
            snapshot: one of its own.
            mapped: whether it may be mapped; hosts are not told that it holds something else.

        Raises:
            InvalidState: the volume is mapped, read-only, has another size than then, is being
                copied, or carries a datastore; or the snapshot is another's, or no longer valid.
            NoSpace: its other snapshots would need more of the reserve than there is.
        """
        return self._copying.revert(volume, snapshot, mapped=mapped)

    def overwrite(
        self, volume: str, source: str, *, mapped: bool = False
    ) -> Generator[Event, Any, Task]:
        """Let a volume hold what another volume, or any snapshot, of its size holds now.

        See ``revert``, which is this for a snapshot of its own.
        """
        return self._copying.overwrite(volume, source, mapped=mapped)

    def delete_volume(self, volume: str) -> Generator[Event, Any, None]:
        """Delete a volume; one that is not there is no error.

        Raises:
            InvalidState: it is mapped, has snapshots, is being copied, or is retained.
        """
        return self._promotion.delete(volume)

    def map_volume(
        self, volume: str, initiator_iqn: str, lun: int | None = None
    ) -> Generator[Event, Any, Mapping]:
        """Let the host of an initiator see a volume at a LUN number: *lun*, or the lowest free one.

        An initiator that no host has gets a host of its own.  A snapshot may be mapped, too; see
        ``map_to_host``.

        Raises:
            LunInUse: *lun* is taken.
            LimitReached: no number is free.
            InvalidState: the host sees the volume already.
        """
        return self._access.map_volume(volume, initiator_iqn, lun)

    def unmap_volume(self, volume: str, initiator_iqn: str) -> Generator[Event, Any, None]:
        """Take the mapping of an initiator's host away; one that is not there is no error."""
        return self._access.unmap_volume(volume, initiator_iqn)

    def map_to_host(
        self, name: str, host: str, lun: int | None = None
    ) -> Generator[Event, Any, HostMapping]:
        """Let a host see a volume or an array snapshot: at *lun*, or at the lowest free number.

        A snapshot is seen as a read-only volume with the snapshot's own identity, for as long as it
        is mapped to anybody.

        Raises:
            NotFound: no such volume, snapshot or host.
            LunInUse: *lun* is taken.
            LimitReached: no number is free.
            InvalidState: the host sees it already, or the array has given the snapshot up.
        """
        return self._access.map_to_host(name, host, lun)

    def unmap_from_host(self, name: str, host: str) -> Generator[Event, Any, None]:
        """Take a mapping away; one that is not there is no error.

        Raises:
            NotFound: no such host.
        """
        return self._access.unmap_from_host(name, host)
