"""Random values of vim25, drawn from pyVmomi's tables: any data object, with anything in it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from pyVmomi import VmomiSupport as V

ALL = max(V.GetServiceVersions("vim25"), key=lambda version: len(V.parentMap[version]))
"""The newest version that pyVmomi has."""
WRAPPER = V.GetVmodlType("vmodl.LocalizedMethodFault")
TEXTS = [
    "",
    "vm-1",
    "a&b <c> \"d\" 'e'",
    "größe ☃ \U0001f600",
    " two  blanks ",
    "line\nfeed\ttab",
    "\r",
]
INTEGERS = {V.byte: 7, V.short: 15, int: 31, V.long: 63}
PLAIN = [str, int, V.long, V.short, V.byte, bool, V.double, datetime, V.URI, V.binary]


@cache
def data_types() -> list[Any]:
    """Every data object of vim25 in an order that stays."""
    found = [V.GetVmodlType(name) for name in sorted(V.ListDataTypes())]
    return [kind for kind in found if V.IsChildVersion(ALL, kind._version) and kind is not WRAPPER]


@cache
def narrower(kind: Any) -> list[Any]:
    """Every data object that may stand where `kind` is declared."""
    return [other for other in data_types() if issubclass(other, kind)]


@cache
def fields(kind: Any) -> list[Any]:
    hidden = {"msg", "dynamicProperty", "dynamicType"}
    rows = [row for row in kind._GetPropertyList() if row.name not in hidden]
    return [row for row in rows if V.IsChildVersion(ALL, row.version)]


def scalar(rng: random.Random, kind: Any) -> Any:
    if kind is bool:
        return rng.random() < 0.5
    if kind in INTEGERS:
        bits = INTEGERS[kind]
        return kind(rng.choice([0, -1, 1, (1 << bits) - 1, -(1 << bits), rng.randrange(1 << bits)]))
    if issubclass(kind, float):
        return kind(rng.choice([0.0, -1.5, 1e-7, 1e300, rng.random()]))
    if kind is datetime:
        zone = rng.choice(
            [UTC, V.Iso8601.TZManager.GetTZInfo("UTC +05:30", timedelta(minutes=330))]
        )
        start = datetime(2000, 1, 1, tzinfo=zone)
        return start + timedelta(
            seconds=rng.randrange(1 << 30), microseconds=rng.choice([0, 5, 500_000])
        )
    if issubclass(kind, bytes):
        return kind(rng.randbytes(rng.randrange(5)))
    if issubclass(kind, V.Enum):
        return rng.choice(kind.values)
    if kind is type:
        return rng.choice([V.GetVmodlType("vim.VirtualMachine"), V.GetVmodlType("vim.Folder")])
    if kind is V.ManagedMethod:
        return V.GetWsdlMethod("urn:vim25", "CreateSnapshot_Task")
    return kind(rng.choice(TEXTS))


def value(rng: random.Random, kind: Any, depth: int) -> Any:
    if kind is object:
        lists = ("string[]", "vim.VirtualMachine[]", "vim.Description[]", "long[]")
        kind = rng.choice([*PLAIN, *map(V.GetVmodlType, lists)])
    if issubclass(kind, list):
        if kind.Item is object:  # pyVmomi cannot read a list within such a list
            return kind(scalar(rng, rng.choice(PLAIN)) for _ in range(2))
        return kind(value(rng, kind.Item, depth) for _ in range(rng.randrange(1, 3)))
    if issubclass(kind, V.ManagedObject):
        return kind(f"id-{rng.randrange(100)}")
    if issubclass(kind, V.DataObject):
        return data(rng, rng.choice(narrower(kind)) if rng.random() < 0.5 else kind, depth - 1)
    return scalar(rng, kind)


def data(rng: random.Random, kind: Any, depth: int = 3) -> Any:
    """Return an object of that type: required fields always, others now and then."""
    made = kind()
    for row in fields(kind):
        deep = issubclass(row.type, V.DataObject) or (
            issubclass(row.type, list) and issubclass(row.type.Item, V.DataObject)
        )
        needed = not row.flags & V.F_OPTIONAL
        if needed or (rng.random() < 0.4 and (depth > 0 or not deep)):
            setattr(made, row.name, value(rng, row.type, depth))
    return made
