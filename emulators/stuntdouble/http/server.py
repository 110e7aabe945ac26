"""A server on a port: its connections, its clock, its end."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from stuntdouble.http.connection import Connection
from stuntdouble.http.limits import Limits
from stuntdouble.http.messages import Handler
from stuntdouble.http.parsing import Bodies

__all__ = ["Server", "serve"]


def _as_it_is(seconds: float) -> float:
    return seconds


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Let it not happen."""
        ...


class Server:
    """Answers HTTP/1.1 on one address until it is closed.

    Attributes:
        handler: What answers a request.
        limits: What a client may take.
        tick: Number of ticks so far; the clock of all connections.
        is_closing: No further request is taken.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        wall_seconds: Callable[[float], float],
        call_later: Callable[[float, Callable[[], object]], Timer] | None = None,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.tick = 0
        self.is_closing = False
        self.bodies = Bodies(limits.bodies_bytes_max)
        self._wall_seconds = wall_seconds
        self._call_later = call_later
        self._connections: dict[Connection, None] = {}
        self._peers: Counter[str] = Counter()
        self._timer: Timer | None = None
        self._gone: asyncio.Future[None] | None = None
        self._listener: asyncio.Server | None = None
        self._port = 0

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The sockets that it listens on."""
        return self._listener.sockets if self._listener else ()

    @property
    def port(self) -> int:
        """The port that it listens on; if it was to choose one, the one that it chose."""
        return self._port

    @property
    def connections(self) -> int:
        """Number of connections that are open."""
        return len(self._connections)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Start to listen.

        Raises:
            OSError: The address is taken, or none of this machine.
        """
        seconds = self._wall_seconds(self.limits.handshake_seconds) if tls else None
        self._listener = await self.loop.create_server(
            lambda: Connection(self),
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=seconds,
            ssl_shutdown_timeout=seconds,
            backlog=self.limits.connections_max,
        )
        self._port = int(self.sockets[0].getsockname()[1])

    async def close(self, grace_seconds: float = 2.0) -> None:
        """Stop to listen; let answers that are under way end, for so long in wall time; cut the rest."""
        self.is_closing = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.finish()
        if not self._connections:
            return
        if self._gone is None:
            self._gone = self.loop.create_future()
        cut = self._later(grace_seconds, self._cut)
        try:
            await asyncio.shield(self._gone)
        finally:
            if cut is not None:
                cut.cancel()
            self._cut()

    def _cut(self) -> None:
        for connection in list(self._connections):
            connection.cut()

    # What a connection calls.

    def admit(self, connection: Connection) -> bool:
        """Count a connection; tell whether it may stay."""
        self._connections[connection] = None
        self._peers[connection.peer] += 1
        if self._timer is None:
            self._wind()
        return (
            len(self._connections) <= self.limits.connections_max
            and self._peers[connection.peer] <= self.limits.peer_connections_max
            and not self.is_closing
        )

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        del self._connections[connection]
        self._peers[connection.peer] -= 1
        if not self._peers[connection.peer]:
            del self._peers[connection.peer]
        if not self._connections:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._gone is not None and not self._gone.done():
                self._gone.set_result(None)

    def _later(self, seconds: float, callback: Callable[[], object]) -> Timer | None:
        """Call back after *seconds* of wall time; None where those never pass."""
        if self._call_later is not None:
            return self._call_later(seconds, callback)
        seconds = self._wall_seconds(seconds)
        return self.loop.call_later(seconds, callback) if math.isfinite(seconds) else None

    def _wind(self) -> None:
        """Set the clock to tick: it does while there is a connection."""
        self._timer = self._later(self.limits.tick_seconds, self._look)

    def _look(self) -> None:
        self.tick += 1
        for connection in list(self._connections):
            connection.look(self.tick)
        if self._connections:
            self._wind()
        else:
            self._timer = None


async def serve(
    handler: Handler,
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    wall_seconds: Callable[[float], float] = _as_it_is,
    call_later: Callable[[float, Callable[[], object]], Timer] | None = None,
) -> Server:
    """Return a server that listens.

    Args:
        handler: What answers a request; what it raises is logged and answered with 500.
        host: Address to listen on.
        port: Port to listen on; 0 for one that is free.
        tls: How to encrypt; None for plain HTTP.
        limits: What a client may take.
        wall_seconds: How many seconds of the running loop so many seconds of wall time are; asked
            each time, since the pace of a loop may change.
        call_later: Calls back after so many seconds of wall time, where the running loop can do so
            by itself: its own clock may be stopped meanwhile.

    Raises:
        OSError: The address is taken, or none of this machine.
    """
    server = Server(handler, limits or Limits(), wall_seconds, call_later)
    await server.listen(host, port, tls)
    return server
