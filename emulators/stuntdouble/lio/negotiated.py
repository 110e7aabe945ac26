"""An NBD connection as far as transmission: what the kernel, or a copy, then goes on with.

It waits where it reads, as a child process may; clients inside a loop are ``initiators.nbd``'s.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import ClientFlag, HandshakeFlag, Info, Option, Reply
from stuntdouble.errors import AccessDenied, Misuse, NotFound, Unreachable, Unsupported

if TYPE_CHECKING:
    from types import TracebackType

    from stuntdouble.lio.requests import NbdSource


class Negotiated:
    """A connection whose negotiation is done.

    Attributes:
        size_bytes: of the export.
        flags: what the server says of it.
        block_bytes: what requests are multiples of.
        request_bytes_max: the longest request.
        structured: whether replies are structured; the kernel takes simple ones only.

    Args:
        source: the export.
        seconds: wall seconds that the server has for each answer.
        structured: whether to ask for structured replies.

    Raises:
        Unreachable: nobody answers.
        NotFound: no such export.
        Unsupported: the server is too old, or refuses for reasons of its own.
    """

    def __init__(self, source: NbdSource, seconds: float, *, structured: bool) -> None:
        self._uri = source.uri
        self.structured = False
        try:
            self.socket = socket.create_connection(source.address, seconds)
        except OSError as error:
            raise Unreachable(f"{self._uri} ({error.strerror or error})") from None
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._negotiate(source.name, structured=structured)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def _negotiate(self, name: str, *, structured: bool) -> None:
        flags = nbd.parse_greeting(self.next(nbd.GREETING_BYTES))
        if HandshakeFlag.FIXED_NEWSTYLE not in flags:
            raise Unsupported("an NBD server without fixed newstyle", "servers know it since 2011")
        ours = ClientFlag.FIXED_NEWSTYLE
        if HandshakeFlag.NO_ZEROES in flags:
            ours |= ClientFlag.NO_ZEROES
        self.send(ours.to_bytes(4, "big"))
        if structured:
            self.structured = self._offers(Option.STRUCTURED_REPLY)
        described, sizes = None, nbd.BlockSizes(1, 4096, nbd.REQUEST_BYTES_MAX)
        for data in self._ask(Option.GO, nbd.Choice(name, (Info.BLOCK_SIZE,)).pack()):
            info, rest = nbd.parse_info(data)
            if info == Info.EXPORT:
                described = nbd.parse_info_export(rest)
            elif info == Info.BLOCK_SIZE:
                sizes = nbd.parse_block_sizes(rest)
        if described is None:
            raise Misuse(self._uri, "the server does not say how large the export is")
        self.size_bytes, self.flags = described.size_bytes, described.flags
        self.block_bytes, self.request_bytes_max = sizes.minimum, sizes.maximum

    def _offers(self, option: Option) -> bool:
        try:
            self._ask(option)
        except Unsupported:
            return False
        return True

    def _ask(self, kind: Option, data: bytes = b"") -> list[bytes]:
        """Send an option; return the data of the infos in reply, or raise what a refusal means."""
        self.send(nbd.option(kind, data))
        found: list[bytes] = []
        while True:
            header = nbd.ReplyHeader.parse(self.next(nbd.REPLY_HEADER_BYTES))
            if header.kind != kind or header.length > nbd.OPTION_BYTES_MAX:
                raise Misuse(self._uri, f"a reply to option {header.kind}, {header.length} bytes")
            rest = self.next(header.length)
            if header.is_error:
                raise self._refusal(header.reply, rest.decode(errors="replace"))
            if header.reply == Reply.ACK:
                return found
            if header.reply == Reply.INFO:
                found.append(rest)

    def _refusal(self, reply: int, text: str) -> Exception:
        match reply:
            case Reply.ERR_UNKNOWN:
                return NotFound("NBD export", self._uri)
            case Reply.ERR_POLICY:
                return AccessDenied("an NBD client", f"{self._uri} ({text})")
        return Unsupported(f"{self._uri} ({text})", f"the server replies {reply - (1 << 31)}")

    def send(self, data: bytes) -> None:
        """Send *data*; Unreachable where the server does not take it."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Unreachable(f"{self._uri} ({error})") from None

    def into(self, target: memoryview) -> None:
        """Fill *target* with what comes next; Unreachable where it does not come."""
        while target:
            try:
                count = self.socket.recv_into(target)
            except OSError as error:
                raise Unreachable(f"{self._uri} ({error})") from None
            if not count:
                raise Unreachable(f"{self._uri} (the server has hung up)")
            target = target[count:]

    def next(self, count: int) -> bytes:
        """Return the next *count* bytes."""
        data = bytearray(count)
        self.into(memoryview(data))
        return bytes(data)
