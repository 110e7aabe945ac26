"""Fences: LUNs that admit no I/O for the time being; they nest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.errors import Bug

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.site import Lun


class Fences(dict[int, int]):
    """How many fences are up around each LUN, by its number."""

    @property
    def up(self) -> bool:
        """Whether there is any at all."""
        return any(self.values())

    def put(self, luns: Iterable[Lun]) -> None:
        """Put one more fence around each of *luns*."""
        for lun in luns:
            self[lun.number] = self.get(lun.number, 0) + 1

    def lift(self, luns: Iterable[Lun]) -> None:
        """Take one away from each of *luns*."""
        for lun in luns:
            if not self.get(lun.number):
                raise Bug(f"volume {lun.number} is unfenced and was not fenced")
            self[lun.number] -= 1

    def count(self, luns: Iterable[Lun]) -> int:
        """Return how many fences are around *luns*."""
        return sum(self.get(lun.number, 0) for lun in luns)
