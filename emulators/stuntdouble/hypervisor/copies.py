"""Mounted copies: datastores found on promoted array snapshots, and the VMs registered from them.

The copy shows the VM as its descriptor said at the instant of the array snapshot, open VM snapshots
included.  So what a backup wants of it is not the head of the chain but what the VM snapshot that
was open had frozen: ``Vm.image``.  Change tracking starts anew under another identity, because
registering a VM elsewhere resets it (KB 320557).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stuntdouble.errors import InvalidState, NotFound
from stuntdouble.hypervisor.building import wrap
from stuntdouble.hypervisor.datastore import open_datastore
from stuntdouble.hypervisor.inventory import Snapshot
from stuntdouble.hypervisor.parameters import QuiesceProfile
from stuntdouble.hypervisor.records import VmRecord

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from simpy.events import Event

    from stuntdouble.hypervisor.datastore import Datastore
    from stuntdouble.hypervisor.hypervisor import Hypervisor
    from stuntdouble.hypervisor.inventory import Vm, VmDisk
    from stuntdouble.hypervisor.records import DiskRecord
    from stuntdouble.site import Level, Lun


def mount(
    hypervisor: Hypervisor, luns: list[Lun], naas: tuple[str, ...]
) -> Generator[Event, object, Datastore]:
    """Rescan, resignature and mount; return the datastore, the same one when asked again.

    Args:
        hypervisor: on which host.
        luns: the promoted LUNs, in the order of the datastore's extents.
        naas: their identifiers.

    Raises:
        InvalidState: no whole datastore lies on the LUNs.
        Unreachable: a LUN has been lost.
    """
    host = hypervisor.host
    times = host.parameters
    yield host.env.timeout(times.rescan_seconds)
    _check_reachable(luns)
    if (known := _mounted(hypervisor, naas)) is not None:
        return known
    yield host.env.timeout(times.resignature_seconds + times.mount_seconds)
    _check_reachable(luns)
    if (known := _mounted(hypervisor, naas)) is not None:  # by somebody else, meanwhile
        return known
    signature = host.streams["signatures"].hex(8)
    mounted = hypervisor.adopt_datastore(open_datastore(host, signature, luns, naas))
    host.note("mounted", mounted.name, volumes=naas)
    return mounted


def unmount(hypervisor: Hypervisor, name: str) -> Generator[Event, object, None]:
    """Unmount a copy; nothing happens where there is none.

    Raises:
        InvalidState: a VM is registered on it, or it is no copy.
    """
    datastore = hypervisor.datastores.get(name)
    if datastore is None:
        return
    users = [vm.name for vm in hypervisor.vms.values() if _lies_on(vm, datastore)]
    if users or not datastore.mounted_copy:
        why = f"in use by {', '.join(users)}" if users else "not a mounted copy"
        raise InvalidState(f"datastore {name}", why, "unmount it")
    yield hypervisor.host.env.timeout(hypervisor.host.parameters.unmount_seconds)
    if hypervisor.datastores.pop(name, None) is not None:
        hypervisor.host.note("unmounted", name)


def register(
    hypervisor: Hypervisor, datastore_name: str, name: str
) -> Generator[Event, object, Vm]:
    """Register the copy of a VM found on a mounted copy, powered off.

    Raises:
        NotFound: no such datastore, or no such VM on it.
        InvalidState: it is registered already, or the datastore is no copy.
        Unreachable: a LUN has been lost.
    """
    datastore = hypervisor.datastores.get(datastore_name)
    if datastore is None:
        raise NotFound("datastore", datastore_name)
    record = datastore.store.records.get(name)
    if not isinstance(record, VmRecord):
        raise NotFound(f"VM on {datastore_name}", name)
    copy = f"{name} on {datastore_name}"
    if not datastore.mounted_copy:
        raise InvalidState(datastore_name, "not a mounted copy", f"register {name} from it")
    yield hypervisor.host.env.timeout(hypervisor.host.parameters.register_seconds)
    datastore.check_reachable()
    if copy in hypervisor.vms:
        raise InvalidState(copy, "in the inventory already", "register it")
    levels = {disk.spec.key: _levels(datastore, disk) for disk in record.disks}
    disks = [_disk(hypervisor, copy, datastore, disk, levels) for disk in record.disks]
    vm = hypervisor.add(copy, disks, None, QuiesceProfile(tools=False), record.hardware_version)
    vm.tracking = record.tracking
    _take_over_snapshots(vm, record, levels)
    for disk in vm.disks.values():
        for level in disk.chain.deltas:
            datastore.adopt_delta(level.file, vm.gauge)
    vm.settle_tracking()  # a new identity, at once because the copy is off
    hypervisor.host.note("registered", copy)
    return vm


def unregister(hypervisor: Hypervisor, name: str) -> Generator[Event, object, None]:
    """Take a registered copy out of the inventory; nothing happens where there is none.

    Raises:
        InvalidState: it is no copy.
    """
    vm = hypervisor.vms.get(name)
    if vm is None:
        return
    if not vm.is_copy:
        raise InvalidState(name, "not a registered copy", "unregister it")
    with vm.task("UnregisterVM"):
        yield hypervisor.host.env.timeout(hypervisor.host.parameters.unregister_seconds)
        del hypervisor.vms[name]
        vm.guest.disks.clear()  # the engine keeps every guest; what lay below this one is gone
        vm.guest.luns.clear()
        vm.guest.on_no_space = None
        hypervisor.host.note("unregistered", name)


def _check_reachable(luns: Iterable[Lun]) -> None:
    for lun in luns:
        lun.check_reachable()


def _mounted(hypervisor: Hypervisor, naas: tuple[str, ...]) -> Datastore | None:
    found = (each for each in hypervisor.datastores.values() if each.naas == naas)
    return next(found, None)


def _lies_on(vm: Vm, datastore: Datastore) -> bool:
    return any(disk.datastore is datastore for disk in vm.disks.values())


def _levels(datastore: Datastore, record: DiskRecord) -> list[Level]:
    """Return a level for each file of a disk, over the mounted copy."""
    site, files = datastore.store.site, datastore.store.files
    levels: list[Level] = []
    for name, parent in record.files:
        levels.append(site.new_level(files[name], levels[parent] if parent >= 0 else None))
    return levels


def _disk(
    hypervisor: Hypervisor,
    vm: str,
    datastore: Datastore,
    record: DiskRecord,
    levels: dict[int, list[Level]],
) -> VmDisk:
    spec = replace(record.spec, datastore=datastore.name)
    chain = levels[spec.key]
    site = hypervisor.host.site
    blocks = spec.capacity_bytes // site.block_bytes
    disk = site.create_disk(f"{vm}/{spec.key}", blocks, chain[0].file)
    disk.set_head(chain[record.head])
    made = wrap(hypervisor.host, vm, spec, record.name, disk, datastore)
    made.chain.levels[:] = chain
    made.serial = len(chain) + len(datastore.store.files)  # past every file that is there
    return made


def _take_over_snapshots(vm: Vm, record: VmRecord, levels: dict[int, list[Level]]) -> None:
    """Give the copy the snapshots that were open; their changeIds are of no use any more."""
    for old in record.snapshots:
        frozen = {
            disk.spec.key: levels[disk.spec.key][index]
            for disk in record.disks
            for snapshot_id, index in disk.frozen
            if snapshot_id == old.id
        }
        parent = vm.find(old.parent)
        vm.snapshots.append(
            Snapshot(old.id, old.name, old.moment, old.consistency, parent, frozen, {})
        )
    vm.current = vm.find(record.current)
