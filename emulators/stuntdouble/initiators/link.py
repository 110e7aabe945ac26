"""A connection in NBD's transmission phase: requests out, replies in, each where it belongs.

Data is received straight into the buffer of whoever asked for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import ChunkError, ChunkHeader, Command, Errno, ReplyType, Request
from stuntdouble.errors import (
    AccessDenied,
    Error,
    LimitReached,
    MediumError,
    Misuse,
    NoSpace,
    Unreachable,
    Unsupported,
)
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

_BODY_BYTES_MAX: Final = 4 * MIB
"""The longest chunk that is no data: a block status of half a million extents.  Chosen."""


def error_of(errno: int, message: str, identity: str, offset: int, length: int) -> Error:
    """Return what an error of the protocol means; *message* is what the server says of it.

    An export that has shut down cannot be reached by this connection any more; to open it anew
    tells whether it is gone.
    """
    where = f"{identity} ({message})" if message else identity
    errors: dict[int, Error] = {
        Errno.EPERM: AccessDenied("an NBD client", f"{where} at {offset}"),
        Errno.ENOSPC: NoSpace(where, length, 0),
        Errno.ENOMEM: LimitReached(where, "the server's memory"),
        Errno.EINVAL: Misuse(where, f"{length} bytes at {offset} are not what it serves"),
        Errno.EOVERFLOW: Misuse(where, f"{length} bytes at {offset} are too many"),
        Errno.ENOTSUP: Unsupported(where, "the server says so"),
        Errno.ESHUTDOWN: Unreachable(where),
    }
    return errors.get(errno, MediumError(where, offset))


def _retrieve(future: asyncio.Future[None]) -> None:
    """Take notice of an error, lest the loop complains where nobody waits any more."""
    if not future.cancelled():
        future.exception()


@dataclass(eq=False)
class _Pending:
    """A request under way: ``target`` is where its data goes, ``left`` what has not come yet."""

    request: Request
    future: asyncio.Future[None]
    target: memoryview | None = None
    left: int = 0
    error: ChunkError | None = None
    found: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


class Link(asyncio.BufferedProtocol):
    """Requests and their replies, over a socket whose negotiation is done.

    Whatever ends the connection, a reply that makes no sense included, ends every request under way
    with ``Unreachable``.
    """

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._inbox = nbd.Inbox()
        self._pending: dict[int, _Pending] = {}
        self._cookie = 0
        self._head = b""
        self._target: memoryview | None = None
        self._then: Callable[[], None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self.lost = ""

    # Requests. ---------------------------------------------------------------------------------

    def read(self, offset: int, target: memoryview) -> asyncio.Future[None]:
        """Ask for the bytes of *target*, which must hold zeros; a hole leaves it as it is."""
        pending = self._new(Command.READ, offset, len(target))
        pending.target, pending.left = target, len(target)
        self._send(pending.request.pack())
        return pending.future

    async def write(self, offset: int, data: memoryview) -> asyncio.Future[None]:
        """Send *data* once the server takes it; the future ends when it says that it is there."""
        await self._writable.wait()
        pending = self._new(Command.WRITE, offset, len(data))
        self._send(pending.request.pack())
        self._send(data)
        return pending.future

    async def flush(self) -> None:
        """Return when what has been written is where it stays."""
        pending = self._new(Command.FLUSH, 0, 0)
        self._send(pending.request.pack())
        await pending.future

    async def status(self, offset: int, length: int) -> dict[int, list[tuple[int, int]]]:
        """Return (length, flags) of extents from *offset* on, by the number of the context."""
        pending = self._new(Command.BLOCK_STATUS, offset, length)
        self._send(pending.request.pack())
        await pending.future
        return pending.found

    def _new(self, command: Command, offset: int, length: int) -> _Pending:
        if self.lost:
            raise Unreachable(self.lost)
        self._cookie += 1
        request = Request(0, command, self._cookie, offset, length)
        pending = _Pending(request, asyncio.get_running_loop().create_future())
        pending.future.add_done_callback(_retrieve)
        self._pending[self._cookie] = pending
        return pending

    def _send(self, data: bytes | memoryview) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def close(self) -> None:
        """Tell the server that nothing more comes, and end the connection; idempotent."""
        transport = self._transport
        if transport is None:
            return
        if not self.lost:
            self._send(Request(0, Command.DISC, 0, 0, 0).pack())
            self._lose(f"{self._identity} (closed)")
        if transport.get_write_buffer_size():  # a server that takes nothing is not waited for
            transport.abort()
        transport.close()
        await self._ended.wait()

    # The connection. ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way: nobody will answer."""
        self._lose(f"{self._identity} ({exc})" if exc else self._identity)
        self._ended.set()

    def pause_writing(self) -> None:
        """Hold writes up: the server takes no more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let writes go on."""
        self._writable.set()

    def _lose(self, why: str) -> None:
        self.lost = self.lost or why
        self._writable.set()
        pending, self._pending = list(self._pending.values()), {}
        for each in pending:
            if not each.future.done():
                each.future.set_exception(Unreachable(self.lost))

    # Replies. ----------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: into a request's buffer, where that is clear."""
        del sizehint
        return self._inbox.room() if self._target is None else self._target

    def buffer_updated(self, nbytes: int) -> None:
        """Take notice of bytes that have come."""
        try:
            if self._target is None:
                self._inbox.received(nbytes)
            else:
                self._target = self._target[nbytes:]
            self._go_on()
        except Misuse as error:
            self._lose(f"{self._identity} ({error})")
            if self._transport is not None:
                self._transport.abort()

    def _go_on(self) -> None:
        """Parse as far as what has come goes."""
        while True:
            if self._target is not None:
                self._target = self._target[self._inbox.move(self._target) :]
                if self._target:
                    return
                self._target = None
            if self._then is not None:
                then, self._then = self._then, None
                then()
            elif not self._next_head():
                return

    def _next_head(self) -> bool:
        """Begin with the next reply, if its head is there."""
        whole = nbd.CHUNK_HEADER_BYTES if self._head else nbd.SIMPLE_HEADER_BYTES
        more = self._inbox.take(whole - len(self._head))
        if more is None:
            return False
        self._head += more
        header = nbd.parse_reply_header(self._head)
        if header is None:
            return True
        self._head = b""
        pending = self._pending.get(header.cookie)
        if pending is None:
            raise Misuse("NBD reply", f"to a request {header.cookie} that there is not")
        if isinstance(header, ChunkHeader):
            self._chunk(header, pending)
        elif header.error:
            self._over(pending, ChunkError(header.error, ""))
        else:
            self._target, pending.left = pending.target, 0
            self._then = lambda: self._over(pending, None)
        return True

    def _chunk(self, header: ChunkHeader, pending: _Pending) -> None:
        if header.kind == ReplyType.OFFSET_DATA:
            self._receive(8, lambda rest: self._data(header, pending, rest))
        elif header.length > _BODY_BYTES_MAX:
            raise Misuse("NBD chunk", f"{header.length} bytes, and no data")
        else:
            self._receive(header.length, lambda rest: self._body(header, pending, rest))

    def _receive(self, length: int, then: Callable[[bytes], None]) -> None:
        body = bytearray(length)
        self._target = memoryview(body)
        self._then = lambda: then(bytes(body))

    def _data(self, header: ChunkHeader, pending: _Pending, rest: bytes) -> None:
        self._target = _within(pending, nbd.parse_data_offset(rest), header.length - len(rest))
        self._then = lambda: self._end_chunk(header, pending)

    def _body(self, header: ChunkHeader, pending: _Pending, rest: bytes) -> None:
        if header.is_error:
            pending.error = pending.error or ChunkError.parse(rest)
        elif header.kind == ReplyType.OFFSET_HOLE:
            _within(pending, *nbd.parse_hole(rest))
        elif header.kind == ReplyType.BLOCK_STATUS:
            context, extents = nbd.parse_status(rest)
            pending.found[context] = extents
        elif header.kind != ReplyType.NONE:
            raise Misuse("NBD chunk", f"{header.kind} is no type of one")
        self._end_chunk(header, pending)

    def _end_chunk(self, header: ChunkHeader, pending: _Pending) -> None:
        if header.is_last:
            self._over(pending, pending.error)

    def _over(self, pending: _Pending, error: ChunkError | None) -> None:
        request = pending.request
        if error is None and pending.left:
            raise Misuse("NBD reply", f"{pending.left} of {request.length} bytes are missing")
        del self._pending[request.cookie]
        if pending.future.done():  # whoever asked has been cancelled
            return
        if error is None:
            pending.future.set_result(None)
        else:
            facts = self._identity, request.offset, request.length
            pending.future.set_exception(error_of(error.error, error.message, *facts))


def _within(pending: _Pending, offset: int, length: int) -> memoryview:
    """Return the part of a request's buffer that a chunk is about; Misuse where it has no such."""
    begin = offset - pending.request.offset
    target = pending.target
    if target is None or begin < 0 or not 0 < length <= min(len(target) - begin, pending.left):
        raise Misuse("NBD chunk", f"{length} bytes at {offset} that nobody asked for")
    pending.left -= length
    return target[begin : begin + length]
