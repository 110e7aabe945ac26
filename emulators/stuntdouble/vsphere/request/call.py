"""A request, from the bytes of a SOAP message to a method and its arguments.

The message becomes a small tree first, within the limits, and then values, by the tables of
pyVmomi.  Reading is strict about values and lenient about dress: a wrongly typed, unknown,
doubled or missing element is refused, the order of elements and the prefixes of names are not
looked at.

    Envelope > Header (not read)
             > Body > Method > _this          what the method is called on
                             > parameter ...  a list is several elements of one name
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from stuntdouble.errors import Error
from stuntdouble.vsphere.request.elements import BadRequest, Element, parse
from stuntdouble.vsphere.vmomi import (
    INTEGER_RANGES,
    VIM25,
    DataObject,
    Field,
    Kind,
    LocalizedFault,
    ManagedObject,
    Method,
    MethodFault,
    clipped,
    data_fields,
    lookup_method,
    lookup_type,
    make,
    reader,
    reference,
    since,
    support,
    wire_name,
)

__all__ = ["Call", "UnknownMethod", "parse_call"]


class UnknownMethod(Error):  # noqa: N818 -- as in stuntdouble.errors
    """vim25 has no such method.  Facts: its name; reference to what it was called on, or None."""

    template = "no method named {0!r} (called on {1})"


@dataclass(frozen=True, slots=True)
class Call:
    """A request, understood.

    Attributes:
        method: Name on the wire (``CreateSnapshot_Task``, ``Fetch``).
        info: What the tables say about the method.
        this: Reference to what the method is called on; of any managed type, whether it has the
            method or not.
        arguments: By name, every parameter of the method: None for what is unset, an empty list
            for a list without elements.
        namespace: Namespace of the method's element.
    """

    method: str
    info: Method
    this: Any
    arguments: dict[str, Any]
    namespace: str


_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_ENVELOPE, _HEADER, _BODY = f"{_SOAP} Envelope", f"{_SOAP} Header", f"{_SOAP} Body"
_WRAPPER = wire_name(LocalizedFault)[1]
_NAMES_ONLY = {type, support.ManagedMethod, support.PropertyPath}  # texts, whatever xsi:type says


_READS_MAX = 1024
_READ_BYTES_MAX = 1024
_reads: dict[bytes, Call] = {}
"""Reads of one property that were understood, by their messages.  Clients poll with the same bytes
again and again, and such a call holds nothing that could be changed."""


def parse_call(body: bytes) -> Call:
    """Return what a message asks for.

    Raises:
        BadRequest: It is no message of vim25, breaks a limit, or a value is not of its type.
        UnknownMethod: It is, but there is no such method.
    """
    if len(body) > _READ_BYTES_MAX:
        return _parsed(body)
    kept = _reads.get(body)
    if kept is not None:
        return kept
    call = _parsed(body)
    if call.method == "Fetch":
        if len(_reads) >= _READS_MAX:
            _reads.clear()
        _reads[body] = call
    return call


def _parsed(body: bytes) -> Call:
    """Return what a message asks for.

    Raises:
        BadRequest: It is no message of vim25, breaks a limit, or a value is not of its type.
        UnknownMethod: It is, but there is no such method.
    """
    element = _method_element(parse(body))
    this = _this(element)
    namespace, name = element.namespace, element.name
    info = lookup_method(namespace, name)
    if info is None:
        raise UnknownMethod(name, this)
    if this is None:
        raise BadRequest(f"{name}: _this is missing")
    by_name = _by_name(info)
    found = _values(element, by_name, name, skip="_this")
    arguments = {
        field.name: found.get(field.name, field.kind() if field.is_list else None)
        for field in info.parameters
    }
    _check_complete(found, info.parameters, info.since, name)
    return Call(name, info, this, arguments, namespace)


def _method_element(envelope: Element) -> Element:
    """Return the one element in the body of a SOAP message.

    Raises:
        BadRequest: It is none, or has not one body with one method.
    """
    if envelope.tag != _ENVELOPE:
        raise BadRequest(f"{clipped(envelope.tag)} is no SOAP 1.1 envelope")
    parts = [part for part in envelope.children if part.tag != _HEADER]
    if [part.tag for part in parts] != [_BODY]:
        raise BadRequest("an envelope has one Body, and before it at most a Header")
    if len(parts[0].children) != 1:
        raise BadRequest(f"a Body has one method, not {len(parts[0].children)}")
    return parts[0].children[0]


def _this(element: Element) -> Any:
    """Return the reference to what a method is called on, or None if there is none."""
    found = [child for child in element.children if child.name == "_this"]
    if len(found) > 1:
        raise BadRequest(f"{clipped(element.name)}: _this stands {len(found)} times")
    return _reference(found[0], ManagedObject, "_this") if found else None


@cache
def _by_name(owner: Any) -> dict[str, Field]:
    """Return the parameters of a method, or the fields of a data object, by name."""
    rows = owner.parameters if isinstance(owner, Method) else data_fields(owner)
    return {row.name: row for row in rows}


def _values(
    element: Element, by_name: dict[str, Field], where: str, skip: str = ""
) -> dict[str, Any]:
    """Return the values within an element, by name; elements of one name make a list.

    Raises:
        BadRequest: One is unknown, stands twice and is no list, or is not of its type.
    """
    found: dict[str, Any] = {}
    for child in element.children:
        name = child.name
        field = by_name.get(name)
        if field is None:
            if name == skip:
                continue
            raise BadRequest(f"{where} has no {clipped(name)}")
        if field.is_list:
            if name not in found:
                found[name] = field.kind()
            found[name].append(_value(child, field.item, where))
        elif name in found:
            raise BadRequest(f"{where}.{name} stands more than once")
        else:
            found[name] = _value(child, field.kind, where)
    if element.text.strip():
        raise BadRequest(f"{where} has text between its elements: {clipped(element.text.strip())}")
    return found


def _check_complete(
    found: dict[str, Any], fields: tuple[Field, ...], born: str, where: str
) -> None:
    """Refuse what lacks a required value.

    A field that came later than its owner is not asked for: the client may be older than the field.

    Raises:
        BadRequest: A required value is missing.
    """
    for field in fields:
        if field.name in found or field.optional or field.is_list:
            continue
        if field.since == born and field.kind is not object:
            raise BadRequest(f"{where}.{field.name} is required and missing")


def _value(element: Element, declared: Kind, where: str) -> Any:
    """Return the value of one element.

    Raises:
        BadRequest: It is not of the declared type.
    """
    kind = declared if element.kind is None else _narrowed(element, declared, where)
    read = reader(kind)
    if read is not None:
        if element.children:
            raise BadRequest(f"{where}.{element.name} has elements in place of a value")
        try:
            return read(element.text)
        except ValueError as error:
            raise BadRequest(f"{where}.{element.name}: {error}") from None
    if kind is object:
        raise BadRequest(f"{where}.{element.name} may be of any type, and no xsi:type says which")
    if issubclass(kind, ManagedObject):
        return _reference(element, kind, where)
    if issubclass(kind, list):
        of: Any = kind
        return kind(_value(child, of.Item, where) for child in element.children)
    if issubclass(kind, MethodFault) and where != _WRAPPER:
        return _fault(element, declared, where)
    return _data(element, kind)


def _narrowed(element: Element, declared: Kind, where: str) -> Kind:
    """Return the type that ``xsi:type`` names.

    Raises:
        BadRequest: There is no such type, or it is none of the declared one.
    """
    if declared in _NAMES_ONLY:
        return declared
    kind = lookup_type(*element.kind) if element.kind else None
    if kind is None:
        raise BadRequest(
            f"{where}.{element.name}: there is no type {clipped(str(element.kind and element.kind[1]))}"
        )
    if issubclass(kind, declared):
        return kind
    wider = {kind, declared} <= INTEGER_RANGES.keys() or (
        issubclass(declared, float) and issubclass(kind, int | float)
    )
    if wider or (kind is str and issubclass(declared, str)):
        return declared
    if kind in {ManagedObject, LocalizedFault} and issubclass(
        declared, ManagedObject | MethodFault
    ):
        return declared
    raise BadRequest(f"{where}.{element.name}: type {kind.__name__} is no {declared.__name__}")


def _reference(element: Element, declared: Kind, where: str) -> Any:
    """Return the reference to a managed object that an element holds.

    Raises:
        BadRequest: It names no managed type, or one that is none of the declared.
    """
    name = element.attributes.get("type")
    if name is None or element.children:
        raise BadRequest(f"{where}.{element.name} is a reference: it takes type='...' and an id")
    kind = lookup_type(VIM25, name.rpartition(":")[2])
    if kind is None or not issubclass(kind, ManagedObject):
        raise BadRequest(f"{where}.{element.name}: there is no managed type {clipped(name)}")
    if not issubclass(kind, declared):
        raise BadRequest(f"{where}.{element.name}: {name} is no {declared.__name__}")
    return reference(kind, element.text, element.attributes.get("serverGuid"))


def _data(element: Element, kind: Kind) -> Any:
    """Return a data object.

    Raises:
        BadRequest: A value is unknown, doubled, missing, or not of its type.
    """
    if not issubclass(kind, DataObject):
        raise BadRequest(f"{clipped(element.name)}: a value of type {kind.__name__} cannot be sent")
    where = wire_name(kind)[1]
    found = _values(element, _by_name(kind), where)
    _check_complete(found, data_fields(kind), since(kind), where)
    return make(kind, found)


def _fault(element: Element, declared: Kind, where: str) -> Any:
    """Return a fault, which travels within a wrapper that also holds its text.

    Raises:
        BadRequest: There is no fault in it, or not one of the declared type.
    """
    wrapper = _data(element, LocalizedFault)
    fault: Any = wrapper.fault
    if declared not in type(fault).__mro__:
        raise BadRequest(f"{where}.{element.name} holds no {declared.__name__}")
    fault.msg = wrapper.localizedMessage
    return fault
