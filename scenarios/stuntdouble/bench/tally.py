"""What a benchmark keeps of its I/Os: counts, a histogram and a print.

Latencies go into a histogram whose bins are a sixteenth of an octave wide (4.4 %).  The *print* is
the sum, modulo 2^64, of the bit patterns of every time that was measured: two engines have the same
one only if they gave the same times, in whatever order they were handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.iops import Purpose
from stuntdouble.iops.measure.doors import Doors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS_PER_OCTAVE: Final = 16
_BINS: Final = 40 * _BINS_PER_OCTAVE  # up to 2^40 us: twelve days
_US: Final = 1e6
_PURPOSES: Final = len(Purpose)
_SIDE: Final = (Purpose.SIDE, Purpose.BACKUP, Purpose.CONSOLIDATION)


class Tally(Doors):
    """Counts of I/Os and visits; see the module."""

    def __init__(self) -> None:
        super().__init__()
        self.ios = 0
        self.histogram = np.zeros(_BINS, np.int64)
        self.by_purpose = np.zeros(_PURPOSES, np.int64)
        self.busy_seconds = np.zeros(_PURPOSES)
        self._print = 0

    # What the engines tell. ----------------------------------------------------------------

    def _keep_ios(self, guests: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        del guests
        self.ios += len(times)
        us = np.maximum((times[:, 1] - times[:, 0]) * _US, 1.0)
        bins = np.minimum((np.log2(us) * _BINS_PER_OCTAVE).astype(np.int64), _BINS - 1)
        self.histogram += np.bincount(bins, minlength=_BINS)
        self._add(times)

    def _keep_visits(self, kinds: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        self.by_purpose += np.bincount(kinds[:, 1], minlength=_PURPOSES)
        self.busy_seconds += np.bincount(kinds[:, 1], times[:, 1], minlength=_PURPOSES)
        self._add(times)

    def _add(self, times: NDArray[np.float64]) -> None:
        bits: Any = np.ascontiguousarray(times).view(np.uint64)
        self._print = (self._print + int(bits.sum(dtype=np.uint64))) % (1 << 64)

    # What comes of it. ---------------------------------------------------------------------

    def close(self) -> None:
        """Count what has been measured and not been handed over yet."""
        self._take_over()

    @property
    def side_visits(self) -> int:
        """Visits on account of side I/O, backups and consolidations."""
        return int(self.by_purpose[list(_SIDE)].sum())

    @property
    def served(self) -> int:
        """Served I/Os: those of guests, and each visit that is on no guest's own account."""
        return self.ios + self.side_visits

    @property
    def print(self) -> int:
        """The sum of the bit patterns of all times."""
        return self._print

    def percentile_seconds(self, percent: float) -> float:
        """Return the middle of the bin below which *percent* of the latencies lie; 0 for none."""
        if not self.ios:
            return 0.0
        reached = np.cumsum(self.histogram) >= self.ios * percent / 100
        return float(2 ** ((np.argmax(reached) + 0.5) / _BINS_PER_OCTAVE) / _US)
