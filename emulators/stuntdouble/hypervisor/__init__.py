"""An emulated hypervisor: what is decided about VMs, and when; the bytes are the site's.

Datastores with a real allocator, VM snapshots with a computed stun, delta disks that have to be
consolidated under load, change tracking, offset tables, quiescing, mounted copies, and what an
administrator does with VMs, devices and files.
"""

from stuntdouble.hypervisor.administration import Administration
from stuntdouble.hypervisor.datastore import Datastore
from stuntdouble.hypervisor.files import DatastoreFiles, FileInfo, FileKind
from stuntdouble.hypervisor.hypervisor import Hypervisor
from stuntdouble.hypervisor.inventory import Snapshot, Vm, VmDisk
from stuntdouble.hypervisor.local import LocalHypervisor
from stuntdouble.hypervisor.parameters import DiskSpec, Parameters, QuiesceProfile
from stuntdouble.hypervisor.storage import (
    Device,
    FoundExtent,
    HostStorage,
    UnresolvedVolume,
    Volume,
)

__all__ = [
    "Administration",
    "Datastore",
    "DatastoreFiles",
    "Device",
    "DiskSpec",
    "FileInfo",
    "FileKind",
    "FoundExtent",
    "HostStorage",
    "Hypervisor",
    "LocalHypervisor",
    "Parameters",
    "QuiesceProfile",
    "Snapshot",
    "UnresolvedVolume",
    "Vm",
    "VmDisk",
    "Volume",
]
