"""A fleet of VMs that differ as real ones do.

The figures are of 106 VMs of the CloudPhysics corpus, recorded for about a week each (Waldspurger
et al., FAST '15), from the per-VM statistics of ``cloudphysics/block.csv`` in
github.com/pbhandar2/BlockTraceFeatures at a93bcd49: percentiles, and Spearman's rank correlations
between them.  What a VM wrote, and the distinct bytes it wrote to, are those of its whole
recording (median 6.9 days), and count here as a week's.

A Gaussian copula with these rank correlations (r = 2 sin(π·rho / 6)) draws four percentiles, and the
table turns them into figures.  It knows nothing of what cannot be: for about one VM in fifteen the
working set comes out larger than what was written, and then just that is written instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.iops.draw import units
from stuntdouble.iops.load import Mix, Pattern, PoissonLoad
from stuntdouble.iops.recorded import IO_BYTES_MAX
from stuntdouble.trace import stream_key
from stuntdouble.units import GIB, SECTOR_BYTES

if TYPE_CHECKING:
    from stuntdouble.iops.curve import RateCurve

WEEK_SECONDS: Final = 7 * 86400  # a week of seven days

PERCENTILES: Final = (0, 10, 25, 50, 75, 90, 95, 100)
IOPS: Final = (4.0, 6.4, 9.2, 19.2, 45.2, 82.5, 118.0, 397.0)
WRITE_FRACTION: Final = (0.03, 0.12, 0.17, 0.49, 0.79, 0.96, 0.99, 1.0)
WRITE_WORKING_SET_GIB: Final = (0.26, 1.2, 2.5, 5.8, 18.4, 91.0, 172.0, 576.0)
WRITTEN_GIB: Final = (4.8, 13.5, 31.0, 60.0, 141.0, 361.0, 586.0, 1786.0)

# Spearman's rho over the 106 VMs, in the order of the four rows above.
RANK_CORRELATION: Final = (
    (1.000, -0.270, 0.417, 0.553),
    (-0.270, 1.000, -0.111, 0.327),
    (0.417, -0.111, 1.000, 0.591),
    (0.553, 0.327, 0.591, 1.000),
)

SKEW: Final = 3.0  # chosen: half of the rewrites and reads go to an eighth of the working set

_SMALLEST: Final = 2.0**-54  # stands in for a draw of exactly 0, which has no normal quantile


@dataclass(frozen=True, slots=True)
class VmProfile:
    """What the I/O of one VM comes to.

    ``written_bytes_per_week`` is at least ``write_working_set_bytes``, the distinct bytes that are
    written to in a week.
    """

    index: int
    iops: float
    write_fraction: float
    write_working_set_bytes: int
    written_bytes_per_week: int

    @property
    def name(self) -> str:
        """A name for the VM, the same in a fleet of any size."""
        return f"fleet-{self.index + 1}"

    @property
    def io_bytes(self) -> int:
        """Bytes of one I/O: what it takes to write so much in so many, in whole sectors."""
        writes = self.iops * self.write_fraction * WEEK_SECONDS
        sectors = round(self.written_bytes_per_week / writes / SECTOR_BYTES)
        return min(max(sectors, 1) * SECTOR_BYTES, IO_BYTES_MAX)

    def load(self, seed: int, *, disk_bytes: int, curve: RateCurve | None = None) -> PoissonLoad:
        """Return a load of these figures on one disk, from its start.

        In a week, some of the writes go once through the working set in order; the others, and the
        reads, go to places in it that are drawn with a skew.  So the working set is what the
        profile says, whatever the skew.  Reads are of the same size: the table has none for them.

        Raises:
            ValueError: the disk is smaller than the working set.
        """
        size = self.io_bytes
        slots = max(self.write_working_set_bytes // size, 1)
        if slots * size > disk_bytes:
            raise ValueError(
                f"{self.name} writes to {slots * size} bytes: a disk of {disk_bytes} is too small"
            )
        sweep = min(slots / (self.iops * self.write_fraction * WEEK_SECONDS), 1.0)
        parts = (
            (1.0 - self.write_fraction, Pattern(1.0, size, slots * size, skew=SKEW)),
            (
                self.write_fraction * sweep,
                Pattern(0.0, size, slots * size, sequential_fraction=1.0),
            ),
            (
                self.write_fraction * (1.0 - sweep),
                Pattern(0.0, size, slots * size, skew=SKEW),
            ),
        )
        mix = Mix(tuple(part for part in parts if part[0] > 0))
        return PoissonLoad(seed, self.name, self.iops, (mix,), curve=curve)


def fleet(count: int, seed: int) -> tuple[VmProfile, ...]:
    """Return *count* VMs, each a matter of its index and *seed* alone.

    ``fleet(10, seed)[:5] == fleet(5, seed)``.  Between two percentiles of the table, figures are
    interpolated on a logarithmic scale, fractions on a linear one; none is outside of the table.
    """
    ranks = np.array([_correlated(row) for row in _normal(count, seed)]).reshape(count, 4)
    at = np.array(PERCENTILES) / 100

    def logarithmic(column: int, table: tuple[float, ...]) -> list[float]:
        found: list[float] = np.exp(np.interp(ranks[:, column], at, np.log(table))).tolist()
        return found

    iops = logarithmic(0, IOPS)
    fraction = np.interp(ranks[:, 1], at, WRITE_FRACTION).tolist()
    working_set = [round(gib * GIB) for gib in logarithmic(2, WRITE_WORKING_SET_GIB)]
    written = [round(gib * GIB) for gib in logarithmic(3, WRITTEN_GIB)]
    return tuple(
        VmProfile(index, iops[index], fraction[index], distinct, max(written[index], distinct))
        for index, distinct in enumerate(working_set)
    )


def _normal(count: int, seed: int) -> list[list[float]]:
    """Return independent normal draws, four to a VM."""
    draws = units(stream_key(seed, "fleet"), 0, 4 * count).reshape(count, 4).tolist()
    quantile = NormalDist().inv_cdf
    return [[quantile(max(u, _SMALLEST)) for u in row] for row in draws]


def _correlated(independent: list[float]) -> list[float]:
    """Return four ranks in [0, 1] that are correlated as the table says."""
    rank = NormalDist().cdf
    return [rank(sum(a * z for a, z in zip(row, independent, strict=False))) for row in _FACTOR]


def _cholesky(matrix: list[list[float]]) -> list[list[float]]:
    """Return the lower triangle that, times itself transposed, is *matrix*; row by row."""
    lower: list[list[float]] = []
    for i, row in enumerate(matrix):
        made: list[float] = []
        for j in range(i):
            rest = row[j] - sum(a * b for a, b in zip(made, lower[j], strict=False))
            made.append(rest / lower[j][j])
        made.append(sqrt(row[i] - sum(a * a for a in made)))
        lower.append(made)
    return lower


_FACTOR: Final = _cholesky([[2 * sin(pi * rho / 6) for rho in row] for row in RANK_CORRELATION])
