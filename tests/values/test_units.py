"""Sizes and durations: parsing, printing, and everything that is refused rather than guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.units import (
    GIB,
    KIB,
    MIB,
    SECTOR_BYTES,
    TIB,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

SIZES = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
DURATIONS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
spaces = st.sampled_from(["", " ", "\t "])


def test_each_unit_is_1024_of_the_one_before():
    assert (KIB, MIB, GIB, TIB) == (2**10, 2**20, 2**30, 2**40)
    assert SECTOR_BYTES == 512


@given(st.integers(0, 8191), st.sampled_from(list(SIZES)), spaces, spaces)
def test_a_whole_number_of_a_unit(number, unit, before, between):
    assert parse_size(f"{before}{number}{between}{unit}{before}") == number * SIZES[unit]


@given(st.integers(0, 2**62))
def test_a_number_is_bytes(size):
    assert parse_size(size) == size


@given(st.integers(1, 1023), st.sampled_from(list(SIZES)))
def test_whole_units_are_printed_exactly(number, unit):
    size = number * SIZES[unit]
    assert format_size(size) == f"{number} {unit}"
    assert parse_size(format_size(size)) == size
    assert format_size(-size) == f"-{number} {unit}"


@given(st.integers(1, 2**50))
def test_three_digits_are_within_half_a_percent(size):
    number, unit = format_size(size).split()
    assert abs(float(number) * SIZES[unit] - size) <= 0.005 * size


@pytest.mark.parametrize(
    ("text", "size"),
    [("64 KiB", 65536), ("1.5GiB", 3 * 2**29), ("0.5 KiB", 512), ("0 B", 0), ("2.0 B", 2)],
)
def test_sizes_of_the_docstring(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("64 KB", "is not a size such as '64 KiB'"),
        ("64 MB", r"units: B, KiB, MiB, GiB, TiB"),
        ("64 kib", "is not a size"),
        ("64", "is not a size"),
        ("KiB", "is not a size"),
        ("", "is not a size"),
        ("-1 KiB", "is not a size"),
        ("1e3 B", "is not a size"),
        ("1 KiB 2", "is not a size"),
        (".5 KiB", "is not a size"),
        ("1,5 KiB", "is not a size"),
        ("0.5 B", "is not a whole number of bytes"),
        ("0.1 KiB", "is not a whole number of bytes"),
        (-1, "is not a size: use a whole number of bytes"),
        (True, "is not a size: use a whole number of bytes"),
    ],
)
def test_refused_sizes(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1_294_000, "1.23 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (int(99.96 * GIB), "100 GiB"),
        (2048 * TIB, "2048 TiB"),
    ],
)
def test_printed_sizes(size, text):
    assert format_size(size) == text


@given(st.integers(0, 10**6), st.sampled_from(list(DURATIONS)), spaces)
def test_durations_in_any_unit(number, unit, between):
    assert parse_duration(f"{number}{between}{unit}") == number * DURATIONS[unit]


@given(st.floats(0, 1e12))
def test_a_number_is_seconds(seconds):
    assert parse_duration(seconds) == seconds


def test_durations_are_floats():
    assert isinstance(parse_duration(5), float)
    assert parse_duration("1.5 h") == 5400.0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("5 m", "is not a duration such as '90 s' or '5 min'"),
        ("5 sec", r"units: us, ms, s, min, h, d"),
        ("5", "is not a duration"),
        ("", "is not a duration"),
        ("-5 s", "is not a duration"),
        (-0.1, "is not a duration: use seconds, 0 or more"),
        (float("nan"), "is not a duration: use seconds"),
        (float("inf"), "is not a duration: use seconds"),
        (True, "is not a duration: use seconds"),
    ],
)
def test_refused_durations(value, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_duration(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (3.4e-6, "3.4 us"),
        (0.0034, "3.4 ms"),
        (0.2, "200 ms"),
        (1.0, "1 s"),
        (12.5, "12.5 s"),
        (60, "1 min 00 s"),
        (250, "4 min 10 s"),
        (3720, "1 h 02 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_printed_durations(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(1, 999), st.sampled_from(["us", "ms"]))
def test_short_durations_round_trip(number, unit):
    assert parse_duration(format_duration(number * DURATIONS[unit])) == pytest.approx(
        number * DURATIONS[unit], rel=1e-12
    )


def test_a_duration_beyond_any_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than any clock"):
        parse_duration("9" * 400 + " s")


def test_a_negative_duration_is_printed_with_its_sign() -> None:
    assert format_duration(-90.0) == "-1 min 30 s"
