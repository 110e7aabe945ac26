"""Where guest I/O comes from."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.lab import Lab, fixed
from stuntdouble.iops import ClosedLoad, Mix, Pattern, PoissonLoad, Recorded, TraceLoad, load
from stuntdouble.iops.draw import units
from stuntdouble.trace import unit

pytestmark = pytest.mark.plain

KIB = 1 << 10


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(0, 50))
def test_units_are_what_trace_draws_one_at_a_time(key, start, count) -> None:
    wanted = [unit(np.uint64(key), start + k) for k in range(count)]
    assert units(key, start, count).tolist() == wanted


def test_a_poisson_load_has_its_rate_and_no_memory() -> None:
    pattern = Pattern(0.7, 4 * KIB, 4 * KIB << 10)
    rows = list(islice(PoissonLoad(3, "vm", 50.0, (pattern,)).ios(), 20_000))
    times = np.array([row[0] for row in rows])
    gaps = np.diff(times, prepend=0.0)
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(1 / 50, abs=3 / 50 / np.sqrt(len(gaps)))
    assert gaps.std() == pytest.approx(1 / 50, rel=0.03)
    per_second = np.bincount(times.astype(int))[:-1]
    assert per_second.var() == pytest.approx(per_second.mean(), rel=0.2)  # what Poisson means
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 3 / np.sqrt(len(gaps))
    reads = sum(not row[2] for row in rows) / len(rows)
    assert reads == pytest.approx(0.7, abs=0.01)


def loads(vm: str, seed: int = 5):
    pattern = Pattern(0.5, 4 * KIB, 1 << 22, skew=2.0, sequential_fraction=0.3)
    other = Pattern(1.0, 64 * KIB, 1 << 24)
    mix = Mix(((1.0, pattern), (2.0, other)))
    return [
        PoissonLoad(seed, vm, 100.0, (pattern, other)),
        ClosedLoad(seed, vm, 4, 0.01, (pattern, other)),
        PoissonLoad(seed, vm, 100.0, (mix, other)),
    ]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_load_does_not_depend_on_the_size_of_a_batch(size, monkeypatch) -> None:
    wanted = [list(islice(load.ios(), 3000)) for load in loads("vm")]
    monkeypatch.setattr(load, "_BATCH", size)
    assert [list(islice(load.ios(), 3000)) for load in loads("vm")] == wanted


def test_a_load_depends_on_its_own_name_and_seed_alone() -> None:
    first, second, third = loads("a")[0].ios(), loads("b")[0].ios(), loads("a", 6)[0].ios()
    turns = [(next(first), next(second), next(third)) for _ in range(500)]
    alone = list(islice(loads("a")[0].ios(), 500))
    assert [a for a, _, _ in turns] == alone
    assert all(a != b and a != c for a, b, c in turns)


@settings(max_examples=40)
@given(
    st.integers(9, 16).map(lambda bits: 1 << bits),
    st.integers(1, 5000),
    st.integers(0, 511),
    st.floats(0.2, 5.0),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.floats(0, 1),
)
def test_a_pattern_stays_in_its_working_set(size, slots, rest, skew, sequential, reads) -> None:
    pattern = Pattern(reads, size, size * slots + rest, skew, sequential)
    rows = list(islice(PoissonLoad(1, "vm", 10.0, (pattern, pattern)).ios(), 300))
    assert {row[1] for row in rows} <= {0, 1}
    for _, _, write, offset, length in rows:
        assert length == size
        assert offset % size == 0
        assert 0 <= offset <= pattern.working_set_bytes - size
        assert not (reads == 1 and write)
    if sequential == 1.0:
        places = [row[3] // size for row in rows if row[1] == 0]
        assert places == [(k + 1) % slots for k in range(len(places))]


def test_skew_sends_half_of_the_io_where_it_says() -> None:
    pattern = Pattern(0.5, 4 * KIB, 1 << 26, skew=3.0)
    rows = list(islice(PoissonLoad(1, "vm", 10.0, (pattern,)).ios(), 8000))
    share = sum(row[3] < pattern.working_set_bytes // 8 for row in rows) / len(rows)
    assert share == pytest.approx(0.5, abs=0.02)


def test_a_load_without_a_rate_is_silent() -> None:
    assert list(PoissonLoad(1, "vm", 0.0, (Pattern(1.0, 1, 1),)).ios()) == []


def test_a_closed_load_keeps_its_number_under_way() -> None:
    lab = Lab()
    lab.stripe(fixed(0.01), servers=2)
    guest = lab.guest(ClosedLoad(1, "vm", 5, 0.0, (Pattern(1.0, 4096, 1 << 20),)))
    for tick in range(1, 100):
        lab.run(tick * 0.0137)
        assert guest.in_flight == 5
    assert guest.completed == pytest.approx(2 * lab.env.now / 0.01, abs=2)
    thinks = np.array([row[0] for row in islice(loads("vm")[1].ios(), 20_000)])
    assert thinks.mean() == pytest.approx(0.01, rel=0.03)
    assert loads("vm")[1].outstanding == 4
    assert loads("vm")[0].outstanding == 0


@pytest.mark.parametrize("size", [0, 8193])
def test_what_cannot_be_is_refused(size) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Pattern(0.5, size, 8192)
    with pytest.raises(ValueError, match="never begins"):
        ClosedLoad(1, "vm", 0, 0.1, (Pattern(0.5, 512, 512),))


# Mixes. --------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.floats(0.1, 9.0), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5),
    st.integers(0, 100),
)  # fmt: skip
def test_a_mix_has_its_weights_and_its_parts_are_themselves(parts, seed) -> None:
    sizes = [512 << k for k in range(len(parts))]
    mix = Mix(
        tuple(
            (weight, Pattern(reads, size, size << 10, sequential_fraction=sequential))
            for size, (weight, reads, sequential) in zip(sizes, parts, strict=True)
        )
    )
    count = 4000
    rows = list(islice(PoissonLoad(seed, "vm", 10.0, (mix,)).ios(), count))
    total = sum(weight for weight, _ in mix.parts)
    for weight, pattern in mix.parts:
        mine = [row for row in rows if row[4] == pattern.io_bytes]
        share = weight / total
        assert len(mine) / count == pytest.approx(share, abs=5 * np.sqrt(0.25 / count))
        bound = 5 * np.sqrt(0.25 / max(len(mine), 1))
        reads = sum(not row[2] for row in mine)
        assert reads == pytest.approx(pattern.read_fraction * len(mine), abs=bound * len(mine) + 1)
        assert all(row[3] % row[4] == 0 and row[3] < pattern.working_set_bytes for row in mine)
        if pattern.sequential_fraction == 1.0:
            assert [row[3] // row[4] for row in mine] == [(k + 1) % 1024 for k in range(len(mine))]


@given(st.floats(0.1, 100.0))
def test_a_mix_of_one_is_that_one(weight) -> None:
    pattern = Pattern(0.3, 4096, 1 << 20, skew=2.0, sequential_fraction=0.4)
    alone = list(islice(PoissonLoad(2, "vm", 9.0, (pattern, pattern)).ios(), 200))
    mixed = PoissonLoad(2, "vm", 9.0, (Mix(((weight, pattern),)), pattern))
    assert list(islice(mixed.ios(), 200)) == alone


def test_each_part_of_a_mix_goes_on_where_it_was() -> None:
    """Seven in ten random, three sequential: the random ones do not break the sequence."""
    random, sequential = Pattern(1.0, 8192, 1 << 24), Pattern(0.0, 65536, 1 << 24, 1.0, 1.0)
    mix = Mix(((70, random), (30, sequential)))
    rows = list(islice(PoissonLoad(1, "vm", 9.0, (mix, mix)).ios(), 2000))
    for disk in (0, 1):
        mine = [row[3] // 65536 for row in rows if row[1] == disk and row[2]]
        assert mine == [(k + 1) % 256 for k in range(len(mine))]
        assert len(mine) > 200


@pytest.mark.parametrize("weights", [(), (0.0,), (1.0, -1.0), (float("nan"),), (float("inf"),)])
def test_a_mix_that_cannot_be_is_refused(weights) -> None:
    with pytest.raises(ValueError, match="a mix of weights"):
        Mix(tuple((weight, Pattern(0.5, 512, 512)) for weight in weights))


# Recordings. ---------------------------------------------------------------------------------------


def recorded(rows) -> Recorded:
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return Recorded(
        np.array(columns[0], float),
        np.array(columns[1], bool),
        np.array(columns[2], np.int64),
        np.array(columns[3], np.int64),
    )


ROWS = [(0.0, False, 512, 1024), (1.5, True, 0, 512), (4.0, True, 1 << 40, 4096)]


def test_a_recording_is_played_at_its_times_and_begins_again() -> None:
    disk = 1 << 20
    rows = list(islice(TraceLoad(recorded(ROWS), disk).ios(), 7))
    assert [row[0] for row in rows] == [0.0, 1.5, 4.0, 5.0, 6.5, 9.0, 10.0]
    assert [row[2:] for row in rows[:2]] == [(False, 512, 1024), (True, 0, 512)]
    assert [row[1:] for row in rows[3:6]] == [row[1:] for row in rows[:3]]
    quick = list(islice(TraceLoad(recorded(ROWS), disk, speed=2.0).ios(), 4))
    assert [row[0] for row in quick] == [0.0, 0.75, 2.0, 2.5]
    assert len(list(TraceLoad(recorded(ROWS), disk, repeat=False).ios())) == 3


@given(
    st.lists(
        st.tuples(
            st.floats(0, 10), st.booleans(), st.integers(0, 1 << 30).map(lambda n: n * 512),
            st.integers(1, 1 << 14).map(lambda n: n * 512),
        ),
        min_size=1, max_size=20,
    ),
    st.integers(1, 1 << 12).map(lambda n: n * 4096),
)  # fmt: skip
def test_a_recording_of_a_larger_disk_is_wrapped_into_this_one(rows, disk) -> None:
    rows = sorted(rows)
    played = list(TraceLoad(recorded(rows), disk, repeat=False).ios())
    assert len(played) == len(rows)
    for (second, number, write, offset, length), row in zip(played, rows, strict=True):
        assert (second, number, write) == (row[0], 0, row[1])
        assert length == min(row[3], disk)
        assert offset % 512 == 0
        assert 0 <= offset <= disk - length
        if row[2] + row[3] <= disk:
            assert offset == row[2]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_recording_is_the_same_in_batches_of_any_size(size, monkeypatch) -> None:
    played = TraceLoad(recorded(ROWS), 1 << 20)
    expected = list(islice(played.ios(), 7))
    monkeypatch.setattr(load, "_ROWS", size)
    assert list(islice(played.ios(), 7)) == expected
    assert {len(rows) for _, rows in islice(played.batches(), 7)} <= {size, 3 % size, 3}


def test_an_empty_recording_is_silent() -> None:
    assert list(TraceLoad(recorded([]), 4096).ios()) == []


def test_a_stun_shifts_a_recording() -> None:
    lab = Lab()
    lab.stripe(fixed(0.125))
    guest = lab.guest(TraceLoad(recorded(ROWS), 1 << 20))
    lab.at(1.0, lambda: lab.engine.stun(guest))
    lab.at(3.25, lambda: lab.engine.resume(guest))
    lab.run(9.0)
    assert [arrived for arrived, _ in lab.io_times()] == [0.0, 3.75, 6.25, 7.25, 8.75]
