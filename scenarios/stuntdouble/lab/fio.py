"""The load: fio in a closed loop over NBD, and its log as I/Os per second."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import Error, TimedOut
from stuntdouble.lab.processes import running
from stuntdouble.lab.programs import LOAD
from stuntdouble.lab.rig import EXPORT, NBD_SOCKET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from numpy.typing import NDArray

    from stuntdouble.lab.curves import Curve
    from stuntdouble.lab.processes import Program

_JOB: Final = "guest"
_LOG: Final = f"{_JOB}_iops.1.log"
_STARTED: Final = f"{_JOB}.prerun.txt"
"""fio makes it for the output of ``exec_prerun``, right before its clock starts."""

_POLL_SECONDS: Final = 0.01
_START_SECONDS_MAX: Final = 30.0
"""From the start of the program to its first I/O; a loaded machine gets long."""

_LATE_SECONDS_MAX: Final = 30.0
"""How much later than asked fio may end: it waits for its last I/Os."""


class LogError(Error):
    """fio's log is not what it should be.  Facts: number of the line, the line."""

    template = "fio's log is not understood, line {0}: {1!r}"


@asynccontextmanager
async def load(curve: Curve, directory: Path) -> AsyncIterator[Program]:
    """Start the load of *curve* on the export in *directory*; its clock runs when the block begins.

    Raises:
        ProgramError: it ended before it began.
        TimedOut: it does not begin.
    """
    async with running(*_words(curve), directory=directory) as program:
        try:
            async with asyncio.timeout(_START_SECONDS_MAX):
                while not (directory / _STARTED).exists():
                    if program.process.returncode is not None:
                        raise program.failure()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise TimedOut("the start of fio", f"{_START_SECONDS_MAX:g}") from None
        yield program


async def outcome(curve: Curve, program: Program, directory: Path) -> tuple[float, ...]:
    """Wait for the end of the load, and return its I/Os per second in each bin of *curve*.

    Raises:
        ProgramError: fio failed.
        TimedOut: it does not end.
        LogError: its log makes no sense.
    """
    await program.finished(curve.seconds + _LATE_SECONDS_MAX)
    return binned(log_seconds(directory / _LOG), curve.setup.bin_seconds, len(curve.iops))


def _words(curve: Curve) -> list[str]:
    setup = curve.setup
    pattern = "randwrite" if curve.read_fraction == 0 else "randrw"
    return [
        *(LOAD, f"--name={_JOB}", "--thread", "--ioengine=nbd"),
        f"--uri=nbd+unix:///{EXPORT}?socket={NBD_SOCKET}",
        *(f"--rw={pattern}", f"--rwmixread={curve.read_fraction * 100:.0f}", "--norandommap"),
        *(f"--bs={setup.io_bytes}", f"--size={setup.disk_bytes}"),
        *(f"--iodepth={setup.outstanding}", "--time_based", f"--runtime={curve.seconds:g}"),
        *("--exec_prerun=true", f"--write_iops_log={_JOB}"),
    ]


def log_seconds(path: Path) -> NDArray[np.float64]:
    """Return when each I/O of a log of fio ended, in seconds of its clock.

    A row is ``milliseconds, 1, direction, bytes, priority``, one for each I/O.

    Raises:
        LogError: a row is not one, or the log has none.
    """
    rows = path.read_text("ascii", "replace").splitlines() if path.exists() else []
    times = []
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row.split(",")]
        if len(cells) < 3 or not cells[0].isdigit() or cells[1] != "1":
            raise LogError(number, row)
        times.append(int(cells[0]))
    if not times:
        raise LogError(1, "")
    return np.array(times) / 1000


def binned(seconds: NDArray[np.float64], bin_seconds: float, bins: int) -> tuple[float, ...]:
    """Return events per second in each of *bins* bins; what comes later is left out."""
    edges = np.arange(bins + 1) * bin_seconds
    # A histogram's last bin includes its end; ours is half-open like the others.
    counted, _ = np.histogram(seconds[seconds < edges[-1]], edges)
    return tuple((counted / bin_seconds).tolist())
