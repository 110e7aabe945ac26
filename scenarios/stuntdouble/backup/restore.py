"""Bring the disk of a restore point back: to a file, or to a device.

Every byte is verified against its digest before it is written.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from stuntdouble.backup.files import explain, explained, sync_directory, write_all
from stuntdouble.backup.repository import capacity
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.backup.repository import Repository
    from stuntdouble.ports import BlockDevice

    Progress = Callable[[int, int], None]
    """Called with the bytes done and the bytes in all."""


def restore_to_file(
    repository: Repository,
    point: str,
    disk: int,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write *disk* of *point* to a raw, sparse file at *path*; return its size in bytes.

    It is written beside its final name, to a new file (``.partial`` appended, and a number
    where that exists), and renamed when it is whole and on disk, so *path* is never half a disk.
    Chunks of zeros take no space.

    Raises:
        Misuse: *path* exists and *force* is not set, is no regular file, or cannot be written.
        NotFound: no such restore point or disk.
        DigestMismatch: the repository's copy is damaged; nothing is left at *path*.
        NoSpace: the file does not fit.
    """
    final = Path(path)
    _check_target(final, force=force)
    size = capacity(repository.point(point), disk)
    partial, descriptor = _create_beside(final)
    try:
        try:
            with explained(partial):
                os.truncate(descriptor, size)
            _copy(repository, point, disk, size, partial, descriptor, progress)
            with explained(partial):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _check_target(final, force=force)  # somebody may have made it meanwhile
        with explained(final):
            os.replace(partial, final)  # noqa: PTH105  (see files.write_atomically)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    with explained(final):
        sync_directory(final.parent)
    return size


async def restore_to_device(
    repository: Repository,
    point: str,
    disk: int,
    device: BlockDevice,
    progress: Progress | None = None,
    *,
    blank: bool = False,
) -> int:
    """Write *disk* of *point* to *device*, from its first byte on; return its size in bytes.

    Zeros are written as well, because the device may hold something else; not so where it is
    *blank*, a new disk that reads as zeros: a thin one stays thin.  What is beyond the disk's
    capacity is left as it is.  A failure leaves the device partly written: write it again.

    Raises:
        Misuse: the device is smaller than the disk.
        NotFound, DigestMismatch: as for ``restore_to_file``.
    """
    size = capacity(repository.point(point), disk)
    if device.size_bytes < size:
        raise Misuse(
            f"device {device.identity}", f"has {device.size_bytes} bytes, the disk needs {size}"
        )
    done = 0
    zeros = b""
    for data in repository.read(point, disk, 0, size):
        if blank and len(zeros) != len(data):
            zeros = bytes(len(data))
        if not blank or data.tobytes() != zeros:
            await device.write(done, data)
        done += len(data)
        if progress is not None:
            progress(done, size)
    return done


def _copy(
    repository: Repository,
    point: str,
    disk: int,
    size: int,
    partial: Path,
    descriptor: int,
    progress: Progress | None,
) -> None:
    done = 0
    zeros = b""
    for data in repository.read(point, disk, 0, size):
        if len(zeros) != len(data):
            zeros = bytes(len(data))
        if data.tobytes() != zeros:  # a comparison of bytes is a memcmp; of views, a slow loop
            try:
                write_all(descriptor, data, done)
            except OSError as error:
                raise explain(partial, error, size - done) from error
        done += len(data)
        if progress is not None:
            progress(done, size)


def _create_beside(final: Path) -> tuple[Path, int]:
    """Create a file of a name that nobody has, next to *final*; return it and its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for number in count():
        suffix = f".{number}.partial" if number else ".partial"
        partial = final.with_name(final.name + suffix)
        with explained(partial), suppress(FileExistsError):
            return partial, os.open(partial, flags, 0o666)
    raise AssertionError


def _check_target(final: Path, *, force: bool) -> None:
    with explained(final):
        if final.is_symlink() or (final.exists() and not final.is_file()):
            raise Misuse(str(final), "is not a regular file: choose another name")
        if final.exists() and not force:
            raise Misuse(str(final), "exists: choose another name, or force it to be replaced")
