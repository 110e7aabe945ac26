"""What a target sends: basic header segments to values and back (§11); see ``requests``.

``Numbers`` are the three that almost every reply carries: StatSN, ExpCmdSN and MaxCmdSN.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from stuntdouble.codecs.iscsi.numbers import CONTINUE, FINAL, NO_TAG, Opcode, ResponseFlag
from stuntdouble.codecs.iscsi.requests import NO_LUN

if TYPE_CHECKING:
    from stuntdouble.codecs.iscsi.requests import Buffer

_SCSI: Final = Struct(">BBBBI8xIIIIIIII")
_DATA_IN: Final = Struct(">BBBBI8sIIIIIIII")
_DATA_IN_OPCODE: Final = int(Opcode.DATA_IN)
_WHOLE: Final = int(ResponseFlag.FINAL | ResponseFlag.STATUS)
_NOP: Final = Struct(">BBHI8sIIIII12x")
_TASK: Final = Struct(">BBBBI8xI4xIII12x")
_LOGIN: Final = Struct(">BBBBI6sHI4xIIIBB10x")
_TEXT: Final = Struct(">BBHI8sIIIII12x")
_LOGOUT: Final = Struct(">BBBBI8xI4xIII4xHH4x")
_R2T: Final = Struct(">BBHI8sIIIIIIII")
_ASYNC: Final = Struct(">BBHI8sI4xIIIBBHHH4x")
_REJECT: Final = Struct(">BBBBI8xI4xIIII8x")


class Numbers(NamedTuple):
    """StatSN, ExpCmdSN and MaxCmdSN (§4.2.2)."""

    statsn: int
    expcmdsn: int
    maxcmdsn: int


class ScsiResponse(NamedTuple):
    """§11.4: how a SCSI command ended; sense data, if any, follow with their length in front."""

    itt: int
    numbers: Numbers
    status: int
    response: int = 0
    flags: int = int(ResponseFlag.FINAL)
    residual: int = 0
    bidi_residual: int = 0
    expdatasn: int = 0
    snack: int = 0

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        return _SCSI.pack(
            Opcode.SCSI_RESPONSE, self.flags, self.response, self.status, data_length, self.itt,
            self.snack, *self.numbers, self.expdatasn, self.bidi_residual, self.residual,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> ScsiResponse:
        """Return what a header says."""
        _, flags, response, status, _, itt, snack, *rest = _SCSI.unpack(header)
        statsn, exp, most, expdatasn, bidi, residual = rest
        numbers = Numbers(statsn, exp, most)
        return cls(itt, numbers, status, response, flags, residual, bidi, expdatasn, snack)


class DataIn(NamedTuple):
    """§11.7: data of a read; with ``ResponseFlag.STATUS`` also how it ended.

    Without that flag ``status``, ``residual`` and ``numbers.statsn`` mean nothing.
    """

    lun: bytes
    itt: int
    numbers: Numbers
    datasn: int
    offset: int
    flags: int = 0
    status: int = 0
    residual: int = 0
    ttt: int = NO_TAG

    def pack(self, data_length: int) -> bytes:
        """Return the header."""
        return _DATA_IN.pack(
            Opcode.DATA_IN, self.flags, 0, self.status, data_length, self.lun, self.itt, self.ttt,
            *self.numbers, self.datasn, self.offset, self.residual,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> DataIn:
        """Return what a header says."""
        _, flags, _, status, _, lun, itt, ttt, *rest = _DATA_IN.unpack(header)
        statsn, exp, most, datasn, offset, residual = rest
        numbers = Numbers(statsn, exp, most)
        return cls(lun, itt, numbers, datasn, offset, flags, status, residual, ttt)


def pack_good(itt: int, numbers: tuple[int, int, int], flags: int, length: int, rest: int) -> bytes:
    """Return the header of data that are all there is to a read that went well.

    Args:
        itt: the command's tag.
        numbers: StatSN, ExpCmdSN and MaxCmdSN.
        flags: which residual it is, if any (``ResponseFlag``).
        length: of the data.
        rest: how much the residual is.
    """
    return _DATA_IN.pack(
        _DATA_IN_OPCODE, _WHOLE | flags, 0, 0, length, NO_LUN, itt, NO_TAG, *numbers, 0, 0, rest
    )


class NopIn(NamedTuple):
    """§11.19: the answer to a ping, or a ping (then ``itt`` is reserved)."""

    itt: int
    ttt: int
    numbers: Numbers
    lun: bytes = NO_LUN

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        head = (Opcode.NOP_IN, FINAL, 0, data_length, self.lun, self.itt, self.ttt)
        return _NOP.pack(*head, *self.numbers)

    @classmethod
    def parse(cls, header: Buffer) -> NopIn:
        """Return what a header says."""
        _, _, _, _, lun, itt, ttt, *numbers = _NOP.unpack(header)
        return cls(itt, ttt, Numbers(*numbers), lun)


class TaskResponse(NamedTuple):
    """§11.6: how task management went (``TaskAnswer``)."""

    answer: int
    itt: int
    numbers: Numbers

    def pack(self) -> bytes:
        """Return the header."""
        return _TASK.pack(Opcode.TASK_RESPONSE, FINAL, self.answer, 0, 0, self.itt, *self.numbers)

    @classmethod
    def parse(cls, header: Buffer) -> TaskResponse:
        """Return what a header says."""
        _, _, answer, _, _, itt, *numbers = _TASK.unpack(header)
        return cls(answer, itt, Numbers(*numbers))


class LoginResponse(NamedTuple):
    """§11.13: an answer to a step of a login; ``status`` is class and detail (``LoginStatus``)."""

    isid: bytes
    tsih: int
    itt: int
    numbers: Numbers
    status: int
    csg: int
    nsg: int
    transit: bool
    more: bool = False
    version_max: int = 0
    version_active: int = 0

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        flags = self.transit * FINAL | self.more * CONTINUE | self.csg << 2 | self.nsg
        return _LOGIN.pack(
            Opcode.LOGIN_RESPONSE, flags, self.version_max, self.version_active, data_length,
            self.isid, self.tsih, self.itt, *self.numbers, self.status >> 8, self.status & 0xFF,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> LoginResponse:
        """Return what a header says."""
        _, flags, most, active, _, isid, tsih, itt, *rest = _LOGIN.unpack(header)
        statsn, exp, highest, kind, detail = rest
        return cls(
            isid, tsih, itt, Numbers(statsn, exp, highest), kind << 8 | detail, flags >> 2 & 3,
            flags & 3, bool(flags & FINAL), bool(flags & CONTINUE), most, active,
        )  # fmt: skip


class TextResponse(NamedTuple):
    """§11.11: an answer to text."""

    itt: int
    ttt: int
    numbers: Numbers
    final: bool = True
    more: bool = False
    lun: bytes = NO_LUN

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        flags = self.final * FINAL | self.more * CONTINUE
        head = (Opcode.TEXT_RESPONSE, flags, 0, data_length, self.lun, self.itt, self.ttt)
        return _TEXT.pack(*head, *self.numbers)

    @classmethod
    def parse(cls, header: Buffer) -> TextResponse:
        """Return what a header says."""
        _, flags, _, _, lun, itt, ttt, *numbers = _TEXT.unpack(header)
        final, more = bool(flags & FINAL), bool(flags & CONTINUE)
        return cls(itt, ttt, Numbers(*numbers), final, more, lun)


class LogoutResponse(NamedTuple):
    """§11.15: how a logout went (``LogoutAnswer``), and for how many seconds the rest is kept."""

    answer: int
    itt: int
    numbers: Numbers
    time2wait: int = 0
    time2retain: int = 0

    def pack(self) -> bytes:
        """Return the header."""
        head = (Opcode.LOGOUT_RESPONSE, FINAL, self.answer, 0, 0, self.itt)
        return _LOGOUT.pack(*head, *self.numbers, self.time2wait, self.time2retain)

    @classmethod
    def parse(cls, header: Buffer) -> LogoutResponse:
        """Return what a header says."""
        _, _, answer, _, _, itt, statsn, exp, most, wait, retain = _LOGOUT.unpack(header)
        return cls(answer, itt, Numbers(statsn, exp, most), wait, retain)


class R2t(NamedTuple):
    """§11.8: a target is ready for *length* bytes of a write, from *offset* on.

    ``numbers.statsn`` is the next one, which it does not use up.
    """

    lun: bytes
    itt: int
    ttt: int
    numbers: Numbers
    r2tsn: int
    offset: int
    length: int

    def pack(self) -> bytes:
        """Return the header."""
        return _R2T.pack(
            Opcode.R2T, FINAL, 0, 0, self.lun, self.itt, self.ttt, *self.numbers, self.r2tsn,
            self.offset, self.length,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> R2t:
        """Return what a header says."""
        _, _, _, _, lun, itt, ttt, statsn, exp, most, *rest = _R2T.unpack(header)
        return cls(lun, itt, ttt, Numbers(statsn, exp, most), *rest)


class AsyncMessage(NamedTuple):
    """§11.9: what a target says by itself (``AsyncEvent``); parameters as the event defines them."""

    event: int
    numbers: Numbers
    vcode: int = 0
    parameters: tuple[int, int, int] = (0, 0, 0)
    lun: bytes = NO_LUN

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        return _ASYNC.pack(
            Opcode.ASYNC_MESSAGE, FINAL, 0, data_length, self.lun, NO_TAG, *self.numbers,
            self.event, self.vcode, *self.parameters,
        )  # fmt: skip

    @classmethod
    def parse(cls, header: Buffer) -> AsyncMessage:
        """Return what a header says."""
        _, _, _, _, lun, _, statsn, exp, most, event, vcode, *rest = _ASYNC.unpack(header)
        first, second, third = rest
        return cls(event, Numbers(statsn, exp, most), vcode, (first, second, third), lun)


class Reject(NamedTuple):
    """§11.17: a PDU was not taken (``RejectReason``); its header follows as data."""

    reason: int
    numbers: Numbers
    datasn: int = 0

    def pack(self, data_length: int = 0) -> bytes:
        """Return the header."""
        return _REJECT.pack(
            Opcode.REJECT, FINAL, self.reason, 0, data_length, NO_TAG, *self.numbers, self.datasn
        )

    @classmethod
    def parse(cls, header: Buffer) -> Reject:
        """Return what a header says."""
        _, _, reason, _, _, _, statsn, exp, most, datasn = _REJECT.unpack(header)
        return cls(reason, Numbers(statsn, exp, most), datasn)
