"""Pages: in every mode, walking them finds the answer, the whole answer and nothing else."""

from __future__ import annotations

import time
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypervisor.bench import BLOCK, rig, spec
from stuntdouble.errors import Misuse
from stuntdouble.extents import Runs
from stuntdouble.hypervisor import Paging, changed_ranges
from stuntdouble.hypervisor.paging import Mode, page
from stuntdouble.trace import Streams
from stuntdouble.units import KIB, TIB

MODES = get_args(Mode)
BLOCKS = 256
SIZE = BLOCKS * BLOCK
GRAIN = 16 * KIB
each_mode = pytest.mark.parametrize("mode", MODES)


def walk(ask, size):
    """Ask page by page as the contract has it; return the pages."""
    pages, at = [], 0
    while at < size:
        found = ask(at)
        assert found.start == at
        assert found.covered >= 1
        at += found.covered
        assert at <= size
        assert found.extents.clip(found.start, at) == found.extents
        pages.append(found)
    return pages


def union(pages):
    return Runs.of([(start, length) for page in pages for start, length in page.extents])


runs = st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 300)), max_size=30).map(Runs.of)


@settings(max_examples=300)
@given(
    runs,
    st.sampled_from(MODES),
    st.integers(1, 6),
    st.sampled_from([0, 1, 100, 512, 1024, 4096]),
    st.booleans(),
    st.integers(0, 9),
)
def test_a_walk_finds_all_of_it_in_every_mode(found, mode, areas, span, gaps, seed):
    size = max(int(found.stops[-1]) if found else 0, 4000)
    paging, stream = Paging(mode, areas, span), Streams(seed)["paging"]
    pages = walk(lambda at: page(found, at, size, paging, stream, gaps=gaps), size)
    assert union(pages) == found
    if mode != "one-page":
        assert all(len(page.extents) <= areas for page in pages)
    if mode in {"areas", "span-empty"} and span:
        assert all(page.covered <= span for page in pages)
    if gaps or mode == "span-empty":
        assert all(page.extents.array[0, 0] == page.start for page in pages if page.extents)


@pytest.mark.plain
def test_each_mode_is_what_its_name_says():
    found = Runs.of([(1000, 100), (1200, 100), (5000, 100), (7000, 1000)])

    def covered(mode, areas=2000, span=0, gaps=False):
        paging, stream = Paging(mode, areas, span), Streams(1)["paging"]
        pages = walk(lambda at: page(found, at, 8192, paging, stream, gaps=gaps), 8192)
        return [(page.covered, len(page.extents)) for page in pages]

    assert covered("one-page", areas=1) == [(8192, 4)]
    assert covered("areas", areas=3) == [(5100, 3), (3092, 1)]
    assert covered("areas", span=4096) == [(4096, 2), (4096, 2)]
    assert covered("span") == [
        *[(1024, 1), (1024, 2)],  # the second begins within the first area
        *[(3976, 1), (1024, 1), (1024, 1)],  # nothing in [2048, 3072): on to what is at 5000
        (120, 0),
    ]
    assert covered("span-empty") == [
        *[(1000, 0), (1024, 2)],
        *[(1024, 0), (1024, 0), (928, 0), (1024, 1)],
        *[(976, 0), (1024, 1), (168, 0)],
    ]
    assert covered("one-page", gaps=True) == [(1000, 0), (7192, 4)]
    drawn = covered("random")
    assert any(not count for _, count in drawn[:-1])
    assert drawn != covered("areas")


@each_mode
def test_an_answer_of_nothing_reaches_the_end(mode):
    pages = walk(lambda at: page(Runs.empty(), at, SIZE, Paging(mode), Streams(1)["p"]), SIZE)
    assert not union(pages)


def test_a_million_areas_are_walked_in_no_time():
    starts = np.arange(1_000_000, dtype=np.int64) * (16 * TIB // 1_000_000 // BLOCK * BLOCK)
    found = Runs.from_arrays(starts, np.full(len(starts), GRAIN))
    paging, stream = Paging(), Streams(1)["paging"]
    began = time.perf_counter()
    pages = walk(lambda at: page(found, at, 16 * TIB, paging, stream), 16 * TIB)
    seconds = time.perf_counter() - began
    assert len(pages) == 500
    assert sum(len(page.extents) for page in pages) == 1_000_000
    assert seconds < 0.2


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"mode": "two-pages"}, "tracking_paging: 'two-pages' is none of 'areas', 'one-page'"),
        ({"areas": 0}, "tracking_page_areas"),
        ({"span_bytes": -1}, "tracking_page_bytes"),
    ],
)
def test_what_makes_no_page_is_refused(values, where):
    with pytest.raises(Misuse, match=where):
        Paging(**values)
    paging = Paging("span", 7, 9)
    with pytest.raises(Misuse, match=where):
        paging.change(**values)
    assert paging == Paging("span", 7, 9)


# On an emulated disk. -----------------------------------------------------------------------------

writes = st.lists(st.tuples(st.integers(0, BLOCKS - 1), st.integers(1, 9)), max_size=12)


@settings(max_examples=60)
@given(st.sampled_from(MODES), writes, st.booleans(), st.booleans(), st.sampled_from([1, 2, 2000]))
def test_every_mode_finds_what_was_written(mode, writes, positives, empties, areas):
    """Exactly that; more than that where false positives are to be expected."""
    names = ["false-positives"] * positives + ["empty-pages"] * empties
    bench = rig(tracking_paging=mode, tracking_page_areas=areas, quirks=tuple(names))
    vm = bench.add_vm(spec(size=SIZE))
    bench.do(bench.hypervisor.enable_tracking(vm))
    first = bench.do(bench.hypervisor.create_snapshot(vm, "first"))
    grains = set()
    for block, count in writes:
        length = min(count, BLOCKS - block) * BLOCK
        bench.site.write(vm.disks[2000].disk, block * BLOCK, length)
        grains |= set(range(block * BLOCK // GRAIN, -(-(block * BLOCK + length) // GRAIN)))
    last = bench.do(bench.hypervisor.create_snapshot(vm, "last"))
    since = first.change_ids[2000]
    pages = walk(lambda at: changed_ranges(bench.hypervisor, vm, 2000, since, last.id, at), SIZE)
    true = Runs.of([(grain * GRAIN, GRAIN) for grain in grains])
    assert union(pages).covers(true)
    assert (union(pages) == true) or positives
    if empties and true and true.starts[0] and not positives:
        assert not pages[0].extents
        assert pages[0].covered <= true.starts[0]


def test_false_positives_are_there_and_stay_while_pages_are_walked():
    bench = rig(quirks=("false-positives",))
    vm = bench.add_vm(spec(size=SIZE))
    bench.do(bench.hypervisor.enable_tracking(vm))
    first = bench.do(bench.hypervisor.create_snapshot(vm, "first"))
    last = bench.do(bench.hypervisor.create_snapshot(vm, "last"))
    asked = (bench.hypervisor, vm, 2000, first.change_ids[2000], last.id, 0)
    found = changed_ranges(*asked)
    assert found.extents
    assert changed_ranges(*asked) == found
    bench.hypervisor.quirks.switch("false-positives", on=False)
    assert not changed_ranges(*asked).extents


def test_the_mode_may_change_between_two_pages():
    bench = rig()
    vm = bench.add_vm(spec(size=SIZE))
    bench.do(bench.hypervisor.enable_tracking(vm))
    first = bench.do(bench.hypervisor.create_snapshot(vm, "first"))
    for block in range(0, BLOCKS, 16):
        bench.site.write(vm.disks[2000].disk, block * BLOCK, BLOCK)
    last = bench.do(bench.hypervisor.create_snapshot(vm, "last"))
    modes = iter([*MODES, *MODES, *["areas"] * 99])

    def ask(at):
        bench.hypervisor.paging.change(mode=next(modes), areas=2)
        return changed_ranges(bench.hypervisor, vm, 2000, first.change_ids[2000], last.id, at)

    assert union(walk(ask, SIZE)) == Runs.of([(n * BLOCK, GRAIN) for n in range(0, BLOCKS, 16)])
