"""One curve, or all of them: build the rig, let the load run, act in time, count."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from stuntdouble.lab.curves import Commit
from stuntdouble.lab.fio import load, outcome
from stuntdouble.lab.qmp import CommandError
from stuntdouble.lab.rig import OVERLAY, rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stuntdouble.lab.curves import Curve
    from stuntdouble.lab.qmp import Qmp

_COMMIT: Final = "commit"
_COMMIT_SECONDS_MAX: Final = 180.0
"""Six times what it took when measured: it either converges in about that time or never does."""


async def measure(curve: Curve, began: Callable[[Curve], object]) -> Curve:
    """Measure *curve* anew, and return what was found; *began* is called as the load begins.

    Everything lives in a temporary directory of its own, and is gone afterwards.

    Raises:
        ProgramError, TimedOut, CommandError, LogError: as their names say.
    """
    with TemporaryDirectory(prefix="stuntdouble-lab-") as name:
        directory = Path(name)
        async with rig(curve, directory) as qmp, load(curve, directory) as program:
            began(curve)
            commit = await _commit(qmp, curve.commit) if curve.commit else None
            iops = await outcome(curve, program, directory)
    return replace(curve, iops=iops, commit=commit, source="measured now")


async def measure_all(
    curves: Iterable[Curve], began: Callable[[Curve], object], *, side_by_side: bool
) -> list[Curve]:
    """Measure *curves*, one after the other or all at once; each has its own rig.

    Raises:
        ExceptionGroup: of what ``measure`` raises, when side by side.
    """
    if not side_by_side:
        return [await measure(curve, began) for curve in curves]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(measure(curve, began)) for curve in curves]
    return [task.result() for task in tasks]


async def _commit(qmp: Qmp, planned: Commit) -> Commit:
    """Commit the overlay into its base under load, when planned, and pivot to the base."""
    clock = asyncio.get_running_loop().time
    origin = clock()
    await asyncio.sleep(planned.started_seconds)
    started = clock()
    await qmp.execute("block-commit", job_id=_COMMIT, device=OVERLAY)
    await _job_event(qmp, "BLOCK_JOB_READY")
    ready = clock()
    await qmp.execute("block-job-complete", device=_COMMIT)
    await _job_event(qmp, "BLOCK_JOB_COMPLETED")
    return Commit(started - origin, ready - started, clock() - ready)


async def _job_event(qmp: Qmp, wanted: str) -> None:
    names = dict.fromkeys((wanted, "BLOCK_JOB_COMPLETED"))  # in this order in a message
    found = await qmp.event(*names, seconds=_COMMIT_SECONDS_MAX)
    if "error" in found["data"] or found["event"] != wanted:
        reason = found["data"].get("error", "it ended before it was ready")
        raise CommandError("block-commit", reason)
