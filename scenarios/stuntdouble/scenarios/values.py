"""Values as people write them in a scenario: sizes, durations, rates, and tables of parameters."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields
from math import isfinite
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from stuntdouble.units import parse_duration, parse_size


def parse_rate(value: str | float) -> float:
    """Return bytes per second: ``"16 MiB/s"``, or a number."""
    if isinstance(value, str):
        size, slash, per = value.rpartition("/")
        if not slash or per.strip() != "s":
            raise ValueError(f"{value!r} is not a rate such as '16 MiB/s'")
        return float(parse_size(size))
    return float(parse_size(value) if isinstance(value, int) else value)


Size = Annotated[int, BeforeValidator(parse_size), Field(le=1 << 52)]
"""Bytes: ``"64 KiB"`` or a whole number; 4 PiB at most, which is as far as a volume goes."""

Seconds = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds: ``"5 min"`` or a number."""

Rate = Annotated[float, BeforeValidator(parse_rate), Field(ge=0)]
"""Bytes per second: ``"16 MiB/s"``; 0 is no limit."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""A name of letters, digits, dots, dashes and underscores, 63 at most."""

Share = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """A table of a scenario file: every key known, every number finite, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def parameters(kind: type, table: dict[str, Any]) -> Any:
    """Return the dataclass *kind* with the fields that *table* names set.

    Fields called ``…_bytes`` take sizes, ``…_seconds`` durations, ``…_per_second`` rates.

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
    return _scalar(hint, _quantity(key, hint, value))


def _quantity(key: str, hint: Any, value: Any) -> Any:
    """Return *value* after parsing, where the name of its field says what it measures."""
    if not isinstance(value, str) or hint not in {int, float}:
        return value
    if key.endswith("_per_second"):
        return hint(parse_rate(value))
    if "_bytes" in key:
        return parse_size(value)
    return parse_duration(value) if "_seconds" in key else value


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
