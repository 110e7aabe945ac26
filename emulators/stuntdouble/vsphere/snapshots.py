"""VM snapshots as clients see them, and what they can do with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stuntdouble.ports import Consistency
from stuntdouble.vsphere import hardware
from stuntdouble.vsphere.faults import not_supported
from stuntdouble.vsphere.objects import NAME_CHARACTERS_MAX, Managed, operation, prop
from stuntdouble.vsphere.vmomi import new, vim

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable

    from simpy.events import Event

    from stuntdouble.hypervisor import Snapshot
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session
    from stuntdouble.vsphere.vm import VirtualMachine


class VmSnapshot(Managed):
    """``vim.vm.Snapshot``: a VM as it was."""

    kind = vim.vm.Snapshot
    unset = frozenset({"value", "availableField"})
    machine: VirtualMachine

    def __init__(self, center: VirtualCenter, moid: str, snapshot: Snapshot) -> None:
        super().__init__(center, moid)
        self.snapshot = snapshot
        self.visible_at = 0.0

    def alive(self) -> bool:
        """Say whether the snapshot is there, and visible."""
        there = self.machine.alive() and self.snapshot in self.machine.vm.snapshots
        return there and self.visible_at <= self.center.env.now

    def gone(self) -> bool:
        """Say whether the snapshot has been removed."""
        vm = self.machine.vm
        listed = self.center.hypervisor.vms.get(vm.name) is vm
        return not (listed and self.snapshot in vm.snapshots)

    def stamp(self, name: str) -> Hashable | None:
        """Return what the configuration depends on: where consolidation has put the disks."""
        if name != "config":
            return None
        vm = self.machine.vm
        return tuple(
            (
                level.file.name,
                vm.disks[key].spec.capacity_bytes,
                vm.disks[key].tracker.active,
                tuple(other.file.name for other in vm.disks[key].chain.levels),
            )
            for key, level in self.snapshot.frozen.items()
        )

    def node(self, children: list[Any]) -> Any:
        """Return the snapshot as a node of the VM's tree."""
        snapshot = self.snapshot
        return new(
            vim.vm.SnapshotTree,
            snapshot=self.ref,
            vm=self.machine.ref,
            name=snapshot.name,
            description=snapshot.description,
            id=snapshot.number,
            createTime=self.center.when(snapshot.moment),
            state="poweredOff",  # without memory, whatever the VM was doing (vSphere API)
            quiesced=snapshot.consistency is not Consistency.CRASH,
            # The relative path of what VSS leaves behind, whose writers took part (vSphere API).
            backupManifest=f"{self.machine.vm.name}-vss_manifests{snapshot.number}.zip"
            if snapshot.consistency is Consistency.APPLICATION
            else None,
            replaySupported=False,
            childSnapshotList=children,
        )

    @prop
    def config(self) -> Any:
        vm = self.machine.vm
        devices = hardware.devices(self.center, vm, self.snapshot.frozen)
        for device in devices:
            if device.key in self.snapshot.frozen:
                device.backing.changeId = self.snapshot.change_ids.get(device.key)
        return self.machine.configuration(devices, bool(self.snapshot.change_ids))

    @prop
    def vm(self) -> Any:
        return self.machine.ref

    @prop
    def child_snapshot(self) -> list[Any]:
        machine = self.machine
        return [
            machine.snapshot_object(each).ref
            for each in machine.vm.snapshots
            if each.parent is self.snapshot
        ]

    # What can be done with it. -----------------------------------------------------------------

    @operation("RemoveSnapshot_Task")
    def remove(
        self,
        session: Session,
        remove_children: bool,
        consolidate: bool | None = None,
    ) -> Any:
        del session
        model = self.center.hypervisor.remove_snapshot(
            self.machine.vm,
            self.snapshot.id,
            remove_children=remove_children,
            consolidate=consolidate is not False,
        )
        return self.machine.start("RemoveSnapshot_Task", model)

    @operation("RevertToSnapshot_Task")
    def revert(
        self,
        session: Session,
        host: Any = None,
        suppress_power_on: bool | None = None,
    ) -> Any:
        del session, suppress_power_on  # a snapshot without memory leaves the VM off anyway
        if host is not None:
            self.center.resolve(host)
        model = self.center.hypervisor.revert(self.machine.vm, self.snapshot.id)
        return self.machine.start("RevertToSnapshot_Task", model)

    @operation("RenameSnapshot")
    def rename(
        self, session: Session, name: str | None = None, description: str | None = None
    ) -> Generator[Event, Any, None]:
        del session
        if name is not None and not 0 < len(name) <= NAME_CHARACTERS_MAX:
            raise vim.fault.InvalidName(name=name, entity=self.machine.ref)
        self.machine.require_idle("RenameSnapshot")
        return self._rename(name, description)

    def _rename(self, name: str | None, description: str | None) -> Generator[Event, Any, None]:
        admin = self.center.hypervisor.admin
        yield from admin.rename_snapshot(self.machine.vm, self.snapshot.id, name, description)
        self.center.changes.touch(self.machine)

    @operation("ExportSnapshot")
    def export(self, session: Session) -> Any:
        del session
        raise not_supported("exporting a snapshot")
