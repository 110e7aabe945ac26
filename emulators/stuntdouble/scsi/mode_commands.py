"""MODE SENSE and MODE SELECT: headers and block descriptors around mode pages (SPC-4 6.11 to 6.14)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from stuntdouble.scsi.answers import GOOD, Direction, Transfer, sends
from stuntdouble.scsi.blocks import taken
from stuntdouble.scsi.command import Access, Call, Command
from stuntdouble.scsi.paths import MODE_CHANGED
from stuntdouble.scsi.sense import bad_cdb, bad_parameter, illegal

if TYPE_CHECKING:
    from stuntdouble.scsi.command import Outcome
    from stuntdouble.scsi.units import Unit

_U16: Final = Struct(">H")
_SHORT: Final = Struct(">II")
_LONG: Final = Struct(">Q4xI")
_U32_MAX: Final = 0xFFFF_FFFF
_WP, _DPOFUA = 0x80, 0x10  # device-specific parameter (SBC-3 table 159)
_DBD, _LLBAA, _PF, _SP = 0x08, 0x10, 0x10, 0x01
_LONGLBA: Final = 0x01


class _Form(NamedTuple):
    """What differs between the commands of 6 and of 10 bytes: where things are, and how long."""

    header_bytes: int
    length_bytes: int
    room: slice
    device: int
    descriptors: slice


_SIX: Final = _Form(4, 1, slice(4, 5), 2, slice(3, 4))
_TEN: Final = _Form(8, 2, slice(7, 9), 3, slice(6, 8))


def _number(data: bytes, where: slice) -> int:
    return int.from_bytes(data[where], "big")


def _descriptor(unit: Unit, *, long: bool) -> bytes:
    count = unit.size_bytes // unit.block_bytes
    if long:
        return _LONG.pack(count, unit.block_bytes)
    return _SHORT.pack(min(count, _U32_MAX), unit.block_bytes)


def _sense(call: Call, form: _Form) -> Outcome:
    cdb, unit, modes = call.cdb, call.disk, call.path.state.modes
    pages = modes.pages(cdb[2] & 0x3F, cdb[3], cdb[2] >> 6)
    if not pages:
        raise bad_cdb(2, 5)
    long = form is _TEN and bool(cdb[1] & _LLBAA)
    descriptor = b"" if cdb[1] & _DBD else _descriptor(unit, long=long)
    device = _DPOFUA | (_WP if unit.read_only or modes.protected else 0)
    header = bytearray(form.header_bytes)
    header[form.device] = device
    if form is _TEN:
        header[4] = _LONGLBA if long and descriptor else 0
    header[form.descriptors] = len(descriptor).to_bytes(form.length_bytes, "big")
    total = len(header) + len(descriptor) + len(pages) - form.length_bytes
    header[: form.length_bytes] = total.to_bytes(form.length_bytes, "big")
    return sends((bytes(header) + descriptor + pages)[: _number(cdb, form.room)])


def _select(call: Call, form: _Form) -> Outcome:
    length = _number(call.cdb, form.room)
    if not call.cdb[1] & _PF:
        raise bad_cdb(1, 4)
    if not length:
        return GOOD
    data = bytes(taken(call.data, length))
    if length < form.header_bytes:
        raise illegal(0x1A)
    start = form.header_bytes + _number(data, form.descriptors)
    if length < start:
        raise illegal(0x1A)
    _check_header(call.disk, data, start, form)
    state = call.path.state
    if state.modes.select(data, start, save=bool(call.cdb[1] & _SP)):
        call.server.tell_others(call, MODE_CHANGED)
    return GOOD


def _check_header(unit: Unit, data: bytes, start: int, form: _Form) -> None:
    """Refuse another medium, or blocks of another number or size: a disk is as it is."""
    medium = form.length_bytes
    if data[medium]:
        raise bad_parameter(medium)
    long = form is _TEN and bool(data[4] & _LONGLBA)
    given = data[form.header_bytes : start]
    if not given:
        return
    shape = _LONG if long else _SHORT
    if len(given) != shape.size:
        raise bad_parameter(form.descriptors.start)
    count, size = shape.unpack(given)
    all_ones = (1 << 64 if long else 1 << 32) - 1
    have = min(unit.size_bytes // unit.block_bytes, all_ones)
    if count not in (0, have, all_ones):
        raise bad_parameter(form.header_bytes)
    if size != unit.block_bytes:
        raise bad_parameter(start - (4 if long else 3))


def _sense6(call: Call) -> Outcome:
    return _sense(call, _SIX)


def _sense10(call: Call) -> Outcome:
    return _sense(call, _TEN)


def _select6(call: Call) -> Outcome:
    return _select(call, _SIX)


def _select10(call: Call) -> Outcome:
    return _select(call, _TEN)


COMMANDS: Final = (
    Command(
        "MODE SENSE(6)",
        0x1A,
        "08ffffff00",
        _sense6,
        lambda cdb, _size: Transfer(Direction.IN, cdb[4]),
        access=Access.LOOK,
        unready=True,
    ),
    Command(
        "MODE SENSE(10)",
        0x5A,
        "18ffff000000ffff00",
        _sense10,
        lambda cdb, _size: Transfer(Direction.IN, _U16.unpack_from(cdb, 7)[0]),
        access=Access.LOOK,
        unready=True,
    ),
    Command(
        "MODE SELECT(6)",
        0x15,
        "110000ff00",
        _select6,
        lambda cdb, _size: Transfer(Direction.OUT, cdb[4]),
        access=Access.WRITE,
        unready=True,
    ),
    Command(
        "MODE SELECT(10)",
        0x55,
        "110000000000ffff00",
        _select10,
        lambda cdb, _size: Transfer(Direction.OUT, _U16.unpack_from(cdb, 7)[0]),
        access=Access.WRITE,
        unready=True,
    ),
)
