"""Files that are there entirely or not at all, and disk errors in one clear line."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stuntdouble.errors import Error, Misuse, NoSpace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def explain(path: Path, error: OSError, needed: int = 0) -> Error:
    """Return the error of ours that says what *error* means for the user of *path*."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        return NoSpace(str(path), needed, shutil.disk_usage(there).free)
    reason = error.strerror or str(error)
    return Misuse(str(path), f"cannot be used ({reason}): choose a place that can")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the OSErrors of a block into errors that name *path*."""
    try:
        yield
    except OSError as error:
        raise explain(path, error) from error


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of *data* at *offset*: the system call may stop early."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest = rest[written:]
        offset += written


def sync_directory(path: Path) -> None:
    """Make renames and removals in *path* survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(temporary: Path, final: Path, data: bytes, *, durable: bool) -> None:
    """Write *data* to *final* by way of *temporary*; a reader sees all of it or nothing.

    The rename is the moment it becomes visible.  If *durable*, the data is on disk before and the
    name after; else the system chooses when that is.
    """
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        write_all(descriptor, data, 0)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, final)  # noqa: PTH105  (beside fsync: the whole commit in one vocabulary)
    if durable:
        sync_directory(final.parent)
