"""Files of a VM: ``layoutEx``, which lists them, and what they take of each datastore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.ports import Provisioning
from stuntdouble.vsphere.hardware import descriptor_of
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from stuntdouble.hypervisor import Vm, VmDisk
    from stuntdouble.site import Level
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.vm import VirtualMachine

_LAYOUT: Final = vim.vm.FileLayoutEx
_NO_FILE: Final = -1  # of memory: snapshots are taken without
SMALL_BYTES: Final = 4096
"""Size shown for a configuration, a list of snapshots or a disk's descriptor.  No source."""


def usage(center: VirtualCenter, vm: Vm) -> list[Any]:
    """Return per datastore what the VM's files take there, and may take yet."""
    found: dict[str, list[int]] = {}
    for disk in vm.disks.values():
        sums = found.setdefault(disk.datastore.name, [0, 0])
        sums[0] += sum(level.file.size_bytes for level in disk.chain.levels)
        sums[1] += _uncommitted(disk)
    stores = ((center.roots.datastore(name), sums) for name, sums in found.items())
    return [
        new(
            vim.vm.StorageInfo.UsageOnDatastore,
            datastore=store.ref,
            committed=sums[0],
            uncommitted=sums[1],
            unshared=sums[0],
        )
        for store, sums in stores
        if store is not None
    ]


def _uncommitted(disk: VmDisk) -> int:
    """Return how much more a disk may take: the rest of a thin base, and of its head delta."""
    head = disk.disk.head
    growing = head.parent is not None or disk.spec.provisioning is Provisioning.THIN
    return max(disk.spec.capacity_bytes - head.file.size_bytes, 0) if growing else 0


def layout_ex(machine: VirtualMachine) -> Any:
    """Return every file of a VM, the chains of its disks, and which of them snapshots froze."""
    return _Layout(machine).made()


class _Layout:
    def __init__(self, machine: VirtualMachine) -> None:
        self._machine = machine
        self._files: list[Any] = []
        self._keys: dict[str, int] = {}

    def made(self) -> Any:
        vm = self._machine.vm
        stem = self._machine.vmx_path.removesuffix(".vmx")
        self._add(f"{stem}.vmx", "config", SMALL_BYTES)
        self._add(f"{stem}.nvram", "nvram", SMALL_BYTES)
        self._add(f"{stem}.vmsd", "snapshotList", SMALL_BYTES if vm.snapshots else 0)
        disks = [
            _LAYOUT.DiskLayout(key=disk.key, chain=self._chain(disk, disk.disk.head))
            for disk in vm.disks.values()
        ]
        snapshots = [self._snapshot(each) for each in vm.snapshots]
        now = self._machine.center.now()
        return _LAYOUT(file=self._files, disk=disks, snapshot=snapshots, timestamp=now)

    def _add(self, name: str, kind: str, size: int) -> int:
        if name not in self._keys:
            self._keys[name] = len(self._files)
            self._files.append(
                _LAYOUT.FileInfo(
                    key=self._keys[name],
                    name=name,
                    type=kind,
                    size=size,
                    uniqueSize=size,
                    accessible=True,
                )
            )
        return self._keys[name]

    def _chain(self, disk: VmDisk, level: Level | None) -> list[Any]:
        """Return a unit for each level of a chain, the base first."""
        units: list[Any] = []
        while level is not None:
            store = f"[{disk.datastore.name}] "
            name = level.file.name
            keys = [
                self._add(store + descriptor_of(name), "diskDescriptor", SMALL_BYTES),
                self._add(store + name, "diskExtent", level.file.size_bytes),
            ]
            units.insert(0, _LAYOUT.DiskUnit(fileKey=keys))
            level = level.parent
        return units

    def _snapshot(self, snapshot: Any) -> Any:
        vm = self._machine.vm
        stem = self._machine.vmx_path.removesuffix(".vmx")
        data = self._add(f"{stem}-Snapshot{snapshot.number}.vmsn", "snapshotData", SMALL_BYTES)
        return _LAYOUT.SnapshotLayout(
            key=self._machine.snapshot_object(snapshot).ref,
            dataKey=data,
            memoryKey=_NO_FILE,
            disk=[
                _LAYOUT.DiskLayout(key=key, chain=self._chain(vm.disks[key], level))
                for key, level in snapshot.frozen.items()
            ],
        )
