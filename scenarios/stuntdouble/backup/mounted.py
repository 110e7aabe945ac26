"""The mounted method: an array snapshot, mounted on a hypervisor host of its own.

    1. take a VM snapshot, then an array snapshot of its volumes, then delete the VM snapshot
    2. promote the array snapshot and map the copies to the extra host
    3. the host rescans, resignatures and mounts the datastores, and registers the VM's copy
    4. read the whole disks of the copy through that host
    5. unregister, unmount, unmap, delete

Registering a copy starts its change tracking anew, so there is nothing to ask for changes:
every backup by this method, also an incremental, reads the whole image.  The image of a copy's
disk is that of the VM snapshot that was open when the array snapshot was taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stuntdouble.backup.arrayside import ArraySide
from stuntdouble.backup.cleanup import Undo
from stuntdouble.backup.copy import Plan, copy_disk, restore_point
from stuntdouble.backup.report import failing_alone
from stuntdouble.backup.vmsnapshot import freeze
from stuntdouble.errors import NotFound, Refused
from stuntdouble.extents import Runs
from stuntdouble.ports import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.select import Target
    from stuntdouble.backup.work import Work
    from stuntdouble.ports import ArraySnapshot, Draft, VmInfo, VmSnapshot


async def back_up(work: Work, target: Target, diary: Diary) -> None:
    """Back up one VM; what goes wrong stands in its diary."""
    with failing_alone(diary):
        async with (
            work.turn(work.vm_slots),
            Undo((diary,), work.spec.retry_seconds) as undo,  # step 5, on every path
        ):
            side = ArraySide(work, undo, (diary,))
            snapshot, images = await _image(work, side, target, diary)
            copies: dict[str, str] = {}
            for image in images:
                presented = await side.present(image, work.host_iqn)
                copies[presented.original] = presented.mapping.naa
            host = Host(work, undo, diary)
            disks = await host.register(target, copies)
            plan = _whole(work, target, diary)
            with restore_point(work, target, snapshot, plan, diary) as draft:
                async with side.trusted():
                    await _read(work, disks, plan, draft, diary)


async def _image(
    work: Work, side: ArraySide, target: Target, diary: Diary
) -> tuple[VmSnapshot, tuple[ArraySnapshot, ...]]:
    async with Undo((diary,), work.spec.retry_seconds) as thaw:  # the VM snapshot goes at once
        snapshot = await freeze(work, target, thaw, diary)
        images = await side.snapshot(target.volumes)
    return snapshot, images


def _whole(work: Work, target: Target, diary: Diary) -> Plan:
    """Plan to read everything; the copy's changeIds would mean nothing to the next backup."""
    diary.kind = Kind.FULL
    if work.spec.kind is Kind.INCREMENTAL:
        diary.why = "registering the copy resets its change tracking"
        diary.tell("full-instead", f"a full backup, because {diary.why}", why=diary.why)
    wanted = {disk.key: Runs.single(0, disk.capacity_bytes) for disk in target.disks}
    return Plan(Kind.FULL, "", wanted, {})


async def _read(
    work: Work, disks: Mapping[int, str], plan: Plan, draft: Draft, diary: Diary
) -> None:
    """Read disk after disk through the host; *disks* says which registered copy has which."""
    async with Undo((diary,), work.spec.retry_seconds) as undo:
        for key, copy in disks.items():
            device = await work.hypervisor.open_registered(copy, key, work.spec.transport)
            closing = undo.add(f"open disk {key} of {copy}", device.close)
            await copy_disk(device, key, plan.wanted[key], work.throttle, draft, diary)
            await undo.now(closing)


class Host:
    """The extra hypervisor host: datastores mounted and VMs registered for one backup."""

    def __init__(self, work: Work, undo: Undo, diary: Diary) -> None:
        self._hypervisor = work.hypervisor
        self._undo = undo
        self._diary = diary

    async def register(self, target: Target, copies: Mapping[str, str]) -> dict[int, str]:
        """Mount the copied datastores and register the VM's copy; return its name by disk key.

        *copies* gives the promoted volume of each original.  A VM whose disks span datastores
        is registered from the first of them, and from the others if a disk is missing then.

        Raises:
            NotFound: no registered copy has one of the disks.
        """
        mounted: dict[str, str] = {}
        for disk in target.disks:
            if disk.datastore not in mounted:
                volumes = tuple(copies[naa] for naa in disk.volumes)
                mounted[disk.datastore] = await self._mount(volumes)
        holders: dict[int, str] = {}
        for disk in target.disks:
            if disk.key not in holders:
                copy = await self._register_vm(mounted[disk.datastore], target.vm.name)
                holders.update({found.key: copy.name for found in copy.disks})
            if disk.key not in holders:
                raise NotFound(f"disk of the registered copy of {target.vm.name}", disk.key)
        return {disk.key: holders[disk.key] for disk in target.disks}

    async def _mount(self, volumes: tuple[str, ...]) -> str:
        name = ""

        async def unmount() -> None:
            # A lost reply leaves the name unknown: the host gives it again for what it mounted.
            datastore = name or await self._hypervisor.mount_copy(volumes)
            await self._hypervisor.unmount(datastore)
            self._diary.tell("unmounted", f"datastore {datastore} unmounted", datastore=datastore)

        step = self._undo.add(f"datastore mounted on {', '.join(volumes)}", unmount)
        try:
            name = await self._hypervisor.mount_copy(volumes)
        except Refused:
            self._undo.forget(step)
            raise
        self._diary.tell("mounted", f"datastore {name} mounted on the host", datastore=name)
        return name

    async def _register_vm(self, datastore: str, vm: str) -> VmInfo:
        names: list[str] = []

        async def unregister() -> None:
            for name in names or await self._registered_on(datastore):
                await self._hypervisor.unregister_vm(name)
                self._diary.tell("unregistered", f"{name} unregistered", copy=name)

        step = self._undo.add(f"registered copy of {vm} on {datastore}", unregister)
        try:
            copy = await self._hypervisor.register_vm(datastore, vm)
        except Refused:
            self._undo.forget(step)
            raise
        names.append(copy.name)
        self._diary.tell("registered", f"{copy.name} registered on the host", copy=copy.name)
        return copy

    async def _registered_on(self, datastore: str) -> list[str]:
        """Return the VMs on a datastore that nobody but this backup has mounted."""
        return [
            info.name
            for info in await self._hypervisor.vms()
            if any(disk.datastore == datastore for disk in info.disks)
        ]
