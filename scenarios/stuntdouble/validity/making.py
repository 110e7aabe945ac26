"""Making a row: the function that computes it says what is special, the rest is done here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from stuntdouble.validity.row import Parameter, Row, SectionName, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.validity.row import Point

NO_SOURCE: Final = "no source"
"""Of a parameter for which nobody says what it is."""

OUTSIDE: Final = "relative error outside of the published range"


def given(*rows: tuple[str, str, str]) -> tuple[Parameter, ...]:
    """Return parameters by name, value with its unit, and where that comes from."""
    return tuple(Parameter(name=n, value=v, source=s) for n, v, s in rows)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row's function returns.

    Args:
        points: measured against modelled.
        error: one number for all of them, if there is one.
        why: what is behind it; of a row that is known to miss, the reason.
    """

    points: tuple[Point, ...]
    error: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A row as it stands in the catalogue, before it is computed.

    Args:
        id: by which it is asked for.
        section: which part of the report it belongs to.
        title: the row in a few words.
        says: what is compared, in a sentence or two.
        source: who knows it.
        compute: from a seed to the outcome.
        parameters: what the model is given.
        unit: unit of the points.
        axis: what their ``x`` is.
        error_is: what error and tolerance are.
        tolerance: the most that the error may be.
        known_miss: whether the row is known to miss.
        quick: whether it takes seconds, and is part of the tests.
    """

    id: str
    section: SectionName
    title: str
    says: str
    source: str
    compute: Callable[[int], Outcome]
    parameters: tuple[Parameter, ...] = field(default=())
    unit: str = ""
    axis: str = ""
    error_is: str = ""
    tolerance: float | None = None
    known_miss: bool = False
    quick: bool = False

    def run(self, seed: int) -> Row:
        """Compute the row."""
        outcome = self.compute(seed)
        return Row(
            id=self.id,
            section=self.section,
            title=self.title,
            says=self.says,
            source=self.source,
            parameters=self.parameters,
            unit=self.unit,
            axis=self.axis,
            points=outcome.points,
            error=outcome.error,
            error_is=self.error_is,
            tolerance=self.tolerance,
            verdict=verdict_of(outcome.error, self.tolerance),
            known_miss=self.known_miss,
            why=outcome.why,
        )
