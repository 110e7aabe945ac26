"""From the faults of the vSphere API to the errors that a backup server knows.

Faults are told apart by their types and by the keys of their messages, never by their texts, which
are translated and change from release to release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pyVmomi import vim, vmodl

from stuntdouble import errors

if TYPE_CHECKING:
    from collections.abc import Callable

CANNOT_GET_CHANGES: Final = "vim.hostd.vmsvc.cbt.cannotGetChanges"
NO_TRACK: Final = "vim.hostd.vmsvc.cbt.noTrack"
NO_EPOCH: Final = "vim.hostd.vmsvc.cbt.noEpoch"
"""Keys by which clients in production tell apart why there are no changed areas."""

UNKNOWN: Final = "an unknown number of"


def message_keys(fault: Any) -> list[str]:
    """Return the keys of a fault's messages."""
    return [str(message.key) for message in getattr(fault, "faultMessage", None) or ()]


def error_of(fault: Any, subject: str, request: str) -> errors.Error:
    """Return the error that says what a fault says.

    Args:
        fault: raised by a call, or the error of a task.
        subject: what was asked for, such as a VM's name.
        request: what was asked of it, as "take a snapshot".
    """
    for kind in type(fault).__mro__:
        if kind in _ERRORS:
            return _ERRORS[kind](fault, subject, request)
    return errors.InvalidState(subject, f"refusing by {_name(fault)}", request)


def changes_error(fault: Any, disk: str, since: str) -> errors.Error:
    """Return the error of a query for changed areas."""
    keys = message_keys(fault)
    if CANNOT_GET_CHANGES in keys:
        return errors.ChangeHistoryLost(disk, since)
    if NO_TRACK in keys or NO_EPOCH in keys:
        return errors.InvalidState(disk, "not tracked", "list its changes")
    if isinstance(fault, vim.fault.FileFault):
        return errors.ChangeHistoryLost(disk, since)  # a tracking file that is gone tells nothing
    return error_of(fault, disk, "list its changes")


def _name(fault: Any) -> str:
    return str(type(fault).__name__).rpartition(".")[2]


def _text(fault: Any) -> str:
    return getattr(fault, "msg", None) or _name(fault)


_ERRORS: Final[dict[type[Any], Callable[[Any, str, str], errors.Error]]] = {
    vim.fault.TaskInProgress: lambda fault, subject, _request: errors.TaskInProgress(
        subject, getattr(fault.task, "_moId", None) or "another task"
    ),
    vim.fault.NoDiskSpace: lambda fault, _subject, _request: errors.NoSpace(
        f"datastore {fault.datastore}", UNKNOWN, UNKNOWN
    ),
    vim.fault.TooManySnapshotLevels: lambda _fault, subject, _request: errors.LimitReached(
        f"snapshot levels of {subject}", "the hypervisor"
    ),
    vim.fault.ApplicationQuiesceFault: lambda _fault, subject, _request: errors.QuiesceFailed(
        subject, "the allowed"
    ),
    vim.fault.FilesystemQuiesceFault: lambda _fault, subject, _request: errors.QuiesceFailed(
        subject, "the allowed"
    ),
    vim.fault.CannotAccessFile: lambda fault, _subject, _request: errors.Unreachable(fault.file),
    vim.fault.InaccessibleDatastore: lambda fault, _subject, _request: errors.Unreachable(
        f"datastore {fault.name}"
    ),
    vim.fault.NotFound: lambda _fault, subject, _request: errors.NotFound("object", subject),
    vim.fault.NoPermission: lambda fault, subject, _request: errors.AccessDenied(
        "the session", f"{subject}: {fault.privilegeId} is needed"
    ),
    vim.fault.NotAuthenticated: lambda _fault, subject, _request: errors.AccessDenied(
        "a session that is not authenticated", subject
    ),
    vim.fault.InvalidLogin: lambda _fault, subject, _request: errors.AccessDenied(
        "this user with this password", subject
    ),
    vmodl.fault.ManagedObjectNotFound: lambda _fault, subject, _request: errors.NotFound(
        "object", subject
    ),
    vmodl.fault.InvalidArgument: lambda fault, subject, _request: errors.Misuse(
        fault.invalidProperty or subject, _text(fault)
    ),
    vmodl.fault.NotSupported: lambda fault, subject, request: errors.Unsupported(
        f"{subject}: to {request}", _text(fault)
    ),
    vmodl.fault.RequestCanceled: lambda _fault, subject, request: errors.Interrupted(
        f"{subject}: to {request}"
    ),
    vmodl.fault.HostCommunication: lambda _fault, subject, _request: errors.Unreachable(subject),
    vmodl.fault.MethodNotFound: lambda fault, subject, request: errors.Unsupported(
        f"{subject}: to {request}", f"the server has no {fault.method}"
    ),
}
