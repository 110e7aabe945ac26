"""What answers cost the client alone: their bodies are taped, then parsed again without a server.

The client is pyVmomi, unmodified in the runs that are timed; a taping run asks the same again.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from stuntdouble.bench.cases import wall_seconds
from stuntdouble.bench.vsphere.servers import module

if TYPE_CHECKING:
    from collections.abc import Callable

Tape = list[tuple[bytes, Any]]


class _Heard:
    """An HTTP response that keeps what is read of it."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.body = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    def read(self, *sizes: int) -> bytes:
        """Read on."""
        part: bytes = self._response.read(*sizes)
        self.body += part
        return part


class _Connection:
    """A connection whose responses are kept."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.heard: _Heard | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def getresponse(self) -> _Heard:
        """Return the response."""
        self.heard = _Heard(self.connection.getresponse())
        return self.heard


def taped(stub: Any, client: Callable[[], object]) -> Tape:
    """Run a client and return the bodies of its answers, with the type that each was read as."""
    tape: Tape = []
    plain_connection, plain_invoke = stub.GetConnection, stub.InvokeMethod
    last: list[_Connection] = []

    def get_connection() -> _Connection:
        connection = plain_connection()
        if isinstance(connection, _Connection):
            connection = connection.connection
        last[:] = [_Connection(connection)]
        return last[0]

    def invoke(mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N803
        result = plain_invoke(mo, info, args, outerStub)
        heard = last[0].heard
        assert heard is not None, "there was an answer"
        tape.append((bytes(heard.body), info.result))
        return result

    stub.GetConnection, stub.InvokeMethod = get_connection, invoke
    try:
        client()
    finally:
        del stub.GetConnection, stub.InvokeMethod
        stub.DropConnections()
    return tape


def timed(client: Callable[[], object]) -> float:
    """Return the seconds that a client takes; what it returns lives until it is done."""
    gc.collect()
    began = wall_seconds()
    kept = client()
    seconds = wall_seconds() - began
    del kept
    return seconds


def parsing_seconds(stub: Any, tape: Tape) -> float:
    """Return the seconds that pyVmomi takes to read the bodies on a tape."""
    reader = module("pyVmomi.SoapAdapter").SoapResponseDeserializer
    return timed(lambda: [reader(stub).Deserialize(body, kind) for body, kind in tape])
