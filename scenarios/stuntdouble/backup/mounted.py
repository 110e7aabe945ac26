"""The mounted method: an array snapshot, mounted on a hypervisor host of its own.

    1. let the array prepare, take a VM snapshot of each VM, then one array snapshot of all their
       volumes, then delete the VM snapshots; VMs that share volumes are one group
    2. promote the array snapshot and map the copies to the extra host
    3. the host rescans, resignatures and mounts each datastore once
    4. register the copy of each VM, and read its whole disks through that host
    5. unregister all, unmount, unmap, delete

Registering a copy starts its change tracking anew, so there is nothing to ask for changes:
every backup by this method, also an incremental, reads the whole image.  The image of a copy's
disk is that of the VM snapshot that was open when the array snapshot was taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from stuntdouble.backup.arrayside import ArraySide
from stuntdouble.backup.cleanup import Undo
from stuntdouble.backup.copy import Plan, copy_disk, restore_point
from stuntdouble.backup.instant import take_image
from stuntdouble.backup.mounting import Host
from stuntdouble.backup.report import failing_alone
from stuntdouble.backup.vmsnapshot import freeze
from stuntdouble.backup.work import together
from stuntdouble.extents import Runs
from stuntdouble.ports import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stuntdouble.backup.mounting import Copy
    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.select import Target
    from stuntdouble.backup.work import Work
    from stuntdouble.ports import Draft, VmSnapshot


@dataclass(frozen=True, slots=True)
class Held:
    """A VM after step 1: in the array snapshot, as its VM snapshot froze it."""

    target: Target
    diary: Diary
    snapshot: VmSnapshot


async def back_up_group(work: Work, group: Sequence[Target], diaries: Mapping[str, Diary]) -> None:
    """Back up the VMs of one group of volumes; what goes wrong stands in their diaries."""
    ours = tuple(diaries[target.vm.name] for target in group)
    with failing_alone(*ours):
        async with (
            work.turn(work.vm_slots),
            Undo(ours, work.spec.retry_seconds) as undo,  # step 5, on every path
        ):
            side = ArraySide(work, undo, ours)
            held, images = await take_image(
                work, undo, side, group, diaries, hold=partial(_hold, work), volumes=_volumes
            )
            presented = [await side.present(image, work.host_iqn) for image in images]
            host = Host(work, undo, ours)
            await host.mount([disk for vm in held for disk in vm.target.disks], presented)
            await together(_back_up(work, side, host, vm) for vm in held)


async def _hold(work: Work, target: Target, diary: Diary, thaw: Undo) -> Held:
    return Held(target, diary, await freeze(work, target, thaw, diary))


def _volumes(vm: Held) -> Iterable[str]:
    return vm.target.volumes


async def _back_up(work: Work, side: ArraySide, host: Host, vm: Held) -> None:
    """Register one VM's copy and read it: step 4."""
    with failing_alone(vm.diary):
        async with work.turn(work.read_slots):
            copies = await host.register(vm.target, vm.diary)
            plan = _whole(work, vm.target, vm.diary)
            with restore_point(work, vm.target, vm.snapshot, plan, vm.diary) as draft:
                async with side.trusted():
                    await _read(work, copies, plan, draft, vm.diary)


def _whole(work: Work, target: Target, diary: Diary) -> Plan:
    """Plan to read everything; the copy's changeIds would mean nothing to the next backup."""
    diary.kind = Kind.FULL
    if work.spec.kind is Kind.INCREMENTAL:
        diary.why = "registering the copy resets its change tracking"
        diary.tell("full-instead", f"a full backup, because {diary.why}", why=diary.why)
    wanted = {disk.key: Runs.single(0, disk.capacity_bytes) for disk in target.disks}
    return Plan(Kind.FULL, "", wanted, {})


async def _read(
    work: Work, copies: Mapping[int, Copy], plan: Plan, draft: Draft, diary: Diary
) -> None:
    """Read disk after disk through the host; *copies* says which registered copy has which."""
    async with Undo((diary,), work.spec.retry_seconds) as undo:
        for key, copy in copies.items():
            device = await work.hypervisor.open_registered(copy.name, key, work.spec.transport)
            name = f"open disk {key} of {copy.name}"
            closing = undo.add(name, device.close, needs=(copy.step,))
            await copy_disk(work, device, key, plan.wanted[key], draft, diary)
            await undo.now(closing)
