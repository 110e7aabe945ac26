"""The server: connections, and what ends them."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import InvalidState, Misuse
from stuntdouble.nbd.limits import Budget, Limits, Patience
from stuntdouble.nbd.negotiation import Negotiation
from stuntdouble.nbd.requests import Requests
from stuntdouble.nbd.wire import Gone, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.nbd.exports import Exports
    from stuntdouble.nbd.limits import CallLater

_BACKLOG: Final = (
    128  # clients that knock at the same moment; more try again by themselves.  Chosen.
)
_BREATH_SECONDS: Final = (
    0.1  # wall time before another try where the machine has no descriptor left
)


class Server:
    """Serves exports to NBD clients.

    Nothing that a client sends ends the server, and nobody waits for a slow one but itself.  A
    ``Bug`` goes to the loop's exception handler, as in any callback.

    Args:
        exports: looked up whenever a client asks.
        wall_seconds: loop seconds that pass in so many wall seconds: ``lambda s: s * loop.rate``
            on a loop whose clock is another.
        limits: how much a client may ask for.
        call_later: calls back after wall seconds, where the loop's clock may stand still.
    """

    def __init__(
        self,
        exports: Exports,
        *,
        wall_seconds: Callable[[float], float] = float,
        limits: Limits | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._exports = exports
        self._patience = Patience(wall_seconds, self.limits, call_later)
        self._budget = Budget(self.limits.payload_bytes)
        self._clients: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port at which the server listens; InvalidState before ``start``."""
        if self._listener is None:
            raise InvalidState("the NBD server", "not started", "tell its address")
        host, port = self._listener.getsockname()[:2]
        return host, port

    async def start(self, host: str, port: int) -> None:
        """Listen at an address; port 0 takes a free one.

        Raises:
            OSError: nobody can listen there.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, place = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)  # noqa: FBT003  (the socket module's signature)
            listener.bind(place)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener))

    async def close(self) -> None:
        """Stop to listen, and let go of every client; idempotent."""
        tasks = [*self._clients, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        self._listener = self._accepting = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(listener)
            except OSError:  # no descriptor is left, or the client has gone again
                await asyncio.sleep(self._patience.wall_seconds(_BREATH_SECONDS))
                continue
            self.admit(connected)

    def admit(self, connected: socket.socket) -> None:
        """Serve a client on a socket that is connected already; close it if that is one too many."""
        if self.connections >= self.limits.connections:
            connected.close()
            return
        task = asyncio.create_task(self._client(connected))
        self._clients.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a connection failed", "exception": error, "task": task}
            asyncio.get_running_loop().call_exception_handler(context)

    async def _client(self, connected: socket.socket) -> None:
        """Serve one client; whatever it does, it ends here."""
        with connected:
            connected.setblocking(False)  # noqa: FBT003  (the socket module's signature)
            if connected.family in {socket.AF_INET, socket.AF_INET6}:
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = Wire(connected, self._patience)
            try:
                async with self._patience.handshake():
                    session = await Negotiation(wire, self._exports, self.limits).run()
                await Requests(wire, session, self.limits, self._budget).run()
            except* (Gone, OSError, Misuse):  # TimeoutError is an OSError
                pass
