"""What an engine refuses at its doors, before anything has happened: one clear line each.

Constructors of values (loads, services, geometries, specifications of streams) raise ValueError;
doors of an engine raise Misuse, which says where.
"""

from __future__ import annotations

from math import inf, isnan
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse
from stuntdouble.units import ADDRESS_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from stuntdouble.iops.engine import Guest
    from stuntdouble.iops.route import Geometry
    from stuntdouble.site import Site, Step

OUTSTANDING_MAX: Final = 1 << 16
"""I/Os at a time that a closed load, a limit of a guest or a stream may ask for: as many as NVMe
lets wait in a queue (64 Ki, NVM Express base specification)."""

SERVERS_MAX: Final = 1 << 20
"""Visits that a station may serve at a time.  Chosen: nobody queues for so many."""

RATE_MIN: Final = 1e-9
"""I/Os per second of a Poisson load.  Chosen: one in 31 years, so that no arrival is infinite."""

RATE_MAX: Final = 1e9
"""I/Os per second of a Poisson load.  Chosen: one each nanosecond, which is what float64 times of two
months tell apart."""

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
    if not least <= value < ADDRESS_BYTES_MAX:
        raise ValueError(f"{what} is {value} bytes: it must be {least} or more, and below 4 EiB")


def check_rate_of_arrivals(iops: float) -> None:
    """Raise ValueError for a rate that makes no sense; 0 is no load."""
    if iops != 0:
        check_number("the rate of a Poisson load", iops, least=RATE_MIN, most=RATE_MAX)


def check_servers(station: int, servers: int) -> None:
    """Raise ValueError for a station that serves nobody, or more than there can be."""
    if servers < 1:
        raise ValueError(f"station {station} has {servers} servers: it needs at least one")
    if servers > SERVERS_MAX:
        raise ValueError(f"station {station} has {servers} servers: {SERVERS_MAX} is the most")


def check_pace(depth: int, bytes_per_second: float) -> None:
    """Raise ValueError for a stream's depth or pace that makes no sense."""
    if depth < 0:
        raise ValueError(f"a stream of depth {depth}: 0 pauses it, and less is nothing")
    if depth > OUTSTANDING_MAX:
        raise ValueError(f"a stream of depth {depth}: {OUTSTANDING_MAX} is the most")
    if not bytes_per_second >= 0:
        raise ValueError(f"a stream of {bytes_per_second} bytes per second: 0 is no limit")


# For doors. --------------------------------------------------------------------------------------


def check_pool_of(site: Site, pool: int) -> None:
    """Refuse a pool that the site does not have."""
    pools = site.arena.used("pools") - 1  # row 0 is none
    if not 1 <= pool <= pools:
        raise Misuse(f"pool {pool}", f"the site has {pools}, counted from 1")


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
    """Refuse a negative limit, and one that nothing can reach."""
    where = f"the outstanding I/Os of {guest.name}"
    if outstanding < 0:
        raise Misuse(where, f"{outstanding} is below 0; 0 is no limit")
    if outstanding > OUTSTANDING_MAX:
        raise Misuse(where, f"{outstanding} is more than {OUTSTANDING_MAX}; 0 is no limit")


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that nothing can reach."""
    if isnan(threshold):
        raise Misuse("a watch", "its threshold is not a number")


def check_steps(steps: Iterable[Step], pools: Collection[int], block_bytes: int) -> None:
    """Refuse steps to pools that are not there, of no bytes, and beyond any address.

    How large a pool is nobody has said: its site knows where its reserve begins, and LUNs may lie
    behind it.
    """
    for step in steps:
        _, _, _, pool, block, length = step
        check_pool(pool, pools)
        if length < 1 or block < 0 or block * block_bytes + length > ADDRESS_BYTES_MAX:
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
