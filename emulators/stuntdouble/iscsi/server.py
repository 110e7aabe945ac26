"""The server: a portal at which initiators knock, and what ends their connections."""

from __future__ import annotations

import asyncio
import socket
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.codecs.iscsi import AsyncEvent
from stuntdouble.errors import InvalidState
from stuntdouble.iscsi.client import Client
from stuntdouble.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Protocol, TypeAlias

    from stuntdouble.iscsi.sessions import Node

    class Timer(Protocol):
        """Something that will happen, unless it is cancelled."""

        def cancel(self) -> object:
            """Let it not happen."""
            ...

    CallLater: TypeAlias = Callable[[float, Callable[[], object]], Timer]

_BACKLOG: Final = 128  # initiators that knock at the same moment; more try again.  Chosen.
_ACCEPTED_MAX: Final = 16  # of them, how many are let in at a time
_BREATH_SECONDS: Final = (
    0.1  # wall time before another try where the machine has no descriptor left
)
_SEND_BUFFER_BYTES: Final = 256 * KIB
"""What the kernel takes off our hands at a time.  Measured: what is more falls out of the processor's
caches before the initiator comes to read it, and takes twice as long."""


class Server:
    """Serves the targets of a node to initiators.

    Nothing that an initiator sends ends the server.  A ``Bug`` goes to the loop's exception
    handler, as in any callback.

    Args:
        node: the targets.
        entered: what is entered around whatever touches them; ``env.entered`` of a site.
        call_later: calls back after wall seconds, where the loop's clock is another.
    """

    def __init__(
        self,
        node: Node,
        *,
        entered: Callable[[], AbstractContextManager[Any]] = nullcontext,
        call_later: CallLater | None = None,
    ) -> None:
        self.node = node
        self.entered = entered
        self._call_later = call_later
        self._clients: dict[Client, Timer] = {}
        self._listener: socket.socket | None = None
        self._timers: list[Timer] = []

    @property
    def connections(self) -> int:
        """How many initiators are connected."""
        return len(self._clients)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port at which the server listens; InvalidState before ``start``."""
        if self._listener is None:
            raise InvalidState("the iSCSI server", "not started", "tell its address")
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
        loop.add_reader(listener, self._accept)
        self._again(self.node.limits.ping_seconds, self._watch)

    async def close(self) -> None:
        """Stop to listen, and let go of every initiator; idempotent."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for client in list(self._clients):
            client.leave()

    # Initiators that come. ---------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._listener is not None, "who listens has a socket"
        for _ in range(_ACCEPTED_MAX):
            try:
                connected, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listener)
                self._again(_BREATH_SECONDS, self._resume)
                return
            self.admit(connected)

    def _resume(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def admit(self, connected: socket.socket) -> None:
        """Serve an initiator on a connected socket; close it if that is one too many."""
        limits = self.node.limits
        knocking = sum(not client.connection.logged_in for client in self._clients)
        if self.connections >= limits.connections or knocking >= limits.logins:
            connected.close()
            return
        connected.setblocking(False)  # noqa: FBT003  (the socket module's signature)
        portals = list(self.node.portals)
        if connected.family in {socket.AF_INET, socket.AF_INET6}:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            portals = portals or [_portal(connected)]
        client = Client(self, connected, portals)
        self._clients[client] = self._later(limits.login_seconds, lambda: self._late(client))

    def left(self, client: Client) -> None:
        """Forget a client: it has closed its socket."""
        timer = self._clients.pop(client, None)
        if timer is not None:
            timer.cancel()

    # Initiators that have gone without a word, or had better. ----------------------------------

    def _late(self, client: Client) -> None:
        """Close a connection that has not logged in; else look from now on whether it listens."""
        if client not in self._clients:
            return
        if not client.connection.logged_in:
            client.leave()
            return
        self._look(client, client.sent_bytes)

    def _look(self, client: Client, sent_bytes: int) -> None:
        """Close a connection that has taken nothing of what waits, since it was looked at."""
        if client not in self._clients:
            return
        if client.waiting_bytes and client.sent_bytes == sent_bytes:
            client.leave()
            return
        sent = client.sent_bytes
        seconds = self.node.limits.stall_seconds
        self._clients[client] = self._later(seconds, lambda: self._look(client, sent))

    def _watch(self) -> None:
        for client in list(self._clients):
            client.connection.watch()
        self._timers.clear()
        self._again(self.node.limits.ping_seconds, self._watch)

    def _later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        if self._call_later is not None:
            return self._call_later(seconds, callback)
        return asyncio.get_running_loop().call_later(seconds, callback)

    def _again(self, seconds: float, callback: Callable[[], object]) -> None:
        self._timers.append(self._later(seconds, callback))

    # Faults. -----------------------------------------------------------------------------------

    def drop(self, initiator: str | None = None, *, announced: bool = False) -> int:
        """Drop the sessions of an initiator, or all; return how many.

        Args:
            initiator: whose.
            announced: tell them first by an asynchronous message (RFC 7143, §11.9), and close in
                order; else their connections are reset.
        """
        dropped = 0
        for client in list(self._clients):
            session = client.connection.session
            if session is None or initiator not in {None, session.initiator}:
                continue
            dropped += 1
            if announced:
                with self.entered():
                    client.connection.end(AsyncEvent.SESSION_DROP)
            else:
                client.leave(reset=True)
        return dropped


def _portal(connected: socket.socket) -> str:
    """Return the address by which an initiator has come."""
    host, port = connected.getsockname()[:2]
    return f"[{host}]:{port}" if connected.family == socket.AF_INET6 else f"{host}:{port}"
