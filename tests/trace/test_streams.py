"""Named streams: independent of each other, the same in every process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.trace import Stream, Streams, stream_key, unit

NAMES = st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple)
SEEDS = st.integers(0, 2**63)
PINNED = {
    "uniform": 0.09363929692457862,
    "exponential": 3.027797104848095,
    "integers": 335,
    "choice": "a",
    "hex": "fa8985bb5fc941a77a48",
    "key": 13656067542007211947,
    "unit": [0.2873365604205329, 0.4033857609751992, 0.31868831074277726],
}
plain = getattr(unit, "py_func", unit)


def draw(stream, count):
    return [stream.uniform() for _ in range(count)]


@given(SEEDS, NAMES, NAMES, st.integers(0, 5))
def test_one_more_draw_here_shifts_nothing_there(seed, here, there, extra):
    quiet, busy = Streams(seed), Streams(seed)
    expected = draw(quiet[there], 5)
    found = draw(busy[there], 2)
    if here != there:
        draw(busy[here], extra)
    assert found + draw(busy[there], 3) == expected


@given(SEEDS, NAMES, SEEDS, NAMES)
def test_other_names_or_another_seed_give_other_numbers(seed, names, other_seed, other_names):
    same = (seed, names) == (other_seed, other_names)
    assert (draw(Streams(seed)[names], 3) == draw(Streams(other_seed)[other_names], 3)) == same
    assert (stream_key(seed, *names) == stream_key(other_seed, *other_names)) == same


def test_names_are_told_apart_at_their_borders():
    streams = Streams(1)
    assert streams["ab", "c"].hex(8) != streams["a", "bc"].hex(8)
    assert stream_key(1, "ab", "c") != stream_key(1, "a", "bc") != stream_key(11, "abc")
    assert streams["ab"] is streams["ab",]
    assert streams.seed == 1


def test_the_numbers_are_pinned():
    stream = Streams(42)["arrivals", "vm-1"]
    assert stream.uniform() == PINNED["uniform"]
    assert stream.exponential(2.0) == pytest.approx(PINNED["exponential"], rel=1e-14)
    assert stream.integers(-5, 1000) == PINNED["integers"]
    assert stream.choice("abcdef") == PINNED["choice"]
    assert stream.hex(20) == PINNED["hex"]
    assert stream_key(42, "arrivals", "vm-1") == PINNED["key"]
    assert [unit(np.uint64(PINNED["key"]), index) for index in range(3)] == PINNED["unit"]


def test_another_process_draws_the_same():
    program = (
        "from stuntdouble.trace import Streams, stream_key\n"
        "print(Streams(42)['arrivals', 'vm-1'].uniform(), stream_key(42, 'arrivals', 'vm-1'))"
    )
    output = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert output.split() == [repr(PINNED["uniform"]), str(PINNED["key"])]


def chi_square(cells):
    counts = np.bincount(cells, minlength=100)
    expected = len(cells) / 100
    return float(((counts - expected) ** 2 / expected).sum())


def test_uniform_is_uniform():
    # 99 degrees of freedom: 99.9 % of fair samples lie between 57 and 149.
    cells = [int(u * 100) for u in draw(Streams(7)["chi"], 20_000)]
    assert 57 < chi_square(cells) < 149


@pytest.mark.plain
def test_unit_is_uniform_along_a_stream_and_across_streams():
    key = np.uint64(stream_key(7, "chi"))
    with np.errstate(over="ignore"):
        along = [int(unit(key, index) * 100) for index in range(20_000)]
        across = [int(unit(np.uint64(number), 3) * 100) for number in range(20_000)]
    assert 57 < chi_square(along) < 149
    assert 57 < chi_square(across) < 149


@pytest.mark.plain
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1))
def test_unit_compiled_is_unit_uncompiled(key, index):
    with np.errstate(over="ignore"):
        value = unit(np.uint64(key), index)
        assert value == plain(np.uint64(key), np.int64(index))
    assert 0.0 <= value < 1.0


def test_unit_is_splitmix64():
    # The first outputs of the reference implementation (prng.di.unimi.it/splitmix64.c), seed 1234567.
    reference = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    found = [unit(np.uint64(1234567), index) for index in range(3)]
    assert found == [(word >> 11) * 2.0**-53 for word in reference]


@given(st.integers(-(2**70), 2**70), st.integers(1, 2**64), SEEDS)
def test_integers_stay_in_range(low, span, seed):
    value = Streams(seed)["n"].integers(low, low + span)
    assert low <= value < low + span


def test_integers_are_even_where_a_remainder_would_not_be():
    words = iter([2**64 - 1, 3 * 2**62])  # the first lies past the last whole multiple of 3 * 2**62
    stream = Stream(0)
    stream._word = lambda: next(words) - 1
    assert stream.integers(0, 3 * 2**62) == 3 * 2**62 - 1


@pytest.mark.parametrize("span", [0, -1, 2**64 + 1])
def test_an_empty_or_too_wide_range_is_refused(span):
    with pytest.raises(ValueError, match="high must be above low"):
        Streams(1)["n"].integers(5, 5 + span)


def test_exponential_has_its_mean():
    stream = Streams(3)["gaps"]
    gaps = [stream.exponential(0.25) for _ in range(20_000)]
    assert min(gaps) >= 0
    assert sum(gaps) / len(gaps) == pytest.approx(0.25, rel=0.03)


@given(SEEDS, st.integers(0, 40))
def test_hex_has_the_digits_asked_for(seed, digits):
    text = Streams(seed)["naa"].hex(digits)
    assert len(text) == digits
    assert set(text) <= set("0123456789abcdef")


@given(st.lists(st.integers(), min_size=1), SEEDS)
def test_choice_chooses(options, seed):
    assert Streams(seed)["c"].choice(options) in options
