"""Where a comparison goes: a directory that is there whole, as it was, or not at all.

    out/                     made when missing
    ├── .name.4711.partial/  built here, beside its final place, so that a rename can move it;
    │                        what killed processes have left of these is removed
    └── name/                result.json, index.html, repository/<method>/

An earlier comparison is replaced; anything else is refused before the run, not after it.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse
from stuntdouble.results.files import unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULT: Final = "result.json"
REPOSITORIES: Final = "repository"
REPOSITORY_HEADER: Final = "repository.json"

_OURS: Final = frozenset({RESULT, "index.html", REPOSITORIES})


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes *final* when the block ends without an error.

    Otherwise it is removed, and *final* and the directories above it are as they were.

    Raises:
        Misuse: *final* cannot be written, or holds what no comparison wrote.
    """
    target = final.resolve()
    _check(final, target)
    made: list[Path] = []
    lock: int | None = None
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        try:
            _make_parents(target.parent, made)
            _sweep(target)
            partial.mkdir()
            lock = _locked(partial)
        except OSError as error:
            raise unwritable(final, error) from error
        yield partial
        _check(final, target)  # somebody may have put something there meanwhile
        try:
            _put(partial, target)
        except OSError as error:
            raise unwritable(final, error) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in reversed(made):
            with suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
        raise
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def room_in(directory: Path) -> Iterator[None]:
    """Say that it is *directory* that has no room, where a run finds the disk full.

    Raises:
        Misuse: the disk of this machine is full; that is no outcome of the run.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise unwritable(directory, error) from error


def check_outside(path: Path, directory: Path) -> None:
    """Make sure, before a long run, that *path* survives its end.

    Raises:
        Misuse: it lies in *directory*, which will be replaced.
    """
    if path.resolve().is_relative_to(directory.resolve()):
        raise Misuse(str(path), f"lies in {directory}, which gets a {RESULT} of its own")


def _check(final: Path, target: Path) -> None:
    try:
        if not target.exists():
            return
        if not target.is_dir():
            raise Misuse(str(final), "is not a directory: choose another --out")
        if target.is_mount() or Path.cwd().is_relative_to(target):
            what = "is a mount point, the current directory or above it, and cannot be replaced"
            raise Misuse(str(final), f"{what}: name a directory inside it")
        foreign = _foreign(target)
    except OSError as error:
        raise unwritable(final, error) from error
    if foreign:
        names = ", ".join(foreign[:3]) + (" ..." if len(foreign) > 3 else "")
        raise Misuse(str(final), f"holds what no comparison wrote ({names}): choose another --out")


def _foreign(directory: Path) -> list[str]:
    """Return the names in *directory* that no comparison wrote; empty when it may be replaced."""
    names = sorted(entry.name for entry in directory.iterdir())
    foreign = [name for name in names if name not in _OURS]
    repositories = directory / REPOSITORIES
    if repositories.is_dir():
        foreign += [
            f"{REPOSITORIES}/{entry.name}"
            for entry in sorted(repositories.iterdir())
            if not (entry / REPOSITORY_HEADER).is_file()
        ]
    if names and not foreign and not _is_result(directory / RESULT):
        return names
    return foreign


def _is_result(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"schema_version", "scenario", "methods"} <= content.keys()


def _make_parents(folder: Path, made: list[Path]) -> None:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(exist_ok=True)
        made.append(parent)


def _sweep(target: Path) -> None:
    """Remove what comparisons that were killed have left beside *target*.

    Who is at work holds a lock on its directory, so a number used again, or one of another
    container, deceives nobody.
    """
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        with suppress(OSError):  # somebody is at work there, or it is gone by now
            lock = _locked(left)
            try:
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _locked(folder: Path) -> int:
    """Lock *folder* until the descriptor returned is closed; BlockingIOError where it is locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _put(partial: Path, target: Path) -> None:
    """Rename *partial* to *target*; what was there before is removed after it, or put back."""
    if not target.exists() or not any(target.iterdir()):
        partial.rename(target)  # over an empty directory as well
        return
    old = partial.with_suffix(".old")
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        old.rename(target)
        raise
    _remove(old)


def _remove(folder: Path) -> None:
    """Remove *folder*: files of gigabytes side by side, as each takes a processor for a while."""
    with suppress(OSError), ThreadPoolExecutor() as pool:
        for path in folder.rglob("*"):
            if not path.is_dir():
                pool.submit(path.unlink)
    shutil.rmtree(folder, ignore_errors=True)
