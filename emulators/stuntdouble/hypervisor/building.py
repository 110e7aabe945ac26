"""Making the disks of a VM."""

from __future__ import annotations

from itertools import chain, count
from typing import TYPE_CHECKING

from stuntdouble.errors import Bug, Misuse
from stuntdouble.hypervisor.chain import Chain
from stuntdouble.hypervisor.inventory import VmDisk
from stuntdouble.hypervisor.records import folder_of
from stuntdouble.hypervisor.tracker import Tracker
from stuntdouble.hypervisor.uploads import uploads_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stuntdouble.hypervisor.datastore import Datastore
    from stuntdouble.hypervisor.host import Host
    from stuntdouble.hypervisor.parameters import DiskSpec
    from stuntdouble.site import Disk, File, Store


def make_disks(
    host: Host, datastores: Mapping[str, Datastore], vm: str, specs: Iterable[DiskSpec]
) -> list[VmDisk]:
    """Return the disks of *vm*, in order of their keys; eager zeroing is left to the caller.

    Raises:
        Misuse: a key is taken twice, a datastore unknown, a capacity not whole blocks.
        NoSpace: a thick disk does not fit; nothing has been made.
    """
    in_order = sorted(specs, key=lambda spec: spec.key)
    _check(host, datastores, vm, in_order)
    folder = free_folder(vm, {spec.datastore: datastores[spec.datastore] for spec in in_order})
    files: list[tuple[Datastore, File]] = []
    made: list[VmDisk] = []
    try:
        for i, spec in enumerate(in_order):
            stem = f"{folder}/{folder}_{i}" if i else f"{folder}/{folder}"
            datastore = datastores[spec.datastore]
            blocks = spec.capacity_bytes // host.site.block_bytes
            file = datastore.create_flat(f"{stem}-flat.vmdk", blocks, spec.provisioning)
            files.append((datastore, file))
            disk = host.site.create_disk(f"{vm}/{spec.key}", blocks, file)
            made.append(wrap(host, vm, spec, f"{stem}.vmdk", disk, datastore))
    except BaseException:
        for datastore, file in files:
            datastore.delete(file)
        raise
    return made


def free_folder(vm: str, datastores: Mapping[str, Datastore]) -> str:
    """Return a folder that no VM has on any of *datastores*: the VM's name, or that and a number.

    An unregistered VM still has its folder.
    """
    name = folder_of(vm)
    stores = [datastore.store for datastore in datastores.values()]
    for folder in chain([name], (f"{name}_{i}" for i in count(1))):
        if not any(_taken(store, folder) for store in stores):
            return folder
    raise Bug("numbers do not end")


def _taken(store: Store, folder: str) -> bool:
    inside = f"{folder}/"
    return folder in store.records or any(path.startswith(inside) for path in uploads_of(store))


def wrap(
    host: Host, vm: str, spec: DiskSpec, name: str, disk: Disk, datastore: Datastore
) -> VmDisk:
    """Return a VM's disk around one of the site's."""
    grain_blocks = max(host.parameters.tracking_grain_bytes // host.site.block_bytes, 1)
    stream = host.streams["tracking", vm, str(spec.key)]
    tracker = Tracker(disk, f"disk {spec.key} of {vm}", grain_blocks, stream)
    return VmDisk(spec, name, datastore, Chain(disk), tracker)


def _check(host: Host, datastores: Mapping[str, Datastore], vm: str, specs: list[DiskSpec]) -> None:
    if len({spec.key for spec in specs}) < len(specs):
        raise Misuse(f"disks of {vm}", "two of them have the same key")
    size = host.site.block_bytes
    for spec in specs:
        where = f"disk {spec.key} of {vm}"
        if spec.datastore not in datastores:
            raise Misuse(where, f"no datastore {spec.datastore!r}")
        if spec.capacity_bytes < 1 or spec.capacity_bytes % size:
            raise Misuse(where, f"{spec.capacity_bytes} bytes are not whole blocks of {size}")
