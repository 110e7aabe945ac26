"""Pieces of a property collector's answer, written once and joined often.

A collector that is asked for the same properties of the same objects again and again writes the
value of each property once, for each version that its clients speak, and keeps the text:

    val = value_xml(devices, declared, version)            keep by (object, path, version)
    one = property_xml("config.hardware.device", val)      or keep this
    content = object_content(vm, [one, two, three], version)
    write_reply(info, version, retrieve_result([content, ...], version, token))

The text is right as long as the value is; dropping it when the value changes is the keeper's part.
A :class:`Rendered` also stands in a data object's field wherever the field may be of any type or
holds a data object: ``PropertyChange(name=..., op="assign", val=rendered(devices, ...))``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stuntdouble.errors import Bug
from stuntdouble.vsphere.reply.text import escaped, text_of
from stuntdouble.vsphere.reply.writer import Rendered, writer
from stuntdouble.vsphere.vmomi import (
    DataObject,
    Kind,
    ManagedObject,
    MethodFault,
    coerced,
    vmodl,
)

__all__ = ["object_content", "property_xml", "rendered", "retrieve_result", "value_xml"]


def rendered(value: Any, declared: Kind, version: str) -> Rendered:
    """Return a value written for clients of a version.

    Raises:
        Bug: It is a reference or a fault, whose text is not all between its tags, or it is not of
            the declared type.
    """
    value = coerced(value, declared)
    kind: Any = value.__class__
    if issubclass(kind, ManagedObject | MethodFault) or value is None:
        raise Bug(f"{value!r:.80} is nothing that can be written ahead")
    if issubclass(kind, list):
        opened = writer(version).element("val", object)(value)
        content = opened[opened.index(">") + 1 : opened.rindex("<")]
    elif issubclass(kind, DataObject):
        content = writer(version).content(value)
    else:
        text = text_of(kind)
        assert text is not None, kind
        content = text(value)
    return Rendered(content, kind, version)


def value_xml(value: Any, declared: Kind, version: str) -> str:
    """Return a property's value as the element ``val``, which says its type."""
    return writer(version).element("val", object)(coerced(value, declared))


def property_xml(name: str, val: str) -> str:
    """Return one property of an ObjectContent: its path, and its value as :func:`value_xml` wrote it."""
    return f"<propSet><name>{escaped(name)}</name>{val}</propSet>"


def object_content(
    obj: Any, properties: Iterable[str], version: str, missing: Iterable[Any] = ()
) -> Rendered:
    """Return an ObjectContent of properties that are written already.

    Args:
        obj: Reference to the object.
        properties: As :func:`property_xml` wrote them, for the same version.
        version: The version of the clients it is for.
        missing: What could not be read, each a MissingProperty.
    """
    kind = vmodl.query.PropertyCollector.ObjectContent
    reference = writer(version).element("obj", ManagedObject)(obj)
    unread = writer(version).element("missingSet", vmodl.query.PropertyCollector.MissingProperty)
    content = reference + "".join(properties) + "".join(map(unread, missing))
    return Rendered(content, kind, version)


def retrieve_result(
    objects: Iterable[Rendered], version: str, token: str | None = None
) -> Rendered:
    """Return a RetrieveResult of objects that are written already.

    Args:
        objects: As :func:`object_content` wrote them, for the same version.
        version: The version of the clients it is for.
        token: For asking on, if there is more.
    """
    kind = vmodl.query.PropertyCollector.RetrieveResult
    opening = f"<token>{escaped(token)}</token>" if token is not None else ""
    joined = "</objects><objects>".join([content.content for content in objects])
    return Rendered(f"{opening}<objects>{joined}</objects>" if joined else opening, kind, version)
