"""What a run of these benchmarks finds: medians of figures, and goals that they meet or miss."""

from __future__ import annotations

import platform
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that was asked for: at least so much, or at most."""

    what: str
    value: float
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether the figure is what was asked for."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def as_json(self) -> dict[str, Any]:
        """Return the goal as JSON has it."""
        asked = "at_least" if self.at_least else "at_most"
        return {"what": self.what, "value": self.value, asked: self.bound, "met": self.met}


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a benchmark's rounds; ``missing`` says who could not take part, and why."""

    bench: str
    rounds: int
    figures: Figures
    goals: list[Goal] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return {
            "bench": self.bench,
            "rounds": self.rounds,
            "figures": self.figures,
            "goals": [goal.as_json() for goal in self.goals],
            "missing": self.missing,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of a suite found, with what: versions by name."""

    rounds: int
    quick: bool
    rows: list[Row]
    versions: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "schema_version": 1,
            "rounds": self.rounds,
            "quick": self.quick,
            "machine": {"processor": platform.machine(), "system": platform.system()},
            "versions": {"python": platform.python_version(), **self.versions},
            "rows": [row.as_json() for row in self.rows],
        }


class Contest(Protocol):
    """A benchmark: it is opened once, and then every round has each party do the same in turn."""

    @property
    def name(self) -> str:
        """The benchmark's name."""
        ...

    def open(self, stack: ExitStack) -> None:
        """Start what takes part; *stack* stops it."""
        ...

    def turn(self) -> Figures:
        """Run a round; each has the same figures."""
        ...

    def goals(self, medians: Figures) -> list[Goal]:
        """Return what is asked of the medians."""
        ...

    def missing(self) -> list[str]:
        """Return who does not take part, and why."""
        ...


def run(contests: Sequence[Contest], rounds: int, began: Callable[[str, int], object]) -> list[Row]:
    """Run benchmarks one after the other; *began* hears of each round before it begins."""
    rows = []
    for contest in contests:
        began(contest.name, 0)
        turns: list[Figures] = []
        with ExitStack() as stack:
            contest.open(stack)
            for k in range(rounds):
                began(contest.name, k)
                turns.append(contest.turn())
        medians = {name: median(turn[name] for turn in turns) for name in turns[0]}
        rows.append(Row(contest.name, rounds, medians, contest.goals(medians), contest.missing()))
    return rows
