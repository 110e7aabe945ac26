"""From a name or a file to a scenario; whatever is wrong is said in one line."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from stuntdouble import array, hypervisor
from stuntdouble.errors import Misuse, Unsupported
from stuntdouble.scenarios.listing import LIBRARY, library
from stuntdouble.scenarios.spec import Scenario
from stuntdouble.scenarios.values import Table, check_divides, parameters
from stuntdouble.site import IO_BLOCKS_MAX

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from stuntdouble.scenarios.spec import Array

_FILE_BYTES_MAX: Final = 1 << 20  # a scenario is a page or two; a megabyte is a mistake


def load(source: str | Path) -> Scenario:
    """Return the scenario of the library called *source*, or that of a TOML file.

    Raises:
        Misuse: no such scenario, an unreadable file, or something in it that makes no sense.
    """
    path = _find(source)
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise Misuse(str(path), "is too large for a scenario")
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Misuse(str(path), f"cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misuse(str(path), f"is not TOML: {error}") from None
    return parse(table, str(path))


def parse(table: dict[str, Any], where: str) -> Scenario:
    """Return the scenario that *table* says; *where* is named in errors."""
    try:
        scenario = Scenario.model_validate(table)
    except ValidationError as error:
        raise Misuse(where, _explained(error.errors()[0])) from None
    for a in scenario.arrays:
        if "reserve_fraction" in a.parameters:
            key = f"arrays.{a.name}.parameters.reserve_fraction"
            raise Misuse(where, f"{key}: is of no use here, where each pool states its reserve")
    key, block = "hypervisor", scenario.content_block
    try:
        parameters(hypervisor.Parameters, scenario.hypervisor).check_block(block, IO_BLOCKS_MAX)
        for a in scenario.arrays:
            key = f"arrays.{a.name}.parameters"
            _check_chunks(a, parameters(array.Parameters, a.parameters).chunk_bytes, block)
    except (ValueError, Misuse, Unsupported) as error:
        raise Misuse(where, f"{key}: {error}") from None
    for key in scenario.sources:
        if not _leads_somewhere(scenario, key):
            raise Misuse(where, f"sources: {key!r} is not a key of this scenario")
    return scenario


def _check_chunks(a: Array, chunk: int, block: int) -> None:
    """An array's chunks are whole content blocks, and its volumes whole chunks."""
    check_divides("chunk_bytes: content_block", block, "chunk_bytes", chunk)
    for volume in a.volumes:
        check_divides("chunk_bytes: it", chunk, f"the size of {volume.name}", volume.size)


def _leads_somewhere(found: Any, key: str) -> bool:
    """Say whether *key*, names with dots between them, is one of a value of *found*."""
    if not key:
        return True
    inner: dict[str, Any] = {}
    if isinstance(found, Table):
        inner = {name: getattr(found, name) for name in type(found).model_fields}
        for name, kind in (("hypervisor", hypervisor.Parameters), ("parameters", array.Parameters)):
            if name in inner:  # also what is left at its default may have a source
                inner[name] = dict.fromkeys(field.name for field in fields(kind))
    elif isinstance(found, tuple):
        inner = {str(getattr(x, "name", getattr(x, "key", x))): x for x in found}
    elif isinstance(found, dict):
        inner = found
    rests = [(x, key[len(n) + 1 :]) for n, x in inner.items() if f"{key}.".startswith(f"{n}.")]
    return any(_leads_somewhere(value, rest) for value, rest in rests)


def _find(source: str | Path) -> Path:
    text = str(source)
    if "/" in text or text.endswith(".toml"):
        path = Path(text)
        if not path.exists():
            raise Misuse(text, "there is no such file")
        return path
    names = [listed.name for listed in library()]
    if text not in names:
        close = difflib.get_close_matches(text, names, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"
        raise Misuse(text, f"no scenario of that name: {hint} (`stuntdouble scenarios` lists them)")
    return LIBRARY / f"{text}.toml"


def _explained(detail: ErrorDetails) -> str:
    """Return where and what is wrong, and what would be right."""
    where = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = f"unknown key: allowed are {', '.join(_allowed(detail['loc']))}"
    elif detail["type"] == "missing":
        message = "this key is missing"
    elif detail["type"] == "too_short":
        message = f"needs at least {detail['ctx']['min_length']}, and has none"
    elif detail["type"] != "value_error":
        message = f"{detail['input']!r}: {message[0].lower()}{message[1:]}"
    return f"{where}: {message}" if where else message


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the table that holds the unknown one."""
    model: Any = Scenario
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        model = next(iter(_models(annotation)))
    return list(model.model_fields)


def _models(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _models(inner)]
