"""Text: pairs of keys and values, and how numbers and bytes are written in them (§6.1)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi.numbers import KEY_BYTES_MAX, VALUE_BYTES_MAX
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.codecs.iscsi.requests import Buffer

_KEY: Final = re.compile(r"(?:[A-Z]|X[-#])[A-Za-z0-9.+@_#-]*|[a-z][A-Za-z0-9.+@_-]*")
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")
_HEX: Final = re.compile(r"0[xX]([0-9a-fA-F]+)")
_BASE64: Final = re.compile(r"0[bB]([A-Za-z0-9+/]+={0,2})")
_NUMBER_MAX: Final = (1 << 64) - 1


def parse_text(data: Buffer) -> list[tuple[str, str]]:
    """Return the pairs in their order; empty ones between two zero bytes are let pass.

    Raises:
        Misuse: not ended by a zero byte, not UTF-8, without "=", or too long.
    """
    raw = bytes(data)
    if raw and raw[-1]:
        raise Misuse("iSCSI text", "the last pair is not ended by a zero byte")
    return [_pair(part) for part in raw.split(b"\0") if part]


def _pair(part: bytes) -> tuple[str, str]:
    try:
        text = part.decode()
    except UnicodeDecodeError:
        raise Misuse("iSCSI text", f"{part[:40]!r} is not UTF-8") from None
    key, equals, value = text.partition("=")
    if not equals or not _KEY.fullmatch(key) or len(key) > KEY_BYTES_MAX:
        raise Misuse("iSCSI text", f"{text[:40]!r} is no pair of key and value")
    if len(value.encode()) > VALUE_BYTES_MAX:
        raise Misuse("iSCSI text", f"the value of {key} is longer than {VALUE_BYTES_MAX} bytes")
    return key, value


def pack_text(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return pairs as they go over the wire."""
    return b"".join(f"{key}={value}".encode() + b"\0" for key, value in pairs)


def parse_number(text: str) -> int:
    """Return a number, decimal or hexadecimal, of 64 bits at most; Misuse where it is none."""
    if _NUMBER.fullmatch(text):
        number = int(text, 16 if text[:2] in {"0x", "0X"} else 10)
        if number <= _NUMBER_MAX:
            return number
    raise Misuse("iSCSI text", f"{text[:40]!r} is no number")


def parse_binary(text: str, bytes_max: int = VALUE_BYTES_MAX) -> bytes:
    """Return what a binary value says, hexadecimal or base64.

    Raises:
        Misuse: neither of them, or longer than *bytes_max*.
    """
    found = b""
    if match := _HEX.fullmatch(text):
        digits = match[1]
        found = bytes.fromhex("0" * (len(digits) & 1) + digits)
    elif match := _BASE64.fullmatch(text):
        try:
            found = base64.b64decode(match[1], validate=True)
        except binascii.Error:
            found = b""
    if not found:
        raise Misuse("iSCSI text", f"{text[:40]!r} is no binary value")
    if len(found) > bytes_max:
        raise Misuse("iSCSI text", f"a binary value of {len(found)} bytes, at most {bytes_max}")
    return found


def pack_binary(data: bytes) -> str:
    """Return bytes as a binary value, hexadecimal."""
    return "0x" + data.hex()
