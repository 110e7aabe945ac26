"""Runs against plain Python sets of positions in a small universe."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.extents import Extent, Runs

UNIVERSE = 200  # three words of a bitmap and a bit
POSITION_MAX = 2**63 - 1

positions = st.integers(0, UNIVERSE)
extents = st.lists(st.tuples(positions, st.integers(0, 30)), max_size=20)
grains = st.integers(1, 40)


def as_set(runs):
    """Return the positions, having checked that they are written down in the canonical form."""
    bounds = runs.array.reshape(-1).tolist()
    assert bounds == sorted(set(bounds))
    assert all(bound >= 0 for bound in bounds)
    return {position for extent in runs for position in range(extent.start, extent.stop)}


def as_runs(members):
    return Runs.of([(member, 1) for member in members])


@given(extents)
def test_of_is_the_union_in_any_order(pairs):
    expected = {p for start, length in pairs for p in range(start, start + length)}
    assert as_set(Runs.of(pairs)) == expected
    assert Runs.of(reversed(pairs)) == Runs.of(pairs)
    starts, lengths = np.array(pairs, np.int64).reshape(-1, 2).T
    assert Runs.from_arrays(starts, lengths) == Runs.of(pairs)
    assert Runs.from_arrays(starts.astype(np.uint32), lengths.astype(np.uint8)) == Runs.of(pairs)


@given(extents)
def test_views_agree_with_each_other(pairs):
    runs = Runs.of(pairs)
    members = as_set(runs)
    assert runs.total == len(members)
    assert bool(runs) == bool(members)
    assert len(runs) == len(list(runs)) == runs.array.shape[0]
    assert runs.starts.tolist() == [extent.start for extent in runs]
    assert runs.stops.tolist() == [extent.stop for extent in runs]
    assert runs.lengths.tolist() == [extent.length for extent in runs]
    assert Runs.of(runs) == runs


@given(extents, extents)
def test_algebra_is_that_of_sets(left, right):
    a, b = Runs.of(left), Runs.of(right)
    mine, its = as_set(a), as_set(b)
    assert as_set(a | b) == mine | its
    assert as_set(a & b) == mine & its
    assert as_set(a - b) == mine - its
    assert a.covers(b) == (mine >= its)
    assert (a == b) == (mine == its)


@given(extents, extents, extents)
def test_laws(one, two, three):
    a, b, c = Runs.of(one), Runs.of(two), Runs.of(three)
    assert (a - b) | (a & b) == a
    assert not (a - b) & b
    assert a | b == b | a
    assert a & b == b & a
    assert a & (b | c) == (a & b) | (a & c)
    assert a - (b | c) == (a - b) - c
    assert (a | b).covers(a)
    assert a.covers(a & b)
    assert (a | b).total + (a & b).total == a.total + b.total
    stop = 300
    assert a.complement(stop).complement(stop) == a.clip(0, stop)
    assert (a | b).complement(stop) == a.complement(stop) & b.complement(stop)


@given(extents, positions)
def test_complement(pairs, stop):
    runs = Runs.of(pairs)
    assert as_set(runs.complement(stop)) == set(range(stop)) - as_set(runs)


@given(extents, positions, positions)
def test_clip(pairs, one, other):
    runs = Runs.of(pairs)
    start, stop = sorted((one, other))
    assert as_set(runs.clip(start, stop)) == as_set(runs) & set(range(start, stop))


@given(extents, grains, positions)
def test_align_rounds_outward_and_joins(pairs, grain, stop):
    runs = Runs.of(pairs)
    grains_touched = {position // grain for position in as_set(runs)}
    wide = {p for g in grains_touched for p in range(g * grain, (g + 1) * grain)}
    assert as_set(runs.align(grain)) == wide
    assert as_set(runs.align(grain, stop)) == {p for p in wide if p < stop}
    assert runs.align(grain).covers(runs)
    assert runs.align(grain).align(grain) == runs.align(grain)


@given(extents, st.integers(-300, 300))
def test_shift_moves_or_refuses(pairs, delta):
    runs = Runs.of(pairs)
    members = as_set(runs)
    if members and min(members) + delta < 0:
        with pytest.raises(ValueError, match="is not a span"):
            runs.shift(delta)
        return
    assert as_set(runs.shift(delta)) == {position + delta for position in members}


@given(extents, grains)
def test_blocks_cut_at_multiples_and_lose_nothing(pairs, block):
    runs = Runs.of(pairs)
    rows = runs.blocks(block)
    assert rows.dtype == np.int64
    assert rows.shape == (len(rows), 2)
    cuts = [
        position for start, length in rows.tolist() for position in range(start, start + length)
    ]
    assert cuts == sorted(as_set(runs))
    for start, length in rows.tolist():
        assert length > 0
        assert start // block == (start + length - 1) // block
    grains_touched = {(run, p // block) for run in runs for p in range(run.start, run.stop)}
    assert len(rows) == len(grains_touched)


@given(st.sets(st.integers(0, 4 * 64 - 1)), st.integers(0, 4), grains, st.integers(0, 9000))
def test_from_bits(bits, spare, grain, stop):
    words = np.zeros(max(bits, default=-1) // 64 + 1 + spare, np.uint64)
    for bit in bits:
        words[bit // 64] |= np.uint64(1) << np.uint64(bit % 64)
    before = words.copy()
    expected = {p for bit in bits for p in range(bit * grain, (bit + 1) * grain) if p < stop}
    assert as_set(Runs.from_bits(words, grain, stop)) == expected
    assert (words == before).all()


@pytest.mark.parametrize("words", [0, 1, 3])
def test_from_bits_all_set_is_one_run(words):
    full = np.full(words, 2**64 - 1, np.uint64)
    assert Runs.from_bits(full, 512, 10**9) == Runs.single(0, words * 64 * 512)
    assert Runs.from_bits(full, POSITION_MAX, POSITION_MAX).total == (POSITION_MAX if words else 0)


def test_drawings_of_the_docstring():
    a, b = Runs.of([(0, 4), (8, 4), (18, 2)]), Runs.of([(2, 6)])
    assert list(a | b) == [(0, 12), (18, 2)]
    assert list(a & b) == [(2, 2)]
    assert list(a - b) == [(0, 2), (8, 4), (18, 2)]
    assert list(a.complement(22)) == [(4, 4), (12, 6), (20, 2)]
    assert list(b.align(4)) == [(0, 8)]
    assert (a | b).blocks(8).tolist() == [[0, 8], [8, 4], [18, 2]]


def test_empty_and_single():
    assert not Runs.empty()
    assert Runs.empty().total == 0
    assert list(Runs.empty()) == []
    assert Runs.of([]) == Runs.single(7, 0) == Runs.empty() == Runs.empty().shift(-5)
    assert list(Runs.single(7, 3)) == [Extent(7, 3)]
    assert Extent(7, 3).stop == 10


def test_the_whole_range_of_positions():
    whole = Runs.single(0, POSITION_MAX)
    assert whole.total == POSITION_MAX
    assert whole - Runs.single(5, 2) == Runs.of([(0, 5), (7, POSITION_MAX - 7)])
    assert whole.align(7) == whole  # 2**63 - 1 is a multiple of 7
    assert whole.blocks(POSITION_MAX).tolist() == [[0, POSITION_MAX]]
    assert whole.blocks(2**62).tolist() == [[0, 2**62], [2**62, 2**62 - 1]]


@given(extents, extents)
def test_equal_sets_hash_and_print_alike(left, right):
    a, b = Runs.of(left), Runs.of(right)
    again = as_runs(as_set(a))
    assert again == a
    assert hash(again) == hash(a)
    assert repr(again) == repr(a)
    assert len({a, again, b}) == (1 if a == b else 2)


@given(extents)
def test_copies_are_equal_and_read_only(pairs):
    runs = Runs.of(pairs)
    for twin in (runs, copy.copy(runs), copy.deepcopy(runs), pickle.loads(pickle.dumps(runs))):
        assert twin == runs
        for view in (twin.array, twin.starts, twin.stops):
            assert not view.flags.writeable


def test_the_maker_of_an_array_cannot_change_the_set():
    starts, lengths = np.array([1, 10]), np.array([2, 2])
    runs = Runs.from_arrays(starts, lengths)
    starts[0] = 5
    assert list(runs) == [(1, 2), (10, 2)]
    bounds = np.array([[1, 3], [10, 12]])
    with pytest.raises(ValueError, match="read-only"):
        Runs(bounds).array[0, 0] = 5


def test_is_not_equal_to_other_kinds_of_thing():
    assert Runs.single(0, 4) != [(0, 4)]
    assert Runs.empty() != set()


def test_repr_shows_the_first_runs():
    assert repr(Runs.single(3, 2)) == "<Runs (3, 2): 2 in 1>"
    many = Runs.of([(10 * i, 1) for i in range(9)])
    assert repr(many) == "<Runs (0, 1), (10, 1), (20, 1), (30, 1), and 5 more: 9 in 9>"


@pytest.mark.parametrize(
    "pairs",
    [
        [(-1, 4)],
        [(1, -4)],
        [(0, 1), (5, -1)],
        [(1.0, 4)],
        [(True, True)],
        [("1", "4")],
        [(2**63, 1)],
        [(POSITION_MAX, 1)],
        [(1, POSITION_MAX)],
        [(1, 2, 3)],
        [1, 2],
        [(1, 2), (3,)],
    ],
)
def test_of_refuses(pairs):
    with pytest.raises(ValueError):
        Runs.of(pairs)


@pytest.mark.parametrize(
    ("starts", "lengths"),
    [
        (np.array([1.0]), np.array([1])),
        (np.array([1]), np.array([1.0])),
        (np.array([1]), np.array([True])),
        (np.array([1, 2]), np.array([1])),
        (np.array([[1, 2]]), np.array([[1, 2]])),
        (np.array([-1]), np.array([1])),
        (np.array([1]), np.array([-1])),
        (np.array([2**63], np.uint64), np.array([0])),
    ],
)
def test_from_arrays_refuses(starts, lengths):
    with pytest.raises(ValueError, match=r"starts|lengths"):
        Runs.from_arrays(starts, lengths)


@pytest.mark.parametrize("pairs", [[(POSITION_MAX, 1)], [(1, 2), (1, POSITION_MAX)]])
def test_a_run_stops_within_the_positions(pairs):
    with pytest.raises(ValueError, match=r"a run stops beyond 2\*\*63 - 1"):
        Runs.of(pairs)


@pytest.mark.parametrize(
    "bounds",
    [
        np.array([[0, 4]], np.int32),
        np.array([[0.0, 4.0]]),
        np.array([0, 4]),
        np.array([[0, 4, 8]]),
        np.array([[4, 0]]),
        np.array([[4, 4]]),
        np.array([[-4, 4]]),
        np.array([[0, 4], [4, 8]]),
        np.array([[0, 4], [2, 8]]),
        np.array([[8, 12], [0, 4]]),
    ],
)
def test_bounds_must_be_canonical(bounds):
    with pytest.raises(ValueError, match="bounds"):
        Runs(bounds)


RUNS = Runs.of([(0, 4), (100, POSITION_MAX - 100)])


@pytest.mark.parametrize(
    "refused",
    [
        lambda: Runs.single(-1, 4),
        lambda: Runs.single(4, -1),
        lambda: Runs.single(POSITION_MAX, 1),
        lambda: RUNS.clip(4, 3),
        lambda: RUNS.clip(-1, 3),
        lambda: RUNS.complement(-1),
        lambda: RUNS.shift(-1),
        lambda: RUNS.shift(1),
        lambda: RUNS.align(0),
        lambda: RUNS.align(-4),
        lambda: RUNS.align(4096),
        lambda: RUNS.align(2**63),
        lambda: RUNS.align(1, -1),
        lambda: RUNS.blocks(0),
        lambda: Runs.from_bits(np.zeros(1, np.int64), 1, 1),
        lambda: Runs.from_bits(np.zeros((1, 1), np.uint64), 1, 1),
        lambda: Runs.from_bits(np.zeros(1, np.uint64), 0, 1),
        lambda: Runs.from_bits(np.zeros(1, np.uint64), 1, -1),
    ],
)
def test_refused_arguments(refused):
    with pytest.raises(ValueError):
        refused()


@pytest.mark.parametrize(
    "refused", [lambda: Runs.single(0.5, 1), lambda: RUNS.clip(0, 1.5), lambda: RUNS.align(4.0)]
)
def test_fractions_are_no_positions(refused):
    with pytest.raises(TypeError):
        refused()
