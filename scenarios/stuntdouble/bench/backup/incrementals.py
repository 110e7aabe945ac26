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
    from stuntdouble.bench.figures import Figures

INCREMENTALS: Final = "incrementals"
EIGHTHS: Final = tuple(range(1, 9))
"""Of half the disk, how much changes."""

_EXPLAINED_MIN: Final = 0.99
_UNIT: Final = " MiB changed, s"
_SEED: Final = 2


class Incrementals:
    """Incrementals of a VM of which up to a half has changed, in places all over its disk.

    The order of the sizes is drawn anew in each round, and the restore point before the last is let
    go of, so that neither what is kept nor what the machine does meanwhile looks like a slope.

    Args:
        quick: a small disk.
    """

    name = INCREMENTALS

    def __init__(self, *, quick: bool = False) -> None:
        self._mib = QUICK_MIB if quick else MIB_OF_DISK
        self._draw = np.random.default_rng(_SEED)

    def open(self, stack: ExitStack) -> None:
        """Serve the site, and make the full backup that all others build on."""
        folder = Path(stack.enter_context(fast_folder()))
        running = stack.enter_context(served(folder, self._mib))
        self._files = corpus()
        self._runner = stack.enter_context(asyncio.Runner())
        self._rig = self._runner.run(Rig.reach(running))
        stack.callback(lambda: self._runner.run(self._rig.close()))
        self._repository = stack.enter_context(Repository.open(folder / "repository"))
        self._last = self._runner.run(self._rig.job(FILES, self._repository, Kind.FULL)).point

    def turn(self) -> Figures:
        """Change so much and back it up, for every size; the last restore point is verified."""
        return self._runner.run(self._turn())

    async def _turn(self) -> Figures:
        found: Figures = {}
        for eighths in self._draw.permutation(EIGHTHS).tolist():
            mib = self._mib * eighths // 16
            found[f"{mib}{_UNIT}"] = (await self._incremental(mib)).seconds
        await self._rig.check(self._repository, self._last)
        self._repository.collect()
        return {name: found[name] for name in sorted(found, key=_mib_of)}

    async def _incremental(self, mib: int) -> Job:
        count = mib * MIB // PIECE_BYTES
        places = self._draw.choice(self._mib * MIB // PIECE_BYTES, count, replace=False)
        await self._rig.change(FILES, self._files, np.sort(places).tolist(), self._draw)
        job = await self._rig.job(FILES, self._repository, Kind.INCREMENTAL)
        if job.bytes_read != mib * MIB:
            text = f"{job.bytes_read} bytes read, where {mib * MIB} have changed"
            raise Interrupted(f"an incremental ({text})")
        self._repository.delete(self._last.id)
        self._last = job.point
        return job

    def goals(self, medians: Figures) -> list[Goal]:
        """Ask for a line."""
        what = "R² of a + b · changed bytes, over the medians"
        return [Goal(what, line_of(medians).explained, _EXPLAINED_MIN)]

    def missing(self) -> list[str]:
        """Return nobody."""
        return []


def line_of(medians: Figures) -> Line:
    """Return the line through the medians: seconds by MiB."""
    named = [(_mib_of(name), value) for name, value in medians.items() if name.endswith(_UNIT)]
    return fitted(named)


def _mib_of(name: str) -> float:
    return float(name.removesuffix(_UNIT))
