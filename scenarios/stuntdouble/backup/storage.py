"""The storage method: backup from a storage snapshot, without a hypervisor host.

    1. the operator has selected the VMs; those that share volumes are one group; an array that
       splits mirrors synchronises them now
    2. take a VM snapshot of each, so that their base disk files stop changing
    3. fetch each disk's offset table, and what changed since the last backup
    4. take one array snapshot of all the group's volumes
    5. delete the VM snapshots at once: they lived seconds, their delta disks are small
    6. promote the array snapshots, map the copies to this server, attach them
    7. read what is needed through the offset tables, in the order of the volumes
    8. close, unmap, delete the copies, delete the array snapshots

All VM snapshots of a group stay open until its array snapshot is taken, so the first VM waits
for the last: that is part of the method's cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from stuntdouble.backup.arrayside import ArraySide
from stuntdouble.backup.cleanup import Undo
from stuntdouble.backup.copy import copy_volume, plan_reading, restore_point, write_zeros
from stuntdouble.backup.instant import take_image
from stuntdouble.backup.report import failing_alone
from stuntdouble.backup.vmsnapshot import freeze
from stuntdouble.backup.work import together
from stuntdouble.errors import InvalidState
from stuntdouble.extents import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stuntdouble.backup.copy import Plan
    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.select import Target
    from stuntdouble.backup.work import Work
    from stuntdouble.extents import OffsetTable, Runs
    from stuntdouble.ports import ArraySnapshot, BlockDevice, DiskInfo, VmSnapshot


@dataclass(frozen=True, slots=True)
class Frozen:
    """A VM after step 3: all that is needed to read its image from any copy of its volumes."""

    target: Target
    diary: Diary
    snapshot: VmSnapshot
    tables: Mapping[int, OffsetTable]
    plan: Plan


async def back_up_group(work: Work, group: Sequence[Target], diaries: Mapping[str, Diary]) -> None:
    """Back up the VMs of one group of volumes; what goes wrong stands in their diaries."""
    ours = tuple(diaries[target.vm.name] for target in group)
    with failing_alone(*ours):
        async with (
            work.turn(work.vm_slots),
            Undo(ours, work.spec.retry_seconds) as undo,  # step 8, on every path
        ):
            side = ArraySide(work, undo, ours)
            hold = partial(_hold, work)
            frozen, snapshots = await take_image(  # steps 2 to 5
                work, undo, side, group, diaries, hold=hold, volumes=_volumes
            )
            devices = await _attach(work, side, undo, snapshots)
            await together(_read(work, side, vm, devices) for vm in frozen)


async def _hold(work: Work, target: Target, diary: Diary, thaw: Undo) -> Frozen:
    """Take a VM snapshot and fetch what can be asked only while it is open: steps 2 and 3."""

    async def in_use(disk: DiskInfo) -> Runs:
        return tables[disk.key].where(State.WRITTEN)

    snapshot = await freeze(work, target, thaw, diary)
    tables = {
        disk.key: await work.hypervisor.offset_table(snapshot, disk.key) for disk in target.disks
    }
    plan = await plan_reading(work, target, snapshot, diary, in_use)
    return Frozen(target, diary, snapshot, tables, plan)


async def _attach(
    work: Work, side: ArraySide, undo: Undo, snapshots: Sequence[ArraySnapshot]
) -> dict[str, BlockDevice]:
    """Present each array snapshot to this server: step 6.  Keys are the originals' NAAs."""
    initiator = work.the_initiator()
    devices: dict[str, BlockDevice] = {}
    for snapshot in snapshots:
        presented = await side.present(snapshot, initiator.iqn)
        mapping = presented.mapping
        device = await initiator.attach(mapping)
        undo.add(f"attached LUN {mapping.lun}", device.close, needs=(presented.step,))
        if device.identity != mapping.naa:
            lun = f"LUN {mapping.lun}"
            raise InvalidState(lun, f"volume {device.identity}", f"read {mapping.naa}")
        devices[presented.original] = device
    return devices


async def _read(
    work: Work, side: ArraySide, vm: Frozen, devices: Mapping[str, BlockDevice]
) -> None:
    """Read one VM's image, volume by volume: step 7."""
    with failing_alone(vm.diary):
        async with work.turn(work.read_slots):
            with restore_point(work, vm.target, vm.snapshot, vm.plan, vm.diary) as draft:
                write_zeros(vm.tables, vm.plan, draft)
                async with side.trusted():
                    for naa in _volumes(vm):
                        await copy_volume(
                            work, devices[naa], naa, vm.tables, vm.plan, draft, vm.diary
                        )


def _volumes(vm: Frozen) -> tuple[str, ...]:
    """Return the volumes of a VM, each once: those of its datastores and of its tables.

    A VM that had snapshots before the job may have delta disks on other datastores: only its
    offset tables know those.
    """
    names = [*vm.target.volumes]
    names += [naa for table in vm.tables.values() for naa in table.volumes]
    return tuple(dict.fromkeys(names))
