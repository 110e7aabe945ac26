"""A lost array, and bad blocks: every way of reading and writing meets them alike."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from scenarios.tiny import tiny
from stuntdouble.array import LocalArray, LocalInitiator
from stuntdouble.backup import JobReport, Method, run_job
from stuntdouble.backup.catalog import Catalog
from stuntdouble.backup.repository import Repository
from stuntdouble.clock import perform, run
from stuntdouble.errors import MediumError, Unreachable
from stuntdouble.extents import Runs
from stuntdouble.hypervisor import LocalHypervisor
from stuntdouble.ports import Kind, Provisioning, Throttle, Transport
from stuntdouble.scenarios import parse
from stuntdouble.scenarios.build import BACKUP_IQN, HOST_IQN, World, build, prepare
from stuntdouble.scenarios.comparing import job_spec
from stuntdouble.scenarios.lived import Run
from stuntdouble.store import open_store
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

METHODS = [Method.SOFTWARE, Method.STORAGE, Method.MOUNTED]
WHEN = ["before", "meanwhile"]
UNREACHABLE = "array-1 does not answer"


@dataclass
class Stage:
    """A site under load, and what a job is run with."""

    world: World
    run: Run
    faults: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def array(self):
        return self.world.arrays["array-1"]

    @property
    def guest(self):
        return self.world.hypervisor.vm("vm-1").guest

    def damage(self, mode: str) -> None:
        with self.world.env.entered():
            volume = self.array.volume("vol-1")
            self.array.damage(volume, Runs.single(0, volume.size_bytes), mode)

    def lose(self) -> None:
        with self.world.env.entered():
            self.array.lose()

    async def job(self, at: str, fault: Callable[[], None]) -> JobReport:
        """Run the job, with a fault before it, or in the middle of its reading."""

        async def later() -> None:
            await asyncio.sleep(1.5)
            fault()

        def note(kind: str, _subject: str, /, **_facts: object) -> None:
            if kind == "reading-start" and at == "meanwhile":
                self.faults.append(asyncio.ensure_future(later()))

        if at == "before":
            fault()
        report = await run_job(
            job_spec(self.world, self.run.method, Kind.FULL),
            hypervisor=self.run.hypervisor,
            repository=self.run.repository,
            history=Catalog(open_store()),
            array=self.run.array,
            initiator=LocalInitiator(self.array, BACKUP_IQN),
            host_iqn=HOST_IQN,
            note=note,
        )
        assert len(self.faults) == (at == "meanwhile")
        return report


def play(
    directory,
    scenario: Callable[[Stage], Awaitable[None]],
    method: Method = Method.SOFTWARE,
    table: dict[str, Any] | None = None,
) -> None:
    """Run ``scenario(stage)`` in virtual time, five seconds into the load."""

    async def main(env) -> None:
        world = build(parse(table or tiny(), "test"), 1, env, None)
        hypervisor = LocalHypervisor(world.hypervisor, resolve_luns=world.mapped_to_host)
        repository = Repository.open(directory)
        array = LocalArray(world.arrays["array-1"])
        await prepare(world)
        await asyncio.sleep(5)
        await scenario(Stage(world, Run(world, method, repository, hypervisor, array)))

    run(main)


# Jobs. ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("method", METHODS)
def test_a_job_on_a_lost_array_fails_ends_and_leaves_guests_hanging(
    tmp_path, method: Method, when: str
) -> None:
    async def scenario(stage: Stage) -> None:
        report = await stage.job(when, stage.lose)
        (vm,) = report.vms
        assert vm.point is None
        assert UNREACHABLE in vm.error
        assert not stage.run.repository.points()
        completed, arrived = stage.guest.completed, stage.guest.arrived
        await asyncio.sleep(30)
        assert stage.guest.completed == completed
        assert stage.guest.arrived > arrived + 100
        conserved(stage.guest)

    play(tmp_path, scenario, method)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_read_fails_the_job(tmp_path, method: Method, when: str) -> None:
    async def scenario(stage: Stage) -> None:
        report = await stage.job(when, lambda: stage.damage("error"))
        (vm,) = report.vms
        assert vm.point is None
        assert "unrecoverable read error" in vm.error
        assert not stage.run.repository.points()
        # only a VM snapshot that was open when its grains went bad cannot be consolidated
        open_then = method is Method.SOFTWARE and when == "meanwhile"
        assert len(vm.left_behind) == open_then
        assert all("unrecoverable read error" in line for line in vm.left_behind)

    play(tmp_path, scenario, method)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("method", METHODS)
def test_wrong_bytes_are_in_the_restore_point_and_the_judge_finds_them(
    tmp_path, method: Method, when: str
) -> None:
    async def scenario(stage: Stage) -> None:
        report = await stage.job(when, lambda: stage.damage("silent"))
        (vm,) = report.vms
        assert vm.point is not None
        stage.run.verify(vm.point)
        assert stage.run.differences[vm.point.id]
        assert vm.left_behind == ()

    play(tmp_path, scenario, method)


def conserved(guest) -> None:
    waiting = len(guest.waiting)
    assert guest.arrived == guest.completed + waiting + guest.in_flight + guest.dropped


# Guests. ----------------------------------------------------------------------------------------


def test_a_guest_hangs_with_its_clock_running_and_power_off_ends_it(tmp_path) -> None:
    async def scenario(stage: Stage) -> None:
        host, guest = stage.world.hypervisor, stage.guest
        stage.lose()
        completed, arrived = guest.completed, guest.arrived
        assert completed > 0
        await asyncio.sleep(20)
        assert guest.completed == completed
        assert guest.arrived == pytest.approx(arrived + 20 * 40, rel=0.2)
        assert guest.dropped == 0
        conserved(guest)
        await perform(stage.world.env, host.crash("vm-1"))
        assert guest.in_flight == len(guest.waiting) == 0
        assert guest.completed == completed
        conserved(guest)

    play(tmp_path, scenario)


def test_disks_on_another_array_go_on_and_the_vm_can_have_no_snapshot(tmp_path) -> None:
    table = tiny()
    table["arrays"].append(copy.deepcopy(table["arrays"][0]) | {"name": "array-2"})
    table["arrays"][1]["volumes"][0]["name"] = "vol-2"
    table["datastores"].append({"name": "ds-2", "volumes": ["vol-2"]})
    table["vms"].append(copy.deepcopy(table["vms"][0]) | {"name": "vm-2"})
    table["backup"]["vms"] = ["vm-2"]  # which has to lie on the first array
    table["vms"][0]["disks"].append({"datastore": "ds-2", "size": "64 MiB", "key": 2001})

    async def scenario(stage: Stage) -> None:
        stage.lose()
        completed, arrived = stage.guest.completed, stage.guest.arrived
        await asyncio.sleep(20)
        share = (stage.guest.completed - completed) / (stage.guest.arrived - arrived)
        assert 0.3 < share < 0.7
        with pytest.raises(Unreachable, match=UNREACHABLE):
            await stage.run.hypervisor.create_snapshot("vm-1", "s", quiesce=False)
        conserved(stage.guest)

    play(tmp_path, scenario, table=table)


def test_a_retired_guest_drains_although_its_array_is_lost(tmp_path) -> None:
    async def scenario(stage: Stage) -> None:
        engine, env = stage.world.engine, stage.world.env
        stage.lose()
        await asyncio.sleep(1)
        with env.entered():
            assert not engine.drained(stage.guest).ok
            engine.retire(stage.guest)
            assert engine.drained(stage.guest).ok
        conserved(stage.guest)
        assert stage.guest.dropped > 0

    play(tmp_path, scenario)


# What the hypervisor is asked. ------------------------------------------------------------------


async def opened(port: LocalHypervisor, size: int):
    """Return a snapshot of vm-1, what its disk is read by, and what a new VM's is written by."""
    taken = await port.create_snapshot("vm-1", "s", quiesce=False)
    source = await port.open_disk(taken, 2000, Transport.SAN)
    await port.create_vm("new", "ds-1", {2000: size}, Provisioning.THIN)
    return taken, source, await port.open_target("new", 2000)


def test_the_hypervisor_can_do_nothing_on_lost_datastores(tmp_path) -> None:
    async def scenario(stage: Stage) -> None:
        port = stage.run.hypervisor
        taken, source, target = await opened(port, MIB)
        level = stage.world.hypervisor.vm("new").disk(2000).disk.head
        stage.lose()

        async def read(device) -> None:
            async for _ in device.read(Runs.single(0, MIB), Throttle()):
                pass

        for refused in (
            port.create_snapshot("vm-1", "t", quiesce=False),
            port.remove_snapshot(taken),
            port.consolidate("vm-1"),
            port.enable_tracking("vm-1"),
            port.offset_table(taken, 2000),
            port.open_disk(taken, 2000, Transport.SAN),
            port.open_registered("new", 2000, Transport.SAN),
            port.open_target("new", 2000),
            port.create_vm("another", "ds-1", {2000: MIB}, Provisioning.THIN),
            read(source),
            read(target),
            target.write(0, memoryview(b"x" * 4096)),
            port.mount_copy((stage.world.naas["vol-1"],)),
        ):
            with pytest.raises(Unreachable, match=UNREACHABLE):
                await refused
        names = {vm.name: vm.snapshots for vm in await port.vms()}
        assert names == {"vm-1": (taken.id,), "new": ()}
        assert not level.file.places

    play(tmp_path, scenario)


def test_operations_under_way_fail_when_the_array_goes(tmp_path) -> None:
    async def scenario(stage: Stage) -> None:
        port = stage.run.hypervisor
        taken, source, target = await opened(port, 8 * MIB)
        await asyncio.sleep(2)

        async def paced() -> None:
            async for _ in source.read(Runs.single(0, 16 * MIB), Throttle(1, 65536, 1e5)):
                pass

        work = [
            asyncio.ensure_future(each)
            for each in (
                paced(),
                target.write(0, memoryview(bytes(8 * MIB))),
                port.create_vm("eager", "ds-1", {1: 64 * MIB}, Provisioning.EAGER_ZEROED),
                port.remove_snapshot(taken),
            )
        ]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in work)
        stage.lose()
        done, hanging = await asyncio.wait(work, timeout=60)
        assert not hanging
        assert [str(task.exception()) for task in work] == [UNREACHABLE] * len(work)
        assert len(done) == len(work)
        with pytest.raises(Unreachable):
            await port.consolidate("vm-1")

    play(tmp_path, scenario)


# Damage and consolidation. ----------------------------------------------------------------------


def test_consolidation_stops_at_grains_it_cannot_read_and_may_go_on_later(tmp_path) -> None:
    async def scenario(stage: Stage) -> None:
        port, host = stage.run.hypervisor, stage.world.hypervisor
        taken = await port.create_snapshot("vm-1", "s", quiesce=False)
        await asyncio.sleep(2)
        await perform(stage.world.env, host.power_off("vm-1"))
        stage.damage("error")
        with pytest.raises(MediumError):
            await port.remove_snapshot(taken)
        (info,) = await port.vms()
        assert info.consolidation_needed
        disk = host.vm("vm-1").disk(2000)
        with stage.world.env.entered():
            for block in range(0, disk.disk.blocks, 256):
                stage.world.site.write(disk.disk, block * 4096, MIB)
        await port.consolidate("vm-1")
        (info,) = await port.vms()
        assert not info.consolidation_needed

    play(tmp_path, scenario)
