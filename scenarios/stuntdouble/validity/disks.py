"""Rows of disks: service times against measured drives, and classes against rules of thumb."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.iops import DISK_10K, DISK_7200, FLASH_CHANNEL, ClosedLoad, Pattern, disk
from stuntdouble.units import GIB, KIB
from stuntdouble.validity.making import OUTSIDE, Check, Outcome, given
from stuntdouble.validity.rig import BLOCK_BYTES, VM, Rig
from stuntdouble.validity.row import Point

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from stuntdouble.iops import Service
    from stuntdouble.validity.row import Parameter

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


# Classes that are known by a rule of thumb only. ---------------------------------------------------

_THUMB: Final = "rules of thumb for drive classes, small random I/O"
_READS_AND_WRITES: Final = {"reads": 1.0, "writes": 0.0}

_FIFTEEN: Final = disk(15_000, 0.0033, 0.0033, DISK_10K.bytes_per_second)
"""Hitachi Ultrastar 15K450: a read's seek takes 3.3 ms on average; how it grows with the distance
is not told, so every seek takes as long."""

_CHANNELS: Final = 18
"""Of the controller of Intel's SSD DC P3700, as it was reviewed in 2014; its specification does not
tell them."""

_NVME_OUTSTANDING: Final = 128
"""With which the maker of that drive states its random I/O: four workers of 32."""


@dataclass(frozen=True, slots=True)
class DriveClass:
    """A class of drives, the range that is told of it, and an emulated drive of that class.

    Args:
        id: of its row, less the section.
        name: of the class.
        least: I/Os a second, by the rule of thumb.
        most: the same.
        service: one channel of the emulated drive.
        servers: how many channels it has.
        outstanding: I/Os under way.
        seconds: how long it is run.
        directions: what is asked for, by name: the share of reads.
        why: what the row can say, and what it cannot.
        parameters: what the drive was given.
    """

    id: str
    name: str
    least: float
    most: float
    service: Service
    servers: int
    outstanding: int
    seconds: float
    directions: Mapping[str, float]
    why: str
    parameters: tuple[Parameter, ...]


def _iops(kind: DriveClass, reads: float, seed: int) -> float:
    """Return the I/Os per second of small random I/O."""
    rig = Rig(
        kind.service,
        servers=kind.servers,
        blocks=_STROKE_BYTES // BLOCK_BYTES,
        stroke=_STROKE_BYTES,
        seed=seed,
    )
    pattern = Pattern(reads, BLOCK_BYTES, _STROKE_BYTES)
    guest = rig.guest(ClosedLoad(seed, VM, kind.outstanding, 0.0, (pattern,)))
    rig.env.run(kind.seconds)
    return guest.completed / kind.seconds


def _in_range(kind: DriveClass, seed: int) -> Outcome:
    points, worst = [], 0.0
    for word, reads in kind.directions.items():
        seen = _iops(kind, reads, seed)
        points.append(Point(label=f"{word}, at least", measured=kind.least, modelled=seen))
        points.append(Point(label=f"{word}, at most", measured=kind.most, modelled=seen))
        worst = max(worst, kind.least / seen - 1, seen / kind.most - 1)
    return Outcome(tuple(points), worst, kind.why)


def _class_check(kind: DriveClass) -> Check:
    return Check(
        id=f"disk-{kind.id}",
        section="disks",
        title=f"{kind.name}: I/Os a second",
        says=f"Random 4 KiB I/O on one emulated drive, {kind.outstanding} outstanding, against"
        f" {kind.least:,g} to {kind.most:,g} a second.",
        source=_THUMB,
        compute=partial(_in_range, kind),
        parameters=kind.parameters,
        unit="IOPS",
        error_is=OUTSIDE,
        tolerance=0.0,
        quick=True,
    )


_FLASH_READ: Final = ("a read", f"{FLASH_CHANNEL.overhead_seconds * 1e6:g} µs", _CLASS)
_FLASH_WRITE: Final = ("a write", f"{FLASH_CHANNEL.write_overhead_seconds * 1e6:g} µs", _CLASS)
_FLASH_RATE: Final = ("transfer", f"{FLASH_CHANNEL.bytes_per_second / 1e6:g} MB/s", _CLASS)

_CLASSES: Final = (
    DriveClass(
        id="15k",
        name="15k rpm disk",
        least=175,
        most=210,
        service=_FIFTEEN,
        servers=1,
        outstanding=1,
        seconds=100.0,
        directions={"reads": 1.0},
        why="seek and turn are those of one drive, and nothing else was chosen",
        parameters=given(
            ("seek", "3.3 ms, whatever the distance", "Hitachi Ultrastar 15K450: typical, reads"),
            ("turn", "4 ms", "15,000 a minute"),
            ("transfer", f"{_FIFTEEN.bytes_per_second / 1e6:g} MB/s", "as a 10k disk"),
        ),
    ),
    DriveClass(
        id="sata-ssd",
        name="SATA SSD",
        least=3_000,
        most=40_000,
        service=FLASH_CHANNEL,
        servers=1,
        outstanding=32,
        seconds=2.0,
        directions=_READS_AND_WRITES,
        why="the channel's times were chosen by the same rule of thumb: the emulated drive is what it"
        " was meant to be, no more",
        parameters=given(
            _FLASH_READ,
            _FLASH_WRITE,
            _FLASH_RATE,
            ("channels", "1", "as a pool of `flash` has them in a scenario, for each drive"),
            ("outstanding", "32", "what SATA's queue holds"),
        ),
    ),
    DriveClass(
        id="nvme",
        name="NVMe SSD",
        least=100_000,
        most=500_000,
        service=FLASH_CHANNEL,
        servers=_CHANNELS,
        outstanding=_NVME_OUTSTANDING,
        seconds=0.2,
        directions=_READS_AND_WRITES,
        why="the channel is that of the SATA SSD; how many there are is one drive's figure, and the"
        " drive itself is told to read 460,000 and to write 175,000 times a second",
        parameters=given(
            _FLASH_READ,
            _FLASH_WRITE,
            _FLASH_RATE,
            ("channels", f"{_CHANNELS}, behind one queue", "Intel SSD DC P3700, as reviewed"),
            ("outstanding", f"{_NVME_OUTSTANDING}", "its maker's, for random I/O"),
        ),
    ),
)

DISKS: Final = (
    _check("7.2k", "mean", MEAN_MAX, known_miss=False),
    _check("7.2k", "p95", P95_MAX, known_miss=True),
    _check("10k", "mean", MEAN_MAX, known_miss=False),
    _check("10k", "p95", P95_MAX, known_miss=True),
    *map(_class_check, _CLASSES),
)
"""The rows of disks."""
