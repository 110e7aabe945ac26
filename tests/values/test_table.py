"""Offset tables against dictionaries that name a place for every byte of a small file."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.extents import OffsetTable, Row, Runs, State

HOLE, TO_BE_ZEROED, WRITTEN = State.HOLE, State.TO_BE_ZEROED, State.WRITTEN
VOLUMES = ("naa.1", "naa.2")
BLOCK = 4  # bytes per block of the file system in these tests
FILE_BLOCKS = 12
CAPACITY = BLOCK * FILE_BLOCKS
VOLUME_BLOCKS = 24
VOLUME_BYTES = BLOCK * VOLUME_BLOCKS


@st.composite
def layouts(draw, first_block=0):
    """Draw file block -> (state, volume, volume block); no two share a block of a volume."""
    states = draw(st.lists(st.sampled_from(State), min_size=FILE_BLOCKS, max_size=FILE_BLOCKS))
    near = st.integers(first_block, first_block + VOLUME_BLOCKS - 1)
    place = st.tuples(st.integers(0, len(VOLUMES) - 1), near)
    places = draw(st.lists(place, min_size=FILE_BLOCKS, max_size=FILE_BLOCKS, unique=True))
    if draw(st.booleans()):
        places.sort()  # neighbours in the file are then often neighbours on the volume
    return [
        (state, -1, 0) if state == HOLE else (state, *where)
        for state, where in zip(states, places, strict=True)
    ]


def rows_of(layout):
    return [
        (volume, block * BLOCK, at * BLOCK, BLOCK, state)
        for block, (state, volume, at) in enumerate(layout)
    ]


def table_of(layout):
    return OffsetTable(VOLUMES, CAPACITY, rows_of(layout))


def bytes_of(table):
    """Return file offset -> (state, volume name, volume offset), checking the rows' form."""
    places = {}
    before = None
    for row in table:
        assert row.file_offset == len(places)
        assert row.length > 0
        if row.state == HOLE:
            assert (row.volume, row.volume_offset) == (-1, 0)
        if before is not None and before.state == row.state and before.volume == row.volume:
            assert row.state != HOLE
            assert row.volume_offset != before.volume_offset + before.length
        for i in range(row.length):
            where = (None, 0) if row.state == HOLE else (table.volumes[row.volume], row[2] + i)
            places[row.file_offset + i] = (row.state, *where)
        before = row
    assert len(places) == table.capacity
    return places


def expected_bytes(layout):
    return {
        block * BLOCK + i: (
            (state, None, 0) if state == HOLE else (state, VOLUMES[volume], at * BLOCK + i)
        )
        for block, (state, volume, at) in enumerate(layout)
        for i in range(BLOCK)
    }


def members(runs):
    return {position for extent in runs for position in range(extent.start, extent.stop)}


@given(layouts(), st.randoms(use_true_random=False))
def test_rows_in_any_order_and_form_make_one_table(layout, shuffler):
    table = table_of(layout)
    assert bytes_of(table) == expected_bytes(layout)
    shuffled = rows_of(layout)
    shuffler.shuffle(shuffled)
    for rows in (shuffled, iter(shuffled), table, table.rows, table.rows[::-1]):
        again = OffsetTable(VOLUMES, CAPACITY, rows)
        assert again == table
        assert hash(again) == hash(table)
    assert len(table) == len(list(table)) == len(table.rows)


@given(layouts(), st.sets(st.sampled_from(State)))
def test_where(layout, states):
    expected = {at for at, place in expected_bytes(layout).items() if place[0] in states}
    assert members(table_of(layout).where(*states)) == expected


@given(layouts(), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=8))
def test_volume_runs(layout, pairs):
    table, wanted = table_of(layout), Runs.of(pairs)
    for number, name in enumerate(VOLUMES):
        expected = {
            offset
            for at, (state, volume, offset) in expected_bytes(layout).items()
            if state == WRITTEN and volume == name and at in members(wanted)
        }
        assert members(table.volume_runs(number, wanted)) == expected


@given(layouts(), st.integers(0, VOLUME_BYTES), st.integers(0, VOLUME_BYTES))
def test_pieces(layout, start, length):
    table = table_of(layout)
    for number, name in enumerate(VOLUMES):
        expected = {
            offset: at
            for at, (state, volume, offset) in expected_bytes(layout).items()
            if state == WRITTEN and volume == name and start <= offset < start + length
        }
        found = {}
        for file_offset, volume_offset, size in table.pieces(number, start, length):
            assert size > 0
            assert volume_offset > max(found, default=-1)
            found |= {volume_offset + i: file_offset + i for i in range(size)}
        assert found == expected


@given(layouts(), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=8))
def test_what_is_read_from_the_volumes_is_what_is_wanted_and_written(layout, pairs):
    table, wanted = table_of(layout), Runs.of(pairs)
    read = Runs.of(
        (file_offset, size)
        for volume in range(len(VOLUMES))
        for run in table.volume_runs(volume, wanted)
        for file_offset, _, size in table.pieces(volume, run.start, run.length)
    )
    assert read == wanted & table.where(WRITTEN)


@given(layouts(), layouts(first_block=VOLUME_BLOCKS), st.booleans())
def test_overlay(lower, upper, shared):
    """Half of the time both lie on the same volumes, whose order the upper table turns round."""
    names = VOLUMES[::-1] if shared else ("naa.2", "naa.3")
    below = table_of(lower)
    above = OffsetTable(names, CAPACITY, rows_of(upper))
    merged = below.overlay(above)
    base, delta = bytes_of(below), bytes_of(above)
    assert bytes_of(merged) == {at: base[at] if p[0] == HOLE else p for at, p in delta.items()}
    assert merged.volumes == (VOLUMES if shared else ("naa.1", "naa.2", "naa.3"))


@given(layouts())
def test_a_hole_is_neutral_below_and_above(layout):
    table = table_of(layout)
    nothing = OffsetTable(VOLUMES, CAPACITY, [(-1, 0, 0, CAPACITY, HOLE)])
    assert table.overlay(nothing) == nothing.overlay(table) == table


@given(layouts())
def test_copies_are_equal_and_read_only(layout):
    table = table_of(layout)
    for twin in (table, copy.copy(table), copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert twin == table
        assert twin.capacity == CAPACITY
        assert not twin.rows.flags.writeable


@given(layouts())
def test_the_makers_array_is_left_alone(layout):
    rows = table_of(layout).rows.copy()
    rows["volume"][rows["state"] == HOLE] = 1
    before = rows.copy()
    table = OffsetTable(VOLUMES, CAPACITY, rows)
    assert (rows == before).all()
    assert bytes_of(table) == expected_bytes(layout)


def test_drawing_of_the_docstring():
    table = OffsetTable(
        VOLUMES,
        16,
        [
            (0, 0, 20, 4, WRITTEN),
            (-1, 4, 0, 4, HOLE),
            (0, 8, 8, 4, TO_BE_ZEROED),
            (1, 12, 0, 4, WRITTEN),
        ],
    )
    assert list(table.where(WRITTEN)) == [(0, 4), (12, 4)]
    assert list(table.volume_runs(0, Runs.single(2, 12))) == [(22, 2)]
    assert list(table.pieces(0, 0, 23)) == [(0, 20, 3)]
    assert repr(table) == "<OffsetTable 4 rows over 16 bytes on naa.1, naa.2>"


def test_an_empty_span_of_a_volume_holds_no_piece():
    table = OffsetTable(VOLUMES, 4, [(0, 0, 0, 4, WRITTEN)])
    assert list(table.pieces(0, 2, 0)) == []
    assert list(table.pieces(0, 2, 1)) == [(2, 2, 1)]


def test_rows_that_continue_each_other_are_joined():
    rows = [(0, 0, 8, 4, WRITTEN), (0, 4, 12, 4, WRITTEN), (7, 8, 99, 4, HOLE), (3, 12, 5, 4, HOLE)]
    table = OffsetTable(VOLUMES, 16, rows)
    assert list(table) == [Row(0, 0, 8, 8, WRITTEN), Row(-1, 8, 0, 8, HOLE)]


def test_an_empty_file_has_no_rows():
    table = OffsetTable([], 0, [])
    assert len(table) == 0
    assert list(table) == []
    assert not table.where(*State)
    assert repr(table) == "<OffsetTable 0 rows over 0 bytes on nothing>"
    assert table.overlay(table) == table


def test_equality_looks_at_volumes_and_rows():
    table = OffsetTable(VOLUMES, 4, [(0, 0, 0, 4, WRITTEN)])
    assert table != OffsetTable(VOLUMES, 4, [(0, 0, 0, 4, TO_BE_ZEROED)])
    assert table != OffsetTable(VOLUMES[::-1], 4, [(0, 0, 0, 4, WRITTEN)])
    assert table != list(table)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "a gap in the file: a row stops at 0, what follows starts at 8"),
        ([(0, 0, 0, 4, WRITTEN)], "a gap in the file: a row stops at 4, what follows starts at 8"),
        ([(0, 4, 0, 4, WRITTEN)], "a gap in the file: a row stops at 0, what follows starts at 4"),
        ([(0, 0, 0, 3, WRITTEN), (0, 4, 9, 4, WRITTEN)], "stops at 3, what follows starts at 4"),
        ([(0, 0, 0, 9, WRITTEN)], "exceed the capacity: a row stops at 9"),
        ([(0, 0, 0, 5, WRITTEN), (0, 4, 9, 4, WRITTEN)], "rows overlap"),
        ([(0, 0, 0, 4, WRITTEN), (0, 4, 3, 4, WRITTEN)], "share offset 3 of volume naa.1"),
        ([(1, 0, 3, 4, WRITTEN), (1, 4, 0, 4, TO_BE_ZEROED)], "share offset 3 of volume naa.2"),
        ([(0, 0, 0, 8, 3)], "no state 3"),
        ([(0, 0, 0, 8, -1)], "states go from -1"),
        ([(2, 0, 0, 8, WRITTEN)], "no volume 2: there are 2"),
        ([(2**40, 0, 0, 8, WRITTEN)], "no volume 1099511627776"),
        ([(-1, 0, 0, 8, TO_BE_ZEROED)], "volumes go from -1"),
        ([(0, -1, 0, 9, WRITTEN)], "file offsets go from -1"),
        ([(0, 0, -1, 8, WRITTEN)], "volume offsets go from -1"),
        ([(0, 0, 0, -8, WRITTEN)], "lengths go from -8"),
        ([(0, 0, 0, 8, WRITTEN), (0, 8, 8, 0, WRITTEN)], "length 0"),
        ([(0, 0, 2**63 - 8, 8, WRITTEN)], "beyond"),
        ([(0, 0, 0.5, 8, WRITTEN)], "states are float64"),
        ([(0, 0, 0, 8)], "rows have shape"),
        ([0, 0, 0, 8, WRITTEN], "rows have shape"),
        (np.zeros(1, [("volume", "i4"), ("length", "i8")]), "fields are"),
        (np.zeros((1, 4), np.int64), "rows have shape"),
    ],
)
def test_refused_rows(rows, reason):
    with pytest.raises(ValueError, match=reason):
        OffsetTable(VOLUMES, 8, rows)


@pytest.mark.parametrize("capacity", [-1, 2**64, 8.0, True])
def test_refused_capacity(capacity):
    with pytest.raises(ValueError, match="capacity"):
        OffsetTable(VOLUMES, capacity, [(0, 0, 0, 8, WRITTEN)])


def test_structured_rows_with_fractions_are_refused():
    rows = np.zeros(1, [(name, "f8") for name in Row._fields])
    with pytest.raises(ValueError, match="states are float64"):
        OffsetTable(VOLUMES, 0, rows)


def test_volumes_have_distinct_names():
    with pytest.raises(ValueError, match="two volumes have one name: a, b, a"):
        OffsetTable(["a", "b", "a"], 0, [])


@pytest.mark.parametrize("volume", [-1, 2])
def test_unknown_volume(volume):
    table = OffsetTable(VOLUMES, 4, [(0, 0, 0, 4, WRITTEN)])
    with pytest.raises(ValueError, match=f"no volume {volume}: there are 2"):
        table.volume_runs(volume, Runs.single(0, 4))
    with pytest.raises(ValueError, match=f"no volume {volume}: there are 2"):
        table.pieces(volume, 0, 4)


@pytest.mark.parametrize(("start", "length"), [(-1, 4), (4, -1), (4, 2**63)])
def test_pieces_of_no_span(start, length):
    table = OffsetTable(VOLUMES, 4, [(0, 0, 0, 4, WRITTEN)])
    with pytest.raises(ValueError, match="is not a span"):
        table.pieces(0, start, length)


def test_overlay_refuses_another_capacity_and_a_shared_range():
    lower = OffsetTable(VOLUMES, 8, [(0, 0, 0, 8, WRITTEN)])
    with pytest.raises(ValueError, match="capacity 4 cannot lie over 8"):
        lower.overlay(OffsetTable(VOLUMES, 4, [(0, 0, 80, 4, WRITTEN)]))
    with pytest.raises(ValueError, match="share offset 0 of volume"):
        lower.overlay(OffsetTable(VOLUMES, 8, [(-1, 0, 0, 4, HOLE), (0, 4, 0, 4, WRITTEN)]))
