"""Taking VMs out of the inventory and back, and deleting them.

    add_vm ──▶ registered ◀──── register ────┐      the files stay where they are, and so does
                │   │                        │      the descriptor: it says what the VM is made of
                │   └──── unregister ──▶ unregistered
                └──── destroy ──▶ gone with its files

A VM that comes back has the disks, chains and snapshots that its descriptors tell of; its change
tracking starts anew under another identity (KB 320557).  What the site knows of it beyond its files
is kept meanwhile (``Parked``): the ledgers of its disks, so that its truth is known as before, and
the engine's guest, so that the load it had goes on where it stopped once it is powered on.  A VM
that had no load has none.

A VM found on a mounted copy is another one: see ``stuntdouble.hypervisor.copies``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.errors import InvalidState, NotFound, Unsupported
from stuntdouble.hypervisor import copies
from stuntdouble.hypervisor.records import VmRecord

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.hypervisor.datastore import Datastore
    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.inventory import Vm
    from stuntdouble.hypervisor.parameters import QuiesceProfile
    from stuntdouble.hypervisor.records import DiskRecord
    from stuntdouble.iops import Guest
    from stuntdouble.site import Disk


@dataclass(frozen=True)
class Parked:
    """What is kept of an unregistered VM beside its files; disks are the site's, by their keys."""

    name: str
    disks: dict[int, Disk]
    guest: Guest
    quiesce: QuiesceProfile
    started: bool
    snapshots: frozenset[str]


def unregister(hypervisor: Hypervisor, vm: Vm) -> Generator[Event, object, None]:
    """Take a VM that is off out of the inventory; its files stay.

    Raises:
        InvalidState: it is powered on.
        Unsupported: it has no disks, hence no datastore that could tell of it.
    """
    if vm.is_copy:
        yield from copies.unregister(hypervisor, vm.name)
        return
    with vm.task("UnregisterVM"):
        _require_off(vm, "unregister it")
        if not vm.disks:
            raise Unsupported(f"unregistering {vm.name}, which has no disks", "destroy it")
        yield hypervisor.host.env.timeout(hypervisor.host.parameters.unregister_seconds)
        for disk in vm.disks.values():
            vm.lose_tracking("unregistered", disk.key)
            disk.tracker.stop()
        hypervisor.parked[vm.uuid] = Parked(
            vm.name,
            {key: disk.disk for key, disk in vm.disks.items()},
            vm.guest,
            vm.quiesce,
            vm.started,
            frozenset(snapshot.id for snapshot in vm.snapshots),
        )
        del hypervisor.vms[vm.name]
        hypervisor.host.note("unregistered", vm.name)


def register(
    hypervisor: Hypervisor, datastore_name: str, path: str, name: str = ""
) -> Generator[Event, object, Vm]:
    """Register the VM that lies at *path* of a datastore, powered off; return it.

    Args:
        hypervisor: in whose inventory.
        datastore_name: an ordinary datastore, or a mounted copy.
        path: of its vmx file, or its folder, relative to the datastore.
        name: what to call it; by default what it was called, and a copy after its datastore, too.

    Raises:
        NotFound: no such datastore, or no VM there.
        InvalidState: it is in the inventory already, or the name is, or a disk's datastore is not
            mounted.
        Unreachable: a LUN below has been lost.
    """
    datastore = hypervisor.datastores.get(datastore_name)
    if datastore is None:
        raise NotFound("datastore", datastore_name)
    folder = folder_at(path)
    record = datastore.store.records.get(folder)
    if not isinstance(record, VmRecord):
        raise NotFound(f"VM on {datastore_name}", path)
    if datastore.mounted_copy:
        return (yield from copies.register_record(hypervisor, datastore, record, name))
    name = name or record.name
    _check_absent(hypervisor, record, name)
    yield hypervisor.host.env.timeout(hypervisor.host.parameters.register_seconds)
    _check_absent(hypervisor, record, name)
    datastore.check_reachable()
    return _bring_back(hypervisor, record, name)


def destroy(hypervisor: Hypervisor, vm: Vm) -> Generator[Event, object, None]:
    """Delete a VM that is off, and its files; snapshots and all.

    Raises:
        InvalidState: it is powered on.
        Unreachable: a LUN below has been lost; nothing has been deleted.
        NoSpace: the array has no room for the copies that the deletion's metadata owes; likewise.
    """
    host = hypervisor.host
    with vm.task("Destroy_Task"):
        _require_off(vm, "destroy it")
        yield host.env.timeout(host.parameters.task_seconds)
        vm.check_reachable()
        for datastore in dict.fromkeys(disk.datastore for disk in vm.disks.values()):
            yield from datastore.lock()
        del hypervisor.vms[vm.name]
        vm.delete_files()
        host.engine.retire(vm.guest)
        copies.let_go(vm.guest)
        host.note("destroyed", vm.name)


def folder_at(path: str) -> str:
    """Return the folder that *path* names: itself, or where a vmx file of that name lies."""
    folder, _, file = path.partition("/")
    return folder if file in ("", f"{folder}.vmx") else path


def _require_off(vm: Vm, request: str) -> None:
    if vm.powered_on:
        raise InvalidState(vm.name, "powered on", request)


def _check_absent(hypervisor: Hypervisor, record: VmRecord, name: str) -> None:
    there = [vm.name for vm in hypervisor.vms.values() if vm.uuid == record.uuid and not vm.is_copy]
    for taken in (*there, *({name} & hypervisor.vms.keys())):
        raise InvalidState(taken, "in the inventory already", f"register {record.name}")
    if record.uuid not in hypervisor.parked:
        raise InvalidState(record.name, "about to be registered or made", "register it")


def _bring_back(hypervisor: Hypervisor, record: VmRecord, name: str) -> Vm:
    """Put a VM together from the descriptors of every datastore that it lies on."""
    parked = hypervisor.parked[record.uuid]
    found = _disk_records(hypervisor, record.uuid)
    missing = parked.disks.keys() - {disk.spec.key for _, disk in found}
    if missing:
        disks = ", ".join(map(str, sorted(missing)))
        raise InvalidState(record.name, f"without its disks {disks}", "mount their datastore first")
    levels = {disk.spec.key: copies.levels_of(datastore, disk) for datastore, disk in found}
    made = [
        copies.disk_of(
            hypervisor, name, datastore, disk, levels[disk.spec.key], parked.disks[disk.spec.key]
        )
        for datastore, disk in found
    ]
    vm = hypervisor.add(
        name, made, None, parked.quiesce, record.hardware_version, record.uuid, parked.guest
    )
    vm.started = parked.started
    copies.take_over(vm, record, [disk for _, disk in found], levels)
    del hypervisor.parked[record.uuid]
    hypervisor.host.note("registered", name)
    return vm


def _disk_records(hypervisor: Hypervisor, uuid: str) -> list[tuple[Datastore, DiskRecord]]:
    """Return the disks of a VM, in order of their keys, each with where it lies."""
    found = [
        (datastore, disk)
        for datastore in hypervisor.datastores.values()
        if not datastore.mounted_copy
        for record in datastore.store.records.values()
        if isinstance(record, VmRecord) and record.uuid == uuid
        for disk in record.disks
    ]
    return sorted(found, key=lambda each: each[1].spec.key)
