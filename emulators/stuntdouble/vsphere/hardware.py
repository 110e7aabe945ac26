"""Virtual hardware: the devices of a VM, and the chains of files behind its disks."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.ports import Provisioning
from stuntdouble.units import KIB
from stuntdouble.vsphere.vmomi import fill, new, vim

if TYPE_CHECKING:
    from stuntdouble.hypervisor import Vm, VmDisk
    from stuntdouble.site import Level
    from stuntdouble.vsphere.center import VirtualCenter

_D: Final = vim.vm.device
_DISK: Final = _D.VirtualDisk

SCSI_KEY: Final = 1000
"""Device keys that vSphere gives: SCSI controllers from 1000, disks from 2000, cards from 4000."""
DISK_KEY: Final = 2000
CARD_KEY: Final = 4000
UNITS: Final = 16
"""Unit numbers of a SCSI controller, of which 7 is its own."""
OWN_UNIT: Final = 7
SE_GRAIN_SECTORS: Final = 8
"""An SEsparse delta has grains of 4 KiB; a VMFSsparse one counts single sectors."""


def descriptor_of(file_name: str) -> str:
    """Return the name of the descriptor of an extent: what clients see as the file of a disk."""
    for suffix in ("-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk"):
        if file_name.endswith(suffix):
            return file_name.removesuffix(suffix) + ".vmdk"
    return file_name


def devices(center: VirtualCenter, vm: Vm, frozen: dict[int, Level] | None = None) -> list[Any]:
    """Return the devices of a VM: as they are, or as a snapshot keeps its disks.

    Args:
        center: gives the references to datastores and networks.
        vm: the VM.
        frozen: per disk key the level that a snapshot froze; disks without one are as they are.
    """
    disks = list(vm.disks.values())
    made = list(_fixed())
    made += [_scsi(number, disks) for number in sorted({bus_of(disk.key)[0] for disk in disks})]
    made += [virtual_disk(center, vm, disk, (frozen or {}).get(disk.key)) for disk in disks]
    made.append(_card(center, vm))
    return made


def _named(label: str, summary: str = "") -> Any:
    return new(vim.Description, label=label, summary=summary or label)


@cache
def _fixed() -> tuple[Any, ...]:
    """Return what every VM has: its buses, and a keyboard, a mouse and a screen.

    Nobody changes them, so all VMs show the same ones.
    """
    found = (
        _D.VirtualIDEController(key=200, deviceInfo=_named("IDE 0"), busNumber=0, device=[]),
        _D.VirtualPS2Controller(
            key=300, deviceInfo=_named("PS2 controller 0"), busNumber=0, device=[600, 700]
        ),
        _D.VirtualPCIController(
            key=100, deviceInfo=_named("PCI controller 0"), busNumber=0, device=[500, 1000, 4000]
        ),
        _D.VirtualSIOController(
            key=400, deviceInfo=_named("SIO controller 0"), busNumber=0, device=[]
        ),
        _D.VirtualKeyboard(key=600, deviceInfo=_named("Keyboard"), controllerKey=300, unitNumber=0),
        _D.VirtualPointingDevice(
            key=700,
            deviceInfo=_named("Pointing device"),
            controllerKey=300,
            unitNumber=1,
            backing=_D.VirtualPointingDevice.DeviceBackingInfo(
                deviceName="", useAutoDetect=False, hostPointingDevice="autodetect"
            ),
        ),
        _D.VirtualVideoCard(
            key=500,
            deviceInfo=_named("Video card "),
            controllerKey=100,
            unitNumber=0,
            videoRamSizeInKB=4096,
            numDisplays=1,
        ),
    )
    return tuple(map(fill, found))


def bus_of(key: int) -> tuple[int, int]:
    """Return the number of a disk's controller, and the disk's unit number on it."""
    controller, unit = divmod(key - DISK_KEY, UNITS - 1)
    return controller, unit + (unit >= OWN_UNIT)


def _scsi(number: int, disks: list[VmDisk]) -> Any:
    return new(
        _D.ParaVirtualSCSIController,
        key=SCSI_KEY + number,
        deviceInfo=_named(f"SCSI controller {number}", "VMware paravirtual SCSI"),
        controllerKey=100,
        unitNumber=3 + number,
        busNumber=number,
        device=[disk.key for disk in disks if bus_of(disk.key)[0] == number],
        hotAddRemove=True,
        sharedBus="noSharing",
        scsiCtlrUnitNumber=OWN_UNIT,
    )


def _card(center: VirtualCenter, vm: Vm) -> Any:
    network = center.roots.network
    digits = center.uuid("mac", vm.uuid).replace("-", "")
    # 00:50:56, with a last half up to 3f:ff:ff, is the range for addresses set by vCenter.
    tail = [int(digits[i : i + 2], 16) for i in (0, 2, 4)]
    address = f"00:50:56:{tail[0] & 0x3F:02x}:{tail[1]:02x}:{tail[2]:02x}"
    return new(
        _D.VirtualVmxnet3,
        key=CARD_KEY,
        deviceInfo=_named("Network adapter 1", network.label()),
        backing=new(
            _D.VirtualEthernetCard.NetworkBackingInfo,
            deviceName=network.label(),
            network=network.ref,
            useAutoDetect=False,
        ),
        connectable=new(
            _D.VirtualDevice.ConnectInfo,
            startConnected=True,
            allowGuestControl=True,
            connected=vm.powered_on,
            status="ok" if vm.powered_on else "untried",
        ),
        controllerKey=100,
        unitNumber=7,
        addressType="assigned",
        macAddress=address,
        wakeOnLanEnabled=True,
    )


def virtual_disk(center: VirtualCenter, vm: Vm, disk: VmDisk, level: Level | None = None) -> Any:
    """Return a virtual disk as clients see it, with the whole chain of its backings."""
    controller, unit = bus_of(disk.key)
    size = disk.spec.capacity_bytes
    return new(
        _DISK,
        key=disk.key,
        deviceInfo=_named(f"Hard disk {disk.key - DISK_KEY + 1}", f"{size // KIB:,} KB"),
        backing=_backing(center, vm, disk, level or disk.disk.head),
        controllerKey=SCSI_KEY + controller,
        unitNumber=unit,
        capacityInKB=size // KIB,
        capacityInBytes=size,
        shares=new(vim.SharesInfo, shares=1000, level="normal"),
        diskObjectId=f"{center.uuid('disk', vm.uuid).split('-')[0]}-{disk.key}",
        nativeUnmanagedLinkedClone=False,
    )


def _backing(center: VirtualCenter, vm: Vm, disk: VmDisk, level: Level) -> Any:
    name = f"[{disk.datastore.name}] {descriptor_of(level.file.name)}"
    store = center.roots.datastore(disk.datastore.name)
    uuid = center.uuid("disk", vm.uuid, str(disk.key))
    if disk.spec.mode == "raw":
        return new(
            _DISK.RawDiskMappingVer1BackingInfo,
            fileName=name,
            datastore=store.ref if store else None,
            compatibilityMode="physicalMode",
            diskMode="independent_persistent",
            lunUuid=uuid.replace("-", ""),
            deviceName=f"vml.{uuid.replace('-', '')}",
            uuid=uuid,
        )
    delta = level.parent is not None
    sparse = level.file.name.endswith("-sesparse.vmdk")
    return new(
        _DISK.FlatVer2BackingInfo,
        fileName=name,
        datastore=store.ref if store else None,
        diskMode="independent_persistent" if disk.spec.mode == "independent" else "persistent",
        split=False,
        writeThrough=False,
        thinProvisioned=disk.spec.provisioning is Provisioning.THIN,
        eagerlyScrub=disk.spec.provisioning is Provisioning.EAGER_ZEROED or None,
        uuid=uuid,
        contentId=content_id(center, vm, disk, level),
        changeId=change_id(vm, disk, level),
        parent=_backing(center, vm, disk, level.parent) if level.parent is not None else None,
        deltaDiskFormat=("seSparseFormat" if sparse else "redoLogFormat") if delta else None,
        deltaGrainSize=(SE_GRAIN_SECTORS if sparse else 1) if delta else None,
        digestEnabled=False,
        sharing="sharingMultiWriter" if disk.spec.mode == "multi-writer" else "sharingNone",
    )


def content_id(center: VirtualCenter, vm: Vm, disk: VmDisk, level: Level) -> str:
    """Return what tells one content of a disk from another, as far as snapshots tell them apart.

    What a snapshot froze keeps its identifier; the head has another after each snapshot and each
    start of the VM, as a descriptor's CID changes with the first write after it was opened.
    """
    frozen = [s.id for s in vm.snapshots if s.frozen.get(disk.key) is level]
    state = frozen[-1] if frozen else f"{vm.last_number}/{vm.booted_at}/{level.file.number}"
    return center.uuid("content", vm.uuid, str(disk.key), state).replace("-", "")


def change_id(vm: Vm, disk: VmDisk, level: Level) -> str | None:
    """Return the changeId of the instant in which a level was frozen; of the head, the latest."""
    if not disk.tracker.active:
        return None
    if level is disk.disk.head:
        return disk.tracker.change_id or None
    ids = [s.change_ids.get(disk.key, "") for s in vm.snapshots if s.frozen.get(disk.key) is level]
    known = ids[-1] if ids else disk.sealed.get(level, "")
    state = disk.tracker.change_id.partition("/")[0]
    return known if known.startswith(f"{state}/") else None  # of a tracking state that is gone
