"""The emulated storage array: policy over the site's mechanisms, with no byte of its own.

Pools of devices, volumes, copy-on-write and redirect-on-write snapshots, split mirrors, consistency
groups, promotion, physical copies, reverts, lifetimes, hosts and masking, reserve exhaustion and
space reclaim; and the faults a scenario may ask for.
"""

from stuntdouble.array.device import LocalInitiator, LocalLun
from stuntdouble.array.hosts import Chap, Host, Hosts
from stuntdouble.array.local import LocalArray
from stuntdouble.array.masking import HostMapping
from stuntdouble.array.mirror import Mirror
from stuntdouble.array.parameters import (
    CopyPolicy,
    Exhaustion,
    Parameters,
    PoolSpec,
    SnapshotKind,
)
from stuntdouble.array.pool import Pool, StationEngine
from stuntdouble.array.system import Array
from stuntdouble.array.task import Task
from stuntdouble.array.volume import Snapshot, Volume
from stuntdouble.site import DamageMode

__all__ = [
    "Array",
    "Chap",
    "CopyPolicy",
    "DamageMode",
    "Exhaustion",
    "Host",
    "HostMapping",
    "Hosts",
    "LocalArray",
    "LocalInitiator",
    "LocalLun",
    "Mirror",
    "Parameters",
    "Pool",
    "PoolSpec",
    "Snapshot",
    "SnapshotKind",
    "StationEngine",
    "Task",
    "Volume",
]
