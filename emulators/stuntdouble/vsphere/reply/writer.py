"""Values to XML, for clients of one version.

How a type is written is worked out once for each type and version and kept: which fields a client
of that version knows, in what order, under what tags.  What is left to do for a value is to look at
the fields that it holds.  A type that the client does not know is written as the nearest base that
it does know, without the fields that it would not understand.

Where the type of a value is not the declared one, ``xsi:type`` says it:

    <backing xsi:type="VirtualDiskFlatVer2BackingInfo">...</backing>
    <val xsi:type="xsd:long">17</val>
    <val xsi:type="ManagedObjectReference" type="VirtualMachine">vm-1</val>
    <val xsi:type="ArrayOfString"><string>a</string><string>b</string></val>
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from stuntdouble.errors import Bug
from stuntdouble.vsphere.reply.text import escaped, text_of
from stuntdouble.vsphere.vmomi import (
    INTEGER_RANGES,
    XSD,
    DataObject,
    Field,
    Kind,
    LocalizedFault,
    ManagedObject,
    MethodFault,
    compatible,
    data_fields,
    knows,
    server_guid,
    support,
    type_name,
    wire_name,
)

__all__ = ["Rendered", "Write", "Writer", "writer"]

Write = Callable[[Any], str]
"""From a value to its element, tags included; to several elements, for a list."""

_INT_MIN, _INT_MAX = INTEGER_RANGES[int]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A value that has been written already: it stands wherever the value itself may.

    Attributes:
        content: What is between the tags.
        kind: Type of the value, as a client of `version` knows it; a list type for a list.
        version: For which clients it was written.
    """

    content: str
    kind: Kind
    version: str


# pyVmomi's data objects take as a value of any type only what looks like one of its own.
Rendered._wsdlName = "Rendered"  # type: ignore[attr-defined]  # noqa: SLF001
Rendered._version = support.BASE_VERSION  # type: ignore[attr-defined]  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class _Row:
    """How one field is written."""

    name: str
    write: Write
    required: bool


class Writer:
    """Writes values for clients of one version."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._rows: dict[Kind, tuple[_Row, ...]] = {}
        self._elements: dict[tuple[str, Kind], Write] = {}

    def content(self, value: Any) -> str:
        """Return what is between the tags of a data object.

        Raises:
            Bug: A required field is unset, or a value is not of its declared type.
        """
        kind = value.__class__
        rows = self._rows.get(kind) or self._work_out(kind)
        held = value.__dict__
        parts = []
        for row in rows:
            found = held.get(row.name)
            if found is not None:
                try:
                    parts.append(row.write(found))
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise Bug(f"{kind.__name__}.{row.name} cannot hold {found!r:.200}") from error
            elif row.required:
                raise Bug(f"{kind.__name__}.{row.name} is required and unset")
        return "".join(parts)

    def _work_out(self, kind: Kind) -> tuple[_Row, ...]:
        """Return, and keep, how the fields of a data object are written."""
        rows = self._rows[kind] = tuple(
            _Row(field.name, self._field(field), not field.optional)
            for field in data_fields(compatible(kind, self.version))
            if knows(self.version, field.since)
        )
        return rows

    def _field(self, field: Field) -> Write:
        """Return what writes a field: one element, or one for each item of a list."""
        one = self.element(field.name, field.item)
        if not field.is_list:
            return one
        name = field.name

        def write(values: Any) -> str:
            if values.__class__ is Rendered:
                raise Bug(f"{name} is a list: its items may have been written, not the list")
            elements = getattr(values, "elements", None)
            if elements is not None:
                written: str = elements(name)
                return written
            return "".join([one(item) for item in values])

        return write

    def element(self, tag: str, declared: Kind) -> Write:
        """Return what writes a value of a declared type as one element."""
        key = (tag, declared)
        if key not in self._elements:
            self._elements[key] = self._element(tag, declared)
        return self._elements[key]

    def _element(self, tag: str, declared: Any) -> Write:
        if declared is object or issubclass(declared, DataObject | ManagedObject):
            return self._by_class(tag, declared)
        return _tagged(f"<{tag}>", text_of(declared), f"</{tag}>")

    def _by_class(self, tag: str, declared: Kind) -> Write:
        """Return what writes a value by its class, and keeps for each class how."""
        known: dict[type, Write] = {}

        def write(value: Any) -> str:
            found = known.get(value.__class__)
            if found is None:
                if value.__class__ is Rendered:
                    return self._rendered(value, tag, declared)
                kind = type if isinstance(value, type) else value.__class__
                found = known[value.__class__] = self._of_class(tag, declared, kind)
            return found(value)

        if declared is object:
            known[int] = self._small_integer(tag, write)
        return write

    def _small_integer(self, tag: str, write: Write) -> Write:
        """Return what writes a plain int of any type: as an int, or if it is large as a long."""
        small = self._of_class(tag, object, int)

        def plain(value: int) -> str:
            fits = _INT_MIN <= value <= _INT_MAX
            return small(value) if fits else write(support.long(value))

        return plain

    def _of_class(self, tag: str, declared: Kind, kind: Any) -> Write:
        """Return what writes the values of one class.

        Raises:
            Bug: The class is none of the declared type.
        """
        if not issubclass(kind, declared):
            raise TypeError(f"{kind.__name__} is no {declared.__name__}")
        if issubclass(kind, MethodFault):
            return self._fault(tag, declared, kind)
        if issubclass(kind, DataObject):
            opening = f"<{tag}{self._type_attribute(kind, declared)}>"
            return _tagged(opening, self.content, f"</{tag}>")
        if issubclass(kind, ManagedObject):
            return self._managed(tag, declared, kind)
        if issubclass(kind, list):
            return self._list(tag, kind)
        opening = f"<{tag}{self._type_attribute(kind, declared)}>"
        return _tagged(opening, text_of(kind), f"</{tag}>")

    def _type_attribute(self, kind: Kind, declared: Kind) -> str:
        """Return the attribute that names a type, or nothing if it is the declared one."""
        known = compatible(kind, self.version)
        if known is declared:
            return ""
        namespace, name = wire_name(known)
        return f' xsi:type="{"xsd:" if namespace == XSD else ""}{name}"'

    def _managed(self, tag: str, declared: Kind, kind: Kind) -> Write:
        """Return what writes a reference to a managed object."""
        known = compatible(kind, self.version)
        any_type = self._type_attribute(ManagedObject, object) if declared is object else ""
        name = type_name(known)
        text = text_of(kind)
        assert text is not None, kind

        def write(value: Any) -> str:
            guid = server_guid(value)
            of = f' serverGuid="{escaped(guid)}"' if guid else ""
            return f'<{tag}{any_type}{of} type="{name}">{text(value)}</{tag}>'

        return write

    def _list(self, tag: str, kind: Kind) -> Write:
        """Return what writes a list where any type may stand.

        Raises:
            Bug: It is a plain list, which does not say what it is a list of.
        """
        of: Any = kind
        if kind is list:
            raise TypeError("a plain list does not say of what type its items are")
        item: Any = compatible(of.Item, self.version)
        namespace, name = wire_name(ManagedObject if issubclass(of.Item, ManagedObject) else item)
        one = self.element("string" if (namespace, name) == (XSD, "string") else name, item)
        whole = wire_name(item.Array if hasattr(item, "Array") else kind)[1]

        def write(values: Any) -> str:
            items = "".join([one(value) for value in values])
            return f'<{tag} xsi:type="{whole}">{items}</{tag}>'

        return write

    def _fault(self, tag: str, declared: Kind, kind: Kind) -> Write:
        """Return what writes a fault in its wrapper, which also holds its text."""
        attribute = self._type_attribute(LocalizedFault, object) if declared is object else ""
        if kind is LocalizedFault:
            return _tagged(f"<{tag}{attribute}>", self._wrapper, f"</{tag}>")

        def wrapped(value: Any) -> str:
            inner = self.bare_fault("fault", value, MethodFault)
            text = f"<localizedMessage>{escaped(value.msg)}</localizedMessage>" if value.msg else ""
            return f"<{tag}{attribute}>{inner}{text}</{tag}>"

        return wrapped

    def _wrapper(self, value: Any) -> str:
        """Return what is between the tags of a wrapper that is at hand."""
        text = value.localizedMessage
        said = f"<localizedMessage>{escaped(text)}</localizedMessage>" if text else ""
        return self.bare_fault("fault", value.fault, MethodFault) + said

    def bare_fault(self, tag: str, value: Any, declared: Kind, attributes: str = "") -> str:
        """Return a fault without its wrapper and its text."""
        of = self._type_attribute(value.__class__, declared)
        return f"<{tag}{attributes}{of}>{self.content(value)}</{tag}>"

    def _rendered(self, value: Rendered, tag: str, declared: Kind) -> str:
        """Return the element of a value that has been written already.

        Raises:
            Bug: It was written for clients of another version.
        """
        if value.version != self.version:
            raise Bug(f"<{tag}> was written for {value.version}, the client speaks {self.version}")
        of = self._type_attribute(value.kind, declared)
        return f"<{tag}{of}>{value.content}</{tag}>"


def _tagged(opening: str, text: Write | None, closing: str) -> Write:
    """Return what puts a text between tags."""
    if text is None:
        raise TypeError(f"{opening}: there is no text for a value of this type")
    return lambda value: f"{opening}{text(value)}{closing}"


@cache
def writer(version: str) -> Writer:
    """Return the writer for clients of a version."""
    return Writer(version)
