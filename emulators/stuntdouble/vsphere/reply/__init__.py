"""A reply: from a value or a fault to the bytes of a SOAP message."""

from __future__ import annotations

from stuntdouble.vsphere.reply.areas import ChangedAreas
from stuntdouble.vsphere.reply.fragments import (
    object_content,
    property_xml,
    rendered,
    retrieve_result,
    value_xml,
)
from stuntdouble.vsphere.reply.messages import write_fault, write_reply
from stuntdouble.vsphere.reply.writer import Rendered

__all__ = [
    "ChangedAreas",
    "Rendered",
    "object_content",
    "property_xml",
    "rendered",
    "retrieve_result",
    "value_xml",
    "write_fault",
    "write_reply",
]
