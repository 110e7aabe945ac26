"""Replies and faults as whole SOAP messages.

The header of each message declares the prefixes that ``xsi:type`` uses.  There is no ``versionId``
and no wrapper type that a client might not know: what is written here is read by clients that do
not share a line with pyVmomi.
"""

from __future__ import annotations

from types import NoneType
from typing import Any

from stuntdouble.errors import Bug
from stuntdouble.vsphere.reply.text import escaped
from stuntdouble.vsphere.reply.writer import Rendered, writer
from stuntdouble.vsphere.vmomi import (
    VIM25,
    XSD,
    XSI,
    Kind,
    Method,
    MethodFault,
    coerced,
    compatible,
    wire_name,
)

__all__ = ["write_fault", "write_reply"]

_OPENING = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    f'xmlns:xsd="{XSD}" xmlns:xsi="{XSI}">\n<soapenv:Body>\n'
)
_CLOSING = "\n</soapenv:Body>\n</soapenv:Envelope>"


def write_reply(info: Method, version: str, value: Any, declared: Kind | None = None) -> bytes:
    """Return the answer to a call that succeeded.

    Args:
        info: The method that was called.
        version: The version that the client speaks.
        value: What the method returns; None if nothing.
        declared: For a result of any type, the type that the value is declared as; ``Fetch``
            answers with the type of the property.

    Raises:
        Bug: The value is not of the type of the result, or a required field in it is unset.
    """
    return f"{_OPENING}{_answer(info, version, value, declared)}{_CLOSING}".encode()


def _answer(info: Method, version: str, value: Any, declared: Kind | None) -> str:
    """Return the element within the body."""
    name = info.name
    if value is None or info.result is NoneType:
        if value is not None or not (info.result is NoneType or info.result_optional):
            raise Bug(f"{name} cannot return {value!r:.80}")
        return f'<{name}Response xmlns="{VIM25}"></{name}Response>'
    if declared is not None and value.__class__ is not Rendered:
        value = coerced(value, declared)
    result: Any = info.result
    try:
        if issubclass(result, list):
            one = writer(version).element("returnval", result.Item)
            content = "".join([one(item) for item in value])
        else:
            content = writer(version).element("returnval", result)(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Bug(f"{name} cannot return {value!r:.200}") from error
    return f'<{name}Response xmlns="{VIM25}">{content}</{name}Response>'


def write_fault(version: str, fault: Any, text: str) -> bytes:
    """Return the answer to a call that failed.

    Args:
        version: The version that the client speaks.
        fault: The fault; its own text is not looked at.
        text: What a person should read; it stands in ``faultstring`` only.

    Raises:
        Bug: The fault is none, or a required field in it is unset.
    """
    if not isinstance(fault, MethodFault):
        raise Bug(f"{fault!r:.80} is no fault")
    known = compatible(fault.__class__, version)
    tag = wire_name(known)[1] + "Fault"
    detail = writer(version).bare_fault(tag, fault, object, f' xmlns="{VIM25}"')
    return (
        f"{_OPENING}<soapenv:Fault><faultcode>ServerFaultCode</faultcode>"
        f"<faultstring>{escaped(text)}</faultstring><detail>{detail}</detail></soapenv:Fault>{_CLOSING}"
    ).encode()
