"""A SCSI device server: disks over anything that has bytes (SAM-5, SPC-4, SBC-3).

It knows no array and no network.  ``Unit`` and ``LunMap`` say what is served, and to whom; a
transport says who asks (``Nexus``), and carries CDB, data and ``Answer``.
"""

from stuntdouble.scsi.answers import Answer, Direction, Nexus, Transfer
from stuntdouble.scsi.faults import Armed, FaultyDeviceServer
from stuntdouble.scsi.lun import LUN_MAX, pack_lun, unpack_lun
from stuntdouble.scsi.memory import MemoryLuns, MemoryUnit
from stuntdouble.scsi.plans import FaultKind, FaultPlan
from stuntdouble.scsi.sense import Key, Sense, Status
from stuntdouble.scsi.server import DeviceServer
from stuntdouble.scsi.units import LunMap, Run, Unit

__all__ = [
    "LUN_MAX",
    "Answer",
    "Armed",
    "DeviceServer",
    "Direction",
    "FaultKind",
    "FaultPlan",
    "FaultyDeviceServer",
    "Key",
    "LunMap",
    "MemoryLuns",
    "MemoryUnit",
    "Nexus",
    "Run",
    "Sense",
    "Status",
    "Transfer",
    "Unit",
    "pack_lun",
    "unpack_lun",
]
