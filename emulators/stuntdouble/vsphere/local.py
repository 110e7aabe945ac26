"""The door in process: pyVmomi's client without a socket, in virtual time.

The client is the real one, and every call goes through the same bytes and the same dispatcher as
over HTTP.  A call is an instant.  Those that take time, because hosts work on them or a client
waits for news, need somebody who lets time pass: run the client's code by ``blocking``, in which a
call that waits gives way to the loop, or poll.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import greenlet
from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapterBase
from simpy.events import Event

from stuntdouble.clock import completed
from stuntdouble.errors import Unsupported
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.vsphere.dispatch import Dispatcher
    from stuntdouble.vsphere.sessions import Session

T = TypeVar("T")


async def blocking(client: Callable[[], T]) -> T:
    """Run a client's code, which blocks, and let site time pass while it waits."""
    worker = greenlet.greenlet(client)
    asked = worker.switch()
    while not worker.dead:
        try:
            answer = await cast("Awaitable[Any]", asked)
        except BaseException as error:  # noqa: BLE001  (whatever it is, the client is told)
            asked = worker.throw(error)
        else:
            asked = worker.switch(answer)
    return cast("T", asked)


def _wait_for(awaitable: Awaitable[T], what: str) -> T:
    parent = greenlet.getcurrent().parent
    if parent is None:
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        raise Unsupported(f"waiting for {what} in virtual time", "call it within blocking()")
    return cast("T", parent.switch(awaitable))


class LocalStub(SoapStubAdapterBase):
    """pyVmomi's stub over a dispatcher in the same process."""

    requestContext: Any = None  # noqa: N815  (pyVmomi's serializer looks for it)

    def __init__(self, dispatcher: Dispatcher, version: str | None = None) -> None:
        center = dispatcher.center
        super().__init__(version or center.setting.version)
        self._dispatcher = dispatcher
        self._session: Session = center.sessions.anonymous()

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803
        """Call a method, as pyVmomi's managed objects do; raise the fault that it answers with."""
        request = self.SerializeRequest(mo, info, args)
        body, fault = self.exchange(request, info.wsdlName)
        result = SoapResponseDeserializer(outerStub or self).Deserialize(body, info.result)
        if fault:
            raise result
        return result

    def exchange(self, body: bytes, what: str) -> tuple[bytes, bool]:
        """Return the answer to a request, and whether it is a fault."""
        dispatcher, session = self._dispatcher, self._session
        found = dispatcher.center.sessions.find(session.key)
        if found is None and session.user is not None:
            session = self._session = dispatcher.center.sessions.anonymous()
        try:
            call, value = dispatcher.parsed(body, session, self.version)
            if isinstance(value, Event):
                value = _wait_for(completed(value), what)
            elif isinstance(value, Awaitable):
                value = _wait_for(value, what)
            answer = dispatcher.answer(call, value, session, self.version)
        except dispatcher.expected as error:
            answer = dispatcher.failed(error, session, self.version)
        return answer.body, answer.fault


def connect(dispatcher: Dispatcher, user: str, password: str, version: str | None = None) -> Any:
    """Return a logged-in service instance over a dispatcher in the same process."""
    instance = vim.ServiceInstance("ServiceInstance", LocalStub(dispatcher, version))
    instance.RetrieveContent().sessionManager.Login(user, password, None)
    return instance
