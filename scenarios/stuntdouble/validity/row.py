"""A row of the validity report: what is known, what the model says, and how far apart they are.

    Row
    ├── id, section, title, says       what is compared, in a sentence
    ├── source                         who knows it: a theorem, a measurement, a publication
    ├── parameters                     what the model was given, each with where it comes from
    ├── points                         measured against modelled
    ├── error, error_is, tolerance     one number for all points, what it is, and what is allowed
    └── verdict, why                   met | missed | shown, and what is behind it

A row without a tolerance is *shown*: its figures are there to be looked at, and nobody has said
what would be right.  A row that is known to miss says why; it is still a miss on the page, but it
does not fail the suite.  One that was known to miss and does not any more fails it: an explanation
of what is no longer true is worse than none.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from stuntdouble.results.figures import Name, Record

SIGNIFICANT_DIGITS: Final = 6
"""Kept of every figure: more than any claim here needs, and few enough that the last bits of a
platform's logarithm do not show."""

SectionName = Literal["theory", "block layer", "disks", "published"]
Verdict = Literal["met", "missed", "shown"]


def rounded(value: float) -> float:
    """Return *value* with six significant digits, and zero without a sign."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") + 0.0


Number = Annotated[float, Field(allow_inf_nan=False), AfterValidator(rounded)]


class Parameter(Record):
    """Something that the model was given."""

    name: Name
    """What it is."""
    value: Name
    """Its value with its unit."""
    source: Name
    """Where it comes from: the same source as the row's, another one, or `no source`."""


class Point(Record):
    """One figure, as it is known and as the model has it."""

    label: Name
    """What the figure is of."""
    measured: Number | None
    """What is known: by theory, measured, or published; null where nobody has said."""
    modelled: Number
    """What the model says."""
    x: Number | None = None
    """Where it stands on the row's axis; null where the row is no curve."""


class Row(Record):
    """A comparison of the model with something that is known."""

    id: Name
    """By which it is asked for."""
    section: SectionName
    """Which part of the report it belongs to."""
    title: Name
    """The row in a few words."""
    says: Name
    """What is compared, in a sentence or two."""
    source: Name
    """Who knows it."""
    parameters: tuple[Parameter, ...]
    """What the model was given."""
    unit: str
    """Unit of the points; empty for a ratio."""
    axis: str = ""
    """What the points' `x` is; empty where the row is no curve."""
    points: Annotated[tuple[Point, ...], Field(min_length=1)]
    """Measured against modelled."""
    error: Number | None
    """One number for all points; null where there is nothing to compare."""
    error_is: str
    """What `error` and `tolerance` are."""
    tolerance: Number | None
    """The most that `error` may be; null where the row only shows."""
    verdict: Verdict
    """Whether `error` is within `tolerance`."""
    known_miss: bool
    """Whether the row is known to miss, for the reason that it gives."""
    why: str
    """What is behind the verdict, where it does not speak for itself."""

    @property
    def is_as_expected(self) -> bool:
        """Whether the row is nothing to stop for."""
        return (self.verdict == "missed") == self.known_miss


def verdict_of(error: float | None, tolerance: float | None) -> Verdict:
    """Return what *error* is to *tolerance*: an error that is no number misses."""
    if error is None or tolerance is None:
        return "shown"
    return "met" if error <= tolerance else "missed"


def worst_relative(points: tuple[Point, ...]) -> float:
    """Return the largest relative error of the points of which something is known."""
    return max(abs(p.modelled / p.measured - 1) for p in points if p.measured)
