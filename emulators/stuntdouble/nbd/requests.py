"""What is done with the requests of a client that has chosen an export ("Transmission")."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Command, CommandFlag, Errno, Request
from stuntdouble.content import known_zeros
from stuntdouble.errors import (
    AccessDenied,
    Corrupt,
    Error,
    LimitReached,
    Lost,
    Misuse,
    NoSpace,
    Refused,
    Unsupported,
)
from stuntdouble.nbd.wire import Gone
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.nbd.limits import Budget, Limits
    from stuntdouble.nbd.negotiation import Session
    from stuntdouble.nbd.wire import Wire

_WHOLE_BYTES_MAX: Final = MIB
"""The longest read that is answered in one piece where the client insists on it (DF): at least
65,536 by the document; chosen, because it has to be put together in memory."""

_EXTENTS_MAX: Final = 65_536
"""The most extents of a block status; half a MiB of reply.  Chosen."""

_FLAGS: Final[dict[int, CommandFlag]] = {
    Command.READ: CommandFlag.FUA | CommandFlag.DF,
    Command.WRITE: CommandFlag.FUA,
    Command.FLUSH: CommandFlag.FUA,
    Command.WRITE_ZEROES: CommandFlag.FUA | CommandFlag.NO_HOLE,
    Command.BLOCK_STATUS: CommandFlag.FUA | CommandFlag.REQ_ONE,
}
"""The commands that there are, with the flags that each may have ("Command flags"); FUA with any,
as clients are known to set it everywhere."""

_ERRNOS: Final[tuple[tuple[type[Error], Errno], ...]] = (
    (NoSpace, Errno.ENOSPC),
    (AccessDenied, Errno.EPERM),
    (LimitReached, Errno.ENOMEM),
    (Corrupt, Errno.EIO),
    (Misuse, Errno.EINVAL),
    (Unsupported, Errno.ENOTSUP),
    (Refused, Errno.ESHUTDOWN),
    (Lost, Errno.ESHUTDOWN),
)
"""Which error a client sees.  What is gone, has changed its state or cannot be reached is ESHUTDOWN
("the server is in the process of being shut down"), not EIO: the bytes are not bad, the export has
ended for this client, and to open it anew tells what has become of it."""


class Fault(Exception):  # noqa: N818  (on its way to being one, on the wire)
    """A request cannot be done: the number says why, the text says it to a human being."""

    def __init__(self, errno: Errno, text: str) -> None:
        super().__init__(errno, text)
        self.errno = errno
        self.text = text


def fault_of(error: Error) -> Fault:
    """Return what a client is told of an error."""
    errno = next((errno for kind, errno in _ERRNOS if isinstance(error, kind)), Errno.EIO)
    return Fault(errno, str(error))


class Requests:
    """The transmission phase of one connection."""

    def __init__(self, wire: Wire, session: Session, limits: Limits, budget: Budget) -> None:
        self._wire = wire
        self._session = session
        self._export = session.export
        self._budget = budget
        self._held = 0
        self._places = asyncio.Semaphore(limits.requests)

    async def run(self) -> None:
        """Serve requests, several at a time, until the client disconnects; then end what runs."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._places.acquire()
                    request = Request.parse(await self._wire.next(nbd.REQUEST_BYTES))
                    if request.command == Command.DISC:
                        return
                    data = await self._data(request)
                    group.create_task(self._serve(request, data))
        finally:  # a task that was cancelled before it began has given nothing back
            self._give(self._held)

    async def _data(self, request: Request) -> memoryview | None:
        """Receive what is to be written; a client that wants to write too much at once is let go."""
        if request.command != Command.WRITE:
            return None
        if request.length > nbd.REQUEST_BYTES_MAX:
            raise Gone
        await self._budget.take(request.length)
        self._held += request.length
        data = memoryview(bytearray(request.length))
        await self._wire.into(data)
        return data

    def _give(self, size: int) -> None:
        self._held -= size
        self._budget.give(size)

    async def _serve(self, request: Request, data: memoryview | None) -> None:
        try:
            await self._do(request, data)
        except Fault as fault:
            await self._refuse(request, fault)
        except Error as error:
            await self._refuse(request, fault_of(error))
        finally:
            if data is not None:
                self._give(len(data))
            self._places.release()

    async def _do(self, request: Request, data: memoryview | None) -> None:
        self._check(request)
        match request.command:
            case Command.READ:
                await self._read(request)
                return
            case Command.BLOCK_STATUS:
                await self._status(request)
                return
            case Command.WRITE if data is not None:
                await self._export.write(request.offset, data)
            case Command.WRITE_ZEROES:
                allocate = bool(request.flags & CommandFlag.NO_HOLE)
                await self._export.zero(request.offset, request.length, allocate=allocate)
            case _:
                await self._export.flush()
        await self._done(request)

    def _check(self, request: Request) -> None:
        """Refuse what no export could do."""
        allowed = _FLAGS.get(request.command)
        if allowed is None:
            raise Fault(Errno.EINVAL, f"no command {request.command} here")
        if request.flags & ~int(allowed):  # the complement of a flag knows no other bits
            raise Fault(Errno.EINVAL, f"flags {request.flags:#x} of command {request.command}")
        if request.command == Command.FLUSH:
            return
        writes = request.command in {Command.WRITE, Command.WRITE_ZEROES}
        if writes and self._export.read_only:
            raise Fault(Errno.EPERM, f"{self._export.name} is read-only")
        if request.stop > self._export.size_bytes:
            # "Request types": a write beyond the end finds no space there.
            errno = Errno.ENOSPC if writes else Errno.EINVAL
            raise Fault(errno, f"the export ends at byte {self._export.size_bytes}")
        if not request.length:
            raise Fault(Errno.EINVAL, "a request of 0 bytes")
        if request.command != Command.BLOCK_STATUS and request.length > nbd.REQUEST_BYTES_MAX:
            raise Fault(Errno.EOVERFLOW, f"at most {nbd.REQUEST_BYTES_MAX} bytes at a time")

    # Replies. ----------------------------------------------------------------------------------

    async def _send(self, *views: bytes | memoryview) -> None:
        async with self._wire.turn:
            await self._wire.send(*views)

    async def _done(self, request: Request) -> None:
        if self._session.structured:
            await self._send(nbd.done_chunk(request.cookie))
        else:
            await self._send(nbd.simple_reply(Errno.OK, request.cookie))

    async def _refuse(self, request: Request, fault: Fault) -> None:
        if self._session.structured:
            await self._send(nbd.error_chunk(request.cookie, fault.errno, fault.text))
        else:
            await self._send(nbd.simple_reply(fault.errno, request.cookie))

    async def _read(self, request: Request) -> None:
        parts = await self._export.read(request.offset, request.length)
        if not self._session.structured:
            await self._simply(request, parts)
        elif request.flags & CommandFlag.DF:
            await self._whole(request, parts)
        else:
            offset = request.offset
            for part in parts:
                await self._chunk(request.cookie, offset, part)
                offset += len(part)
            await self._send(nbd.done_chunk(request.cookie))

    async def _chunk(self, cookie: int, offset: int, part: memoryview) -> None:
        if known_zeros(part):
            await self._send(nbd.hole_chunk(cookie, offset, len(part)))
        else:
            await self._send(nbd.data_chunk(cookie, offset, len(part)), part)

    async def _whole(self, request: Request, parts: Iterator[memoryview]) -> None:
        if request.length > _WHOLE_BYTES_MAX:
            raise Fault(Errno.EOVERFLOW, f"at most {_WHOLE_BYTES_MAX} bytes in one piece")
        head = nbd.data_chunk(request.cookie, request.offset, request.length)
        data = b"".join(parts)
        async with self._wire.turn:
            await self._wire.send(head, data)
            await self._wire.send(nbd.done_chunk(request.cookie))

    async def _simply(self, request: Request, parts: Iterator[memoryview]) -> None:
        """Send a simple reply, which cannot take a success back: a late error ends the connection."""
        first = next(parts)
        async with self._wire.turn:
            await self._wire.send(nbd.simple_reply(Errno.OK, request.cookie), first)
            try:
                for part in parts:
                    await self._wire.send(part)
            except Error as error:
                raise Gone from error

    async def _status(self, request: Request) -> None:
        contexts = self._session.contexts
        if not contexts:
            raise Fault(Errno.EINVAL, "no context of block status was negotiated")
        most = 1 if request.flags & CommandFlag.REQ_ONE else _EXTENTS_MAX
        found = {
            number: await self._export.status(name, request.offset, request.length)
            for number, name in contexts.items()
        }
        last = max(contexts)
        chunks = [
            nbd.status_chunk(request.cookie, number, extents[:most], done=number == last)
            for number, extents in found.items()
        ]
        await self._send(*chunks)
