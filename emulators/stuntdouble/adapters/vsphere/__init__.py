"""``ports.Hypervisor`` over the vSphere API, through pyVmomi.

Needs the extra ``vsphere``.  What the API does not say, where a disk lies on its LUNs, and what it
keeps for a proprietary transport, the bytes of a disk, comes from a ``SideChannel``.
"""

from stuntdouble.adapters.vsphere.connection import Connection, Patience
from stuntdouble.adapters.vsphere.hypervisor import SideChannel, VsphereHypervisor
from stuntdouble.adapters.vsphere.login import Server, options

__all__ = [
    "Connection",
    "Patience",
    "Server",
    "SideChannel",
    "VsphereHypervisor",
    "options",
]
