"""What an initiator sends: basic header segments to values and back (§11).

    byte  0  operation, with the immediate flag     4  length of additional headers, in words
          1  flags                                  5  length of the data segment: 3 bytes
          8  logical unit, or what stands for it   16  initiator task tag
         20  what the operation needs

``pack`` takes the lengths of what follows the header; ``parse`` takes 48 bytes and trusts none of
them to make sense: whoever uses a value checks it.  Reserved fields are sent as zeros and ignored.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from stuntdouble.codecs.iscsi.numbers import (
    CONTINUE,
    FINAL,
    IMMEDIATE,
    NO_TAG,
    CommandFlag,
    Opcode,
)

if TYPE_CHECKING:
    from typing import TypeAlias

    Buffer: TypeAlias = bytes | bytearray | memoryview

NO_LUN: Final = bytes(8)

_SCSI_OPCODE: Final = int(Opcode.SCSI_COMMAND)
_DIRECTION: Final = int(CommandFlag.FINAL | CommandFlag.READ | CommandFlag.WRITE)
_PLAIN_READ: Final = int(CommandFlag.FINAL | CommandFlag.READ)

_COMMAND: Final = Struct(">BBHI8sIIII16s")
_NOP: Final = Struct(">BBHI8sIIII16x")
_TASK: Final = Struct(">BBHI8sIIIIII8x")
_LOGIN: Final = Struct(">BBBBI6sHIHHII16x")
_TEXT: Final = Struct(">BBHI8sIIII16x")
_DATA: Final = Struct(">BBHI8sII4xI4xII4x")
_LOGOUT: Final = Struct(">BBHI8xIHHII16x")
_SNACK: Final = Struct(">BBHI8sII4xI8xII")


def opcode_of(header: Buffer) -> int:
    """Return what a PDU is: the lowest six bits of its first byte."""
    return header[0] & 0x3F


def is_immediate(header: Buffer) -> bool:
    """Say whether a request goes ahead of the order of commands."""
    return bool(header[0] & IMMEDIATE)


def segment_lengths(header: Buffer) -> tuple[int, int]:
    """Return the bytes of additional headers, and of the data segment without its padding."""
    return header[4] * 4, header[5] << 16 | header[6] << 8 | header[7]


def _first(opcode: int, immediate: bool) -> int:  # noqa: FBT001  (a flag of the wire)
    return opcode | IMMEDIATE if immediate else opcode


class ScsiCommand(NamedTuple):
    """§11.3: a SCSI command; ``flags`` hold direction and attribute (``CommandFlag``)."""

    lun: bytes
    itt: int
    expected_length: int
    cmdsn: int
    expstatsn: int
    cdb: bytes
    flags: int = int(CommandFlag.FINAL)
    immediate: bool = False

    @property
    def final(self) -> bool:
        """Whether no unsolicited data follow."""
        return bool(self.flags & CommandFlag.FINAL)

    @property
    def read(self) -> bool:
        """Whether data are expected."""
        return bool(self.flags & CommandFlag.READ)

    @property
    def write(self) -> bool:
        """Whether data are sent."""
        return bool(self.flags & CommandFlag.WRITE)

    def pack(self, data_length: int = 0, ahs_words: int = 0) -> bytes:
        """Return the header; of a longer CDB the rest goes into an additional header."""
        first = _first(Opcode.SCSI_COMMAND, self.immediate)
        return _COMMAND.pack(
            first, self.flags, 0, ahs_words << 24 | data_length, self.lun, self.itt,
            self.expected_length, self.cmdsn, self.expstatsn, self.cdb[:16],
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> ScsiCommand:
        """Return the command that a header says."""
        first, flags, _, _, lun, itt, expected, cmdsn, expstatsn, cdb = _COMMAND.unpack(header)
        return cls(lun, itt, expected, cmdsn, expstatsn, cdb, flags, bool(first & IMMEDIATE))


def unpack_read(view: memoryview, begin: int) -> tuple[bytes, int, int, int, bytes] | None:
    """Return LUN, tag, expected length, CmdSN and CDB of a plain read in the order of commands.

    None where a header without anything behind it is something else: other flags, or another PDU.
    """
    if view[begin] != _SCSI_OPCODE or view[begin + 1] & _DIRECTION != _PLAIN_READ:
        return None
    _, _, _, _, lun, itt, expected, cmdsn, _, cdb = _COMMAND.unpack_from(view, begin)
    return lun, itt, expected, cmdsn, cdb


class NopOut(NamedTuple):
    """§11.18: a ping, or the answer to one (then ``ttt`` is the target's tag)."""

    itt: int = NO_TAG
    ttt: int = NO_TAG
    cmdsn: int = 0
    expstatsn: int = 0
    lun: bytes = NO_LUN
    immediate: bool = False

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        first = _first(Opcode.NOP_OUT, self.immediate)
        return _NOP.pack(
            first, FINAL, 0, data_length, self.lun, self.itt, self.ttt, self.cmdsn, self.expstatsn
        )

    @classmethod
    def parse(cls, header: Buffer) -> NopOut:
        """Return what a header says."""
        first, _, _, _, lun, itt, ttt, cmdsn, expstatsn = _NOP.unpack(header)
        return cls(itt, ttt, cmdsn, expstatsn, lun, bool(first & IMMEDIATE))


class TaskRequest(NamedTuple):
    """§11.5: task management; ``function`` as it came (``TaskFunction``)."""

    function: int
    lun: bytes
    itt: int
    referenced: int
    cmdsn: int
    expstatsn: int
    refcmdsn: int = 0
    expdatasn: int = 0
    immediate: bool = True

    def pack(self) -> bytes:
        """Return the header."""
        first = _first(Opcode.TASK_REQUEST, self.immediate)
        return _TASK.pack(
            first, FINAL | self.function, 0, 0, self.lun, self.itt, self.referenced, self.cmdsn,
            self.expstatsn, self.refcmdsn, self.expdatasn,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> TaskRequest:
        """Return what a header says."""
        first, flags, _, _, lun, *rest = _TASK.unpack(header)
        itt, referenced, cmdsn, expstatsn, refcmdsn, expdatasn = rest
        return cls(
            flags & 0x7F, lun, itt, referenced, cmdsn, expstatsn, refcmdsn, expdatasn,
            bool(first & IMMEDIATE),
        )  # fmt: skip


class LoginRequest(NamedTuple):
    """§11.12: a step of a login; stages as they came (``Stage``)."""

    isid: bytes
    tsih: int
    itt: int
    cid: int
    cmdsn: int
    expstatsn: int
    csg: int
    nsg: int
    transit: bool
    more: bool = False
    version_max: int = 0
    version_min: int = 0

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        flags = self.transit * FINAL | self.more * CONTINUE | self.csg << 2 | self.nsg
        return _LOGIN.pack(
            Opcode.LOGIN_REQUEST | IMMEDIATE, flags, self.version_max, self.version_min,
            data_length, self.isid, self.tsih, self.itt, self.cid, 0, self.cmdsn, self.expstatsn,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> LoginRequest:
        """Return what a header says."""
        _, flags, most, least, _, isid, tsih, itt, cid, _, cmdsn, expstatsn = _LOGIN.unpack(header)
        return cls(
            isid, tsih, itt, cid, cmdsn, expstatsn, flags >> 2 & 3, flags & 3,
            bool(flags & FINAL), bool(flags & CONTINUE), most, least,
        )  # fmt: skip


class TextRequest(NamedTuple):
    """§11.10: text in the full feature phase."""

    itt: int
    ttt: int
    cmdsn: int
    expstatsn: int
    final: bool = True
    more: bool = False
    lun: bytes = NO_LUN
    immediate: bool = False

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        first = _first(Opcode.TEXT_REQUEST, self.immediate)
        flags = self.final * FINAL | self.more * CONTINUE
        return _TEXT.pack(
            first, flags, 0, data_length, self.lun, self.itt, self.ttt, self.cmdsn, self.expstatsn
        )

    @classmethod
    def parse(cls, header: Buffer) -> TextRequest:
        """Return what a header says."""
        first, flags, _, _, lun, itt, ttt, cmdsn, expstatsn = _TEXT.unpack(header)
        final, more = bool(flags & FINAL), bool(flags & CONTINUE)
        return cls(itt, ttt, cmdsn, expstatsn, final, more, lun, bool(first & IMMEDIATE))


class DataOut(NamedTuple):
    """§11.7: data of a write, asked for (``ttt`` is the R2T's) or not."""

    lun: bytes
    itt: int
    ttt: int
    expstatsn: int
    datasn: int
    offset: int
    final: bool

    def pack(self, data_length: int) -> bytes:
        """Return the header."""
        return _DATA.pack(
            Opcode.DATA_OUT, self.final * FINAL, 0, data_length, self.lun, self.itt, self.ttt,
            self.expstatsn, self.datasn, self.offset,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> DataOut:
        """Return what a header says."""
        _, flags, _, _, lun, itt, ttt, expstatsn, datasn, offset = _DATA.unpack(header)
        return cls(lun, itt, ttt, expstatsn, datasn, offset, bool(flags & FINAL))


class LogoutRequest(NamedTuple):
    """§11.14: the wish to close a connection or a session; ``reason`` as it came."""

    reason: int
    itt: int
    cid: int
    cmdsn: int
    expstatsn: int
    immediate: bool = True

    def pack(self) -> bytes:
        """Return the header."""
        first = _first(Opcode.LOGOUT_REQUEST, self.immediate)
        return _LOGOUT.pack(
            first, FINAL | self.reason, 0, 0, self.itt, self.cid, 0, self.cmdsn, self.expstatsn
        )

    @classmethod
    def parse(cls, header: Buffer) -> LogoutRequest:
        """Return what a header says."""
        first, flags, _, _, itt, cid, _, cmdsn, expstatsn = _LOGOUT.unpack(header)
        return cls(flags & 0x7F, itt, cid, cmdsn, expstatsn, bool(first & IMMEDIATE))


class SnackRequest(NamedTuple):
    """§11.16: a request to send again; meaningful with error recovery only."""

    kind: int
    lun: bytes
    itt: int
    ttt: int
    expstatsn: int
    begin: int
    length: int

    def pack(self) -> bytes:
        """Return the header."""
        return _SNACK.pack(
            Opcode.SNACK_REQUEST, FINAL | self.kind, 0, 0, self.lun, self.itt, self.ttt,
            self.expstatsn, self.begin, self.length,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> SnackRequest:
        """Return what a header says."""
        _, flags, _, _, lun, itt, ttt, expstatsn, begin, length = _SNACK.unpack(header)
        return cls(flags & 0x0F, lun, itt, ttt, expstatsn, begin, length)
