"""A connection before its full feature phase: one PDU out, one PDU in."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi import (
    HEADER_BYTES,
    PORT,
    Opcode,
    Reject,
    opcode_of,
    pack_pdu,
    segment_lengths,
)
from stuntdouble.errors import Misuse, Unreachable
from stuntdouble.units import KIB

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT_BYTES_MAX: Final = 256 * KIB
"""What a target may say in one answer: thousands of targets, or many times a login.  Chosen."""


def parse_portal(text: str) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port`` or ``[v6]:port`` (RFC 7143, 13.8).

    A portal group tag behind a comma is dropped.

    Raises:
        Misuse: no host, or no such port.
    """
    place = text.partition(",")[0]
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
        port = rest.removeprefix(":") if rest.startswith(":") or not rest else "?"
    else:
        host, _, port = place.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise Misuse(f"portal {text!r}", "use host:port, or [address]:port for IPv6")
    return host, int(port) if port else PORT


async def connected(host: str, port: int) -> socket.socket:
    """Return a socket to a portal; OSError where there is nobody."""
    loop = asyncio.get_running_loop()
    places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, place = places[0]
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


class Talk:
    """PDUs over a socket, without digests.  ``where`` names the other side in errors."""

    def __init__(self, made: socket.socket, where: str) -> None:
        self.where = where
        self._socket = made
        self._loop = asyncio.get_running_loop()

    async def send(self, header: bytes, data: bytes = b"") -> None:
        """Send one."""
        parts: Sequence[bytes | bytearray | memoryview] = pack_pdu(header, [data] if data else [])
        await self._loop.sock_sendall(self._socket, b"".join(parts))

    async def next(self, opcode: Opcode) -> tuple[bytes, bytes]:
        """Return header and data of the next PDU, which is to be one of *opcode*.

        Raises:
            Misuse: another PDU, or one that is too long.
            Unreachable: the target has hung up, or rejects what was sent.
        """
        header = await self._exactly(HEADER_BYTES)
        more, length = segment_lengths(header)
        if length > _TEXT_BYTES_MAX:
            raise Misuse(self.where, f"an answer of {length} bytes")
        rest = await self._exactly(more + length + (-length & 3))
        found = opcode_of(header)
        if found == Opcode.REJECT:
            reason = Reject.parse(header).reason
            raise Unreachable(f"{self.where} (it rejects a request, reason {reason:#x})")
        if found != opcode:
            raise Misuse(self.where, f"it answers with operation {found:#x}, not {opcode:#x}")
        return header, rest[more : more + length]

    async def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            received = await self._loop.sock_recv_into(self._socket, view)
            if not received:
                raise Unreachable(f"{self.where} (the target has hung up)")
            view = view[received:]
        return bytes(data)
