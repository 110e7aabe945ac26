"""What a meter keeps does not grow with the number of I/Os, nor with the length of a run."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from stuntdouble.iops import Meter
from stuntdouble.units import MIB

GUESTS, STATIONS, HOUR = 300, 64, 3600.0
WORDS = ("before", "reading", "merging", "after")


def measured(meter: Meter, hours: range, rows: int, rng: np.random.Generator) -> None:
    """Let a meter hear of *rows* I/Os and visits in each hour, and of turns."""
    names = [f"vm-{k}" for k in range(GUESTS)]
    for hour in hours:
        for part in range(20):
            start = (hour + part / 20) * HOUR
            meter.turn(start, WORDS[(hour + part) % 4], *[WORDS[part % 4]][: part % 2])
            ends = np.sort(rng.uniform(start, start + HOUR / 20, rows // 20))
            took = np.minimum(rng.lognormal(-5.5, 0.8, len(ends)), ends)
            meter.take_ios(
                names, rng.integers(0, GUESTS, len(ends)), np.stack((ends - took, ends), axis=1)
            )
            kinds = rng.integers(0, (STATIONS, 4), (len(ends), 2))
            meter.take_visits(kinds, np.stack((ends, took), axis=1))


@pytest.fixture
def traced():
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def test_a_night_of_300_guests_takes_little_memory_and_a_second_one_no_more(traced) -> None:
    rng = np.random.default_rng(1)
    meter = Meter()
    measured(meter, range(8), 400_000, rng)
    night = traced()
    assert meter.felt().ios == 8 * 400_000
    assert meter.nbytes <= night < 80 * MIB
    measured(meter, range(8, 16), 400_000, rng)
    assert meter.felt().ios == 16 * 400_000
    assert traced() < 1.05 * night


def test_ten_times_as_many_ios_take_no_more_memory() -> None:
    sizes = []
    for rows in (200_000, 2_000_000):
        meter = Meter()
        measured(meter, range(1), rows, np.random.default_rng(2))
        assert meter.felt().ios == meter.visits(list(range(STATIONS))) == rows
        sizes.append(meter.nbytes)
    assert sizes[1] <= 1.25 * sizes[0]  # rare latencies open a few pages more
