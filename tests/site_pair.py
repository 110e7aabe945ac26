"""A site and the textbook, side by side: whatever is done to one is predicted by the other.

``Pair`` builds both from the same choices, admits every I/O to the site while the textbook predicts
its plan, and compares all there is.  Each comparison is a judge with a name, which is the first
word of the message of its AssertionError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

import textbook
from stuntdouble.errors import NoSpace
from stuntdouble.extents import Runs, State
from stuntdouble.site import COPY_INTO_EACH, COPY_ON_WRITE, REDIRECT_ON_WRITE, Role, Site
from stuntdouble.site.disk import Moment
from stuntdouble.site.tables import (
    D_LEDGER,
    D_TRACKED,
    F_SLOTS,
    F_ZEROED,
    I_COPIED,
    R_EQUAL,
    V_MOVED,
    V_OWN,
)
from textbook import ZERO, Lack

SIZE = 512  # bytes of a block: the smallest, and the quickest to render
BLOCKS = 150  # of a disk: three leaves of a map, the last one not full
FS = 8
LUN_BLOCKS = 512
WIRE_FROM = 448  # blocks behind this belong to no file
GRAIN = 4
RESERVE_START = 1 << 20
REPLICAS_FROM = 1 << 21
GROUPS = 6  # of a plan, from 0
KINDS = {"copy": COPY_ON_WRITE, "each": COPY_INTO_EACH, "redirect": REDIRECT_ON_WRITE}
ROLES = {
    Role.DATA: "data",
    Role.MOVE_READ: "move-read",
    Role.COPY_READ: "copy-read",
    Role.COPY_WRITE: "copy-write",
    Role.MERGE_READ: "merge-read",
    Role.METADATA: "metadata",
    Role.ZERO_FILL: "zero-fill",
    Role.REPLICA_READ: "replica-read",
    Role.REPLICA_WRITE: "replica-write",
}


@dataclass(eq=False)
class Both:
    """A thing of the site, and its page in the textbook."""

    real: object
    book: object


@dataclass(eq=False)
class View:
    """A frozen level: what it showed when it was frozen, and what the guest had written."""

    level: Both
    tokens: list
    moment: Moment
    ledger: dict


@dataclass(eq=False)
class Shelf:
    """A store, the volumes under it, and which file-system blocks of it are free."""

    store: object
    luns: list[Both]
    free: list


@dataclass(eq=False)
class Machine:
    """A disk: its chain from the base to the head, its frozen views, and its consolidation."""

    name: str
    shelf: Shelf
    disk: object
    book: SimpleNamespace
    chain: list[Both]
    names: list[str]
    is_copy: bool = False
    views: list[View] = field(default_factory=list)
    task: SimpleNamespace | None = None


@dataclass(eq=False)
class Group:
    """Images frozen in one instant; ``chains`` tells what the catalogue in them must show.

    ``replicas`` are those that they were split off, if they were.
    """

    images: list[Both]
    chains: dict
    opened: Shelf | None = None
    replicas: list[Both] = field(default_factory=list)


class Pair:
    def __init__(self, pick, content="bytes"):
        self.pick = pick
        self.site = Site(block_bytes=SIZE, content=content)
        self.keeps_content = content == "bytes"
        self.written, self.plans, self.pending, self.predicted, self.extra = 0, [], [], None, []
        self.levels, self.groups, self.machines, self.replicas = {}, [], [], []
        self.refuse, self.deltas, self.seen = False, 0, set()
        self.kind = list(KINDS)[pick(3)]
        self.unit, chunk = (2, 4, 8)[pick(3)], (4, 8, 16)[pick(3)]
        reserve = (32, 96, 2048)[pick(3)]
        number = self.site.create_pool(RESERVE_START, reserve)
        self.pool = SimpleNamespace(number=number, start=RESERVE_START, size=reserve, free=reserve)
        self.luns = []
        for home in (0, 4096):
            lun = self.site.create_lun(LUN_BLOCKS, chunk, number, home)
            lun.keeper = self
            page = textbook.Volume(self.pool, home, chunk, lun.number, LUN_BLOCKS)
            self.luns.append(Both(lun, page))
        self.shelves = []
        for luns in ([self.luns], [self.luns[:1], self.luns[1:]])[pick(2)]:
            store = self.site.create_store([x.real for x in luns], FS, self.unit)
            shelf = self.shelve(store, luns)
            need = -(-BLOCKS // FS) * len(luns)  # whole disks, should they not be thin
            shelf.free = shelf.free[-need - (3, 10, 100)[pick(3)] :]
            self.shelves.append(shelf)
        for n in range(2):
            self.build_disk(f"disk-{n}", self.shelves[n % len(self.shelves)])

    def shelve(self, store, luns):
        taken = {place for file in store.files.values() for place in file.places.values()}
        every = [(o, b) for o in range(len(luns)) for b in range(WIRE_FROM // FS)]
        free = [place for place in every if place not in taken]
        for i in range(len(free) - 1, 0, -1):  # scattered, as an old datastore is
            j = i - (self.pick(4) if i > 4 else 0)
            free[i], free[j] = free[j], free[i]
        store.keeper = self
        return Shelf(store, luns, free)

    def build_disk(self, name, shelf):
        """Make a thin, a lazily zeroed or an eagerly zeroed disk."""
        how = self.pick(3)
        file = shelf.store.create_file(name, BLOCKS, sparse=False, zeroed=how == 2)
        volumes = [x.book for x in shelf.luns]
        book = textbook.Level(volumes, FS, self.unit, zeroed=None if how == 2 else set())
        self.levels[file] = book
        for index in range(-(-BLOCKS // FS) if how else 0):
            self.place(shelf, file, book, index)
        if how == 2:
            for steps, (ordinal, block) in zip(
                self.site.zero_file(file), list(file.places.values()), strict=True
            ):
                where = volumes[ordinal], block * FS, FS, SIZE
                self.compare_plan(steps, textbook.address("zero-fill", *where))
        disk = self.site.create_disk(name, BLOCKS, file)
        disk.track(GRAIN)
        page = SimpleNamespace(head=book, ledger={}, grain=GRAIN, tracked=set())
        shelf.store.records[name] = (name,)
        level = Both(disk.head, book)
        self.machines.append(Machine(name, shelf, disk, page, [level], [name]))

    @staticmethod
    def place(shelf, file, book, index):
        ordinal, block = book.places[index] = shelf.free.pop()
        file.place(index, ordinal, block)

    # The keeper of every store and LUN. ------------------------------------------------------

    def provide(self, file, index):
        self.catch_up()
        shelf = next(s for s in self.all_shelves() if s.store is file.store)
        if not shelf.free:
            self.seen.add("datastore full")
            raise NoSpace("the datastore", FS, 0)
        step = min(2 if file.sparse else 1, len(shelf.free), -(-(BLOCKS + 1) // FS) - index)
        for k in range(step):  # a delta grows by two blocks
            self.place(shelf, file, self.levels[file], index + k)
        ios = self.pick(2 + step)
        self.pending[:0] = [lambda: self.extra.extend(self.growth(shelf.luns[0].book))] * ios
        return ios

    @staticmethod
    def growth(volume):
        """Predict a write of metadata that comes before an I/O: its groups lie before any other."""
        steps = textbook.address("record", volume, 0, 1, SIZE, 0, SIZE)
        return [(group - GROUPS, *rest) for group, *rest in steps]

    def make_room(self, lun):
        self.catch_up()
        groups = [g for g in self.groups if g.opened is None and not g.replicas]
        if self.refuse or not groups:
            self.seen.add("reserve full")
            raise NoSpace("the reserve", lun.chunk_bytes, 0)
        self.seen.add("image given up for room")
        self.thaw(groups[0], groups[0].images[0])

    def thaw(self, group, image):
        images = image.book.base.images
        if group.replicas:
            assert self.site.thaw(image.real) == 0, "space given back by a thaw"
        else:
            if image.book is not images[0] and image.book.kept and self.kind != "each":
                self.seen.add("older image got chunks")
            if len(images) > 1 and image.book.kept and self.kind == "each":
                self.seen.add("an image's own copies came free")
            freed = self.site.thaw(image.real)
            assert freed == SIZE * image.book.base.thaw(image.book), "space given back by a thaw"
        group.images.remove(image)
        group.chains = {}
        if not group.images:
            self.groups.remove(group)

    def all_shelves(self):
        return [*self.shelves, *(group.opened for group in self.groups if group.opened)]

    # Admission. --------------------------------------------------------------------------------

    def catch_up(self):
        """Let the textbook admit what the site has admitted by now: until something lacks."""
        while self.pending:
            try:
                self.predicted = self.pending[0]()
            except Lack:
                return
            self.pending.pop(0)

    def do(self, act, *predictions):
        """Admit an I/O, or several in bulk; return whether there was room for it."""
        self.pending, self.extra = list(predictions), []
        try:
            steps = act()
        except NoSpace:
            self.catch_up()
            assert self.pending, "admission refused what fits"
            return False
        self.catch_up()
        assert not self.pending, "admission accepted what does not fit"
        if steps is not None:
            extra = [step for step in steps if step[0] < 0]
            self.compare_plan(extra, self.extra)
            self.compare_plan(steps[len(extra) :], self.predicted)
        return True

    def compare_plan(self, steps, predicted):
        groups = [step[0] for step in steps]
        assert groups == sorted(groups), "plan: groups in order"
        found = [(group, ROLES[role], *rest) for group, role, *rest in steps]
        assert sorted(found) == sorted(predicted), "plan"
        self.plans.append(steps)

    def taking_tokens(self, count, predict):
        """Return a prediction that takes *count* tokens when it comes true."""

        def prediction():
            steps = predict(2 << 62 | self.written)
            self.written += count
            return steps

        return prediction

    # Judges. -----------------------------------------------------------------------------------

    def check(self):
        assert self.site.writes == self.written, "tokens taken"
        free = self.site.reserve_free_bytes(self.pool.number)
        assert free == self.pool.free * SIZE, "space left in the reserve"
        for both in [*self.luns, *(x for s in self.all_shelves() for x in s.luns)]:
            self.check_volume(both)
        for group in self.groups:
            for image in group.images:
                self.check_image(image)
            self.check_catalogue(group)
        for replica in self.replicas:
            self.check_replica(replica)
        for machine in self.machines:
            self.check_disk(machine)
            for view in machine.views:
                self.check_view(machine, view)

    def bits(self, number, count):
        words = self.site.arena.union([number], count)
        return {i for i in range(count) if int(words[i >> 6]) >> (i & 63) & 1}

    def column(self, table, row, column):
        return self.site.arena.column(table, row, column)

    def same_tokens(self, found, expected, what):
        if self.keeps_content:
            assert found.tolist() == list(expected), what

    def check_volume(self, both):
        lun, book = both.real, both.book
        chunks = LUN_BLOCKS // book.chunk
        moved = self.bits(self.column("volumes", lun.number, V_MOVED), chunks)
        assert moved == book.moved, "bitmap of moved chunks"
        own = self.column("volumes", lun.number, V_OWN)
        wanted = set() if book.kind else book.kept  # an image keeps its chunks elsewhere
        assert (self.bits(own, chunks) if own else set()) == wanted, "bitmap of own chunks"
        expected = map(book.token, range(LUN_BLOCKS))
        self.same_tokens(lun.tokens(0, LUN_BLOCKS), expected, "content of a volume")
        found = self.site.volume_read(lun, 0, LUN_BLOCKS * SIZE)
        self.compare_plan(found, textbook.address("read", book, 0, LUN_BLOCKS, SIZE))

    def check_image(self, image):
        self.check_volume(Both(image.real.lun, image.book))
        count = LUN_BLOCKS // image.book.chunk
        copied = self.bits(self.column("images", image.real.number, I_COPIED), count)
        assert copied == image.book.kept, "bitmap of copied chunks"
        space = len(copied) * image.book.chunk * SIZE
        assert image.real.space_bytes == space, "space of an image"

    def check_replica(self, replica):
        count = LUN_BLOCKS // replica.book.chunk
        equal = self.bits(self.column("replicas", replica.real.number, R_EQUAL), count)
        assert equal == replica.book.kept, "bitmap of equal chunks"
        left = (count - len(equal)) * replica.book.chunk * SIZE
        assert replica.real.unequal_bytes == left, "bytes to be copied to a replica"
        pieces = replica.real.unequal(2 * replica.book.chunk * SIZE).tolist()
        chunks = [chunk for start, stop in pieces for chunk in range(start, stop)]
        assert chunks == sorted(set(range(count)) - equal), "chunks to be copied to a replica"
        assert replica.real.attached == bool(replica.book.kind), "whether a replica is attached"

    def check_catalogue(self, group):
        """Read the chains out of a frozen catalogue, without opening it."""
        for (store, name), levels in group.chains.items():
            level = None
            self.seen |= {"spanned catalogue"} if len(store.luns) > 1 else set()
            self.seen |= {"chain in a catalogue"} if len(levels) > 1 else set()
            assert store.records[name] == tuple(levels), "catalogue of an image: records"
            for file, tokens in levels.items():
                level = self.site.new_level(store.files[file], level)
                found = self.site.chain_tokens(level, 0, BLOCKS)
                self.same_tokens(found, tokens, "catalogue of an image: chain")

    def check_disk(self, machine):
        disk, book = machine.disk, machine.book
        ledger = Moment(disk, 0.0, self.column("disks", disk.number, D_LEDGER))
        self.check_ledger(ledger, book.ledger, "ledger")
        expected = [book.head.token(d) for d in range(BLOCKS)]
        found = self.site.chain_tokens(disk.head, 0, BLOCKS)
        self.same_tokens(found, expected, "head of a disk")
        if self.keeps_content and not machine.is_copy:
            truth = self.site.truth(ledger, 0, BLOCKS)
            truth[truth == 0] = ZERO
            assert found.tolist() == truth.tolist(), "oracle: the guest reads what it wrote"
        self.check_table(machine, disk.head)
        tracked = self.bits(self.column("disks", disk.number, D_TRACKED), -(-BLOCKS // GRAIN))
        assert tracked == book.tracked, "tracker"
        for level in machine.chain:
            self.check_file(level.real.file, level.book)

    def check_file(self, file, book):
        if file.sparse:
            words = self.site.arena.words(self.column("files", file.number, F_SLOTS), 0, BLOCKS)
            slots = {d: slot - 1 for d, slot in enumerate(words.tolist()) if slot}
            assert slots == book.slots, "slots of a delta disk"
            assert file.used_blocks == len(slots), "slots of a delta disk: used"
            assert file.room_blocks == FS * len(book.places), "slots of a delta disk: room"
        elif book.zeroed is not None:
            count = -(-BLOCKS // book.unit) + 1
            zeroed = self.bits(self.column("files", file.number, F_ZEROED), count)
            assert zeroed == book.zeroed, "bitmap of zeroed units"
        assert file.places == book.places, "places of a file"

    def check_ledger(self, moment, ledger, what):
        found = self.site.truth(moment, 0, BLOCKS)
        self.same_tokens(found, [ledger.get(d, 0) for d in range(BLOCKS)], what)

    def check_view(self, machine, view):
        self.check_ledger(view.moment, view.ledger, "moment of a VM snapshot")
        found = self.site.chain_tokens(view.level.real, 0, BLOCKS)
        self.same_tokens(found, view.tokens, "frozen level")
        self.check_table(machine, view.level.real)

    def check_table(self, machine, level):
        """Read a level through its offset table: raw from the volumes, zeros elsewhere."""
        luns = {both.real.number: both.real for both in machine.shelf.luns}
        table = self.site.offset_table(level, BLOCKS, {n: str(n) for n in luns})
        found = np.full(BLOCKS, ZERO, np.uint64)
        for row in table:
            if row.state is State.WRITTEN:
                lun = luns[int(table.volumes[row.volume])]
                start, count = row.file_offset // SIZE, row.length // SIZE
                found[start : start + count] = lun.tokens(row.volume_offset // SIZE, count)
        expected = self.site.chain_tokens(level, 0, BLOCKS)
        self.same_tokens(found, expected.tolist(), "offset table")

    def check_changed(self, machine, sealed):
        """Compare what the tracker answers with the grains the guest wrote."""
        size = GRAIN * SIZE
        wanted = Runs.of((g * size, size) for g in machine.book.tracked).clip(0, BLOCKS * SIZE)
        assert self.site.changed(machine.disk, [sealed]) == wanted, "tracker: answer"
