"""Data of a write on their way in: what may come unasked, and what is asked for (§4.2.4.2, §11.8).

    │◀─ immediate ─▶│◀──── unsolicited ────▶│◀──── R2T 0 ────▶│◀──── R2T 1 ────▶│
    0               with the command        first burst                          needed

Everything comes in order: data of one sequence without gaps, and sequence after sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi import NO_TAG

if TYPE_CHECKING:
    from stuntdouble.codecs.iscsi import DataOut, ScsiCommand

_AMOUNT: Final = (0x0C, 0x0D)  # §11.4.7.2: WRITE ERROR - NOT ENOUGH UNSOLICITED DATA
_UNEXPECTED: Final = (0x0C, 0x0C)  # §11.4.7.2: WRITE ERROR - UNEXPECTED UNSOLICITED DATA
_PHASE: Final = (0x4B, 0x00)  # SPC-4: DATA PHASE ERROR


@dataclass(frozen=True)
class Write:
    """What was agreed on about data of writes; the defaults of §13."""

    initial_r2t: bool = True
    immediate_data: bool = True
    first_burst_bytes: int = 65536
    burst_bytes: int = 262144

    def allows(self, command: ScsiCommand, immediate: int) -> bool:
        """Say whether a command may come with so many bytes, and with more to follow unasked."""
        if immediate > min(self.first_burst_bytes, command.expected_length):
            return False
        if immediate and not self.immediate_data:
            return False
        return command.final or (not self.initial_r2t and immediate < command.expected_length)


class Incoming:
    """The data of one write.

    Args:
        agreed: what was agreed on.
        command: the write.
        needed: how much of its data the device takes; what comes beyond is not kept.
    """

    __slots__ = (
        "_agreed", "_buffer", "_burst", "_command", "_datasn", "_r2tsn", "_stop", "_tag", "at",
        "expecting", "needed",
    )  # fmt: skip

    def __init__(self, agreed: Write, command: ScsiCommand, needed: int) -> None:
        self.needed = needed
        self.at = 0
        self.expecting = not command.final
        self._agreed = agreed
        self._command = command
        self._buffer = bytearray(needed)
        self._datasn = self._r2tsn = 0
        self._tag = NO_TAG
        self._stop = min(agreed.first_burst_bytes, command.expected_length)

    @property
    def complete(self) -> bool:
        """Whether all that the device takes is here."""
        return self.at >= self.needed

    @property
    def data(self) -> memoryview:
        """What is here."""
        return memoryview(self._buffer)[: self.at]

    def immediate(self, data: memoryview) -> None:
        """Take what came with the command."""
        self._keep(data)

    def _keep(self, data: memoryview) -> None:
        end = min(self.at + len(data), self.needed)
        if end > self.at:
            self._buffer[self.at : end] = data[: end - self.at]
        self.at += len(data)

    def ask(self) -> tuple[int, int, int, int]:
        """Return number, tag, offset and length of what is asked for next."""
        length = min(self._agreed.burst_bytes, self.needed - self.at)
        r2tsn = self._r2tsn
        self._r2tsn += 1
        self._tag = r2tsn  # one at a time: the number is enough to tell it from the last
        self._stop = self.at + length
        self._datasn = 0
        self.expecting = True
        return r2tsn, self._tag, self.at, length

    def take(self, data: DataOut, payload: memoryview) -> tuple[int, int] | None:
        """Take a PDU of data; return the additional sense of what is wrong with it, if anything."""
        if not self.expecting or data.ttt != self._tag:
            return _UNEXPECTED
        if data.datasn != self._datasn or data.offset != self.at:
            return _PHASE
        if self.at + len(payload) > self._stop:
            return _AMOUNT if self._tag == NO_TAG else _PHASE
        self._keep(payload)
        self._datasn += 1
        if data.final:
            self.expecting = False
            if self._tag != NO_TAG and self.at != self._stop:
                return _AMOUNT
        elif self._tag != NO_TAG and self.at == self._stop:
            return _PHASE  # the last one of a sequence says so
        return None
