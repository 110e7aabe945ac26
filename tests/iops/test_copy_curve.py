"""Copy-before-write and redirect, against a real block layer and first principles.

A closed loop of 8 random 4 KiB writes to a disk of 256 MiB on one station of 400 I/Os a second, in
chunks of 64 KiB: the share f of chunks that a snapshot still needs falls as they are written, and
each first write of a chunk costs k more I/Os: dW/dt = 400 / (1 + k f).
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from iops.lab import BLOCK, FS_BLOCKS, Lab, conserved, fixed
from stuntdouble.iops import ClosedLoad, Geometry, Pattern, Raid
from stuntdouble.site import COPY_ON_WRITE, REDIRECT_ON_WRITE

IOPS = 400.0
DISK_BYTES = 256 << 20
CHUNK = 16  # blocks: 64 KiB
CHUNKS = DISK_BYTES // (CHUNK * BLOCK)
BIN = 2.0  # seconds
BINS = 24

# qemu-storage-daemon 7.2 and fio over NBD, IOPS per bin of two seconds; the first bin holds the burst
# credit of the throttle group and is left out.  Redirect is a qcow2 overlay, copy is
# copy-before-write.
MEASURED = {
    REDIRECT_ON_WRITE: (
        222, 231, 248, 257, 263, 276, 291, 304, 307, 315, 323, 339,
        337, 354, 361, 365, 375, 374, 380, 385, 384, 391, 392, 391,
    ),
    COPY_ON_WRITE: (
        145, 155, 162, 164, 184, 191, 188, 208, 209, 230, 243, 241,
        259, 261, 277, 290, 289, 304, 327, 340, 341, 347, 356, 365,
    ),
}  # fmt: skip
COST = {REDIRECT_ON_WRITE: 1, COPY_ON_WRITE: 2}


def emulated(kind: int | None, *, blocking: bool = False) -> np.ndarray:
    """Return the IOPS of each bin after the first."""
    lab = Lab(blocks=FS_BLOCKS, chunk=CHUNK, reserve=1 << 17)
    numbers = lab.stations(fixed(1 / IOPS))
    lab.engine.add_pool(lab.pool, Geometry(Raid.RAID0, numbers[0], 1, 1 << 20))
    blocks = DISK_BYTES // BLOCK
    lun = lab.site.create_lun(blocks, CHUNK, lab.pool, 1 << 17)
    store = lab.site.create_store([lun], FS_BLOCKS, FS_BLOCKS)
    file = store.create_file("disk", blocks, sparse=False, zeroed=True)
    for index in range(blocks // FS_BLOCKS):
        file.place(index, 0, index)
    lab.disk, lab.lun = lab.site.create_disk("disk", blocks, file), lun
    if blocking:
        lab.engine.block_copies(lab.pool)
    if kind is not None:
        lab.site.freeze([lun], kind)
    guest = lab.guest(ClosedLoad(1, "vm", 8, 0.0, (Pattern(0.0, BLOCK, DISK_BYTES),)))
    lab.run(BIN * (BINS + 1))
    assert conserved(guest)
    assert guest.in_flight == 8
    ends = np.array([end for _, end in lab.io_times()])
    counted, _ = np.histogram(ends, bins=np.arange(BINS + 2) * BIN)
    return counted[1:] / BIN


def predicted(k: int) -> np.ndarray:
    """Return dW/dt = 400 / (1 + k f) per bin after the first, with f = (1 - 1/M)^W."""
    written, step, totals = 0.0, 1e-3, [0.0]
    for _ in range(BINS + 1):
        for _ in range(int(BIN / step)):
            fresh = math.exp(written * math.log1p(-1 / CHUNKS))
            written += step * IOPS / (1 + k * fresh)
        totals.append(written)
    return np.diff(totals)[1:] / BIN


def rms(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found / wanted - 1) ** 2)))


@pytest.mark.parametrize("kind", [REDIRECT_ON_WRITE, COPY_ON_WRITE], ids=["redirect", "copy"])
def test_first_writes_cost_what_they_were_measured_to_cost(kind) -> None:
    found = emulated(kind)
    wanted, measured = predicted(COST[kind]), np.array(MEASURED[kind], float)
    assert rms(found, wanted) <= 0.03
    assert rms(found, measured) <= 0.05
    assert found.sum() == pytest.approx(wanted.sum(), rel=0.015)
    # and the judges agree with one another, so that the bound on us means something; the measured
    # system is ahead by its burst credit, which the formula has not
    assert rms(wanted, measured) <= 0.035


def test_where_writes_are_random_waiting_for_copies_costs_next_to_nothing() -> None:
    """The measured system waits for a copy under way, and 8 random writes seldom meet one."""
    found = emulated(COPY_ON_WRITE, blocking=True)
    assert rms(found, predicted(2)) <= 0.03
    assert rms(found, np.array(MEASURED[COPY_ON_WRITE], float)) <= 0.05


def test_without_a_snapshot_nothing_is_lost() -> None:
    assert emulated(None) == pytest.approx(IOPS, abs=1.0)
