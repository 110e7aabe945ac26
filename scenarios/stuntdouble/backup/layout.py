"""The directory of a repository: its header, its lock, and the numbers of its restore points."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from stuntdouble.backup.chunks import DIGEST
from stuntdouble.backup.files import explained, write_atomically
from stuntdouble.backup.manifest import file_stem, sealed, unsealed
from stuntdouble.errors import DigestMismatch, Misuse, TaskInProgress
from stuntdouble.units import MIB, SECTOR_BYTES

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = "stuntdouble repository"
VERSION: Final = 2
HEADER: Final = "repository.json"
LOCK: Final = "lock"
PARTS: Final = ("packs", "points", "drafts")
GONE: Final = ".gone"  # keeps the number of a deleted restore point from being given again
CHUNK_BYTES_MAX: Final = 64 * MIB  # a chunk is held in memory whole, several at a time

_NEW: Final = frozenset({LOCK, f"{HEADER}.tmp"})  # what a crash while creating may leave


def ensure_header(folder: Path, chunk_bytes: int) -> int:
    """Make *folder* a repository unless it is one; return the size of its chunks.

    Raises:
        Misuse: it is something else, not writable, or of a newer format.
        DigestMismatch: its header is damaged.
    """
    path = folder / HEADER
    with explained(folder):
        if folder.exists() and not folder.is_dir():
            raise Misuse(str(folder), "is not a directory: choose another place")
        if not path.exists():
            _create(folder, chunk_bytes)
        data = path.read_bytes()
    facts, length = unsealed(data, path, FORMAT, VERSION)
    if length != len(data):
        raise DigestMismatch(str(path), f"of {length} bytes", f"of {len(data)} bytes")
    return int(facts["chunk_bytes"])


def _create(folder: Path, chunk_bytes: int) -> None:
    if chunk_bytes % SECTOR_BYTES or not 0 < chunk_bytes <= CHUNK_BYTES_MAX:
        raise Misuse(f"chunks of {chunk_bytes} B", "use a multiple of 512 B, 64 MiB at most")
    folder.mkdir(parents=True, exist_ok=True)
    if any(path.name not in _NEW for path in folder.iterdir()):
        wanted = "choose an empty directory or an existing repository"
        raise Misuse(str(folder), f"is in use and has no {HEADER}: {wanted}")
    facts = {"format": FORMAT, "version": VERSION, "digest": DIGEST, "chunk_bytes": chunk_bytes}
    header = sealed(facts)
    write_atomically(folder / f"{HEADER}.tmp", folder / HEADER, header, durable=True)


class WriterLock:
    """The right to write: one process, and within it one ``Repository``, has it at a time.

    It is the kernel's lock on a file, so it ends with its process, however that ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether we have it."""
        return self._descriptor is not None

    def take(self) -> None:
        """Take the lock and remove what drafts of a crashed process left.

        Raises:
            TaskInProgress: another has it.
            Misuse: the repository cannot be written.
        """
        assert not self.held
        with explained(self._folder):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._folder / LOCK, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for name in PARTS:
                    (self._folder / name).mkdir(exist_ok=True)
                for leftover in (self._folder / "drafts").iterdir():
                    leftover.unlink()
            except BlockingIOError:
                os.close(descriptor)
                raise TaskInProgress(f"repository {self._folder}", "another writer") from None
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor

    def give_back(self) -> None:
        """Let others write; idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def next_id(points: Path, vm: str, method: str) -> str:
    """Return ``<vm>-<method>-<number>``, one above the highest number ever given there."""
    series = f"{vm}-{method}-"
    return f"{series}{max(_numbers(points).get(file_stem(series), [0])) + 1}"


def forget_numbers(points: Path) -> None:
    """Forget the numbers of deleted restore points below the highest of their series."""
    numbers = _numbers(points)
    for path in points.glob(f"*{GONE}"):
        series, dash, number = path.stem.rpartition("-")
        if not number.isdecimal() or int(number) < max(numbers[series + dash]):
            path.unlink()


def _numbers(points: Path) -> dict[str, list[int]]:
    """Return the numbers that file names tell of, deleted restore points' too, by series."""
    numbers: dict[str, list[int]] = {}
    for path in points.iterdir():
        series, dash, number = path.stem.rpartition("-")
        if number.isdecimal():
            numbers.setdefault(series + dash, []).append(int(number))
    return numbers
