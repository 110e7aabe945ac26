"""An emulated hypervisor: what is decided about VMs, and when; the bytes are the site's.

Datastores with a real allocator, VM snapshots with a computed stun, delta disks that have to be
consolidated under load, change tracking, offset tables, quiescing, mounted copies, hosts that crash,
the quirks that the field is known for, and what an administrator does with VMs, devices and files.
"""

from stuntdouble.hypervisor.administration import Administration
from stuntdouble.hypervisor.changes import changed_ranges
from stuntdouble.hypervisor.datastore import Datastore
from stuntdouble.hypervisor.files import DatastoreFiles, FileInfo, FileKind
from stuntdouble.hypervisor.hosts import HostSystem
from stuntdouble.hypervisor.hypervisor import ANSWERS, Hypervisor
from stuntdouble.hypervisor.inventory import Snapshot, Vm, VmDisk
from stuntdouble.hypervisor.local import LocalHypervisor
from stuntdouble.hypervisor.paging import Paging
from stuntdouble.hypervisor.parameters import DiskSpec, Parameters, QuiesceProfile
from stuntdouble.hypervisor.quirks import QUIRKS, Quirk, Quirks
from stuntdouble.hypervisor.storage import (
    Device,
    FoundExtent,
    HostStorage,
    UnresolvedVolume,
    Volume,
)
from stuntdouble.hypervisor.uploads import UPLOAD_BYTES_MAX

__all__ = [
    "ANSWERS",
    "QUIRKS",
    "UPLOAD_BYTES_MAX",
    "Administration",
    "Datastore",
    "DatastoreFiles",
    "Device",
    "DiskSpec",
    "FileInfo",
    "FileKind",
    "FoundExtent",
    "HostStorage",
    "HostSystem",
    "Hypervisor",
    "LocalHypervisor",
    "Paging",
    "Parameters",
    "QuiesceProfile",
    "Quirk",
    "Quirks",
    "Snapshot",
    "UnresolvedVolume",
    "Vm",
    "VmDisk",
    "Volume",
    "changed_ranges",
]
