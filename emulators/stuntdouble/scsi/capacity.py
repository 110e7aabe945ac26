"""READ CAPACITY: how many blocks there are, of which size."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import Direction, Transfer, sends
from stuntdouble.scsi.command import Call, Command
from stuntdouble.scsi.sense import bad_cdb

if TYPE_CHECKING:
    from stuntdouble.scsi.command import Outcome

_SHORT: Final = Struct(">II")
_LONG: Final = Struct(">QIBBH16x")
_U32: Final = Struct(">I")
_LAST_OF_32_BITS: Final = 0xFFFF_FFFF
_LBPME, _LBPRZ = 0x8000, 0x4000  # SBC-3 table 66


def _short(call: Call) -> Outcome:
    unit = call.disk
    if call.cdb[2:6] != bytes(4):  # a block address, obsolete without PMI
        raise bad_cdb(2)
    last = unit.size_bytes // unit.block_bytes - 1
    return sends(_SHORT.pack(min(last, _LAST_OF_32_BITS), unit.block_bytes))


def _long(call: Call) -> Outcome:
    unit = call.disk
    if call.cdb[2:10] != bytes(8):
        raise bad_cdb(2)
    last = unit.size_bytes // unit.block_bytes - 1
    exponent = (unit.physical_block_bytes // unit.block_bytes).bit_length() - 1
    provisioning = _LBPME | _LBPRZ if unit.thin else 0
    data = _LONG.pack(last, unit.block_bytes, 0, exponent, provisioning)
    return sends(data[: _U32.unpack_from(call.cdb, 10)[0]])


COMMANDS: Final = (
    Command(
        "READ CAPACITY(10)",
        0x25,
        "00ffffffff00000000",
        _short,
        lambda _cdb, _size: Transfer(Direction.IN, _SHORT.size),
        unready=True,
    ),
    Command(
        "READ CAPACITY(16)",
        0x9E,
        "10ffffffffffffffffffffffff0000",
        _long,
        lambda cdb, _size: Transfer(Direction.IN, _U32.unpack_from(cdb, 10)[0]),
        action=0x10,
        unready=True,
    ),
)
