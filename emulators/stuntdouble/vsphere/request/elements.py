"""XML from the network, into a small tree: bounded in every way, and without a DTD.

A SOAP message may have neither document type nor processing instruction (SOAP 1.1, section 3), so
nothing of what makes XML dangerous is needed: no entity is ever declared, and none is expanded but
the five that every parser knows.  The limits bound the memory that one message may take, to some
60 MiB at worst; each is at least twice what the largest message of a known client needs.
"""

from __future__ import annotations

import codecs
from typing import NoReturn
from xml.parsers import expat

from stuntdouble.errors import Error
from stuntdouble.vsphere.vmomi import XSI, clipped

__all__ = ["BODY_BYTES_MAX", "BadRequest", "Element", "parse"]

BODY_BYTES_MAX = 8 << 20
"""A filter over 10,000 objects takes 2 MiB; extraConfig of a VM, 1 MiB of guest variables."""
DEPTH_MAX = 128
"""A disk with a backing chain of 32 levels, in a change, in a spec, in a body: 40."""
ELEMENTS_MAX = 100_000
"""A filter over 10,000 objects takes three elements each."""
ATTRIBUTES_MAX = 16
"""The envelope of a SOAP library declares up to eight namespaces; a reference has three."""
TEXT_CHARACTERS_MAX = 1 << 20
"""All guest variables of a VM together may take 1 MiB (KB 1014294), so one may."""
NAME_CHARACTERS_MAX = 256
"""The longest name of vim25 takes 75 characters, its namespace 9."""

_TYPE = XSI + " type"
_WIDE_MARKS = {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
_ENCODINGS = {"utf-8", "utf8", "us-ascii"}


class BadRequest(Error):  # noqa: N818 -- as in stuntdouble.errors
    """What came is no message of vim25.  Facts: what is wrong."""


class Element:
    """One element: its name, what it carries, and the type that ``xsi:type`` gives it.

    Attributes:
        tag: Namespace, blank, local name; the local name alone if it has no namespace.
        attributes: By name, as `tag` has it.
        kind: Namespace and name that ``xsi:type`` resolves to where it stands, or None.
        children: Elements within, in order.
        text: The characters within, if it has no children.
    """

    __slots__ = ("attributes", "children", "kind", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str], kind: tuple[str, str] | None) -> None:
        self.tag = tag
        self.attributes = attributes
        self.kind = kind
        self.children: list[Element] = []
        self.text = ""

    @property
    def name(self) -> str:
        """The local name."""
        return self.tag[self.tag.rfind(" ") + 1 :]

    @property
    def namespace(self) -> str:
        """The namespace, or nothing."""
        return self.tag.rpartition(" ")[0]


class _Builder:
    """Takes what expat reports, within the limits."""

    def __init__(self) -> None:
        self.root = Element("", {}, None)
        self._open = [self.root]
        self._prefixes: dict[str | None, list[str]] = {}
        self._declared = 0
        self._left = ELEMENTS_MAX
        self._pieces: list[str] = []
        self._characters = 0

    def declare(self, prefix: str | None, uri: str | None) -> None:
        """A namespace gets a prefix, within the element that starts next."""
        self._declared += 1
        if self._declared > ATTRIBUTES_MAX:
            raise BadRequest(f"an element declares more than {ATTRIBUTES_MAX} namespaces")
        self._prefixes.setdefault(prefix, []).append(uri or "")

    def undeclare(self, prefix: str | None) -> None:
        """The element that declared the prefix has ended."""
        stack = self._prefixes[prefix]
        stack.pop()
        if not stack:
            del self._prefixes[prefix]

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element starts."""
        stack = self._open
        self._declared = 0
        self._left -= 1
        if self._left < 0:
            raise BadRequest(f"more than {ELEMENTS_MAX} elements")
        if len(stack) > DEPTH_MAX:
            raise BadRequest(f"elements lie more than {DEPTH_MAX} deep")
        if len(tag) > NAME_CHARACTERS_MAX or len(attributes) > ATTRIBUTES_MAX:
            raise BadRequest(
                f"a name of more than {NAME_CHARACTERS_MAX} characters, "
                f"or more than {ATTRIBUTES_MAX} attributes"
            )
        kind = self._resolve(attributes[_TYPE]) if _TYPE in attributes else None
        made = Element(tag, attributes, kind)
        if self._pieces:
            self._no_mixture(stack[-1])
        stack[-1].children.append(made)
        stack.append(made)

    def end(self, _tag: str) -> None:
        """The innermost element ends."""
        element = self._open.pop()
        if self._pieces:
            if element.children:
                self._no_mixture(element)
            else:
                element.text = "".join(self._pieces)
                self._pieces.clear()

    def characters(self, text: str) -> None:
        """Characters of the innermost element; in pieces, if there are many."""
        if not self._pieces:
            self._characters = 0
        self._pieces.append(text)
        self._characters += len(text)
        if self._characters > TEXT_CHARACTERS_MAX:
            raise BadRequest(f"a value of more than {TEXT_CHARACTERS_MAX} characters")

    def _no_mixture(self, element: Element) -> None:
        """Drop the blanks between elements.

        Raises:
            BadRequest: They are more than blanks.
        """
        text = "".join(self._pieces).strip()
        self._pieces.clear()
        if text:
            raise BadRequest(f"{element.name} has text between its elements: {clipped(text)}")

    def _resolve(self, name: str) -> tuple[str, str]:
        """Return namespace and local name of a value that is a qualified name.

        Raises:
            BadRequest: Its prefix is bound to nothing.
        """
        prefix, colon, local = name.strip().rpartition(":")
        bound = self._prefixes.get(prefix if colon else None)
        if colon and not bound:
            raise BadRequest(f"the prefix of xsi:type {clipped(name)} is bound to no namespace")
        return (bound[-1] if bound else ""), local


def _no_type(*_ignored: object) -> NoReturn:
    raise BadRequest("a SOAP message has no document type and declares no entity")


def _no_instruction(*_ignored: object) -> NoReturn:
    raise BadRequest("a SOAP message has no processing instruction")


def _utf8_only(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in _ENCODINGS:
        raise BadRequest(f"the encoding is {clipped(encoding)}: UTF-8 is understood")


def parse(body: bytes) -> Element:
    """Return the outermost element of a message.

    Raises:
        BadRequest: It is not well-formed, not UTF-8, breaks a limit, or has a DTD.
    """
    if len(body) > BODY_BYTES_MAX:
        raise BadRequest(f"more than {BODY_BYTES_MAX} bytes")
    if body[:2] in _WIDE_MARKS or 0 in body[:4]:  # expat would follow them
        raise BadRequest("characters of more than one byte each: UTF-8 is understood")
    builder = _Builder()
    parser = expat.ParserCreate("UTF-8", " ")  # this, and no declaration, says the encoding
    parser.buffer_text = True
    parser.StartNamespaceDeclHandler = builder.declare
    parser.EndNamespaceDeclHandler = builder.undeclare
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.XmlDeclHandler = _utf8_only
    parser.StartDoctypeDeclHandler = _no_type
    parser.EntityDeclHandler = _no_type
    parser.ProcessingInstructionHandler = _no_instruction
    try:
        parser.Parse(body, True)  # noqa: FBT003 -- expat takes it by position only
    except expat.ExpatError as error:
        raise BadRequest(f"not well-formed XML: {error}") from None
    return builder.root.children[0]
