"""A file that somebody asked for: looked at before a long run, and written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from pathlib import Path


def check_file(path: Path) -> None:
    """Make sure, before a long run, that *path* can be written.

    Raises:
        Misuse: it is a directory or not writable.
    """
    if path.is_dir():
        raise Misuse(str(path), "is a directory: name a file")
    if not path.parent.is_dir():
        raise Misuse(str(path.parent), "there is no such directory: make it first")
    if not os.access(path if _is_special(path) else path.parent, os.W_OK):
        raise Misuse(str(path), "cannot be written: choose another place")


def write_whole(path: Path, text: str) -> None:
    """Write *text* to *path* so that a reader sees all of it or none; a device is written to.

    Raises:
        Misuse: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if _is_special(path):
            path.write_text(text, encoding="utf-8")
            return
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def unwritable(path: Path, error: OSError) -> Misuse:
    """Return the error that says in one line why *path* cannot be written."""
    reason = error.strerror or type(error).__name__
    return Misuse(str(path), f"cannot be written ({reason}): choose another place")


def _is_special(path: Path) -> bool:
    """Return whether *path* is a device or pipe, which a rename would replace by a file."""
    return path.exists() and not path.is_file()
