"""Chunks of disks, compressed, named by their digest and kept in pack files.

    pack   [magic | frame | frame | ... | frame | entries | digest of entries, count, magic]
    entry  [digest of the plain chunk: 32 | offset of its frame: 8 | length of its frame: 4]

One pack per draft (several when it grows beyond ``PACK_BYTES``) instead of one file per chunk:
a commit then costs a few fsyncs rather than thousands.  A pack is never changed once it has its
final name, which is the digest of its bytes.  The format is described in
``docs/repository-format.md``.
"""

from __future__ import annotations

import os
import struct
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import zstandard
from blake3 import blake3

from stuntdouble.backup.files import explain, explained, sync_directory, write_all
from stuntdouble.errors import DigestMismatch
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES: Final = 256 * KIB  # four grains of changed block tracking; 32 B of digest per chunk
PACK_BYTES: Final = 256 * MIB  # what a collection may have to rewrite for one dead chunk
LEVEL: Final = -5
"""zstd's level.  On 256 KiB of rendered content, of which a half cannot be compressed, one core gave
0.482 of the size at 3.4 GB/s; level -1 0.478 at 1.9, level 1 0.478 at 1.3, level 3 0.476 at 0.7.
"""
DIGEST: Final = "blake3"  # what every digest of a repository is, as its files say
DIGEST_BYTES: Final = 32
HOLE: Final = bytes(DIGEST_BYTES)  # stands for a chunk of zeros, which is never stored
SUFFIX: Final = ".pack"

_MAGIC: Final = b"SDPACK2\n"
_WORD_OF_ZEROS: Final = bytes(8)
_ENTRY: Final = struct.Struct("<32sQI")
_TRAILER: Final = struct.Struct("<32sQ8s")


class Place(NamedTuple):
    """Where a frame lies in its pack."""

    offset: int
    length: int


def digest_of(data: bytes | bytearray | memoryview) -> bytes:
    """Return the digest that names *data*.

    BLAKE3 rather than SHA-256: on chunks of 256 KiB one core gave 7.6 GB/s against 2.0 GB/s, that
    with the processor's SHA instructions.
    """
    return blake3(data).digest()


class _Tools(threading.local):
    """What compresses: a set for each thread, as none may be used by two at a time."""

    def __init__(self, level: int) -> None:
        self.compressor = zstandard.ZstdCompressor(level=level)
        self.decompressor = zstandard.ZstdDecompressor()


class Codec:
    """Plain chunks of one size to frames and back, verified."""

    def __init__(self, chunk_bytes: int, level: int = LEVEL) -> None:
        self.chunk_bytes = chunk_bytes
        self._tools = _Tools(level)

    def name(self, plain: bytes | bytearray | memoryview) -> bytes:
        """Return the digest of *plain*, or HOLE when it is all zeros."""
        assert len(plain) == self.chunk_bytes
        # What is not zeros seldom begins with them: most chunks are not looked at twice.
        zeros = plain[:8] == _WORD_OF_ZEROS and not np.frombuffer(plain, np.uint64).max()
        return HOLE if zeros else digest_of(plain)

    def encode(self, plain: bytes | bytearray | memoryview) -> bytes:
        """Return the frame of *plain*."""
        return self._tools.compressor.compress(plain)

    def decode(self, frame: bytes, digest: bytes, where: str) -> bytes:
        """Return the chunk in *frame*; DigestMismatch names *where* if it is not *digest*'s."""
        try:
            # Asked first: a damaged header could claim any size, and have it allocated.
            if zstandard.get_frame_parameters(frame).content_size != self.chunk_bytes:
                raise DigestMismatch(where, digest.hex(), "unknown (not a chunk)")
            plain = self._tools.decompressor.decompress(frame)
        except zstandard.ZstdError as error:
            raise DigestMismatch(where, digest.hex(), "unknown (not a zstd frame)") from error
        found = digest_of(plain)
        if found != digest:
            raise DigestMismatch(where, digest.hex(), found.hex())
        return plain


class _Pack:
    """A pack being written under a temporary name."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self._durable = durable
        self.entries: dict[bytes, Place] = {}
        self.sealed = False
        self._hash = blake3()
        with explained(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o666)
        self.size = 0
        try:
            self._append(_MAGIC)
        except BaseException:
            os.close(self._descriptor)
            path.unlink()
            raise

    def add(self, digest: bytes, frame: bytes) -> None:
        """Append a frame."""
        place = Place(self.size, len(frame))
        self._append(frame)
        self.entries[digest] = place

    def frame(self, place: Place) -> bytes:
        """Return the frame at *place*."""
        return os.pread(self._descriptor, place.length, place.offset)

    def seal(self) -> None:
        """Append the entries and put everything on disk, if durable; the pack is complete."""
        if self.sealed:
            return
        index = b"".join(_ENTRY.pack(name, *place) for name, place in self.entries.items())
        end = index + _TRAILER.pack(digest_of(index), len(self.entries), _MAGIC)
        with explained(self.path):
            write_all(self._descriptor, end, self.size)
            if self._durable:
                os.fsync(self._descriptor)
        self._hash.update(end)
        self.sealed = True

    @property
    def name(self) -> str:
        """The final name: the digest of the bytes of the sealed pack."""
        assert self.sealed
        return self._hash.hexdigest() + SUFFIX

    def publish(self, folder: Path) -> None:
        """Give the sealed pack its final name."""
        with explained(folder / self.name):
            os.replace(self.path, folder / self.name)  # noqa: PTH105  (see files.write_atomically)

    def close(self) -> None:
        os.close(self._descriptor)

    def _append(self, data: bytes) -> None:
        # At the size of what is known to be good: a write that failed half-way is overwritten.
        try:
            write_all(self._descriptor, data, self.size)
        except OSError as error:
            raise explain(self.path, error, len(data)) from error
        self._hash.update(data)
        self.size += len(data)


class ChunkWriter:
    """Chunks being added: readable by whoever adds them, nobody else's before ``publish``."""

    def __init__(
        self, folder: Path, stem: str, pack_bytes: int = PACK_BYTES, *, durable: bool = True
    ) -> None:
        self._folder = folder
        self._stem = stem
        self._pack_bytes = pack_bytes
        self._durable = durable
        self._packs: list[_Pack] = []
        self._published = 0
        self._where: dict[bytes, _Pack] = {}
        self.bytes_stored = 0

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._where

    def add(self, digest: bytes, frame: bytes) -> None:
        """Append *frame*; NoSpace when the disk is full, and nothing is lost but that frame."""
        pack = self._packs[-1] if self._packs else None
        if pack is None or pack.sealed or pack.size + len(frame) > self._pack_bytes:
            if pack is not None:
                pack.seal()
            path = self._folder / f"{self._stem}-{len(self._packs)}{SUFFIX}"
            pack = _Pack(path, durable=self._durable)
            self._packs.append(pack)
        pack.add(digest, frame)
        self._where[digest] = pack
        self.bytes_stored += len(frame)

    def frame(self, digest: bytes) -> bytes:
        """Return the frame of a chunk added before."""
        pack = self._where[digest]
        return pack.frame(pack.entries[digest])

    def publish(self, folder: Path) -> list[str]:
        """Move every pack to *folder*, complete and, if durable, on disk; return their names there.

        After a failure it may be called again.
        """
        for pack in self._packs[self._published :]:
            pack.seal()
            pack.publish(folder)
            self._published += 1
        if self._durable:
            with explained(folder):
                sync_directory(folder)
        return [pack.name for pack in self._packs]

    def close(self) -> None:
        """Forget what was not published; idempotent."""
        for number, pack in enumerate(self._packs):
            pack.close()
            if number >= self._published:
                pack.path.unlink(missing_ok=True)
        self._packs.clear()
        self._where.clear()
        self._published = 0


class ChunkStore:
    """The published packs of a repository and an index over them.

    The index takes about 0.2 KiB of memory per chunk, or 0.8 GiB per TiB of unlike chunks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, dict[bytes, Place]] = {}  # by pack
        self._index: dict[bytes, str] = {}  # chunk -> pack
        self._open: dict[str, int] = {}
        self.damaged: dict[str, DigestMismatch] = {}
        """Packs whose entries cannot be read, with the reason."""

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._index

    def refresh(self) -> None:
        """Take notice of packs that were added or removed, by this process or another."""
        with explained(self._folder):
            present = sorted(path.name for path in self._folder.glob(f"*{SUFFIX}"))
        known = {name: entries for name, entries in self._entries.items() if name in set(present)}
        if len(known) < len(self._entries):
            self._index.clear()
            for name, entries in known.items():
                self._index.update(dict.fromkeys(entries, name))
            self.close()
        self._entries = known
        self.damaged.clear()
        for name in present:
            if name not in known:
                self._load(name)

    def packs(self) -> tuple[str, ...]:
        """Return the names of the packs, sorted: those damaged as well."""
        return tuple(sorted((*self._entries, *self.damaged)))

    def chunks(self, pack: str) -> Iterator[bytes]:
        """Yield the chunks that the index finds in *pack*, in their order there."""
        entries = self._entries.get(pack, {})
        return (digest for digest in entries if self._index[digest] == pack)

    def count(self, pack: str) -> int:
        """Return how many chunks lie in *pack*, found by the index or not."""
        return len(self._entries[pack])

    def frame(self, digest: bytes, where: str) -> tuple[bytes, str]:
        """Return a chunk's frame and its pack's path; DigestMismatch when it is missing.

        Another process may have moved the chunk to a new pack, so a miss is looked up again.
        """
        for attempt in range(2):
            pack = self._index.get(digest)
            if pack is not None:
                place = self._entries[pack][digest]
                try:
                    frame = os.pread(self._descriptor(pack), place.length, place.offset)
                except FileNotFoundError:
                    frame = b""
                if len(frame) == place.length:
                    return frame, f"{self._folder}/{pack}"
            if attempt == 0:
                self.refresh()
        raise DigestMismatch(f"{self._folder}, {where}", digest.hex(), "absent (chunk missing)")

    def intact(self, pack: str) -> bool:
        """Whether the bytes of *pack* are those it is named after."""
        return blake3().update_mmap(self._folder / pack).hexdigest() + SUFFIX == pack

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _descriptor(self, pack: str) -> int:
        if pack not in self._open:
            if len(self._open) >= 64:  # of the usual 1,024 per process
                os.close(self._open.pop(next(iter(self._open))))
            self._open[pack] = os.open(self._folder / pack, os.O_RDONLY | os.O_CLOEXEC)
        return self._open[pack]

    def _load(self, name: str) -> None:
        try:
            entries = _read_entries(self._folder / name)
        except DigestMismatch as mismatch:
            self.damaged[name] = mismatch
            return
        self._entries[name] = entries
        self._index.update(dict.fromkeys(entries, name))


def _read_entries(path: Path) -> dict[bytes, Place]:
    """Return the entries at the end of a pack; DigestMismatch when they are damaged."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _TRAILER.size))
        trailer = file.read()
        if len(trailer) < _TRAILER.size or not trailer.endswith(_MAGIC):
            raise DigestMismatch(str(path), path.stem, "unknown (not a whole pack)")
        expected, count, _ = _TRAILER.unpack(trailer)
        start = size - _TRAILER.size - count * _ENTRY.size
        if start < len(_MAGIC):
            raise DigestMismatch(f"{path}, entries", expected.hex(), "unknown (too few)")
        file.seek(start)
        index = file.read(count * _ENTRY.size)
    if digest_of(index) != expected:
        raise DigestMismatch(f"{path}, entries", expected.hex(), digest_of(index).hex())
    return {name: Place(offset, length) for name, offset, length in _ENTRY.iter_unpack(index)}
