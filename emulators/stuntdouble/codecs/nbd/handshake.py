"""Negotiation: greeting, options and what is replied to them ("Newstyle negotiation")."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from stuntdouble.codecs.nbd.numbers import (
    GREETING_BYTES,
    GREETING_MAGIC,
    OPTION_MAGIC,
    OPTION_REPLY_MAGIC,
    STRING_BYTES_MAX,
    ZEROES_BYTES,
    ClientFlag,
    HandshakeFlag,
    Info,
    Option,
    Reply,
    TransmissionFlag,
)
from stuntdouble.errors import Misuse

_GREETING: Final = Struct(">QQH")
_OPTION: Final = Struct(">QII")
_REPLY: Final = Struct(">QIII")
_EXPORT: Final = Struct(">HQH")
_SIZES: Final = Struct(">HIII")
_U16, _U32 = Struct(">H"), Struct(">I")

OPTION_HEADER_BYTES: Final = _OPTION.size
REPLY_HEADER_BYTES: Final = _REPLY.size


def greeting() -> bytes:
    """Return what a server says first."""
    flags = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES
    return _GREETING.pack(GREETING_MAGIC, OPTION_MAGIC, flags)


def parse_greeting(data: bytes) -> HandshakeFlag:
    """Return the flags of a greeting.

    Raises:
        Misuse: who speaks is no NBD server, or one that only knows the oldstyle negotiation.
    """
    if len(data) != GREETING_BYTES:
        raise Misuse("NBD greeting", f"{len(data)} bytes, not {GREETING_BYTES}")
    first, second, flags = _GREETING.unpack(data)
    if (first, second) != (GREETING_MAGIC, OPTION_MAGIC):
        raise Misuse("NBD greeting", f"{first:#x} {second:#x} is not that of the newstyle")
    return HandshakeFlag(flags)


def parse_client_flags(data: bytes) -> ClientFlag:
    """Return the flags that a client answers a greeting with.

    Raises:
        Misuse: one of them is unknown: the document wants the connection dropped.
    """
    (flags,) = _U32.unpack(data)
    known = ClientFlag.FIXED_NEWSTYLE | ClientFlag.NO_ZEROES
    if flags & ~int(known):  # the complement of a flag knows no other bits
        raise Misuse("NBD client flags", f"{flags:#x} has bits that were not offered")
    return ClientFlag(flags)


# Options. -------------------------------------------------------------------------------------


def option(kind: Option | int, data: bytes = b"") -> bytes:
    """Return an option as a client sends it."""
    return _OPTION.pack(OPTION_MAGIC, kind, len(data)) + data


@dataclass(frozen=True, slots=True)
class OptionHeader:
    """What stands before an option's data; *kind* may be one that nobody knows."""

    kind: int
    length: int

    @classmethod
    def parse(cls, data: bytes) -> OptionHeader:
        """Return the header of an option; Misuse where it is none."""
        magic, kind, length = _OPTION.unpack(data)
        if magic != OPTION_MAGIC:
            raise Misuse("NBD option", f"{magic:#x} is not the magic number of one")
        return cls(kind, length)


def parse_name(data: bytes) -> str:
    """Return a string of the protocol; Misuse where it is too long, or no text."""
    if len(data) > STRING_BYTES_MAX:
        raise Misuse("NBD string", f"{len(data)} bytes, {STRING_BYTES_MAX} are allowed")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Misuse("NBD string", f"no UTF-8 at byte {error.start}") from None
    if "\0" in text:
        raise Misuse("NBD string", "a NUL character, which no string may have")
    return text


def _string(text: str) -> bytes:
    data = text.encode()
    if len(data) > STRING_BYTES_MAX:
        raise Misuse("NBD string", f"{len(data)} bytes, {STRING_BYTES_MAX} are allowed")
    return data


def _counted(text: str) -> bytes:
    data = _string(text)
    return _U32.pack(len(data)) + data


class _Cursor:
    """Reads an option's data from front to back, never beyond its end."""

    def __init__(self, where: str, data: bytes) -> None:
        self._where, self._data, self._at = where, data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise Misuse(self._where, f"{count} bytes announced where {self.left} are left")
        self._at += count
        return self._data[self._at - count : self._at]

    def u16(self) -> int:
        return int(_U16.unpack(self.take(2))[0])

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def string(self) -> str:
        return parse_name(self.take(self.u32()))

    def end(self) -> None:
        if self.left:
            raise Misuse(self._where, f"{self.left} bytes more than it has")


@dataclass(frozen=True, slots=True)
class Choice:
    """The data of INFO and GO: an export's name, and what the client wants to know of it."""

    name: str
    wanted: tuple[int, ...] = ()

    def pack(self) -> bytes:
        """Return the option's data."""
        infos = b"".join(map(_U16.pack, self.wanted))
        return _counted(self.name) + _U16.pack(len(self.wanted)) + infos

    @classmethod
    def parse(cls, data: bytes) -> Choice:
        """Return what a client has chosen; Misuse where lengths and data do not agree."""
        cursor = _Cursor("NBD option INFO or GO", data)
        name = cursor.string()
        wanted = tuple(cursor.u16() for _ in range(cursor.u16()))
        cursor.end()
        return cls(name, wanted)


@dataclass(frozen=True, slots=True)
class MetaQuery:
    """The data of LIST_META_CONTEXT and SET_META_CONTEXT: an export's name, and queries."""

    name: str
    queries: tuple[str, ...] = ()

    def pack(self) -> bytes:
        """Return the option's data."""
        queries = b"".join(map(_counted, self.queries))
        return _counted(self.name) + _U32.pack(len(self.queries)) + queries

    @classmethod
    def parse(cls, data: bytes) -> MetaQuery:
        """Return what a client asks for; Misuse where lengths and data do not agree."""
        cursor = _Cursor("NBD option META_CONTEXT", data)
        name, count = cursor.string(), cursor.u32()
        if count * _U32.size > cursor.left:
            raise Misuse("NBD option META_CONTEXT", f"{count} queries in {cursor.left} bytes")
        queries = tuple(cursor.string() for _ in range(count))
        cursor.end()
        return cls(name, queries)


# Replies. -------------------------------------------------------------------------------------


def option_reply(kind: int, reply: Reply, data: bytes = b"") -> bytes:
    """Return a reply to an option; the data of an error is text for a human being."""
    return _REPLY.pack(OPTION_REPLY_MAGIC, kind, reply, len(data)) + data


@dataclass(frozen=True, slots=True)
class ReplyHeader:
    """What stands before the data of a reply to an option."""

    kind: int
    reply: int
    length: int

    @property
    def is_error(self) -> bool:
        """Whether the option was refused."""
        return bool(self.reply >> 31)

    @classmethod
    def parse(cls, data: bytes) -> ReplyHeader:
        """Return the header of a reply; Misuse where it is none."""
        magic, kind, reply, length = _REPLY.unpack(data)
        if magic != OPTION_REPLY_MAGIC:
            raise Misuse("NBD option reply", f"{magic:#x} is not the magic number of one")
        return cls(kind, reply, length)


def server_reply(name: str, description: str = "") -> bytes:
    """Return the data of ``Reply.SERVER``: an export of a list."""
    return _counted(name) + _string(description)


def info_export(size_bytes: int, flags: TransmissionFlag) -> bytes:
    """Return the data of ``Reply.INFO`` about size and flags."""
    return _EXPORT.pack(Info.EXPORT, size_bytes, flags)


def info_text(info: Info, text: str) -> bytes:
    """Return the data of ``Reply.INFO`` about a name or a description."""
    return _U16.pack(info) + _string(text)


def info_block_sizes(sizes: BlockSizes) -> bytes:
    """Return the data of ``Reply.INFO`` about the sizes that requests may have."""
    return _SIZES.pack(Info.BLOCK_SIZE, sizes.minimum, sizes.preferred, sizes.maximum)


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """Bytes: what requests are multiples of, what they had better be, and the most they may be."""

    minimum: int
    preferred: int
    maximum: int


@dataclass(frozen=True, slots=True)
class Described:
    """An export as a client hears of it."""

    size_bytes: int
    flags: TransmissionFlag


def parse_info(data: bytes) -> tuple[int, bytes]:
    """Return what ``Reply.INFO`` is about, and the rest; Misuse where there is nothing."""
    cursor = _Cursor("NBD reply INFO", data)
    return cursor.u16(), cursor.take(cursor.left)


def parse_info_export(rest: bytes) -> Described:
    """Return size and flags from what follows ``Info.EXPORT``; Misuse where it is not 10 bytes."""
    if len(rest) != _EXPORT.size - 2:
        raise Misuse("NBD reply INFO", f"{len(rest)} bytes about an export")
    size, flags = int.from_bytes(rest[:8], "big"), int.from_bytes(rest[8:], "big")
    return Described(size, TransmissionFlag(flags))


def parse_block_sizes(rest: bytes) -> BlockSizes:
    """Return what follows ``Info.BLOCK_SIZE``; Misuse where it is not three numbers, or 0."""
    if len(rest) != _SIZES.size - 2:
        raise Misuse("NBD reply INFO", f"{len(rest)} bytes about block sizes")
    sizes = BlockSizes(*(int.from_bytes(rest[i : i + 4], "big") for i in (0, 4, 8)))
    if not 0 < sizes.minimum <= sizes.maximum:
        raise Misuse("NBD reply INFO", f"blocks from {sizes.minimum} to {sizes.maximum} bytes")
    return sizes


def meta_context(number: int, name: str) -> bytes:
    """Return the data of ``Reply.META_CONTEXT``."""
    return _U32.pack(number) + _string(name)


def parse_meta_context(data: bytes) -> tuple[int, str]:
    """Return number and name of a context; Misuse where there is none."""
    cursor = _Cursor("NBD reply META_CONTEXT", data)
    return cursor.u32(), parse_name(cursor.take(cursor.left))


def old_reply(size_bytes: int, flags: TransmissionFlag, *, zeroes: bool) -> bytes:
    """Return what ends a negotiation by EXPORT_NAME, which has no header of its own."""
    return _EXPORT.pack(0, size_bytes, flags)[2:] + bytes(ZEROES_BYTES if zeroes else 0)
