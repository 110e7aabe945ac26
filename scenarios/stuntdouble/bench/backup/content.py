"""What the disk of a guest holds: bytes of the files of this machine's Python.

A digest or a compressor is as fast as its content lets it be.  Programs and their text are what a
system disk is full of; they leave about 0.4 of their size.  Each chunk is a stretch of them from
a place of its own, so that no two chunks are alike.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import Misuse
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES: Final = 256 * KIB
"""What is written in one place: a chunk of a repository."""

_CORPUS_BYTES: Final = 64 * MIB
_CORPUS_BYTES_MIN: Final = 4 * MIB  # a smaller one would repeat itself within a chunk's window
_SUFFIXES: Final = frozenset({".py", ".so"})


def corpus(folder: Path | None = None) -> memoryview:
    """Return the files of a folder, Python's own unless one is given, one after the other.

    Raises:
        Misuse: there are too few of them.
    """
    where = folder or Path(sysconfig.get_path("stdlib"))
    found = bytearray()
    for path in sorted(where.rglob("*")):
        if path.suffix in _SUFFIXES and path.is_file():
            found += path.read_bytes()
        if len(found) >= _CORPUS_BYTES:
            break
    if len(found) < _CORPUS_BYTES_MIN:
        text = f"{len(found)} bytes of .py and .so files: {_CORPUS_BYTES_MIN} are needed"
        raise Misuse(str(where), text)
    return memoryview(bytes(found[:_CORPUS_BYTES]))


def pieces(files: memoryview, count: int, draw: np.random.Generator) -> Iterator[memoryview]:
    """Yield stretches of *files* of ``PIECE_BYTES`` from places that *draw* says."""
    for at in draw.integers(0, len(files) - PIECE_BYTES, count).tolist():
        yield files[at : at + PIECE_BYTES]
