"""``docs/scenarios.md`` has every key of a scenario, with its kind and its default."""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from stuntdouble import array, hypervisor
from stuntdouble.scenarios import library, parse, spec
from stuntdouble.scenarios.values import Table
from stuntdouble.units import format_size, parse_size

PAGE = Path(__file__).resolve().parent.parent / "docs" / "scenarios.md"
TABLES = {name: model for name, model in vars(spec).items() if isinstance(model, type) and issubclass(model, Table) and model is not Table}  # fmt: skip
PARAMETERS = {"hypervisor": hypervisor.Parameters, "array": array.Parameters}


def kind_of(annotation: Any, metadata: list[Any]) -> str:
    """Return what a value of this field looks like."""
    readers = {getattr(getattr(m, "func", None), "__name__", "").strip("_") for m in metadata}
    for reader, word in (("parse_size", "size"), ("parse_duration", "duration"), ("parse_rate", "rate"), ("rate", "rate")):  # fmt: skip
        if reader in readers:
            return word
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)[0]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return "tables"
        return f"list of {kind_of(inner, [])}" if get_origin(inner) is Literal else "list"
    if get_origin(annotation) is dict or "BaseModel" in str(getattr(annotation, "__mro__", "")):
        return "table"
    if get_args(annotation):  # optional
        return kind_of(get_args(annotation)[0], metadata)
    return {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}[annotation]


def worded(value: Any, kind: str) -> str:
    """Return a default as one would write it in the file."""
    if value is PydanticUndefined or value is MISSING:
        return "*required*"
    if value is None or isinstance(value, (BaseModel, dict)) or value in ((), "", []):
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        words = ", ".join(f'"{v}"' if isinstance(v, str) else f"{v:g}" for v in value)
        return f"`[{words}]`"
    if value and kind == "duration":
        return f"`{value * 1000:g} ms`" if value < 1 else f"`{value:g} s`"
    if value and kind in ("size", "rate") and parse_size(format_size(int(value))) == value:
        return f"`{format_size(int(value))}/s`" if kind == "rate" else f"`{format_size(value)}`"
    if kind == "rate":
        return f"`{int(value)}`"
    return f"`{value:g}`" if isinstance(value, (int, float)) else f"`{value}`"


def keys_of(model: type[BaseModel]) -> dict[str, tuple[str, str]]:
    found = {}
    for name, field in model.model_fields.items():
        default = field.default if field.default_factory is None else {}
        kind = kind_of(field.annotation, field.metadata)
        found[name] = (kind, worded(default, kind))
    return found


def parameter_kind(name: str, hint: Any) -> str:
    numbers = hint in (int, float)
    if numbers and name.endswith("_per_second"):
        return "rate"
    if numbers and "_bytes" in name:
        return "size"
    return "duration" if numbers and "_seconds" in name else kind_of(hint, [])


def parameters_of(kind: type) -> dict[str, tuple[str, str]]:
    hints = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        word = parameter_kind(field.name, hints[field.name])
        found[field.name] = (word, worded(field.default, word))
    return found


def sections() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Return the rows of each table of the page, by the marker that its heading carries."""
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    here = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if mark := re.match(r"<!-- keys of (\w+) -->", line):
            here = mark[1]
            found[here] = {}
        elif here and (row := re.match(r"\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", line)):
            assert row[1] not in found[here], f"{row[1]} stands there twice"
            found[here][row[1]] = (row[2], row[3], row[4])
        elif line.startswith("#"):
            here = ""
    return found


@pytest.mark.parametrize("name", [*TABLES, *PARAMETERS])
def test_every_key_is_on_the_page_with_its_kind_and_default(name: str) -> None:
    known = keys_of(TABLES[name]) if name in TABLES else parameters_of(PARAMETERS[name])
    rows = sections()[name]
    assert {key: row[:2] for key, row in rows.items()} == known
    assert all(row[2].strip() for row in rows.values())


def test_the_page_speaks_of_nothing_else() -> None:
    assert set(sections()) == {*TABLES, *PARAMETERS}


def test_the_scenarios_on_the_page_can_be_read() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    whole = [tomllib.loads(block) for block in blocks]
    read = [parse(table, "docs/scenarios.md") for table in whole if "name" in table]
    assert read
    assert all(scenario.backup.runs for scenario in read)


def test_the_page_lists_the_library() -> None:
    text = PAGE.read_text("utf-8")
    assert [one.name for one in library() if f"| `{one.name}` |" not in text] == []
