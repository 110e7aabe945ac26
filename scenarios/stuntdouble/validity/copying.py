"""Rows of published copy-on-write: what the first write of a chunk costs on disks.

The emulated array copies a chunk by a read and a write before the guest's own write goes to disk,
one after the other.  Its reserve lies behind the volumes, so the heads travel; what keeps track of
copied chunks is taken to be in the array's protected memory and costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.iops import DISK_10K, DISK_7200, ClosedLoad, Pattern, Raid
from stuntdouble.site import COPY_ON_WRITE
from stuntdouble.units import GIB, KIB, MIB
from stuntdouble.validity.making import NO_SOURCE, OUTSIDE, Check, Outcome, given
from stuntdouble.validity.rig import BLOCK_BYTES, VM, Rig
from stuntdouble.validity.row import Point

if TYPE_CHECKING:
    from stuntdouble.iops import Service

RATIO_MAX: Final = 0.15
"""Relative error of how many times slower something becomes."""

POINTS_MAX: Final = 0.05
"""How far a loss may be away, as a share of what there was without a snapshot."""

_PERCONA: Final = (
    "Percona, 2009: LVM snapshot on a RAID 10 of six disks without write cache, sysbench random"
    " writes, one thread, O_DIRECT"
)
_LEACH: Final = "J. Leach, 2010: LVM snapshot on a RAID 10 of twelve disks, sequential I/O"
_VXFS: Final = "Veritas File System administrator's guide (HP-UX), on snapshot file systems"


def _pool(
    service: Service, disks: int, chunk: int, size: int, raid: Raid, seed: int, stroke: int
) -> Rig:
    return Rig(
        *[service] * disks,
        blocks=size // BLOCK_BYTES,
        chunk_blocks=chunk // BLOCK_BYTES,
        stripe_bytes=64 * KIB,
        raid=raid,
        stroke=stroke,
        seed=seed,
    )


def _rates(
    rig: Rig, pattern: Pattern, outstanding: int, periods: list[float], seed: int
) -> list[float]:
    """Return the guest's IOPS in consecutive periods of so many seconds."""
    guest = rig.guest(ClosedLoad(seed, VM, outstanding, 0.0, (pattern,)))
    rates, before, now = [], 0, 0.0
    for seconds in periods:
        now += seconds
        rig.env.run(now)
        rates.append((guest.completed - before) / seconds)
        before = guest.completed
    return rates


# P2 -----------------------------------------------------------------------------------------------

_FILE_BYTES: Final = 8 * GIB
_SMALL_BYTES: Final = 128 * MIB
_PAGE_BYTES: Final = 16 * KIB
_STROKE_BYTES: Final = 73 * GIB


def _percona_pool(size: int, seed: int) -> Rig:
    return _pool(DISK_10K, 6, 4 * KIB, size, Raid.RAID10, seed, _STROKE_BYTES)


def _first_writes(seed: int) -> Outcome:
    pattern = Pattern(0.0, _PAGE_BYTES, _FILE_BYTES)
    (alone,) = _rates(_percona_pool(_FILE_BYTES, seed), pattern, 1, [60.0], seed)
    rig = _percona_pool(_FILE_BYTES, seed)
    rig.site.freeze([rig.lun], COPY_ON_WRITE)
    (copying,) = _rates(rig, pattern, 1, [60.0], seed)
    points = (
        Point(label="IOPS without", measured=159, modelled=alone),
        Point(label="IOPS with", measured=25, modelled=copying),
    )
    slower = alone / copying
    why = (
        f"Known to miss: {slower:.1f} times slower, published 6.4. LVM copies each of a write's"
        " four chunks by itself, and for each writes its table to disk before it goes on; the"
        " emulated array copies them in one go and has the table in protected memory"
    )
    return Outcome(points, abs(slower / (159 / 25) - 1), why)


def _decay(seed: int) -> Outcome:
    pattern = Pattern(0.0, _PAGE_BYTES, _SMALL_BYTES)
    (alone,) = _rates(_percona_pool(_SMALL_BYTES, seed), pattern, 1, [60.0], seed)
    rig = _percona_pool(_SMALL_BYTES, seed)
    rig.site.freeze([rig.lun], COPY_ON_WRITE)
    found = _rates(rig, pattern, 1, [60.0] * 6, seed)
    known: list[float | None] = [33.2 / 200, 46.08 / 200, 70.79 / 200, None, None, None]
    points = tuple(
        Point(label=f"run {k}", measured=wanted, modelled=rate / alone, x=k)
        for k, (wanted, rate) in enumerate(zip(known, found, strict=True), 1)
    )
    why = "how fast it recovers hangs on the size of the file, which is not told"
    return Outcome(points, None, why)


# P3 -----------------------------------------------------------------------------------------------

_SEQUENTIAL_BYTES: Final = 64 * KIB
_SPAN_BYTES: Final = 4 * GIB


def _sequential(seed: int) -> Outcome:
    def rate(reads: float, *, frozen: bool, again: bool) -> float:
        rig = _pool(DISK_7200, 12, 64 * KIB, _SPAN_BYTES, Raid.RAID10, seed, 500 * GIB)
        pattern = Pattern(reads, _SEQUENTIAL_BYTES, _SPAN_BYTES, 1.0, 1.0)
        if frozen:
            rig.site.freeze([rig.lun], COPY_ON_WRITE)
            if again:  # everything has been written once since the snapshot
                for at in range(0, _SPAN_BYTES, MIB):
                    rig.site.write(rig.disk, at, MIB)
        return _rates(rig, pattern, 8, [10.0], seed)[0]

    write, read = (rate(r, frozen=False, again=False) for r in (0.0, 1.0))
    first = rate(0.0, frozen=True, again=False) / write
    again = rate(0.0, frozen=True, again=True) / write
    reads = rate(1.0, frozen=True, again=False) / read
    known = (0.10, 0.85, 0.95)
    found = (first, again, reads)
    names = ("first writes", "rewrites", "reads")
    points = tuple(
        Point(label=name, measured=k, modelled=f)
        for name, k, f in zip(names, known, found, strict=True)
    )
    why = (
        "Known to miss, judged by the first writes: the emulated heads travel to the reserve and"
        " back for each chunk, where LVM's copies gather and are sorted. That rewrites and reads"
        " lose something as well is the cost of looking up LVM's table, which the model has not"
    )
    return Outcome(points, abs(first - known[0]), why)


# P4 -----------------------------------------------------------------------------------------------


_VXFS_BYTES: Final = 4 * GIB
_VXFS_BLOCK_BYTES: Final = 8 * KIB
_VXFS_DISKS: Final = (
    "disks",
    "7.2k rpm, one for the data, one for the copies",
    "a snapshot of VxFS has a device of its own",
)


def _two_disks(pattern: Pattern, outstanding: int, seed: int, *, frozen: bool) -> float:
    """Return the IOPS on one disk whose snapshot, if there is one, is on another."""
    # A stripe as large as the volume and the gap behind it: the reserve is on the second disk.
    rig = Rig(
        *[DISK_7200] * 2,
        blocks=_VXFS_BYTES // BLOCK_BYTES,
        chunk_blocks=_VXFS_BLOCK_BYTES // BLOCK_BYTES,
        stripe_bytes=2 * _VXFS_BYTES,
        stroke=2 * _VXFS_BYTES,
        seed=seed,
    )
    if frozen:
        rig.site.freeze([rig.lun], COPY_ON_WRITE)
    return _rates(rig, pattern, outstanding, [200.0], seed)[0]


def _one_write(seed: int) -> Outcome:
    pattern = Pattern(0.0, _VXFS_BLOCK_BYTES, _VXFS_BYTES)
    without, with_one = (_two_disks(pattern, 1, seed, frozen=frozen) for frozen in (False, True))
    ratio = without / with_one
    points = (
        Point(label="first write, at least", measured=2.0, modelled=ratio),
        Point(label="first write, at most", measured=3.0, modelled=ratio),
    )
    error = max(2.0 / ratio - 1, ratio / 3.0 - 1, 0.0)
    why = (
        "a read, a write of the copy on another disk, and the write itself, for which the head is"
        " in place already: less than three times as long"
    )
    return Outcome(points, error, why)


_OLTP_READS: Final = 0.67
_OLTP_OUTSTANDING: Final = 8


def _oltp(seed: int) -> Outcome:
    pattern = Pattern(_OLTP_READS, _VXFS_BLOCK_BYTES, _VXFS_BYTES)
    without, with_one = (
        _two_disks(pattern, _OLTP_OUTSTANDING, seed, frozen=frozen) for frozen in (False, True)
    )
    slower = 1 - with_one / without
    points = (
        Point(label="slower by, at least", measured=15, modelled=100 * slower),
        Point(label="slower by, at most", measured=20, modelled=100 * slower),
    )
    why = (
        "Known to miss: the model's writes fall at random, so that nearly all of them are first"
        " writes. A database writes its log and its busiest pages again and again, which then costs"
        " nothing more, and it waits for processors as well; how much of either is not published"
    )
    return Outcome(points, max(0.15 / slower - 1, slower / 0.20 - 1, 0.0), why)


COPYING: Final = (
    Check(
        id="p2-first-writes",
        section="published",
        title="P2: first writes under an LVM snapshot",
        says="One thread of random writes, without a snapshot and right after taking one.",
        source=_PERCONA,
        compute=_first_writes,
        parameters=given(
            ("disks", "6 of 10k rpm, 73 GB, RAID 10", "their number is published, their kind not"),
            ("file", "8 GiB, writes of 16 KiB", "sysbench's defaults and the published command"),
            ("chunk", "4 KiB", "LVM's default of the time"),
        ),
        unit="IOPS",
        error_is="relative error of how many times slower it becomes",
        tolerance=RATIO_MAX,
        known_miss=True,
        quick=True,
    ),
    Check(
        id="p2-decay",
        section="published",
        title="P2: recovery, run after run",
        says="The same writes go to the same small file again and again; what has been copied once"
        " costs nothing more. As a share of the rate without a snapshot.",
        source=_PERCONA,
        compute=_decay,
        parameters=given(
            ("file", "128 MiB", f"{NO_SOURCE}: published is only that it was small"),
            ("a run", "60 s", "the published command of the larger file"),
        ),
        axis="run",
        quick=True,
    ),
    Check(
        id="p3-sequential",
        section="published",
        title="P3: sequential I/O under an LVM snapshot",
        says="What is left of sequential throughput while there is a snapshot.",
        source=_LEACH,
        compute=_sequential,
        parameters=given(
            ("disks", "12 of 7.2k rpm, 500 GB, RAID 10", "their number is published"),
            ("I/O", "64 KiB, 8 outstanding", f"{NO_SOURCE}: what a page cache sends"),
            ("chunk", "64 KiB", NO_SOURCE),
        ),
        error_is="difference of what is left of first writes, as a share of what there was",
        tolerance=POINTS_MAX,
        known_miss=True,
        quick=True,
    ),
    Check(
        id="p4-one-write",
        section="published",
        title="P4: how much longer a first write takes",
        says="A write to a block that a snapshot still needs takes two to three times as long;"
        " later writes of it do not.",
        source=_VXFS,
        compute=_one_write,
        parameters=given(
            _VXFS_DISKS,
            ("block", "8 KiB, one at a time", NO_SOURCE),
        ),
        unit="times as long",
        error_is=OUTSIDE,
        tolerance=RATIO_MAX,
        quick=True,
    ),
    Check(
        id="p4-oltp",
        section="published",
        title="P4: a database on a file system with a snapshot",
        says="A database under transactions is 15 to 20 % slower while there is a snapshot.",
        source=_VXFS,
        compute=_oltp,
        parameters=given(
            _VXFS_DISKS,
            (
                "mix",
                f"{_OLTP_READS:.0%} reads, at random",
                "IOmeter's pattern of a database has 67 % reads",
            ),
            ("block", "8 KiB", "Oracle's default"),
            ("outstanding", f"{_OLTP_OUTSTANDING}", NO_SOURCE),
            ("after the snapshot", "the first 200 s", NO_SOURCE),
        ),
        unit="%",
        error_is=OUTSIDE,
        tolerance=RATIO_MAX,
        known_miss=True,
        quick=True,
    ),
)
"""The rows of published copy-on-write."""
