"""VERIFY, WRITE AND VERIFY, COMPARE AND WRITE, ORWRITE: what looks at blocks as well as at data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import GOOD, Direction, Transfer
from stuntdouble.scsi.blocks import (
    TRANSFER_BYTES_MAX,
    check_announced,
    check_extent,
    check_length,
    check_writable,
    extent10,
    extent12,
    extent16,
    moves,
    store,
    taken,
)
from stuntdouble.scsi.command import Access, Call, Command
from stuntdouble.scsi.sense import CheckError, Key, Sense, bad_cdb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.scsi.answers import Buffer
    from stuntdouble.scsi.blocks import Extent
    from stuntdouble.scsi.command import Run, Steps

COMPARED_BLOCKS_MAX: Final = 1
"""The most blocks of COMPARE AND WRITE (Block Limits VPD page): what locks in a file system take."""

_FUA: Final = 0x08
_NOTHING, _ALL, _ONE = 0b00, 0b01, 0b11  # BYTCHK: what is compared (SBC-3 table 121)


def _check_method(cdb: bytes) -> int:
    return cdb[1] >> 1 & 0b11


def differs(parts: Sequence[Buffer], expected: Buffer) -> int | None:
    """Return where the bytes of *parts* first differ from what is expected, or None.

    Bytes beyond what is expected are as they may be.
    """
    view, at = memoryview(expected), 0
    for part in parts:
        want = view[at : at + len(part)]
        is_ = part if len(part) == len(want) else memoryview(part)[: len(want)]
        if is_ != want:
            pairs = zip(bytes(is_), bytes(want), strict=True)
            return at + next(place for place, (one, other) in enumerate(pairs) if one != other)
        at += len(part)
    return None


def miscompare(place: int) -> CheckError:
    """Return MISCOMPARE DURING VERIFY OPERATION, with the offset of the first byte (SBC-3 5.2)."""
    return CheckError(Sense(Key.MISCOMPARE, 0x1D, 0x00, information=place))


def _verify(extent: Callable[[bytes], Extent], field: int) -> Run:
    def verify(call: Call) -> Steps:
        unit, (block, count), how = call.disk, extent(call.cdb), _check_method(call.cdb)
        if how not in (_NOTHING, _ALL, _ONE):
            raise bad_cdb(1, 2)
        offset, length = check_extent(unit, block, count)
        check_length(length, field)
        wanted = taken(call.data, {_NOTHING: 0, _ALL: length, _ONE: unit.block_bytes}[how])
        if not length:
            return GOOD
        parts = yield unit.read(offset, length)
        if how != _NOTHING:
            place = differs(parts, bytes(wanted) * count if how == _ONE else wanted)
            if place is not None:
                raise miscompare(place)
        return GOOD

    return verify


def _verified(extent: Callable[[bytes], Extent]) -> Callable[[bytes, int], Transfer]:
    def data(cdb: bytes, block_bytes: int) -> Transfer:
        count, how = extent(cdb)[1], _check_method(cdb)
        blocks = {_ALL: count, _ONE: 1}.get(how, 0)
        if not blocks or count * block_bytes > TRANSFER_BYTES_MAX:
            return Transfer(Direction.NONE, 0)
        return Transfer(Direction.OUT, blocks * block_bytes)

    return data


def _write_and_verify(extent: Callable[[bytes], Extent], field: int) -> Run:
    def write(call: Call) -> Steps:
        unit, (block, count), how = call.disk, extent(call.cdb), _check_method(call.cdb)
        if how not in (_NOTHING, _ALL):
            raise bad_cdb(1, 2)
        offset, length = check_extent(unit, block, count)
        check_length(length, field)
        check_writable(call)
        data = yield from store(call, offset, length)
        if not data:
            return GOOD
        yield unit.flush()
        blocks = -(-len(data) // unit.block_bytes)
        parts = yield unit.read(offset, blocks * unit.block_bytes)
        place = differs(parts, data)
        if how == _ALL and place is not None:
            raise miscompare(place)
        return GOOD

    return write


def _compare_and_write(call: Call) -> Steps:
    unit, cdb = call.disk, call.cdb
    offset, length = check_extent(unit, int.from_bytes(cdb[2:10], "big"), cdb[13])
    if cdb[13] > COMPARED_BLOCKS_MAX:
        raise bad_cdb(13)
    check_announced(call, 2 * length, bad_cdb(13))
    check_writable(call)
    data = taken(call.data, 2 * length)
    if not length:
        return GOOD
    expected, new = bytes(data[:length]), bytes(data[length:])
    places: list[int] = []

    def update(old: bytes) -> bytes | None:
        place = differs((old,), expected)
        if place is None:
            return new
        places.append(place)
        return None

    yield unit.change(offset, length, update)
    if places:
        raise miscompare(places[0])
    if cdb[1] & _FUA:
        yield unit.flush()
    return GOOD


def _compared(cdb: bytes, block_bytes: int) -> Transfer:
    blocks = 2 * cdb[13] if cdb[13] <= COMPARED_BLOCKS_MAX else 0
    return Transfer(Direction.OUT, blocks * block_bytes)


def _orwrite(call: Call) -> Steps:
    unit, (block, count) = call.disk, extent16(call.cdb)
    offset, length = check_extent(unit, block, count)
    check_length(length, 10)
    check_writable(call)
    bits = int.from_bytes(taken(call.data, length), "big")
    if length:
        yield unit.change(
            offset,
            length,
            lambda old: (int.from_bytes(old, "big") | bits).to_bytes(length, "big"),
        )
        if call.cdb[1] & _FUA:
            yield unit.flush()
    return GOOD


COMMANDS: Final = (
    Command(
        "VERIFY(10)",
        0x2F,
        "16ffffffff1fffff00",
        _verify(extent10, 7),
        _verified(extent10),
        access=Access.READ,
    ),
    Command(
        "VERIFY(12)",
        0xAF,
        "16ffffffffffffffff1f00",
        _verify(extent12, 6),
        _verified(extent12),
        access=Access.READ,
    ),
    Command(
        "VERIFY(16)",
        0x8F,
        "16ffffffffffffffffffffffff1f00",
        _verify(extent16, 10),
        _verified(extent16),
        access=Access.READ,
    ),
    Command(
        "WRITE AND VERIFY(10)",
        0x2E,
        "16ffffffff1fffff00",
        _write_and_verify(extent10, 7),
        moves(Direction.OUT, extent10),
        access=Access.WRITE,
    ),
    Command(
        "WRITE AND VERIFY(12)",
        0xAE,
        "16ffffffffffffffff1f00",
        _write_and_verify(extent12, 6),
        moves(Direction.OUT, extent12),
        access=Access.WRITE,
    ),
    Command(
        "WRITE AND VERIFY(16)",
        0x8E,
        "16ffffffffffffffffffffffff1f00",
        _write_and_verify(extent16, 10),
        moves(Direction.OUT, extent16),
        access=Access.WRITE,
    ),
    Command(
        "COMPARE AND WRITE",
        0x89,
        "18ffffffffffffffff000000ff1f00",
        _compare_and_write,
        _compared,
        access=Access.WRITE,
    ),
    Command(
        "ORWRITE(16)",
        0x8B,
        "18ffffffffffffffffffffffff1f00",
        _orwrite,
        moves(Direction.OUT, extent16),
        access=Access.WRITE,
    ),
)
