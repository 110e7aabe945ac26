"""VMs that come into the inventory: created from a specification, or registered from a datastore."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.hypervisor import DiskSpec
from stuntdouble.ports import Provisioning
from stuntdouble.units import KIB
from stuntdouble.vsphere.faults import invalid_argument, not_supported
from stuntdouble.vsphere.vmomi import vim

if TYPE_CHECKING:
    from stuntdouble.hypervisor import Vm
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.inventory import Folder
    from stuntdouble.vsphere.sessions import Session

_PATH: Final = re.compile(r"\[([^\]]+)\]\s*(.*)")
_DISK: Final = vim.vm.device.VirtualDisk


def split_path(path: str, argument: str) -> tuple[str, str]:
    """Return the datastore and the rest of a path such as ``[datastore1] vm/vm.vmx``.

    Raises:
        vim.fault.InvalidDatastorePath: it is none.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise vim.fault.InvalidDatastorePath(
            datastorePath=path, msg=f"{argument}: {path!r} is not of the form [datastore] path"
        )
    return match[1], match[2]


class Creation:
    """Creates and registers VMs for a folder."""

    def __init__(self, center: VirtualCenter) -> None:
        self._center = center

    def create(self, folder: Folder, session: Session, config: Any) -> Any:
        """Create a powered-off VM with the disks of a specification; return the task."""
        del session
        if not config.name:
            raise vim.fault.InvalidName(name=config.name or "", entity=folder.ref)
        if config.name in self._center.hypervisor.vms:
            raise vim.fault.DuplicateName(name=config.name, object=folder.ref)
        home, _rest = split_path(_place(config), "config.files.vmPathName")
        disks = [
            self._disk(index, change, home) for index, change in enumerate(config.deviceChange)
        ]
        specs = [spec for spec in disks if spec is not None]
        model = self._center.hypervisor.create_vm(config.name, specs)
        return self._center.tasks.start(folder, "CreateVM_Task", model, self._told)

    def _told(self, vm: Vm) -> Any:
        self._center.changes.regroup()
        made = self._center.roots.vm(vm.name)
        return made.ref if made else None

    def _disk(self, index: int, change: Any, home: str) -> DiskSpec | None:
        device = change.device
        if change.operation != "add":
            raise vim.fault.InvalidDeviceSpec(
                deviceIndex=index, property=f"deviceChange[{index}].operation"
            )
        if not isinstance(device, _DISK):
            return None  # every VM has the same other devices, whatever is asked for
        backing = device.backing
        if change.fileOperation != "create" or not isinstance(backing, _DISK.FlatVer2BackingInfo):
            raise not_supported("adding a disk that is not created as a flat file")
        path = backing.fileName or f"[{home}]"
        store, _rest = split_path(path, "backing.fileName") if path else (home, "")
        size = device.capacityInBytes or device.capacityInKB * KIB
        independent = (backing.diskMode or "").startswith("independent")
        return DiskSpec(
            key=device.key if device.key >= 2000 else 2000 + index,
            capacity_bytes=size,
            provisioning=_provisioning(backing),
            datastore=store,
            mode="independent" if independent else "dependent",
        )

    def register(self, folder: Folder, session: Session, path: str, name: str | None) -> Any:
        """Register the VM whose configuration lies at a path; return the task."""
        del session
        store, vmx = split_path(path, "path")
        if self._center.roots.datastore(store) is None:
            raise vim.fault.InvalidDatastore(name=store)
        stem = vmx.rpartition("/")[2]
        if not stem.endswith(".vmx"):
            raise vim.fault.InvalidDatastorePath(datastorePath=path)
        if name is not None and name in self._center.hypervisor.vms:
            raise vim.fault.AlreadyExists(name=name)
        model = self._center.hypervisor.admin.register(store, vmx, name or "")
        return self._center.tasks.start(folder, "RegisterVM_Task", model, self._told)


def _place(config: Any) -> str:
    """Return where a specification puts the VM."""
    path = config.files.vmPathName if config.files is not None else None
    if not path:
        raise invalid_argument("config.files.vmPathName", "it says on which datastore the VM lies")
    return str(path)


def _provisioning(backing: Any) -> Provisioning:
    if backing.thinProvisioned:
        return Provisioning.THIN
    return Provisioning.EAGER_ZEROED if backing.eagerlyScrub else Provisioning.LAZY_ZEROED
