"""Histories of a site: everything that may happen to it, chosen step by step.

The choices come from a function ``pick(n)`` that returns a number below n: drawn by Hypothesis in
the state machine, by a seeded generator in ``run_history``.
"""

from __future__ import annotations

from copy import deepcopy
from random import Random
from types import SimpleNamespace

import numpy as np

import textbook
from site_pair import (
    BLOCKS,
    KINDS,
    LUN_BLOCKS,
    REPLICAS_FROM,
    SIZE,
    WIRE_FROM,
    Both,
    Group,
    Machine,
    Pair,
    View,
)


class History(Pair):
    # I/O. --------------------------------------------------------------------------------------

    def machine(self):
        return self.machines[self.pick(len(self.machines))]

    def byte_range(self, blocks=BLOCKS, first=0):
        """Choose a byte range; half of them are not aligned to blocks."""
        start = first + self.pick(blocks - first)
        count = 1 + self.pick(min(24, blocks - start))
        a, b = start * SIZE, (start + count) * SIZE
        if self.pick(2):
            a += self.pick(SIZE)
            b = max(b - self.pick(SIZE), a + 1)
        return a, b

    def guest_write(self, machine, a, b):
        count = -(-b // SIZE) - a // SIZE
        return self.taking_tokens(
            count, lambda first: textbook.write(machine.book, a, b, SIZE, first)
        )

    def write(self):
        machine, (a, b) = self.machine(), self.byte_range()
        predicted = self.guest_write(machine, a, b)
        if self.do(lambda: self.site.write(machine.disk, a, b - a), predicted) and machine.is_copy:
            self.seen.add("write to an opened disk")

    def bulk(self):
        machine, rows = self.machine(), []
        for _ in range(1 + self.pick(6)):
            start = self.pick(BLOCKS)
            rows.append((start, 1 + self.pick(min(12, BLOCKS - start))))
        predicted = [self.guest_write(machine, a * SIZE, (a + n) * SIZE) for a, n in rows]
        self.do(lambda: self.site.fast_forward(machine.disk, np.array(rows)), *predicted)

    def restore(self):
        machine, start = self.machine(), self.pick(BLOCKS)
        count = 1 + self.pick(min(4, BLOCKS - start))
        first = 3 << 62 | len(self.site.literals.rows)
        data = memoryview(bytes([1 + self.pick(255)]) * (SIZE * count))
        a, b = start * SIZE, (start + count) * SIZE
        self.do(
            lambda: self.site.write_bytes(machine.disk, a, data),
            lambda: textbook.write(machine.book, a, b, SIZE, first),
        )

    def read(self):
        machine, (a, b) = self.machine(), self.byte_range()
        level = machine.chain[self.pick(len(machine.chain))]
        self.do(
            lambda: self.site.read(level.real, a, b - a),
            lambda: textbook.read(level.book, a, b, SIZE),
        )

    def volume(self):
        shelf = self.all_shelves()[self.pick(len(self.all_shelves()))]
        both = shelf.luns[self.pick(len(shelf.luns))]
        return both, WIRE_FROM if shelf in self.shelves else 0

    def wire_write(self):
        both, first = self.volume()
        for machine in self.machines:
            if not first and both in machine.shelf.luns:
                machine.views.clear()  # whoever writes to the volume may hit what they show
        a, b = self.byte_range(LUN_BLOCKS, first)
        block, count = a // SIZE, -(-b // SIZE) - a // SIZE
        self.do(
            lambda: self.site.volume_write(both.real, a, b - a),
            self.taking_tokens(
                count,
                lambda token: textbook.address("data", both.book, block, count, SIZE, token),
            ),
        )

    def wire_read(self):
        luns = [self.volume()[0]]
        luns += [Both(i.real.lun, i.book) for group in self.groups for i in group.images]
        both, (a, b) = luns[self.pick(len(luns))], self.byte_range(LUN_BLOCKS)
        block, count = a // SIZE, -(-b // SIZE) - a // SIZE
        self.do(
            lambda: self.site.volume_read(both.real, a, b - a),
            lambda: textbook.address("read", both.book, block, count, SIZE),
        )

    def metadata(self):
        """Write metadata to a volume whose first blocks may well be a file's: they stay as they are."""
        shelf = self.all_shelves()[self.pick(len(self.all_shelves()))]
        both, length = shelf.luns[self.pick(len(shelf.luns))], 1 + self.pick(24 * SIZE)
        count = -(-length // SIZE)
        self.do(
            lambda: self.site.metadata_write(both.real, length),
            lambda: textbook.address("record", both.book, 0, count, SIZE, 0, length),
        )

    # VM snapshots and their consolidation. -----------------------------------------------------

    def push(self, machine=None):
        """Take a VM snapshot: keep a view of the head, seal the tracker, add a delta disk."""
        machine = machine or self.machine()
        if len(machine.chain) > 4 or machine.task:
            return
        head, book, shelf = machine.chain[-1], machine.book, machine.shelf
        tokens = [head.book.token(d) for d in range(BLOCKS)]
        moment = machine.disk.moment(0.0)
        machine.views.append(View(head, tokens, moment, dict(book.ledger)))
        self.check_changed(machine, machine.disk.seal())
        book.tracked.clear()
        self.deltas += 1
        name = f"{machine.name}-{self.deltas:06}"
        file = shelf.store.create_file(name, BLOCKS, sparse=True, zeroed=True)
        book.head = textbook.Level(head.book.volumes, head.book.fs, head.book.unit, slots={})
        book.head.parent = head.book
        self.levels[file] = book.head
        machine.chain.append(Both(machine.disk.push(file), book.head))
        self.record(machine, [*machine.names, name])

    @staticmethod
    def record(machine, names):
        machine.names = names
        machine.shelf.store.records[machine.name] = tuple(names)

    def consolidate(self):
        """Start to move a delta onto its parent: by mirror, under a helper, or further down."""
        machine = self.machine()
        if len(machine.chain) == 1 or machine.task:
            return
        at = 1 + self.pick(len(machine.chain) - 1)
        if at == len(machine.chain) - 1 and self.pick(2):
            self.push(machine)  # the helper
            self.seen.add("helper")
        level, below = machine.chain[at], machine.chain[at - 1]
        mirror = at == len(machine.chain) - 1
        self.seen.add("mirror" if mirror else "inner")
        level.real.mirror(mirror)
        level.book.mirror = mirror
        machine.views = [view for view in machine.views if view.level is not below]
        items = self.site.grains(level.real, BLOCKS, 8).tolist()
        moved = [d for start, count in items for d in range(start, start + count)]
        assert moved == sorted(level.book.slots), "grains to be moved"
        assert all(start // 8 == (start + n - 1) // 8 for start, n in items), "grains cross"
        machine.task = SimpleNamespace(at=at, items=items)

    def step(self):
        """Move some items; an item may go in two halves; then finish, or give up half way."""
        tasks = [machine for machine in self.machines if machine.task]
        if not tasks:
            return
        machine = tasks[self.pick(len(tasks))]
        items, level = machine.task.items, machine.chain[machine.task.at]
        for _ in range(1 + self.pick(4)):
            if not items:
                self.finish(machine)
                return
            start, count = items.pop(self.pick(len(items)))
            if count > 1 and self.pick(2):
                half = 1 + self.pick(count - 1)
                items.append([start + half, count - half])
                count = half
            if not self.move(level, start, count):
                items.append([start, count])
        if self.pick(8) == 0:
            self.end_task(machine)
            self.seen.add("abandoned")

    def move(self, level, start, count):
        return self.do(
            lambda: self.site.move(level.real, start, count),
            lambda: textbook.move(level.book, start, count, SIZE),
        )

    @staticmethod
    def end_task(machine):
        level = machine.chain[machine.task.at]
        level.real.mirror(False)
        level.book.mirror = False
        machine.task = None

    def finish(self, machine):
        self.seen.add("finished")
        at = machine.task.at
        self.end_task(machine)
        level, below = machine.chain[at], machine.chain[at - 1]
        if at == len(machine.chain) - 1:
            machine.disk.set_head(below.real)
            machine.book.head = below.book
        else:
            machine.chain[at + 1].real.hang_on(below.real)
            machine.chain[at + 1].book.parent = below.book
        for view in machine.views:
            view.level = below if view.level is level else view.level
        del machine.chain[at]
        name = machine.names[at]
        self.record(machine, machine.names[:at] + machine.names[at + 1 :])
        machine.shelf.free += machine.shelf.store.delete_file(name)

    # Array snapshots. --------------------------------------------------------------------------

    def freeze(self):
        if len(self.groups) > 3:
            return
        luns = [self.luns, self.luns[:1], self.luns[1:]][self.pick(3)]
        frozen = self.site.freeze([x.real for x in luns], KINDS[self.kind])
        pairs = zip(luns, frozen, strict=True)
        self.note_images([Both(image, lun.book.freeze(self.kind)) for lun, image in pairs])

    def note_images(self, images, replicas=()):
        """Remember what frozen images must show."""
        of = {image.real.base: image.real.lun for image in images}
        chains = {}
        for machine in self.machines:
            shelf = machine.shelf
            if shelf in self.shelves and all(lun.real in of for lun in shelf.luns):
                store = of[shelf.luns[0].real].stores[0]
                chains[store, machine.name] = {
                    name: [level.book.token(d) for d in range(BLOCKS)]
                    for name, level in zip(machine.names, machine.chain, strict=True)
                }
        group = Group(images, chains, replicas=list(replicas))
        group.pages = {
            machine.name: [
                deepcopy((level.book.slots, level.book.zeroed, level.book.places))
                for level in machine.chain
            ]
            for machine in self.machines
            if machine.shelf in self.shelves
        }
        self.groups.append(group)

    def unfreeze(self):
        groups = [group for group in self.groups if group.opened is None]
        if groups:
            group = groups[self.pick(len(groups))]
            self.thaw(group, group.images[self.pick(len(group.images))])

    def open(self):
        """Open images, and register on them the disks that their catalogue knows."""
        groups = [g for g in self.groups if g.opened is None and g.chains]
        if not groups or len(self.machines) > 5:
            return
        group = groups[self.pick(len(groups))]
        stores = list(dict.fromkeys(store for store, _ in group.chains))
        frozen, luns = stores[self.pick(len(stores))], []
        for image in group.images:
            if image.real.lun in frozen.luns:
                luns.append(Both(image.real.open(), image.book.open()))
                luns[-1].real.keeper = self
        store = luns[0].real.stores[0]
        store.lie_on(tuple(lun.real for lun in luns))
        group.opened = self.shelve(store, luns)
        for name in [name for known, name in group.chains if known is frozen]:
            self.register(group, name)

    def register(self, group, name):
        shelf, files = group.opened, group.opened.store.files
        names = shelf.store.records[name]
        disk, chain = None, []
        for file_name, (slots, zeroed, places) in zip(
            names, deepcopy(group.pages[name]), strict=True
        ):
            file = files[file_name]
            book = textbook.Level(
                [lun.book for lun in shelf.luns], 8, self.unit, slots, zeroed, places
            )
            self.levels[file] = book
            if disk is None:
                disk = self.site.create_disk(f"{name}-copy", BLOCKS, file)
            else:
                book.parent = chain[-1].book
                disk.push(file)
                self.seen.add("delta in an opened catalogue")
            chain.append(Both(disk.head, book))
        disk.track(4)
        page = SimpleNamespace(head=chain[-1].book, ledger={}, grain=4, tracked=set())
        self.machines.append(Machine(name, shelf, disk, page, chain, list(names), is_copy=True))

    # Replicas. ---------------------------------------------------------------------------------

    def add_replica(self):
        both = self.luns[self.pick(2)]
        if len(both.book.replicas) > 1:
            return
        home = REPLICAS_FROM + 4096 * len(self.replicas)
        real = self.site.add_replica(both.real, self.pool.number, home)
        page = textbook.Volume(self.pool, home, both.book.chunk, 0, LUN_BLOCKS)
        page.base = both.book
        both.book.replicas.append(page)
        self.replicas.append(Both(real, page))

    def equalise(self):
        """Attach a replica whose image nobody has any more, and copy some or all to it."""
        used = [replica for group in self.groups for replica in group.replicas]
        free = [replica for replica in self.replicas if replica not in used]
        if not free:
            return
        replica = free[self.pick(len(free))]
        replica.real.attach()
        replica.book.kind = "attached"
        if replica.book.kept:
            self.seen.add("a replica was synchronised again")
        for start, stop in replica.real.unequal((1 + self.pick(4)) * 4096).tolist():
            steps = replica.real.equalise(start, stop)
            book = replica.book
            self.compare_plan(steps, textbook.equalise(book.base, book, start, stop, SIZE))
            if self.pick(40) == 0:
                return

    def detach(self):
        attached = [replica for replica in self.replicas if replica.real.attached]
        if attached:
            replica = attached[self.pick(len(attached))]
            replica.real.detach()
            replica.book.kind = ""

    def split(self):
        equal = [r for r in self.replicas if r.real.attached and not r.real.unequal_bytes]
        if not equal or len(self.groups) > 3:
            return
        some = list({replica.real.lun: replica for replica in equal}.values())  # one of each LUN
        some = some[: 1 + self.pick(len(some))]
        images = self.site.split([replica.real for replica in some])
        pairs = zip(some, images, strict=True)
        pages = [Both(image, r.book.base.freeze("split", r.book)) for r, image in pairs]
        self.note_images(pages, some)
        self.seen.add("split")

    def drop_replica(self):
        used = [replica for group in self.groups for replica in group.replicas]
        free = [replica for replica in self.replicas if replica not in used]
        if free and not self.pick(4):
            replica = free[self.pick(len(free))]
            replica.real.drop()
            replica.book.base.replicas.remove(replica.book)
            self.replicas.remove(replica)
            self.seen.add("replica dropped")

    def drop(self):
        groups = [group for group in self.groups if group.opened]
        if groups:
            group = groups[self.pick(len(groups))]
            for lun in group.opened.luns:
                self.site.drop_lun(lun.real)
                self.pool.free += len(lun.book.kept) * lun.book.chunk
            self.machines = [m for m in self.machines if m.shelf is not group.opened]
            group.opened = None

    def reclaim(self):
        """Let the site look for what nobody can reach any more, which it does on its own at times."""
        self.site.reclaim(thorough=False)

    def policy(self):
        """Choose what the array does when its reserve is full."""
        self.refuse = not self.refuse


OPERATIONS = {
    History.write: 8,
    History.bulk: 2,
    History.restore: 1,
    History.read: 2,
    History.wire_write: 2,
    History.wire_read: 2,
    History.metadata: 2,
    History.push: 3,
    History.consolidate: 3,
    History.step: 8,
    History.freeze: 2,
    History.unfreeze: 1,
    History.open: 1,
    History.drop: 1,
    History.add_replica: 1,
    History.equalise: 3,
    History.detach: 1,
    History.split: 2,
    History.drop_replica: 1,
    History.policy: 1,
}


def run_history(seed, steps, content="bytes"):
    """Run and check a history chosen by *seed*; return it."""
    random = Random(seed)
    history = History(random.randrange, content)
    deck = [operation for operation, weight in OPERATIONS.items() for _ in range(weight)]
    for step in range(steps):
        random.choice(deck)(history)
        if step % 9 == 4:
            history.reclaim()
        if random.randrange(2):  # a check settles the content log: leave it full now and then
            history.check()
    history.check()
    return history
