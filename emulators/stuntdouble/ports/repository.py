"""Where restore points are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.extents import Runs
    from stuntdouble.ports.hypervisor import Consistency


class Kind(StrEnum):
    """How much a backup read."""

    FULL = "full"
    INCREMENTAL = "incremental"


@dataclass(frozen=True, slots=True)
class DiskPoint:
    """One disk of a restore point; ``change_id`` is empty where there was no tracking."""

    key: int
    capacity_bytes: int
    change_id: str


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """Something that can be restored.

    ``moment`` is the VM snapshot's stun, in seconds of site time.  ``skipped`` names the disks
    that could not be part of it, each with the reason.
    """

    id: str
    vm: str
    method: str
    kind: Kind
    moment: float
    consistency: Consistency
    disks: tuple[DiskPoint, ...]
    parent: str = ""
    bytes_read: int = 0
    bytes_stored: int = 0
    skipped: tuple[str, ...] = field(default=())


class Draft(Protocol):
    """A restore point being written: nothing of it is visible before ``commit``."""

    def write(self, disk: int, offset: int, data: memoryview) -> None:
        """Store *data* at *offset* of *disk*; any order, each byte once."""
        ...

    def zero(self, disk: int, runs: Runs) -> None:
        """Say that *runs* of *disk* read as zeros."""
        ...

    def commit(self, point: RestorePoint) -> RestorePoint:
        """Make the restore point visible, all of it at once; return it with sizes filled in."""
        ...

    def discard(self) -> None:
        """Forget the draft; idempotent."""
        ...


class Repository(Protocol):
    """Restore points on disk."""

    def begin(self, disks: dict[int, int], parent: str = "") -> Draft:
        """Start a restore point of disks {key: capacity in bytes}.

        What is not written reads as in *parent*, or as zeros where there is none.
        """
        ...

    def points(self) -> tuple[RestorePoint, ...]:
        """Return every committed restore point, oldest first."""
        ...

    def read(self, point: str, disk: int, start: int, length: int) -> Iterator[memoryview]:
        """Yield the bytes of a disk, verified against their digests, in rising order."""
        ...

    def delete(self, point: str) -> None:
        """Delete a restore point; the others stay whole.  NotFound if there is none."""
        ...
