"""From blocks of a pool to visits of its devices: striping, mirroring, parity, front-end port.

    RAID 0     stripe k lies on disk k mod n
    RAID 10    on pair k mod n/2; a write visits both, a read one, by turns of a MiB
    RAID 5/6   n-1 (n-2) stripes to a row, the parity disks rotate; a small write first reads old
               data and parity, then writes both: 4 (6) visits.  A row written whole reads nothing.

Stages of a step's group take four groups of visits:

    4g + 0  port, for what a host writes      4g + 2  the devices
    4g + 1  old data and parity               4g + 3  port, for what a host reads
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.iops.checks import check_bytes
from stuntdouble.site import Role, Step

_VISITS: Final = 1 << 10  # room to begin with; it grows with the largest I/O

Visit = tuple[int, int, int, int, int, int]
"""Group, station, write (0 or 1), position in bytes, bytes, role."""


class Raid(IntEnum):
    """How a pool keeps its blocks."""

    RAID0 = 0
    RAID10 = 10
    RAID5 = 5
    RAID6 = 6

    @property
    def parity_disks(self) -> int:
        """Disks of a row that hold parity."""
        return {Raid.RAID5: 1, Raid.RAID6: 2}.get(self, 0)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Which stations a pool's blocks lie on.

    ``members`` stations from ``first`` on hold the data; ``port`` is the front-end's station, or
    -1.  A pooled station (flash channels behind one queue) is RAID 0 with one member.
    """

    raid: Raid
    first: int
    members: int
    stripe_bytes: int
    port: int = -1

    def __post_init__(self) -> None:
        least = {Raid.RAID0: 1, Raid.RAID10: 2, Raid.RAID5: 3, Raid.RAID6: 4}[self.raid]
        if self.members < least or (self.raid is Raid.RAID10 and self.members % 2):
            raise ValueError(f"{self.raid.name} does not work with {self.members} disks")
        check_bytes("a stripe", self.stripe_bytes)
        if self.stripe_bytes & (self.stripe_bytes - 1):
            raise ValueError(f"a stripe of {self.stripe_bytes} bytes is not a power of two")
        if self.first < 0 or self.port < -1:
            raise ValueError(f"stations {self.first} and {self.port}: they are counted from 0")
        if self.first <= self.port < self.first + self.members:
            raise ValueError(f"station {self.port} is both a disk and the port")

    def row(self) -> tuple[int, int, int, int, int]:
        """Return the geometry as compiled code takes it: a stripe is told as a power of two."""
        shift = self.stripe_bytes.bit_length() - 1
        return (int(self.raid), self.first, self.members, shift, self.port)

    def data_disks(self) -> int:
        """Return how many disks' worth of data fit: the rest is redundancy."""
        if self.raid is Raid.RAID10:
            return self.members // 2
        return self.members - self.raid.parity_disks


# Plain numbers, as compiled code sees them.
_RAID10 = int(Raid.RAID10)
_RAID5 = int(Raid.RAID5)
_RAID6 = int(Raid.RAID6)
_ROLE_DATA = int(Role.DATA)
_ROLE_MOVE = int(Role.MOVE_READ)
_ROLE_META = int(Role.METADATA)
_SPARE_MAX = 2
_NOTHING = 1 << 40  # what the first stripe's part of a step can be merged with
PIECE_VISITS: Final = 2 + 2 * _SPARE_MAX
"""Visits that one stripe's part of a step takes at most."""
_PIECE_VISITS = PIECE_VISITS


@njit(forceinline=True)
def _visit(  # noqa: PLR0913, PLR0917  (inlined: a tuple would be built and taken apart)
    out: Any,
    n: Any,
    first: Any,
    group: Any,
    station: Any,
    write: Any,
    at: Any,
    size: Any,
    role: Any,
) -> Any:
    """Add a visit, or lengthen one of this step on the same disk that it touches or overlaps."""
    for k in range(first, n):
        if out[k, 1] != station or out[k, 0] != group or out[k, 2] != write:
            continue
        start, stop = out[k, 3], out[k, 3] + out[k, 4]
        if start <= at + size and at <= stop:
            out[k, 3] = min(start, at)
            out[k, 4] = max(stop, at + size) - out[k, 3]
            return n
    out[n, 0] = group
    out[n, 1] = station
    out[n, 2] = write
    out[n, 3] = at
    out[n, 4] = size
    out[n, 5] = role
    return n + 1


@njit(forceinline=True)
def _lie(at: Any, shift: Any, columns: Any) -> Any:
    """Return row, column and place on its disk of byte *at*."""
    within = at & ((1 << shift) - 1)
    k = at >> shift
    row = k // columns if columns > 1 else k
    return row, k - row * columns, (row << shift) + within


@njit(forceinline=True)
def _plain(out: Any, n: Any, first: Any, step: Any, g: Any, at: Any, size: Any) -> Any:
    """RAID 0 and RAID 10: one stripe's part of a step."""
    raid, base, members, shift = g[0], g[1], g[2], g[3]
    group = 4 * step[0] + 2
    columns = members // 2 if raid == _RAID10 else members
    _, column, place = _lie(at, shift, columns)
    if raid != _RAID10:
        return _visit(out, n, first, group, base + column, step[2], place, size, step[1])
    disk = base + 2 * column
    if step[2] == 0:
        side = (place >> 20) % 2  # whole MiB from one side, so that sequential reads stay so
        return _visit(out, n, first, group, disk + side, 0, place, size, step[1])
    n = _visit(out, n, first, group, disk, 1, place, size, step[1])
    return _visit(out, n, first, group, disk + 1, 1, place, size, step[1])


@njit(forceinline=True)
def _turn(place: Any, members: Any) -> Any:
    """Return *place*, which is below twice the number of members, counted around."""
    return place if place < members else place - members


@njit(forceinline=True)
def _parity(out: Any, n: Any, first: Any, step: Any, g: Any, at: Any, size: Any, start: Any) -> Any:
    """RAID 5 and RAID 6: one stripe's part of a step, which begins at byte *start*.

    A row that is written whole needs no old data.
    """
    raid, base, members, shift = g[0], g[1], g[2], g[3]
    spare = 1 if raid == _RAID5 else _SPARE_MAX
    columns = members - spare
    row, column, place = _lie(at, shift, columns)
    turned = row % members
    disk = base + _turn(_turn(column + spare, members) + turned, members)
    group = 4 * step[0] + 2
    if step[2] == 0:
        return _visit(out, n, first, group, disk, 0, place, size, step[1])
    row_bytes = columns << shift
    whole = row * row_bytes >= start and (row + 1) * row_bytes <= start + step[4]
    if not whole:
        n = _visit(out, n, first, group - 1, disk, 0, place, size, step[1])
        for p in range(spare):
            parity = base + _turn(turned + p, members)
            n = _visit(out, n, first, group - 1, parity, 0, place, size, step[1])
    n = _visit(out, n, first, group, disk, 1, place, size, step[1])
    if not whole or column == 0:
        for p in range(spare):
            parity = base + _turn(turned + p, members)
            n = _visit(out, n, first, group, parity, 1, place, size, step[1])
    return n


@njit(forceinline=True)
def add_visits(step: Any, n: Any, g: Any, block_bytes: Any, out: Any) -> Any:
    """Append the visits of *step* (group, role, write, block, bytes) to *out*; return how many.

    Args:
        step: five numbers.
        n: rows of *out* that are taken already.
        g: the pool's ``Geometry.row()``.
        block_bytes: bytes of a content block.
        out: rows of a visit, with room for ``PIECE_VISITS`` per stripe and one more.
    """
    raid, stripe, port = g[0], 1 << g[3], g[4]
    first = _NOTHING
    start = n
    role = step[1]
    parity = raid in (_RAID5, _RAID6)
    host = role in (_ROLE_DATA, _ROLE_MOVE, _ROLE_META)
    if port >= 0 and host and step[2] != 0:
        n = _visit(out, n, first, 4 * step[0], port, 1, 0, step[4], role)
    at = step[3] * block_bytes
    stop = at + step[4]
    while at < stop:
        size = min(stop, (at & -stripe) + stripe) - at
        if parity:
            n = _parity(out, n, first, step, g, at, size, step[3] * block_bytes)
        else:
            n = _plain(out, n, first, step, g, at, size)
        at += size
        first = start
    if port >= 0 and host and step[2] == 0:
        n = _visit(out, n, first, 4 * step[0] + 3, port, 0, 0, step[4], role)
    return n


@njit(
    "int64(int64[::1], int64, UniTuple(int64, 5), int64, int64[:, ::1])",
    cache=True,
)
def _route(step: Any, n: Any, g: Any, block_bytes: Any, out: Any) -> Any:
    """See ``add_visits``."""
    row = (step[0], step[1], step[2], step[3], step[4])
    return add_visits(row, n, g, block_bytes, out)


class Router:
    """Turn the steps of an I/O into visits, by the geometry of each pool."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._pools: dict[int, tuple[int, int, int, int, int]] = {}
        self._out = np.zeros((_VISITS, 6), np.int64)
        self._step = np.zeros(5, np.int64)

    def add_pool(self, pool: int, geometry: Geometry) -> None:
        """Say where the blocks of *pool* lie."""
        self._pools[pool] = geometry.row()

    def visits(self, steps: list[Step]) -> list[Visit]:
        """Return the visits of *steps*, in order of their groups."""
        n = 0
        for group, role, write, pool, block, size in steps:
            self._step[:] = group, role, write, block, size
            geometry = self._pools[pool]
            self._make_room(n, (size >> geometry[3]) + 2)
            n = int(_route(self._step, n, geometry, self._block_bytes, self._out))
        rows = [tuple(row) for row in self._out[:n].tolist()]
        rows.sort(key=_group)
        return rows

    def _make_room(self, n: int, pieces: int) -> None:
        """Compiled code does not look where it writes: see that *pieces* more stripes fit."""
        most = n + pieces * _PIECE_VISITS + 1
        if most > len(self._out):
            grown = np.zeros((2 * most, 6), np.int64)
            grown[:n] = self._out[:n]
            self._out = grown


def _group(visit: Visit) -> int:
    return visit[0]
