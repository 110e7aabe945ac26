"""Paths: which pools nobody answers for any more, and what becomes of I/O on its way there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simpy.events import Event

    from stuntdouble.errors import Unreachable
    from stuntdouble.iops.engine import Guest
    from stuntdouble.site import Disk, Lun, Step


class Paths:
    """The pools that are cut off, each with the error that whoever waits for it gets."""

    def __init__(self) -> None:
        self._cut: dict[int, Unreachable] = {}

    def cut(self, pool: int, error: Unreachable) -> None:
        """Cut a pool off, for good."""
        self._cut.setdefault(pool, error)

    def lost(self, luns: Iterable[Lun]) -> Unreachable | None:
        """Return what to tell who uses *luns*; None while all of them answer."""
        return self._first(lun.pool for lun in luns) if self._cut else None

    def error_of(self, pool: int) -> Unreachable:
        """Return what to tell who uses a pool that is cut off."""
        return self._cut[pool]

    def lost_pool(self, luns: Iterable[Lun]) -> int:
        """Return one more than the first pool under *luns* that is cut off, or 0."""
        return next((lun.pool + 1 for lun in luns if lun.pool in self._cut), 0)

    def lost_disk(self, disk: Disk) -> Unreachable | None:
        """Return what to tell who uses *disk*, which may span LUNs."""
        return self.lost(disk.head.file.store.luns) if self._cut else None

    def lost_steps(self, steps: Iterable[Step]) -> Unreachable | None:
        """Return what to tell who posts *steps*."""
        return self._first(step[3] for step in steps) if self._cut else None

    def _first(self, pools: Iterable[int]) -> Unreachable | None:
        return next((self._cut[pool] for pool in pools if pool in self._cut), None)


def fail(event: Event, error: Exception) -> None:
    """Let an event fail for whoever waits for it; it may be that nobody does."""
    event.fail(error)
    event.defused = True


def drain(guest: Guest) -> None:
    """Tell who waits for it when none of the guest's I/O is in flight."""
    if not guest.in_flight:
        for event in guest.drains:
            event.succeed()
        guest.drains.clear()


def hang(guest: Guest, answer: Event, error: Unreachable) -> bool:
    """Keep an I/O in flight until *answer*, which comes only when it is let go of; say so.

    Where its guest is gone it is dropped at once.  Whoever waits for the guest to drain fails.
    """
    if guest.load is None:
        guest.dropped += 1
        guest.in_flight -= 1
        drain(guest)
        return False
    guest.hung.append(answer)
    guest.lost = error
    for event in guest.drains:
        fail(event, error)
    guest.drains.clear()
    return True


def give_up(guest: Guest) -> list[Event]:
    """Drop the I/O that hangs; return what its issuers wait for."""
    answers, guest.hung = guest.hung, []
    guest.dropped += len(answers)
    guest.in_flight -= len(answers)
    drain(guest)
    return answers
