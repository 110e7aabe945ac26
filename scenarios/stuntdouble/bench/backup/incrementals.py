"""How long an incremental takes, by how much has changed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.backup.repository import Repository
from stuntdouble.bench.backup.content import PIECE_BYTES, corpus
from stuntdouble.bench.backup.full import MIB_OF_DISK, QUICK_MIB
from stuntdouble.bench.backup.line import fitted
from stuntdouble.bench.backup.rig import Rig
from stuntdouble.bench.backup.served import FILES, fast_folder, served
from stuntdouble.bench.figures import Goal
from stuntdouble.errors import Interrupted
from stuntdouble.ports import Kind
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from contextlib import ExitStack

    from stuntdouble.bench.backup.line import Line
    from stuntdouble.bench.backup.rig import Job
    from stuntdouble.bench.backup.served import Served
    from stuntdouble.bench.figures import Figures

INCREMENTALS: Final = "incrementals"
PARTS: Final = tuple(range(3, 25, 3))
"""How much of the disk changes, in 64ths."""

_PARTS_OF_DISK: Final = 64
_EXPLAINED_MIN: Final = 0.99
_UNIT: Final = " MiB changed, s"
_SEED: Final = 2


class Incrementals:
    """Incrementals of a VM of which up to three eighths have changed, in places all over its disk.

    Each round has a site and a repository of its own, since a site keeps all that was ever written
    to it from outside.  The order of the sizes is drawn anew, and the restore point before the last
    is let go of, so that nothing that grows meanwhile looks like a slope.

    Args:
        quick: a small disk.
    """

    name = INCREMENTALS

    def __init__(self, *, quick: bool = False) -> None:
        self._mib = QUICK_MIB if quick else MIB_OF_DISK
        self._draw = np.random.default_rng(_SEED)
        self._files = memoryview(b"")

    def open(self, stack: ExitStack) -> None:
        """Read what is going to be written."""
        del stack  # what a round starts, it stops
        self._files = corpus()

    def turn(self) -> Figures:
        """Change so much and back it up, for every size; the last restore point is verified."""
        with (
            fast_folder() as folder,
            served(Path(folder), self._mib) as running,
            Repository.open(Path(folder) / "repository") as repository,
        ):
            return asyncio.run(self._turn(running, repository))

    async def _turn(self, running: Served, repository: Repository) -> Figures:
        rig = await Rig.reach(running)
        try:
            last = (await rig.job(FILES, repository, Kind.FULL)).point
            found: Figures = {}
            for part in self._draw.permutation(PARTS).tolist():
                mib = self._mib * part // _PARTS_OF_DISK
                await self._change(rig, mib)
                job = await rig.job(FILES, repository, Kind.INCREMENTAL)
                _check(job, mib)
                found[f"{mib}{_UNIT}"] = job.seconds
                repository.delete(last.id)
                last = job.point
            await rig.check(repository, last)
        finally:
            await rig.close()
        return {name: found[name] for name in sorted(found, key=_mib_of)}

    async def _change(self, rig: Rig, mib: int) -> None:
        count, all_ = mib * MIB // PIECE_BYTES, self._mib * MIB // PIECE_BYTES
        places = np.sort(self._draw.choice(all_, count, replace=False))
        await rig.change(FILES, self._files, places.tolist(), self._draw)

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask for a line."""
        what = "R² of a + b · changed bytes, over the medians"
        return [Goal(what, line_of(medians).explained, _EXPLAINED_MIN)]

    def missing(self) -> list[str]:
        """Return nobody."""
        return []


def _check(job: Job, mib: int) -> None:
    """Raise Interrupted where an incremental has read anything but what has changed."""
    if job.bytes_read != mib * MIB:
        text = f"{job.bytes_read} bytes read, where {mib * MIB} have changed"
        raise Interrupted(f"an incremental ({text})")


def line_of(medians: Figures) -> Line:
    """Return the line through the medians: seconds by MiB."""
    named = [(_mib_of(name), value) for name, value in medians.items() if name.endswith(_UNIT)]
    return fitted(named)


def _mib_of(name: str) -> float:
    return float(name.removesuffix(_UNIT))
