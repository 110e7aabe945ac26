"""What pyVmomi's own client sends and reads, without a socket."""

from __future__ import annotations

from typing import Any

from pyVmomi import VmomiSupport
from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapterBase

from stuntdouble.vsphere.versions import find_version

NEWEST = find_version("8.0.3.0")


class Stub(SoapStubAdapterBase):
    """A client of one version, for its two ends: the request it writes, the reply it reads."""

    requestContext = None  # asked for by the serializer

    def __init__(self, version: str = NEWEST) -> None:
        super().__init__(version)
        self.samlToken = None

    def request(self, this: Any, method: str, *arguments: Any) -> bytes:
        info = VmomiSupport.GetWsdlMethod("urn:vim25", method).info
        return self.SerializeRequest(this, info, arguments)

    def fetch(self, this: Any, name: str) -> bytes:
        prop = VmomiSupport.Object(name="prop", type=str, version=self.version, flags=0)
        info = VmomiSupport.Object(wsdlName="Fetch", version=self.version, params=(prop,))
        return self.SerializeRequest(this, info, (name,))

    def read(self, reply: bytes, kind: Any) -> Any:
        return SoapResponseDeserializer(self).Deserialize(reply, kind)


def envelope(inner: str, attributes: str = "") -> bytes:
    """Return a message around the content of its body."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xmlns:xsd="http://www.w3.org/2001/XMLSchema"{attributes}>'
        f"<e:Body>{inner}</e:Body></e:Envelope>"
    ).encode()


def same(left: Any, right: Any) -> bool:
    """Tell whether two values of vim25 are the same, in every field; pyVmomi does not."""
    if isinstance(left, list) or isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, VmomiSupport.DataObject):
        names = [row.name for row in left._GetPropertyList()]
        return type(left) is type(right) and all(
            same(getattr(left, name), getattr(right, name)) for name in names
        )
    if isinstance(left, VmomiSupport.ManagedObject):
        return left == right
    if isinstance(left, type):
        return left is right
    return left == right
