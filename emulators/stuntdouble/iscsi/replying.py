"""How a SCSI command ended, as PDUs: data with the status in the last one, or a response."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi import (
    LOGIN_SEGMENT_BYTES,
    NO_LUN,
    CommandFlag,
    DataIn,
    Numbers,
    ResponseFlag,
    ScsiResponse,
)
from stuntdouble.iscsi.segments import cut, residual, sliced, trimmed
from stuntdouble.scsi import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.codecs.iscsi import ScsiCommand
    from stuntdouble.codecs.iscsi.requests import Buffer
    from stuntdouble.iscsi.connection import Connection
    from stuntdouble.scsi import Answer

_SENSE_LENGTH: Final = Struct(">H")  # §11.4.7: in front of sense data
_LAST: Final = int(ResponseFlag.FINAL | ResponseFlag.STATUS)
_FINAL: Final = int(ResponseFlag.FINAL)
_READ: Final = int(CommandFlag.READ)
_WRITE: Final = int(CommandFlag.WRITE)


class Replies:
    """Sends how commands ended."""

    def __init__(self, connection: Connection) -> None:
        self.burst_bytes = LOGIN_SEGMENT_BYTES
        self._connection = connection

    def answer(self, command: ScsiCommand, answer: Answer, taken: int) -> None:
        """Send what a command came to.

        Args:
            command: what was asked for.
            answer: what the device server says.
            taken: how many bytes the device wanted to be sent, of a write.
        """
        status, parts, sense = answer
        expected = command.expected_length
        length = sum(map(len, parts))
        moved = taken if command.flags & _WRITE else length
        flags, count = residual(moved, expected) if moved != expected else (0, 0)
        if not command.flags & _READ:
            length = 0
        elif length > expected:
            parts, length = tuple(trimmed(parts, expected)), expected
        if length:
            collapsed = status == Status.GOOD and not sense
            self._data(command.itt, parts, length, (flags, count) if collapsed else None)
            if collapsed:
                return
        self._response(command.itt, status, sense, flags, count)

    def _response(self, itt: int, status: int, sense: bytes, flags: int, count: int) -> None:
        connection = self._connection
        data = _SENSE_LENGTH.pack(len(sense)) + sense if sense else b""
        response = ScsiResponse(itt, connection.next_numbers(), status, 0, _FINAL | flags, count)
        connection.send(response.pack(len(data)), [data], len(data))

    def _data(
        self, itt: int, parts: Sequence[Buffer], length: int, last: tuple[int, int] | None
    ) -> None:
        """Send data; with the status GOOD, if *last* says with which residual."""
        segment_bytes = self._connection.segment_bytes
        if length <= segment_bytes and length <= self.burst_bytes:
            self._piece(itt, parts, (0, 0, length, True), last)
            return
        cuts = list(cut(length, segment_bytes, self.burst_bytes))
        pieces = sliced(parts, (size for _, size, _ in cuts))
        for number, ((offset, size, ends), piece) in enumerate(zip(cuts, pieces, strict=True)):
            is_last = offset + size == length
            self._piece(itt, piece, (number, offset, size, ends), last if is_last else None)

    def _piece(
        self, itt: int, parts: Sequence[Buffer], at: tuple[int, int, int, bool],
        last: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        connection = self._connection
        number, offset, size, ends = at
        if last is None:
            _, exp, most = connection.numbers()
            head = DataIn(NO_LUN, itt, Numbers(0, exp, most), number, offset, _FINAL * ends)
        else:
            flags, count = last
            numbers = connection.next_numbers()
            head = DataIn(NO_LUN, itt, numbers, number, offset, _LAST | flags, 0, count)
        connection.send(head.pack(size), parts, size)
