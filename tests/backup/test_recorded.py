"""Runs in the catalog: how each ended, what its names say, and what the next one builds on."""

from __future__ import annotations

import asyncio
import json

import pytest

from backup.bench import Bench, spec_of, two_vms
from backup.fakes import HOST_IQN
from stuntdouble.backup import JobReport, JobSpec, Method, Selection, run_recorded
from stuntdouble.backup.catalog import Catalog, RunState
from stuntdouble.backup.retention import Policy
from stuntdouble.backup.retention import apply as apply_retention
from stuntdouble.clock import run
from stuntdouble.errors import Misuse
from stuntdouble.ports import Kind
from stuntdouble.store.embedded import Memory


@pytest.fixture
def memory():
    return Memory()


async def recorded(bench: Bench, memory: Memory, spec: JobSpec, name: str = "mail") -> JobReport:
    return await run_recorded(
        Catalog(memory.open()),
        name,
        spec,
        hypervisor=bench.hypervisor,
        repository=bench.repository,
        array=bench.array,
        initiator=bench.initiator,
        host_iqn=HOST_IQN,
        note=bench.note,
    )


@pytest.mark.parametrize("method", list(Method))
def test_a_run_that_succeeds_is_recorded_with_its_points(method, memory):
    bench = two_vms()
    spec = spec_of(method, selection=Selection(("vm-1", "vm-2"), {"vm-1": (2000,)}))
    assert asyncio.run(recorded(bench, memory, spec)).ok
    catalog = Catalog(memory.open())
    (job,) = catalog.jobs()
    assert (job.name, job.method, job.vms) == ("mail", method.value, ("vm-1", "vm-2"))
    settings = json.loads(job.settings)
    assert settings["selection"]["disks"] == {"vm-1": [2000]}
    assert settings["throttle"]["depth"] == 4
    assert "run" not in settings
    (found,) = catalog.runs()
    assert (found.id, found.serial, found.state, found.reason) == ("mail/1", 1, "succeeded", "")
    assert found.queued <= found.started < found.ended
    assert set(catalog.points()) == set(bench.repository.points())


def test_an_incremental_of_another_process_builds_on_the_last_point(memory):
    bench = two_vms()
    for kind in (Kind.FULL, Kind.INCREMENTAL):
        report = asyncio.run(recorded(bench, memory, spec_of(Method.STORAGE, kind)))
        assert {vm.point.kind for vm in report.vms} == {kind}
    bench.check_restorable()


def test_what_a_crash_kept_from_the_catalog_is_known_to_the_next_run(memory):
    bench = two_vms()
    assert bench.run(spec_of(Method.STORAGE)).ok  # its history is not the catalog
    report = asyncio.run(recorded(bench, memory, spec_of(Method.STORAGE, Kind.INCREMENTAL)))
    assert {vm.point.kind for vm in report.vms} == {Kind.INCREMENTAL}
    assert len(Catalog(memory.open()).points()) == 4


def test_what_retention_did_not_live_to_forget_is_forgotten_by_the_next_run(memory):
    bench = two_vms()
    asyncio.run(recorded(bench, memory, spec_of(Method.STORAGE)))
    catalog = Catalog(memory.open())
    catalog.forget = lambda point: (_ for _ in ()).throw(KeyboardInterrupt)
    asyncio.run(recorded(bench, memory, spec_of(Method.STORAGE)))
    with pytest.raises(KeyboardInterrupt):
        apply_retention(Policy(keep_last=1), bench.repository, catalog, 99.0)
    known = {point.id for point in Catalog(memory.open()).points()}
    assert known > {point.id for point in bench.repository.points()}
    asyncio.run(recorded(bench, memory, spec_of(Method.STORAGE)))
    known = {point.id for point in Catalog(memory.open()).points()}
    assert known == {point.id for point in bench.repository.points()}


def test_a_run_that_fails_says_which_vm_and_what_is_left(memory):
    bench = two_vms()
    bench.estate.unwilling = {"unmap_volume"}
    selection = Selection(("vm-2", "vm-9"))
    report = asyncio.run(recorded(bench, memory, spec_of(Method.STORAGE, selection=selection)))
    assert not report.ok
    (found,) = Catalog(memory.open()).runs()
    assert found.state is RunState.FAILED
    assert "vm-9: no VM named 'vm-9'" in found.reason
    assert "left behind mapping of" in found.reason


def test_a_run_that_is_misuse_or_a_bug_is_recorded_as_failed(memory):
    bench = two_vms()
    bench.initiator = None
    with pytest.raises(Misuse):
        asyncio.run(recorded(bench, memory, spec_of(Method.STORAGE)))
    bench.estate.faults = {1: "bug"}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(recorded(bench, memory, spec_of(Method.SOFTWARE)))
    misuse, bug = Catalog(memory.open()).runs()
    assert misuse.state is bug.state is RunState.FAILED
    assert "needs an initiator" in misuse.reason
    assert bug.reason == "ZeroDivisionError()"


def test_a_cancelled_run_is_recorded_as_cancelled(memory):
    bench = two_vms()

    async def main():
        def note(kind: str, subject: str, /, **facts: object) -> None:
            if kind == "array-snapshot":
                task.cancel()

        bench.note = note
        task = asyncio.create_task(recorded(bench, memory, spec_of(Method.STORAGE)))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (found,) = Catalog(memory.open()).runs()
    assert found.state is RunState.CANCELLED
    bench.check_nothing_left()


def test_jobs_that_start_together_share_no_name_and_repeat_exactly():
    def names() -> list[str]:
        bench, memory = two_vms(), Memory()
        bench.estate.add_datastore("ds-d", "naa.d")
        bench.estate.add_vm("vm-3", d2000=("ds-d", 4))

        async def main(env):
            mail = recorded(bench, memory, spec_of(Method.STORAGE, Kind.FULL, "vm-2"), "mail")
            web = recorded(bench, memory, spec_of(Method.STORAGE, Kind.FULL, "vm-3"), "web")
            return await asyncio.gather(mail, web)

        assert all(report.ok for report in run(main))
        bench.check_nothing_left()
        return [subject for kind, subject, _ in bench.notes if kind == "array-snapshot"]

    first = names()
    assert len(set(first)) == len(first) == 2
    assert first == names()
