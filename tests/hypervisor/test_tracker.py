"""Change tracking: what it answers against what was written, page by page, and when it forgets."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypervisor.bench import BLOCK, LAZY, fill, rig, seen, spec, written
from stuntdouble.clock import run
from stuntdouble.errors import ChangeHistoryLost, InvalidState, Misuse
from stuntdouble.extents import Runs
from stuntdouble.hypervisor import LocalHypervisor
from stuntdouble.units import KIB

BLOCKS = 256
SIZE = BLOCKS * BLOCK
GRAIN = 16 * KIB
CHANGE_ID = re.compile(r"([0-9a-f]{2} ){7}[0-9a-f]{2}-([0-9a-f]{2} ){7}[0-9a-f]{2}/\d+")

rounds = st.lists(
    st.lists(st.tuples(st.integers(0, BLOCKS - 1), st.integers(1, 9)), max_size=6),
    min_size=1,
    max_size=4,
)


def tracked(**parameters):
    """Return a rig whose VM is tracked, and its first snapshot."""
    bench = rig(**parameters)
    vm = bench.add_vm(spec(size=SIZE))
    bench.do(bench.hypervisor.enable_tracking(vm))
    return bench, vm, bench.do(bench.hypervisor.create_snapshot(vm, "s"))


def port(bench):
    return LocalHypervisor(bench.hypervisor, lambda _naa: bench.luns[0])


def step(coroutine):
    """Run a call of the port that takes no time."""
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    return done.value.value


def pages(bench, snapshot, since, key=2000):
    """Ask page by page; return the pages."""
    found, at = [], 0
    size = bench.hypervisor.vm("vm").disks[key].spec.capacity_bytes
    while at < size:
        found.append(step(port(bench).changed_ranges(snapshot, key, since, at)))
        assert found[-1].start == at
        assert found[-1].covered > 0
        at += found[-1].covered
    assert at == size
    return found


def changed(bench, snapshot, since, key=2000):
    return Runs.of([(s, n) for p in pages(bench, snapshot, since, key) for s, n in p.extents])


@settings(max_examples=25)
@given(rounds, st.sampled_from([(2000, 0), (1, 0), (2, 96 * KIB), (2000, 40 * KIB)]))
def test_answers_are_the_grains_written_whatever_the_paging(rounds, paging):
    areas, span = paging
    bench, vm, last = tracked(tracking_page_areas=areas, tracking_page_bytes=span)
    disk, first = vm.disks[2000].disk, last
    grains: list[set[int]] = []
    snapshots = [first]
    for writes in rounds:
        grains.append(set())
        for block, count in writes:
            length = min(count, BLOCKS - block) * BLOCK
            bench.site.write(disk, block * BLOCK, length)
            grains[-1] |= set(range(block * BLOCK // GRAIN, -(-(block * BLOCK + length) // GRAIN)))
        snapshots.append(bench.do(bench.hypervisor.create_snapshot(vm, "s")))
    for i, old in enumerate(snapshots):
        found = pages(bench, snapshots[-1], old.change_ids[2000])
        for page in found:
            assert len(page.extents) <= areas
            assert page.covered <= (span or SIZE)
            assert page.extents == page.extents.clip(page.start, page.start + page.covered)
        union = Runs.of([(s, n) for page in found for s, n in page.extents])
        want = set().union(*grains[i:])
        assert union == Runs.of([(g * GRAIN, GRAIN) for g in want])
        # and never less than what differs, byte by byte
        old_bytes = written(bench.site, disk, bench.hypervisor.moments[old.id, 2000])
        new_bytes = written(bench.site, disk, bench.hypervisor.moments[snapshots[-1].id, 2000])
        differing = [
            (at, BLOCK)
            for at in range(0, SIZE, BLOCK)
            if old_bytes[at : at + BLOCK] != new_bytes[at : at + BLOCK]
        ]
        assert union.covers(Runs.of(differing))


def test_ids_look_like_the_fields_and_count_up():
    bench, vm, first = tracked()
    second = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert CHANGE_ID.fullmatch(first.change_ids[2000])
    identity, number = second.change_ids[2000].split("/")
    assert first.change_ids[2000] == f"{identity}/{int(number) - 1}"


def test_consolidation_is_not_a_change():
    bench, vm, first = tracked(consolidation="mirror")
    bench.site.write(vm.disks[2000].disk, 0, BLOCK)
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    second = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert changed(bench, second, first.change_ids[2000]) == Runs.single(0, GRAIN)


@pytest.mark.parametrize("provisioning", [spec().provisioning, LAZY])
def test_a_star_asks_for_what_is_in_use_by_grains(provisioning):
    bench = rig()
    vm = bench.add_vm(spec(size=SIZE, provisioning=provisioning))
    bench.do(bench.hypervisor.enable_tracking(vm))
    bench.site.write(vm.disks[2000].disk, 70 * BLOCK, BLOCK)  # one 64 KiB unit is zeroed
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert changed(bench, taken, "*") == Runs.single(64 * BLOCK, 16 * BLOCK)
    bench.site.write(vm.disks[2000].disk, 130 * BLOCK, BLOCK)  # a grain of 4 KiB in the delta
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "t"))
    found = Runs.of([(64 * BLOCK, 16 * BLOCK), (128 * BLOCK, GRAIN)])
    assert changed(bench, taken, "*") == found


def test_a_star_is_the_whole_disk_where_snapshots_were_there_before():
    bench = rig(tracking_with_snapshots=True)
    vm = bench.add_vm(spec(size=SIZE))
    bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    bench.do(bench.hypervisor.enable_tracking(vm))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert changed(bench, taken, "*") == Runs.single(0, SIZE)


def test_tracking_begins_at_the_next_stun_and_at_once_when_off():
    bench = rig()
    vm = bench.add_vm(spec(size=SIZE))
    tracker = vm.disks[2000].tracker
    bench.do(bench.hypervisor.enable_tracking(vm))
    assert vm.info().tracking
    assert not tracker.active
    bench.do(bench.hypervisor.power_off(vm))
    assert not tracker.active  # powering off is no stun
    bench.do(bench.hypervisor.power_on(vm))
    assert tracker.active
    bench.do(bench.hypervisor.power_off(vm))
    bench.do(bench.hypervisor.set_tracking(vm, enabled=False))
    assert not tracker.active
    bench.do(bench.hypervisor.enable_tracking(vm))
    assert tracker.active


def crash(bench, vm):
    bench.do(bench.hypervisor.crash(vm))
    bench.do(bench.hypervisor.power_on(vm))


def revert(bench, vm):
    bench.do(bench.hypervisor.revert(vm, vm.snapshots[0].id))


def off_and_on(bench, vm):
    bench.do(bench.hypervisor.set_tracking(vm, enabled=False))
    bench.do(bench.hypervisor.remove_all_snapshots(vm))  # with a stun
    bench.do(bench.hypervisor.enable_tracking(vm))


def reattach(bench, vm):
    bench.do(bench.hypervisor.remove_all_snapshots(vm))
    bench.do(bench.hypervisor.power_off(vm))
    bench.do(bench.hypervisor.reattach_disk(vm, 2000))


@pytest.mark.parametrize("reset", [crash, revert, off_and_on, reattach])
def test_resets_lose_the_history(reset):
    bench, vm, first = tracked()
    reset(bench, vm)
    second = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    old, new = first.change_ids[2000], second.change_ids[2000]
    assert old.split("/")[0] != new.split("/")[0]
    with pytest.raises(ChangeHistoryLost):
        changed(bench, second, old)
    assert not changed(bench, second, new)


def test_powering_off_cleanly_keeps_the_history():
    bench, vm, first = tracked()
    bench.site.write(vm.disks[2000].disk, 0, BLOCK)
    bench.do(bench.hypervisor.power_off(vm))
    bench.do(bench.hypervisor.power_on(vm))
    second = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert changed(bench, second, first.change_ids[2000]).total == GRAIN


def test_nonsense_is_refused():
    bench, vm, first = tracked()
    own = first.change_ids[2000]
    identity = own.split("/")[0]
    ask = port(bench).changed_ranges
    for since in ("", "7", own.upper().replace("52", "zz"), f"{identity}/x"):
        with pytest.raises(Misuse, match="changeId"):
            step(ask(first, 2000, since, 0))
    with pytest.raises(InvalidState, match="later"):
        step(ask(first, 2000, f"{identity}/9", 0))
    for start in (-1, SIZE, SIZE + 1):
        with pytest.raises(Misuse, match="startOffset"):
            step(ask(first, 2000, own, start))
    bench.do(bench.hypervisor.crash(vm))
    with pytest.raises(ChangeHistoryLost):
        step(ask(first, 2000, "*", 0))


def test_what_cannot_be_tracked_is_refused():
    bench = rig()
    old = bench.add_vm(spec(), name="old", hardware_version=4)
    with pytest.raises(InvalidState, match="hardware version 4"):
        bench.do(bench.hypervisor.enable_tracking(old))
    vm = bench.add_vm(spec(), spec(2001, mode="independent"))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    with pytest.raises(InvalidState, match="not tracked"):
        step(port(bench).changed_ranges(taken, 2000, "*", 0))
    with pytest.raises(InvalidState, match="on top of a snapshot"):
        bench.do(bench.hypervisor.enable_tracking(vm))
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    bench.do(bench.hypervisor.enable_tracking(vm))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    assert set(taken.change_ids) == {2000}


def test_writes_during_consolidation_by_either_way_are_changes():
    for algorithm in ("mirror", "helper"):
        bench, vm, first = tracked(consolidation=algorithm, consolidation_io_bytes=BLOCK)
        disk = vm.disks[2000].disk
        fill(bench, disk)
        process = bench.env.process(bench.hypervisor.remove_snapshot(vm, first.id))
        seal = {}
        for block in range(0, BLOCKS, 3):
            for _ in range(5):
                if process.is_alive:
                    bench.env.step()
            if not vm.guest.stuns:
                bench.site.write(disk, block * BLOCK, BLOCK)
                seal[block] = True
        bench.settle()
        second = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
        found = changed(bench, second, first.change_ids[2000])
        assert found.covers(Runs.of([(b * BLOCK, BLOCK) for b in seal]))
        moment = bench.hypervisor.moments[second.id, 2000]
        assert seen(vm.snapshot(second.id).frozen[2000], disk) == written(bench.site, disk, moment)


def test_the_port_enables_tracking():
    async def main(env):
        bench = rig(env=env)
        bench.add_vm(spec(size=SIZE))
        await port(bench).enable_tracking("vm")
        await asyncio.sleep(1)
        taken = await port(bench).create_snapshot("vm", "s", quiesce=False)
        return taken.change_ids

    assert CHANGE_ID.fullmatch(run(main)[2000])
