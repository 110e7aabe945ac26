"""How a command ends: status, and sense data where there is something to say (SPC-4 4.5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

_FIXED: Final = Struct(">BBBIB4xBBxBH")
_DESCRIPTOR: Final = Struct(">BBBB3xB")
_INFORMATION: Final = Struct(">BBBxQ")
_POINTER: Final = Struct(">BB2xBHx")
_INFORMATION_MAX: Final = (1 << 32) - 1


class Status(IntEnum):
    """What became of a command (SAM-5 5.3)."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    TASK_ABORTED = 0x40


class Key(IntEnum):
    """The kind of thing that sense data tells of (SPC-4 table 48)."""

    NO_SENSE = 0x0
    RECOVERED_ERROR = 0x1
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    ABORTED_COMMAND = 0xB
    MISCOMPARE = 0xE


@dataclass(frozen=True)
class Sense:
    """What is wrong, or new.

    Args:
        key: of what kind.
        asc: additional sense code.
        ascq: its qualifier.
        information: a block address or an offset, as the code says; None where there is none.
        field: the first byte that is wrong, of the CDB or of the parameter list.
        bit: the most significant bit of that field, or None.
        in_cdb: whether *field* counts bytes of the CDB.
    """

    key: Key
    asc: int
    ascq: int = 0
    information: int | None = None
    field: int | None = None
    bit: int | None = None
    in_cdb: bool = True

    def pack(self, *, descriptors: bool = False) -> bytes:
        """Return sense data, in descriptor format if asked (D_SENSE), else in fixed format."""
        return self._described() if descriptors else self._fixed()

    @property
    def _pointer(self) -> tuple[int, int]:
        """The sense-key specific bytes of a field pointer (SPC-4 table 49), or zeros."""
        if self.field is None:
            return 0, 0
        bit = 0 if self.bit is None else 0x08 | self.bit
        return 0x80 | (0x40 if self.in_cdb else 0) | bit, self.field

    def _fixed(self) -> bytes:
        # An address that needs more than 32 bits is left out, as 4.5.3 says.
        value = self.information
        valid = value is not None and value <= _INFORMATION_MAX
        code = 0xF0 if valid else 0x70
        shown = value if valid and value is not None else 0
        return _FIXED.pack(code, 0, self.key, shown, 10, self.asc, self.ascq, *self._pointer)

    def _described(self) -> bytes:
        rest = b""
        if self.information is not None:
            rest += _INFORMATION.pack(0x00, 10, 0x80, self.information)
        if self.field is not None:
            rest += _POINTER.pack(0x02, 6, *self._pointer)
        return _DESCRIPTOR.pack(0x72, self.key, self.asc, self.ascq, len(rest)) + rest


class CheckError(Exception):
    """A command ends in CHECK CONDITION; for use within this package, never let out of it."""

    def __init__(self, sense: Sense) -> None:
        super().__init__(sense)
        self.sense = sense


def illegal(asc: int, ascq: int = 0) -> CheckError:
    """Return the refusal of a request that makes no sense."""
    return CheckError(Sense(Key.ILLEGAL_REQUEST, asc, ascq))


def bad_cdb(field: int, bit: int | None = None) -> CheckError:
    """Return INVALID FIELD IN CDB, which points at the field."""
    return CheckError(Sense(Key.ILLEGAL_REQUEST, 0x24, 0x00, field=field, bit=bit))


def bad_parameter(field: int, bit: int | None = None) -> CheckError:
    """Return INVALID FIELD IN PARAMETER LIST, which points at the field."""
    sense = Sense(Key.ILLEGAL_REQUEST, 0x26, 0x00, field=field, bit=bit, in_cdb=False)
    return CheckError(sense)
