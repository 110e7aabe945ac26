"""Array snapshots: taking them in one instant, deleting them, and giving them up for room.

    request ──▶ fence the volumes ──▶ freeze them all, one instant ──▶ unfence ──▶ reply
                                      (or split their mirrors off)

While a volume is fenced none of its I/O is admitted, and every guest on it feels that.  A write
that has been acknowledged has been admitted, so the image holds it.

When the reserve is full and a host write needs a copy, what lacks the room is the newest snapshot
of the written volume, which receives all copies, or each of them.  Giving the newest up would lose
the restore point taken last, so the oldest of the volume goes first: its own chunks come free at
once.  When none is left, no copy is needed any more.  Snapshots of other volumes are never given up
for this one's sake, nor is one that an independent volume descends from; a promoted volume that lacks
room for its own writes, and has no snapshot to give up, has them refused.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from stuntdouble.array.lifetime import check_retention
from stuntdouble.array.lineage import needed
from stuntdouble.array.volume import Snapshot
from stuntdouble.errors import Bug, InvalidState, LimitReached, Misuse, NoSpace
from stuntdouble.site import COPY_INTO_EACH, COPY_ON_WRITE, EACH_IMAGES_MAX, REDIRECT_ON_WRITE

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.lineage import Lineage
    from stuntdouble.array.mirror import Mirror, Mirrors
    from stuntdouble.array.volume import Volume
    from stuntdouble.site import Image, Lun


class Snapshots:
    """Creation and deletion; its generators commit in one instant, or not at all."""

    def __init__(self, core: Core, mirrors: Mirrors, lineage: Lineage) -> None:
        self._core = core
        self._mirrors = mirrors
        self._lineage = lineage
        self._fences: Counter[int] = Counter()
        self._held: list[Event] = []

    def create(
        self, naas: tuple[str, ...], name: str
    ) -> Generator[Event, Any, tuple[Snapshot, ...]]:
        """Snapshot volumes; see ``Array.create_snapshots``."""
        core = self._core
        yield from core.take(0.0)
        self._check(naas, name)
        yield from core.take(core.parameters.snapshot_create_seconds)
        volumes = self._check(naas, name)
        seconds = yield from self.fence(volumes)
        try:
            self._check(naas, name)
            made = self._freeze(volumes, name, seconds)
        finally:
            self.unfence(volumes)
        return made

    def fence(self, volumes: list[Volume]) -> Generator[Event, Any, float]:
        """Fence volumes until ``unfence``, and take the time of it; return how long that is."""
        luns = [volume.lun for volume in volumes]
        seconds = self._fence_seconds(len(luns))
        self._core.engine.fence(luns)
        self._fences.update(lun.number for lun in luns)
        try:
            yield from self._core.take(seconds)
        except BaseException:
            self.unfence(volumes)
            raise
        return seconds

    def unfence(self, volumes: list[Volume]) -> None:
        """Undo ``fence``."""
        luns = [volume.lun for volume in volumes]
        self._core.engine.unfence(luns)
        self._fences.subtract(lun.number for lun in luns)
        held, self._held = self._held, []
        for event in held:
            event.succeed()

    def hide(self, volume: Volume) -> Snapshot:
        """Freeze a volume, in this instant, for the array's own use; nobody finds the snapshot."""
        kind = COPY_ON_WRITE if self._split else self._kind
        [image] = self._core.site.freeze([volume.lun], kind)
        snapshot = Snapshot(
            "", volume, self._core.env.now, image, size_bytes=volume.size_bytes, hidden=True
        )
        volume.kept.append(snapshot)
        return snapshot

    def delete(self, name: str) -> Generator[Event, Any, None]:
        """Delete an array snapshot; see ``Array.delete_snapshot``."""
        core = self._core
        yield from core.take(0.0)
        self._check_unused(name)
        yield from core.take(core.parameters.delete_seconds)
        self.discard(name)

    def discard(self, name: str) -> None:
        """Delete an array snapshot now; one that is not there is no error."""
        core = self._core
        self._check_unused(name)
        snapshot = core.inventory.snapshots.pop(name, None)
        if snapshot is None:
            return
        core.gauge()
        freed = self._lineage.let_snapshot_go(snapshot)
        core.gauge()
        core.note("array-snapshot-deleted", name, freed_bytes=freed)
        core.sweep()

    def check_reachable(self) -> None:
        """Raise Unreachable once the array is lost: who uses its LUNs asks."""
        self._core.check_reachable()

    def make_room(self, lun: Lun) -> None:
        """Give up the volume's oldest snapshot, or refuse the write, as the policy has it."""
        core = self._core
        volume = next((v for v in core.inventory.volumes.values() if v.lun is lun), None)
        if volume is None:
            raise Bug("a write to a volume that has been deleted")
        own = [s for s in volume.kept if not s.name]  # a copy can be begun again
        oldest = next((s for s in own + volume.snapshots if s.image and not needed(s)), None)
        if core.parameters.exhaustion == "refuse" or oldest is None:
            free = volume.pool.reserve_free_bytes
            raise NoSpace(f"the snapshot reserve of {volume.pool.name}", lun.chunk_bytes, free)
        core.gauge()
        freed = self._lineage.drop_image(oldest)
        core.gauge()
        core.note("array-snapshot-invalid", oldest.name, volume=volume.name, freed_bytes=freed)

    def unfenced(self, lun: Lun) -> Generator[Event, Any, None]:
        """Wait until no snapshot is being taken of *lun*: for writes that no guest issues."""
        while self._fences[lun.number]:
            event = self._core.env.event()
            self._held.append(event)
            yield event

    # Parts. --------------------------------------------------------------------------------

    def _check(self, naas: tuple[str, ...], name: str) -> list[Volume]:
        """Return the volumes if all of them can be snapshotted under the name."""
        core = self._core
        if not naas or len(set(naas)) != len(naas):
            raise Misuse(f"array snapshot {name}", "name at least one volume, and each only once")
        volumes = [core.inventory.by_naa(naa) for naa in naas]
        for own in _names(name, len(volumes)):
            core.inventory.check_free(own)
        limits = core.parameters
        for volume in volumes:
            self._check_volume(volume)
        if len(core.inventory.snapshots) + len(volumes) > limits.snapshots_max:
            raise LimitReached(f"snapshots of {core.name}", limits.snapshots_max)
        return volumes

    def _check_volume(self, volume: Volume) -> None:
        if not volume.readable:
            state = "without the snapshot that it shows"
            raise InvalidState(f"volume {volume.name}", state, "snapshot it")
        if volume.writer is not None:
            raise InvalidState(f"volume {volume.name}", "being written by a copy", "snapshot it")
        most = self._core.parameters.snapshots_per_volume_max
        if self._kind == COPY_INTO_EACH and volume.origin is None:
            most = min(most, EACH_IMAGES_MAX - len(volume.kept))
        if len(volume.snapshots) >= most:
            raise LimitReached(f"snapshots of volume {volume.name}", most)
        if self._split and volume.origin is None:
            self._mirrors.check(volume)

    @property
    def _split(self) -> bool:
        return self._core.parameters.snapshot_kind == "split-mirror"

    @property
    def _kind(self) -> int:
        """What the site calls the array's kind of snapshot."""
        p = self._core.parameters
        if p.snapshot_kind == "redirect-on-write":
            return REDIRECT_ON_WRITE
        return COPY_INTO_EACH if p.copy_policy == "copy-into-each" else COPY_ON_WRITE

    def _fence_seconds(self, volumes: int) -> float:
        p = self._core.parameters
        return p.fence_seconds + (volumes - 1) * p.fence_seconds_per_volume

    def _freeze(
        self, volumes: list[Volume], name: str, fenced_seconds: float
    ) -> tuple[Snapshot, ...]:
        core = self._core
        core.gauge()
        images = self._images(volumes)
        made = []
        names = _names(name, len(volumes))
        for own, volume, (mirror, image) in zip(names, volumes, images, strict=True):
            snapshot = Snapshot(own, volume, core.env.now, image, mirror=mirror)
            snapshot.naa, snapshot.uuid = core.new_naa(own), core.new_uuid(own)
            snapshot.id, snapshot.size_bytes = core.inventory.next_id(), volume.size_bytes
            if mirror is not None:
                mirror.snapshot = snapshot
            core.inventory.snapshots[own] = snapshot
            volume.snapshots.append(snapshot)
            made.append(snapshot)
            core.note(
                "array-snapshot",
                own,
                volume=volume.name,
                naa=volume.naa,
                fenced_seconds=fenced_seconds,
            )
        return tuple(made)

    def _images(self, volumes: list[Volume]) -> Sequence[tuple[Mirror | None, Image]]:
        """Freeze the volumes, or split their mirrors off, in this instant; promoted ones have none."""
        split = [v for v in volumes if v.origin is None] if self._split else []
        frozen = [volume for volume in volumes if volume not in split]
        images: dict[Volume, tuple[Mirror | None, Image]] = {}
        if split:
            images |= zip(split, self._mirrors.split(split), strict=True)
        if frozen:
            kind = COPY_ON_WRITE if self._split else self._kind
            made = self._core.site.freeze([volume.lun for volume in frozen], kind)
            images |= {v: (None, image) for v, image in zip(frozen, made, strict=True)}
        return [images[volume] for volume in volumes]

    def _check_unused(self, name: str) -> None:
        self._core.check_reachable()
        snapshot = self._core.inventory.snapshots.get(name)
        if snapshot is None:
            return
        what = f"array snapshot {name}"
        copies = [each.name for each in snapshot.copies if not (each.independent or each.deleted)]
        if copies:
            raise InvalidState(what, f"promoted to {', '.join(copies)}", "delete it")
        if snapshot.view is not None:
            raise InvalidState(what, "mapped", "delete it")
        if snapshot.readers:
            raise InvalidState(what, "being copied", "delete it")
        check_retention(snapshot, what, self._core.env.now)


def _names(name: str, count: int) -> list[str]:
    """Return the names of the members: the given one, with a number where there are several."""
    return [name] if count == 1 else [f"{name}.{number}" for number in range(1, count + 1)]
