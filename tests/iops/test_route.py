"""Where bytes of a pool lie, and what a write to them costs."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stuntdouble.iops.route import Geometry, Raid, Router
from stuntdouble.site import Role

pytestmark = pytest.mark.plain

BLOCK = 4096
KIB, MIB = 1 << 10, 1 << 20
DATA = int(Role.DATA)

geometries = st.one_of(
    st.builds(Geometry, st.just(Raid.RAID0), st.integers(0, 9), st.integers(1, 7), st.sampled_from([BLOCK, 4 * BLOCK, 16 * BLOCK])),
    st.builds(Geometry, st.just(Raid.RAID10), st.integers(0, 9), st.sampled_from([2, 4, 6]), st.sampled_from([BLOCK, 4 * BLOCK, 16 * BLOCK])),
    st.builds(Geometry, st.just(Raid.RAID5), st.integers(0, 9), st.integers(3, 7), st.sampled_from([BLOCK, 4 * BLOCK, 16 * BLOCK])),
    st.builds(Geometry, st.just(Raid.RAID6), st.integers(0, 9), st.integers(4, 8), st.sampled_from([BLOCK, 4 * BLOCK, 16 * BLOCK])),
)  # fmt: skip


def router(geometry: Geometry) -> Router:
    made = Router(BLOCK)
    made.add_pool(1, geometry)
    return made


def visits(geometry: Geometry, write: bool, at: int, size: int, role: int = DATA, group: int = 0):
    """Return the visits of one step of *size* bytes at byte *at* (a whole block)."""
    return router(geometry).visits([(group, role, int(write), 1, at // BLOCK, size)])


def blocks_of(found, *, group: int | None = None, write: int | None = None) -> Counter:
    """Return how often each (station, block) is touched."""
    touched: Counter = Counter()
    for number, station, direction, at, size, _ in found:
        if group in {None, number} and write in {None, direction}:
            assert at % BLOCK == size % BLOCK == 0
            touched.update((station, b) for b in range(at // BLOCK, (at + size) // BLOCK))
    return touched


# Every byte has its place. -----------------------------------------------------------------------


@settings(max_examples=60)
@given(geometries)
def test_every_block_lies_on_exactly_one_place_and_no_two_share_one(geometry) -> None:
    count = 4 * geometry.members * geometry.stripe_bytes // BLOCK
    places = {}
    redundant = set()
    for block in range(count):
        read = blocks_of(visits(geometry, False, block * BLOCK, BLOCK))
        assert list(read.values()) == [1]
        (place,) = read
        assert place not in places, "two blocks in one place"
        places[place] = block
        written = blocks_of(visits(geometry, True, block * BLOCK, BLOCK), group=2)
        assert place in written
        assert set(written.values()) == {1}
        redundant |= set(written) - {place}
        stations = {station for station, _ in written}
        assert stations <= set(range(geometry.first, geometry.first + geometry.members))
        assert len(stations) == len(written) == 1 + {0: 0, 10: 1, 5: 1, 6: 2}[geometry.raid]
    assert not redundant & set(places), "redundancy lies on data"
    # nothing is wasted: a disk's worth of data fills whole rows
    rows = count * BLOCK // geometry.data_disks() // geometry.stripe_bytes
    deepest = max(b for _, b in places) * BLOCK // geometry.stripe_bytes
    assert deepest < rows + 1


@settings(max_examples=80)
@given(geometries, st.integers(0, 200), st.integers(1, 200), st.booleans())
@example(Geometry(Raid.RAID5, 0, 3, 4 * BLOCK), 1, 5, True)  # the ends of a row overlap in parity
def test_a_large_io_touches_what_its_blocks_touch(geometry, first, count, write) -> None:
    at, size = first * BLOCK, count * BLOCK
    whole = blocks_of(visits(geometry, write, at, size), group=2)
    parts: set = set()
    for block in range(first, first + count):
        parts |= set(blocks_of(visits(geometry, write, block * BLOCK, BLOCK), group=2))
    assert set(whole) == parts
    assert set(whole.values()) == {1}, "one I/O touches a place twice in one go"


@settings(max_examples=80)
@given(geometries, st.integers(0, 200), st.integers(1, 200))
def test_what_is_read_before_a_write_is_what_it_takes_for_parity(geometry, first, count) -> None:
    assume(geometry.raid.parity_disks)
    row = geometry.data_disks() * geometry.stripe_bytes // BLOCK
    found = visits(geometry, True, first * BLOCK, count * BLOCK)
    old, new = blocks_of(found, group=1, write=0), blocks_of(found, group=2, write=1)
    stop = first + count
    whole_rows = [
        r
        for r in range(first // row, stop // row + 1)
        if first <= r * row and (r + 1) * row <= stop
    ]
    stripe = geometry.stripe_bytes // BLOCK
    in_whole = {(s, b) for s, b in new if b // stripe in whole_rows}
    assert set(old) == set(new) - in_whole
    assert not blocks_of(found, group=2, write=0)
    for r in whole_rows:  # and a row written whole has every disk written once
        assert sum(1 for s, b in in_whole if b // stripe == r) == geometry.members * stripe


@pytest.mark.parametrize(
    ("geometry", "penalty"),
    [
        (Geometry(Raid.RAID0, 0, 5, 64 * KIB), 1),
        (Geometry(Raid.RAID10, 0, 6, 64 * KIB), 2),
        (Geometry(Raid.RAID5, 0, 5, 64 * KIB), 4),
        (Geometry(Raid.RAID6, 0, 6, 64 * KIB), 6),
    ],
)
def test_a_small_write_costs_the_known_penalty_and_a_read_none(geometry, penalty) -> None:
    for block in range(0, 400, 7):
        assert len(visits(geometry, True, block * BLOCK, BLOCK)) == penalty
        assert len(visits(geometry, False, block * BLOCK, BLOCK)) == 1
        assert sum(v[4] for v in visits(geometry, True, block * BLOCK, 512)) == 512 * penalty


@settings(max_examples=60)
@given(geometries, st.integers(0, 40))
def test_a_sequential_read_of_a_mib_moves_each_arm_forward_over_parity_at_most(
    geometry, mib
) -> None:
    found = visits(geometry, False, mib * MIB, MIB)
    assert sum(v[4] for v in found) == MIB
    for station in {v[1] for v in found}:
        spans = [(v[3], v[3] + v[4]) for v in found if v[1] == station]
        for (_, stop), (start, _) in pairwise(spans):
            skipped = geometry.raid.parity_disks * geometry.stripe_bytes
            if geometry.raid is Raid.RAID10 and geometry.data_disks() > 0:
                skipped = MIB  # the other side of the mirror reads that one
            assert 0 < start - stop <= skipped
        if geometry.raid is Raid.RAID0:
            assert len(spans) == 1


def test_sequential_reads_of_a_mirror_take_turns_a_mib_long() -> None:
    geometry = Geometry(Raid.RAID10, 0, 2, 64 * KIB)
    sides = [visits(geometry, False, at * 256 * KIB, 256 * KIB) for at in range(16)]
    assert all(len(found) == 1 for found in sides)
    assert [found[0][1] for found in sides] == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4


# The port, roles, and groups. ----------------------------------------------------------------------


def test_a_port_carries_what_the_host_sends_and_gets_and_no_more() -> None:
    geometry = Geometry(Raid.RAID5, 1, 4, 64 * KIB, port=0)
    for write, group in ((True, 0), (False, 3)):
        for role in Role:
            found = [v for v in visits(geometry, write, 0, 8 * KIB, int(role)) if v[1] == 0]
            host = role in {Role.DATA, Role.MOVE_READ, Role.METADATA}
            assert found == ([(group, 0, int(write), 0, 8 * KIB, int(role))] if host else [])


def test_visits_are_in_order_of_their_groups_and_steps_keep_theirs() -> None:
    made = router(Geometry(Raid.RAID5, 1, 4, 64 * KIB, port=0))
    steps = [
        (2, int(Role.COPY_WRITE), 1, 1, 99, 4096),
        (-1, int(Role.METADATA), 1, 1, 0, 512),
        (5, DATA, 1, 1, 7, 4096),
        (1, int(Role.COPY_READ), 0, 1, 7, 4096),
    ]
    groups = [v[0] for v in made.visits(steps)]
    assert groups == sorted(groups)
    assert {(g >> 2) for g in groups} == {-1, 1, 2, 5}
    assert made.visits([]) == []


def test_the_largest_io_in_the_smallest_stripes_fits() -> None:
    geometry = Geometry(Raid.RAID6, 0, 40, BLOCK)
    made = router(geometry)
    step = (0, DATA, 1, 1, 1, 1024 * BLOCK)
    scattered = [(1, DATA, 1, 1, k * 97, BLOCK) for k in range(1000)]
    found = made.visits([step, *scattered])
    # the buffer grew: every step's visits are as they are alone
    assert [v for v in found if v[0] < 4] == router(geometry).visits([step])
    assert len([v for v in found if v[0] >= 4]) == 6 * len(scattered)
    assert made.visits(scattered[:1]) == router(geometry).visits(scattered[:1])


@pytest.mark.parametrize(
    ("raid", "members"),
    [(Raid.RAID0, 0), (Raid.RAID10, 3), (Raid.RAID10, 0), (Raid.RAID5, 2), (Raid.RAID6, 3)],
)
def test_a_geometry_that_cannot_be_is_refused(raid, members) -> None:
    with pytest.raises(ValueError, match="does not work with"):
        Geometry(raid, 0, members, 64 * KIB)
