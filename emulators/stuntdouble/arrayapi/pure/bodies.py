"""Reading what a client sends: query parameters and JSON bodies, strictly.

What the vendor has and this emulator has not is known by name, and refused by name: a field that
would be ignored is a promise that is not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.refusals import Refusal, clash, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    Check = Callable[[Any], bool]

NAMES_MAX: Final = 1000  # in one request; chosen
INTEGER_MAX: Final = 2**63 - 1


def is_text(value: Any) -> bool:
    """Tell whether a value is text."""
    return isinstance(value, str)


def is_flag(value: Any) -> bool:
    """Tell whether a value is true or false."""
    return isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """Tell whether a value is an integer of 64 bits, not negative."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INTEGER_MAX


def is_texts(value: Any) -> bool:
    """Tell whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def is_object(value: Any) -> bool:
    """Tell whether a value is an object."""
    return isinstance(value, dict)


def is_size(value: Any) -> bool:
    """Tell whether a value is a size of REST 1: an integer, or text with a unit."""
    return is_integer(value) or is_text(value)


_KINDS: Final[dict[Check, str]] = {
    is_text: "a string",
    is_flag: "a boolean",
    is_integer: "a non-negative integer",
    is_texts: "a list of strings",
    is_object: "an object",
    is_size: "an integer or a string",
}


def check_fields(
    body: Any, known: Mapping[str, Check], elsewhere: Collection[str] = (), *, of: str = "body"
) -> dict[str, Any]:
    """Return the fields of an object that have a value, each of its type.

    Args:
        body: what was sent; nothing at all is an empty object.
        known: fields and the test of their types.
        elsewhere: fields that the vendor has and this emulator has not; nothing may be asked of
            them, so empty values pass.
        of: what errors call the object.
    """
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise Refusal(f"Invalid {of}: an object is expected.", of)
    found = {}
    for name, value in body.items():
        if name in elsewhere:
            if value not in (None, [], {}):
                raise unsupported(f"The field '{name}'", name)
        elif name not in known:
            raise Refusal(f"Unknown field '{name}'.", name)
        elif value is not None:
            if not known[name](value):
                kind = _KINDS.get(known[name], "another type")
                raise Refusal(f"Invalid value for '{name}': {kind} is expected.", name)
            found[name] = value
    return found


def check_reference(value: Any, of: str) -> dict[str, str]:
    """Return the name, or the id, of a reference to something: one of the two."""
    found = check_fields(value, {"name": is_text, "id": is_text}, of=of)
    if len(found) != 1:
        raise clash(of)
    return found


class Query:
    """The query parameters of a request.

    Args:
        pairs: as they came.
        known: the names that are allowed here.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], known: Collection[str]) -> None:
        self._found: dict[str, str] = {}
        for name, value in pairs:
            if name not in known:
                raise Refusal(f"Unknown query parameter '{name}'.", name)
            if name in self._found:
                raise Refusal(f"The query parameter '{name}' is given twice.", name)
            self._found[name] = value

    def text(self, name: str) -> str | None:
        """Return the value of a parameter, or None."""
        return self._found.get(name)

    def names(self, name: str) -> tuple[str, ...] | None:
        """Return the values of a parameter that holds several, a comma between; None without it."""
        if name not in self._found:
            return None
        names = tuple(part.strip() for part in self._found[name].split(","))
        if not all(names):
            raise Refusal(f"Invalid value for '{name}': a name is empty.", name)
        if len(names) > NAMES_MAX:
            raise Refusal(f"Invalid value for '{name}': more than {NAMES_MAX} names.", name)
        return names

    def needed(self, name: str) -> tuple[str, ...]:
        """Return the same; refuse a request without it."""
        found = self.names(name)
        if found is None:
            raise Refusal(f"The query parameter '{name}' is required.", name)
        return found

    def flag(self, name: str, default: bool | None = None) -> bool | None:  # noqa: FBT001
        """Return whether a parameter is true."""
        if name not in self._found:
            return default
        value = self._found[name].lower()
        if value not in ("true", "false"):
            raise Refusal(f"Invalid value for '{name}': true or false is expected.", name)
        return value == "true"

    def number(self, name: str) -> int | None:
        """Return a parameter as a number that is not negative, or None."""
        text = self._found.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()) or int(text[:20]) > INTEGER_MAX:
            raise Refusal(f"Invalid value for '{name}': a number is expected.", name)
        return int(text)
