"""What clients can do with a VM: snapshots, power, reconfiguration, questions, moving, exporting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.units import KIB
from stuntdouble.vsphere.changes import changed_areas
from stuntdouble.vsphere.faults import invalid_argument, not_supported
from stuntdouble.vsphere.incidents import RECONFIGURED
from stuntdouble.vsphere.objects import NAME_CHARACTERS_MAX, operation, prop
from stuntdouble.vsphere.paths import is_set
from stuntdouble.vsphere.vmomi import data_fields, vim

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.hypervisor import Vm
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.late import LateProperties
    from stuntdouble.vsphere.sessions import Session

_IGNORED: Final = frozenset({"changeVersion", "dynamicType", "dynamicProperty"})
_SPECIFIED: Final = frozenset({"changeTrackingEnabled", "deviceChange"})


class MachineOperations:
    """The operations of ``vim.VirtualMachine``; a part of ``VirtualMachine``."""

    center: VirtualCenter
    vm: Vm
    ref: Any
    late: LateProperties

    # Tasks. ----------------------------------------------------------------------------------

    def start(
        self,
        name: str,
        model: Generator[Event, Any, Any],
        told: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Let a model run as a task of this VM.

        Raises:
            vim.fault.TaskInProgress: another task holds it.
            vim.fault.InvalidState: the operation has been disabled.
        """
        self.require_idle(name)
        if delay := self.center.hypervisor.property_delay_seconds:
            model = self.late.behind(model, delay)
        fraction = lambda: self.vm.progress  # noqa: E731
        return self.center.tasks.start(self, name, model, told, fraction)  # type: ignore[arg-type]  # a part of an Entity

    def require_idle(self, name: str) -> None:
        """Refuse an operation while another task holds the VM, or while it is disabled."""
        running = self.center.tasks.running_of(self.vm.name)
        if running is not None or self.vm.running_task:
            raise vim.fault.TaskInProgress(task=running, msg="Another task is already in progress.")
        lease = self.center.roots.leases.of(self)
        if lease is not None:
            text = f"The method {name} is disabled while the VM is exported."
            raise vim.fault.MethodDisabled(source=lease.moid, msg=text)
        if name in self.vm.disabled:
            source = ", ".join(sorted(self.vm.disabled[name]))
            raise vim.fault.MethodDisabled(
                source=source, msg=f"The method {name} is disabled by '{source}'"
            )

    @prop
    def disabled_method(self) -> list[str]:
        return sorted(self.vm.disabled)

    # Snapshots. ------------------------------------------------------------------------------

    @operation("CreateSnapshot_Task")
    def create_snapshot(
        self,
        session: Session,
        name: str,
        memory: bool,
        quiesce: bool,
        description: str | None = None,
    ) -> Any:
        del session
        return self._create_snapshot("CreateSnapshot_Task", name, description, memory, quiesce)

    @operation("CreateSnapshotEx_Task")
    def create_snapshot_ex(
        self,
        session: Session,
        name: str,
        memory: bool,
        quiesce_spec: Any = None,
        description: str | None = None,
    ) -> Any:
        del session
        quiesce = quiesce_spec is not None
        return self._create_snapshot("CreateSnapshotEx_Task", name, description, memory, quiesce)

    def _create_snapshot(
        self,
        task: str,
        name: str,
        description: str | None,
        memory: bool,
        quiesce: bool,
    ) -> Any:
        if not name or len(name) > NAME_CHARACTERS_MAX:
            raise vim.fault.InvalidName(name=name, entity=self.ref)
        if memory and self.vm.powered_on:
            raise not_supported("a snapshot with the memory of a running VM")
        vm = self.vm

        def told(made: Any) -> Any:
            shown = self.snapshot_object(vm.snapshot(made.id))  # type: ignore[attr-defined]
            shown.visible_at = self.center.env.now + self.center.hypervisor.property_delay_seconds
            return shown.ref

        model = self.center.hypervisor.create_snapshot(
            vm, name, quiesce=quiesce, description=description or ""
        )
        return self.start(task, model, told)

    @operation("RemoveAllSnapshots_Task")
    def remove_all_snapshots(
        self,
        session: Session,
        consolidate: bool | None = None,
        spec: Any = None,
    ) -> Any:
        del session
        if spec is not None:
            raise not_supported("a selection of the snapshots to be removed")
        model = self.center.hypervisor.remove_all_snapshots(
            self.vm, consolidate=consolidate is not False
        )
        return self.start("RemoveAllSnapshots_Task", model)

    @operation("RevertToCurrentSnapshot_Task")
    def revert_to_current(
        self,
        session: Session,
        host: Any = None,
        suppress_power_on: bool | None = None,
    ) -> Any:
        del session, suppress_power_on
        if host is not None:
            self.center.resolve(host)
        if self.vm.current is None:
            raise vim.fault.NotFound(msg="The VM has no current snapshot.")
        model = self.center.hypervisor.admin.revert_to_current(self.vm)
        return self.start("RevertToCurrentSnapshot_Task", model)

    @operation("ConsolidateVMDisks_Task")
    def consolidate(self, session: Session) -> Any:
        del session
        return self.start("ConsolidateVMDisks_Task", self.center.hypervisor.consolidate(self.vm))

    @operation("EstimateStorageForConsolidateSnapshots_Task")
    def estimate_consolidation(self, session: Session) -> Any:
        del session
        name = "EstimateStorageForConsolidateSnapshots_Task"

        def told(size: int) -> Any:
            store = self.center.roots.datastore(self.home)  # type: ignore[attr-defined]
            need = vim.VirtualMachine.StorageRequirement(
                datastore=store.ref if store else None, freeSpaceRequiredInKb=size // KIB
            )
            return vim.VirtualMachine.StorageRequirement.Array([need])

        return self.start(name, self.center.hypervisor.admin.estimate_consolidation(self.vm), told)

    @operation("QueryChangedDiskAreas")
    def query_changed_disk_areas(
        self,
        session: Session,
        device_key: int,
        start_offset: int,
        change_id: str,
        snapshot: Any = None,
    ) -> Any:
        """Return one page of the areas of a disk that were written since a changeId."""
        del session
        frozen = None
        if snapshot is not None:
            from stuntdouble.vsphere.snapshots import VmSnapshot  # noqa: PLC0415

            found = self.center.resolve_as(snapshot, VmSnapshot, "snapshot")
            if found.machine is not self:
                raise invalid_argument("snapshot", "it is of another VM")
            frozen = found.snapshot
        return changed_areas(self.center, self.vm, frozen, device_key, start_offset, change_id)

    # Power. ----------------------------------------------------------------------------------

    @operation("PowerOnVM_Task")
    def power_on(self, session: Session, host: Any = None) -> Any:
        del session
        if host is not None:
            self.center.resolve(host)
        self._require_power(on=False, wanted="poweredOn")
        return self.start("PowerOnVM_Task", self.center.hypervisor.power_on(self.vm))

    @operation("PowerOffVM_Task")
    def power_off(self, session: Session) -> Any:
        del session
        self._require_power(on=True)
        return self.start("PowerOffVM_Task", self.center.hypervisor.power_off(self.vm))

    @operation("ResetVM_Task")
    def reset(self, session: Session) -> Any:
        del session
        self._require_power(on=True, wanted="poweredOn")
        return self.start("ResetVM_Task", self._reset())

    def _reset(self) -> Generator[Event, Any, None]:
        yield from self.center.hypervisor.power_off(self.vm)
        yield from self.center.hypervisor.power_on(self.vm)

    @operation("ShutdownGuest")
    def shutdown_guest(self, session: Session) -> None:
        """Ask the guest to shut down, and return before it has."""
        del session
        self._require_power(on=True)
        if not self.vm.quiesce.tools:
            raise vim.fault.ToolsUnavailable(msg="VMware Tools is not running.")
        self.start("ShutdownGuest", self.center.hypervisor.power_off(self.vm))

    def _require_power(self, *, on: bool, wanted: str = "poweredOff") -> None:
        """Refuse what needs the VM to be on, or off; *wanted* is the state that was asked for."""
        if self.vm.powered_on is not on:
            raise vim.fault.InvalidPowerState(
                requestedState=wanted,
                existingState="poweredOn" if self.vm.powered_on else "poweredOff",
                msg="The attempted operation cannot be performed in the current state"
                f" ({'Powered on' if self.vm.powered_on else 'Powered off'}).",
            )

    # Questions. ------------------------------------------------------------------------------

    @property
    def question_id(self) -> str:
        """The identifier of the question that is open."""
        return f"{self.vm.questions}"

    @operation("AnswerVM")
    def answer(self, session: Session, question_id: str, answer_choice: str) -> None:
        """Answer the question of a paused VM: 0 is "retry", 1 is "cancel", which powers it off."""
        del session
        if not self.vm.question or question_id != self.question_id:
            raise invalid_argument("questionId", "no such question is open")
        if answer_choice not in {"0", "1"}:
            raise invalid_argument("answerChoice")
        self.center.hypervisor.answer(self.vm, "cancel" if answer_choice == "1" else "retry")
        self.center.changes.touch(self)  # type: ignore[arg-type]

    # Reconfiguration. ------------------------------------------------------------------------

    @operation("ReconfigVM_Task")
    def reconfigure(self, session: Session, spec: Any) -> Any:
        """Switch change tracking, or extend a disk; other changes are not emulated."""
        for name in _asked(spec):
            if name not in _SPECIFIED:
                raise not_supported(f"reconfiguring {name}")
        sizes = {}
        for index, change in enumerate(spec.deviceChange or ()):
            key, size = self._extension(index, change)
            sizes[key] = size
        model = self._reconfigure(spec.changeTrackingEnabled, sizes)
        user = session.user.name if session.user else ""

        def told(_value: None) -> None:
            self.center.events.post(RECONFIGURED, [self], user, configSpec=spec)  # type: ignore[list-item]  # a part of an Entity

        return self.start("ReconfigVM_Task", model, told)

    def _extension(self, index: int, change: Any) -> tuple[int, int]:
        """Return the key and the new size of a disk that a change extends."""
        device, where = change.device, f"deviceChange[{index}].device"
        if change.operation != "edit" or not isinstance(device, vim.vm.device.VirtualDisk):
            kind = type(device).__name__ if device is not None else "no device"
            raise not_supported(f"{change.operation} of {kind}")
        if device.key not in self.vm.disks:
            raise vim.fault.InvalidDeviceSpec(deviceIndex=index, property=f"{where}.key")
        present = self.vm.disks[device.key].spec.capacity_bytes
        size = device.capacityInBytes or device.capacityInKB * KIB
        if size == present:  # clients change one of the two, and send back the other as it was
            size = device.capacityInKB * KIB
        if size < present or size % self.center.hypervisor.host.site.block_bytes:
            raise vim.fault.InvalidDeviceSpec(
                deviceIndex=index,
                property=f"{where}.capacityInKB",
                msg=f"A disk of {present} bytes cannot have {size}.",
            )
        return device.key, size

    def _reconfigure(
        self,
        tracking: bool | None,
        sizes: dict[int, int],
    ) -> Generator[Event, Any, None]:
        hypervisor = self.center.hypervisor
        for key, size in sizes.items():
            if size != self.vm.disks[key].spec.capacity_bytes:
                yield from hypervisor.extend_disk(self.vm, key, size)
        if tracking is not None and tracking is not self.vm.tracking:
            yield from hypervisor.set_tracking(self.vm, enabled=tracking)
        elif not sizes:
            yield hypervisor.host.env.timeout(0)

    # Where it lies. --------------------------------------------------------------------------

    @operation("RelocateVM_Task")
    def relocate(self, session: Session, spec: Any, priority: str | None = None) -> Any:
        """Move a powered-off VM to another datastore."""
        del session, priority
        for name in _asked(spec):
            if name not in {"datastore", "pool", "host", "folder"}:
                raise not_supported(f"relocating with {name}")
        for ref in (spec.pool, spec.host, spec.folder):
            if ref is not None:
                self.center.resolve(ref)
        target = self.center.roots.datastore_of(spec.datastore)
        model = self.center.hypervisor.admin.relocate(self.vm, target.store.name)
        return self.start("RelocateVM_Task", model)

    @operation("UnregisterVM")
    def unregister(self, session: Session) -> Generator[Event, Any, None]:
        del session
        self.require_idle("UnregisterVM")
        if self.vm.powered_on:
            self._require_power(on=False)
        model: Generator[Event, Any, None] = self.center.hypervisor.admin.unregister(self.vm)
        return model

    @operation("Destroy_Task")
    def destroy(self, session: Session) -> Any:
        del session
        if self.vm.powered_on:
            self._require_power(on=False)
        return self.start("Destroy_Task", self.center.hypervisor.admin.destroy(self.vm))

    @operation("RefreshStorageInfo")
    def refresh_storage_info(self, session: Session) -> None:
        """Work out layout and usage again, which is done whenever they are asked for."""
        del session

    @operation("ExportVm")
    def export(self, session: Session) -> Any:
        """Open a lease on the disks of a powered-off VM."""
        self._require_power(on=False)
        self.require_idle("ExportVm")
        return self.center.roots.leases.open(session, self)


def _asked(spec: Any) -> list[str]:
    """Return the names of what a specification sets."""
    values = ((field.name, getattr(spec, field.name)) for field in data_fields(spec.__class__))
    return [n for n, value in values if n not in _IGNORED and is_set(value)]
