"""What a benchmark is made of: cases that are run by turns, samples, and rows of medians."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from time import perf_counter  # noqa: TID251  (a benchmark measures wall time, nothing else does)
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

wall_seconds: Final = perf_counter
"""Wall time, for differences."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: what was done in how much wall time.

    ``served`` are I/Os of guests and visits on account of side I/O, backups and consolidations;
    ``visits`` are all visits of stations, ``events`` what an engine had to bring into order.
    """

    ios: int
    seconds: float
    served: int = 0
    visits: int = 0
    events: int = 0
    facts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """A way to do what a benchmark asks for.

    Args:
        bench: the benchmark.
        name: who does it.
        run: does it once.
        content: the site's content mode, or nothing where there is no site.
        rounds: how often at most; 0 is as often as asked for.
        missing: why it cannot be run here, and what to do about it; nothing where it can.
    """

    bench: str
    name: str
    run: Callable[[], Sample]
    content: str = ""
    rounds: int = 0
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a case's runs.

    ``ratio`` is how many times as fast as the first case of the benchmark: by events a second where
    there are any, since an I/O of a slice may cost more or less than one of the whole.
    """

    bench: str
    name: str
    content: str
    rounds: int = 0
    ios: int = 0
    served: int = 0
    visits: int = 0
    events: int = 0
    seconds: float = 0.0
    ios_per_second: float = 0.0
    served_per_second: float = 0.0
    ratio: float = 0.0
    facts: dict[str, float] = field(default_factory=dict)
    missing: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return asdict(self)


def rounds_of(cases: Sequence[Case], rounds: int) -> Iterable[Case]:
    """Yield the cases as they are to be run: by turns, so that noise hits all of them alike."""
    for k in range(rounds):
        for case in cases:
            if not case.missing and k < (case.rounds or rounds):
                yield case


def rows(cases: Sequence[Case], samples: dict[Case, list[Sample]]) -> list[Row]:
    """Return the medians of each case's samples, in order."""
    made: list[Row] = []
    first: dict[str, float] = {}
    for case in cases:
        if case.missing:
            made.append(Row(case.bench, case.name, case.content, missing=case.missing))
            continue
        made.append(_row(case, samples[case], first))
    return made


def _row(case: Case, taken: list[Sample], first: dict[str, float]) -> Row:
    rate = median(sample.ios / sample.seconds for sample in taken)
    work = median((sample.events or sample.ios) / sample.seconds for sample in taken)
    last = taken[-1]
    return Row(
        case.bench,
        case.name,
        case.content,
        rounds=len(taken),
        ios=last.ios,
        served=last.served,
        visits=last.visits,
        events=last.events,
        seconds=median(sample.seconds for sample in taken),
        ios_per_second=rate,
        served_per_second=median(sample.served / sample.seconds for sample in taken),
        ratio=work / first.setdefault(case.bench, work),
        facts={name: median(sample.facts[name] for sample in taken) for name in last.facts},
    )


def rss_mib(status: Path) -> float:
    """Return the resident memory of this process in MiB, as Linux tells it; 0 where it does not."""
    if not status.exists():
        return 0.0
    lines = status.read_text(encoding="ascii").splitlines()
    held = [int(line.split()[1]) for line in lines if line.startswith("VmRSS:")]
    return held[0] / 1024 if held else 0.0
