"""What every path of REST 1 gets, and what it answers with.

A GET has its parameters in the query or, as the vendor's own client does it, as JSON in its body.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stuntdouble.arrayapi import MalformedJsonError, Reply, strict_json
from stuntdouble.arrayapi.pure.bodies import check_fields, is_flag, is_texts
from stuntdouble.arrayapi.pure.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from simpy.events import Event

    from stuntdouble.arrayapi import Request
    from stuntdouble.arrayapi.pure.bodies import Check
    from stuntdouble.arrayapi.pure.estate import Estate
    from stuntdouble.arrayapi.pure.operations import Operations

    Item = dict[str, Any]

Path: TypeAlias = "Callable[[Call], Generator[Event, Any, Reply]]"

_UNITS: Final = {"S": 9, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}
"""Powers of two behind a size's suffix, as the vendor's client documents them."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request for a path that is known; ``names`` are the parts of it that are names."""

    request: Request
    operations: Operations
    names: tuple[str, ...]

    @property
    def estate(self) -> Estate:
        """What there is."""
        return self.operations.estate

    def fields(self, known: Mapping[str, Check], elsewhere: Collection[str] = ()) -> Item:
        """Return the parameters, from body and query, each of its type."""
        try:
            body = strict_json(self.request.body) if self.request.body.strip() else None
        except MalformedJsonError as error:
            raise Refusal(f"Invalid JSON: {error}.") from None
        if body is not None and not isinstance(body, dict):
            raise Refusal("Invalid body: an object is expected.")
        merged = {name: _typed(value, known.get(name)) for name, value in self.request.query}
        return check_fields(merged | (body or {}), known, elsewhere)


def _typed(text: str, check: Check | None) -> Any:
    """Return the value of a query parameter, as JSON would have it."""
    if check is is_flag and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if check is is_texts:
        return text.split(",")
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    return text


def size_of(value: int | str) -> int:
    """Return a size in bytes: an integer, or digits and one of S, K, M, G, T and P."""
    if isinstance(value, int):
        return value
    digits, unit = value[:-1], value[-1:].upper()
    if unit not in _UNITS or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise Refusal("Invalid size.", value)
    return int(digits) << _UNITS[unit]


def calendar(estate: Estate, site_seconds: float) -> str:
    """Return a moment of the site, to the second."""
    moment = datetime.fromtimestamp(estate.epoch + site_seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_left(milliseconds: int | None) -> int | None:
    """Return how long something can be recovered, in seconds."""
    return None if milliseconds is None else milliseconds // 1000


def said(body: Any) -> Reply:
    """Return an answer."""
    return Reply(200, body)
