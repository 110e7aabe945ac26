"""Transmission: requests, simple replies, and chunks of structured replies ("Transmission")."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.nbd.numbers import (
    REQUEST_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRING_BYTES_MAX,
    STRUCTURED_REPLY_MAGIC,
    Errno,
    ReplyFlag,
    ReplyType,
)
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable

_REQUEST: Final = Struct(">IHHQQI")
_SIMPLE: Final = Struct(">IIQ")
_CHUNK: Final = Struct(">IHHQI")
_DATA: Final = Struct(">IHHQIQ")
_HOLE: Final = Struct(">IHHQIQI")
_HOLE_REST: Final = Struct(">QI")
_ERROR: Final = Struct(">IH")
_EXTENT: Final = Struct(">II")
_U32, _U64 = Struct(">I"), Struct(">Q")

REQUEST_BYTES: Final = _REQUEST.size
SIMPLE_HEADER_BYTES: Final = _SIMPLE.size
CHUNK_HEADER_BYTES: Final = _CHUNK.size


@dataclass(frozen=True, slots=True)
class Request:
    """A request; *cookie* comes back with whatever is replied.  Flags and command as they came."""

    flags: int
    command: int
    cookie: int
    offset: int
    length: int

    @property
    def stop(self) -> int:
        """The first byte after what is asked for."""
        return self.offset + self.length

    def pack(self) -> bytes:
        """Return the request as a client sends it; the data of a write follows."""
        return _REQUEST.pack(
            REQUEST_MAGIC, self.flags, self.command, self.cookie, self.offset, self.length
        )

    @classmethod
    def parse(cls, data: bytes) -> Request:
        """Return a request; Misuse where it is none: nobody knows then where the next begins."""
        magic, *rest = _REQUEST.unpack(data)
        if magic != REQUEST_MAGIC:
            raise Misuse("NBD request", f"{magic:#x} is not the magic number of one")
        return cls(*rest)


# What a server sends. -------------------------------------------------------------------------


def simple_reply(error: Errno, cookie: int) -> bytes:
    """Return a simple reply; the data of a read follows where there is no error."""
    return _SIMPLE.pack(SIMPLE_REPLY_MAGIC, error, cookie)


def _chunk(kind: ReplyType, cookie: int, rest: bytes, flags: int) -> bytes:
    return _CHUNK.pack(STRUCTURED_REPLY_MAGIC, flags, kind, cookie, len(rest)) + rest


def done_chunk(cookie: int) -> bytes:
    """Return the chunk that ends a reply and says nothing else."""
    return _chunk(ReplyType.NONE, cookie, b"", ReplyFlag.DONE)


def data_chunk(cookie: int, offset: int, length: int) -> bytes:
    """Return the head of a chunk; *length* bytes of data, from *offset* on, follow."""
    kind = ReplyType.OFFSET_DATA
    return _DATA.pack(STRUCTURED_REPLY_MAGIC, 0, kind, cookie, _U64.size + length, offset)


def hole_chunk(cookie: int, offset: int, length: int) -> bytes:
    """Return a chunk that says that *length* bytes are zeros."""
    kind, size = ReplyType.OFFSET_HOLE, _HOLE_REST.size
    return _HOLE.pack(STRUCTURED_REPLY_MAGIC, 0, kind, cookie, size, offset, length)


def error_chunk(cookie: int, error: Errno, message: str) -> bytes:
    """Return a chunk that ends a reply with an error; the message is cut to what is allowed."""
    text = message.encode()[:STRING_BYTES_MAX].decode(errors="ignore").encode()
    rest = _ERROR.pack(error, len(text)) + text
    return _chunk(ReplyType.ERROR, cookie, rest, ReplyFlag.DONE)


def status_chunk(
    cookie: int, context: int, extents: Iterable[tuple[int, int]], *, done: bool
) -> bytes:
    """Return a chunk with (length, flags) of consecutive extents in one context."""
    rest = _U32.pack(context) + b"".join(_EXTENT.pack(*extent) for extent in extents)
    return _chunk(ReplyType.BLOCK_STATUS, cookie, rest, ReplyFlag.DONE if done else 0)


# What a client makes of it. -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SimpleHeader:
    """A simple reply."""

    error: int
    cookie: int


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """What stands before the rest of a chunk."""

    flags: int
    kind: int
    cookie: int
    length: int

    @property
    def is_last(self) -> bool:
        """Whether the reply ends with this chunk."""
        return bool(self.flags & ReplyFlag.DONE)

    @property
    def is_error(self) -> bool:
        """Whether the request has failed."""
        return bool(self.kind >> 15)


def parse_reply_header(data: bytes) -> SimpleHeader | ChunkHeader | None:
    """Return the head of a reply, or None where more bytes are needed to tell.

    Raises:
        Misuse: it is neither a simple reply nor a chunk.
    """
    if len(data) < SIMPLE_HEADER_BYTES:
        return None
    (magic,) = _U32.unpack_from(data)
    if magic == SIMPLE_REPLY_MAGIC:
        return SimpleHeader(*_SIMPLE.unpack_from(data)[1:])
    if magic != STRUCTURED_REPLY_MAGIC:
        raise Misuse("NBD reply", f"{magic:#x} is not the magic number of one")
    if len(data) < CHUNK_HEADER_BYTES:
        return None
    return ChunkHeader(*_CHUNK.unpack_from(data)[1:])


def parse_data_offset(rest: bytes) -> int:
    """Return where the data of a chunk begins, from its first 8 bytes."""
    return int(_U64.unpack(rest)[0])


def parse_hole(rest: bytes) -> tuple[int, int]:
    """Return offset and length of a hole; Misuse where the chunk is not that long, or empty."""
    if len(rest) != _HOLE_REST.size:
        raise Misuse("NBD chunk OFFSET_HOLE", f"{len(rest)} bytes, not {_HOLE_REST.size}")
    offset, length = _HOLE_REST.unpack(rest)
    if not length:
        raise Misuse("NBD chunk OFFSET_HOLE", "a hole of 0 bytes")
    return offset, length


@dataclass(frozen=True, slots=True)
class ChunkError:
    """What an error chunk says."""

    error: int
    message: str

    @classmethod
    def parse(cls, rest: bytes) -> ChunkError:
        """Return what is wrong; Misuse where the chunk is too short for its message, or says OK."""
        if len(rest) < _ERROR.size:
            raise Misuse("NBD chunk ERROR", f"{len(rest)} bytes")
        error, length = _ERROR.unpack_from(rest)
        if length > len(rest) - _ERROR.size or error == Errno.OK:
            raise Misuse("NBD chunk ERROR", f"error {error}, a message of {length} bytes")
        return cls(error, rest[_ERROR.size : _ERROR.size + length].decode(errors="replace"))


def parse_status(rest: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Return context and (length, flags) of its extents; Misuse where there is none, or an empty."""
    if len(rest) < _U32.size + _EXTENT.size or (len(rest) - _U32.size) % _EXTENT.size:
        raise Misuse("NBD chunk BLOCK_STATUS", f"{len(rest)} bytes")
    (context,) = _U32.unpack_from(rest)
    extents = list(_EXTENT.iter_unpack(rest[_U32.size :]))
    if not all(length for length, _ in extents):
        raise Misuse("NBD chunk BLOCK_STATUS", "an extent of 0 bytes")
    return context, extents
