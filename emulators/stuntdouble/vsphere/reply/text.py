"""The text of values without parts, as it stands between tags."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from stuntdouble.errors import Bug
from stuntdouble.vsphere.vmomi import (
    INTEGER_RANGES,
    Kind,
    ManagedMethod,
    ManagedObject,
    moid,
    support,
    type_name,
)

__all__ = ["escaped", "text_of"]

_MARKUP = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("\r"): "&#13;"}
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REPLACEMENT = "\ufffd"


def escaped(text: str) -> str:
    """Return a text as it may stand between tags.

    A character that XML 1.0 cannot carry in any spelling, such as most control characters, becomes
    U+FFFD.  A carriage return is spelled as a reference, or the parser would make it a line feed.
    """
    if text.isprintable() and "&" not in text and "<" not in text and ">" not in text:
        return text
    return _ILLEGAL.sub(_REPLACEMENT, text).translate(_MARKUP)


def _moment(value: datetime) -> str:
    """Return a moment; without a zone it would mean another one on another machine."""
    if value.tzinfo is None:
        raise Bug(f"{value} is in no time zone")
    text = value.isoformat()
    main, zone = text[:-6], text[-6:]
    if "." in main:
        main = main.rstrip("0")
    return main + ("Z" if zone == "+00:00" else zone)


def _real(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"


def _integer(low: int, high: int) -> Callable[[Any], str]:
    def text(value: Any) -> str:
        if not low <= value <= high:
            raise ValueError(f"{value} lies outside [{low}, {high}]")
        return f"{value:d}"

    return text


def _one_of(kind: Kind) -> Callable[[Any], str]:
    declared: Any = kind
    values = {str(value): str(value) for value in declared.values}
    return values.__getitem__


def _type_name(value: Any) -> str:
    return value if isinstance(value, str) else type_name(value)


def _method_name(value: Any) -> str:
    name: str = value if isinstance(value, str) else value.info.wsdlName
    return name


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _reference(value: Any) -> str:
    return escaped(moid(value))


def _link(value: Any) -> str:
    return escaped(value if isinstance(value, str) else value.key)


@cache
def text_of(kind: Kind) -> Callable[[Any], str] | None:
    """Return what writes a value of that type; None if such values have parts."""
    plain: dict[Any, Callable[[Any], str]] = {
        bool: {True: "true", False: "false"}.__getitem__,
        datetime: _moment,
        type: _type_name,
        ManagedMethod: _method_name,
        support.Link: _link,
    }
    if kind in plain:
        return plain[kind]
    if kind in INTEGER_RANGES:
        return _integer(*INTEGER_RANGES[kind])
    if issubclass(kind, support.Enum):
        return _one_of(kind)
    families: list[tuple[Any, Callable[[Any], str]]] = [
        (float, _real),
        (bytes, _base64),
        (ManagedObject, _reference),
        (str, escaped),
    ]
    return next((write for family, write in families if issubclass(kind, family)), None)
