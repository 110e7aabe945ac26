"""Quirks: what hypervisors in the field are known to do, as named switches that are off by default.

Those that are *legal* keep the contract of the vSphere API: answers may hold false positives, pages
may be empty, a task's success does not mean that everything it stands for is visible already.  A
client that loses data on one of them is wrong.  The others lose data behind the client's back, and
what can be asked of a client's operator is to find out: the oracle shows what is missing.

Where each of them acts:

    extend-past-128-gib             Tracker.grown · changes      areas lie elsewhere than the writes
    changes-lost-in-consolidation   Consolidation · Tracker      a set of grains is thrown away
    tracking-on-snapshot            Hypervisor.set_tracking      ``"*"`` misses what is older
    false-positives                 changes                      areas that nobody wrote
    empty-pages                     paging                       a gap is a page of its own
    consolidation-needed-silently   consolidate.remove           deltas stay, nobody is told
    delta-stays-locked              consolidate.remove           deltas stay, and stay locked
    delayed-properties              whoever shows properties     they follow the task, late
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Quirk:
    """A quirk; *legal* says whether the contract allows it."""

    name: str
    legal: bool
    summary: str


EXTEND_PAST_128_GIB: Final = "extend-past-128-gib"
CHANGES_LOST: Final = "changes-lost-in-consolidation"
TRACKING_ON_SNAPSHOT: Final = "tracking-on-snapshot"
FALSE_POSITIVES: Final = "false-positives"
EMPTY_PAGES: Final = "empty-pages"
SILENT_CONSOLIDATION: Final = "consolidation-needed-silently"
LOCKED_DELTA: Final = "delta-stays-locked"
DELAYED_PROPERTIES: Final = "delayed-properties"

QUIRKS: Final = {
    quirk.name: quirk
    for quirk in (
        Quirk(
            EXTEND_PAST_128_GIB,
            legal=False,
            summary="a tracked disk extended past 128 GiB, or a later power of two, reports its "
            "changes where they are not, until its tracking starts anew (KB 310751)",
        ),
        Quirk(
            CHANGES_LOST,
            legal=False,
            summary="what is written during a consolidation is missing from the changed areas "
            "(KB 317933)",
        ),
        Quirk(
            TRACKING_ON_SNAPSHOT,
            legal=False,
            summary="tracking switched on with a snapshot present succeeds, and the areas in use "
            "are then only those written since (vSphere 6.5 and later; by third parties)",
        ),
        Quirk(
            FALSE_POSITIVES,
            legal=True,
            summary="areas that nobody wrote are among the changed ones",
        ),
        Quirk(
            EMPTY_PAGES,
            legal=True,
            summary="where nothing changed for a while, a page says just that",
        ),
        Quirk(
            SILENT_CONSOLIDATION,
            legal=True,
            summary="removing a snapshot succeeds without merging anything: the VM needs "
            "consolidation afterwards",
        ),
        Quirk(
            LOCKED_DELTA,
            legal=True,
            summary="removing a snapshot succeeds, but a backup proxy keeps the delta disks open: "
            "no consolidation succeeds until it lets go",
        ),
        Quirk(
            DELAYED_PROPERTIES,
            legal=True,
            summary="what a task has changed is visible some seconds after its success",
        ),
    )
}


class Quirks:
    """The switches of a hypervisor.

    Args:
        on: names of those that are on.

    Raises:
        Misuse: there is no quirk of such a name, here and in every method.
    """

    def __init__(self, on: Iterable[str] = ()) -> None:
        self._on: set[str] = set()
        for name in on:
            self.switch(name, on=True)

    def __contains__(self, name: str) -> bool:
        return _known(name) in self._on

    def __iter__(self) -> Iterator[str]:
        """Yield the names of those that are on, in the order of ``QUIRKS``."""
        return (name for name in QUIRKS if name in self._on)

    def switch(self, name: str, *, on: bool) -> None:
        """Switch a quirk on or off; what it has done to a VM already stays done."""
        if on:
            self._on.add(_known(name))
        else:
            self._on.discard(_known(name))


def _known(name: str) -> str:
    if name not in QUIRKS:
        raise Misuse("quirks", f"{name!r} is none of {', '.join(QUIRKS)}")
    return name
