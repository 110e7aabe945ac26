"""A full backup over iSCSI, by turns with what bounds it.

into nothing   the whole job, against ``qemu-img convert`` of the same ranges to a raw file
into packs     copying until the restore point is committed, against digests and compression of the
               same bytes that lie in memory, by one thread: as many as the backup stores with
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from blake3 import blake3

from stuntdouble.backup.chunks import CHUNK_BYTES, Codec
from stuntdouble.backup.repository import Repository
from stuntdouble.bench.backup import qemu
from stuntdouble.bench.backup.content import PIECE_BYTES, corpus
from stuntdouble.bench.backup.null import NullRepository
from stuntdouble.bench.backup.rig import Rig
from stuntdouble.bench.backup.served import FILES, RENDERED, fast_folder, served
from stuntdouble.bench.figures import Goal
from stuntdouble.bench.iscsi.loopback import Loopback
from stuntdouble.errors import DigestMismatch, Misuse
from stuntdouble.ports import Kind
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from contextlib import ExitStack

    from stuntdouble.bench.backup.rig import Job
    from stuntdouble.bench.figures import Figures

FULL: Final = "full"
MIB_OF_DISK: Final = 1024
QUICK_MIB: Final = 64

_RATIO_MIN: Final = 0.8
_OF_QEMU: Final = "into nothing: of qemu-img's"
_OF_COMPRESSION: Final = "into packs: of compression alone"
_OF_COMPRESSION_RENDERED: Final = "into packs, rendered content: of compression alone"
_SEED: Final = 1


class Full:
    """Full backups of a VM whose disk is in use from end to end.

    Args:
        quick: a small disk.
    """

    name = FULL

    def __init__(self, *, quick: bool = False) -> None:
        self._mib = QUICK_MIB if quick else MIB_OF_DISK
        self._missing = qemu.missing()
        self._loopback = Loopback(quick=True)
        self._verified = False
        self._plain: dict[str, memoryview] = {}
        self._sources: list[str] = []

    def open(self, stack: ExitStack) -> None:
        """Serve the site, fill the disk of one of its VMs, and have qemu-img see what we do."""
        if self._missing:
            raise Misuse("bench backup", "; ".join(self._missing))
        self._folder = Path(stack.enter_context(fast_folder()))
        running = stack.enter_context(served(self._folder, self._mib))
        self._runner = stack.enter_context(asyncio.Runner())
        self._rig = self._runner.run(Rig.reach(running))
        stack.callback(lambda: self._runner.run(self._rig.close()))
        self._runner.run(self._prepare())

    async def _prepare(self) -> None:
        pieces = self._mib * MIB // PIECE_BYTES
        await self._rig.change(FILES, corpus(), range(pieces), np.random.default_rng(_SEED))
        self._sources = await self._rig.ranges(FILES)
        for vm in (FILES, RENDERED):
            await self._stored(vm)

    def turn(self) -> Figures:
        """Back up into nothing and into packs, each beside what bounds it."""
        return self._runner.run(self._turn())

    async def _turn(self) -> Figures:
        nothing = await self._rig.job(FILES, NullRepository(), Kind.FULL)
        by_qemu = await asyncio.to_thread(self._convert)
        ceiling = await asyncio.to_thread(self._loopback.turn)
        figures = {
            "loopback TCP, MiB/s": ceiling["stream, MiB/s"],
            "ranges read": float(len(self._sources)),
            "into nothing, MiB/s": self._mib / nothing.seconds,
            "into nothing, copying alone, MiB/s": self._mib / nothing.copying_seconds,
            "qemu-img convert -m 8 -W, MiB/s": self._mib / by_qemu,
            _OF_QEMU: by_qemu / nothing.seconds,
        }
        figures |= await self._packs(FILES, "into packs", _OF_COMPRESSION)
        named = "into packs, rendered content"
        return figures | await self._packs(RENDERED, named, _OF_COMPRESSION_RENDERED)

    def _convert(self) -> float:
        """Have qemu-img copy what the restore point takes; the first time, compare."""
        out = self._folder / "out.raw"
        seconds = qemu.convert_seconds(self._sources, out)
        if not self._verified:
            self._verified = True
            found = blake3().update_mmap(out).hexdigest()
            expected = blake3(self._plain[FILES]).hexdigest()
            if found != expected:
                raise DigestMismatch("what qemu-img read", expected, found)
        out.unlink()
        return seconds

    async def _packs(self, vm: str, named: str, ratio: str) -> Figures:
        """Back up into a real repository; half of what it is held against runs before, half after."""
        plain = self._plain[vm]
        half = len(plain) // 2
        alone = await self._alone(plain[:half])
        job = await self._stored(vm)
        alone += await self._alone(plain[half:])
        return {
            f"{named}, MiB/s": self._mib / job.copying_seconds,
            f"{named}, the whole job, MiB/s": self._mib / job.seconds,
            f"{named}, compression alone, MiB/s": self._mib / alone,
            f"{named}, stored, of what was read": job.point.bytes_stored / job.bytes_read,
            ratio: alone / job.copying_seconds,
        }

    async def _alone(self, plain: memoryview) -> float:
        """Return the seconds of digests and compression, in the thread that stores otherwise."""
        taken: list[float] = []
        await self._rig.storing(lambda: taken.append(compression_seconds(plain)))
        return taken[0]

    async def _stored(self, vm: str) -> Job:
        """Back up into a repository of its own; the first time, verify it and keep the bytes."""
        path = self._folder / "repository"
        try:
            with Repository.open(path) as repository:
                job = await self._rig.job(vm, repository, Kind.FULL)
                if vm not in self._plain:
                    await self._rig.check(repository, job.point)
                    self._plain[vm] = _plain(repository, job.point.id, self._mib * MIB)
        finally:
            shutil.rmtree(path)
        return job

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask for four fifths of what qemu-img and compression alone reach."""
        names = (_OF_QEMU, _OF_COMPRESSION)
        return [Goal(name, medians[name], _RATIO_MIN) for name in names]

    def missing(self) -> list[str]:
        """Return who does not take part, and why."""
        return self._missing


def compression_seconds(plain: memoryview) -> float:
    """Digest and compress every chunk as a repository does, and keep nothing."""
    codec = Codec(CHUNK_BYTES)
    began = time.perf_counter()  # noqa: TID251  (a benchmark)
    for at in range(0, len(plain), CHUNK_BYTES):
        chunk = plain[at : at + CHUNK_BYTES]
        codec.name(chunk)
        codec.encode(chunk)
    return time.perf_counter() - began  # noqa: TID251  (a benchmark)


def _plain(repository: Repository, point: str, size: int) -> memoryview:
    """Return all of the disk of a restore point."""
    (disk,) = repository.point(point).disks
    return memoryview(b"".join(repository.read(point, disk.key, 0, size)))
