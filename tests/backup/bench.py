"""Run a backup job against the fakes, and judge what it leaves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from backup.fake_array import Array, Initiator
from backup.fake_repository import History, Repository
from backup.fakes import HOST_IQN, Estate, Hypervisor
from stuntdouble.backup import JobReport, JobSpec, Method, Selection, run_job
from stuntdouble.ports import Kind, Throttle


class Bench:
    """An estate with a backup server beside it."""

    def __init__(self) -> None:
        self.estate = Estate()
        self.hypervisor = Hypervisor(self.estate)
        self.array = Array(self.estate)
        self.initiator = Initiator(self.estate)
        self.repository = Repository()
        self.history = History()
        self.notes: list[tuple[str, str, dict[str, object]]] = []

    def note(self, kind: str, subject: str, /, **facts: object) -> None:
        self.notes.append((kind, subject, facts))

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.notes]

    def run(self, spec: JobSpec, faults: dict[int, str] | None = None) -> JobReport:
        """Run a job; a cancelled one hands over its report in its last note."""
        self.estate.calls.clear()
        self.notes.clear()
        self.estate.faults = faults or {}
        asyncio.run(self._main(spec))
        self.estate.faults = {}
        kind, _, facts = self.notes[-1]
        assert kind == "job-end"
        return facts["report"]

    async def job(self, spec: JobSpec) -> JobReport:
        return await run_job(
            spec,
            hypervisor=self.hypervisor,
            array=self.array,
            initiator=self.initiator,
            repository=self.repository,
            history=self.history,
            host_iqn=HOST_IQN,
            note=self.note,
        )

    async def _main(self, spec: JobSpec) -> None:
        task = asyncio.create_task(self.job(spec))
        self.estate.victim, self.estate.bystander = task, asyncio.current_task()
        try:
            report = await task
        except asyncio.CancelledError:
            assert self.notes[-1][2]["report"].cancelled or any(
                fault == "cut-after" for fault in self.estate.faults.values()
            )
        else:
            assert report is self.notes[-1][2]["report"]

    def check_nothing_left(self) -> None:
        assert self.estate.leftovers() == []
        assert all(draft.finished for draft in self.repository.drafts)

    def check_restorable(self) -> None:
        """Compare every restore point with what the disks held at its moment."""
        for point in self.repository.points():
            frozen = self.estate.frozen[point.vm, point.moment]
            image = self.repository.images[point.id]
            assert image == {disk.key: frozen[disk.key] for disk in point.disks}, point.id


def two_vms() -> Bench:
    """Two VMs in one group: vm-1 has a disk on a datastore over two volumes as well."""
    bench = Bench()
    bench.estate.add_datastore("ds-a", "naa.a")
    bench.estate.add_datastore("ds-bc", "naa.b", "naa.c")
    bench.estate.add_vm("vm-1", d2000=("ds-a", 5), d2001=("ds-bc", 7))
    bench.estate.add_vm("vm-2", d2000=("ds-a", 6))
    return bench


def spec_of(method: Method, kind: Kind = Kind.FULL, *vms: str, **fields: object) -> JobSpec:
    """Describe a job that retries without pauses."""
    return replace(
        JobSpec(
            method,
            Selection(vms or ("vm-1", "vm-2")),
            kind,
            retry_seconds=(0.0, 0.0, 0.0),
            throttle=Throttle(depth=4, block_bytes=1024),
        ),
        **fields,
    )
