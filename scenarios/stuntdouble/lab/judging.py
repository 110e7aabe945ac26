"""What was measured now, held against what is kept, against the formula and against the engine.

A tolerance is a bound on the root mean square of the relative errors of the bins, or on the
relative error of a single figure.  Each was set from repeated measurements: see ``TOLERANCES``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from stuntdouble.lab.model import closed_form, emulated, relative_rms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stuntdouble.lab.curves import Commit, Curve

    Sides = Mapping["Against", Sequence[float]]

Against = Literal["kept", "formula", "engine"]
Part = Literal["settled", "before commit", "during commit", "after commit", "commit took"]
AGAINST: Final[tuple[Against, ...]] = ("kept", "formula", "engine")

TOLERANCES: Final[dict[tuple[str, Part], float]] = {
    ("no-snapshot", "settled"): 0.01,
    ("redirect-overlay", "settled"): 0.03,
    ("copy-before-write", "settled"): 0.05,
    ("live-commit", "before commit"): 0.05,
    ("live-commit", "during commit"): 0.15,
    ("live-commit", "after commit"): 0.02,
    ("live-commit", "commit took"): 0.35,
}
"""Above the noise of QEMU 7.2 with fio 3.33, and far below what a wrong curve is off by.

Runs with fio's fixed draws differ by 0.1 %, 0.2 % and 0.6 % rms (no snapshot, redirect, copy), runs
with draws of their own by up to 1.7 % and 3.6 %: then two draws are compared, and another fio may
draw differently.  During a commit a bin is up to 10 % off, and the one in which the first pass
ends 27 %, which makes 8 %.  A commit took 30.0 to 32.5 s with fixed draws and 25.3 to 31.2 s with
others; it may end as early as the first pass, at 21.7 s, if no chunk happens to be dirty then.
"""

_SEEDS: Final = range(1, 5)
"""Runs of the engine that are averaged: its own draw then counts half of one."""

_MARGIN_SECONDS: Final = 1.0
"""Kept clear of both ends of a commit.

When the kept curve was measured, the wait for the commit began with the program and not with its
clock, a third of a second earlier.
"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far what was measured is from what it is held against.

    Args:
        against: what that is.
        value: its mean, or its figure.
        error: root mean square of relative errors, or a relative error.
        tolerance: the largest error that is met.
    """

    against: Against
    value: float
    error: float
    tolerance: float

    @property
    def met(self) -> bool:
        """Whether the error is within its tolerance."""
        return self.error <= self.tolerance


@dataclass(frozen=True, slots=True)
class Finding:
    """A curve or a part of one, and what came of comparing it.

    Args:
        curve: its name.
        part: which part, or which figure.
        unit: of ``measured`` and of every value that it is compared with.
        measured: the mean of the part, or the figure.
        comparisons: one for each thing that it is held against.
    """

    curve: str
    part: Part
    unit: str
    measured: float
    comparisons: tuple[Comparison, ...]

    @property
    def met(self) -> bool:
        """Whether every comparison is met."""
        return all(comparison.met for comparison in self.comparisons)


@dataclass(frozen=True, slots=True)
class Judged:
    """A curve as measured and all that it was held against, bin by bin."""

    measured: Curve
    kept: Curve
    models: dict[Against, tuple[float, ...]]
    """By formula and by engine; both end where a commit begins."""
    findings: tuple[Finding, ...]

    @property
    def met(self) -> bool:
        """Whether every finding is met."""
        return all(finding.met for finding in self.findings)


def judge(measured: Curve, kept: Curve) -> Judged:
    """Hold *measured* against *kept*, the formula and the engine, as far as both curves go."""
    width, commit = kept.setup.bin_seconds, kept.commit
    bins = min(len(measured.iops), len(kept.iops))
    if commit:
        bins = int((commit.started_seconds - _MARGIN_SECONDS) // width)
    models = _models(kept, bins)
    sides: Sides = {"kept": kept.iops, **models}
    if commit is None or measured.commit is None:
        findings = [_shape("settled", measured, sides, 1, bins)]
    else:
        ends = (commit.ended_seconds, measured.commit.ended_seconds)
        began = math.ceil((commit.started_seconds + _MARGIN_SECONDS) / width)
        still = int((min(ends) - _MARGIN_SECONDS) // width)
        over = math.ceil((max(ends) + _MARGIN_SECONDS) / width)
        alone: Sides = {"kept": kept.iops}
        findings = [
            _shape("before commit", measured, sides, 1, bins),
            _shape("during commit", measured, alone, began, still),
            _shape("after commit", measured, alone, over, len(measured.iops)),
            _duration(measured, measured.commit, commit),
        ]
    return Judged(measured, kept, models, tuple(findings))


@cache
def _models(kept: Curve, bins: int) -> dict[Against, tuple[float, ...]]:
    case = kept.setup, kept.extra_ios, bins
    formula = closed_form(*case, read_fraction=kept.read_fraction)
    engine = emulated(*case, read_fraction=kept.read_fraction, seeds=_SEEDS)
    return {"formula": tuple(formula.tolist()), "engine": tuple(engine.tolist())}


def _shape(part: Part, measured: Curve, sides: Sides, first: int, last: int) -> Finding:
    """Compare the bins from *first* to before *last*; where there are none, nothing is met."""
    found = measured.iops[first:last]
    limit = TOLERANCES[measured.name, part]
    comparisons = []
    for name, side in sides.items():
        wanted = side[first:last]
        comparable = 0 < len(found) == len(wanted)
        error = relative_rms(found, wanted) if comparable else math.inf
        comparisons.append(Comparison(name, _mean(wanted), error, limit))
    return Finding(measured.name, part, "IOPS", _mean(found), tuple(comparisons))


def _duration(measured: Curve, found: Commit, wanted: Commit) -> Finding:
    """Compare how long the commit took, to the pivot.

    QEMU is ready in the first instant in which no chunk is left to copy, and pivots in the next
    such instant after it was asked to: each alone is luck, from one run to another.
    """
    seconds = (commit.ready_seconds + commit.pivot_seconds for commit in (found, wanted))
    took, kept = seconds
    error = abs(took / kept - 1)
    part: Part = "commit took"
    comparison = Comparison("kept", kept, error, TOLERANCES[measured.name, part])
    return Finding(measured.name, part, "s", took, (comparison,))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
