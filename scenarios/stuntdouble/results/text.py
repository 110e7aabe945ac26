"""Models as JSON, for people and for ``diff``: objects indented, lists of plain values on a line."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from stuntdouble.errors import Misuse

_INDENT = "  "

Model = TypeVar("Model", bound=BaseModel)


def loaded(kind: type[Model], text: str | bytes, name: str) -> Model:
    """Return what *text*, the content of a file called *name*, holds.

    Raises:
        Misuse: not JSON, or not of this kind and version; names the first field that is wrong.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the text"
        raise Misuse(name, f"{where}: {first['msg']}") from error


def to_text(value: Any, indent: str = "") -> str:
    """Return *value* as JSON text in a fixed layout, without a newline at the end.

    A column of a thousand numbers stays one line, so that a result remains readable and a
    difference between two results shows as the lines that differ.
    """
    inner = indent + _INDENT
    if isinstance(value, dict) and value:
        rows = [f"{json.dumps(key)}: {to_text(item, inner)}" for key, item in value.items()]
        return _bracketed("{", rows, "}", indent)
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return _bracketed("[", [to_text(item, inner) for item in value], "]", indent)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _bracketed(opening: str, rows: list[str], closing: str, indent: str) -> str:
    inner = indent + _INDENT
    body = f",\n{inner}".join(rows)
    return f"{opening}\n{inner}{body}\n{indent}{closing}"
