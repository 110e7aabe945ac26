"""An emulated hypervisor: what is decided about VMs, and when; the bytes are the site's.

Datastores with a real allocator, VM snapshots with a computed stun, delta disks that have to be
consolidated under load, change tracking, offset tables, quiescing, mounted copies, hosts that crash,
and the quirks that the field is known for.
"""

from stuntdouble.hypervisor.changes import changed_ranges
from stuntdouble.hypervisor.datastore import Datastore
from stuntdouble.hypervisor.hosts import HostSystem
from stuntdouble.hypervisor.hypervisor import ANSWERS, Hypervisor
from stuntdouble.hypervisor.inventory import Snapshot, Vm, VmDisk
from stuntdouble.hypervisor.local import LocalHypervisor
from stuntdouble.hypervisor.paging import Paging
from stuntdouble.hypervisor.parameters import DiskSpec, Parameters, QuiesceProfile
from stuntdouble.hypervisor.quirks import QUIRKS, Quirk, Quirks

__all__ = [
    "ANSWERS",
    "QUIRKS",
    "Datastore",
    "DiskSpec",
    "HostSystem",
    "Hypervisor",
    "LocalHypervisor",
    "Paging",
    "Parameters",
    "QuiesceProfile",
    "Quirk",
    "Quirks",
    "Snapshot",
    "Vm",
    "VmDisk",
    "changed_ranges",
]
