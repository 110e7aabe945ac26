"""The language of the ``filter`` parameter: which items of a list are wanted.

    expression   any of  and  or  not( )  ( )  in this order of binding: not, and, or
    comparison   field = value   != < > <= >=   field=('a','b')   field in ('a','b')
                 contains(field, 'text')       field alone: it has a value
    field        name, or name.part.part       of an item as it is shown
    value        'text' or "text", in which * stands for anything; a number; true, false, null

Text is compared without regard to case, as names are.  A list, such as a host's IQNs, fulfils a
comparison if one of its elements does; ``!=`` is the opposite of ``=``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi.pure.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Item = dict[str, Any]
    Wanted = Callable[[Item], bool]

LENGTH_MAX: Final = 8192  # characters; more is no filter.  Chosen: what a URL can hold.
_DEPTH_MAX: Final = 64  # of parentheses; chosen

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?![\w.]))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
      | (?P<sign>!=|<=|>=|[=<>(),])
    )""",
    re.VERBOSE,
)
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_filter(text: str, fields: Collection[str]) -> Wanted:
    """Return what tells whether an item is wanted.

    Args:
        text: the expression.
        fields: what items have, nested ones with their dots.

    Raises:
        Refusal: it is no expression, or names a field that items do not have.
    """
    if len(text) > LENGTH_MAX:
        raise Refusal("Invalid filter: it is too long.", "filter")
    parser = _Parser(_tokens(text), text, fields)
    wanted = parser.either(0)
    parser.expect_end()
    return wanted


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(text, len(text) - len(text[at:].lstrip()))
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return found


def _wrong(text: str, at: int) -> Refusal:
    return Refusal(f"Invalid filter: syntax error at position {at + 1}.", text[:LENGTH_MAX])


class _Parser:
    """Reads tokens from left to right; each method returns a predicate over items."""

    def __init__(self, tokens: list[_Token], text: str, fields: Collection[str]) -> None:
        self._tokens = tokens
        self._text = text
        self._fields = fields
        self._next = 0

    def either(self, depth: int) -> Wanted:
        parts = [self._both(depth)]
        while self._take_word("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda item: any(part(item) for part in parts)

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            raise self._error()

    def _both(self, depth: int) -> Wanted:
        parts = [self._single(depth)]
        while self._take_word("and"):
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else lambda item: all(part(item) for part in parts)

    def _single(self, depth: int) -> Wanted:
        if depth > _DEPTH_MAX:
            raise Refusal("Invalid filter: it is nested too deeply.", "filter")
        if self._take_word("not"):
            inner = self._single(depth + 1)
            return lambda item: not inner(item)
        if self._take("("):
            inside = self.either(depth + 1)
            self._expect(")")
            return inside
        return self._comparison()

    def _comparison(self) -> Wanted:
        token = self._pop("word")
        if token.text.lower() == "contains" and self._take("("):
            field = self._field(self._pop("word"))
            self._expect(",")
            part = str(self._value()).casefold()
            self._expect(")")
            return _any_of(field, lambda found: part in str(found).casefold())
        field = self._field(token)
        if self._take_word("in"):
            return self._one_of(field)
        for sign in ("!=", "<=", ">=", "=", "<", ">"):
            if self._take(sign):
                return self._compared(field, sign)
        return _any_of(field, lambda found: found is not None)

    def _compared(self, field: str, sign: str) -> Wanted:
        if sign in ("=", "!=") and self._peek("("):
            chosen = self._one_of(field)
        else:
            at = self._next
            chosen = _compare(field, sign, self._value(), lambda: self._error(at))
        if sign == "!=":
            return lambda item: not chosen(item)
        return chosen

    def _one_of(self, field: str) -> Wanted:
        self._expect("(")
        parts = [_compare(field, "=", self._value(), self._error)]
        while self._take(","):
            parts.append(_compare(field, "=", self._value(), self._error))
        self._expect(")")
        return lambda item: any(part(item) for part in parts)

    def _field(self, token: _Token) -> str:
        if token.text not in self._fields:
            raise Refusal(f"Invalid filter: unknown field '{token.text}'.", self._text)
        return token.text

    def _value(self) -> Any:
        if self._next >= len(self._tokens):
            raise self._error()
        token = self._tokens[self._next]
        self._next += 1
        if token.kind == "text":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "word" and token.text.lower() in _CONSTANTS:
            return _CONSTANTS[token.text.lower()]
        raise self._error(self._next - 1)

    def _peek(self, sign: str) -> bool:
        tokens = self._tokens[self._next : self._next + 1]
        return bool(tokens) and tokens[0].kind == "sign" and tokens[0].text == sign

    def _take(self, sign: str) -> bool:
        found = self._peek(sign)
        self._next += found
        return found

    def _take_word(self, word: str) -> bool:
        tokens = self._tokens[self._next : self._next + 1]
        found = bool(tokens) and tokens[0].kind == "word" and tokens[0].text.lower() == word
        self._next += found
        return found

    def _pop(self, kind: str) -> _Token:
        if self._next >= len(self._tokens) or self._tokens[self._next].kind != kind:
            raise self._error()
        self._next += 1
        return self._tokens[self._next - 1]

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._error()

    def _error(self, index: int | None = None) -> Refusal:
        index = self._next if index is None else index
        at = self._tokens[index].at if index < len(self._tokens) else len(self._text)
        return _wrong(self._text, at)


def value_at(item: Item, field: str) -> Any:
    """Return what an item has under a field, None where it has nothing."""
    found: Any = item
    for part in field.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def _any_of(field: str, fits: Callable[[Any], bool]) -> Wanted:
    def wanted(item: Item) -> bool:
        found = value_at(item, field)
        if isinstance(found, list):
            return any(fits(each) for each in found)
        return found is not None and fits(found)

    return wanted


def _compare(field: str, sign: str, value: Any, error: Callable[[], Refusal]) -> Wanted:
    if value is None:
        if sign not in ("=", "!="):
            raise error()
        return lambda item: value_at(item, field) in (None, [], {})
    if sign not in ("=", "!=") and isinstance(value, bool):
        raise error()
    if isinstance(value, str):
        return _any_of(field, _text_test(sign, value))
    return _any_of(field, _number_test(sign, value))


def _text_test(sign: str, value: str) -> Callable[[Any], bool]:
    wanted = value.casefold()
    if sign in ("=", "!="):
        parts = wanted.split("*")
        return lambda found: _is_like(_as_text(found), parts)
    return lambda found: isinstance(found, str) and _ordered(sign, found.casefold(), wanted)


def _is_like(text: str, parts: list[str]) -> bool:
    """Tell whether *text* is these parts, with anything between them.

    Each part is taken where it comes first, so this takes no longer for many parts: an expression
    that goes back and tries again would stand still for a name of 63 equal letters.
    """
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return text == first
    at, stop = len(first), len(text) - len(last)
    if not text.startswith(first) or not text.endswith(last) or at > stop:
        return False
    for part in parts[1:-1]:
        found = text.find(part, at, stop)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _as_text(found: Any) -> str:
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found).casefold()


def _number_test(sign: str, value: float | bool) -> Callable[[Any], bool]:  # noqa: FBT001
    def fits(found: Any) -> bool:
        if isinstance(found, bool) is not isinstance(value, bool):
            return False
        if not isinstance(found, int | float):
            return False
        return found == value if sign in ("=", "!=") else _ordered(sign, found, value)

    return fits


def _ordered(sign: str, one: Any, other: Any) -> bool:
    return bool({"<": one < other, ">": one > other, "<=": one <= other, ">=": one >= other}[sign])
