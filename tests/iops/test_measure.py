"""The meter against the recorder, which keeps every row, and against what was handed over."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from iops.metering import heard
from stuntdouble.errors import Misuse
from stuntdouble.iops import Meter, Recorder
from stuntdouble.iops.measure import ALPHA, buckets, cells
from stuntdouble.iops.measure.doors import PURPOSES

pytestmark = pytest.mark.plain

GUESTS, STATIONS, WORDS = ["a", "b", "c"], [0, 1, 5], ["reading", "merging"]
END = 64.0

# Buckets. ----------------------------------------------------------------------------------------

latencies = st.one_of(
    st.floats(0, 1e-6), st.floats(1e-6, 1e-2), st.floats(1e-3, 10.0), st.floats(0, 1e6)
)


def bucket(seconds: float) -> int:
    meter = Meter()
    meter.io("a", 0.0, seconds)
    (value,) = meter.felt().values
    return int(np.flatnonzero(buckets.values() == value)[0])


@given(latencies)
@example(2.0**-24)
@example(1.04e6)
def test_a_bucket_stands_for_what_lies_in_it(seconds) -> None:
    value = buckets.values()[bucket(seconds)]
    if seconds < buckets.LOWEST_SECONDS:
        assert value == 0.0
    else:
        assert abs(value - seconds) <= ALPHA * seconds * (1 + 1e-12)


def test_buckets_are_in_order_and_what_is_out_of_range_lies_in_the_last() -> None:
    assert (np.diff(buckets.values()) > 0).all()
    assert bucket(1e9) == bucket(2.0**20) == buckets.BUCKETS - 1
    meter = Meter()
    meter.io("a", 0.0, 1e9)
    assert meter.felt().longest == 1e9


@settings(max_examples=50)
@given(st.lists(latencies, min_size=1, max_size=80), st.floats(0.001, 100))
def test_a_percentile_is_within_its_bound_of_a_latency_of_that_rank(some, percent) -> None:
    meter = Meter()
    for seconds in sorted(some):
        meter.io("a", 0.0, seconds)
    ordered = np.array(sorted(some))
    exact = ordered[max(math.ceil(len(some) * percent / 100), 1) - 1]
    found = meter.felt().percentile(percent)
    assert abs(found - exact) <= max(ALPHA * exact * (1 + 1e-12), buckets.LOWEST_SECONDS)
    assert meter.felt().percentile(100) <= ordered[-1] == meter.felt().longest
    assert meter.felt().mean == pytest.approx(ordered.mean(), abs=1e-9)
    assert Meter().felt().percentile(percent) == Meter().felt().mean == 0.0


# Histories. --------------------------------------------------------------------------------------

# Half of them on a lattice, where I/O, turns and edges of cells fall on the same instants.
instants = st.one_of(st.integers(0, 128).map(lambda k: k / 4), st.floats(0, 32))
lengths = st.one_of(st.integers(0, 40).map(lambda k: k / 4), st.floats(0, 0.1), st.floats(0, 30))
ios = st.tuples(st.just("io"), st.sampled_from(GUESTS), instants, lengths)
visits = st.tuples(
    st.just("visit"), st.sampled_from(STATIONS), st.integers(0, 5), instants, lengths
)
turns = st.tuples(st.just("turn"), instants, st.sets(st.sampled_from(WORDS)))
begins = st.tuples(st.just("begin"), instants)


def moment(event) -> float:
    match event:
        case ("io", _, arrived, took):
            return arrived + took
        case ("visit", _, _, start, _):
            return start
        case (_, time, *_):
            return time
    raise AssertionError(event)


histories = st.lists(st.one_of(ios, ios, visits, visits, turns), max_size=40).map(
    lambda events: sorted(events, key=moment)
)
with_beginnings = st.tuples(histories, st.lists(begins, max_size=1)).map(
    lambda parts: sorted([*parts[0], *parts[1]], key=moment)
)


class Engine:
    """Hands over what happens in batches, as an engine with buffers does it."""

    def __init__(self, meter: Meter, sizes: list[int]) -> None:
        self.meter, self.sizes = meter, sizes
        self.ios, self.visits, self.batches = [], [], 0
        meter.pull = self.flush

    def flush(self) -> None:
        ios, visits, self.ios, self.visits = self.ios, self.visits, [], []
        if ios:
            numbers = np.array([GUESTS.index(row[0]) for row in ios])
            self.meter.take_ios(GUESTS, numbers, np.array([row[1:] for row in ios]))
        if visits:
            kinds = np.array([row[:2] for row in visits])
            self.meter.take_visits(kinds, np.array([row[2:] for row in visits]))

    def play(self, history) -> Meter:
        for event in history:
            match event:
                case ("io", guest, arrived, took):
                    self.ios.append((guest, arrived, arrived + took))
                case ("visit", *row):
                    self.visits.append(row)
                case ("turn", time, words):
                    self.meter.turn(time, *words)
                case ("begin", time):
                    self.meter.begin(time)
            size = self.sizes[self.batches % len(self.sizes)]
            if len(self.ios) + len(self.visits) >= size:
                self.batches += 1
                self.flush()
        return self.meter


def one_by_one(meter: Meter, history) -> Meter:
    for event in history:
        match event:
            case ("io", guest, arrived, took):
                meter.io(guest, arrived, arrived + took)
            case ("visit", *row):
                meter.visit(*row)
            case ("turn", time, words):
                meter.turn(time, *words)
            case ("begin", time):
                meter.begin(time)
    return meter


def everything(meter: Meter) -> dict:
    return heard(meter, [*GUESTS, "nobody"], [*STATIONS, 2, 99], END, WORDS)


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@settings(max_examples=60)
@given(with_beginnings, sizes)
# An I/O that is over in the instant of a turn; and one of the instant that all rows end in.
@example([("io", "a", 1.0, 0.0), ("turn", 1.0, {"reading"}), ("io", "a", 1.0, 0.5)], [1])
@example([("io", "a", 1.0, 0.0), ("io", "b", 0.5, 0.5), ("turn", 1.0, {"merging"})], [1])
def test_the_size_of_batches_does_not_matter(history, some) -> None:
    assert everything(Engine(Meter(), some).play(history)) == everything(
        one_by_one(Meter(), history)
    )


@settings(max_examples=60)
@given(with_beginnings, sizes)
def test_few_cells_do_not_depend_on_batches_either(history, some) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "LINES_MAX", 5)
        patch.setattr(cells, "TURNS_MAX", 3)
        mine, its = Engine(Meter(), some).play(history), one_by_one(Meter(), history)
        assert everything(mine) == everything(its)
        assert mine._cells.count <= 5 + 3 + 1
        exact = one_by_one(Recorder(), history)
        edges = np.array([0.0, END])
        for station in STATIONS:
            spent = mine.busy([station], edges)
            assert spent == pytest.approx(exact.busy([station], edges), abs=1e-6)
        assert sum(felt.ios for felt in mine.line(edges)) == mine.felt().ios


def changes(history) -> list[float]:
    """Return when something else goes on than before: there cells are cut."""
    turns = [event for event in history if event[0] == "turn"]
    return [b[1] for a, b in pairwise([("turn", 0.0, set()), *turns]) if a[2] != b[2]]


@settings(max_examples=60)
@given(histories)
@example([("io", "a", 1.0, 0.0), ("turn", 1.0, {"reading"})])  # it arrived at the turn, not before
def test_a_meter_tells_what_the_recorder_tells(history) -> None:
    meter, exact = one_by_one(Meter(), history), one_by_one(Recorder(), history)
    for word in ["", *WORDS]:
        for guests in ((), ("a",), ("b", "c"), ("nobody",)):
            assert_close(meter.felt(word, *guests), exact.felt(word, *guests))
        if word:
            assert meter.seconds_of(word) == pytest.approx(exact.seconds_of(word))
    edges = np.array(sorted({*changes(history), *np.arange(0, END, 0.5)}))
    for felt, wanted in zip(meter.line(edges), exact.line(edges), strict=True):
        assert_close(felt, wanted)
    for station in STATIONS:
        for purposes in ((), (0,), (1, 4)):
            assert meter.visits([station], purposes) == exact.visits([station], purposes)
            found = meter.busy([station], edges, purposes)
            assert found == pytest.approx(exact.busy([station], edges, purposes), abs=1e-6)
    for guest in GUESTS:
        assert meter.last_arrival(guest) == exact.last_arrival(guest)
        assert meter.silences(guest) == exact.silences(guest)
        found, wanted = (m.in_flight(guest, edges) * np.diff(edges) for m in (meter, exact))
        assert found == pytest.approx(wanted, abs=1e-6)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 90), st.integers(4, 30)), max_size=20)
)
# One that unites two of three, and one that unites them all.
@example([("a", 0, 6), ("a", 7, 6), ("a", 14, 6), ("b", 0, 9), ("a", 13, 10)])
@example([("a", 0, 6), ("a", 7, 6), ("a", 14, 6), ("a", 3, 20), ("a", 40, 6)])
def test_silences_are_united_as_they_end(rows) -> None:
    history = [("io", guest, float(at), float(took)) for guest, at, took in rows]
    history.sort(key=moment)
    meter, exact = one_by_one(Meter(), history), one_by_one(Recorder(), history)
    for guest in GUESTS:
        assert meter.silences(guest) == exact.silences(guest)


def assert_close(felt, wanted) -> None:
    assert felt.ios == wanted.ios
    assert felt.longest == wanted.longest
    assert felt.seconds == pytest.approx(wanted.seconds, abs=1e-9 * (felt.ios + 1))
    for percent in (1, 50, 95, 99, 100):
        exact = wanted.percentile(percent)
        bound = max(ALPHA * exact * (1 + 1e-12), buckets.LOWEST_SECONDS)
        assert abs(felt.percentile(percent) - exact) <= bound


@given(st.lists(st.tuples(st.sampled_from(GUESTS), instants, lengths), max_size=40), instants)
def test_recent_latency_is_the_recorders_to_the_last_digit(rows, since) -> None:
    rows.sort(key=lambda row: row[1] + row[2])
    history = [("io", *row) for row in rows]
    meter, exact = one_by_one(Meter(), history), one_by_one(Recorder(), history)
    last = max((arrived + took for _, arrived, took in rows), default=0.0)
    assume(since > last - 31)
    for guests in ([], ["a"], GUESTS, ["nobody"]):
        assert meter.recent_latency(guests, since) == exact.recent_latency(guests, since)


@settings(max_examples=40)
@given(histories, st.lists(instants, min_size=2, max_size=9, unique=True).map(sorted))
def test_edges_told_beforehand_are_edges_of_cells(history, told) -> None:
    before = {"a": told, "nobody": [1.0]}
    meter, exact = one_by_one(Meter(told, before), history), one_by_one(Recorder(), history)
    edges = np.array(told)
    found = meter.busy(STATIONS, edges)
    assert found == pytest.approx(exact.busy(STATIONS, edges), abs=1e-6)
    for felt, wanted in zip(meter.line(edges), exact.line(edges), strict=True):
        assert_close(felt, wanted)
    for time in told:
        ios, seconds = meter.until("a", time)
        wanted = exact.until("a", time)
        assert ios == wanted[0]
        assert seconds == pytest.approx(wanted[1], abs=1e-9 * (ios + 1))
    assert meter.until("nobody", 1.0) == (0, 0.0)


# Cells. ------------------------------------------------------------------------------------------

NICE = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


@given(st.floats(1, 1.4e6), st.floats(0, 1e4))
def test_a_time_line_of_nice_widths_has_edges_of_cells(length, began) -> None:
    made = cells.Cells(lambda _: None)
    made.begin(began)
    made._step = next(
        k for k in range(20) if (length + 1) / cells._width(k) <= cells.LINES_MAX
    )  # where it will be: the lines before then are many
    width = next(w for w in NICE if length / w <= 400)
    assert width % made.width == 0


@given(st.lists(st.floats(0.01, 400), max_size=30), st.integers(3, 9))
def test_lines_grow_apart_and_stay_where_they_are(steps, most) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "LINES_MAX", most)
        groups = []
        made = cells.Cells(lambda group: groups.append(group.tolist()))
        made.begin(3.25)
        time = 3.25
        for step in steps:
            time += step
            made.advance(time)
        starts = made.starts[: made.count].tolist()
        assert starts[:2] == [0.0, 3.25]
        assert all((start - 3.25) % made.width == 0 for start in starts[1:])
        assert all(b - a == made.width for a, b in pairwise(starts[1:]))
        assert starts[-1] + made.width > time >= starts[-1]
        assert made.count <= most + 2
        assert all(group == sorted(group) for group in groups)


def test_the_shortest_stretches_go_when_there_are_too_many_turns() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "TURNS_MAX", 3)
        meter = Meter()
        for time, words in ((100.2, ["reading"]), (101.2, []), (300.2, ["reading"]), (900.2, [])):
            meter.io("a", time - 0.3, time - 0.1)
            meter.turn(time, *words)
    assert np.count_nonzero(meter._cells._is_turn) == 3
    assert meter.felt("", "a").ios == 4
    assert meter.felt("reading", "a").ios == 2
    assert meter.seconds_of("reading") == pytest.approx(600, abs=2)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=9), st.lists(st.floats(0.1, 9), max_size=30))
def test_there_is_room_for_edges_and_a_bounded_number_of_turns(told, steps) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "TURNS_MAX", 2)
        patch.setattr(cells, "LINES_MAX", 1)
        meter, time = Meter(told), 0.0
        for number, step in enumerate(steps):
            meter.visit(0, 0, time, step)
            time += step
            meter.turn(time, *["reading"][: number % 2])
    assert meter._cells.count <= len({*told}) + 5
    busy = meter.busy([0], np.array([0.0, 300.0]))
    assert busy == pytest.approx([sum(steps)])


# Refusals. ---------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused() -> None:
    meter = Meter(before={"a": [1.0]})
    meter.io("a", 0.0, 50.0)
    with pytest.raises(Misuse, match="50"):
        meter.turn(49.0, "reading")
    with pytest.raises(Misuse, match="31 s"):
        meter.recent_latency(["a"], 18.0)
    with pytest.raises(Misuse, match="name the moment"):
        meter.until("a", 2.0)
    with pytest.raises(Misuse, match="purpose"):
        meter.take_visits(np.array([[0, PURPOSES]]), np.array([[0.0, 1.0]]))
    for number in range(cells.LABELS_MAX - 1):
        meter.turn(60.0, f"word {number}")
    with pytest.raises(Misuse, match="combinations"):
        meter.turn(60.0, "one more")


def test_nothing_is_kept_of_the_arrays_that_were_handed_over() -> None:
    told = []
    for scribble in (False, True):
        meter = Meter()
        numbers, times = np.array([0, 0]), np.array([[0.5, 1.0], [1.0, 1.0]])
        kinds, spent = np.array([[0, 1]]), np.array([[0.5, 9.0]])
        meter.take_ios(["a"], numbers, times)
        meter.take_visits(kinds, spent)
        if scribble:
            for array in (numbers, times, kinds, spent):
                array[:] = 7
        told.append(everything(meter))
    assert told[0] == told[1]


@pytest.mark.parametrize("kind", [Meter, Recorder])
def test_gauges_are_kept_in_order(kind) -> None:
    meter = kind()
    for time in (1.0, 2.0):
        meter.gauge("delta", "vm", time, time * 10)
    assert meter.gauges == {("delta", "vm"): [(1.0, 10.0), (2.0, 20.0)]}
