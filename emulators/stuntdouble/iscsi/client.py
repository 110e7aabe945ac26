"""One initiator's socket: whatever it does to the loop, it does in one call for all that came.

A call receives once, takes every PDU that is complete, and sends all answers with one call to the
kernel: headers, and views of what the unit has rendered, gathered and not copied.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from stuntdouble.iscsi.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stuntdouble.codecs.iscsi.requests import Buffer
    from stuntdouble.iscsi.server import Server
    from stuntdouble.iscsi.sessions import Running
    from stuntdouble.scsi import Answer

_BUFFERS_MAX: Final = 1024  # IOV_MAX of Linux: what one call to the kernel takes
_LOOKS: Final = 150 if len(os.sched_getaffinity(0)) > 1 else 0
"""Of a microsecond each.  Measured: a lonely initiator on a processor of its own needs 20 to 40."""
_STAYS_MAX: Final = 16  # so that everybody else waits for three milliseconds at most
_TURNS_MAX: Final = 16  # for the same reason
_SELECTED_MAX: Final = 1024  # FD_SETSIZE: what select can look at


class Client:
    """Serves one initiator on a connected, non-blocking socket.

    Args:
        server: whose client it is.
        connected: the socket, which is the client's own from now on.
        portals: the addresses that discovery tells.
    """

    def __init__(self, server: Server, connected: socket.socket, portals: list[str]) -> None:
        self.connection = Connection(server.node, self, portals, self._woken)
        self.sent_bytes = 0
        self._server = server
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Buffer] = deque()
        self._number = connected.fileno()
        self._reading = self._writing = False
        self._gone = False
        self._listen(wanted=True)

    @property
    def waiting_bytes(self) -> int:
        """What has not been taken by the initiator yet."""
        return sum(map(len, self._waiting))

    # From the loop. ----------------------------------------------------------------------------

    def _readable(self) -> None:
        for _ in range(_STAYS_MAX):
            self._receive()
            if not self._next_is_here():
                return

    def _next_is_here(self) -> bool:
        """Stay for a moment with a lonely initiator: its next request comes before the loop would.

        A turn of the loop takes as long as one that sends one request after the other needs for
        the next.  Looking again and again, and not sleeping until there is something, is what helps:
        a processor that has gone to sleep takes longer to wake up than the initiator to ask.
        """
        alone = self._server.connections == 1 and not self._gone and not self._waiting
        if not alone or self._number >= _SELECTED_MAX:
            return False
        mine = (self._number,)
        return any(select.select(mine, (), (), 0)[0] for _ in range(_LOOKS))

    def _receive(self) -> None:
        connection = self.connection
        try:
            count = self._socket.recv_into(connection.framer.room())
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        if not count:
            self.leave()
            return
        connection.framer.received(count)
        self._work()

    def _work(self) -> None:
        """Take requests and send answers by turns, so that the initiator can begin with the first."""
        try:
            for _ in range(_TURNS_MAX):
                if self._gone:
                    return
                with self._server.entered():
                    more = self.connection.work()
                self._flush()
                if not more or self._waiting:
                    return
        except BaseException:
            self.leave()
            raise
        self._loop.call_soon(self._work)  # others have their turn first

    def _writable(self) -> None:
        self._flush()
        if not self._waiting and not self._gone:
            self._work()  # there may be requests that waited for room

    def _woken(self) -> None:
        """Send what came by itself, as soon as the loop has a turn."""
        self._loop.call_soon(self._flush)

    # Sending. ----------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what there is, as far as the kernel takes it."""
        if self._gone:
            return
        out, _ = self.connection.take()
        try:
            if out and not self._waiting and len(out) <= _BUFFERS_MAX:
                self._send(out)
            else:
                self._waiting += out
            while self._waiting and self._send(self._next()):
                pass
        except OSError:
            self.leave()
            return
        if not self._waiting and self.connection.closed:
            self.leave()
            return
        most = self._server.node.limits.output_bytes
        self._listen(wanted=not self._waiting or self.waiting_bytes < most)
        self._await_room(wanted=bool(self._waiting))

    def _next(self) -> list[Buffer]:
        """Return what is to be sent next, as much as goes with one call."""
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), _BUFFERS_MAX))]

    def _send(self, offered: list[Buffer]) -> bool:
        """Send some; what is not taken waits.  Say whether all of it was taken."""
        try:
            sent = self._socket.sendmsg(offered)
        except (BlockingIOError, InterruptedError):
            sent = 0
        self.sent_bytes += sent
        for number, buffer in enumerate(offered):
            if sent < len(buffer):
                rest = offered[number:]
                rest[0] = memoryview(buffer)[sent:]
                self._waiting.extendleft(reversed(rest))
                return False
            sent -= len(buffer)
        return True

    def _listen(self, *, wanted: bool) -> None:
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._socket, self._readable)
            else:
                self._loop.remove_reader(self._socket)

    def _await_room(self, *, wanted: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            if wanted:
                self._loop.add_writer(self._socket, self._writable)
            else:
                self._loop.remove_writer(self._socket)

    # Ending. -----------------------------------------------------------------------------------

    def leave(self, *, reset: bool = False) -> None:
        """Close the socket at once; idempotent.

        Args:
            reset: tell the initiator by a reset, as when a machine has gone.
        """
        if self._gone:
            return
        self._gone = True
        self._listen(wanted=False)
        self._await_room(wanted=False)
        if reset:
            linger = (1).to_bytes(4, "little") + bytes(4)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()
        self._waiting.clear()
        with self._server.entered():
            self.connection.lost()
        self._server.left(self)

    # Commands that take their time. ------------------------------------------------------------

    def run(self, answer: Awaitable[Answer], done: Callable[[Answer], object]) -> Running:
        """Await *answer* and hand it to *done*, unless cancelled."""
        task = self._loop.create_task(_awaited(answer))
        task.add_done_callback(lambda ended: self._ran(ended, done))
        return task

    def _ran(self, ended: asyncio.Task[Answer], done: Callable[[Answer], object]) -> None:
        if ended.cancelled():
            return
        error = ended.exception()
        if error is not None:
            self.leave()
            context = {"message": "a SCSI command failed", "exception": error, "task": ended}
            self._loop.call_exception_handler(context)
            return
        done(ended.result())


async def _awaited(answer: Awaitable[Answer]) -> Answer:
    return await answer
