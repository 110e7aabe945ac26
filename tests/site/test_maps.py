"""Maps and bitmaps of the arena against dictionaries and sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.errors import LimitReached
from stuntdouble.site import bits, words
from stuntdouble.site.arena import Arena
from stuntdouble.site.pool import ROOT_WORDS
from stuntdouble.site.tables import SHAPES

LENGTH = 2 * ROOT_WORDS + 100  # three roots
# Where leaves and nodes end, and a few places that share one.
PLACES = [0, 1, 63, 64, 127, ROOT_WORDS - 1, ROOT_WORDS, 2 * ROOT_WORDS, LENGTH - 1]

changes = st.lists(
    st.tuples(
        st.sampled_from(["put", "fork", "clear"]),
        st.integers(0, 5),
        st.sampled_from(PLACES) | st.integers(0, LENGTH - 1),
        st.integers(1, 2**64 - 1),
    ),
    max_size=30,
)


@pytest.mark.plain
@settings(max_examples=40)
@given(changes)
def test_forks_do_not_see_each_other(changes):
    arena = Arena()
    maps = [(arena.new_map(LENGTH), {})]
    for what, which, place, word in changes:
        number, book = maps[which % len(maps)]
        if what == "put":
            words.put_word(arena.addresses, number, place, word)
            book[place] = word
        elif what == "fork":
            maps.append((arena.fork(number), dict(book)))
        elif word % 4 == 0:
            arena.clear(number)
            book.clear()
    touched = {place for _, _, place, _ in changes} | set(PLACES)
    for number, book in maps:
        for place in touched:
            assert arena.words(number, place, 1)[0] == book.get(place, 0)


def test_no_map_forks_to_no_map():
    assert Arena().fork(0) == 0


@pytest.mark.plain
@settings(max_examples=30)
@given(
    st.sets(st.sampled_from(PLACES) | st.integers(0, LENGTH - 1), max_size=30),
    st.sets(st.sampled_from(PLACES) | st.integers(0, LENGTH - 1), max_size=30),
)
def test_bitmaps_are_sets(first, second):
    arena = Arena()
    one, two = arena.new_bitmap(LENGTH), arena.new_bitmap(LENGTH)
    for number, members in ((one, first), (two, second)):
        for b in members:
            before = int(arena.words(number, b >> 6, 1)[0])
            words.put_word(arena.addresses, number, b >> 6, before | 1 << (b & 63))
    assert members_of(arena.union([one], LENGTH)) == first
    assert members_of(arena.union([one, two], LENGTH)) == first | second
    assert (arena.ones(one), arena.ones(two)) == (len(first), len(second))
    arena.merge(one, two)
    assert members_of(arena.union([two], LENGTH)) == first | second
    assert arena.ones(two) == len(first | second)


def members_of(array):
    return set(np.flatnonzero(np.unpackbits(array.view(np.uint8), bitorder="little")).tolist())


def test_a_union_may_be_shorter_than_its_bitmaps():
    arena = Arena()
    number = arena.new_bitmap(LENGTH)
    words.put_word(arena.addresses, number, 0, 0b101)
    words.put_word(arena.addresses, number, 100, 1)
    out = np.zeros(2, np.uint64)
    bits.or_into(arena.addresses, number, out)
    assert out.tolist() == [0b101, 0]


@pytest.mark.parametrize("table", ["leaves", "nodes"])
def test_a_full_arena_refuses_before_it_overflows(table):
    arena = Arena()
    arena.tables.counters[["leaves", "nodes"].index(table)] = SHAPES[table][0] - 10
    with pytest.raises(LimitReached, match=table):
        arena.check()


def test_rows_and_words_run_out_with_an_error():
    arena = Arena()
    for _ in range(1, SHAPES["pools"][0]):
        arena.new_row("pools")
    with pytest.raises(LimitReached, match="table of pools"):
        arena.new_row("pools")
    with pytest.raises(LimitReached, match="words of all maps"):
        arena.new_map(SHAPES["roots"][0] * ROOT_WORDS + 1)
