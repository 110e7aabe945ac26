"""What a backup server asks of a storage array.

*Promotion* here means: make an array snapshot a volume that can be mapped.  (One vendor's
``promoteVirtualCopy`` means to revert the base volume instead; the port has no such verb.)
Volumes are identified by their NAA identifier (VPD page 83), never by a LUN number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stuntdouble.ports.device import BlockDevice


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """A mappable volume; ``promoted_from`` is the array snapshot's name, or empty."""

    name: str
    naa: str
    size_bytes: int
    read_only: bool
    promoted_from: str = ""


@dataclass(frozen=True, slots=True)
class ArraySnapshot:
    """A point-in-time image inside the array; ``space_bytes`` is what it has cost so far."""

    name: str
    volume: str
    created: float
    valid: bool
    space_bytes: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """Who sees which volume at which LUN number."""

    volume: str
    naa: str
    initiator_iqn: str
    lun: int


class Array(Protocol):
    """The calls that the storage-snapshot methods need.

    Errors: NotFound for an unknown name, InvalidState for a delete while mapped or with
    children, LunInUse, LimitReached, NoSpace as their names say.  Names of volumes are given,
    NAA identifiers are the array's.
    """

    async def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume, promoted ones included."""
        ...

    async def snapshots(self) -> tuple[ArraySnapshot, ...]:
        """Return every array snapshot."""
        ...

    async def mappings(self) -> tuple[Mapping, ...]:
        """Return every mapping."""
        ...

    async def prepare(self, naas: tuple[str, ...]) -> int:
        """Make ready for a snapshot of the volumes, before anything is held still for it.

        An array that splits mirrors synchronises them, which may take hours; others have nothing to
        do.  Returns how many bytes were copied.  May be repeated.
        """
        ...

    async def create_snapshots(self, naas: tuple[str, ...], name: str) -> tuple[ArraySnapshot, ...]:
        """Snapshot the volumes in one instant, as a consistency group when there are several."""
        ...

    async def promote(self, snapshot: str, name: str, *, read_only: bool = True) -> VolumeInfo:
        """Make *snapshot* a volume *name* with an identity of its own."""
        ...

    async def map_volume(self, volume: str, initiator_iqn: str) -> Mapping:
        """Let *initiator_iqn* see *volume* at the lowest free LUN number."""
        ...

    async def unmap_volume(self, volume: str, initiator_iqn: str) -> None:
        """Take the mapping away; idempotent."""
        ...

    async def delete_volume(self, volume: str) -> None:
        """Delete a volume that is not mapped and has no snapshots; idempotent."""
        ...

    async def delete_snapshot(self, snapshot: str) -> None:
        """Delete an array snapshot that has no promoted volume; idempotent."""
        ...


class Initiator(Protocol):
    """The backup server's own way to a mapped LUN."""

    @property
    def iqn(self) -> str:
        """The name by which the array masks."""
        ...

    async def attach(self, mapping: Mapping) -> BlockDevice:
        """Open the mapped LUN after checking that its identity is the mapping's NAA."""
        ...
