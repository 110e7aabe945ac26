"""What the end of a SCSI command means to whoever reads a disk.

GOOD                       done
unit attention             again, at once: it is said once, and the command was not carried out
busy, not ready yet        again, after a wait
anything else              an error, with the sense data in its words
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.scsi import Key, Sense, Status
from stuntdouble.errors import (
    AccessDenied,
    Error,
    Interrupted,
    MediumError,
    Misuse,
    NoSpace,
    Unreachable,
    Unsupported,
)

if TYPE_CHECKING:
    from stuntdouble.initiators.iscsi.wire import Outcome

_LATER: Final = {
    Status.BUSY: "busy",
    Status.TASK_SET_FULL: "its task set is full",
    Status.ACA_ACTIVE: "ACA is active",
    Status.TASK_ABORTED: "the task was aborted by another initiator",
}

_PASSING: Final = frozenset({0x00, 0x01, 0x04, 0x07, 0x09, 0x0A, 0x11, 0x14, 0x1B})
"""Qualifiers of 02/04h that pass by themselves (SPC-4, annex D): unknown cause, becoming ready,
formatting, an operation, a self-test, a change of asymmetric access, ENABLE SPINUP, sanitizing."""


class Next(Enum):
    """What to do."""

    DONE = "done"
    AGAIN = "again"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command was about: *length* bytes at *offset* of the unit that *where* names."""

    iqn: str
    where: str
    offset: int
    length: int
    block_bytes: int = 512


def judge(outcome: Outcome, asked: Asked) -> tuple[Next, Error | None]:
    """Say what to do next; with LATER, what to say when there is no later.

    Raises:
        MediumError: blocks that cannot be read.
        AccessDenied: no such unit for us any more, a reservation, or a unit that is not written.
        NoSpace: the array has no room for what is to be written.
        Misuse: beyond the end of the unit, or otherwise not as it takes it.
        Unsupported: a command that it does not know.
        Unreachable: it is not ready and does not say that it will be; its hardware fails.
    """
    status = outcome.status
    if status in {Status.GOOD, Status.CONDITION_MET}:
        return Next.DONE, None
    if status in _LATER:
        return Next.LATER, Interrupted(f"{asked.where} ({_LATER[Status(status)]})")
    if status == Status.RESERVATION_CONFLICT:
        raise AccessDenied(asked.iqn, f"{asked.where}: another initiator has it reserved")
    if status != Status.CHECK_CONDITION:
        raise Misuse(asked.where, f"a command ends with status {status:02x}h")
    return _sensed(_sense(outcome, asked), asked)


def _sense(outcome: Outcome, asked: Asked) -> Sense:
    try:
        return Sense.parse(outcome.sense)
    except Misuse as error:
        raise Unreachable(
            f"{asked.where} (a command fails and does not say why: {error})"
        ) from None


def _sensed(sense: Sense, asked: Asked) -> tuple[Next, Error | None]:
    match sense.key:
        case Key.RECOVERED_ERROR | Key.NO_SENSE:
            return Next.DONE, None
        case Key.UNIT_ATTENTION:
            return Next.AGAIN, None
        case Key.ABORTED_COMMAND:
            return Next.LATER, Interrupted(f"{asked.where} (command aborted, {sense})")
        case Key.NOT_READY if sense.asc == 0x04 and sense.ascq in _PASSING:
            return Next.LATER, Unreachable(f"{asked.where} (not ready, {sense})")
    raise _error(sense, asked)


def _error(sense: Sense, asked: Asked) -> Error:
    where = f"{asked.where} ({sense})"
    match sense.key:
        case Key.MEDIUM_ERROR:
            error: Error = MediumError(where, _place(sense, asked))
        case Key.DATA_PROTECT if (sense.asc, sense.ascq) == (0x27, 0x07):
            error = NoSpace(where, asked.length, 0)
        case Key.DATA_PROTECT:
            error = AccessDenied(asked.iqn, f"{where} for writing: it is read-only")
        case Key.ILLEGAL_REQUEST:
            error = _illegal(sense, asked, where)
        case _:
            error = Unreachable(where)
    return error


def _illegal(sense: Sense, asked: Asked, where: str) -> Error:
    match sense.asc:
        case 0x25:
            return AccessDenied(asked.iqn, f"{where}: it is not mapped")
        case 0x20:
            return Unsupported(where, "the unit does not know the command")
        case 0x21:
            return Misuse(where, f"{asked.length} bytes at {asked.offset} are beyond its end")
    return Misuse(where, f"it refuses {asked.length} bytes at {asked.offset}")


def _place(sense: Sense, asked: Asked) -> int:
    """Return the byte at which a medium fails: what the sense data say, where that makes sense."""
    if sense.information is not None:
        at = sense.information * asked.block_bytes
        if asked.offset <= at < asked.offset + asked.length:
            return at
    return asked.offset
