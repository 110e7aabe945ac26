"""JSON as RFC 8259 has it, without what parsers usually let pass."""

from __future__ import annotations

import json
from typing import Any, Final

DEPTH_MAX: Final = 32  # chosen: no body of these interfaces nests deeper than five

DIGITS_MAX: Final = 40  # chosen: twice those of 64 bits; longer numbers are slow to convert


class MalformedJsonError(Exception):
    """Bytes are no JSON, or JSON that can be read in more than one way."""


def strict_json(body: bytes) -> Any:
    """Return what *body* says.

    Raises:
        MalformedJsonError: it is not UTF-8, no JSON, names a key of an object twice, has NaN or
            Infinity, a lone surrogate, a number of more than 40 digits, or nests deeper than 32.
    """
    try:
        text = body.decode()
        _check_depth(text)
        found = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_int,
            parse_float=_float,
        )
        _check_text(found)
    except (UnicodeError, ValueError) as error:
        raise MalformedJsonError(str(error)) from None
    return found


def _check_depth(text: str) -> None:
    """Count brackets before anything is read: a parser would need a stack for them."""
    depth = 0
    quoted = escaped = False
    for letter in text:
        if quoted:
            quoted = escaped or letter != '"'
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            quoted = True
        elif letter in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise ValueError(f"it nests deeper than {DEPTH_MAX}")
        elif letter in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return found


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _int(digits: str) -> int:
    _check_digits(digits)
    return int(digits)


def _float(digits: str) -> float:
    _check_digits(digits)
    found = float(digits)
    if found in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is out of range")
    return found


def _check_digits(digits: str) -> None:
    if len(digits) > DIGITS_MAX:
        raise ValueError(f"a number has more than {DIGITS_MAX} digits")


def _check_text(found: Any) -> None:
    """Refuse what could not be said again: half a pair of surrogates."""
    todo = [found]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            each.encode()
        elif isinstance(each, dict):
            todo += [*each, *each.values()]
        elif isinstance(each, list):
            todo += each
