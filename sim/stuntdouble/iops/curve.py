"""How the rate of a load changes over a day, or any other period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HOUR: Final = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class RateCurve:
    """A multiplier of a rate: constant for a while, then another, and over again.

        multiplier   2 |      ┌────┐            ┌────┐
                     1 |──────┘    └────────────┘    └──────
                       0                       a period      seconds

    A Poisson process of a changing rate is one of rate 1 on a clock that runs as fast as the rate
    says (Çinlar, "Introduction to Stochastic Processes", 1975, section 4.7).  So an arrival is
    moved to the moment at which the integral of the multiplier has come to where it was: exact,
    and each arrival by itself.

    Args:
        steps: (seconds, multiplier), one after the other; a multiplier of 0 is silence.
    """

    steps: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        good = all(0 < s < np.inf and 0 <= m < np.inf for s, m in self.steps)
        if not good or not any(multiplier for _, multiplier in self.steps):
            raise ValueError(
                f"a curve of steps {self.steps}: each lasts more than 0 seconds, "
                "no multiplier is below 0, and one is above"
            )

    @property
    def period_seconds(self) -> float:
        """How long it takes until the curve begins again."""
        return float(self._edges()[0][-1])

    @property
    def mean(self) -> float:
        """The mean multiplier."""
        seconds, work = self._edges()
        return float(work[-1] / seconds[-1])

    def starting(self, seconds: float) -> RateCurve:
        """Return the same curve begun *seconds* later: ``OFFICE_DAY.starting(22 * 3600)``."""
        rest = seconds % self.period_seconds
        before: list[tuple[float, float]] = []
        for index, (lasts, multiplier) in enumerate(self.steps):
            if rest < lasts:
                head = ((lasts - rest, multiplier), *self.steps[index + 1 :])
                return RateCurve((*head, *before, *([(rest, multiplier)] if rest else [])))
            before.append((lasts, multiplier))
            rest -= lasts
        return self  # rounding: a whole period later

    def integral(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the integral of the multiplier from 0 to *seconds*."""
        starts, work = self._edges()
        laps, rest = np.divmod(seconds, starts[-1])
        found: NDArray[Any] = laps * work[-1] + np.interp(rest, starts, work)
        return found

    def when(self, work: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds at which ``integral`` comes to *work*; after a silence, its end."""
        edges, sums = self._edges()
        laps, rest = np.divmod(work, sums[-1])
        # The last step that begins at `rest` or before: a silent one has no work of its own.
        step = np.searchsorted(sums, rest, side="right") - 1
        multiplier = np.array([m for _, m in self.steps])[step]
        within = (rest - sums[step]) / multiplier
        found: NDArray[Any] = laps * edges[-1] + np.minimum(edges[step] + within, edges[step + 1])
        return found

    def _edges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where each step begins, and the last one ends: in seconds, and in work."""
        seconds = np.array([0.0, *(s for s, _ in self.steps)])
        work = np.array([0.0, *(s * m for s, m in self.steps)])
        return np.add.accumulate(seconds), np.add.accumulate(work)


# Days from midnight, of mean 1, so that a load keeps its mean rate.  Their shapes are chosen to be
# easy to tell apart in a plot, not measured: give your own steps where they matter.

OFFICE_DAY: Final = RateCurve(
    (
        (7 * _HOUR, 0.4),
        (2 * _HOUR, 1.2),
        (8 * _HOUR, 1.8),
        (3 * _HOUR, 0.8),
        (4 * _HOUR, 0.5),
    )
)
"""Busy from nine to five."""

BATCH_NIGHT: Final = RateCurve(
    (
        (2 * _HOUR, 3.0),
        (4 * _HOUR, 1.5),
        (16 * _HOUR, 0.375),
        (2 * _HOUR, 3.0),
    )
)
"""Busy from ten at night, when batch jobs run, which is when backups would."""
