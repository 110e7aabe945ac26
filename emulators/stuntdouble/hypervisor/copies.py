"""Mounted copies: datastores found on promoted array snapshots, and the VMs registered from them.

The copy shows the VM as its descriptor said at the instant of the array snapshot, open VM snapshots
included.  So what a backup wants of it is not the head of the chain but what the VM snapshot that
was open had frozen: ``Vm.image``.  Change tracking starts anew under another identity, because
registering a VM elsewhere resets it (KB 320557).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

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
    from stuntdouble.iops import Guest
    from stuntdouble.site import Disk, Level, Lun

_SERIAL: Final = re.compile(r"-([0-9]{6})-[a-z]+\.vmdk$")


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
    yield from hypervisor.storage.scan()
    _check_reachable(luns)
    if (known := _mounted(hypervisor, naas)) is not None:
        return known
    return (yield from resignature(hypervisor, luns, naas))


def resignature(
    hypervisor: Hypervisor, luns: list[Lun], naas: tuple[str, ...]
) -> Generator[Event, object, Datastore]:
    """Give a copy an identity of its own and mount it, unless somebody else does so meanwhile.

    Raises:
        InvalidState: no whole datastore lies on the LUNs.
        Unreachable: a LUN has been lost.
    """
    host = hypervisor.host
    yield host.env.timeout(host.parameters.resignature_seconds + host.parameters.mount_seconds)
    _check_reachable(luns)
    if (known := _mounted(hypervisor, naas)) is not None:
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
    _check_unused(hypervisor, datastore)
    if not datastore.mounted_copy:
        raise InvalidState(f"datastore {name}", "not a mounted copy", "unmount it")
    yield from unmount_any(hypervisor, datastore)


def unmount_any(hypervisor: Hypervisor, datastore: Datastore) -> Generator[Event, object, bool]:
    """Unmount a datastore; say whether it was this that did.

    Raises:
        InvalidState: a VM is registered on it, by now.
    """
    _check_unused(hypervisor, datastore)
    yield hypervisor.host.env.timeout(hypervisor.host.parameters.unmount_seconds)
    if hypervisor.datastores.get(datastore.name) is not datastore:
        return False
    _check_unused(hypervisor, datastore)
    del hypervisor.datastores[datastore.name]
    hypervisor.host.note("unmounted", datastore.name)
    return True


def _check_unused(hypervisor: Hypervisor, datastore: Datastore) -> None:
    users = [vm.name for vm in hypervisor.vms.values() if _lies_on(vm, datastore)]
    if users:
        why = f"in use by {', '.join(users)}"
        raise InvalidState(f"datastore {datastore.name}", why, "unmount it")


def register(
    hypervisor: Hypervisor, datastore_name: str, name: str
) -> Generator[Event, object, Vm]:
    """Register the copy of VM *name* found on a mounted copy, powered off.

    Raises:
        NotFound: no such datastore, or no such VM on it.
        InvalidState: it is registered already, or the datastore is no copy.
        Unreachable: a LUN has been lost.
    """
    datastore = hypervisor.datastores.get(datastore_name)
    if datastore is None:
        raise NotFound("datastore", datastore_name)
    found = [r for r in datastore.store.records.values() if isinstance(r, VmRecord)]
    record = max(
        (record for record in found if record.name == name),
        key=lambda record: record.written,
        default=None,
    )
    if record is None:
        raise NotFound(f"VM on {datastore_name}", name)
    if not datastore.mounted_copy:
        raise InvalidState(datastore_name, "not a mounted copy", f"register {name} from it")
    return (yield from register_record(hypervisor, datastore, record, ""))


def register_record(
    hypervisor: Hypervisor, datastore: Datastore, record: VmRecord, name: str
) -> Generator[Event, object, Vm]:
    """Register the VM that *record* tells of; see ``register``.

    By default it is called after its datastore, too.
    """
    copy = name or f"{record.name} on {datastore.name}"
    yield hypervisor.host.env.timeout(hypervisor.host.parameters.register_seconds)
    datastore.check_reachable()
    if copy in hypervisor.vms:
        raise InvalidState(copy, "in the inventory already", "register it")
    levels = {disk.spec.key: levels_of(datastore, disk) for disk in record.disks}
    disks = [
        disk_of(hypervisor, copy, datastore, disk, levels[disk.spec.key], None)
        for disk in record.disks
    ]
    vm = hypervisor.add(copy, disks, None, QuiesceProfile(tools=False), record.hardware_version)
    take_over(vm, record, record.disks, levels)
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
        let_go(vm.guest)  # the engine keeps every guest; what lay below this one is gone
        hypervisor.host.note("unregistered", name)


def let_go(guest: Guest) -> None:
    """Let a guest that will issue no more I/O no longer keep what lay below it."""
    guest.disks.clear()
    guest.luns.clear()
    guest.on_no_space = None


def _check_reachable(luns: Iterable[Lun]) -> None:
    for lun in luns:
        lun.check_reachable()


def _mounted(hypervisor: Hypervisor, naas: tuple[str, ...]) -> Datastore | None:
    found = (each for each in hypervisor.datastores.values() if each.naas == naas)
    return next(found, None)


def _lies_on(vm: Vm, datastore: Datastore) -> bool:
    return any(disk.datastore is datastore for disk in vm.disks.values())


def levels_of(datastore: Datastore, record: DiskRecord) -> list[Level]:
    """Return a level for each file of a disk that lies on *datastore*."""
    site, files = datastore.store.site, datastore.store.files
    levels: list[Level] = []
    for name, parent in record.files:
        levels.append(site.new_level(files[name], levels[parent] if parent >= 0 else None))
    return levels


def disk_of(
    hypervisor: Hypervisor,
    vm: str,
    datastore: Datastore,
    record: DiskRecord,
    chain: list[Level],
    known: Disk | None,
) -> VmDisk:
    """Return a VM's disk made of *chain*; to the site it is *known*, or new."""
    spec = replace(record.spec, datastore=datastore.name)
    site = hypervisor.host.site
    blocks = spec.capacity_bytes // site.block_bytes
    disk = known or site.create_disk(f"{vm}/{spec.key}", blocks, chain[0].file)
    disk.set_head(chain[record.head])
    made = wrap(hypervisor.host, vm, spec, record.name, disk, datastore)
    made.chain.levels[:] = chain
    made.serial = max(map(serial_of, (name for name, _ in record.files)))
    return made


def serial_of(name: str) -> int:
    """Return the number in the name of a delta disk's file; 0 in any other's."""
    match = _SERIAL.search(name)
    return int(match[1]) if match else 0


def take_over(
    vm: Vm, record: VmRecord, disks: Iterable[DiskRecord], levels: dict[int, list[Level]]
) -> None:
    """Give a registered VM the snapshots of its descriptor, and let its change tracking start anew.

    ChangeIds of the snapshots are of no use any more.
    """
    for old in record.snapshots:
        frozen = {
            disk.spec.key: levels[disk.spec.key][index]
            for disk in disks
            for snapshot_id, index in disk.frozen
            if snapshot_id == old.id
        }
        parent = vm.find(old.parent)
        vm.snapshots.append(
            Snapshot(
                old.id,
                old.name,
                old.moment,
                old.consistency,
                parent,
                frozen,
                {},
                old.description,
                old.number,
            )
        )
    vm.current = vm.find(record.current)
    vm.last_number, vm.tracking = record.last_number, record.tracking
    for disk in vm.disks.values():
        for level in disk.chain.deltas:
            disk.datastore.adopt_delta(level.file, vm.gauge)
    vm.settle_tracking()  # a new identity, at once because the VM is off
    vm.chain_changed()
