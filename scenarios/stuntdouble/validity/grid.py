"""A grid of variations of one scenario: how far its winner hangs on what nobody has measured."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from stuntdouble.results import MethodName
from stuntdouble.results.figures import Name, Record
from stuntdouble.validity.row import Number

SAME_WITHIN: Final = 0.10
"""Within 10 % methods are about the same: another seed may turn their order."""


class Axis(Record):
    """Something that is varied."""

    name: Name
    """What it is."""
    key: Name
    """The key of the scenario that is set."""
    values: Annotated[tuple[Name, ...], Field(min_length=2)]
    """What it is set to; the first is the scenario's own."""


class Cell(Record):
    """The scenario with one value of each axis."""

    at: tuple[Name, ...]
    """The value of each axis, in the order of the axes."""
    excess_seconds: dict[MethodName, Number]
    """Excess latency of all guest I/O, by method."""

    @property
    def winners(self) -> frozenset[MethodName]:
        """The method that cost the guests least, and those that cost about the same."""
        least = min(self.excess_seconds.values())
        return frozenset(
            name
            for name, seconds in self.excess_seconds.items()
            if seconds - least <= SAME_WITHIN * max(abs(least), abs(seconds))
        )

    @property
    def margin(self) -> float | None:
        """How many times as much the gentlest of the others cost; None where all are alike."""
        others = [s for name, s in self.excess_seconds.items() if name not in self.winners]
        least = min(self.excess_seconds.values())
        return min(others) / least if others and least > 0 else None


class Sensitivity(Record):
    """What came of a grid."""

    scenario: Name
    """The scenario of the library that was varied."""
    axes: tuple[Axis, ...]
    """What was varied."""
    cells: tuple[Cell, ...]
    """What was run."""

    def changes(self) -> list[tuple[int, Cell, Cell]]:
        """Return (axis, cell, cell) wherever a step along an axis leaves none of the winners."""
        by_place = {cell.at: cell for cell in self.cells}
        found = []
        for cell in self.cells:
            for number, axis in enumerate(self.axes):
                index = axis.values.index(cell.at[number]) + 1
                if index == len(axis.values):
                    continue
                place = (*cell.at[:number], axis.values[index], *cell.at[number + 1 :])
                other = by_place.get(place)
                if other is not None and not other.winners & cell.winners:
                    found.append((number, cell, other))
        return found
