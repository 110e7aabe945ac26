"""A request: from the bytes of a SOAP message to a method and its arguments."""

from __future__ import annotations

from stuntdouble.vsphere.request.call import Call, UnknownMethod, parse_call
from stuntdouble.vsphere.request.elements import BODY_BYTES_MAX, BadRequest

__all__ = ["BODY_BYTES_MAX", "BadRequest", "Call", "UnknownMethod", "parse_call"]
