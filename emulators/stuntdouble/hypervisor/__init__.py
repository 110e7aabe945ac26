"""An emulated hypervisor: what is decided about VMs, and when; the bytes are the site's.

Datastores with a real allocator, VM snapshots with a computed stun, delta disks that have to be
consolidated under load, change tracking, offset tables, quiescing, and mounted copies.
"""

from stuntdouble.hypervisor.datastore import Datastore
from stuntdouble.hypervisor.hypervisor import Hypervisor
from stuntdouble.hypervisor.inventory import Snapshot, Vm, VmDisk
from stuntdouble.hypervisor.local import LocalHypervisor
from stuntdouble.hypervisor.parameters import DiskSpec, Parameters, QuiesceProfile

__all__ = [
    "Datastore",
    "DiskSpec",
    "Hypervisor",
    "LocalHypervisor",
    "Parameters",
    "QuiesceProfile",
    "Snapshot",
    "Vm",
    "VmDisk",
]
