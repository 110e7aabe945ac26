"""Rows of disks: service times against measured drives."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.iops import DISK_10K, DISK_7200, ClosedLoad, Pattern
from stuntdouble.units import GIB, KIB
from stuntdouble.validity.making import Check, Outcome, given
from stuntdouble.validity.rig import BLOCK_BYTES, VM, Rig
from stuntdouble.validity.row import Point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stuntdouble.iops import Service

MEAN_MAX: Final = 0.05
"""Relative error of the mean against that of three drives, which differ by 22 to 38 % themselves."""

P95_MAX: Final = 0.15
"""Relative error of the 95th percentile: a seek and a uniform turn have no measured tail."""

READS: Final = 20_000
"""Twice as many as each drive was traced for."""

_STROKE_BYTES: Final = 16 * GIB
"""Only fractions of the stroke matter to a seek, so the emulated drive may be a small one."""

_READ_BYTES: Final = 3 * KIB  # the middle of the 2 to 4 KiB that the traces have

_NO_TAIL: Final = (
    "Known to miss: the model's service is a seek and a uniform turn, so that its slowest read"
    " takes the longest of both. Real drives also retry, switch heads and recalibrate: their tail"
    " is longer than the model's, and so are the highest latencies of a real pool"
)

_CLASS: Final = "the drive class; see iops/work.py"

_DISKSIM: Final = (
    "drive traces shipped with DiskSim, non-sequential reads of 2 to 4 KiB, 10,000 requests a drive"
)

# Milliseconds of three drives each, as evaluated from those traces.
_DRIVES: Final = {
    "7.2k": (DISK_7200, (11.39, 10.01, 9.31), (20.5, 18.0, 17.1)),
    "10k": (DISK_10K, (9.15, 7.02, 6.64), (17.4, 13.0, 12.9)),
}


def _services(service: Service, seed: int) -> NDArray[np.float64]:
    """Return the milliseconds of random reads, one after the other."""
    rig = Rig(service, blocks=_STROKE_BYTES // BLOCK_BYTES, stroke=_STROKE_BYTES, seed=seed)
    rig.guest(ClosedLoad(seed, VM, 1, 0.0, (Pattern(1.0, _READ_BYTES, _STROKE_BYTES),)))
    about = READS * 0.02  # seconds: more than any of the drives needs
    return rig.run(about).seconds[:READS] * 1e3


def _compared(statistic: str, name: str, seed: int) -> Outcome:
    service, means, p95s = _DRIVES[name]
    took = _services(service, seed)
    known = means if statistic == "mean" else p95s
    seen = float(took.mean() if statistic == "mean" else np.percentile(took, 95))
    points = tuple(
        Point(label=f"drive {k}", measured=each, modelled=seen) for k, each in enumerate(known, 1)
    )
    typical = sum(known) / len(known)
    least, most = (seen / each - 1 for each in (max(known), min(known)))
    why = (
        f"against the three drives' own {statistic}s: {least:+.0%} to {most:+.0%};"
        f" they differ from each other by {max(known) / min(known) - 1:.0%}"
    )
    if statistic == "p95":
        why += f". {_NO_TAIL}"
    return Outcome(points, abs(seen / typical - 1), why)


def _check(name: str, statistic: str, tolerance: float, *, known_miss: bool) -> Check:
    service = _DRIVES[name][0]
    seek = f"{service.seek_min_seconds * 1e3:g} ms to {service.seek_full_seconds * 1e3:g} ms"
    return Check(
        id=f"disk-{name.replace('.', '')}-{statistic}",
        section="disks",
        title=f"{name} rpm disk: {'mean service' if statistic == 'mean' else '95th percentile'}",
        says="Random small reads, one at a time, on one emulated drive against three real ones"
        " of different makes.",
        source=_DISKSIM,
        compute=partial(_compared, statistic, name),
        parameters=given(
            ("seek", seek, _CLASS),
            ("turn", f"{service.turn_seconds * 1e3:.3g} ms", _CLASS),
            ("transfer", f"{service.bytes_per_second / 1e6:g} MB/s", _CLASS),
        ),
        unit="ms",
        error_is=f"relative error against the mean of the three drives' {statistic}s",
        tolerance=tolerance,
        known_miss=known_miss,
        quick=True,
    )


DISKS: Final = (
    _check("7.2k", "mean", MEAN_MAX, known_miss=False),
    _check("7.2k", "p95", P95_MAX, known_miss=True),
    _check("10k", "mean", MEAN_MAX, known_miss=False),
    _check("10k", "p95", P95_MAX, known_miss=True),
)
"""The rows of disks."""
