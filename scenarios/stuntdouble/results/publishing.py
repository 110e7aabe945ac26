"""Put a result on disk, each file whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.errors import Misuse
from stuntdouble.results.model import dump
from stuntdouble.results.page import page_html
from stuntdouble.results.remote import dump_remote

if TYPE_CHECKING:
    from pathlib import Path

    from stuntdouble.results.model import Result
    from stuntdouble.results.remote import RemoteResult


def publish(result: Result, directory: Path) -> list[Path]:
    """Write ``result.json`` and ``index.html`` into *directory*, and return their paths.

    The directory is made when missing.  Both files are written in full under other names before
    either is renamed, so that a reader sees an old file or a new one, never a torn one.

    Raises:
        Misuse: the directory cannot be written; no partial file is left in it.
    """
    return _published({"result.json": dump(result), "index.html": page_html(result)}, directory)


def publish_remote(result: RemoteResult, directory: Path) -> list[Path]:
    """Write ``result.json`` of a comparison on a served site; see ``publish``."""
    return _published({"result.json": dump_remote(result)}, directory)


def _published(texts: dict[str, str], directory: Path) -> list[Path]:
    targets = [directory / name for name in texts]
    parts = [target.with_name(f".{target.name}.part") for target in targets]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for target in targets:
            if target.is_dir():
                raise Misuse(str(target), "is a directory: choose another output directory")
        for part, text in zip(parts, texts.values(), strict=True):
            part.write_text(text, encoding="utf-8", newline="\n")
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)
    except OSError as error:
        _forget(parts)
        reason = error.strerror or type(error).__name__
        raise Misuse(str(directory), f"cannot write the report: {reason}") from error
    return targets


def _forget(parts: list[Path]) -> None:
    for part in parts:
        try:
            part.unlink(missing_ok=True)
        except OSError:
            # Whatever kept us from writing may keep us from tidying; the first error is told.
            continue
