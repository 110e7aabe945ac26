"""Restore points in a directory: chunks in packs, a manifest per restore point.

    repository.json     what this directory is, and the size of its chunks
    lock                held by the one process that writes
    packs/              chunks, see ``chunks``; no pack changes once it is there
    points/             one manifest per restore point, see ``manifest``
    drafts/             what is being written; of no value after a crash

A commit puts the packs on disk, moves them to ``packs/``, and last of all renames the manifest
into ``points/``: that rename is the commit.  Whatever happens before it leaves at most packs that
no manifest names, which ``collect`` removes.  Reading needs no lock.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from stuntdouble.backup.chunks import (
    CHUNK_BYTES,
    DIGEST_BYTES,
    HOLE,
    LEVEL,
    PACK_BYTES,
    ChunkStore,
    ChunkWriter,
    Codec,
)
from stuntdouble.backup.draft import Draft
from stuntdouble.backup.files import explained, sync_directory, write_atomically
from stuntdouble.backup.layout import GONE, WriterLock, ensure_header, forget_numbers, next_id
from stuntdouble.backup.manifest import (
    SUFFIX,
    Manifest,
    encode,
    file_stem,
    read_manifest,
    read_point,
)
from stuntdouble.errors import DigestMismatch, Error, InvalidState, Misuse, NotFound, TaskInProgress
from stuntdouble.extents import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from stuntdouble.ports import RestorePoint

_CACHED_MAX: Final = 4  # manifests in memory: 128 MiB each per TiB of disk


class Repository:
    """Restore points on disk; implements ``ports.Repository``.

    Any number of processes may read.  One writes: it holds the lock while a draft is open, and
    may have several drafts open at a time.
    """

    def __init__(
        self, path: Path, chunk_bytes: int, level: int, pack_bytes: int, *, durable: bool
    ) -> None:
        """Do not call this: use ``open``."""
        self.path = path
        self._durable = durable
        self.chunk_bytes = chunk_bytes
        self._pack_bytes = pack_bytes
        self._codec = Codec(chunk_bytes, level)
        self._store = ChunkStore(path / "packs")
        self._drafts: list[Draft] = []
        self._drafts_begun = 0
        self._lock = WriterLock(path)
        self._cached: dict[str, Manifest] = {}

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        *,
        chunk_bytes: int | None = None,
        level: int = LEVEL,
        pack_bytes: int = PACK_BYTES,
        durable: bool = True,
    ) -> Repository:
        """Open the repository at *path*, or create one where there is nothing or nothing in it.

        What drafts of a crashed process left is removed, unless another process is writing.
        *chunk_bytes* is fixed when the repository is created (256 KiB unless given, a multiple of
        512 B); *level* of compression and *pack_bytes* may differ each time.  Without *durable* the
        system chooses when what is committed reaches the disk: it outlives this process, and may
        be lost, and found damaged, when the machine fails.

        Raises:
            Misuse: *path* is something else, not writable, of a newer format, or has chunks of
                another size than *chunk_bytes*.
        """
        folder = Path(path)
        present = ensure_header(folder, chunk_bytes or CHUNK_BYTES)
        if chunk_bytes not in {None, present}:
            raise Misuse(str(folder), f"has chunks of {present} B, not of {chunk_bytes} B")
        repository = Repository(folder, present, level, pack_bytes, durable=durable)
        repository._store.refresh()
        repository._clean_if_free()
        return repository

    def begin(self, disks: dict[int, int], parent: str = "") -> Draft:
        """Start a restore point of disks {key: capacity in bytes}.

        What is not written reads as in *parent*, or as zeros where there is none (no parent, a
        disk it does not have, or beyond the end of a smaller one).

        Raises:
            TaskInProgress: another process is writing.
            NotFound: no such parent.
        """
        if any(capacity < 0 for capacity in disks.values()):
            raise Misuse("disks of a restore point", "their capacities must be 0 bytes or more")
        self._hold()
        try:
            # Under the lock: otherwise a collection could remove what the parent names.
            below = self._manifest(parent) if parent else None
            writer = self._writer(f"{self._drafts_begun}")
            draft = Draft(disks, below, self._codec, self._store, writer, self._finish)
        except BaseException:
            self._let_go()
            raise
        self._drafts_begun += 1
        self._drafts.append(draft)
        return draft

    def points(self) -> tuple[RestorePoint, ...]:
        """Return every committed restore point, oldest first.

        Raises:
            DigestMismatch: a manifest is damaged.  It is not left out in silence; it can be
                deleted by its id, and the others can be read meanwhile.
        """
        return tuple(
            sorted(
                (read_point(path) for path in self._manifest_paths()),
                key=lambda point: (point.moment, point.id),
            )
        )

    def point(self, id_: str) -> RestorePoint:
        """Return one restore point, its manifest verified; NotFound if there is none."""
        return self._manifest(id_).point

    def read(self, point: str, disk: int, start: int, length: int) -> Iterator[memoryview]:
        """Yield the bytes of a disk, verified against their digests, in rising order.

        One view per chunk, valid until the next is asked for.

        Raises:
            NotFound: no such restore point or disk.
            DigestMismatch: a chunk is damaged or missing; names its file and the restore point.
        """
        manifest = self._manifest(point)
        size = capacity(manifest.point, disk)
        if not (0 <= start <= start + length <= size):
            raise Misuse(
                f"disk {disk} of {point}",
                f"bytes {start} to {start + length} are not within its {size}",
            )
        return self._read(manifest, disk, start, start + length)

    def stored(self, point: str, disk: int) -> Runs:
        """Return where a disk has chunks; everywhere else it reads as zeros.

        Raises:
            NotFound: no such restore point or disk.
        """
        manifest = self._manifest(point)
        size = capacity(manifest.point, disk)
        names = np.frombuffer(manifest.maps[disk], np.uint64).reshape(-1, DIGEST_BYTES // 8)
        starts = np.flatnonzero(names.any(axis=1)) * self.chunk_bytes
        return Runs.from_arrays(starts, np.full_like(starts, self.chunk_bytes)).clip(0, size)

    def delete(self, point: str) -> None:
        """Delete a restore point; the others stay whole.  NotFound if there is none.

        Its space comes back with the next ``collect``.
        """
        path = self._path(point)
        with self._writing(), explained(path):
            if not path.exists():
                raise NotFound("restore point", point)
            path.with_name(path.name.removesuffix(SUFFIX) + GONE).touch()
            path.unlink()
            sync_directory(path.parent)
            self._cached.pop(point, None)

    def collect(self) -> int:
        """Remove the chunks that no restore point names; return the bytes given back.

        A pack with dead chunks is replaced by one with the rest before it is removed, so this
        needs free space for one pack at a time.

        Raises:
            TaskInProgress: a draft is open, here or in another process.
            DigestMismatch: a manifest or pack is damaged, so what is dead cannot be told.
        """
        with self._writing():
            if self._drafts:
                raise TaskInProgress(f"repository {self.path}", "an open draft")
            for mismatch in self._store.damaged.values():
                raise mismatch
            live = {
                digest
                for path in self._manifest_paths()
                for digest in _named(read_manifest(path, self.chunk_bytes))
            }
            with explained(self.path):
                forget_numbers(self.path / "points")
                return sum(self._collect_pack(pack, live) for pack in self._store.packs())

    def verify(self) -> list[str]:
        """Read everything and return a line per problem; an empty list means all is well."""
        self._store.refresh()
        problems = [str(mismatch) for mismatch in self._store.damaged.values()]
        bad: set[bytes] = set()
        with explained(self.path):
            for pack in self._store.packs():
                if not self._store.intact(pack):
                    problems.append(f"{self.path / 'packs' / pack}: is not what it was named after")
                bad.update(digest for digest in self._store.chunks(pack) if not self._good(digest))
            for path in self._manifest_paths():
                problems.extend(self._verify_point(path, bad))
        return problems

    def close(self) -> None:
        """Discard open drafts and let go of the lock and files; idempotent."""
        for draft in tuple(self._drafts):
            draft.discard()
        self._store.close()
        self._cached.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    # Committing

    def _finish(self, draft: Draft, point: RestorePoint | None) -> RestorePoint | None:
        """Commit *draft* as *point*, or drop it when there is none."""
        if point is not None:
            if not point.id:
                with explained(self.path):
                    id_ = next_id(self.path / "points", point.vm, point.method)
                point = replace(point, id=id_)
            path = self._path(point.id)
            if path.exists():
                raise InvalidState(f"restore point {point.id}", "committed", "write it again")
            manifest = Manifest(point, draft.maps())
            with explained(self.path):
                draft.writer.publish(self.path / "packs")
                temporary = self.path / "drafts" / path.name
                write_atomically(temporary, path, encode(manifest), durable=self._durable)
            self._store.refresh()
        self._drafts.remove(draft)
        draft.writer.close()
        self._let_go()
        return point

    def _writer(self, stem: str) -> ChunkWriter:
        return ChunkWriter(self.path / "drafts", stem, self._pack_bytes, durable=self._durable)

    # Reading

    def _read(self, manifest: Manifest, disk: int, start: int, stop: int) -> Iterator[memoryview]:
        chunk_bytes = self.chunk_bytes
        digests = manifest.maps[disk]
        zeros = memoryview(bytes(chunk_bytes))
        where = f"disk {disk} of restore point {manifest.point.id}"
        while start < stop:
            index, skip = divmod(start, chunk_bytes)
            digest = digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
            plain = zeros if digest == HOLE else memoryview(self._chunk(digest, where))
            piece = plain[skip : skip + stop - start]
            yield piece
            start += len(piece)

    def _chunk(self, digest: bytes, where: str) -> bytes:
        frame, path = self._store.frame(digest, where)
        return self._codec.decode(frame, digest, f"{path}, {where}")

    def _manifest(self, point: str) -> Manifest:
        path = self._path(point)
        manifest = self._cached.pop(point, None)
        with explained(path):
            if not path.exists():
                raise NotFound("restore point", point)
            if manifest is None:
                manifest = read_manifest(path, self.chunk_bytes)
        while len(self._cached) >= _CACHED_MAX:
            del self._cached[next(iter(self._cached))]
        self._cached[point] = manifest
        return manifest

    def _path(self, point: str) -> Path:
        return self.path / "points" / (file_stem(point) + SUFFIX)

    def _manifest_paths(self) -> list[Path]:
        with explained(self.path):
            return sorted((self.path / "points").glob(f"*{SUFFIX}"))

    # Verifying and collecting

    def _good(self, digest: bytes) -> bool:
        try:
            self._chunk(digest, "")
        except DigestMismatch:
            return False
        return True

    def _verify_point(self, path: Path, bad: set[bytes]) -> Iterator[str]:
        try:
            manifest = read_manifest(path, self.chunk_bytes)
        except Error as error:
            yield str(error)
            return
        if self._path(manifest.point.id) != path:
            yield f"{path}: is the restore point {manifest.point.id}"
        named = _named(manifest)
        for what, digests in (
            ("missing", {digest for digest in named if digest not in self._store}),
            ("damaged", named & bad),
        ):
            if digests:
                chunks = ", ".join(digest.hex() for digest in sorted(digests)[:3])
                yield f"{path}: {len(digests)} chunks are {what}: {chunks}"

    def _collect_pack(self, pack: str, live: set[bytes]) -> int:
        kept = [digest for digest in self._store.chunks(pack) if digest in live]
        if len(kept) == self._store.count(pack):
            return 0
        old = self.path / "packs" / pack
        size = old.stat().st_size
        writer = self._writer("collect")
        try:
            for digest in kept:
                writer.add(digest, self._store.frame(digest, "collect")[0])
            names = writer.publish(old.parent)
        finally:
            writer.close()
        old.unlink()
        sync_directory(old.parent)
        self._store.refresh()
        return size - sum((old.parent / name).stat().st_size for name in names)

    # The lock

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._hold()
        try:
            yield
        finally:
            self._let_go()

    def _hold(self) -> None:
        """Take the lock, unless this repository has it; TaskInProgress when another has."""
        if not self._lock.held:
            self._lock.take()
            # Another writer may have collected since: a chunk it removed must be stored again.
            self._store.refresh()

    def _let_go(self) -> None:
        if not self._drafts:
            self._lock.give_back()

    def _clean_if_free(self) -> None:
        try:
            with self._writing():
                pass
        except (TaskInProgress, Misuse):
            return  # being written to, or read-only: nothing to clean, or nothing that could


def capacity(point: RestorePoint, disk: int) -> int:
    """Return the bytes of *disk* in *point*; NotFound if it has no such disk."""
    for known in point.disks:
        if known.key == disk:
            return known.capacity_bytes
    raise NotFound(f"disk of restore point {point.id}", disk)


def _named(manifest: Manifest) -> set[bytes]:
    """Return the chunks that *manifest* names."""
    named = {
        digests[start : start + DIGEST_BYTES]
        for digests in manifest.maps.values()
        for start in range(0, len(digests), DIGEST_BYTES)
    }
    return named - {HOLE}
