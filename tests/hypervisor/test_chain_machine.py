"""Snapshots taken, removed, merged and cut short in any order, against dictionaries."""

from __future__ import annotations

import pytest
import simpy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hypervisor.bench import BLOCK, FS_BLOCK, LAZY, rig, spec, tokens
from stuntdouble.content import FIRST_WRITTEN
from stuntdouble.errors import Refused

BLOCKS = 48
KEYS = (2000, 2001)

key = st.sampled_from(KEYS)
start = st.integers(0, BLOCKS - 1)
count = st.integers(1, 8)
writes = st.lists(st.tuples(key, start, count), max_size=12)
cut = st.none() | st.integers(0, 120)


class ChainMachine(RuleBasedStateMachine):
    """A VM with two disks; ``disks`` and ``kept`` are what they must show."""

    @initialize(
        algorithm=st.sampled_from(["mirror", "helper"]), patience=st.sampled_from([0.0, 12.0])
    )
    def build(self, algorithm, patience):
        self.rig = rig(
            consolidation=algorithm,
            helper_stun_seconds_max=patience,  # 0: never short enough, so the budgets run out
            helper_budgets_seconds=(1.0, 1.0),
            consolidation_depth=2,
            consolidation_io_bytes=2 * BLOCK,
            chain_depth_max=5,
            stun_fixed_seconds=0.01,
            fragmentation=0.5,
        )
        size = BLOCKS * BLOCK
        self.vm = self.rig.add_vm(spec(2000, size), spec(2001, size, LAZY))
        self.disks = {k: {} for k in KEYS}
        self.kept = {}

    # What the guest does. ----------------------------------------------------------------------

    def put(self, k, first, n):
        stop = min(first + n, BLOCKS)
        number = self.rig.site.writes
        disk = self.vm.disks[k].disk
        self.rig.site.write(disk, first * BLOCK, (stop - first) * BLOCK)
        for i, block in enumerate(range(first, stop)):
            self.disks[k][block] = FIRST_WRITTEN | (number + i)

    @precondition(lambda self: self.vm.powered_on)
    @rule(writes=writes)
    def write(self, writes):
        for each in writes:
            self.put(*each)

    # What the administrator does. ----------------------------------------------------------------

    def run(self, model, writes, cut):
        """Run an operation with writes in between; interrupt it after *cut* steps."""
        process = self.rig.env.process(model)
        process.defused = True
        todo = list(writes) if self.vm.powered_on else []
        steps = 0
        while process.is_alive:
            if todo and steps % 11 == 2 and not self.vm.guest.stuns:
                self.put(*todo.pop())
            if steps == cut:
                process.interrupt("cut short")
            self.rig.env.step()
            steps += 1
        self.rig.settle()
        if not process.ok and not isinstance(process.value, simpy.Interrupt | Refused):
            raise process.value
        return process

    @rule(writes=writes, cut=st.none() | cut)
    def take(self, writes, cut):
        self.run(self.rig.hypervisor.create_snapshot(self.vm, "s"), writes, cut)
        for snapshot in self.vm.snapshots:
            if snapshot.id not in self.kept:  # the last writes may have come after it
                self.kept[snapshot.id] = {
                    k: self.rig.site.truth(
                        self.rig.hypervisor.moments[snapshot.id, k], 0, BLOCKS
                    ).tolist()
                    for k in KEYS
                }

    @precondition(lambda self: self.vm.snapshots)
    @rule(data=st.data(), writes=writes, cut=cut)
    def remove(self, data, writes, cut):
        gone = data.draw(st.sampled_from([s.id for s in self.vm.snapshots]))
        process = self.run(self.rig.hypervisor.remove_snapshot(self.vm, gone), writes, cut)
        if process.ok:
            assert self.vm.find(gone) is None
            assert list(self.rig.hypervisor.quirks) or not self.vm.consolidation_needed

    @precondition(lambda self: self.vm.snapshots)
    @rule(cut=cut)
    def remove_all(self, cut):
        process = self.run(self.rig.hypervisor.remove_all_snapshots(self.vm), [], cut)
        if process.ok:
            assert not self.vm.snapshots
            single = all(len(disk.chain.levels) == 1 for disk in self.vm.disks.values())
            assert list(self.rig.hypervisor.quirks) or single

    @precondition(lambda self: self.vm.consolidation_needed)
    @rule(writes=writes, cut=cut)
    def consolidate(self, writes, cut):
        process = self.run(self.rig.hypervisor.consolidate(self.vm), writes, cut)
        assert not (process.ok and self.vm.consolidation_needed)

    @rule(name=st.sampled_from(["consolidation-needed-silently", "delta-stays-locked"]))
    def have_a_quirk(self, name):
        quirks = self.rig.hypervisor.quirks
        quirks.switch(name, on=name not in quirks)

    @rule()
    def release(self):
        self.rig.hypervisor.release_locks(self.vm)

    @precondition(lambda self: self.vm.snapshots)
    @rule(data=st.data())
    def revert(self, data):
        target = data.draw(st.sampled_from([s.id for s in self.vm.snapshots]))
        self.rig.do(self.rig.hypervisor.revert(self.vm, target))
        for k in KEYS:
            self.disks[k] = {b: t for b, t in enumerate(self.kept[target][k]) if t}
        assert not self.vm.powered_on

    @rule()
    def power(self):
        host = self.rig.hypervisor
        self.rig.do(host.power_off(self.vm) if self.vm.powered_on else host.power_on(self.vm))

    # What must hold. -----------------------------------------------------------------------------

    @invariant()
    def every_view_is_what_was_written(self):
        for k in KEYS:
            disk = self.vm.disks[k].disk
            want = [self.disks[k].get(b, 0) for b in range(BLOCKS)]
            assert tokens(disk.head, disk) == want
            moment = disk.moment(self.rig.env.now)
            assert self.rig.site.truth(moment, 0, BLOCKS).tolist() == want
            for snapshot in self.vm.snapshots:
                assert tokens(snapshot.frozen[k], disk) == self.kept[snapshot.id][k]

    @invariant()
    def space_adds_up(self):
        store = self.rig.datastore
        places = [p for f in store.store.files.values() for p in f.places.values()]
        assert len(places) == len(set(places))
        total = self.rig.luns[0].size_bytes // FS_BLOCK
        assert len(places) * FS_BLOCK + store.free_bytes == total * FS_BLOCK
        chains = [d.chain for d in self.vm.disks.values()]
        used = {level.file.name for chain in chains for level in chain.levels}
        assert {name for name in store.store.files if name.startswith("vm/")} == used
        deltas = sum(lv.file.size_bytes for chain in chains for lv in chain.deltas)
        assert self.rig.engine.meter.gauges["delta_bytes", "vm"][-1][1] == deltas

    @invariant()
    def nothing_is_left_holding_the_guest(self):
        assert self.vm.guest.stuns == (not self.vm.powered_on)
        assert not self.vm.question

    @invariant()
    def the_descriptor_says_what_is_there(self):
        record = self.rig.datastore.store.records["vm"]
        for disk in record.disks:
            chain = self.vm.disks[disk.spec.key].chain
            assert disk.files[disk.head][0] == chain.disk.head.file.name
            assert [name for name, _ in disk.files] == [x.file.name for x in chain.levels]
            for snapshot_id, index in disk.frozen:
                frozen = self.vm.snapshot(snapshot_id).frozen[disk.spec.key]
                assert disk.files[index][0] == frozen.file.name


TestChain = ChainMachine.TestCase
TestChain.settings = settings(max_examples=150, stateful_step_count=30)


@pytest.mark.parametrize("algorithm", ["mirror", "helper"])
def test_every_cut_of_a_removal_can_be_finished_later(algorithm):
    for cut in range(0, 160, 7):
        bench = rig(consolidation=algorithm, stun_fixed_seconds=0.01, consolidation_io_bytes=BLOCK)
        vm = bench.add_vm(spec(size=BLOCKS * BLOCK))
        host, disk = bench.hypervisor, vm.disks[2000].disk
        first = bench.do(host.create_snapshot(vm, "one"))
        bench.site.write(disk, 0, 8 * BLOCK)
        second = bench.do(host.create_snapshot(vm, "two"))
        bench.site.write(disk, 4 * BLOCK, 8 * BLOCK)
        bench.do(host.remove_snapshot(vm, first.id))
        process = bench.env.process(host.remove_snapshot(vm, second.id))
        process.defused = True
        steps = 0
        while process.is_alive and steps < cut:
            bench.env.step()
            steps += 1
        if process.is_alive:
            process.interrupt("cut short")
        bench.settle()
        want = tokens(disk.head, disk)
        bench.do(host.remove_snapshot(vm, second.id))
        bench.do(host.consolidate(vm))
        assert tokens(disk.head, disk) == want
        assert len(vm.disks[2000].chain.levels) == 1
        assert bench.engine.meter.gauges["delta_bytes", "vm"][-1][1] == 0
