"""Logical unit numbers as 8 bytes on a wire (SAM-5 4.7): peripheral up to 255, then flat space."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

LUN_MAX: Final = 16_383
"""The last number that flat space addressing can say: 14 bits (SAM-5 4.7.7.3)."""

_PERIPHERAL_MAX: Final = 255  # 8 bits (SAM-5 4.7.7.2)
_FLAT: Final = 0x4000  # address method 01b
_REST: Final = bytes(6)
_ADDRESS_BYTES: Final = 8


def pack_lun(lun: int) -> bytes:
    """Return the address of a LUN as REPORT LUNS lists it."""
    assert 0 <= lun <= LUN_MAX, f"LUN {lun} is beyond {LUN_MAX}"
    return (lun if lun <= _PERIPHERAL_MAX else _FLAT | lun).to_bytes(2, "big") + _REST


@lru_cache(maxsize=4096)
def unpack_lun(address: bytes) -> int | None:
    """Return the LUN of an address; None where it is of another form, which addresses nothing here.

    Flat space may also say a number that peripheral addressing could have said.
    """
    if len(address) != _ADDRESS_BYTES or address[2:] != _REST:
        return None
    number = int.from_bytes(address[:2], "big")
    if number <= _PERIPHERAL_MAX:
        return number
    return number ^ _FLAT if number >> 14 == 1 else None
