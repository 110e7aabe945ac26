"""An NBD client: any export of any server as a ``ports.BlockDevice``."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote, urlsplit

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import (
    ClientFlag,
    Described,
    HandshakeFlag,
    Info,
    Option,
    Reply,
    TransmissionFlag,
)
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    Misuse,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from stuntdouble.initiators.link import Link
from stuntdouble.initiators.reading import Reading
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

    from stuntdouble.extents import Runs
    from stuntdouble.ports import Span, Throttle

_CONNECT_SECONDS: Final = 30.0
"""Wall time that connecting and negotiating may take.  Chosen: a minute is what people give up at."""

_WRITE_BYTES: Final = MIB
"""What a write is cut into: the block size that backup products restore by."""


class NbdDevice:
    """An export; made by ``connect``.  ``flags`` and ``sizes`` are what the server said of it."""

    def __init__(
        self,
        uri: str,
        described: Described,
        sizes: nbd.BlockSizes,
        contexts: dict[str, int],
        link: Link,
    ) -> None:
        self.identity = uri
        self.size_bytes = described.size_bytes
        self.flags = described.flags
        self.sizes = sizes
        self._contexts = contexts
        self._link = link
        self._closed = False

    async def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs* in rising order; see ``ports.BlockDevice``.

        Raises:
            Misuse: beyond the end, or not in blocks that the server serves.
            Unreachable: the connection is lost, or the export has shut down.
            MediumError: the server cannot read what was asked for.
        """
        if runs.clip(0, self.size_bytes) != runs:
            raise Misuse(self.identity, f"a read beyond its end at {self.size_bytes} bytes")
        if runs.align(self.sizes.minimum, self.size_bytes) != runs:
            raise Misuse(self.identity, f"it is read in blocks of {self.sizes.minimum} bytes")
        self._require_open("read it")
        if not runs:
            return
        spans = Reading(self._link.read, runs, throttle, self.sizes.maximum).spans()
        async with aclosing(cast("AsyncGenerator[Span, None]", spans)) as opened:
            async for span in opened:
                yield span

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data* at *offset*, several MiB under way at a time.

        Raises:
            AccessDenied: the export is read-only.
            Misuse: beyond the end, or not in blocks that the server serves.
            NoSpace: what was under way may have been written.
            Unreachable: as in ``read``.
        """
        self._require_open("write it")
        if TransmissionFlag.READ_ONLY in self.flags:
            raise AccessDenied("an NBD client", f"{self.identity} for writing: it is read-only")
        if offset < 0 or offset + len(data) > self.size_bytes:
            raise Misuse(self.identity, f"a write beyond its end at {self.size_bytes} bytes")
        if offset % self.sizes.minimum or len(data) % self.sizes.minimum:
            raise Misuse(self.identity, f"it is written in blocks of {self.sizes.minimum} bytes")
        step = min(_WRITE_BYTES, self.sizes.maximum)
        pieces = [(at, data[at : at + step]) for at in range(0, len(data), step)]
        await asyncio.gather(*[await self._link.write(offset + at, part) for at, part in pieces])

    async def flush(self) -> None:
        """Return when what has been written is where it stays."""
        self._require_open("flush it")
        await self._link.flush()

    async def status(self, context: str, offset: int, length: int) -> list[tuple[int, int]]:
        """Return (length, flags) of extents from *offset* on.

        They may end early, or go beyond what was asked for: ask again from where they end.

        Raises:
            NotFound: the context was not asked for, or the server does not have it.
        """
        self._require_open("ask for its status")
        if context not in self._contexts:
            raise NotFound(f"context of {self.identity}", context)
        found = await self._link.status(offset, length)
        if self._contexts[context] not in found:
            raise Unreachable(f"{self.identity} (no status in {context!r})")
        return found[self._contexts[context]]

    async def close(self) -> None:
        """Let go of the export; idempotent."""
        self._closed = True
        await self._link.close()

    def _require_open(self, request: str) -> None:
        if self._closed:
            raise InvalidState(self.identity, "closed", request)


async def connect(
    uri: str,
    *,
    contexts: Iterable[str] = (),
    wall_seconds: Callable[[float], float] = float,
) -> NbdDevice:
    """Open an export by its URI, ``nbd://host:port/name`` ("URIs", ``doc/uri.md``).

    Args:
        uri: the port is 10809 where it is left out; the name is percent-decoded.
        contexts: of block status, as far as the server has them.
        wall_seconds: loop seconds in so many wall seconds, where the loop's clock is another.

    Raises:
        Misuse: no such URI, or no NBD server there.
        Unsupported: another transport, TLS, or a server that lacks what this client needs.
        NotFound: no such export.
        Unreachable: nobody answers.
        TimedOut: not within 30 s.
    """
    host, port, name = _parsed(uri)
    try:
        async with asyncio.timeout(wall_seconds(_CONNECT_SECONDS)):
            connected = await _connected(host, port)
            try:
                hello = _Handshake(connected, uri)
                described, sizes, numbers = await hello.run(name, tuple(contexts))
                link = Link(uri)
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: link, sock=connected)
            except BaseException:
                connected.close()
                raise
    except TimeoutError as error:
        raise TimedOut(f"the negotiation with {uri}", _CONNECT_SECONDS) from error
    except OSError as error:
        raise Unreachable(f"{uri} ({error})") from error
    return NbdDevice(uri, described, sizes, numbers, link)


def _parsed(uri: str) -> tuple[str, int, str]:
    """Return host, port and name of the export."""
    try:
        parts = urlsplit(uri)
        port = parts.port or nbd.PORT
    except ValueError as error:
        raise Misuse(uri, f"{error}: use nbd://host:port/name") from None
    if parts.scheme in {"nbds", "nbd+unix", "nbds+unix"}:
        raise Unsupported(f"{parts.scheme}://", "use nbd://host:port/name")
    if parts.scheme != "nbd" or not parts.hostname or parts.query:
        raise Misuse(uri, "no NBD URI: use nbd://host:port/name")
    return parts.hostname, port, unquote(parts.path.removeprefix("/"))


async def _connected(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, place = (
        await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)  # noqa: FBT003  (the socket module's signature)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await loop.sock_connect(made, place)
    except BaseException:
        made.close()
        raise
    return made


class _Handshake:
    """A client's side of a negotiation."""

    def __init__(self, connected: socket.socket, uri: str) -> None:
        self._socket = connected
        self._uri = uri
        self._loop = asyncio.get_running_loop()

    async def run(
        self, name: str, contexts: tuple[str, ...]
    ) -> tuple[Described, nbd.BlockSizes, dict[str, int]]:
        """Negotiate; return what the server says of the export, and its contexts' numbers."""
        flags = nbd.parse_greeting(await self._next(nbd.GREETING_BYTES))
        if HandshakeFlag.FIXED_NEWSTYLE not in flags:
            raise Unsupported("an NBD server without fixed newstyle", "this client needs GO")
        ours = ClientFlag.FIXED_NEWSTYLE
        if HandshakeFlag.NO_ZEROES in flags:
            ours |= ClientFlag.NO_ZEROES
        await self._send(ours.to_bytes(4, "big"))
        structured = await self._structured()
        numbers = await self._contexts(name, contexts) if structured and contexts else {}
        choice = nbd.Choice(name, (Info.BLOCK_SIZE,))
        described, sizes = None, nbd.BlockSizes(1, 4096, nbd.REQUEST_BYTES_MAX)
        for reply, data in await self._ask(Option.GO, choice.pack()):
            if reply != Reply.INFO:
                continue
            info, rest = nbd.parse_info(data)
            if info == Info.EXPORT:
                described = nbd.parse_info_export(rest)
            elif info == Info.BLOCK_SIZE:
                sizes = nbd.parse_block_sizes(rest)
        if described is None:
            raise Misuse(self._uri, "the server does not say how large the export is")
        most = min(sizes.maximum, nbd.REQUEST_BYTES_MAX) // sizes.minimum * sizes.minimum
        return described, nbd.BlockSizes(sizes.minimum, sizes.preferred, most), numbers

    async def _structured(self) -> bool:
        try:
            await self._ask(Option.STRUCTURED_REPLY)
        except Unsupported:
            return False
        return True

    async def _contexts(self, name: str, contexts: tuple[str, ...]) -> dict[str, int]:
        query = nbd.MetaQuery(name, contexts).pack()
        found = {}
        for reply, data in await self._ask(Option.SET_META_CONTEXT, query):
            if reply == Reply.META_CONTEXT:
                number, context = nbd.parse_meta_context(data)
                found[context] = number
        return found

    async def _ask(self, kind: Option, data: bytes = b"") -> list[tuple[int, bytes]]:
        """Send an option; return the replies to it, or raise what its refusal means."""
        await self._send(nbd.option(kind, data))
        found: list[tuple[int, bytes]] = []
        while True:
            header = nbd.ReplyHeader.parse(await self._next(nbd.REPLY_HEADER_BYTES))
            if header.kind != kind or header.length > nbd.OPTION_BYTES_MAX:
                raise Misuse(self._uri, f"a reply to option {header.kind}, {header.length} bytes")
            rest = await self._next(header.length)
            if header.is_error:
                raise self._refusal(header.reply, rest.decode(errors="replace"))
            if header.reply == Reply.ACK:
                return found
            found.append((header.reply, rest))

    def _refusal(self, reply: int, text: str) -> Exception:
        match reply:
            case Reply.ERR_UNKNOWN:
                return NotFound("NBD export", self._uri)
            case Reply.ERR_POLICY:
                return AccessDenied("an NBD client", f"{self._uri} ({text})")
            case Reply.ERR_INVALID | Reply.ERR_TOO_BIG:
                return Misuse(self._uri, text or "the server finds the request invalid")
            case Reply.ERR_SHUTDOWN:
                return Unreachable(f"{self._uri} ({text})")
        return Unsupported(f"{self._uri} ({text})", f"the server replies {reply - (1 << 31)}")

    async def _send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    async def _next(self, count: int) -> bytes:
        """Return exactly *count* bytes: what follows belongs to whoever takes the socket over."""
        data = bytearray(count)
        view = memoryview(data)
        while view:
            received = await self._loop.sock_recv_into(self._socket, view)
            if not received:
                raise Unreachable(f"{self._uri} (the server has hung up)")
            view = view[received:]
        return bytes(data)
