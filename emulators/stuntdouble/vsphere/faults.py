"""What the emulated hypervisor refuses, in the words of the vSphere API.

The emulators raise errors of ``stuntdouble.errors``; a client expects the API's faults.  Both are
told apart by type, never by text.  Sources of discriminators: see ``stuntdouble.vsphere.changes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble import errors
from stuntdouble.vsphere.vmomi import vim, vmodl

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.vsphere.center import VirtualCenter


def fault_of(error: errors.Error, center: VirtualCenter) -> Any:
    """Return the fault that says what *error* says."""
    for kind in type(error).__mro__:
        if kind in _FAULTS:
            fault = _FAULTS[kind](error, center)
            if fault.msg is None:
                fault.msg = str(error)
            return fault
    raise error


def not_permitted(ref: Any, privilege: str) -> Any:
    """Return the fault of a user who lacks a privilege."""
    return vim.fault.NoPermission(
        object=ref,
        privilegeId=privilege,
        missingPrivileges=None,
        msg=f"Permission to perform this operation was denied: {privilege} is needed.",
    )


def not_authenticated(ref: Any) -> Any:
    """Return the fault of a client that is not logged in."""
    return vim.fault.NotAuthenticated(
        object=ref, privilegeId="System.View", msg="The session is not authenticated."
    )


def invalid_argument(name: str, why: str = "") -> Any:
    """Return the fault of an argument that makes no sense."""
    text = f"A specified parameter was not correct: {name}"
    return vmodl.fault.InvalidArgument(invalidProperty=name, msg=f"{text} ({why})" if why else text)


def not_supported(what: str) -> Any:
    """Return the fault of something that vSphere does and this does not emulate."""
    return vmodl.fault.NotSupported(msg=f"{what} is not emulated.")


def file_fault(file: str, key: str, text: str) -> Any:
    """Return a FileFault whose message key tells clients which one it is."""
    message = vmodl.LocalizableMessage(key=key, message=text)
    return vim.fault.FileFault(
        file=file, faultMessage=[message], msg=f"Error caused by file {file}"
    )


def _busy(error: errors.Error, center: VirtualCenter) -> Any:
    running = center.tasks.running_of(str(error.args[0]))
    return vim.fault.TaskInProgress(task=running, msg="Another task is already in progress.")


def _full(error: errors.Error, _center: VirtualCenter) -> Any:
    where = str(error.args[0]).removeprefix("datastore ")
    return vim.fault.NoDiskSpace(file=f"[{where}]", datastore=where)


def _limit(error: errors.Error, _center: VirtualCenter) -> Any:
    if str(error.args[0]).startswith("snapshot levels"):
        return vim.fault.TooManySnapshotLevels()
    return vim.fault.ResourceInUse(name=str(error.args[0]))


def _unreachable(whom: str) -> Any:
    if whom.startswith("host "):
        return vim.fault.HostNotConnected()
    return vim.fault.CannotAccessFile(file=whom)


_FAULTS: Final[dict[type[errors.Error], Callable[[Any, VirtualCenter], Any]]] = {
    errors.TaskInProgress: _busy,
    errors.NoSpace: _full,
    errors.LimitReached: _limit,
    errors.MethodDisabled: lambda error, _center: vim.fault.MethodDisabled(
        source=str(error.args[2])
    ),
    errors.FileLocked: lambda error, _center: vim.fault.FileLocked(file=str(error.args[0])),
    errors.QuiesceFailed: lambda _error, _center: vim.fault.FilesystemQuiesceFault(),
    errors.NotFound: lambda _error, _center: vim.fault.NotFound(),
    errors.InvalidState: lambda _error, _center: vim.fault.InvalidState(),
    errors.AccessDenied: lambda _error, _center: vim.fault.NoPermission(privilegeId=""),
    errors.ChangeHistoryLost: lambda e, _center: file_fault(
        str(e.args[0]), "vim.hostd.vmsvc.cbt.cannotGetChanges", str(e)
    ),
    errors.Refused: lambda _error, _center: vim.fault.InvalidState(),
    errors.Misuse: lambda error, _center: vmodl.fault.InvalidArgument(
        invalidProperty=str(error.args[0])
    ),
    errors.Unsupported: lambda _error, _center: vmodl.fault.NotSupported(),
    errors.Interrupted: lambda _error, _center: vmodl.fault.HostCommunication(),
    errors.Unreachable: lambda e, _center: _unreachable(str(e.args[0])),
    errors.Lost: lambda _error, _center: vmodl.fault.HostCommunication(),
    errors.Corrupt: lambda e, _center: vim.fault.CannotAccessFile(file=str(e.args[0])),
}
