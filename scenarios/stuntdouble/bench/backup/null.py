"""A repository that keeps nothing: what is left of a backup is reading."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stuntdouble.errors import InvalidState, Misuse, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.extents import Runs
    from stuntdouble.ports import RestorePoint


class NullRepository:
    """Implements ``ports.Repository`` but for reading: it knows its restore points, and no bytes."""

    def __init__(self) -> None:
        self._points: list[RestorePoint] = []
        self._begun = 0

    def begin(self, disks: dict[int, int], parent: str = "") -> NullDraft:
        """Start a restore point; NotFound where its parent is none of ours."""
        if parent and all(point.id != parent for point in self._points):
            raise NotFound("restore point", parent)
        self._begun += 1
        return NullDraft(self, f"null-{self._begun}", dict(disks), parent)

    def points(self) -> tuple[RestorePoint, ...]:
        """Return every committed restore point, oldest first."""
        return tuple(sorted(self._points, key=lambda point: point.moment))

    def read(self, point: str, disk: int, start: int, length: int) -> Iterator[memoryview]:
        """Raise InvalidState: nothing was kept."""
        request = f"read {length} bytes at {start} of disk {disk}"
        raise InvalidState(f"restore point {point}", "kept without its bytes", request)

    def delete(self, point: str) -> None:
        """Forget a restore point; NotFound if there is none."""
        left = [each for each in self._points if each.id != point]
        if len(left) == len(self._points):
            raise NotFound("restore point", point)
        self._points = left

    def keep(self, point: RestorePoint) -> None:
        """Take a restore point that has been committed."""
        self._points.append(point)


class NullDraft:
    """A restore point being written, of which the sizes are kept; implements ``ports.Draft``."""

    def __init__(
        self, repository: NullRepository, id_: str, disks: dict[int, int], parent: str
    ) -> None:
        self._repository = repository
        self._id = id_
        self._disks = disks
        self._parent = parent
        self._state = "open"
        self.bytes_written = 0

    def write(self, disk: int, offset: int, data: memoryview) -> None:
        """Count *data*."""
        self._check(disk, offset, offset + len(data))
        self.bytes_written += len(data)

    def zero(self, disk: int, runs: Runs) -> None:
        """Make sure that *runs* lie within the disk."""
        for start, length in runs:
            self._check(disk, start, start + length)

    def commit(self, point: RestorePoint) -> RestorePoint:
        """Keep the restore point, without its bytes."""
        self._check_open("commit")
        if {disk.key: disk.capacity_bytes for disk in point.disks} != self._disks:
            raise Misuse(f"restore point of {point.vm}", "its disks are not those of its draft")
        self._state = "committed"
        read = point.bytes_read or self.bytes_written
        kept = replace(point, id=self._id, parent=self._parent, bytes_read=read)
        self._repository.keep(kept)
        return kept

    def discard(self) -> None:
        """Forget the draft; idempotent, and without effect on a committed one."""
        if self._state == "open":
            self._state = "discarded"

    def _check(self, disk: int, start: int, stop: int) -> None:
        self._check_open("write")
        if disk not in self._disks:
            raise NotFound("disk of this draft", disk)
        if not 0 <= start <= stop <= self._disks[disk]:
            text = f"bytes {start} to {stop} are not within its {self._disks[disk]}"
            raise Misuse(f"disk {disk}", text)

    def _check_open(self, request: str) -> None:
        if self._state != "open":
            raise InvalidState("draft", self._state, request)
