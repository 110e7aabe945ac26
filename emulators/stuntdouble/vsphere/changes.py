"""QueryChangedDiskAreas: the page of a disk's changed areas, or the fault that tells why there is none.

    tracking disabled or not active                 FileFault  vim.hostd.vmsvc.cbt.noTrack
    no epoch for changeId ``*``                     FileFault  vim.hostd.vmsvc.cbt.noEpoch
    mismatch of the changeId, or a corrupt file     FileFault  vim.hostd.vmsvc.cbt.cannotGetChanges
    tracking file missing, disk locked              FileFault  another
    offset past the end, malformed changeId, key    InvalidArgument, invalidProperty names it

Clients in production tell faults apart by these keys.  ``length`` is how far an answer reaches; the
next call begins there, also where the page was empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble import errors
from stuntdouble.hypervisor import changed_ranges
from stuntdouble.vsphere.faults import file_fault, invalid_argument
from stuntdouble.vsphere.hardware import descriptor_of
from stuntdouble.vsphere.reply import ChangedAreas
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from stuntdouble.hypervisor import Snapshot, Vm
    from stuntdouble.vsphere.center import VirtualCenter

_KEYS: Final[dict[type[errors.Error], str]] = {
    errors.TrackingInactive: "vim.hostd.vmsvc.cbt.noTrack",
    errors.EpochUnknown: "vim.hostd.vmsvc.cbt.noEpoch",
    errors.ChangeHistoryLost: "vim.hostd.vmsvc.cbt.cannotGetChanges",
    errors.InvalidState: "vim.hostd.vmsvc.cbt.cannotGetChanges",  # an id of a later snapshot
}


def changed_areas(
    center: VirtualCenter, vm: Vm, snapshot: Snapshot | None, key: int, start: int, since: str
) -> Any:
    """Return a DiskChangeInfo: areas written from changeId *since* to *snapshot*."""
    if key not in vm.disks:
        raise invalid_argument("deviceKey")
    disk = vm.disks[key]
    file = f"[{disk.datastore.name}] {descriptor_of(disk.disk.head.file.name)}"
    if not 0 <= start < disk.spec.capacity_bytes:
        raise invalid_argument("startOffset")
    try:
        frozen = snapshot.id if snapshot is not None else None
        page = changed_ranges(center.hypervisor, vm, key, since, frozen, start)
    except (errors.InvalidArgument, errors.UnknownDisk, errors.DiskNotTrackable) as error:
        raise invalid_argument(_argument(error), str(error)) from None
    except errors.Refused as error:
        raise file_fault(file, _message_key(error), str(error)) from None
    return vim.VirtualMachine.DiskChangeInfo(
        startOffset=start,
        length=page.covered,
        changedArea=ChangedAreas(page.extents.starts, page.extents.lengths),
    )


def _argument(error: errors.Error) -> str:
    if isinstance(error, errors.InvalidArgument):
        return str(error.args[0])
    return "deviceKey"


def _message_key(error: errors.Error) -> str:
    for kind, key in _KEYS.items():
        if isinstance(error, kind):
            return key
    return "msg.fileio.generic"  # a locked file is none of these
