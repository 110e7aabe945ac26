"""The repository of a comparison lies on the disk of this machine, which may be full.

That is no outcome of the method under test: the job fails, as it would, and the run ends.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from stuntdouble.errors import NoSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.backup.repository import Repository
    from stuntdouble.extents import Runs
    from stuntdouble.ports import Draft, RestorePoint


class Hosted:
    """Implements ``ports.Repository`` over a repository; ``full`` keeps the first want of room."""

    def __init__(self, repository: Repository) -> None:
        self.full: OSError | None = None
        self._repository = repository

    def begin(self, disks: dict[int, int], parent: str = "") -> HostedDraft:
        """Start a restore point; see ``ports.Repository``."""
        with self.watched():
            return HostedDraft(self, self._repository.begin(disks, parent))

    def points(self) -> tuple[RestorePoint, ...]:
        """Return every committed restore point, oldest first."""
        return self._repository.points()

    def read(self, point: str, disk: int, start: int, length: int) -> Iterator[memoryview]:
        """Yield the bytes of a disk, verified, in rising order."""
        return self._repository.read(point, disk, start, length)

    def delete(self, point: str) -> None:
        """Delete a restore point."""
        self._repository.delete(point)

    def check(self) -> None:
        """Raise what this machine said when its disk was full."""
        if self.full is not None:
            raise self.full

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Remember that the disk of this machine was full."""
        try:
            yield
        except NoSpace as error:
            if self.full is None and isinstance(error.__cause__, OSError):
                self.full = error.__cause__
            raise


class HostedDraft:
    """Implements ``ports.Draft``."""

    def __init__(self, host: Hosted, draft: Draft) -> None:
        self._host = host
        self._draft = draft

    def write(self, disk: int, offset: int, data: memoryview) -> None:
        """Store *data* at *offset* of *disk*."""
        with self._host.watched():
            self._draft.write(disk, offset, data)

    def zero(self, disk: int, runs: Runs) -> None:
        """Say that *runs* of *disk* read as zeros."""
        with self._host.watched():
            self._draft.zero(disk, runs)

    def commit(self, point: RestorePoint) -> RestorePoint:
        """Make the restore point visible; return it with sizes filled in."""
        with self._host.watched():
            return self._draft.commit(point)

    def discard(self) -> None:
        """Forget the draft; idempotent."""
        self._draft.discard()
