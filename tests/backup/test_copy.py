"""Change lists page by page, and what is read, zeroed and counted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.bench import Bench, spec_of, two_vms
from backup.fakes import BLOCK
from stuntdouble.backup import JobSpec, Method, Selection, run_job
from stuntdouble.backup.copy import changed_ranges
from stuntdouble.errors import InvalidState, Misuse
from stuntdouble.extents import Runs, State
from stuntdouble.ports import ChangedPage, Kind

CAPACITY = 64


class Pager:
    """Answers from a fixed set, in pages cut at given places."""

    def __init__(self, changed: Runs, cuts: list[int]) -> None:
        self.changed = changed
        self.cuts = sorted({*cuts, CAPACITY})
        self.asked: list[int] = []

    async def changed_ranges(self, snapshot, disk, since, start):
        self.asked.append(start)
        stop = next(cut for cut in self.cuts if cut > start)
        return ChangedPage(start, stop - start, self.changed.clip(start, stop))


def ask(pager, capacity: int = CAPACITY) -> Runs:
    work = SimpleNamespace(hypervisor=pager)
    disk = SimpleNamespace(key=2000, capacity_bytes=capacity)
    snapshot = SimpleNamespace(vm="vm-1")
    return asyncio.run(changed_ranges(work, snapshot, disk, "a/1"))


@given(
    st.lists(st.tuples(st.integers(0, 56), st.integers(0, 8))),
    st.lists(st.integers(1, CAPACITY - 1)),
)
def test_any_paging_gives_the_same_changes(areas, cuts):
    changed = Runs.of(areas)
    pager = Pager(changed, cuts)
    assert ask(pager) == changed
    assert pager.asked == [0, *pager.cuts[:-1]], "from the start to the capacity, never beyond"


def test_areas_beyond_the_capacity_are_cut_off():
    class Generous(Pager):
        async def changed_ranges(self, snapshot, disk, since, start):
            return ChangedPage(0, 2 * CAPACITY, Runs.single(8, 2 * CAPACITY - 8))

    assert ask(Generous(Runs.empty(), [])) == Runs.single(8, CAPACITY - 8)


def test_a_disk_of_no_bytes_has_no_changes():
    assert ask(Pager(Runs.empty(), []), capacity=0) == Runs.empty()


@pytest.mark.parametrize("page", [(0, 0), (8, 8), (0, -8)])
def test_a_page_that_does_not_advance_is_an_error(page):
    class Stuck(Pager):
        async def changed_ranges(self, snapshot, disk, since, start):
            return ChangedPage(*page, Runs.empty())

    with pytest.raises(InvalidState, match="stuck at byte 0"):
        ask(Stuck(Runs.empty(), []))


@pytest.mark.parametrize("method", [Method.SOFTWARE, Method.STORAGE])
def test_a_stuck_change_list_fails_the_vm_and_leaves_nothing(method):
    bench = two_vms()
    assert bench.run(spec_of(method)).ok
    bench.estate.stuck_pages = True
    report = bench.run(spec_of(method, Kind.INCREMENTAL))
    assert all("stuck" in vm.error for vm in report.vms)
    bench.check_nothing_left()


def quiet_bench() -> Bench:
    bench = two_vms()
    bench.estate.churning = False
    return bench


def test_an_incremental_zeroes_what_became_zero_and_reads_only_what_is_written():
    bench = quiet_bench()
    vm = bench.estate.vms["vm-2"]
    disk = vm.disks[2000]
    assert bench.run(spec_of(Method.STORAGE, Kind.FULL, "vm-2")).ok
    bench.estate.write(vm, disk, 0, None)
    bench.estate.write(vm, disk, 2, b"\x01" * BLOCK)
    disk.epochs[-1].add(1)
    assert disk.blocks[1][0] is State.TO_BE_ZEROED
    report = bench.run(spec_of(Method.STORAGE, Kind.INCREMENTAL, "vm-2"))
    point = report.vms[0].point
    assert report.bytes_read == point.bytes_read == BLOCK
    image = bench.repository.images[point.id][2000]
    assert image[:BLOCK] == bytes(BLOCK)
    assert image[BLOCK : 2 * BLOCK] == bytes(BLOCK)
    assert image[2 * BLOCK : 3 * BLOCK] == b"\x01" * BLOCK
    bench.check_restorable()


def test_bytes_read_are_those_that_came_from_devices():
    bench = quiet_bench()
    report = bench.run(spec_of(Method.SOFTWARE))
    in_use = sum(
        state is not State.HOLE
        for vm in bench.estate.vms.values()
        for disk in vm.disks.values()
        for state, _, _ in disk.blocks
    )
    assert report.bytes_read == in_use * BLOCK
    assert report.bytes_read == sum(vm.point.bytes_read for vm in report.vms)


def test_an_unchanged_disk_is_not_even_opened():
    bench = quiet_bench()
    assert bench.run(spec_of(Method.SOFTWARE)).ok
    bench.run(spec_of(Method.SOFTWARE, Kind.INCREMENTAL))
    assert bench.run(spec_of(Method.SOFTWARE, Kind.INCREMENTAL)).ok
    assert bench.estate.count("open_disk") == 0


def test_a_job_without_the_ports_of_its_method_is_misuse():
    bench = quiet_bench()

    def run(method: Method, **ports: object) -> None:
        asyncio.run(
            run_job(
                JobSpec(method, Selection(("vm-1",))),
                hypervisor=bench.hypervisor,
                repository=bench.repository,
                history=bench.history,
                **ports,
            )
        )

    with pytest.raises(Misuse, match="needs a storage array"):
        run(Method.STORAGE)
    with pytest.raises(Misuse, match="needs an initiator"):
        run(Method.STORAGE, array=bench.array)
    with pytest.raises(Misuse, match="host's initiator name"):
        run(Method.MOUNTED, array=bench.array)
    assert bench.estate.calls == []
