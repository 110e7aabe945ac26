"""Property paths: ``config.hardware.device[2000].backing`` and what they lead to."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.vmomi import data_fields, managed_properties, vmodl

if TYPE_CHECKING:
    from stuntdouble.vsphere.objects import Managed
    from stuntdouble.vsphere.vmomi import Kind

_SEGMENT: Final = re.compile(r"([A-Za-z_]\w*)(?:\[\"?([^\]\"]+)\"?\])?")
_DEPTH_MAX: Final = 32  # the deepest data objects nest less: vSphere's chains have 32 parents

PATH_CHARACTERS_MAX: Final = 1024
"""Chosen: the deepest paths take 200, and those that clients name are kept."""


@lru_cache(maxsize=4096)
def parse(path: str) -> tuple[tuple[str, str | None], ...]:
    """Return the (name, key or None) of each segment of a path.

    Raises:
        vmodl.query.InvalidProperty: it is none.
    """
    if len(path) > PATH_CHARACTERS_MAX:
        raise vmodl.query.InvalidProperty(name=path[:PATH_CHARACTERS_MAX])
    segments = path.split(".") if "[" not in path else re.split(r"\.(?![^\[]*\])", path)
    found = [_SEGMENT.fullmatch(segment) for segment in segments]
    if len(found) > _DEPTH_MAX or not all(found):
        raise vmodl.query.InvalidProperty(name=path)
    return tuple((match[1], match[2]) for match in found if match)


def is_set(value: Any) -> bool:
    """Say whether a property has a value: an empty list is none."""
    return value is not None and not (isinstance(value, list) and not value)


def value_at(managed: Managed, path: str) -> Any:
    """Return what a path leads to from an object, None where something on the way is unset.

    Raises:
        vmodl.query.InvalidProperty: there is no such property.
        vmodl.fault.NotSupported: it is not emulated.
    """
    (name, key), *rest = parse(path)
    value = managed.show(name)
    if key is not None:
        value = _element(value, key, path)
    for name, key in rest:
        if value is None:
            return None
        value = _member(value, name, path)
        if key is not None:
            value = _element(value, key, path)
    return value


def _member(value: Any, name: str, path: str) -> Any:
    if not isinstance(value, vmodl.DynamicData) or not hasattr(value, name):
        raise vmodl.query.InvalidProperty(name=path)
    return getattr(value, name)


def _element(value: Any, key: str, path: str) -> Any:
    """Return the element of a list that has this key."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise vmodl.query.InvalidProperty(name=path)
    return next((each for each in value if str(getattr(each, "key", None)) == key), None)


@lru_cache(maxsize=4096)
def declared_at(kind: Kind, path: str) -> Kind:
    """Return the type that what a path leads to is declared as; any, where only the value tells."""
    (name, key), *rest = parse(path)
    found = managed_properties(kind).get(name)
    for name, inner in [*rest, ("", None)]:
        if found is None:
            return object
        at = found.item if key is not None and found.is_list else found.kind
        if not name:
            return at
        found = next((field for field in data_fields(at) if field.name == name), None)
        key = inner
    return object
