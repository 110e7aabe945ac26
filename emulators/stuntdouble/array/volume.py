"""Volumes and array snapshots: what they are, and one space of names for both."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import InvalidState, Misuse, NotFound
from stuntdouble.ports import ArraySnapshot, VolumeInfo

if TYPE_CHECKING:
    from stuntdouble.array.mirror import Mirror
    from stuntdouble.array.pool import Pool
    from stuntdouble.array.task import Task
    from stuntdouble.site import Image, Lun

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(eq=False)
class Volume:
    """A byte store with an identity; ``lun`` is the site's handle on its content.

    ``origin`` is the array snapshot that a promoted volume shows, or None.  ``start_block`` is
    where it begins in its pool; a promoted volume has no place of its own.  ``id`` is unique among
    volumes and array snapshots, ``created`` is site time; ``notes`` is what somebody who presents
    the array wants kept with it, and nothing to the array.

    ``kept`` are snapshots of it that have been deleted, or were never anybody's, and that something
    still needs; see ``lineage``.  ``expires`` and ``retain_until`` are site time.  ``writer`` is the
    task that writes it, ``readers`` are those that read it.
    """

    name: str
    naa: str
    lun: Lun
    pool: Pool
    start_block: int = -1
    read_only: bool = False
    origin: Snapshot | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    mirrors: list[Mirror] = field(default_factory=list)
    id: int = 0
    uuid: str = ""
    created: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    independent: bool = False
    deleted: bool = False
    kept: list[Snapshot] = field(default_factory=list)
    expires: float | None = None
    retain_until: float | None = None
    writer: Task | None = None
    readers: list[Task] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        return self.lun.size_bytes

    @property
    def serial(self) -> str:
        """The unit serial number (VPD page 80): the vendor's part of the identifier."""
        return self.naa[-16:].upper()

    @property
    def readable(self) -> bool:
        """Whether its content is still there: the snapshot it shows may have been given up."""
        return self.origin is None or self.origin.valid

    def info(self) -> VolumeInfo:
        """Return what clients see of it."""
        origin = "" if self.origin is None or self.origin.hidden else self.origin.name
        return VolumeInfo(self.name, self.naa, self.size_bytes, self.read_only, origin)


@dataclass(eq=False)
class Snapshot:
    """A point-in-time image of a volume; ``image`` is None once the array has given it up.

    ``size_bytes`` is what the volume had then.  ``mirror`` is what it was split off, if it was.
    ``hidden`` says that nobody finds it any more, and something needs it.  ``view`` is the read-only volume, with the
    snapshot's name and identity, as which hosts see it while it is mapped itself.
    """

    name: str
    volume: Volume
    created: float
    image: Image | None
    copies: list[Volume] = field(default_factory=list)
    mirror: Mirror | None = None
    naa: str = ""
    id: int = 0
    uuid: str = ""
    view: Volume | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    size_bytes: int = 0
    hidden: bool = False
    expires: float | None = None
    retain_until: float | None = None
    readers: list[Task] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Whether the image is still whole, and those that it is an image of."""
        return self.image is not None and self.volume.readable

    @property
    def space_bytes(self) -> int:
        """What it has cost so far: chunks kept, or redirected, for its sake, or its mirror."""
        if self.mirror is not None:
            return self.mirror.size_bytes
        return 0 if self.image is None else self.image.space_bytes

    @property
    def pool(self) -> Pool:
        """Where its content lies, and what is written to its promoted copies."""
        return self.volume.pool if self.mirror is None else self.mirror.pool

    def info(self) -> ArraySnapshot:
        """Return what clients see of it."""
        return ArraySnapshot(
            self.name, self.volume.name, self.created, self.valid, self.space_bytes
        )


class Inventory:
    """Every volume and array snapshot of an array, by name."""

    def __init__(self, name_length_max: int) -> None:
        self.volumes: dict[str, Volume] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self._name_length_max = name_length_max
        self._last_id = 0

    def volume(self, name: str) -> Volume:
        """Return the volume of this name, or raise NotFound."""
        if name not in self.volumes:
            raise NotFound("volume", name)
        return self.volumes[name]

    def by_naa(self, naa: str) -> Volume:
        """Return the volume of this NAA identifier, or raise NotFound."""
        for volume in self.volumes.values():
            if volume.naa == naa:
                return volume
        raise NotFound("volume with identifier", naa)

    def snapshot(self, name: str) -> Snapshot:
        """Return the array snapshot of this name, or raise NotFound."""
        if name not in self.snapshots:
            raise NotFound("array snapshot", name)
        return self.snapshots[name]

    def either(self, name: str) -> Volume | Snapshot:
        """Return the volume or array snapshot of this name, or raise NotFound of a volume."""
        return self.snapshots[name] if name in self.snapshots else self.volume(name)

    def seen(self, name: str) -> Volume | None:
        """Return what a host would see of a volume or array snapshot: None for a hidden one."""
        if name in self.snapshots:
            return self.snapshots[name].view
        return self.volumes.get(name)

    def visible(self, naa: str) -> Volume:
        """Return the volume, or the view of a snapshot, of this NAA identifier; or NotFound."""
        for volume in self.mappable():
            if volume.naa == naa:
                return volume
        raise NotFound("volume with identifier", naa)

    def mappable(self) -> list[Volume]:
        """Return every volume, and the views of snapshots that are mapped themselves."""
        views = [snapshot.view for snapshot in self.snapshots.values()]
        return [*self.volumes.values(), *(view for view in views if view is not None)]

    def next_id(self) -> int:
        """Return a number that no volume or array snapshot has had."""
        self._last_id += 1
        return self._last_id

    def check_free(self, name: str) -> None:
        """Make sure that a new volume or array snapshot may have this name.

        Raises:
            Misuse: not a name, or too long.
            InvalidState: something has it.
        """
        self.check_name(name)
        kinds = (("volume", self.volumes), ("array snapshot", self.snapshots))
        for kind, taken in kinds:
            if name in taken:
                raise InvalidState(f"{kind} {name}", "there already", "make another of that name")

    def check_name(self, name: str) -> None:
        """Raise Misuse unless this can be a name, and is not too long."""
        if not _NAME.fullmatch(name):
            text = "begin with a letter or digit, go on with letters, digits, '.', '_' and '-'"
            raise Misuse(f"name {name!r}", text)
        if len(name) > self._name_length_max:
            raise Misuse(f"name {name!r}", f"longer than {self._name_length_max} characters")
