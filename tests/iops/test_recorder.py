"""Rows that are kept, and what is told from them, against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.iops import Latencies, Recorder
from stuntdouble.iops.measure import busy_between

pytestmark = pytest.mark.plain

seconds = st.floats(0, 1e4, allow_nan=False).map(lambda x: round(x, 3))
short = st.floats(0, 50, allow_nan=False).map(lambda x: round(x, 3))


@given(
    st.lists(st.tuples(seconds, short), max_size=40),
    st.lists(seconds, min_size=2, max_size=8, unique=True).map(sorted),
)
def test_busy_time_is_put_down_where_it_was_spent(visits, edges) -> None:
    starts, lengths = (np.array([v[k] for v in visits], float) for k in (0, 1))
    got = busy_between(starts, lengths, np.array(edges))
    for low, high, found in zip(edges, edges[1:], got, strict=False):
        spent = (max(min(start + length, high) - max(start, low), 0.0) for start, length in visits)
        assert found == pytest.approx(math.fsum(spent), abs=1e-6)
        assert found >= 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), seconds, short), max_size=30),
    st.sets(st.integers(0, 4)),
    st.sets(st.integers(0, 3)),
)
def test_busy_time_is_kept_per_station_and_purpose(visits, stations, purposes) -> None:
    meter = Recorder()
    for visit in visits:
        meter.visit(*visit)
    got = meter.busy(sorted(stations), np.array([0.0, 2e4]), tuple(purposes))
    wanted = (
        length
        for station, purpose, _, length in visits
        if station in stations and (not purposes or purpose in purposes)
    )
    assert got == pytest.approx([math.fsum(wanted)], abs=1e-6)


ios = st.lists(st.tuples(st.sampled_from("ab"), seconds, short), max_size=40)


def metered(rows) -> Recorder:
    meter = Recorder()
    for guest, arrived, took in sorted(rows, key=lambda row: row[1] + row[2]):
        meter.io(guest, arrived, arrived + took)
    return meter


@given(ios, seconds, seconds, st.floats(1, 100))
def test_latencies_and_percentiles(rows, start, end, percent) -> None:
    meter = metered(rows)
    for guests in ((), ("a",), ("a", "b"), ("nobody",)):
        wanted = [(at, took) for name, at, took in rows if not guests or name in guests]
        found = meter.latencies(*guests)
        assert (
            sorted(found.arrived.tolist()) == found.arrived.tolist() == sorted(a for a, _ in wanted)
        )
        assert sorted(found.seconds) == pytest.approx(sorted(took for _, took in wanted), abs=1e-9)
        part = found.during(start, end)
        inside = [took for at, took in wanted if start <= at < end]
        assert len(part.seconds) == len(part.arrived) == len(inside)
        value = part.percentile(percent)
        if inside:
            assert value in part.seconds
            assert (part.seconds <= value).mean() >= percent / 100 - 1e-12
            assert (part.seconds < value).mean() < percent / 100 + 1e-12
        else:
            assert value == 0.0


@given(ios, seconds)
def test_recent_latency_is_the_mean_of_what_ended_since(rows, since) -> None:
    meter = metered(rows)
    since_slot = math.floor(since * 8) / 8
    ended = [took for name, at, took in rows if name == "a" and at + took >= since_slot]
    expected = math.fsum(ended) / len(ended) if ended else 0.0
    assert meter.recent_latency(["a"], since) == pytest.approx(expected, abs=2e-9)
    assert meter.recent_latency(["nobody"], since) == 0.0
    assert meter.recent_latency([], since) == 0.0


def test_what_ended_at_the_very_instant_counts_as_recent() -> None:
    meter = metered([("a", 1.0, 2.0), ("a", 1.0, 4.0)])
    assert [meter.recent_latency(["a"], since) for since in (3.0, 3.5, 5.0, 5.5)] == [3, 4, 4, 0]


def test_asking_changes_nothing() -> None:
    meter = Recorder()
    meter.io("a", 1.0, 2.0)
    assert meter.recent_latency(["b"], 0.0) == 0.0
    first = meter.latencies()
    meter.io("a", 2.0, 5.0)  # an array that was lent out could not grow
    meter.visit(0, 0, 1.0, 1.0)
    lent = meter.busy([0], np.array([0.0, 9.0]))
    meter.visit(0, 0, 3.0, 1.0)
    assert len(first.seconds) == 1
    assert lent.tolist() == [1.0]
    assert len(meter.latencies().seconds) == 2


def test_a_percentile_is_a_latency_that_was_seen() -> None:
    found = Latencies(np.arange(4.0), np.array([1.0, 2.0, 3.0, 100.0]))
    assert [found.percentile(p) for p in (25, 50, 75, 76, 100)] == [1.0, 2.0, 3.0, 100.0, 100.0]
