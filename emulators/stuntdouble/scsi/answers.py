"""What goes in and out of a device server: who asks, how much will be moved, what came of it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from stuntdouble.scsi.sense import Sense, Status

if TYPE_CHECKING:
    Buffer: TypeAlias = bytes | bytearray | memoryview


class Nexus(NamedTuple):
    """An I_T nexus: one session of one initiator port with the target port.

    The initiator port, by which reservations are held, is name and *isid*; *session* tells a
    session from the one that it replaces.
    """

    initiator_iqn: str
    isid: bytes
    session: int


class Direction(Enum):
    """Which way data goes."""

    NONE = "none"
    IN = "to the initiator"
    OUT = "from the initiator"


class Transfer(NamedTuple):
    """What a CDB asks to be moved: which way, and how many bytes at most."""

    direction: Direction
    length: int


class Answer(NamedTuple):
    """How a command ended.

    Args:
        status: see ``Status``.
        parts: what the device sends, in order; may come with CHECK CONDITION, if a read ended early.
        sense: sense data, empty unless the status is CHECK CONDITION.
    """

    status: int
    parts: tuple[Buffer, ...] = ()
    sense: bytes = b""

    @property
    def length(self) -> int:
        """How many bytes the device sends."""
        return sum(map(len, self.parts))


GOOD: Final = Answer(Status.GOOD)
CONDITION_MET: Final = Answer(Status.CONDITION_MET)
BUSY: Final = Answer(Status.BUSY)
RESERVATION_CONFLICT: Final = Answer(Status.RESERVATION_CONFLICT)
TASK_SET_FULL: Final = Answer(Status.TASK_SET_FULL)


def sends(*parts: Buffer) -> Answer:
    """Return an answer with data and no complaint."""
    return Answer(Status.GOOD, parts)


def check(sense: Sense, *, descriptors: bool = False) -> Answer:
    """Return CHECK CONDITION with its reason."""
    return Answer(Status.CHECK_CONDITION, (), sense.pack(descriptors=descriptors))
