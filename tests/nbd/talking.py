"""A client that says exactly what a test wants, over a blocking socket in a thread of its own."""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Option, Reply, ReplyType

if TYPE_CHECKING:
    from collections.abc import Iterator


class Talk:
    """One connection."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionResetError(f"the server has hung up after {data!r}")
            data += more
        return data

    def hangs_up(self) -> bool:
        """Wait for the end of the connection; say whether it came before anything else."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def rest(self) -> int:
        """Return how many bytes come before the connection ends."""
        count = 0
        try:
            while more := len(self.socket.recv(1 << 20)):
                count += more
        except ConnectionError:
            pass
        return count

    # Negotiation. --------------------------------------------------------------------------

    def greet(self, flags: int = 3) -> None:
        assert nbd.parse_greeting(self.hear(nbd.GREETING_BYTES)) == 3
        self.say(struct.pack(">I", flags))

    def ask(self, kind: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """Send an option; return all replies, the last of which ends the answer."""
        self.say(nbd.option(kind, data))
        found = []
        while True:
            header = nbd.ReplyHeader.parse(self.hear(nbd.REPLY_HEADER_BYTES))
            assert header.kind == kind
            found.append((header.reply, self.hear(header.length)))
            if header.is_error or header.reply == Reply.ACK:
                return found

    def go(self, name: str, *contexts: str, structured: bool = True) -> nbd.Described:
        self.greet()
        if structured:
            assert self.ask(Option.STRUCTURED_REPLY) == [(Reply.ACK, b"")]
        if contexts:
            self.ask(Option.SET_META_CONTEXT, nbd.MetaQuery(name, contexts).pack())
        replies = self.ask(Option.GO, nbd.Choice(name).pack())
        assert replies[-1] == (Reply.ACK, b""), replies
        return nbd.parse_info_export(nbd.parse_info(replies[0][1])[1])

    # Transmission. -------------------------------------------------------------------------

    def request(self, command: int, offset: int = 0, length: int = 0, **kw: Any) -> Any:
        """Send a request; return what is replied: see ``reply``."""
        data = kw.pop("data", b"")
        self.say(
            nbd.Request(kw.get("flags", 0), command, kw.get("cookie", 1), offset, length).pack()
        )
        self.say(data)
        return self.reply(length if command == nbd.Command.READ else 0)

    def reply(self, length: int) -> tuple[int, list[tuple[int, bytes]]]:
        """Return error and chunks (kind, rest) of one reply; a simple one has its data as NONE."""
        chunks, error = [], 0
        while True:
            head = self.hear(nbd.SIMPLE_HEADER_BYTES)
            header = nbd.parse_reply_header(head)
            if isinstance(header, nbd.SimpleHeader):
                return header.error, [(ReplyType.NONE, self.hear(0 if header.error else length))]
            header = nbd.parse_reply_header(head + self.hear(4))
            assert isinstance(header, nbd.ChunkHeader)
            rest = self.hear(header.length)
            chunks.append((header.kind, rest))
            if header.is_error:
                error = nbd.ChunkError.parse(rest).error
            if header.is_last:
                return error, chunks


@contextmanager
def talk(address: tuple[str, int], *, seconds: float = 20.0) -> Iterator[Talk]:
    """Connect."""
    with socket.create_connection(address, timeout=seconds) as made:
        yield Talk(made)
