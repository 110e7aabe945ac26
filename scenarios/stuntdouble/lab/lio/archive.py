"""A cpio archive (newc), as the kernel unpacks it into its first root file system.

Archives may follow one another: a large one that is kept, and a small one with what is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAGIC: Final = "070701"
_TRAILER: Final = "TRAILER!!!"
_FILE, _FOLDER = 0o100000, 0o040000  # S_IFREG, S_IFDIR
_ALIGN: Final = 4  # Documentation/driver-api/early-userspace/buffer-format.rst


def archive(files: Mapping[str, bytes], programs: frozenset[str] = frozenset()) -> bytes:
    """Return an archive of *files* by path without a leading slash; *programs* may be executed."""
    rows = [_entry(folder, b"", _FOLDER | 0o755, 2) for folder in _folders(files)]
    for path, data in files.items():
        mode = 0o755 if path in programs else 0o644
        rows.append(_entry(path, data, _FILE | mode, 1))
    return b"".join([*rows, _entry(_TRAILER, b"", 0, 1)])


def padded(data: bytes) -> bytes:
    """Return an archive as another may follow it."""
    return data + bytes(-len(data) % _ALIGN)


def _folders(files: Mapping[str, bytes]) -> Iterator[str]:
    """Yield every directory above the files, each before what is in it."""
    found = set()
    for path in files:
        parts = path.split("/")[:-1]
        found |= {"/".join(parts[: i + 1]) for i in range(len(parts))}
    yield from sorted(found)


def _entry(name: str, data: bytes, mode: int, links: int) -> bytes:
    fields = (0, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = _MAGIC.encode() + b"".join(b"%08x" % field for field in fields)
    return padded(head + name.encode() + b"\0") + padded(data)
