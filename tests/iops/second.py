"""A second opinion on random histories: the textbook predicts each admission of the specification's
run, and a replay of the content log tells what every volume holds and every guest wrote.

Both engines share the site, so an error in its rules makes no difference between them.  The
textbook shares nothing with it.  Each comparison is a judge with a name, which is the first word
of the message of its AssertionError.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from types import SimpleNamespace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

import textbook
from log_replay import ReplayedSite, overlaid
from stuntdouble.errors import NoSpace
from stuntdouble.extents import Runs
from stuntdouble.site import (
    COPY_INTO_EACH,
    COPY_ON_WRITE,
    REDIRECT_ON_WRITE,
    Disk,
    Level,
    Replica,
    Role,
    rules,
)
from stuntdouble.site.tables import D_LEDGER, D_TRACK_SHIFT, F_ZEROED, I_COPIED, V_MOVED
from stuntdouble.units import SECTOR_BYTES
from textbook import Lack

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.site import Step

KINDS = {COPY_ON_WRITE: "copy", COPY_INTO_EACH: "each", REDIRECT_ON_WRITE: "redirect"}
FIRST_TOKEN = 2 << 62  # of what guests and hosts write
NAMES = {role: role.name.lower().replace("_", "-") for role in Role}


class BookedLevel(Level):
    """A level whose page follows what control does to it."""

    def mirror(self, on):
        super().mirror(on)
        self.site.books[self].mirror = on

    def hang_on(self, parent):
        super().hang_on(parent)
        self.site.books[self].parent = self.site.books[parent]


class BookedDisk(Disk):
    """A disk whose page follows what control does to it."""

    def set_head(self, level):
        super().set_head(level)
        self.site.books[self].head = self.site.books[level]

    def track(self, grain_blocks):
        super().track(grain_blocks)
        self.site.books[self].grain = grain_blocks

    def seal(self):
        sealed, book = super().seal(), self.site.books[self]
        size = book.grain * self.site.block_bytes
        wanted = Runs.of((g * size, size) for g in book.tracked).clip(0, self.size_bytes)
        assert self.site.changed(self, [sealed]) == wanted, "tracker: answer"
        self.site.fired["change tracking: marks sealed"] += len(book.tracked)
        self.site.fired["change tracking: seals"] += 1
        book.tracked.clear()
        return sealed


class BookedReplica(Replica):
    """A replica whose page follows what control does to it."""

    def attach(self):
        super().attach()
        self.lun.site.books[self].kind = "attached"

    def detach(self):
        super().detach()
        self.lun.site.books[self].kind = ""

    def equalise(self, start, stop):
        site = self.lun.site
        page, size = site.books[self], site.block_bytes
        steps = super().equalise(start, stop)
        site.compare_plan(steps, textbook.equalise(page.base, page, start, stop, size))
        return steps


class BookedSite(ReplayedSite):
    """A site with a page in the textbook for each thing it has; ``fired`` counts what was judged.

    Pages are found by handles and hold none, so that the site reuses rows as it does unjudged.
    """

    def __init__(self, **facts):
        super().__init__(**facts)
        self.books, self.pools, self.written = WeakKeyDictionary(), {}, 0
        self.sheets = WeakKeyDictionary()  # file -> its slots and its zeroed units
        self.giving = False  # what a thaw gives back, which the textbook knows
        self.asked, self.growth = None, 0  # what is being admitted, and steps its growth has cost
        self.short = False  # whether the metadata of a growth found no room
        self.fired = Counter()

    # Building. -------------------------------------------------------------------------------------

    def create_pool(self, reserve_start, reserve_blocks):
        number = super().create_pool(reserve_start, reserve_blocks)
        size = max(reserve_blocks, 1)
        self.pools[number] = SimpleNamespace(
            number=number, start=reserve_start, size=size, free=reserve_blocks
        )
        return number

    def create_lun(self, blocks, chunk_blocks, pool, physical):
        made = super().create_lun(blocks, chunk_blocks, pool, physical)
        page = textbook.Volume(self.pools[pool], physical, chunk_blocks, made.number, blocks)
        self.books[made] = page
        return made

    def create_disk(self, name, blocks, file):
        made = super().create_disk(name, blocks, file)
        head = self._page(made.head, None)
        self.books[made] = SimpleNamespace(head=head, ledger={}, grain=0, tracked=set())
        made.__class__ = BookedDisk
        return made

    def new_level(self, file, parent):
        made = super().new_level(file, parent)
        self._page(made, parent)
        return made

    def _page(self, level, parent):
        file = level.file
        volumes = [self.books[lun] for lun in file.store.luns]
        slots = {} if file.sparse else None
        lazy = self.arena.column("files", file.number, F_ZEROED)
        sheet = self.sheets.setdefault(file, (slots, set() if lazy else None))
        page = textbook.Level(volumes, file.store.fs_blocks, file.store.zero_blocks, *sheet)
        page.places, page.parent = file.places, self.books[parent] if parent else None
        self.books[level] = page
        level.__class__ = BookedLevel
        return page

    # Images and replicas. --------------------------------------------------------------------------

    def freeze(self, luns, kind):
        images = super().freeze(luns, kind)
        for lun, image in zip(luns, images, strict=True):
            self.books[image.lun] = self.books[lun].freeze(KINDS[kind])
        return images

    def fork_luns(self, luns, image):
        twins = super().fork_luns(luns, image)
        for lun, twin in zip(luns, twins, strict=True):
            for store, fork in zip(lun.stores, twin.stores, strict=True):
                known = {name: file for name, file in store.files.items() if file in self.sheets}
                self.sheets.update(
                    (fork.files[n], deepcopy(self.sheets[f])) for n, f in known.items()
                )
        if image is not None:
            for lun, twin in zip(luns, twins, strict=True):
                self.books[twin] = self.books[lun].open()
        return twins

    def thaw(self, image):
        page = self.books[image.lun]
        wanted = 0 if page.kind == "split" else self.block_bytes * page.base.thaw(page)
        self.giving = True
        freed = super().thaw(image)
        self.giving = False
        assert freed == wanted, "space given back by a thaw"
        return freed

    def drop_lun(self, twin):
        page = self.books[twin]
        page.pool.free += len(page.kept) * page.chunk
        self.giving = True
        super().drop_lun(twin)
        self.giving = False

    def release_reserve(self, base, size):
        super().release_reserve(base, size)
        if not self.giving:
            self.books[base].pool.free += size // self.block_bytes

    def add_replica(self, base, pool, physical):
        made, lun = super().add_replica(base, pool, physical), self.books[base]
        page = textbook.Volume(self.pools[pool], physical, lun.chunk, 0, base.blocks)
        page.base = lun
        lun.replicas.append(page)
        self.books[made] = page
        made.__class__ = BookedReplica
        return made

    def split(self, replicas):
        images = super().split(replicas)
        for replica, image in zip(replicas, images, strict=True):
            page = self.books[replica]
            self.books[image.lun] = page.base.freeze("split", page)
        return images

    # Admission. ------------------------------------------------------------------------------------

    def write(self, disk, offset, length):
        def predict():
            page, size = self.books[disk], self.block_bytes
            first = FIRST_TOKEN | self.written
            steps = textbook.write(page, offset, offset + length, size, first)
            self.written += -(-(offset + length) // size) - offset // size
            return steps

        return self._judge(lambda: super(BookedSite, self).write(disk, offset, length), predict)

    def read(self, level, offset, length):
        def predict():
            return textbook.read(self.books[level], offset, offset + length, self.block_bytes)

        self._note_read(self.books[level], offset, length)
        opened = any(self.books[lun].origin for lun in level.file.store.luns)
        self.fired["reads of a disk of an opened image"] += opened
        return self._judge(lambda: super(BookedSite, self).read(level, offset, length), predict)

    def _note_read(self, page, offset, length):
        size, served = self.block_bytes, set()
        for block in range(offset // size, -(-(offset + length) // size)):
            level = page
            while level.slots is not None and block not in level.slots:
                level = level.parent
            served.add(id(level))
        self.fired["chain reads: served by more than one level"] += len(served) > 1
        self.fired["chain reads: by three levels"] += len(served) > 2

    def move(self, level, block, count):
        def predict():
            return textbook.move(self.books[level], block, count, self.block_bytes)

        return self._judge(lambda: super(BookedSite, self).move(level, block, count), predict)

    def volume_read(self, target, offset, length):
        page = self.books[target]
        self.fired["reads of opened images"] += bool(page.origin) and page.origin is not page
        return self._judge(
            lambda: super(BookedSite, self).volume_read(target, offset, length),
            lambda: self._addressed("read", page, offset, length),
        )

    def volume_write(self, target, offset, length, data=None):
        assert data is None, "histories write no real bytes"
        page = self.books[target]
        self.fired["writes to opened images"] += page.origin is not None

        def predict():
            before = self.written
            steps = self._addressed("data", page, offset, length, FIRST_TOKEN | before)
            self.written += -(-(offset + length) // self.block_bytes) - offset // self.block_bytes
            return steps

        return self._judge(
            lambda: super(BookedSite, self).volume_write(target, offset, length), predict
        )

    def metadata_write(self, lun, length=SECTOR_BYTES):
        page, size = self.books[lun], self.block_bytes
        return self._judge(
            lambda: super(BookedSite, self).metadata_write(lun, length),
            lambda: textbook.address("record", page, 0, -(-length // size), size, 0, length),
        )

    def _addressed(self, kind, page, offset, length, first=0):
        size = self.block_bytes
        block, stop = offset // size, -(-(offset + length) // size)
        return textbook.address(kind, page, block, stop - block, size, first)

    def _judge(self, act: Callable[[], list[Step]], predict: Callable[[], list]) -> list[Step]:
        """Admit an I/O, and let the textbook admit it: both or neither."""
        outer, moved = (self.asked, self.growth), self._moved()
        self.asked, self.growth, self.short = predict, 0, False
        try:
            steps = act()
            growth = self.growth
        except NoSpace:
            if not self.short:  # else the file has grown, and the reserve had no room to say so
                self._must_lack("admission refused what fits")
            self.short = outer[0] is not None
            raise
        finally:
            self.asked, self.growth = outer
        try:
            predicted = predict()
        except Lack:
            raise AssertionError("admission accepted what does not fit") from None
        extra = [step for step in steps if step[0] < 0]
        assert len(extra) == growth, "plan: metadata I/Os of growth"
        self.compare_plan(steps[growth:], predicted)
        self.fired["chunks redirected"] += self._moved() - moved
        return steps

    def _moved(self):
        return sum(len(page.moved) for page in map(self.books.get, self.luns.values()) if page)

    def _must_lack(self, otherwise):
        try:
            self.asked()
        except Lack:
            return
        raise AssertionError(otherwise)

    def _provide(self, need):
        self._must_lack("admission asked for room that there is")
        self.fired["images given up, or not, for room"] += need == rules.NEED_RESERVE
        extra = super()._provide(need)
        self.growth += len(extra)
        self.fired["files grown"] += need != rules.NEED_RESERVE
        return extra

    def compare_plan(self, steps, predicted):
        groups = [step[0] for step in steps]
        assert groups == sorted(groups), "plan: groups in order"
        found = [(group, NAMES[role], bool(write), *rest) for group, role, write, *rest in steps]
        assert sorted(found) == sorted(predicted), "plan"
        self._note_plan([role for _, role, *_ in steps])

    def _note_plan(self, roles):
        self.fired["admissions judged by the textbook"] += 1
        kinds = {i.kind for p in map(self.books.get, self.luns.values()) if p for i in p.images}
        each = "copies into each image" if "each" in kinds else "copies on write"
        for role, what in {
            Role.METADATA: "allocations of deltas: grain tables written",
            Role.COPY_WRITE: each,
            Role.MERGE_READ: "merges of a redirected chunk",
        }.items():
            self.fired[what] += roles.count(role)
        crowded = any(len(p.images) > 1 for p in map(self.books.get, self.luns.values()) if p)
        self.fired["admissions while more than one snapshot is alive"] += crowded

    # What came of it. ------------------------------------------------------------------------------

    def compare(self, disks):
        """Compare all there is at the end of a history."""
        self.settle()
        assert self.writes == self.written, "tokens taken"
        for number, pool in self.pools.items():
            free = self.reserve_free_bytes(number)
            assert free == pool.free * self.block_bytes, "space left in the reserve"
        for lun in self.luns.values():
            self._compare_volume(lun, self.books[lun])
        for image in (image for images in self.images.values() for image in images):
            self._compare_image(image)
        for disk in disks:
            self._compare_disk(disk, self.books[disk])
        if self.content == "bytes":
            self.replay.compare()

    def bits(self, number, count):
        words = np.asarray(self.arena.union([number], count)).view(np.uint8)
        return set(np.flatnonzero(np.unpackbits(words, bitorder="little")[:count]).tolist())

    def _compare_volume(self, lun, page):
        moved = self.arena.column("volumes", lun.number, V_MOVED)
        assert self.bits(moved, lun.blocks // page.chunk) == page.moved, "bitmap of moved chunks"
        if self.content == "bytes":
            wanted = overlaid(page.content, lun.blocks, page.born << 42, 1)
            assert np.array_equal(lun.tokens(0, lun.blocks), wanted), "content of a volume"

    def _compare_image(self, image):
        page, number = self.books[image.lun], image.number
        copied = self.bits(self.arena.column("images", number, I_COPIED), page.blocks // page.chunk)
        assert copied == page.kept, "bitmap of copied chunks"
        space = len(copied) * page.chunk * self.block_bytes
        assert image.space_bytes == space, "space of an image"

    def _compare_disk(self, disk, page):
        shift = self.arena.column("disks", disk.number, D_TRACK_SHIFT)
        assert 1 << shift == page.grain, "grain of a tracker"
        disk.seal()  # which compares what is tracked
        if self.content != "bytes":
            return
        number = self.arena.column("disks", disk.number, D_LEDGER)
        ledger = self.arena.words(number, 0, disk.blocks)
        assert np.array_equal(ledger, overlaid(page.ledger, disk.blocks)), "ledger"
        level = disk.head
        while level is not None:
            book = self.books[level]
            wanted = [book.token(d) for d in range(disk.blocks)]
            assert self.chain_tokens(level, 0, disk.blocks).tolist() == wanted, "chain of a disk"
            level = level.parent
