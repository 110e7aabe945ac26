"""The extra host's part of the mounted method: datastores mounted, VMs registered; the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.errors import NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.backup.arrayside import Presented
    from stuntdouble.backup.cleanup import Step, Undo
    from stuntdouble.backup.report import Diary
    from stuntdouble.backup.select import Target
    from stuntdouble.backup.work import Work
    from stuntdouble.ports import DiskInfo, VmInfo


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted copy of a datastore, and the step that unmounts it."""

    datastore: str
    step: Step


@dataclass(frozen=True, slots=True)
class Copy:
    """The registered copy of a VM, and the step that unregisters it."""

    name: str
    step: Step


class Host:
    """The extra hypervisor host, for one group: each datastore is mounted once for all its VMs.

    Each thing has its way back on *undo* first, and needs what it stands on.
    """

    def __init__(self, work: Work, undo: Undo, diaries: tuple[Diary, ...]) -> None:
        self._note = work.note
        self._hypervisor = work.hypervisor
        self._undo = undo
        self._diaries = diaries
        self._mounts: dict[str, Mount] = {}  # by the original datastore
        self._registered: set[str] = set()

    async def mount(self, disks: Iterable[DiskInfo], copies: Iterable[Presented]) -> None:
        """Mount the copies of the datastores under *disks*, each once.

        *copies* are the promoted volumes of all of them.
        """
        by_original = {copy.original: copy for copy in copies}
        for disk in disks:
            if disk.datastore not in self._mounts:
                under = tuple(by_original[naa] for naa in disk.volumes)
                self._mounts[disk.datastore] = await self._mount(under)

    async def register(self, target: Target, diary: Diary) -> dict[int, Copy]:
        """Register the copy of a VM; return by disk key which registered copy has the disk.

        A VM whose disks span datastores is registered from the first of them, and from the
        others if a disk is missing then.

        Raises:
            NotFound: no registered copy has one of the disks.
        """
        holders: dict[int, Copy] = {}
        for disk in target.disks:
            if disk.key not in holders:
                mount = self._mounts[disk.datastore]
                info, step = await self._register_vm(mount, target.vm.name, diary)
                copy = Copy(info.name, step)
                holders.update({found.key: copy for found in info.disks})
            if disk.key not in holders:
                raise NotFound(f"disk of the registered copy of {target.vm.name}", disk.key)
        return {disk.key: holders[disk.key] for disk in target.disks}

    async def _mount(self, copies: tuple[Presented, ...]) -> Mount:
        name = ""
        volumes = tuple(copy.mapping.naa for copy in copies)

        async def unmount() -> None:
            # A lost reply leaves the name unknown: the host gives it again for what it mounted.
            datastore = name or await self._hypervisor.mount_copy(volumes)
            await self._hypervisor.unmount(datastore)
            self._tell("unmounted", f"datastore {datastore} unmounted", datastore)

        needs = tuple(copy.step for copy in copies)
        step = self._undo.add(f"datastore mounted on {', '.join(volumes)}", unmount, needs=needs)
        try:
            name = await self._hypervisor.mount_copy(volumes)
        except Refused:
            self._undo.forget(step)
            raise
        self._tell("mounted", f"datastore {name} mounted on the host", name)
        return Mount(name, step)

    async def _register_vm(self, mount: Mount, vm: str, diary: Diary) -> tuple[VmInfo, Step]:
        names: list[str] = []

        async def unregister() -> None:
            for name in names or await self._strays(mount.datastore):
                await self._hypervisor.unregister_vm(name)
                diary.tell("unregistered", f"{name} unregistered", copy=name)

        name = f"registered copy of {vm} on {mount.datastore}"
        step = self._undo.add(name, unregister, diary, needs=(mount.step,))
        try:
            copy = await self._hypervisor.register_vm(mount.datastore, vm)
        except Refused:
            self._undo.forget(step)
            raise
        names.append(copy.name)
        self._registered.add(copy.name)
        diary.tell("registered", f"{copy.name} registered on the host", copy=copy.name)
        return copy, step

    async def _strays(self, datastore: str) -> list[str]:
        """Return the VMs on a datastore whose registration was never answered.

        Nobody but this group has the datastore mounted, so they are all the group's.
        """
        return [
            info.name
            for info in await self._hypervisor.vms()
            if info.name not in self._registered
            and any(disk.datastore == datastore for disk in info.disks)
        ]

    def _tell(self, kind: str, text: str, datastore: str) -> None:
        self._note(kind, datastore, vms=tuple(diary.vm for diary in self._diaries))
        for diary in self._diaries:
            diary.line(text)
