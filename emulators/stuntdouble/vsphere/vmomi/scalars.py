"""Values without parts: from their text in XML to Python."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from stuntdouble.vsphere.vmomi.tables import VIM25, Kind, lookup_method, lookup_type, support

__all__ = ["INTEGER_RANGES", "clipped", "reader"]

INTEGER_RANGES: dict[Kind, tuple[int, int]] = {
    support.byte: (-(1 << 7), (1 << 8) - 1),
    support.short: (-(1 << 15), (1 << 15) - 1),
    int: (-(1 << 31), (1 << 31) - 1),
    support.long: (-(1 << 63), (1 << 63) - 1),
}
"""By type; a byte is signed in the schema, and clients in the field send it unsigned."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")  # 2^63 has 19 digits
_REAL = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,16})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_SPECIAL_REALS = {"INF": float("inf"), "-INF": float("-inf"), "NaN": float("nan")}
_BLANKS = " \t\r\n"  # white space of XML; Python's strip() knows more


def clipped(text: str) -> str:
    """Return a text as it may stand in an error: quoted, on one line, not long."""
    return repr(text if len(text) <= 64 else text[:61] + "...")


def _wrong(text: str, what: str) -> ValueError:
    return ValueError(f"{clipped(text)} is not {what}")


def _read_bool(text: str) -> bool:
    try:
        return _TRUTHS[text.strip(_BLANKS)]
    except KeyError:
        raise _wrong(text, "a boolean") from None


def _integer_reader(kind: Kind) -> Callable[[str], Any]:
    low, high = INTEGER_RANGES[kind]
    name = kind.__name__

    def read(text: str) -> Any:
        plain = text.strip(_BLANKS)
        if not _INTEGER.fullmatch(plain):
            raise _wrong(text, f"of type {name}")
        number = int(plain)
        if not low <= number <= high:
            raise ValueError(f"{number} does not fit type {name}")
        return number if kind is int else kind(number)

    return read


def _real_reader(kind: Kind) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        plain = text.strip(_BLANKS)
        if plain in _SPECIAL_REALS:
            return kind(_SPECIAL_REALS[plain])
        if not _REAL.fullmatch(plain):
            raise _wrong(text, "a number")
        return kind(plain)

    return read


def _read_moment(text: str) -> datetime:
    """Read a date with a time; without a zone it is UTC, the zone of a host's clock."""
    found = _MOMENT.fullmatch(text.strip(_BLANKS))
    if not found:
        raise _wrong(text, "a dateTime")
    seconds, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(seconds + (fraction or "")[:7] + (zone or ""))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment.astimezone(UTC)  # year 1 east of Greenwich lies in no year
    except (ValueError, OverflowError):
        raise _wrong(text, "a dateTime") from None
    return moment


def _read_binary(text: str) -> Any:
    try:
        found = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(text, "base64") from None
    return support.binary(found)


def _enum_reader(kind: Kind) -> Callable[[str], Any]:
    declared: Any = kind
    values = {str(value): value for value in declared.values}

    def read(text: str) -> Any:
        plain = text.strip(_BLANKS)
        if plain not in values:
            raise _wrong(text, f"one of {', '.join(values)}"[:400])
        return values[plain]

    return read


def _read_type(text: str) -> Kind:
    """Read the name of a type; it is not qualified, but some clients put a prefix before it."""
    name = text.strip(_BLANKS).rpartition(":")[2]
    found = lookup_type(VIM25, name)
    if found is None:
        raise _wrong(text, "the name of a type")
    return found


def _read_method(text: str) -> Any:
    name = text.strip(_BLANKS).rpartition(":")[2]
    if name == "Fetch" or lookup_method(VIM25, name) is None:
        raise _wrong(text, "the name of a method")
    return support.GetWsdlMethod(VIM25, name)


@cache
def reader(kind: Kind) -> Callable[[str], Any] | None:
    """Return what reads the text of a value of that type; None if its values have parts.

    The lexical forms are those of XML Schema part 2, and reading is strict: what a schema processor
    would refuse is refused with a ValueError, though Python would take it (``1_000``, ``True``).
    """
    plain: dict[Any, Callable[[str], Any]] = {
        str: str,
        bool: _read_bool,
        datetime: _read_moment,
        support.binary: _read_binary,
        type: _read_type,
        support.ManagedMethod: _read_method,
    }
    if kind in plain:
        return plain[kind]
    if kind in INTEGER_RANGES:
        return _integer_reader(kind)
    if issubclass(kind, float):
        return _real_reader(kind)
    if issubclass(kind, support.Enum):
        return _enum_reader(kind)
    return kind if issubclass(kind, str) else None
