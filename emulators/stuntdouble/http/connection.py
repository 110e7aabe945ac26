"""One connection: requests are answered one after another, and nothing waits for ever.

Time is counted in ticks of the server, which are ticks of wall time.  A loop that is held up does
not tick, so nobody is thrown out for a delay that was not his.

    between ──first byte──▶ head ──blank line──▶ body ──last byte──▶ answered ──▶ between
       │ idle                 │ 408, 431            │ 408, 413           │ stalled, orphaned
       ▼                      ▼                     ▼                    ▼
     closed               refused: the rest is read and dropped for a moment, then closed
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from stuntdouble.errors import Bug
from stuntdouble.http.messages import Request, Response, head, is_bodiless, packed, said
from stuntdouble.http.parsing import Incoming, Refusal

if TYPE_CHECKING:
    from stuntdouble.http.server import Server

__all__ = ["Connection"]

_LOG = logging.getLogger("stuntdouble.http")
_JOINED_BYTES_MAX = 256 << 10
"""Head and body up to this are one write; a larger body would be copied for nothing."""


class Connection(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._transport: Any = None
        self._incoming: Any = None
        self._due: deque[tuple[Request | None, Response | Awaitable[Response] | None, bool]] = (
            deque()
        )
        self._task: asyncio.Task[None] | None = None
        self._held = b""
        self._room: asyncio.Future[None] | None = None
        self._written = 0
        self._over = False  # no further request is read
        self._refused = False
        self._ended = False  # the client has closed its side
        self._since = self._moved = server.tick
        self._phase, self._sent = "", 0
        self.peer = ""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected, and ended the handshake if there is one."""
        self._transport = cast("asyncio.Transport", transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        secure = transport.get_extra_info("ssl_object") is not None
        self._incoming = Incoming(
            self._limits, self._server.bodies, self.peer, secure=secure, go_on=self._go_on
        )
        if not self._server.admit(self):
            self._over = True
            refused = said(503, "too many connections")
            self._write(head(refused, "", keep=False) + cast("bytes", refused.body))
            self._close()

    def data_received(self, data: bytes) -> None:
        """Bytes have come; those that come while a request is answered wait."""
        if self._over:
            return
        if self._task is not None:
            self._held += data
            self._transport.pause_reading()
            return
        refusal = None
        try:
            complete = self._incoming.feed(data)
        except Refusal as refused:
            complete, refusal = self._incoming.taken(), refused
        self._due.extend((request, None, keep) for request, keep in complete)
        if refusal is not None:
            self._refuse(refusal)
        elif complete:
            self._start()

    def eof_received(self) -> bool:
        """The client sends nothing more; what it has asked for is still answered."""
        self._ended = True
        self._since = self._server.tick
        if self._task is None:
            self._close()
        return self._transport.get_extra_info("ssl_object") is None  # TLS closes both sides

    def connection_lost(self, _error: Exception | None) -> None:
        """The connection is gone; so is what was being done for it."""
        self._over = self._ended = True
        self._drop_due()
        self._held = b""
        self._incoming.close()
        if self._task is not None:
            self._task.cancel()
        self.resume_writing()
        self._server.forget(self)

    def pause_writing(self) -> None:
        """The client takes less than there is to send."""
        if self._room is None:
            self._room = self._server.loop.create_future()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def _drop_due(self) -> None:
        """Let go of what nobody waits for any more."""
        for _, response, _ in self._due:
            if isinstance(response, Coroutine):
                response.close()
        self._due.clear()

    # What the server calls.

    def look(self, tick: int) -> None:
        """See whether the client takes too long over what it is doing."""
        limits = self._limits
        pending = self._transport.get_write_buffer_size()
        if not pending or self._written - pending != self._sent:
            self._sent, self._moved = self._written - pending, tick
        if tick - self._moved > limits.ticks(limits.stall_seconds):
            self._transport.abort()
        elif self._task is not None:
            if self._ended and tick - self._since > limits.ticks(limits.orphan_seconds):
                self._transport.abort()
        elif pending:
            self._since = tick
        elif not self._transport.is_closing():
            self._look_at_request(tick)

    def _look_at_request(self, tick: int) -> None:
        """See whether the client gets on with its next request."""
        limits, phase = self._limits, "over" if self._over else self._incoming.phase
        if phase != self._phase:
            self._phase, self._since = phase, tick
        earned = self._incoming.body_bytes / limits.body_rate_min
        allowed = {
            "over": limits.linger_seconds,
            "between": limits.idle_seconds if self._written else limits.head_seconds,
            "head": limits.head_seconds,
            "body": limits.body_seconds + earned,
        }[phase]
        if tick - self._since <= limits.ticks(allowed):
            return
        if phase in {"over", "between"}:
            self._close()
        else:
            self._refuse(Refusal(408, f"the {phase} of the request takes too long"))

    def finish(self) -> None:
        """Close as soon as what is being answered is answered."""
        if self._task is None:
            self._close()

    def cut(self) -> None:
        """Close now."""
        self._transport.abort()

    def _close(self) -> None:
        """Close once what was written is sent."""
        self._since = self._server.tick
        self._transport.close()

    # One request after another.

    def _go_on(self) -> None:
        """The client waits to be told that its body is welcome."""
        if not self._due:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what came before, then this, and read no further request."""
        self._over = self._refused = True
        self._incoming.close()
        self._due.append((None, refusal.response, False))
        self._start()

    def _start(self) -> None:
        if self._task is None:
            self._moved = self._server.tick
            if not self._answered_at_once():
                self._task = self._server.loop.create_task(self._answer_all())

    def _answered_at_once(self) -> bool:
        """Answer a request that came alone, if its handler need not wait; say whether it did not.

        A task begins when the loop comes round, and a round is a look at every socket: that alone
        is a seventh of the time that a small answer takes.
        """
        request, response, keep = self._due[0]
        alone = len(self._due) == 1 and response is None and keep
        if request is None or not alone or self._server.is_closing:
            return False
        told = self._begun(request)
        if not isinstance(told, Response) or not isinstance(told.body, bytes):
            self._due[0] = (request, told, keep)
            return False
        self._due.clear()
        try:
            self._put(request, told, told.body, keep=keep)
        except Exception:  # noqa: BLE001 -- the connection ends with it, the server does not
            _LOG.exception("an answer to %s was cut short", self.peer)
            self._transport.abort()
        self._since = self._server.tick
        if self._room is not None:  # what comes next waits until there is room
            self._task = self._server.loop.create_task(self._answer_all())
        return True

    def _begun(self, request: Request) -> Response | Awaitable[Response]:
        """Return what the handler answers, or will answer; if it fails, that it has."""
        try:
            return self._server.handler(request)
        except Exception:  # noqa: BLE001 -- whatever it is, the client is told and the server lives
            _LOG.exception("%s %s failed", request.method, request.path)
        return said(500, "the server failed; its log says why")

    async def _answer_all(self) -> None:
        """Answer the requests that are complete, in their order."""
        try:
            await self._answer_due()
            self._task = None
            self._rest()
        except Exception:  # noqa: BLE001 -- the connection ends with it, the server does not
            _LOG.exception("an answer to %s was cut short", self.peer)
            self._transport.abort()
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    async def _answer_due(self) -> None:
        await self._drain()
        while self._due:
            request, response, keep = self._due.popleft()
            if request is not None:
                response = await self._ask(request, response)
                keep = keep and not _to_the_end(request, response)
            assert isinstance(response, Response), "what has no request is complete"
            keep = keep and not self._server.is_closing
            await self._send(request, response, keep=keep)
            if not keep:
                self._over = True
                return

    def _rest(self) -> None:
        """After an answer: close, linger, or take what has come meanwhile."""
        self._since = self._server.tick
        if self._transport.is_closing():
            return
        if self._ended and not self._held:
            self._close()
        elif self._over:
            self._held = b""
            self._linger()
        elif self._held:
            held, self._held = self._held, b""
            self._transport.resume_reading()
            self.data_received(held)
            if self._ended and self._task is None:
                self._close()

    def _linger(self) -> None:
        """Say that nothing more comes, and drop what does until the client is done too."""
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:  # the client is gone, and the loop has not said so yet
                self._transport.abort()
                return
        elif not self._refused:  # TLS has no half of a connection
            self._close()
            return
        self._transport.resume_reading()

    async def _ask(
        self, request: Request, begun: Response | Awaitable[Response] | None
    ) -> Response:
        """Return what the handler answers, whether it has begun to or not."""
        told = self._begun(request) if begun is None else begun
        if isinstance(told, Response):
            return told
        try:
            return await told
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # the client is gone
                raise
            _LOG.exception("%s %s waited for what was cancelled", request.method, request.path)
        except Exception:  # noqa: BLE001 -- whatever it is, the client is told and the server lives
            _LOG.exception("%s %s failed", request.method, request.path)
        return said(500, "the server failed; its log says why")

    async def _send(self, request: Request | None, response: Response, *, keep: bool) -> None:
        """Send an answer."""
        body = response.body
        if not isinstance(body, bytes):
            await self._send_pieces(request, response, body, keep=keep)
            return
        self._put(request, response, body, keep=keep)
        await self._drain()

    def _put(self, request: Request | None, response: Response, body: bytes, *, keep: bool) -> None:
        """Hand over an answer that is complete."""
        encoding = ""
        least = self._limits.gzip_bytes_min
        if least is not None:
            small = packed(request, response, least, self._limits.gzip_bytes_max)
            if small is not None:
                body, encoding = small, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
        length = "" if response.status in {204, 304} else f"Content-Length: {len(body)}\r\n"
        top = head(response, encoding + length, keep=keep)
        if is_bodiless(request, response):
            body = b""
        if len(body) <= _JOINED_BYTES_MAX:
            self._write(top + body)
        else:
            self._write(top)
            self._write(body)

    async def _send_pieces(
        self,
        request: Request | None,
        response: Response,
        pieces: AsyncIterator[bytes],
        *,
        keep: bool,
    ) -> None:
        """Send an answer whose body comes in pieces, no faster than the client takes them.

        Raises:
            Bug: The pieces are not as long as was said.
        """
        to_the_end = request is not None and _to_the_end(request, response)
        chunked = response.length is None and not to_the_end
        how = f"Content-Length: {response.length}\r\n"
        if response.length is None:
            how = "Transfer-Encoding: chunked\r\n" if chunked else ""
        left = math.inf if response.length is None else response.length
        try:
            self._write(head(response, how, keep=keep))
            if is_bodiless(request, response):
                return
            async for piece in pieces:
                left -= len(piece)
                if left < 0:
                    raise Bug(f"a body is longer than {response.length} bytes")
                self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and piece else piece)
                await self._drain()
        finally:
            end = getattr(pieces, "aclose", None)
            if end is not None:
                await end()
        if 0 < left < math.inf:
            raise Bug(f"{left} bytes are missing from a body of {response.length}")
        if chunked:
            self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        self._transport.write(data)

    async def _drain(self) -> None:
        """Wait until the client has taken most of what was sent."""
        if self._room is not None:
            await self._room


def _to_the_end(request: Request, response: Response) -> bool:
    """Tell whether only the end of the connection ends the body: HTTP 1.0 knows no chunks."""
    unknown = response.length is None and not isinstance(response.body, bytes)
    return unknown and request.version == "1.0"
