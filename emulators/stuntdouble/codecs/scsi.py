"""SCSI as an initiator of disks speaks it: CDBs, the data of inquiries, sense data, LUN fields.

    CDB ──────────────────▶ unit
    data, or sense data ◀── unit      [70h: fixed format]  [72h: descriptor format]

After SPC-4 (INQUIRY, REPORT LUNS, vital product data, sense data), SBC-3 (reading, writing,
capacity) and SAM-5 (status, LUN fields); their sections stand beside.  All numbers are big-endian.
What cannot be parsed raises ``Misuse``; nothing here waits, reads or writes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable

LUN_MAX: Final = 16383
"""The highest LUN that flat space addressing can say: 14 bits (SAM-5, 4.7.7.3)."""

ALLOCATION_BYTES: Final = 252
"""Room that an inquiry asks for: what one byte can say, rounded down to whole words."""

SENSE_BYTES: Final = 252
"""The longest sense data (SPC-4, 4.5)."""

REPORT_LUNS_BYTES: Final = 8 * (LUN_MAX + 1) + 8
"""Room for every LUN there may be."""

CAPACITY_BYTES: Final = 32  # SBC-3, 5.16.2
_WELL_KNOWN_REPORT_LUNS: Final = 0xC101
"""The REPORT LUNS well known logical unit (SAM-5, 4.7.7.5): no disk."""


class Status(IntEnum):
    """How a command ended (SAM-5, 5.3.1)."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


class Key(IntEnum):
    """The sense key: what kind of trouble it is (SPC-4, 4.5.6)."""

    NO_SENSE = 0x0
    RECOVERED_ERROR = 0x1
    NOT_READY = 0x2
    MEDIUM_ERROR = 0x3
    HARDWARE_ERROR = 0x4
    ILLEGAL_REQUEST = 0x5
    UNIT_ATTENTION = 0x6
    DATA_PROTECT = 0x7
    BLANK_CHECK = 0x8
    VENDOR_SPECIFIC = 0x9
    COPY_ABORTED = 0xA
    ABORTED_COMMAND = 0xB
    RESERVED = 0xC
    VOLUME_OVERFLOW = 0xD
    MISCOMPARE = 0xE
    COMPLETED = 0xF


class Page(IntEnum):
    """Pages of vital product data (SPC-4, 7.8; SBC-3, 6.5)."""

    SUPPORTED = 0x00
    SERIAL = 0x80
    IDENTIFICATION = 0x83
    BLOCK_LIMITS = 0xB0


# CDBs. --------------------------------------------------------------------------------------------


def test_unit_ready() -> bytes:
    """Return a TEST UNIT READY (SPC-4, 6.47)."""
    return bytes(6)


def inquiry(page: int | None = None, length: int = ALLOCATION_BYTES) -> bytes:
    """Return an INQUIRY, of standard data or of a vital product data page (SPC-4, 6.6)."""
    return struct.pack(">BBBHB", 0x12, page is not None, page or 0, length, 0)


def report_luns(length: int = REPORT_LUNS_BYTES) -> bytes:
    """Return a REPORT LUNS of everything but well known logical units (SPC-4, 6.33)."""
    return struct.pack(">BxBxxxIxx", 0xA0, 0, length)


def read_capacity() -> bytes:
    """Return a READ CAPACITY (16) (SBC-3, 5.16)."""
    return struct.pack(">BBxxxxxxxxIxx", 0x9E, 0x10, CAPACITY_BYTES)


def read(lba: int, blocks: int) -> bytes:
    """Return a READ (16) (SBC-3, 5.13)."""
    return struct.pack(">BxQIxx", 0x88, lba, blocks)


def write(lba: int, blocks: int) -> bytes:
    """Return a WRITE (16) (SBC-3, 5.34)."""
    return struct.pack(">BxQIxx", 0x8A, lba, blocks)


def synchronize_cache() -> bytes:
    """Return a SYNCHRONIZE CACHE (16) of the whole unit (SBC-3, 5.23)."""
    return struct.pack(">BxQIxx", 0x91, 0, 0)


# LUN fields (SAM-5, 4.7). -------------------------------------------------------------------------


def pack_lun(lun: int) -> bytes:
    """Return the eight bytes of a LUN: peripheral addressing up to 255, flat space above.

    Raises:
        Misuse: no number from 0 to 16383.
    """
    if not 0 <= lun <= LUN_MAX:
        raise Misuse("LUN", f"{lun}: use 0 to {LUN_MAX}")
    return struct.pack(">H6x", lun if lun < 256 else 0x4000 | lun)


def parse_lun(field: bytes) -> int:
    """Return the number that eight bytes say, in any way of one level.

    Raises:
        Misuse: a LUN of several levels, behind a bus, or a well known logical unit.
    """
    if len(field) != 8:
        raise Misuse("LUN field", f"{len(field)} bytes, not 8")
    first = int.from_bytes(field[:2], "big")
    method, rest = first >> 14, field[2:]
    if method == 0 and first < 256 and not any(rest):
        return first
    if method == 1 and not any(rest):
        return first & LUN_MAX
    if field[0] == 0xD2 and not any(field[4:]):  # extended flat space addressing, 24 bits
        return int.from_bytes(field[1:4], "big")
    raise Misuse("LUN field", f"{field.hex()}: only LUNs of one level are known")


def parse_report_luns(data: bytes) -> tuple[bytes, ...]:
    """Return the LUN fields of a REPORT LUNS, in their order; well known ones are left out.

    A LUN goes back into commands as the target said it, however it is encoded.

    Raises:
        Misuse: a list that is cut off.
    """
    if len(data) < 8:
        raise Misuse("REPORT LUNS", f"{len(data)} bytes, not 8 or more")
    (length,) = struct.unpack_from(">I", data)
    if length % 8 or len(data) < 8 + length:
        raise Misuse("REPORT LUNS", f"{len(data) - 8} bytes of a list of {length}")
    fields = (bytes(data[at : at + 8]) for at in range(8, 8 + length, 8))
    return tuple(each for each in fields if not _well_known(each))


def pack_report_luns(fields: Iterable[bytes]) -> bytes:
    """Return the data of a REPORT LUNS."""
    body = b"".join(fields)
    return struct.pack(">I4x", len(body)) + body


def _well_known(field: bytes) -> bool:
    return int.from_bytes(field[:2], "big") == _WELL_KNOWN_REPORT_LUNS


# What a unit is. ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Standard inquiry data (SPC-4, 6.6.2): ``qualifier`` 0 is a unit that is there.

    ``kind`` is the peripheral device type: 0 a disk, 0Ch a controller, 1Fh nothing.
    """

    qualifier: int
    kind: int
    vendor: str
    product: str
    revision: str

    @classmethod
    def parse(cls, data: bytes) -> Inquiry:
        """Return what standard inquiry data say; Misuse where they are cut off."""
        if len(data) < 36:
            raise Misuse("INQUIRY", f"{len(data)} bytes, not 36 or more")
        texts = (_text(data[8:16]), _text(data[16:32]), _text(data[32:36]))
        return cls(data[0] >> 5, data[0] & 0x1F, *texts)

    @property
    def is_disk(self) -> bool:
        """Whether there is a disk at this LUN."""
        return self.qualifier == 0 and self.kind == 0


@dataclass(frozen=True, slots=True)
class Designator:
    """A name of page 83h (SPC-4, 7.8.6).

    ``association`` is 0 for the unit, 1 for the port, 2 for the target; ``kind`` is 1 for a T10
    vendor name, 2 for EUI-64, 3 for NAA, 8 for a SCSI name string.
    """

    kind: int
    association: int
    code_set: int
    value: bytes


NAA: Final = 3
"""The kind of a designator that is an NAA identifier (SPC-4, 7.8.6.6)."""


def parse_page(data: bytes, page: int) -> bytes:
    """Return the body of a vital product data page; Misuse where it is another, or cut off."""
    if len(data) < 4 or data[1] != page:
        raise Misuse("INQUIRY", f"{bytes(data[:4]).hex()} is not the head of page {page:02x}h")
    (length,) = struct.unpack_from(">H", data, 2)
    if len(data) < 4 + length:
        raise Misuse("INQUIRY", f"page {page:02x}h ends after {len(data) - 4} of {length} bytes")
    return bytes(data[4 : 4 + length])


def page_bytes(data: bytes) -> int:
    """Return how long a vital product data page is, head included, by its head alone."""
    if len(data) < 4:
        raise Misuse("INQUIRY", f"{len(data)} bytes are no head of a page")
    return 4 + int.from_bytes(data[2:4], "big")


def parse_serial(data: bytes) -> str:
    """Return the unit's serial number, from page 80h (SPC-4, 7.8.15)."""
    return _text(parse_page(data, Page.SERIAL))


def parse_identification(data: bytes) -> tuple[Designator, ...]:
    """Return the names of page 83h (SPC-4, 7.8.6); Misuse where one is cut off."""
    body, found, at = parse_page(data, Page.IDENTIFICATION), [], 0
    while at < len(body):
        if len(body) - at < 4 or len(body) - at < 4 + body[at + 3]:
            raise Misuse("INQUIRY", f"page 83h has a designator that is cut off, at {at}")
        value = body[at + 4 : at + 4 + body[at + 3]]
        kinds = body[at + 1] & 0xF, body[at + 1] >> 4 & 3, body[at] & 0xF
        found.append(Designator(*kinds, value))
        at += 4 + body[at + 3]
    return tuple(found)


def naa_of(designators: Iterable[Designator]) -> str:
    """Return the unit's NAA identifier as hexadecimal digits, or nothing where it has none.

    One of 16 bytes is preferred: only that kind is unique by itself (NAA 6h).
    """
    names = [each.value for each in designators if (each.kind, each.association) == (NAA, 0)]
    return max(names, key=len).hex() if names else ""


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """Page B0h (SBC-3, 6.5.3), in blocks; 0 says nothing.  More than ``most`` is refused."""

    granularity: int
    most: int
    optimal: int

    @classmethod
    def parse(cls, data: bytes) -> BlockLimits:
        """Return what the page says; Misuse where it is cut off."""
        body = parse_page(data, Page.BLOCK_LIMITS)
        if len(body) < 12:
            raise Misuse("INQUIRY", f"page b0h of {len(body)} bytes, not 12 or more")
        return cls(*struct.unpack_from(">HII", body, 2))


@dataclass(frozen=True, slots=True)
class Capacity:
    """The data of a READ CAPACITY (16) (SBC-3, 5.16.2)."""

    blocks: int
    block_bytes: int

    @property
    def size_bytes(self) -> int:
        """The whole of it."""
        return self.blocks * self.block_bytes

    @classmethod
    def parse(cls, data: bytes) -> Capacity:
        """Return what the data say; Misuse where they are cut off, or the block is of no use."""
        if len(data) < 12:
            raise Misuse("READ CAPACITY", f"{len(data)} bytes, not 12 or more")
        last, block_bytes = struct.unpack_from(">QI", data)
        if block_bytes < 512 or block_bytes & (block_bytes - 1):
            raise Misuse("READ CAPACITY", f"blocks of {block_bytes} bytes: use 512 or a double")
        return cls(last + 1, block_bytes)

    def pack(self) -> bytes:
        """Return the data, of a unit that is neither thin nor protected."""
        return struct.pack(">QI20x", self.blocks - 1, self.block_bytes)


# Sense data. --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sense:
    """Why a command failed (SPC-4, 4.5): sense key, additional sense code and its qualifier.

    ``information`` is the LBA where a medium failed, or None; a ``deferred`` error is one of an
    earlier command.
    """

    key: int
    asc: int
    ascq: int
    information: int | None = None
    deferred: bool = False

    def __str__(self) -> str:
        return f"{self.key:02X}/{self.asc:02X}/{self.ascq:02X}"

    @classmethod
    def parse(cls, data: bytes) -> Sense:
        """Return what sense data of either format say; Misuse where they are of neither.

        Fixed data may end early: what is not there is zero.
        """
        data = bytes(data)
        code = data[0] & 0x7F if data else 0
        if code in {0x70, 0x71}:
            whole = data.ljust(18, b"\0")
            valid = bool(data[0] & 0x80)
            information = int.from_bytes(whole[3:7], "big") if valid else None
            return cls(whole[2] & 0xF, whole[12], whole[13], information, code == 0x71)
        if code in {0x72, 0x73} and len(data) >= 8:
            return cls(data[1] & 0xF, data[2], data[3], _information(data), code == 0x73)
        raise Misuse("sense data", f"{data[:8].hex() or 'none'}: neither fixed nor descriptor")

    def pack(self, *, descriptor: bool = False) -> bytes:
        """Return it in fixed format, or as descriptors.

        Raises:
            Misuse: an address above 4 G in fixed format, which has 32 bits for it.
        """
        told = self.information is not None
        if descriptor:
            parts = struct.pack(">BBBxQ", 0, 10, 0x80, self.information) if told else b""
            head = 0x72 + self.deferred, self.key, self.asc, self.ascq
            return bytes((*head, 0, 0, 0, len(parts))) + parts
        if (self.information or 0) >> 32:
            raise Misuse("sense data", f"LBA {self.information} needs the descriptor format")
        first = 0x70 + self.deferred + 0x80 * told
        body = self.key, self.information or 0, 10, self.asc, self.ascq
        return struct.pack(">BxBIB4xBB4x", first, *body)


def _information(data: bytes) -> int | None:
    """Return what the information descriptor says (SPC-4, 4.5.2.2), where there is one."""
    end, at = min(len(data), 8 + data[7]), 8
    while at + 2 <= end:
        if data[at] == 0 and data[at + 1] == 10 and at + 12 <= end:
            return int.from_bytes(data[at + 4 : at + 12], "big") if data[at + 2] & 0x80 else None
        at += 2 + data[at + 1]
    return None


def _text(data: bytes) -> str:
    return data.decode("ascii", errors="replace").strip(" \0")
