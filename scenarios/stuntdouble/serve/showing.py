"""Things of the site, as the native interface shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from stuntdouble.native import models as m

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stuntdouble.array import Snapshot, Volume
    from stuntdouble.hypervisor import Vm
    from stuntdouble.ports import Mapping
    from stuntdouble.scenarios.build import World


def show_vm(vm: Vm) -> m.VmSummary:
    """Return a VM with its disks and snapshots."""
    info = vm.info()
    return m.VmSummary(
        name=info.name,
        powered_on=info.powered_on,
        tracking=info.tracking,
        consolidation_needed=info.consolidation_needed,
        question=vm.question,
        disks=[
            m.DiskSummary(
                key=disk.key,
                name=disk.name,
                capacity_bytes=disk.capacity_bytes,
                provisioning=disk.provisioning.value,
                datastore=disk.datastore,
                obstacle=disk.obstacle,
            )
            for disk in info.disks
        ],
        snapshots=[
            m.SnapshotSummary(
                id=snapshot.id,
                name=snapshot.name,
                moment_seconds=snapshot.moment,
                consistency=snapshot.consistency.value,
                change_ids=dict(snapshot.change_ids),
            )
            for snapshot in vm.snapshots
        ],
    )


def show_volume(volume: Volume) -> m.Volume:
    """Return a volume."""
    info = volume.info()
    return m.Volume(
        name=info.name,
        naa=info.naa,
        size_bytes=info.size_bytes,
        read_only=info.read_only,
        promoted_from=info.promoted_from,
    )


def show_snapshot(snapshot: Snapshot) -> m.ArraySnapshot:
    """Return an array snapshot."""
    info = snapshot.info()
    return m.ArraySnapshot(
        name=info.name,
        volume=info.volume,
        created=info.created,
        valid=info.valid,
        space_bytes=info.space_bytes,
    )


def show_mapping(mapping: Mapping) -> m.Mapping:
    """Return a mapping, with the name of its export."""
    return m.Mapping(
        volume=mapping.volume,
        naa=mapping.naa,
        initiator_iqn=mapping.initiator_iqn,
        lun=mapping.lun,
        export=_name("lun", mapping.naa),
    )


OUTCOMES: Final[dict[str, Callable[[Any], object]]] = {
    "prepare": lambda copied: m.Prepared(copied_bytes=copied),
    "create-snapshots": lambda made: [show_snapshot(each) for each in made],
    "promote": show_volume,
    "map": show_mapping,
}
"""How what an operation returns is shown; nothing, where it is not among these."""


def exports(world: World) -> Iterator[m.Export]:
    """Yield what an NBD server can serve: disks, frozen disks, and LUNs that somebody sees."""
    for vm in world.hypervisor.vms.values():
        for disk in vm.disks.values():
            yield m.Export(
                name=_name("vm", vm.name, disk.key),
                kind="disk",
                size_bytes=disk.spec.capacity_bytes,
                read_only=vm.powered_on or bool(vm.snapshots),
            )
            for snapshot in vm.snapshots:
                if disk.key in snapshot.frozen:
                    yield m.Export(
                        name=_name("snapshot", snapshot.id, disk.key),
                        kind="snapshot",
                        size_bytes=disk.spec.capacity_bytes,
                        read_only=True,
                    )
    for array in world.arrays.values():
        seen = {mapping.naa for mapping in array.masking.mappings()}
        for volume in array.inventory.mappable():
            if volume.naa in seen:
                yield m.Export(
                    name=_name("lun", volume.naa),
                    kind="lun",
                    size_bytes=volume.size_bytes,
                    read_only=volume.read_only,
                )


def _name(*parts: str | int) -> str:
    return "/".join(quote(str(part), safe="") for part in parts)


def plain(value: Any) -> Any:
    """Return a fact of the journal as JSON can hold it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return str(value)
