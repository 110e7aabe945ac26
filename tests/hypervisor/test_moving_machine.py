"""A VM unregistered, registered, relocated and snapshotted in any order: its bytes stay its truth."""

from __future__ import annotations

from contextlib import suppress

import simpy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hypervisor.bench import BLOCK, EAGER, FS_BLOCK, LAZY, THIN, rig, seen, spec, written
from stuntdouble.errors import NoSpace, Refused
from stuntdouble.units import MIB

BLOCKS = 48
KEYS = (2000, 2001)
STORES = ("ds", "ds2")

writes = st.lists(
    st.tuples(st.sampled_from(KEYS), st.integers(0, BLOCKS - 1), st.integers(1, 8)), max_size=8
)
cut = st.none() | st.integers(0, 200)


class MovingMachine(RuleBasedStateMachine):
    """A VM with two disks and two datastores for it; ``kept`` is what each snapshot must show."""

    @initialize(kinds=st.tuples(*[st.sampled_from([THIN, LAZY, EAGER])] * 2), tracked=st.booleans())
    def build(self, kinds, tracked):
        self.rig = rig(
            chain_depth_max=5,
            stun_fixed_seconds=0.01,
            register_seconds=0.1,
            unregister_seconds=0.1,
            consolidation_depth=2,
            consolidation_io_bytes=2 * BLOCK,
        )
        self.host, self.admin = self.rig.hypervisor, self.rig.hypervisor.admin
        # small enough that not every relocation fits
        lun = self.rig.site.create_lun(13 * FS_BLOCK // BLOCK, 16, 1, 16 * MIB // BLOCK)
        sizes = {"fs_block_bytes": FS_BLOCK, "zero_bytes": FS_BLOCK}
        other = self.host.add_datastore("ds2", [lun], ("naa.9",), **sizes)
        self.stores = (self.rig.datastore, other)
        disks = [spec(key, BLOCKS * BLOCK, kind) for key, kind in zip(KEYS, kinds, strict=True)]
        self.vm = self.rig.add_vm(*disks)
        if tracked:
            self.rig.do(self.host.enable_tracking(self.vm))
        self.kept = {}
        self.named = "vm"

    def put(self, key, first, count):
        length = (min(first + count, BLOCKS) - first) * BLOCK
        with suppress(NoSpace):
            self.rig.site.write(self.vm.disks[key].disk, first * BLOCK, length)

    def run(self, model, cut=None):
        """Run an operation, interrupted after *cut* steps; say whether it came to its end."""
        process = self.rig.env.process(model)
        process.defused = True
        steps = 0
        while process.is_alive:
            if steps == cut:
                process.interrupt("cut short")
            self.rig.env.step()
            steps += 1
        self.rig.settle()
        if not process.ok and not isinstance(process.value, simpy.Interrupt | Refused):
            raise process.value
        return process.ok

    def images(self, levels):
        return {k: seen(levels[k], self.vm.disks[k].disk) for k in KEYS}

    @property
    def registered(self):
        return self.named in self.host.vms

    @precondition(lambda self: self.registered and self.vm.powered_on)
    @rule(writes=writes)
    def write(self, writes):
        for each in writes:
            self.put(*each)

    @precondition(lambda self: self.registered)
    @rule(writes=writes)
    def take(self, writes):
        if self.run(self.host.create_snapshot(self.vm, "s")):
            newest = self.vm.snapshots[-1]
            self.kept[newest.id] = self.images(newest.frozen)
            if self.vm.powered_on:
                self.write(writes)

    @precondition(lambda self: self.registered and self.vm.snapshots)
    @rule(data=st.data(), children=st.booleans(), merge=st.booleans())
    def remove(self, data, children, merge):
        gone = data.draw(st.sampled_from([s.id for s in self.vm.snapshots]))
        self.run(
            self.host.remove_snapshot(self.vm, gone, remove_children=children, consolidate=merge)
        )
        assert self.vm.find(gone) is None

    @precondition(lambda self: self.registered and self.vm.consolidation_needed)
    @rule()
    def consolidate(self):
        estimate = self.rig.do(self.admin.estimate_consolidation(self.vm))
        homes = {disk.datastore for disk in self.vm.disks.values()}
        enough = all(home.free_bytes >= estimate for home in homes)
        done = self.run(self.host.consolidate(self.vm))
        assert done or not enough
        assert done != self.vm.consolidation_needed

    @precondition(lambda self: self.registered and self.vm.current)
    @rule()
    def revert(self):
        target = self.vm.current.id
        if self.run(self.admin.revert_to_current(self.vm)):
            assert self.images({k: self.vm.disks[k].disk.head for k in KEYS}) == self.kept[target]

    @precondition(lambda self: self.registered)
    @rule()
    def power(self):
        self.run(
            self.host.power_off(self.vm) if self.vm.powered_on else self.host.power_on(self.vm)
        )

    @precondition(lambda self: self.registered and not self.vm.powered_on)
    @rule(cut=cut)
    def unregister(self, cut):
        assert self.run(self.admin.unregister(self.vm), cut) == (not self.registered)

    @precondition(lambda self: not self.registered)
    @rule(cut=cut, name=st.sampled_from(["", "vm", "other"]), data=st.data())
    def register(self, cut, name, data):
        before, folders = self.vm, {d.datastore.name: d.folder for d in self.vm.disks.values()}
        store = data.draw(st.sampled_from(sorted(folders)))
        path = f"{folders[store]}/{folders[store]}.vmx"
        if not self.run(self.admin.register(store, path, name), cut):
            return
        self.named = name or self.named
        self.vm = self.host.vms[self.named]
        assert self.vm is not before
        assert self.vm.tracking == before.tracking
        assert [s.number for s in self.vm.snapshots] == [s.number for s in before.snapshots]
        assert (self.vm.current and self.vm.current.id) == (before.current and before.current.id)
        for key in KEYS:
            assert self.vm.disks[key].tracker.active == self.vm.tracking
            old, new = before.disks[key].chain, self.vm.disks[key].chain
            assert [x.file for x in old.levels] == [x.file for x in new.levels]

    @precondition(lambda self: self.registered and not self.vm.powered_on)
    @rule(cut=cut, data=st.data(), store=st.sampled_from(STORES))
    def relocate(self, cut, data, store):
        before = {k: d.datastore.name for k, d in self.vm.disks.items()}
        identity = {k: d.tracker.seal() for k, d in self.vm.disks.items() if d.tracker.active}
        self.run(self.admin.relocate(self.vm, store), cut)
        after = {k: d.datastore.name for k, d in self.vm.disks.items()}
        assert after in (before, dict.fromkeys(KEYS, store))
        for key, old in identity.items():
            new = self.vm.disks[key].tracker.seal()
            same = old.split("/")[0] == new.split("/")[0]
            assert same == (before[key] == after[key])

    @invariant()
    def every_view_is_the_truth(self):
        for disk in self.vm.disks.values():
            moment = disk.disk.moment(self.rig.env.now)
            assert seen(disk.disk.head, disk.disk) == written(self.rig.site, disk.disk, moment)
        if self.registered:
            for snapshot in self.vm.snapshots:
                assert self.images(snapshot.frozen) == self.kept[snapshot.id]

    @invariant()
    def space_adds_up(self):
        for store in self.stores:
            files = store.store.files
            places = [p for f in files.values() for p in f.places.values()]
            assert len(places) == len(set(places))
            assert len(places) * FS_BLOCK + store.free_bytes == store.luns[0].size_bytes
            disks = [d for d in self.vm.disks.values() if d.datastore is store]
            used = {level.file.name for d in disks for level in d.chain.levels}
            assert {name for name in files if "/" in name} == used
            folders = {d.folder for d in disks}
            assert {name for name, r in store.store.records.items() if hasattr(r, "disks")} == (
                folders
            )


TestMoving = MovingMachine.TestCase
TestMoving.settings = settings(max_examples=150, stateful_step_count=25)
