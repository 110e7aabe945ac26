"""WRITE SAME, UNMAP, GET LBA STATUS: blocks that read as zeros, and room that is given back."""

from __future__ import annotations

from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import GOOD, Direction, Transfer, sends
from stuntdouble.scsi.blocks import (
    TRANSFER_BYTES_MAX,
    check_announced,
    check_extent,
    check_writable,
    extent10,
    extent16,
    taken,
)
from stuntdouble.scsi.command import Access, Call, Command
from stuntdouble.scsi.sense import bad_cdb, bad_parameter, illegal
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from stuntdouble.scsi import command
    from stuntdouble.scsi.blocks import Extent
    from stuntdouble.scsi.command import Outcome, Steps
    from stuntdouble.scsi.units import Run

SAME_BYTES_MAX: Final = TRANSFER_BYTES_MAX
"""The most that one WRITE SAME writes (Block Limits VPD page).  Chosen: no more than others do."""

UNMAP_BLOCKS_MAX: Final = 1 << 20
"""The most blocks of one UNMAP, over all its descriptors.  Chosen."""

UNMAP_DESCRIPTORS_MAX: Final = 256
"""The most ranges of one UNMAP: 4 KiB of them.  Chosen."""

_RUNS_MAX: Final = 4096
"""The most ranges of one GET LBA STATUS: 64 KiB of them.  Chosen."""

_PATTERN_BYTES: Final = MIB  # of a repeated block that is written at a time
_UNMAP, _NDOB = 0x08, 0x01
_U16, _U32 = Struct(">H"), Struct(">I")
_UNMAP_HEAD: Final = Struct(">HH4x")
_UNMAP_RANGE: Final = Struct(">QI4x")
_STATUS_HEAD: Final = Struct(">I4x")
_STATUS: Final = Struct(">QIB3x")
_DEALLOCATED: Final = 0x1  # SBC-3 table 60
_COUNT_MAX: Final = 0xFFFF_FFFF


def _write_same(extent: Callable[[bytes], Extent], field: int) -> command.Run:
    def write(call: Call) -> Steps:
        unit, cdb, (block, count) = call.disk, call.cdb, extent(call.cdb)
        if cdb[1] & _UNMAP and not unit.thin:
            raise bad_cdb(1, 3)
        offset, length = check_extent(unit, block, count)
        if not 0 < length <= SAME_BYTES_MAX:  # none would mean all that follow, but for WSNZ
            raise bad_cdb(field)
        check_writable(call)
        size = 0 if cdb[1] & _NDOB else unit.block_bytes
        check_announced(call, size, illegal(0x0E, 0x03))
        data = bytes(taken(call.data, size))
        if not any(data):
            yield unit.zero(offset, length, unmap=bool(cdb[1] & _UNMAP))
            return GOOD
        pattern = data * (min(length, _PATTERN_BYTES) // size)
        for start in range(0, length, len(pattern)):
            yield unit.write(offset + start, pattern[: length - start])
        return GOOD

    return write


def _ranges(call: Call) -> list[Extent]:
    """Return the ranges of an UNMAP in bytes; the first that is wrong refuses all of them."""
    unit = call.disk
    length = _U16.unpack_from(call.cdb, 7)[0]
    data = taken(call.data, length)
    if length < _UNMAP_HEAD.size:
        raise illegal(0x1A)
    rest, listed = _UNMAP_HEAD.unpack_from(data)
    if listed > length - _UNMAP_HEAD.size or rest > length - 2:
        raise illegal(0x1A)
    number = listed // _UNMAP_RANGE.size
    if number > UNMAP_DESCRIPTORS_MAX:
        raise bad_parameter(2)
    found, total = [], 0
    for place in range(number):
        at = _UNMAP_HEAD.size + place * _UNMAP_RANGE.size
        block, count = _UNMAP_RANGE.unpack_from(data, at)
        found.append(check_extent(unit, block, count))
        total += count
        if total > UNMAP_BLOCKS_MAX:
            raise bad_parameter(at + 8)
    return found


def _unmap(call: Call) -> Steps:
    unit = call.disk
    if not unit.thin:
        raise illegal(0x20)
    check_writable(call)
    if not _U16.unpack_from(call.cdb, 7)[0]:
        return GOOD
    for offset, length in _ranges(call):
        if length:
            yield unit.zero(offset, length, unmap=True)
    return GOOD


def _rows(runs: Iterable[Run], block_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Yield block, count and provisioning status of runs; long ones in several rows."""
    for run in runs:
        block, stop = run.offset // block_bytes, (run.offset + run.length) // block_bytes
        while block < stop:
            count = min(stop - block, _COUNT_MAX)
            yield block, count, 0 if run.allocated else _DEALLOCATED
            block += count


def _lba_status(call: Call) -> Outcome:
    unit, (block, room) = call.disk, extent16(call.cdb)
    size = unit.block_bytes
    blocks = unit.size_bytes // size
    if block >= blocks:
        raise illegal(0x21)
    # At least one range is told of, even if there is no room for it.
    wanted = max(1, min((room - _STATUS_HEAD.size) // _STATUS.size, _RUNS_MAX))
    runs = unit.allocated(block * size, (blocks - block) * size)
    body = b"".join(_STATUS.pack(*row) for row in islice(_rows(runs, size), wanted))
    return sends((_STATUS_HEAD.pack(len(body) + 4) + body)[:room])


COMMANDS: Final = (
    Command(
        "WRITE SAME(10)",
        0x41,
        "08ffffffff1fffff00",
        _write_same(extent10, 7),
        lambda _cdb, size: Transfer(Direction.OUT, size),
        access=Access.WRITE,
    ),
    Command(
        "WRITE SAME(16)",
        0x93,
        "09ffffffffffffffffffffffff1f00",
        _write_same(extent16, 10),
        lambda cdb, size: Transfer(Direction.OUT, 0 if cdb[1] & _NDOB else size),
        access=Access.WRITE,
    ),
    Command(
        "UNMAP",
        0x42,
        "00000000001fffff00",
        _unmap,
        lambda cdb, _size: Transfer(Direction.OUT, _U16.unpack_from(cdb, 7)[0]),
        access=Access.WRITE,
        thin=True,
    ),
    Command(
        "GET LBA STATUS",
        0x9E,
        "12ffffffffffffffffffffffff0000",
        _lba_status,
        lambda cdb, _size: Transfer(Direction.IN, _U32.unpack_from(cdb, 10)[0]),
        action=0x12,
        access=Access.READ,
    ),
)
