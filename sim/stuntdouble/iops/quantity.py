"""What a watch may look at: quantities that every engine keeps as a number of its own.

A watch takes any function.  These are functions too, and an engine that keeps the number in a table
looks at it there, without leaving its loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stuntdouble.iops.engine import Guest, Stream
    from stuntdouble.site import File, Site


class OfGuest(Enum):
    """A number that is kept of each guest."""

    ARRIVED = "arrived"
    COMPLETED = "completed"
    IN_FLIGHT = "in_flight"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class GuestCount:
    """How many I/Os of a guest have arrived or completed, are in flight or wait."""

    guest: Guest
    what: OfGuest

    def __call__(self) -> float:
        """Return the number as it is now."""
        number = getattr(self.guest, self.what.value)
        return len(number) if self.what is OfGuest.WAITING else number


@dataclass(frozen=True, slots=True)
class ItemsDone:
    """How many items of a stream have ended."""

    stream: Stream

    def __call__(self) -> float:
        """Return the number as it is now."""
        return self.stream.done


@dataclass(frozen=True, slots=True)
class ReserveTaken:
    """How many blocks of a pool's snapshot reserve are taken, of *reserve_blocks* there are."""

    site: Site
    pool: int
    reserve_blocks: int

    def __call__(self) -> float:
        """Return the number as it is now."""
        free = self.site.reserve_free_bytes(self.pool) // self.site.block_bytes
        return self.reserve_blocks - free


@dataclass(frozen=True, slots=True)
class DeltaGrains:
    """How many grains a delta disk's file has allocated, which is its size in content blocks."""

    file: File

    def __call__(self) -> float:
        """Return the number as it is now."""
        return self.file.used_blocks


Quantity = GuestCount | ItemsDone | ReserveTaken | DeltaGrains
