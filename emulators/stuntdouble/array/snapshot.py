"""Array snapshots: taking them in one instant, deleting them, and giving them up for room.

    request ──▶ fence the volumes ──▶ freeze them all, one instant ──▶ unfence ──▶ reply
                                      (or split their mirrors off)

While a volume is fenced none of its I/O is admitted, and every guest on it feels that.  A write
that has been acknowledged has been admitted, so the image holds it.

When the reserve is full and a host write needs a copy, what lacks the room is the newest snapshot
of the written volume, which receives all copies, or each of them.  Giving the newest up would lose
the restore point taken last, so the oldest of the volume goes first: its own chunks come free at
once.  When none is left, no copy is needed any more.  Snapshots of other volumes are never given up
for this one's sake, and a promoted volume that lacks room for its own writes has them refused.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from stuntdouble.array.volume import Snapshot
from stuntdouble.errors import Bug, InvalidState, LimitReached, Misuse, NoSpace, Unsupported
from stuntdouble.site import COPY_INTO_EACH, COPY_ON_WRITE, EACH_IMAGES_MAX, REDIRECT_ON_WRITE

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from simpy.events import Event

    from stuntdouble.array.core import Core
    from stuntdouble.array.mirror import Mirror, Mirrors
    from stuntdouble.array.parameters import Parameters
    from stuntdouble.array.reclaim import Reclaim
    from stuntdouble.array.volume import Volume
    from stuntdouble.site import Image, Lun


class Snapshots:
    """Creation and deletion; its generators commit in one instant, or not at all."""

    def __init__(self, core: Core, mirrors: Mirrors, reclaim: Reclaim) -> None:
        self._core = core
        self._mirrors = mirrors
        self._reclaim = reclaim
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
        luns = [volume.lun for volume in volumes]
        self._fence(luns)
        try:
            seconds = self._fence_seconds(len(luns))
            yield from core.take(seconds)
            self._check(naas, name)
            made = self._freeze(volumes, name, seconds)
        finally:
            self._unfence(luns)
        return made

    def delete(self, name: str) -> Generator[Event, Any, None]:
        """Delete an array snapshot; see ``Array.delete_snapshot``."""
        core = self._core
        yield from core.take(0.0)
        self._check_unused(name)
        yield from core.take(core.parameters.delete_seconds)
        self._check_unused(name)
        snapshot = core.inventory.snapshots.pop(name, None)
        if snapshot is None:
            return
        core.gauge()
        snapshot.volume.snapshots.remove(snapshot)
        freed = self._drop_image(snapshot)
        self._reclaim.take(snapshot.volume.pool, snapshot.volume.lun, freed)
        core.gauge()
        core.note("array-snapshot-deleted", name, freed_bytes=freed)

    def check_reachable(self) -> None:
        """Raise Unreachable once the array is lost: who uses its LUNs asks."""
        self._core.check_reachable()

    def make_room(self, lun: Lun) -> None:
        """Give up the volume's oldest snapshot, or refuse the write, as the policy has it."""
        core = self._core
        volume = next((v for v in core.inventory.volumes.values() if v.lun is lun), None)
        if volume is None:
            raise Bug("a write to a volume that has been deleted")
        oldest = next((s for s in volume.snapshots if s.valid), None)
        if core.parameters.exhaustion == "refuse" or oldest is None:
            free = volume.pool.reserve_free_bytes
            raise NoSpace(f"the snapshot reserve of {volume.pool.name}", lun.chunk_bytes, free)
        core.gauge()
        freed = self._drop_image(oldest)
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
            if volume.origin is not None:
                supported = "snapshot the volume it was promoted from"
                raise Unsupported(f"a snapshot of promoted volume {volume.name}", supported)
            most = _snapshots_per_volume_max(limits)
            if len(volume.snapshots) >= most:
                raise LimitReached(f"snapshots of volume {volume.name}", most)
            if limits.snapshot_kind == "split-mirror":
                self._mirrors.check(volume)
        if len(core.inventory.snapshots) + len(volumes) > limits.snapshots_max:
            raise LimitReached(f"snapshots of {core.name}", limits.snapshots_max)
        return volumes

    def _fence_seconds(self, volumes: int) -> float:
        p = self._core.parameters
        return p.fence_seconds + (volumes - 1) * p.fence_seconds_per_volume

    def _fence(self, luns: list[Lun]) -> None:
        self._core.engine.fence(luns)
        self._fences.update(lun.number for lun in luns)

    def _unfence(self, luns: list[Lun]) -> None:
        self._core.engine.unfence(luns)
        self._fences.subtract(lun.number for lun in luns)
        held, self._held = self._held, []
        for event in held:
            event.succeed()

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
            snapshot.id = core.inventory.next_id()
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
        """Freeze the volumes, or split their mirrors off, in this instant."""
        p = self._core.parameters
        if p.snapshot_kind == "split-mirror":
            return self._mirrors.split(volumes)
        kind = COPY_INTO_EACH if p.copy_policy == "copy-into-each" else COPY_ON_WRITE
        kind = REDIRECT_ON_WRITE if p.snapshot_kind == "redirect-on-write" else kind
        frozen = self._core.site.freeze([volume.lun for volume in volumes], kind)
        return [(None, image) for image in frozen]

    def _check_unused(self, name: str) -> None:
        snapshot = self._core.inventory.snapshots.get(name)
        if snapshot is not None and snapshot.copies:
            copies = ", ".join(copy.name for copy in snapshot.copies)
            raise InvalidState(f"array snapshot {name}", f"promoted to {copies}", "delete it")
        if snapshot is not None and snapshot.view is not None:
            raise InvalidState(f"array snapshot {name}", "mapped", "delete it")

    def _drop_image(self, snapshot: Snapshot) -> int:
        """Give up what a snapshot keeps; return the bytes of reserve that came free."""
        image, snapshot.image = snapshot.image, None
        if snapshot.mirror is not None:
            snapshot.mirror.snapshot = None  # it stays, and is synchronised again from there
        if image is None:
            return 0
        freed = self._core.site.thaw(image)
        self._core.site.drop_lun(image.lun)
        return freed


def _snapshots_per_volume_max(limits: Parameters) -> int:
    """Return how many snapshots of a volume there may be at a time."""
    if limits.copy_policy == "copy-into-each":
        return min(limits.snapshots_per_volume_max, EACH_IMAGES_MAX)
    return limits.snapshots_per_volume_max


def _names(name: str, count: int) -> list[str]:
    """Return the names of the members: the given one, with a number where there are several."""
    return [name] if count == 1 else [f"{name}.{number}" for number in range(1, count + 1)]
