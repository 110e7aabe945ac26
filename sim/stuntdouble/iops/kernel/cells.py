"""Where the quantities lie that a watch may look at without leaving the loop."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from stuntdouble.iops.kernel.parts import KernelStream
from stuntdouble.iops.kernel.tables import (
    G_ARRIVED,
    G_COMPLETED,
    G_IN_FLIGHT,
    G_WAITING,
    S_DONE,
    State,
)
from stuntdouble.iops.quantity import DeltaGrains, GuestCount, ItemsDone, OfGuest, ReserveTaken
from stuntdouble.site.tables import F_USED, P_FREE

if TYPE_CHECKING:
    from collections.abc import Callable

_FAR: Final = 1 << 62  # no quantity comes as far
_COLUMNS: Final = {
    OfGuest.ARRIVED: G_ARRIVED,
    OfGuest.COMPLETED: G_COMPLETED,
    OfGuest.IN_FLIGHT: G_IN_FLIGHT,
    OfGuest.WAITING: G_WAITING,
}


def row_of(
    state: State, quantity: Callable[[], float], threshold: float
) -> tuple[int, int, int] | None:
    """Return the row of a watch on a cell of the tables; None where *quantity* is none."""
    offset, sign = 0, 1
    if isinstance(quantity, GuestCount):
        cell = state.guests[quantity.guest.number, _COLUMNS[quantity.what] :]
    elif isinstance(quantity, ItemsDone) and isinstance(quantity.stream, KernelStream):
        cell = state.streams[quantity.stream.number, S_DONE:]
    elif isinstance(quantity, DeltaGrains):
        file = quantity.file
        cell = file.store.site.arena.tables.files[file.number, F_USED:]
    elif isinstance(quantity, ReserveTaken):
        cell = quantity.site.arena.tables.pools[quantity.pool, P_FREE:]
        offset, sign = quantity.reserve_blocks, -1
    else:
        return None
    return int(cell.ctypes.data), sign, ceil(min(max(threshold - offset, -_FAR), _FAR))
