"""What can go wrong, and what the caller may do about it.

    Error
    ├── Misuse          the user's input makes no sense: say where, and what is allowed
    │   └── InvalidArgument (of a request)
    ├── Refused         the emulated system said no as the real one would; its state is unchanged
    │   ├── NotFound · InvalidState · LunInUse · LimitReached · NoSpace · AccessDenied · FileLocked
    │   ├── UnknownDisk (a NotFound) · DiskNotTrackable · TrackingInactive · EpochUnknown (each an
    │   │   InvalidState): why changed areas cannot be told
    │   ├── TaskInProgress · MethodDisabled (somebody holds the VM, or forbade the request)
    │   └── ChangeHistoryLost (take a full) · QuiesceFailed (the caller decides)
    ├── Lost            the path failed, not the request: may be retried
    │   └── Unreachable · TimedOut · Interrupted
    ├── Corrupt         the bytes are not what was written: never retried
    │   └── MediumError · DigestMismatch
    ├── NoProgress      every task waits and nothing is left that could wake one
    └── Unsupported     not emulated: loud, never a silent success
    Bug (AssertionError)  an invariant of ours broke; never caught, it fails the run

An error is a class, its facts and a template.  Facts are positional only, so that
``type(error)(*error.args) == error``: SimPy carries a failure across a process boundary by
exactly that call, and an error that could not make the trip would arrive as another one.

Codes of a vendor (SOAP fault, REST status, SCSI sense) are attached at the wire, not here.
"""

from __future__ import annotations

import string
from typing import ClassVar

__all__ = [
    "AccessDenied",
    "Bug",
    "ChangeHistoryLost",
    "Corrupt",
    "DigestMismatch",
    "DiskNotTrackable",
    "EpochUnknown",
    "Error",
    "FileLocked",
    "Interrupted",
    "InvalidArgument",
    "InvalidState",
    "LimitReached",
    "Lost",
    "LunInUse",
    "MediumError",
    "MethodDisabled",
    "Misuse",
    "NoProgress",
    "NoSpace",
    "NotFound",
    "QuiesceFailed",
    "Refused",
    "TaskInProgress",
    "TimedOut",
    "TrackingInactive",
    "UnknownDisk",
    "Unreachable",
    "Unsupported",
]


class Error(Exception):
    """Any failure that a caller may want to tell from another."""

    template: ClassVar[str] = "{0}"
    exit_code: ClassVar[int] = 1

    def __init__(self, *facts: object) -> None:
        wanted = {field for _, field, _, _ in string.Formatter().parse(self.template) if field}
        assert len(facts) == len(wanted), f"{type(self).__name__} takes {len(wanted)} facts"
        super().__init__(*facts)

    def __str__(self) -> str:
        return self.template.format(*self.args)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.args == self.args

    def __hash__(self) -> int:
        return hash((type(self), self.args))


class Misuse(Error):
    """The user's input makes no sense.  Facts: where, what is wrong and what would be right."""

    template = "{0}: {1}"
    exit_code = 2


class InvalidArgument(Misuse):
    """A value of a request is out of its range.  Facts: the argument, what is wrong with it."""


class Refused(Error):
    """The emulated system said no, as the real one would; its state is unchanged."""


class NotFound(Refused):
    """No such thing.  Facts: kind, name."""

    template = "no {0} named {1!r}"


class UnknownDisk(NotFound):
    """The VM has no such disk.  Facts: VM, device key."""

    template = "no disk of {0} named {1!r}"


class InvalidState(Refused):
    """The thing is there but not in a state that allows this.  Facts: thing, state, request."""

    template = "{0} is {1}: cannot {2}"


class DiskNotTrackable(InvalidState):
    """The disk is of a kind that has no snapshots, or is newer than one.  Facts: disk, why."""

    template = "{0} is {1}: cannot list its changes"


class TrackingInactive(InvalidState):
    """Change tracking is off, or was not on yet at the snapshot.  Facts: disk."""

    template = "{0} is not tracked: cannot list its changes"


class EpochUnknown(InvalidState):
    """Tracking began on top of a snapshot: what is in use is not known.  Facts: disk."""

    template = "{0} had a snapshot when its tracking began: cannot list all areas in use"


class FileLocked(Refused):
    """Somebody has the file open who lets nobody else at it.  Facts: file, who."""

    template = "{0} is locked by {1}"


class LunInUse(Refused):
    """The LUN number is taken.  Facts: LUN, initiator IQN."""

    template = "LUN {0} is already mapped to {1}"


class LimitReached(Refused):
    """A documented limit would be exceeded.  Facts: what, limit."""

    template = "{0}: the limit of {1} is reached"


class NoSpace(Refused):
    """Not enough room.  Facts: where, bytes needed, bytes free."""

    template = "{0} is full: {1} bytes needed, {2} free"


class AccessDenied(Refused):
    """The caller may not do or see this.  Facts: who, what."""

    template = "{0} may not access {1}"


class TaskInProgress(Refused):
    """Another task holds the entity.  Facts: entity, running task."""

    template = "{0} is busy with {1}"


class MethodDisabled(Refused):
    """Somebody has disabled the operation.  Facts: entity, operation, who disabled it."""

    template = "{1} of {0} is disabled by {2}"


class ChangeHistoryLost(Refused):
    """The changeId is unknown to the tracker; only a full backup is right.  Facts: disk, changeId."""

    template = "changes of {0} since {1!r} are unknown: take a full backup"


class QuiesceFailed(Refused):
    """The guest could not be frozen, or was frozen too long.  Facts: VM, seconds allowed."""

    template = "{0} could not be quiesced within {1} s: the snapshot is rolled back"


class Lost(Error):
    """The path failed, not the request: it may be retried."""


class Unreachable(Lost):
    """Nobody answers.  Facts: whom."""

    template = "{0} does not answer"


class TimedOut(Lost):
    """The answer did not come in time.  Facts: what, seconds allowed."""

    template = "{0} took longer than {1} s"


class Interrupted(Lost):
    """The operation was cut off.  Facts: what."""

    template = "{0} was interrupted"


class Corrupt(Error):
    """Bytes are not what was written: never retried."""

    exit_code = 3


class MediumError(Corrupt):
    """A block cannot be read back.  Facts: device, byte offset."""

    template = "{0}: unrecoverable read error at byte {1}"


class DigestMismatch(Corrupt):
    """Bytes do not match the digest they were stored under.  Facts: what, expected, found."""

    template = "{0}: digest is {2}, not {1}"


class NoProgress(Error):
    """Every task waits and nothing could wake one.  Facts: a line per waiter."""

    template = "deadlock, nothing is left that could wake a waiter:\n{0}"
    exit_code = 4


class Unsupported(Error):
    """Not emulated.  Facts: what, what is emulated instead."""

    template = "{0} is not emulated: {1}"
    exit_code = 2


class Bug(AssertionError):
    """An invariant of ours broke; never caught, it fails the run."""

    exit_code: ClassVar[int] = 70

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.args == self.args

    def __hash__(self) -> int:
        return hash((type(self), self.args))
