"""Disks that grow: what was there stays, what is new reads as zeros, and moments end where they did."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import textbook
from site_build import FS, SIZE, Build
from site_pair import ROLES
from stuntdouble.content import ZERO
from stuntdouble.extents import Runs
from stuntdouble.site import COPY_ON_WRITE

START = (1 << 14) - 40  # a map has roots of 2**14 words: growth goes past the first of them
WINDOW = 64  # blocks before the first size that are looked at
GRAIN = 8


class Growing:
    """A disk, a textbook page of it, and everything that was kept of earlier sizes."""

    def __init__(self, *, zeroed=False):
        self.built = Build(blocks=START, unit=4, chunk=4, zeroed=zeroed)
        self.site, self.disk = self.built.site, self.built.disk
        self.file = self.disk.head.file
        pool = SimpleNamespace(number=self.built.pool, start=1 << 30, size=1 << 20, free=1 << 20)
        lun = self.built.luns[0]
        volume = textbook.Volume(pool, 0, 4, lun.number, lun.blocks)
        level = textbook.Level([volume], FS, 4, zeroed=None if zeroed else set())
        level.places = self.file.places  # where blocks lie is the keeper's choice
        self.page = SimpleNamespace(head=level, ledger={}, grain=GRAIN, tracked=set())
        self.disk.track(GRAIN)
        self.written = 0
        self.kept, self.sealed = [], []

    def write(self, block, count):
        steps = self.site.write(self.disk, block * SIZE, count * SIZE)
        first = 2 << 62 | self.written
        self.written += count
        wanted = textbook.write(self.page, block * SIZE, (block + count) * SIZE, SIZE, first)
        found = [(group, ROLES[role], *rest) for group, role, *rest in steps if group >= 0]
        assert sorted(found) == sorted(wanted), "plan"

    def grow(self, count):
        blocks = self.disk.blocks + count
        self.file.lengthen(blocks)
        self.disk.grow(blocks)

    def keep(self):
        """Keep a moment, and close a set of grains."""
        moment = self.disk.moment(0.0)
        self.kept.append((moment, dict(self.page.ledger), self.disk.blocks))
        self.sealed.append((self.disk.seal(), self.page.tracked))
        self.page.tracked = set()

    def check(self):
        start, stop = START - WINDOW, self.disk.blocks
        found = self.site.chain_tokens(self.disk.head, start, stop - start).tolist()
        assert found == [self.page.head.token(d) for d in range(start, stop)], "content"
        for moment, ledger, _ in [(self.disk.moment(1.0), self.page.ledger, stop), *self.kept]:
            truth = self.site.truth(moment, start, stop - start).tolist()
            assert truth == [ledger.get(d, 0) for d in range(start, stop)], "truth"
        size, end = GRAIN * SIZE, stop * SIZE
        for n in range(len(self.sealed)):
            grains = set().union(*(grains for _, grains in self.sealed[n:]))
            wanted = Runs.of((g * size, size) for g in grains).clip(0, end)
            bitmaps = [bitmap for bitmap, _ in self.sealed[n:]]
            assert self.site.changed(self.disk, bitmaps) == wanted, "changes"


class GrowingMachine(RuleBasedStateMachine):
    @initialize(zeroed=st.booleans())
    def build(self, zeroed):
        self.each = Growing(zeroed=zeroed)

    @rule(back=st.integers(1, WINDOW + 200), count=st.integers(1, 20))
    def write(self, back, count):
        stop = self.each.disk.blocks
        block = max(START - WINDOW, stop - back)
        self.each.write(block, min(count, stop - block))

    @rule(count=st.integers(0, 90))
    def grow(self, count):
        self.each.grow(count)

    @rule()
    def keep(self):
        self.each.keep()

    @rule()
    def reclaim(self):
        self.each.site.reclaim(thorough=False)

    @rule()
    def check(self):
        self.each.check()

    def teardown(self):
        self.each.check()


TestGrowing = GrowingMachine.TestCase
TestGrowing.settings = settings(max_examples=40, stateful_step_count=20)


@pytest.mark.plain
def test_what_is_new_reads_as_zeros_and_takes_writes():
    each = Growing()
    each.write(START - 4, 4)
    each.keep()
    each.grow(100)
    found = each.site.chain_tokens(each.disk.head, START, 100).tolist()
    assert found == [ZERO] * 100
    each.write(START - 2, 80)  # over the old end, and over the first root of the maps
    each.check()
    each.site.reclaim()
    each.check()
    assert each.disk.size_bytes == (START + 100) * SIZE


@pytest.mark.plain
def test_an_image_keeps_the_size_of_its_instant():
    each = Growing()
    each.write(START - 4, 4)
    image = each.site.freeze(each.built.luns, COPY_ON_WRITE)[0]
    (opened,) = each.site.fork_luns(each.built.luns, image)
    each.grow(100)
    each.site.write(each.disk, (START - 4) * SIZE, 50 * SIZE)
    file = opened.stores[0].files["disk"]
    assert (file.blocks, each.file.blocks) == (START, START + 100)
    level = each.site.new_level(file, None)
    found = each.site.chain_tokens(level, START - 4, 4).tolist()
    assert found == [2 << 62 | n for n in range(4)]


@pytest.mark.plain
def test_growth_is_undone_before_it_was_used():
    each = Growing()
    each.write(START - 4, 4)
    held = dict(each.file.places)
    each.file.lengthen(START + 4 * FS)
    each.file.place((START + 3 * FS) // FS, 0, 4099)
    assert each.file.shorten(START) == [(0, 4099)]
    assert (each.file.blocks, each.file.places) == (START, held)
    each.grow(4 * FS)
    each.check()
    found = each.site.chain_tokens(each.disk.head, START, 4 * FS).tolist()
    assert found == [ZERO] * 4 * FS


@pytest.mark.plain
def test_zeroing_may_begin_further_on():
    built = Build(blocks=4 * FS, unit=4, zeroed=True)
    file = built.disk.head.file
    for index in range(4):
        file.place(index, 0, 7 * index)
    steps = [step for some in built.site.zero_file(file, 3) for step in some]
    assert sum(step[5] for step in steps) == FS * SIZE
    assert built.luns[0].tokens(21 * FS, FS).tolist() == [ZERO] * FS


@pytest.mark.plain
def test_what_cannot_grow_says_so():
    built = Build()
    with pytest.raises(AssertionError, match="cannot end there"):
        built.disk.grow(built.disk.blocks + 1)
    with pytest.raises(AssertionError, match="longer than that"):
        built.disk.head.file.lengthen(built.disk.blocks - 1)
    delta = built.delta()
    with pytest.raises(AssertionError, match="as long as its parent"):
        delta.file.lengthen(built.disk.blocks + 1)
    with pytest.raises(AssertionError, match="delta disks"):
        built.disk.grow(built.disk.blocks)
