"""What vim25 is made of, as pyVmomi's tables tell it: types, fields, methods, versions.

pyVmomi is a client.  That a server may be built of its tables is nowhere promised, so this is the
only place that knows the parts of it which are not its public face; the rest of vsphere sees
:class:`Field`, :class:`Method` and a few questions.  Both newest major versions are tested.

What the tables do not say, and what is added here:

* ``Fetch`` reads one property of a managed object.  pyVmomi's client sends it for every property
  access, and no WSDL has it.
* pyVmomi's client widens types in its tables of *properties* while it reads them
  (``StubAdapterAccessorImpl``).  Client and server may share a process, so properties are taken
  from the definitions, which stay as they are.
"""

from __future__ import annotations

from stuntdouble.vsphere.vmomi.scalars import INTEGER_RANGES, clipped, reader
from stuntdouble.vsphere.vmomi.tables import (
    VIM25,
    XSD,
    XSI,
    DataObject,
    Field,
    Kind,
    LocalizedFault,
    ManagedMethod,
    ManagedObject,
    Method,
    MethodFault,
    compatible,
    data_fields,
    knows,
    lookup_method,
    lookup_type,
    managed_properties,
    reference,
    since,
    support,
    type_name,
    vim,
    vmodl,
    wire_name,
)
from stuntdouble.vsphere.vmomi.values import coerced, fill, make, moid, new, server_guid

__all__ = [
    "INTEGER_RANGES",
    "VIM25",
    "XSD",
    "XSI",
    "DataObject",
    "Field",
    "Kind",
    "LocalizedFault",
    "ManagedMethod",
    "ManagedObject",
    "Method",
    "MethodFault",
    "clipped",
    "coerced",
    "compatible",
    "data_fields",
    "fill",
    "knows",
    "lookup_method",
    "lookup_type",
    "make",
    "managed_properties",
    "moid",
    "new",
    "reader",
    "reference",
    "server_guid",
    "since",
    "support",
    "type_name",
    "vim",
    "vmodl",
    "wire_name",
]
