"""Making data objects, and filling in what they must have."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from stuntdouble.errors import Bug
from stuntdouble.vsphere.vmomi.tables import (
    VIM25,
    DataObject,
    Field,
    Kind,
    ManagedMethod,
    ManagedObject,
    data_fields,
    data_rows,
    reference,
    support,
)

__all__ = ["coerced", "fill", "make", "moid", "new", "server_guid"]


@cache
def _empty(kind: Kind) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """Return what a new data object holds: values that may be shared, and lists to make."""
    rows = data_rows(kind)
    shared = {
        row.name: None if row.optional else _zero(row.kind) for row in rows if not row.is_list
    }
    return shared, tuple((row.name, row.kind) for row in rows if row.is_list)


def _zero(kind: Kind) -> Any:
    """Return what pyVmomi puts into a required field of a new data object."""
    if issubclass(kind, str):
        return None if issubclass(kind, support.Enum) else ""
    return kind() if issubclass(kind, int | float) else None


def make(kind: Kind, values: dict[str, Any] | None = None) -> Any:
    """Return a data object that holds `values`, as pyVmomi's constructor would, in less time.

    The values are not held against their types: that is for who made them, and the one who writes
    them looks at them again.

    Raises:
        Bug: A value is for a field that the type does not have.
    """
    declared: Any = kind
    made = declared.__new__(declared)
    shared, lists = _empty(kind)
    held = made.__dict__
    held.update(shared)
    for name, of in lists:
        held[name] = of()
    if values:
        known = len(held)
        held.update(values)
        if len(held) != known:
            odd = sorted(values.keys() - shared.keys() - {name for name, _ in lists})
            raise Bug(f"{kind.__name__} has no field {odd[0]}")
    return made


@cache
def _neutral_fields(kind: Kind) -> dict[str, Any]:
    """Return the required fields of a data object that its constructor leaves unset, filled in."""
    declared: Any = kind
    blank, full = make(kind).__dict__, fill(make(declared)).__dict__
    return {name: full[name] for name in full if full[name] is not blank.get(name)}


def new(kind: Kind, **values: Any) -> Any:
    """Return a data object that holds `values`; what else it must have is neutral, as by `fill`.

    Neutral values are shared among all that are made here: they are to be read only.
    """
    return make(kind, {**_neutral_fields(kind), **values})


_FILL_DEPTH_MAX = 16
"""No chain of required data objects in pyVmomi's tables is longer than 5."""


def fill(value: Any, _depth: int = 0) -> Any:
    """Give every required field that is unset, within a value, a neutral value; return the value.

    Neutral is: the first of an enumeration, the epoch, no bytes, an empty text for what may be of
    any type, and for a reference the identifier ``none`` of the declared type, for a
    method the one that every client calls first.  Numbers, truths and
    texts are never unset: pyVmomi's constructor gives them one.
    """
    if _depth > _FILL_DEPTH_MAX:
        raise Bug(f"{type(value).__name__} requires itself without end")
    if isinstance(value, list):
        for item in value:
            fill(item, _depth + 1)
    elif isinstance(value, DataObject):
        held = value.__dict__
        for field in data_fields(value.__class__):
            within = held.get(field.name)
            if within is not None:
                fill(within, _depth + 1)
            elif not field.optional:
                held[field.name] = fill(_neutral(field), _depth + 1)
    return value


def _neutral(field: Field) -> Any:
    """Return a value for a required field that nothing is known about."""
    kind: Any = field.kind
    if issubclass(kind, support.Enum):
        return kind.values[0]
    if issubclass(kind, ManagedObject):
        return reference(kind, "none")
    if issubclass(kind, DataObject):
        return make(kind)
    special: dict[Any, Any] = {
        datetime: datetime(1970, 1, 1, tzinfo=UTC),
        object: "",
        type: ManagedObject,
        ManagedMethod: support.GetWsdlMethod(VIM25, "RetrieveServiceContent"),
    }
    return special[kind] if kind in special else kind()


def coerced(value: Any, kind: Kind) -> Any:
    """Return a value as one of a declared type, where Python leaves the type open.

    A number becomes one of the declared width, a plain list a list of the declared items, a text an
    enumeration's value or a path; what has a type of its own is left alone.  So a value that is
    written where any type may stand says of what type it is.
    """
    declared: Any = kind
    if value is None or kind is object or value.__class__ is kind:
        return value
    if issubclass(kind, list):
        return declared(coerced(item, declared.Item) for item in value)
    if issubclass(kind, int | float | str | bytes):
        return declared(value)
    return value


def moid(managed: Any) -> str:
    """Return the identifier within a reference."""
    held: str = managed._moId  # noqa: SLF001 -- said to be public by its module
    return held


def server_guid(managed: Any) -> str | None:
    """Return the identifier of the server that a reference belongs to, if it says one."""
    held: str | None = managed._serverGuid  # noqa: SLF001 -- said to be public by its module
    return held
