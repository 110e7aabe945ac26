"""What an engine refuses at its doors, before anything has happened: one clear line each.

Constructors of values (loads, services, geometries, specifications of streams) raise ValueError;
doors of an engine raise Misuse, which says where.
"""

from __future__ import annotations

from math import inf, isnan
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from stuntdouble.iops.engine import Guest
    from stuntdouble.iops.route import Geometry
    from stuntdouble.site import Step

BYTES_MAX: Final = 1 << 62
"""No size or address reaches this, so that the sum of two still is an int64."""

Row = tuple[float, int, bool, int, int]
"""Of a load: seconds, index of the disk, write, offset, length."""


# For constructors. -------------------------------------------------------------------------------


def check_number(what: str, value: float, *, least: float = 0.0, most: float = inf) -> None:
    """Raise ValueError unless *value* is a finite number in [least, most]."""
    if not least <= value <= most or value in {inf, -inf}:
        bound = f"{least:g} or more" if most == inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{what} is {value}: it must be a finite number, {bound}")


def check_positive(what: str, value: float) -> None:
    """Raise ValueError unless *value* is a finite number above 0."""
    if not 0 < value < inf:
        raise ValueError(f"{what} is {value}: it must be a finite number above 0")


def check_bytes(what: str, value: int, *, least: int = 1) -> None:
    """Raise ValueError unless *value* is a number of bytes that addresses can be made of."""
    if not least <= value < BYTES_MAX:
        raise ValueError(f"{what} is {value} bytes: it must be {least} or more, and below 4 EiB")


def check_pace(depth: int, bytes_per_second: float) -> None:
    """Raise ValueError for a stream's depth or pace that makes no sense."""
    if depth < 0:
        raise ValueError(f"a stream of depth {depth}: 0 pauses it, and less is nothing")
    if not bytes_per_second >= 0:
        raise ValueError(f"a stream of {bytes_per_second} bytes per second: 0 is no limit")


# For doors. --------------------------------------------------------------------------------------


def check_geometry(geometry: Geometry, stations: int) -> None:
    """Refuse a pool on stations that do not exist."""
    last = max(geometry.first + geometry.members - 1, geometry.port)
    if last >= stations:
        raise Misuse("a pool", f"it lies on station {last}, and there are {stations}")


def check_pool(pool: int, pools: Collection[int]) -> None:
    """Refuse a pool that no station has been named for."""
    if pool not in pools:
        known = ", ".join(map(str, pools)) or "none"
        raise Misuse(f"pool {pool}", f"add it first: known are {known}")


def check_uncached(pool: int, cached: Collection[int]) -> None:
    """Refuse a second cache before a pool."""
    if pool in cached:
        raise Misuse(f"pool {pool}", "it has a cache already")


def check_new_pace(depth: int, bytes_per_second: float) -> None:
    """Refuse to change a stream's depth or pace to what makes no sense."""
    try:
        check_pace(depth, bytes_per_second)
    except ValueError as error:
        raise Misuse("a change of pace", str(error)) from None


def check_rate(station: int, factor: float, stations: int) -> None:
    """Refuse a rate that is none, and a station that does not exist."""
    if not 0 <= station < stations:
        raise Misuse(f"the rate of station {station}", f"there are {stations}, counted from 0")
    if not 0 < factor < inf:
        raise Misuse(f"the rate of station {station}", f"{factor} is not above 0 and finite")


def check_outstanding(guest: Guest, outstanding: int) -> None:
    """Refuse a negative limit."""
    if outstanding < 0:
        where = f"the outstanding I/Os of {guest.name}"
        raise Misuse(where, f"{outstanding} is below 0; 0 is no limit")


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that nothing can reach."""
    if isnan(threshold):
        raise Misuse("a watch", "its threshold is not a number")


def check_steps(steps: Iterable[Step], pools: Collection[int]) -> None:
    """Refuse steps to pools that are not there, and of no bytes."""
    for step in steps:
        _, _, _, pool, block, length = step
        check_pool(pool, pools)
        if length < 1 or block < 0 or block >= BYTES_MAX or length >= BYTES_MAX:
            raise Misuse("an I/O", f"{length} bytes at block {block} of pool {pool}")


def check_row(guest: Guest, row: Row, before: float) -> None:
    """Refuse an I/O of a load that makes no sense; *before* is the time of the last, or 0.

    Loads may be endless, so that their rows are looked at as they are read, and none of them is
    issued that is wrong.
    """
    seconds, disk, _, offset, length = row
    if not before <= seconds < inf:
        wrong = f"its clock goes from {before} s to {seconds} s"
    elif not 0 <= disk < len(guest.disks):
        wrong = f"an I/O to disk {disk}, and it has {len(guest.disks)}"
    elif length < 1 or not 0 <= offset <= guest.disks[disk].size_bytes - length:
        end = guest.disks[disk].size_bytes
        wrong = f"{length} bytes at {offset}, and disk {disk} ends at {end}"
    else:
        return
    raise Misuse(f"the load of {guest.name}", wrong)
