"""Disks that are extended: powered on or off, in each way of provisioning, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hypervisor.bench import BLOCK, EAGER, FS_BLOCK, LAZY, THIN, fill, rig, seen, spec, written
from stuntdouble.errors import Interrupted, InvalidState, Misuse, NoSpace, UnknownDisk
from stuntdouble.extents import Runs, State
from stuntdouble.hypervisor import changed_ranges
from stuntdouble.iops import Pattern, PoissonLoad, Reference
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.units import KIB, MIB

SIZE = MIB
KEY = 2000
GRAIN = 16 * KIB

each_kind = pytest.mark.parametrize("provisioning", [THIN, LAZY, EAGER])


@each_kind
@pytest.mark.parametrize("running", [True, False])
def test_what_is_new_reads_as_zeros_and_can_be_written(provisioning, running):
    bench = rig()
    size = SIZE + 3 * BLOCK  # ends within a block of the file system
    load = PoissonLoad(1, "vm", 200.0, (Pattern(0.5, BLOCK, SIZE),)) if running else None
    vm = bench.add_vm(spec(size=size, provisioning=provisioning), load=load, powered_on=running)
    disk = vm.disks[KEY]
    fill(bench, disk.disk, 250, 9)
    free = bench.datastore.free_bytes
    bench.do(bench.hypervisor.extend_disk(vm, KEY, 2 * SIZE))
    assert vm.info().disks[0].capacity_bytes == disk.disk.size_bytes == 2 * SIZE
    new = -(-2 * SIZE // FS_BLOCK) - -(-size // FS_BLOCK)
    taken = 0 if provisioning is THIN else new * FS_BLOCK
    assert free - bench.datastore.free_bytes >= taken
    assert set(seen(disk.disk.head, disk.disk)[size:]) == {0}
    if running:
        bench.env.run(until=bench.env.now + 1.0)
    fill(bench, disk.disk, 500, 12)
    moment = disk.disk.moment(bench.env.now)
    assert seen(disk.disk.head, disk.disk) == written(bench.site, disk.disk, moment)
    facts = bench.last("extended")
    assert facts == {"disk": KEY, "bytes": 2 * SIZE, "bytes_before": size}
    record = bench.datastore.store.records["vm"]
    assert record.disks[0].spec.capacity_bytes == 2 * SIZE
    table = bench.hypervisor.layout(vm, KEY)
    assert table.where(State.WRITTEN).covers(Runs.single(500 * BLOCK, 12 * BLOCK))


@each_kind
@pytest.mark.parametrize("engine", [Reference, CompiledEngine])
def test_a_guest_writes_on_while_its_disk_grows(provisioning, engine):
    """Thousands of writes before, while and after maps get more roots: none goes astray."""
    bench = rig(lun_bytes=256 * MIB, engine_kind=engine)
    size = 63 * MIB  # maps have roots of 2**14 blocks of 4 KiB: 64 MiB
    load = PoissonLoad(1, "vm", 2000.0, (Pattern(0.2, 2 * BLOCK, size),))
    vm = bench.add_vm(spec(size=size, provisioning=provisioning), load=load)
    disk = vm.disks[KEY]
    bench.do(bench.hypervisor.enable_tracking(vm))
    first = bench.do(bench.hypervisor.create_snapshot(vm, "first"))
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    for capacity in (65, 70, 140):
        bench.env.run(until=bench.env.now + 0.3)
        bench.do(bench.hypervisor.extend_disk(vm, KEY, capacity * MIB))
        fill(bench, disk.disk, (capacity - 1) * MIB // BLOCK, 1)
    bench.env.run(until=bench.env.now + 0.3)
    last = bench.do(bench.hypervisor.create_snapshot(vm, "last"))
    level, moments = vm.snapshot(last.id).frozen[KEY], bench.hypervisor.moments
    after = written(bench.site, disk.disk, moments[last.id, KEY])
    assert seen(level, disk.disk) == after
    before = written(bench.site, disk.disk, moments[first.id, KEY])
    page = changed_ranges(bench.hypervisor, vm, KEY, first.change_ids[KEY], last.id, 0)
    differing = Runs.of(
        (at, BLOCK)
        for at in range(0, len(after), BLOCK)
        if before[at : at + BLOCK] != after[at : at + BLOCK]
    )
    assert differing.total > 1000 * BLOCK
    assert (page.covered, page.extents.covers(differing)) == (140 * MIB, True)


def test_zeroing_takes_the_time_of_its_io_and_says_how_far_it_is():
    bench = rig()
    vm = bench.add_vm(spec(provisioning=EAGER))
    process = bench.env.process(bench.hypervisor.extend_disk(vm, KEY, 4 * SIZE))
    began, fractions = bench.env.now, []
    while not process.triggered:
        fractions.append(vm.progress)
        bench.env.step()
    assert bench.env.now > began
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 20
    assert 0.9 < max(fractions) <= 1.0
    assert vm.progress == 0.0


def test_changes_since_before_are_the_writes_alone():
    bench = rig()
    vm = bench.add_vm(spec(size=SIZE))
    bench.do(bench.hypervisor.enable_tracking(vm))
    first = bench.do(bench.hypervisor.create_snapshot(vm, "first"))
    bench.do(bench.hypervisor.remove_snapshot(vm, first.id))
    fill(bench, vm.disks[KEY].disk, 0, 4)
    bench.do(bench.hypervisor.extend_disk(vm, KEY, 3 * SIZE))
    fill(bench, vm.disks[KEY].disk, 512, 4)
    last = bench.do(bench.hypervisor.create_snapshot(vm, "last"))

    def ask(since):
        return changed_ranges(bench.hypervisor, vm, KEY, since, last.id, 0)

    found = ask(first.change_ids[KEY])
    assert found.covered == 3 * SIZE
    assert found.extents == Runs.of([(0, GRAIN), (512 * BLOCK, GRAIN)])
    assert ask("*").extents.covers(found.extents)
    assert last.change_ids[KEY].split("/")[0] == first.change_ids[KEY].split("/")[0]


def test_what_cannot_be_extended_says_why():
    bench = rig()
    vm = bench.add_vm(spec(), spec(2001, mode="raw"))
    extend = bench.hypervisor.extend_disk
    with pytest.raises(UnknownDisk, match="no disk of vm named 2009"):
        bench.do(extend(vm, 2009, 2 * SIZE))
    with pytest.raises(Misuse, match="can only grow"):
        bench.do(extend(vm, KEY, SIZE - BLOCK))
    with pytest.raises(Misuse, match="not whole blocks"):
        bench.do(extend(vm, KEY, SIZE + 1))
    with pytest.raises(InvalidState, match="raw mapping"):
        bench.do(extend(vm, 2001, 2 * SIZE))
    taken = bench.do(bench.hypervisor.create_snapshot(vm, "s"))
    with pytest.raises(InvalidState, match="on top of a snapshot"):
        bench.do(extend(vm, KEY, 2 * SIZE))
    bench.hypervisor.quirks.switch("consolidation-needed-silently", on=True)
    bench.do(bench.hypervisor.remove_snapshot(vm, taken.id))
    with pytest.raises(InvalidState, match="on top of a snapshot"):
        bench.do(extend(vm, KEY, 2 * SIZE))
    assert vm.disks[KEY].spec.capacity_bytes == SIZE


def test_a_thick_disk_that_does_not_fit_stays_as_it_was():
    bench = rig(lun_bytes=4 * MIB)
    vm = bench.add_vm(spec(provisioning=LAZY), spec(2001))
    free = bench.datastore.free_bytes
    with pytest.raises(NoSpace):
        bench.do(bench.hypervisor.extend_disk(vm, KEY, 64 * MIB))
    assert bench.datastore.free_bytes == free
    assert vm.disks[KEY].disk.head.file.blocks == SIZE // BLOCK
    bench.do(
        bench.hypervisor.extend_disk(vm, 2001, 64 * MIB)
    )  # a thin one has it when it is written


def test_cut_off_while_zeroing_the_disk_is_as_it_was():
    bench = rig()
    vm = bench.add_vm(spec(provisioning=EAGER))
    fill(bench, vm.disks[KEY].disk, 250, 6)
    free, before = bench.datastore.free_bytes, seen(vm.disks[KEY].disk.head, vm.disks[KEY].disk)
    process = bench.env.process(bench.hypervisor.extend_disk(vm, KEY, 8 * SIZE))
    process.defused = True
    while vm.progress < 0.5:
        bench.env.step()
    assert bench.datastore.free_bytes < free
    bench.do(bench.hypervisor.crash(vm))
    assert process.value == Interrupted("ReconfigVM_Task of vm")
    assert bench.datastore.free_bytes == free
    assert seen(vm.disks[KEY].disk.head, vm.disks[KEY].disk) == before
    bench.do(bench.hypervisor.extend_disk(vm, KEY, 2 * SIZE))
    assert seen(vm.disks[KEY].disk.head, vm.disks[KEY].disk) == before + bytes(SIZE)


class Extending(RuleBasedStateMachine):
    """A disk that is written, snapshotted and extended in any order, against what was written."""

    @initialize(provisioning=st.sampled_from([THIN, LAZY, EAGER]), on=st.booleans())
    def build(self, provisioning, on):
        self.bench = rig(lun_bytes=64 * MIB)
        self.vm = self.bench.add_vm(spec(provisioning=provisioning), powered_on=on)
        self.disk = self.vm.disks[KEY]
        self.bench.do(self.bench.hypervisor.enable_tracking(self.vm))
        if on:
            self.drop(self.take())
        self.ids = []
        self.since = []

    def take(self):
        return self.bench.do(self.bench.hypervisor.create_snapshot(self.vm, "s"))

    def drop(self, snapshot):
        self.bench.do(self.bench.hypervisor.remove_snapshot(self.vm, snapshot.id))

    @rule(back=st.integers(1, 300), count=st.integers(1, 12))
    def write(self, back, count):
        blocks = self.disk.disk.blocks
        block = max(blocks - back, 0)
        count = min(count, blocks - block)
        fill(self.bench, self.disk.disk, block, count)
        for grains in self.since:
            grains |= {(block + i) * BLOCK // GRAIN for i in range(count)}

    @rule(blocks=st.integers(0, 40), cut=st.none() | st.integers(0, 20))
    def extend(self, blocks, cut):
        before = self.disk.spec.capacity_bytes
        size = before + blocks * BLOCK
        model = self.bench.hypervisor.extend_disk(self.vm, KEY, size)
        process, steps = self.bench.env.process(model), 0
        process.defused = True
        while process.is_alive:
            if steps == cut:
                process.interrupt("cut short")
            self.bench.env.step()
            steps += 1
        self.bench.settle()
        assert process.ok or cut is not None
        assert self.disk.disk.size_bytes == (size if process.ok else before)
        assert self.disk.spec.capacity_bytes == self.disk.disk.size_bytes
        blocks = -(-self.disk.disk.blocks * BLOCK // FS_BLOCK)
        assert max(self.disk.disk.head.file.places, default=-1) < blocks

    @rule()
    def back_up(self):
        taken = self.take()
        level = self.vm.snapshot(taken.id).frozen[KEY]
        moment = self.bench.hypervisor.moments[taken.id, KEY]
        truth = written(self.bench.site, self.disk.disk, moment)
        assert seen(level, self.disk.disk) == truth
        for since, grains in zip(self.ids, self.since, strict=True):
            page = changed_ranges(self.bench.hypervisor, self.vm, KEY, since, taken.id, 0)
            true = Runs.of((grain * GRAIN, GRAIN) for grain in grains)
            assert page.extents == true.clip(0, self.disk.spec.capacity_bytes)
        self.ids.append(taken.change_ids[KEY])
        self.since.append(set())
        self.drop(taken)


TestExtending = Extending.TestCase
TestExtending.settings = settings(max_examples=30, stateful_step_count=15)
