"""A client's socket: whole messages in, views out, nothing copied, and no wait without an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stuntdouble.codecs.nbd import Inbox

if TYPE_CHECKING:
    import socket

    from stuntdouble.nbd.limits import Patience


class Gone(Exception):  # noqa: N818  (no error: clients come and go)
    """The client has closed its connection, or does not deserve it any longer."""


class Wire:
    """A connected, non-blocking socket.

    ``send`` keeps what belongs together together: several views go as one, and callers that have
    more than one call to make hold ``turn``.
    """

    def __init__(self, connected: socket.socket, patience: Patience) -> None:
        self.turn = asyncio.Lock()
        self._socket = connected
        self._patience = patience
        self._inbox = Inbox()
        self._loop = asyncio.get_running_loop()

    async def next(self, count: int) -> bytes:
        """Return the next message of *count* bytes; the time that it has begins with its first.

        Raises:
            Gone: the client has ended the connection.
            TimeoutError: the client does not go on with what it has begun.
        """
        if not len(self._inbox):
            await self._receive()
        return await self.rest(count)

    async def rest(self, count: int) -> bytes:
        """Return *count* bytes of a message that has begun."""
        found = self._inbox.take(count)
        if found is None:
            async with self._patience.stall(count):
                while (found := self._inbox.take(count)) is None:
                    await self._receive()
        return found

    async def into(self, target: memoryview) -> None:
        """Fill *target* with what comes next, received where it belongs."""
        at = self._inbox.move(target)
        if at == len(target):
            return
        async with self._patience.stall(len(target)):
            while at < len(target):
                at += self._some(await self._loop.sock_recv_into(self._socket, target[at:]))

    async def _receive(self) -> None:
        room = self._inbox.room()
        self._inbox.received(self._some(await self._loop.sock_recv_into(self._socket, room)))

    @staticmethod
    def _some(count: int) -> int:
        if not count:
            raise Gone
        return count

    async def send(self, *views: bytes | memoryview) -> None:
        """Send views, one after the other.

        Raises:
            TimeoutError: the client does not take them.
        """
        rows = [memoryview(view).cast("B") for view in views]
        try:
            sent = self._socket.sendmsg(rows)
        except (BlockingIOError, InterruptedError):
            sent = 0
        size = sum(map(len, rows))
        if sent == size:
            return
        async with self._patience.stall(size):
            for row in rows:
                if sent < len(row):
                    await self._loop.sock_sendall(self._socket, row[sent:])
                sent = max(sent - len(row), 0)
