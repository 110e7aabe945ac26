"""Values as people write them in a scenario: sizes, durations, rates, and tables of parameters."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields
from math import isfinite
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from stuntdouble.units import KIB, SIZE_BYTES_MAX, parse_duration, parse_size

SECONDS_MAX: Final = 366 * 86_400.0
"""A year, which is below 2²⁵ s: float64 times then still are 4 ns apart."""

RATE_MIN: Final = float(KIB)
"""Chosen: a megabyte then takes a quarter of an hour, and what is slower ends in no run."""

RATE_MAX: Final = 1e12
"""Chosen: eight times a link of a terabit per second; 0 says that nothing is in the way."""

LINK_RATE_MIN: Final = 1.25e6
"""Ethernet of 10 Mbit/s, the slowest that anybody had storage on."""


def parse_rate(value: str | float) -> float:
    """Return bytes per second: ``"16 MiB/s"``, or a number."""
    if isinstance(value, str):
        size, slash, per = value.rpartition("/")
        if not slash or per.strip() != "s":
            raise ValueError(f"{value!r} is not a rate such as '16 MiB/s'")
        return float(parse_size(size))
    return float(parse_size(value) if isinstance(value, int) else value)


def _check_rate(value: float, least: float = RATE_MIN) -> float:
    """Return a rate that is 0 or within reason."""
    if value and not least <= value <= RATE_MAX:
        allowed = f"from {least:g} to {RATE_MAX:g} bytes per second, or 0 for no limit"
        raise ValueError(f"{value!r} is not a rate {allowed}")
    return value


def _check_link_rate(value: float) -> float:
    """Return the rate of a link that there could be, or 0."""
    return _check_rate(value, LINK_RATE_MIN)


Size = Annotated[int, BeforeValidator(parse_size), Field(le=SIZE_BYTES_MAX)]
"""Bytes: ``"64 KiB"`` or a whole number; 4 PiB at most."""

Capacity = Annotated[Size, Field(ge=1)]
"""Bytes of something that holds any."""

Seconds = Annotated[float, BeforeValidator(parse_duration), Field(le=SECONDS_MAX)]
"""Seconds: ``"5 min"`` or a number; a year at most."""

MemorySeconds = Annotated[Seconds, Field(le=1.0)]
"""Chosen: memory that takes longer than a second is slower than any disk behind it."""

Rate = Annotated[float, BeforeValidator(parse_rate), Field(ge=0), AfterValidator(_check_rate)]
"""Bytes per second: ``"16 MiB/s"``, from 1 KiB/s to 1 TB/s; 0 is no limit."""

LinkRate = Annotated[
    float, BeforeValidator(parse_rate), Field(ge=0), AfterValidator(_check_link_rate)
]
"""The rate of a port or a network: from 10 Mbit/s on; 0 is never in the way."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""A name of letters, digits, dots, dashes and underscores, 63 at most."""

Share = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """A table of a scenario file: every key known, every number finite, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def parameters(kind: type, table: dict[str, Any]) -> Any:
    """Return the dataclass *kind* with the fields that *table* names set.

    Fields called ``…_bytes`` take sizes, ``…_seconds`` durations, ``…_per_second`` rates, within
    the bounds that a scenario's own keys have.

    Raises:
        ValueError: no such field, or not a value for it; says what is allowed.
    """
    known = {field.name: field for field in fields(kind)}
    hints = get_type_hints(kind)
    made = {}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"unknown key {key!r}: allowed are {', '.join(sorted(known))}")
        try:
            made[key] = _converted(key, hints[key], value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    missing = [
        name
        for name, field in known.items()
        if name not in made and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}")
    return kind(**made)


def _converted(key: str, hint: Any, value: Any) -> Any:
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(h for h in get_args(hint) if h is not type(None))
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list")
        return tuple(_converted(key, get_args(hint)[0], item) for item in value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{value!r} is not one of {', '.join(map(repr, get_args(hint)))}")
        return value
    found = _scalar(hint, _quantity(key, hint, value))
    _check_reason(key, hint, found)
    return found


def _quantity(key: str, hint: Any, value: Any) -> Any:
    """Return *value* after parsing, where the name of its field says what it measures."""
    if not isinstance(value, str) or hint not in {int, float}:
        return value
    if key.endswith("_per_second"):
        return hint(parse_rate(value))
    if "_bytes" in key:
        return parse_size(value)
    return parse_duration(value) if "_seconds" in key else value


def _check_reason(key: str, hint: Any, value: Any) -> None:
    """Refuse what is beyond reason for what the name of a field says that it measures."""
    if hint not in {int, float}:
        return
    if key.endswith("_per_second"):
        if value >= 0:  # what is below, its owner refuses
            _check_rate(value)
        return
    for part, most, unit in (
        ("_bytes", SIZE_BYTES_MAX, "bytes"), ("_seconds", SECONDS_MAX, "seconds"),
    ):  # fmt: skip
        if part in key and value > most:
            raise ValueError(f"{value!r} is more than {most:.0f} {unit}")


def _scalar(hint: Any, value: Any) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{value!r} is not {_words(hint)}")
    return value


def _words(hint: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(
        hint, str(hint)
    )


def check_unique(what: str, names: list[Any]) -> None:
    """Refuse a name that is there twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what}: {', '.join(map(str, twice))} is there more than once")


def check_known(what: str, name: str, names: list[str]) -> None:
    """Refuse a name that nothing defines."""
    if name not in names:
        raise ValueError(f"{what} {name!r} is not defined: use one of {', '.join(names)}")


def check_divides(what: str, small: int, other: str, large: int) -> None:
    """Refuse two sizes of which the one does not divide the other."""
    if small == 0 or large % small:
        raise ValueError(f"{what} ({small} B) must divide {other} ({large} B)")
