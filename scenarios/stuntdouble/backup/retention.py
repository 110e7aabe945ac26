"""Which restore points have served their time.

    days ago   ... 9   8   7   6   5   4   3   2   1   0
    points         o   o   o   o   o   o   o   o   o  oo
    keep_last=2                                       xx
    daily=3                                    x   x   x
    weekly=2               x                           x     (a week ends where days 7, 14 ... begin)

Grandfather, father, son: a period keeps its newest restore point, so a week's is the last one
taken in it.  A point stays if any rule keeps it.  Rules count within one VM and method, and the
newest point of each always stays.  Since every restore point is complete on its own, any of them
may go.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.backup.catalog import Catalog
    from stuntdouble.ports import Repository, RestorePoint

DAY_SECONDS: Final = 86_400.0
WEEK_SECONDS: Final = 7 * DAY_SECONDS
MONTH_SECONDS: Final = 30 * DAY_SECONDS  # site time starts at 0 and has no calendar


@dataclass(frozen=True, slots=True)
class Policy:
    """How many restore points stay, per VM and method.

    ``keep_last``: the newest so many.  ``daily``, ``weekly``, ``monthly``: the newest of each of
    so many days, weeks of 7 days and months of 30 days of site time, the present one included.
    """

    keep_last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __post_init__(self) -> None:
        counts = (self.keep_last, self.daily, self.weekly, self.monthly)
        if min(counts) < 0 or not any(counts):
            raise Misuse(f"retention {counts}", "use counts of 0 or more, at least one above 0")


def expired(points: Iterable[RestorePoint], policy: Policy, now: float) -> tuple[RestorePoint, ...]:
    """Return those of *points* that *policy* no longer keeps at *now*, oldest first.

    Points later than *now* count as of the present.
    """
    series: dict[tuple[str, str], list[RestorePoint]] = {}
    ordered = sorted(points, key=lambda point: (point.moment, point.id))
    for point in ordered:
        series.setdefault((point.vm, point.method), []).append(point)
    kept: set[str] = set()
    for same in series.values():
        kept.add(same[-1].id)
        kept.update(point.id for point in same[max(0, len(same) - policy.keep_last) :])
        for period_seconds, count in (
            (DAY_SECONDS, policy.daily),
            (WEEK_SECONDS, policy.weekly),
            (MONTH_SECONDS, policy.monthly),
        ):
            kept |= _newest_of_each(same, period_seconds, count, now)
    return tuple(point for point in ordered if point.id not in kept)


def apply(
    policy: Policy, repository: Repository, catalog: Catalog, now: float
) -> tuple[RestorePoint, ...]:
    """Delete what has expired from *repository*, forget it in *catalog*; return what went.

    The repository first: a crash in between leaves a record without a point, which the next
    ``Catalog.reconcile`` forgets, and never a point that nobody knows of.
    """
    gone = expired(repository.points(), policy, now)
    for point in gone:
        with suppress(NotFound):  # somebody else deleted it since: what was wanted
            repository.delete(point.id)
        catalog.forget(point.id)
    return gone


def _newest_of_each(
    points: list[RestorePoint], period_seconds: float, count: int, now: float
) -> set[str]:
    """Return the newest of *points*, oldest first, in each of the last *count* periods."""
    present = now // period_seconds
    newest: dict[float, str] = {}
    for point in points:
        period = min(point.moment // period_seconds, present)
        if period > present - count:
            newest[period] = point.id
    return set(newest.values())
