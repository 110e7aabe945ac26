"""Every row there is, in the order of the page."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse
from stuntdouble.validity.blocklayer import BLOCK_LAYER
from stuntdouble.validity.copying import COPYING
from stuntdouble.validity.disks import DISKS
from stuntdouble.validity.queueing import QUEUEING
from stuntdouble.validity.report import Report
from stuntdouble.validity.sites import SITES
from stuntdouble.validity.snapshots import SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.validity.making import Check

SEED: Final = 1
"""Of the report that is kept; any other gives other noise."""


def _number(check: Check) -> int:
    """Return the number of a published table: 10 of ``p10-open``."""
    return int(check.id[1:].partition("-")[0])


CHECKS: Final[tuple[Check, ...]] = (
    *QUEUEING,
    *BLOCK_LAYER,
    *DISKS,
    *sorted((*SNAPSHOTS, *COPYING, *SITES), key=_number),
)
"""Every row there is."""


def chosen(only: Sequence[str], *, quick: bool = False) -> tuple[Check, ...]:
    """Return the rows that are asked for: all where *only* is empty, in the catalogue's order.

    Raises:
        Misuse: there is no such row, or *quick* leaves nothing of *only*.
    """
    names = [check.id for check in CHECKS]
    for name in only:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(close)}?" if close else "--list shows them all"
            raise Misuse(name, f"no row of that name: {hint}")
    found = tuple(c for c in CHECKS if (not only or c.id in only) and (c.quick or not quick))
    if not found:
        raise Misuse(", ".join(only), "not among the quick rows: leave --quick out")
    return found


def run(
    checks: Sequence[Check], *, seed: int = SEED, told: Callable[[str], object] = lambda _: None
) -> Report:
    """Compute *checks* one after the other; *told* hears the title of each before it begins."""
    rows = []
    for check in checks:
        told(check.title)
        rows.append(check.run(seed))
    return Report(seed=seed, rows=tuple(rows))
