"""What the curves should be: from first principles, and by the I/O engine.

A disk has M chunks.  After a snapshot the first write of a chunk costs k I/Os beside its own; once
N I/Os have been made, a share w of them writes that fall uniformly, a chunk is still uncopied with
the chance f = (1 - 1/M)^(wN).  A station of R I/Os a second with a burst credit of B then gives

    dN/dt = R / (1 + k w f)        N + k/c · (1 - e^(-c w N)) = R t + B,  c = -ln(1 - 1/M)

where nothing is fitted: M, k, w, R and B are what the set-up says.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.clock import Environment
from stuntdouble.iops import ClosedLoad, Geometry, Pattern, Raid, Reference, link
from stuntdouble.site import COPY_ON_WRITE, REDIRECT_ON_WRITE, Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stuntdouble.lab.curves import Setup
    from stuntdouble.site import Disk, Lun

    Iops = NDArray[np.float64]

SNAPSHOT_KINDS: Final = {0: None, 1: REDIRECT_ON_WRITE, 2: COPY_ON_WRITE}
"""What the site does for a snapshot whose first writes cost so many extra I/Os."""

_BLOCK_BYTES: Final = 4096
_FS_BLOCKS: Final = 256
"""1 MiB, the block of the emulated file system; any power of two gives the same I/O."""

_NEWTON_STEPS: Final = 40
"""Each step at least halves the distance while far off, and squares it when near."""

_CREDIT_RATE: Final = 1000.0
"""How much faster the station works while it has burst credit: the credit is gone in a blink."""


def closed_form(
    setup: Setup, extra_ios: int, bins: int, *, read_fraction: float = 0.0, burst: bool = True
) -> Iops:
    """Return the I/Os per second of each of the first *bins* by the formula above.

    Args:
        setup: disk, chunks and throttle.
        extra_ios: k, what the first write of a chunk costs beside itself.
        bins: how many, from the start; the first holds the burst credit.
        read_fraction: 1 - w.
        burst: whether there is a burst credit at all.
    """
    edges = np.arange(bins + 1) * setup.bin_seconds
    budget = edges * setup.iops + (setup.burst_ios if burst else 0.0)
    budget[0] = 0.0
    rate = -math.log1p(-1 / setup.chunks)
    share = 1 - read_fraction
    # The cost of N I/Os is concave, so that Newton's steps from below never pass the answer.
    ios = budget / (1 + extra_ios * share)
    for _ in range(_NEWTON_STEPS):
        fresh = np.exp(-rate * share * ios)
        cost = ios + extra_ios / rate * (1 - fresh)
        ios += (budget - cost) / (1 + extra_ios * share * fresh)
    return np.diff(ios) / setup.bin_seconds


def emulated(
    setup: Setup,
    extra_ios: int,
    bins: int,
    *,
    read_fraction: float = 0.0,
    burst: bool = True,
    seeds: Sequence[int] = (1,),
) -> Iops:
    """Return the I/Os per second of each of the first *bins* as the I/O engine makes them.

    One station of fixed service stands for the throttle, a volume's snapshot for the overlay or
    the copy, and a closed load for fio.  The result is the mean over *seeds*: one alone is a draw,
    as a measured curve is, and two draws differ by more than either from what is expected.  The
    other arguments are those of ``closed_form``.
    """
    runs = [_emulated(setup, extra_ios, bins, read_fraction, seed, burst=burst) for seed in seeds]
    return np.asarray(np.mean(runs, axis=0), np.float64)


def _emulated(
    setup: Setup, extra_ios: int, bins: int, read_fraction: float, seed: int, *, burst: bool
) -> Iops:
    env, site = Environment(), Site()
    engine = Reference(env, site, seed)
    blocks = setup.disk_bytes // _BLOCK_BYTES
    pool = site.create_pool(2 * blocks, 2 * blocks)
    station = engine.add_station(link(math.inf, 1 / setup.iops))
    engine.add_pool(pool, Geometry(Raid.RAID0, station, 1, 1 << 20))
    disk, lun = thick_disk(site, pool, blocks, setup.chunk_bytes // _BLOCK_BYTES)
    kind = SNAPSHOT_KINDS[extra_ios]
    if kind is not None:
        site.freeze([lun], kind)
    pattern = Pattern(read_fraction, setup.io_bytes, setup.disk_bytes)
    load = ClosedLoad(seed, "guest", setup.outstanding, 0.0, (pattern,))
    guest = engine.add_guest("guest", [disk], [lun], load)
    if burst and setup.burst_ios:
        engine.set_rate(station, _CREDIT_RATE)
        spent = env.at(setup.burst_ios / setup.iops / _CREDIT_RATE)
        spent.callbacks.append(lambda _: engine.set_rate(station, 1.0))
    engine.start(guest)
    completed = [0]
    for number in range(1, bins + 1):
        env.run(number * setup.bin_seconds)
        completed.append(guest.completed)
    assert guest.arrived == guest.completed + setup.outstanding, "an I/O was lost"
    return np.diff(completed) / setup.bin_seconds


def thick_disk(site: Site, pool: int, blocks: int, chunk_blocks: int) -> tuple[Disk, Lun]:
    """Return a virtual disk that fills a volume of its own, block for block.

    Args:
        site: where.
        pool: of the volume, which lies at its beginning.
        blocks: size in content blocks, a multiple of 256.
        chunk_blocks: what the volume's snapshots copy or redirect at a time.
    """
    lun = site.create_lun(blocks, chunk_blocks, pool, 0)
    store = site.create_store([lun], _FS_BLOCKS, _FS_BLOCKS)
    file = store.create_file("disk", blocks, sparse=False, zeroed=True)
    for index in range(blocks // _FS_BLOCKS):
        file.place(index, 0, index)
    return site.create_disk("disk", blocks, file), lun


def relative_rms(found: Sequence[float] | Iops, wanted: Sequence[float] | Iops) -> float:
    """Return the root mean square of the relative errors of *found* against *wanted*."""
    errors = np.asarray(found, float) / np.asarray(wanted, float) - 1
    return float(np.sqrt(np.mean(errors**2)))
