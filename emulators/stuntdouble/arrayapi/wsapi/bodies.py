"""What a body may hold: members by name, each with its type and range, and no others.

A body is refused in this order: what it is at all, members that nobody knows, members of a wrong
type or range in the order in which they stand, members that are missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from stuntdouble.arrayapi.strict import MalformedJsonError, strict_json
from stuntdouble.arrayapi.wsapi.codes import Refusal

Check: TypeAlias = Callable[[str, Any], Any]
"""Takes a member's name and value; returns the value, or raises Refusal."""

NAME_LENGTH_MAX: Final = 31  # "name31" of the guide

SET_NAME_LENGTH_MAX: Final = 27  # "name27" of the guide

COMMENT_LENGTH_MAX: Final = 511  # "print511" of the guide

INT32_MAX: Final = 2**31 - 1  # "int32" of the guide

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f]*")


@dataclass(frozen=True)
class Shape:
    """An object: its members, and which of them must be there."""

    members: Mapping[str, Check]
    required: tuple[str, ...] = ()

    def read(self, body: bytes) -> dict[str, Any]:
        """Return what a body says; Refusal where it says something else."""
        try:
            found = strict_json(body)
        except MalformedJsonError as error:
            raise Refusal("JSON_SYNTAX_ERR", str(error)) from None
        if not isinstance(found, dict):
            raise Refusal("INV_INPUT_NOT_JSON_OBJ")
        return self.check(found)

    def check(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the members of an object; Refusal where they are others."""
        for name in found:
            if name not in self.members:
                raise Refusal("INV_INPUT", f"nothing is known of {name!r}", name)
        read = {name: self.members[name](name, value) for name, value in found.items()}
        for name in self.required:
            if name not in found:
                raise Refusal("INV_INPUT_MISSING_REQUIRED", ref=name)
        return read


def no_body(body: bytes) -> None:
    """Refuse a body where none is due."""
    if body.strip() not in (b"", b"{}"):
        raise Refusal("INV_INPUT", "no message body is expected")


def flag(name: str, value: Any) -> bool:
    """Check true or false."""
    if not isinstance(value, bool):
        raise Refusal("INV_INPUT_WRONG_TYPE", "a boolean is expected", name)
    return value


def whole(least: int = 0, most: int = INT32_MAX, *, beyond: str = "") -> Check:
    """Return a check of an integer; *beyond* is the symbol for one that is too large."""

    def check(name: str, value: Any) -> int:
        if type(value) is not int:
            raise Refusal("INV_INPUT_WRONG_TYPE", "an integer is expected", name)
        if value < least:
            raise Refusal("INV_INPUT_BELOW_RANGE", f"at least {least}", name)
        if value > most:
            raise Refusal(beyond or "INV_INPUT_EXCEEDS_RANGE", f"at most {most}", name)
        return value

    return check


def choice(*numbers: int) -> Check:
    """Return a check of an enumeration."""

    def check(name: str, value: Any) -> int:
        if type(value) is not int:
            raise Refusal("INV_INPUT_WRONG_TYPE", "an integer is expected", name)
        if value not in numbers:
            raise Refusal("INV_INPUT_BAD_ENUM_VALUE", ref=name)
        return value

    return check


def text(most: int, *, empty: bool = False) -> Check:
    """Return a check of printable text of at most so many characters."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise Refusal("INV_INPUT_WRONG_TYPE", "a string is expected", name)
        if not value and not empty:
            raise Refusal("INV_INPUT_EMPTY_STR", ref=name)
        if len(value) > most:
            raise Refusal("INV_INPUT_EXCEEDS_LENGTH", f"at most {most} characters", name)
        if not _PRINTABLE.fullmatch(value):
            raise Refusal("INV_INPUT_ILLEGAL_CHAR", ref=name)
        return value

    return check


def named(most: int = NAME_LENGTH_MAX) -> Check:
    """Return a check of the name of something."""
    plain = text(most)

    def check(name: str, value: Any) -> str:
        found: str = plain(name, value)
        if not _NAME.fullmatch(found):
            raise Refusal("INV_INPUT_ILLEGAL_CHAR", ref=name)
        return found

    return check


def each(check: Check, most: int, beyond: str = "INV_INPUT_EXCEEDS_RANGE") -> Check:
    """Return a check of an array of at most so many members, none of them twice."""

    def check_all(name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Refusal("INV_INPUT_WRONG_TYPE", "an array is expected", name)
        if len(value) > most:
            raise Refusal(beyond, f"at most {most}", name)
        return tuple(check(name, member) for member in value)

    return check_all


def inner(shape: Shape) -> Check:
    """Return a check of an object in an object."""

    def check(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Refusal("INV_INPUT_WRONG_TYPE", "an object is expected", name)
        return shape.check(value)

    return check


vv_name = named()
comment = text(COMMENT_LENGTH_MAX, empty=True)
