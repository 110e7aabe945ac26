"""The one dispatcher behind every door: from a SOAP body to a SOAP body.

The door over HTTP, the one in process, and a replay of recorded calls differ in how they wait, and
in nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from simpy.events import Event

from stuntdouble.clock import completed
from stuntdouble.errors import Bug, Error
from stuntdouble.vsphere.collector import readable
from stuntdouble.vsphere.faults import fault_of, not_authenticated, not_permitted
from stuntdouble.vsphere.objects import snake
from stuntdouble.vsphere.paths import declared_at
from stuntdouble.vsphere.reply import write_fault, write_reply
from stuntdouble.vsphere.request import BadRequest, UnknownMethod, parse_call
from stuntdouble.vsphere.vmomi import clipped, coerced, moid, vmodl

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.objects import Managed
    from stuntdouble.vsphere.request import Call
    from stuntdouble.vsphere.sessions import Session

log = logging.getLogger(__name__)

_OPEN: Final = frozenset({"ServiceInstance", "SessionManager"})
_OPEN_CALLS: Final = frozenset(
    {"RetrieveServiceContent", "CurrentTime", "Login", "Logout", "CloneSession", "Fetch"}
)
"""What a client may call before it has logged in."""
_OPEN_PROPERTIES: Final = frozenset(
    {"content", "serverClock", "capability", "currentSession", "defaultLocale"}
)
"""What it may read."""
_PRIVILEGES: Final = {
    "CancelTask": "Global.CancelTask",
    "DeleteDatastoreFile_Task": "Datastore.FileManagement",
    "Destroy_Task": "VirtualMachine.Inventory.Delete",
    "LogUserEvent": "Global.LogEvent",
    "MakeDirectory": "Datastore.FileManagement",
    "ReconfigVM_Task": "VirtualMachine.Config.Settings",
    "SearchDatastoreSubFolders_Task": "Datastore.Browse",
    "SearchDatastore_Task": "Datastore.Browse",
    "UpdateOptions": "Global.Settings",
}
"""What methods need whose privilege depends on what they are called on or with, and which pyVmomi's
tables leave open: the one that the API's text names first."""


_CHANGING: Final = frozenset(
    {
        *("AnswerVM", "CancelTask", "RenameSnapshot", "ShutdownGuest", "UnregisterVM"),
        *("MountVmfsVolume", "UnmountVmfsVolume", "ResolveMultipleUnresolvedVmfsVolumes"),
        *("RescanAllHba", "RescanHba", "RescanVmfs", "DisableMethods", "EnableMethods"),
        *("RefreshStorageSystem", "MakeDirectory", "DeleteFile"),
    }
)
"""What changes the site and is no task."""
_LOOKING: Final = frozenset({"SearchDatastore_Task", "SearchDatastoreSubFolders_Task"})
"""Tasks that change nothing but the list of tasks."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply: its body, whether it is a fault, and the session that it belongs to."""

    body: bytes
    fault: bool
    session: Session


class Dispatcher:
    """Serves calls on the objects of a vCenter.

    ``expected`` are the errors that it answers.  ``on_change`` is told of each call that changes
    the site, right before it does: body, session, version of the client.
    """

    expected: Final = (Error, vmodl.MethodFault)

    def __init__(self, center: VirtualCenter) -> None:
        self.center = center
        self.calls: dict[str, int] = {}
        self.on_change: Callable[[bytes, Session, str], object] | None = None

    async def handle(self, body: bytes, session: Session, version: str) -> Answer:
        """Serve a call; whatever a client does wrong, or the emulated system refuses, is a fault."""
        told = self.serve(body, session, version)
        return told if isinstance(told, Answer) else await told

    def serve(self, body: bytes, session: Session, version: str) -> Answer | Awaitable[Answer]:
        """Serve a call: return the answer, or what will give it, where it takes time."""
        try:
            call, value = self.parsed(body, session, version)
            if isinstance(value, Event | Awaitable):
                return self._awaited(call, value, session, version)
            return self.answer(call, value, session, version)
        except self.expected as error:
            return self.failed(error, session, version)

    async def _awaited(self, call: Call, value: Any, session: Session, version: str) -> Answer:
        try:
            if isinstance(value, Event):
                value = await completed(value)  # it goes on, where its client leaves
            else:
                value = await value
            return self.answer(call, value, session, version)
        except self.expected as error:
            return self.failed(error, session, version)

    def broken(self, error: BaseException, session: Session, version: str) -> Answer:
        """Return the answer that tells of an error that nobody expected, and not which one."""
        fault = vmodl.fault.SystemError(reason=type(error).__name__)
        text = "A general system error occurred: the server's log says which."
        return Answer(write_fault(version, fault, text), fault=True, session=session)

    def parsed(self, body: bytes, session: Session, version: str) -> tuple[Call, Any]:
        """Read a call and begin it; see ``begin``."""
        call = parse_call(body)
        return call, self.begin(call, session, version, body)

    def answer(self, call: Call, value: Any, session: Session, version: str) -> Answer:
        """Return the answer with a call's result."""
        body = write_reply(call.info, version, value)
        return Answer(body, fault=False, session=session)

    def failed(self, error: BaseException, session: Session, version: str) -> Answer:
        """Return the answer that tells of an error."""
        fault = self._fault(error)
        text = fault.msg or type(fault).__name__
        return Answer(write_fault(version, fault, text), fault=True, session=session)

    def begin(self, call: Call, session: Session, version: str, body: bytes = b"") -> Any:
        """Begin a call: return its result, an event that comes with it, or an awaitable.

        It enters the site here, once: what takes time goes on by itself.
        """
        self.calls[call.method] = self.calls.get(call.method, 0) + 1
        session.calls += 1
        with self.center.env.entered():
            self.center.sweep()
            self.center.calling, self.center.speaking = session, version
            try:
                managed = self._admitted(call, session)
                if call.method == "Fetch":
                    path = call.arguments["prop"]
                    value = self.center.property_of(managed, path)
                    return coerced(value, declared_at(managed.kind, path))
                operation = self._operation(call, managed)
                arguments = {snake(name): value for name, value in call.arguments.items()}
                if self.on_change is not None and changes_something(call):
                    self.on_change(body, session, version)
                value = operation(managed, session, **arguments)
                return self._process(value) if isinstance(value, Generator) else value
            finally:
                self.center.calling = None

    def _admitted(self, call: Call, session: Session) -> Managed:
        """Return what is called, once it is clear that somebody is logged in and may do this."""
        if session.user is None and not (moid(call.this) in _OPEN and call.method in _OPEN_CALLS):
            raise not_authenticated(call.this)
        managed = self.center.resolve(call.this)
        if call.method == "Fetch":
            self._may_read(managed, call.arguments["prop"], session)
        elif session.user is not None:
            privilege = call.info.privilege or _PRIVILEGES.get(call.method)
            if not session.may(privilege):
                raise not_permitted(call.this, str(privilege or "System.View"))
        return managed

    def _may_read(self, managed: Managed, path: str, session: Session) -> None:
        """Check that a property may be read: before somebody has logged in, a few may."""
        if session.user is None:
            if path not in _OPEN_PROPERTIES:
                raise not_authenticated(managed.ref)
            return
        for _path, refusal in readable(session, managed, (path,)):
            if refusal is not None:
                raise refusal

    def _process(self, model: Generator[Event, Any, Any]) -> Event:
        process: Event = self.center.env.process(model)
        process.callbacks.append(_seen)
        return process

    def _operation(self, call: Call, managed: Managed) -> Any:
        operation = managed.operations.get(call.method)
        if operation is None:
            log.warning("%s.%s is not emulated", managed.kind.__name__, call.method)
            raise vmodl.fault.MethodNotFound(
                receiver=call.this,
                method=call.method,
                msg=f"The method {call.method} of {managed.kind.__name__} is not emulated.",
            )
        return operation

    def _fault(self, error: BaseException) -> Any:
        if isinstance(error, vmodl.MethodFault):
            return error
        if isinstance(error, BadRequest):
            return vmodl.fault.InvalidRequest(msg=str(error))
        if isinstance(error, UnknownMethod):
            text = f"no method named {clipped(str(error.args[0]))}"
            log.warning("%s, called on %s", text, clipped(str(error.args[1])))
            named = error.args[1] if error.args[1] is not None else self.center.roots.service.ref
            return vmodl.fault.MethodNotFound(receiver=named, method=str(error.args[0]), msg=text)
        if isinstance(error, Error):
            return fault_of(error, self.center)
        raise Bug(f"{error!r} is no answer")


def changes_something(call: Call) -> bool:
    """Say whether a call changes the site, and not just what a session has open."""
    return (call.info.is_task and call.method not in _LOOKING) or call.method in _CHANGING


def _seen(event: Event) -> None:
    """Take note of how a model ended whose client has left: it is told nothing."""
    event.defused = True
