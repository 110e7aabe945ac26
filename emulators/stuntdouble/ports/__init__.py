"""The seams between a backup server and what it backs up: Protocols, requests and replies.

A test double, an emulator reached in process, and an adapter for a vendor's API all satisfy the
same protocols; nothing above this floor knows which of them it talks to.
"""

from stuntdouble.ports.array import Array, ArraySnapshot, Initiator, Mapping, VolumeInfo
from stuntdouble.ports.device import BlockDevice, Span
from stuntdouble.ports.hypervisor import (
    ALL_ALLOCATED,
    ChangedPage,
    Consistency,
    DiskInfo,
    Hypervisor,
    Provisioning,
    Transport,
    VmInfo,
    VmSnapshot,
)
from stuntdouble.ports.repository import DiskPoint, Draft, Kind, Repository, RestorePoint
from stuntdouble.ports.throttle import Share, Throttle

__all__ = [
    "ALL_ALLOCATED",
    "Array",
    "ArraySnapshot",
    "BlockDevice",
    "ChangedPage",
    "Consistency",
    "DiskInfo",
    "DiskPoint",
    "Draft",
    "Hypervisor",
    "Initiator",
    "Kind",
    "Mapping",
    "Provisioning",
    "Repository",
    "RestorePoint",
    "Share",
    "Span",
    "Throttle",
    "Transport",
    "VmInfo",
    "VmSnapshot",
    "VolumeInfo",
]
