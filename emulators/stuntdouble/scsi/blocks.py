"""READ and WRITE, and where on a unit a CDB points."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import GOOD, Direction, Transfer, sends
from stuntdouble.scsi.command import Access, Call, Command
from stuntdouble.scsi.sense import CheckError, Key, Sense, bad_cdb, illegal
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from typing import Any, TypeAlias

    from stuntdouble.scsi.answers import Buffer
    from stuntdouble.scsi.command import Outcome, Steps
    from stuntdouble.scsi.units import Unit

    Extent: TypeAlias = tuple[int, int]

TRANSFER_BYTES_MAX: Final = 32 * MIB
"""The most that one command moves (Block Limits VPD page): as much as READ(10) can say in blocks of
512 bytes, and one block more.  Chosen."""

_SIX: Final = Struct(">xBHB")
_TEN: Final = Struct(">2xIxH")
_TWELVE: Final = Struct(">2xII")
_SIXTEEN: Final = Struct(">2xQI")
_FUA: Final = 0x08
_READ_TEN, _READ_SIXTEEN = 0x28, 0x88


def extent6(cdb: bytes) -> Extent:
    """Return block and count of a CDB of 6 bytes; a count of 0 is 256 (SBC-3 5.7)."""
    high, low, count = _SIX.unpack_from(cdb)
    return (high & 0x1F) << 16 | low, count or 256


def extent10(cdb: bytes) -> Extent:
    """Return block and count of a CDB of 10 bytes."""
    block, count = _TEN.unpack_from(cdb)
    return block, count


def extent12(cdb: bytes) -> Extent:
    """Return block and count of a CDB of 12 bytes."""
    block, count = _TWELVE.unpack_from(cdb)
    return block, count


def extent16(cdb: bytes) -> Extent:
    """Return block and count of a CDB of 16 bytes."""
    block, count = _SIXTEEN.unpack_from(cdb)
    return block, count


_BY_GROUP: Final = {0: extent6, 1: extent10, 2: extent10, 4: extent16, 5: extent12}


def extent_of(cdb: bytes) -> Extent:
    """Return block and count of a CDB that has them, by the group of its opcode (SPC-4 4.2.5.1)."""
    return _BY_GROUP[cdb[0] >> 5](cdb)


def check_extent(unit: Unit, block: int, count: int) -> Extent:
    """Return a range of blocks in bytes, or refuse it: it has to lie on the unit.

    Nothing may be asked for right behind the last block, and nowhere else (SBC-3 4.5.1).
    """
    size = unit.block_bytes
    if block + count > unit.size_bytes // size:
        raise illegal(0x21)
    return block * size, count * size


def check_length(length: int, field: int) -> None:
    """Refuse to move more bytes than the Block Limits page says; *field* has their count."""
    if length > TRANSFER_BYTES_MAX:
        raise bad_cdb(field)


def check_writable(call: Call) -> None:
    """Refuse to write to what is read-only, or protected by software (SWP)."""
    if call.disk.read_only:
        raise CheckError(Sense(Key.DATA_PROTECT, 0x27, 0x00))
    if call.path.state.modes.protected:
        raise CheckError(Sense(Key.DATA_PROTECT, 0x27, 0x02))


def taken(data: Buffer, length: int) -> Buffer:
    """Return what a command takes of what was sent; refuse if that is too little.

    INVALID FIELD IN COMMAND INFORMATION UNIT is what a transport's short count amounts to.
    """
    if len(data) < length:
        raise illegal(0x0E, 0x03)
    return data if len(data) == length else memoryview(data)[:length]


def store(call: Call, offset: int, length: int) -> Generator[Any, Any, Buffer]:
    """Write what an initiator sends for a range, and return it.

    Where it has announced less than its CDB says, so much is written and the transport tells it how
    much is missing, as transports ask for (FCP-4 9.4.2, RFC 7143 11.4.5.1); if that ends within a
    block, the rest of the block stays.
    """
    unit = call.disk
    data = taken(call.data, length if call.announced is None else min(length, call.announced))
    size = unit.block_bytes
    whole = len(data) // size * size
    if whole:
        yield unit.write(offset, data if whole == len(data) else memoryview(data)[:whole])
    if whole < len(data):
        rest = bytes(memoryview(data)[whole:])
        yield unit.change(offset + whole, size, lambda old: rest + old[len(rest) :])
    return data


def check_announced(call: Call, length: int, refusal: CheckError) -> None:
    """Refuse if the initiator said that it would send more than a command takes.

    It is for commands that would do something else than what was meant; where the rest would merely
    not be taken, that is no error.
    """
    if call.announced is not None and call.announced > length:
        raise refusal


def moves(
    direction: Direction, extent: Callable[[bytes], Extent]
) -> Callable[[bytes, int], Transfer]:
    """Return what says how much a command moves that moves whole blocks.

    Nothing, where it will be refused for asking too much.
    """

    def data(cdb: bytes, block_bytes: int) -> Transfer:
        length = extent(cdb)[1] * block_bytes
        return Transfer(direction, length if length <= TRANSFER_BYTES_MAX else 0)

    return data


def _read(extent: Callable[[bytes], Extent], field: int) -> Callable[[Call], Outcome]:
    def read(call: Call) -> Steps:
        block, count = extent(call.cdb)
        offset, length = check_extent(call.disk, block, count)
        check_length(length, field)
        if not length:
            return GOOD
        return sends(*(yield call.disk.read(offset, length)))

    return read


def _write(
    extent: Callable[[bytes], Extent], field: int, *, fua: int = _FUA
) -> Callable[[Call], Outcome]:
    def write(call: Call) -> Steps:
        unit, (block, count) = call.disk, extent(call.cdb)
        offset, length = check_extent(unit, block, count)
        check_length(length, field)
        check_writable(call)
        data = yield from store(call, offset, length)
        if data and call.cdb[1] & fua:
            yield unit.flush()
        return GOOD

    return write


def fast_read(unit: Unit, cdb: bytes) -> Sequence[Buffer] | Awaitable[Sequence[Buffer]] | None:
    """Read for READ(10) and READ(16) of the common kind; None leaves a CDB to the table.

    They are what a backup consists of, so they go without ceremony.  The rest of a command's rules
    has been seen to: no attention, no reservation.
    """
    code = cdb[0]
    if code == _READ_TEN and not (cdb[1] & 0xE7 or cdb[6] & 0xE0 or cdb[9]):
        block, count = _TEN.unpack_from(cdb)
    elif code == _READ_SIXTEEN and not (cdb[1] & 0xE7 or cdb[14] & 0xE0 or cdb[15]):
        block, count = _SIXTEEN.unpack_from(cdb)
    else:
        return None
    size = unit.block_bytes
    length = count * size
    if not 0 < length <= TRANSFER_BYTES_MAX or block + count > unit.size_bytes // size:
        return None
    return unit.read(block * size, length)


COMMANDS: Final = (
    Command(
        "READ(6)",
        0x08,
        "1fffffff00",
        _read(extent6, 4),
        moves(Direction.IN, extent6),
        access=Access.READ,
    ),
    Command(
        "READ(10)",
        0x28,
        "18ffffffff1fffff00",
        _read(extent10, 7),
        moves(Direction.IN, extent10),
        access=Access.READ,
    ),
    Command(
        "READ(12)",
        0xA8,
        "18ffffffffffffffff1f00",
        _read(extent12, 6),
        moves(Direction.IN, extent12),
        access=Access.READ,
    ),
    Command(
        "READ(16)",
        0x88,
        "18ffffffffffffffffffffffff1f00",
        _read(extent16, 10),
        moves(Direction.IN, extent16),
        access=Access.READ,
    ),
    Command(
        "WRITE(6)",
        0x0A,
        "1fffffff00",
        _write(extent6, 4, fua=0),
        moves(Direction.OUT, extent6),
        access=Access.WRITE,
    ),
    Command(
        "WRITE(10)",
        0x2A,
        "18ffffffff1fffff00",
        _write(extent10, 7),
        moves(Direction.OUT, extent10),
        access=Access.WRITE,
    ),
    Command(
        "WRITE(12)",
        0xAA,
        "18ffffffffffffffff1f00",
        _write(extent12, 6),
        moves(Direction.OUT, extent12),
        access=Access.WRITE,
    ),
    Command(
        "WRITE(16)",
        0x8A,
        "18ffffffffffffffffffffffff1f00",
        _write(extent16, 10),
        moves(Direction.OUT, extent16),
        access=Access.WRITE,
    ),
)
