"""A backup server beside the served site: its clients, its history, and one job at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from stuntdouble.adapters.vsphere.inventory import find_vm
from stuntdouble.backup import InThread, JobSpec, Method, Selection, run_job
from stuntdouble.bench.backup.content import PIECE_BYTES, pieces
from stuntdouble.bench.backup.qemu import source
from stuntdouble.bench.backup.served import USER
from stuntdouble.errors import DigestMismatch, Interrupted
from stuntdouble.initiators import IscsiInitiator
from stuntdouble.initiators.iscsi import DigestUse
from stuntdouble.ports import Kind, Throttle
from stuntdouble.scenarios import load
from stuntdouble.scenarios.build import BACKUP_IQN
from stuntdouble.scenarios.remote import ArrayChoice, target_of
from stuntdouble.scenarios.remote.site import RemoteSite
from stuntdouble.scenarios.remote.verifying import holds_the_truth
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from stuntdouble.backup.repository import Repository as Stored
    from stuntdouble.bench.backup.served import Served
    from stuntdouble.ports import Repository, RestorePoint

DEPTH: Final = 8  # as many commands as qemu-img has coroutines
_RETRY_SECONDS: Final = (0.5, 2.0)


class History:
    """Remembers the newest restore point of each VM; implements ``backup.History``."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], RestorePoint] = {}

    def last(self, vm: str, method: str) -> RestorePoint | None:
        """Return the newest restore point of *vm* by *method*, or None."""
        return self._last.get((vm, method))

    def record(self, point: RestorePoint) -> None:
        """Remember *point*."""
        self._last[point.vm, point.method] = point


@dataclass(frozen=True, slots=True)
class Job:
    """How a job went.

    Args:
        seconds: all of it, from the first call to the end of its clean-up.
        copying_seconds: from the first byte that is asked for until the restore point is committed.
        bytes_read: from the LUN.
        point: the restore point.
    """

    seconds: float
    copying_seconds: float
    bytes_read: int
    point: RestorePoint


@dataclass
class Rig:
    """The backup server; ``begin`` and ``end`` enclose what it does, all on one loop."""

    served: Served
    site: RemoteSite
    initiator: IscsiInitiator
    storing: InThread
    history: History = field(default_factory=History)

    @classmethod
    async def reach(cls, served: Served) -> Self:
        """Log in everywhere.

        Digests are off, as qemu-img has it.
        """
        target = target_of(
            served.url("vsphere"),
            user=USER,
            password=served.password,
            fingerprint=None,
            insecure=False,
        )
        site = await RemoteSite.reach(target, load(str(served.scenario)), ArrayChoice("wsapi"))
        initiator = IscsiInitiator(served.at("iscsi"), BACKUP_IQN, digests=DigestUse.NONE)
        return cls(served, site, initiator, InThread())

    async def close(self) -> None:
        """Let go of everything."""
        self.storing.__exit__(None, None, None)
        await self.site.__aexit__(None, None, None)

    async def job(self, vm: str, repository: Repository, kind: Kind) -> Job:
        """Back up a VM by storage snapshot.

        Raises:
            Interrupted: it did not go well.
        """
        loop = asyncio.get_running_loop()
        marks: dict[str, float] = {}

        def note(what: str, subject: str, /, **facts: object) -> None:
            del subject, facts
            marks[what] = loop.time()

        spec = JobSpec(
            Method.STORAGE,
            Selection((vm,)),
            kind,
            quiesce=False,
            throttle=Throttle(DEPTH, MIB),
            retry_seconds=_RETRY_SECONDS,
        )
        report = await run_job(
            spec,
            hypervisor=self.site.hypervisor,
            repository=repository,
            history=self.history,
            array=self.site.array,
            initiator=self.initiator,
            note=note,
            storing=self.storing,
        )
        (outcome,) = report.vms
        if not outcome.ok or outcome.point is None or outcome.kind is not kind:
            why = outcome.error or outcome.why or "; ".join(outcome.left_behind)
            raise Interrupted(f"the backup of {vm} ({why})")
        copying = marks["restore-point"] - marks["reading-start"]
        return Job(report.ended - report.started, copying, outcome.bytes_read, outcome.point)

    async def ranges(self, vm: str) -> list[str]:
        """Map a snapshot of our own, and return the ranges of a VM's disk there for qemu-img.

        They come in the order of the disk: one behind the other, they are the disk.
        """
        array, hypervisor = self.site.array, self.site.hypervisor
        snapshot = await hypervisor.create_snapshot(vm, "ranges", quiesce=False)
        (disk,) = next(each for each in await hypervisor.vms() if each.name == vm).disks
        table = await hypervisor.offset_table(snapshot, disk.key)
        await array.create_snapshots(table.volumes, "ranges")
        await hypervisor.remove_snapshot(snapshot)
        copy = await array.promote("ranges", "ranges-copy")
        mapping = await array.map_volume(copy.name, BACKUP_IQN)
        (target,) = await self.initiator.targets()
        where = self.served.at("iscsi"), target, mapping.lun, BACKUP_IQN
        return [source(*where, row.volume_offset, row.length) for row in table]

    async def check(self, repository: Stored, point: RestorePoint) -> None:
        """Raise DigestMismatch where a restore point is not what the guest had written."""
        snapshot = self.site.hypervisor.taken[point.vm, point.moment]
        if not await holds_the_truth(repository, point, snapshot, self.site.native):
            raise DigestMismatch(f"restore point {point.id}", "the guest's", "another")

    async def change(
        self, vm: str, files: memoryview, places: Sequence[int], draw: np.random.Generator
    ) -> None:
        """Write a piece of *files* at each of *places* of a VM's disk, while it is powered off."""
        await self._power(vm, "PowerOffVM_Task")
        (disk,) = next(each for each in await self.site.hypervisor.vms() if each.name == vm).disks
        device = await self.site.hypervisor.open_target(vm, disk.key)
        try:
            for place, data in zip(places, pieces(files, len(places), draw), strict=True):
                await device.write(place * PIECE_BYTES, data)
        finally:
            await device.close()
        await self._power(vm, "PowerOnVM_Task")

    async def _power(self, vm: str, call: str) -> None:
        connection = self.site.connection
        await connection.task(lambda content: getattr(find_vm(content, vm), call)(), vm, call)
