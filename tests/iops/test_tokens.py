"""Limits on I/Os per second: token buckets, by example, by bound, by theory, and by the book."""

from __future__ import annotations

from collections import deque
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.book import judged, schedule, seen
from iops.lab import BLOCK, Ask, Held, Judge, Lab, Script, conserved, fixed, reads
from stuntdouble.errors import Misuse
from stuntdouble.iops import ClosedLoad, Pattern, PoissonLoad, Purpose
from stuntdouble.iops.tokens import TokenBucket

UNTIL = 90
PATTERN = (Pattern(1.0, BLOCK, BLOCK << 10),)

pytestmark = pytest.mark.plain


def built(load, *, iops: float, burst: int = 1, seconds: float = 1.0) -> tuple[Lab, object]:
    lab = Lab()
    lab.stripe(fixed(seconds), servers=99)
    guest = lab.guest(load)
    lab.engine.set_iops_limit(guest, 0, iops, burst)
    return lab, guest


# By example. -----------------------------------------------------------------------------------


def test_a_burst_goes_at_once_and_then_one_for_each_token() -> None:
    lab, guest = built(reads(*[1.0] * 6), iops=0.5, burst=3)
    lab.run(20.0)
    assert lab.times() == [1.0, 1.0, 1.0, 3.0, 5.0, 7.0]
    assert [end for _, end in lab.io_times()] == [2.0, 2.0, 2.0, 4.0, 6.0, 8.0]
    assert guest.completed == 6


def test_what_waits_for_a_token_has_taken_nothing() -> None:
    lab, guest = built(reads(1.0, 1.0, 1.0), iops=0.1)
    lab.run(5.0)
    assert (guest.arrived, guest.in_flight, len(guest.waiting)) == (3, 0, 2)
    assert lab.engine.drained(guest).triggered
    assert conserved(guest)


def test_without_a_limit_nothing_waits_and_0_lifts_one() -> None:
    lab, _ = built(reads(1.0, 1.0, 1.0, 1.0), iops=0.25)
    guest = lab.engine.guests[0]
    lab.at(6.0, lambda: lab.engine.set_iops_limit(guest, 0, 0.0))
    lab.run(20.0)
    assert lab.times() == [1.0, 5.0, 6.0, 6.0]
    assert not guest.buckets


def test_a_limit_may_be_changed_and_keeps_the_tokens_that_are_there() -> None:
    lab, guest = built(reads(*[0.0] * 3, *[8.0] * 6), iops=1.0, burst=4)
    engine = lab.engine
    lab.at(1.0, lambda: engine.set_iops_limit(guest, 0, 0.5, 8))
    # 2 tokens at 1 s, 5.5 at 8 s: five at once, and one when the half has become a whole
    lab.run(30.0)
    assert lab.times() == [0.0, 0.0, 0.0, 8.0, 8.0, 8.0, 8.0, 8.0, 9.0]


def test_a_smaller_burst_throws_away_what_finds_no_room() -> None:
    lab, guest = built(reads(*[2.0] * 4), iops=1.0, burst=8)
    lab.at(1.0, lambda: lab.engine.set_iops_limit(guest, 0, 1.0, 2))
    lab.run(30.0)
    assert lab.times() == [2.0, 2.0, 3.0, 4.0]


def test_a_faster_limit_lets_go_sooner_of_who_waits_already() -> None:
    lab, guest = built(reads(1.0, 1.0, 1.0), iops=1 / 64)
    lab.at(9.0, lambda: lab.engine.set_iops_limit(guest, 0, 0.125, 1))
    lab.run(80.0)
    # an eighth of a token has come by 9 s; the rest takes seven seconds at the new rate
    assert lab.times() == [1.0, 16.0, 24.0]


def test_a_stun_does_not_fill_the_bucket_beyond_its_burst() -> None:
    lab, guest = built(reads(*[0.0] * 9), iops=1.0, burst=2)
    lab.at(1.5, lambda: lab.engine.stun(guest))
    lab.at(60.0, lambda: lab.engine.resume(guest))
    lab.run(90.0)
    assert lab.times() == [0.0, 0.0, 1.0, 60.0, 60.0, 61.0, 62.0, 63.0, 64.0]


def test_one_disk_waits_and_another_goes_on() -> None:
    lab = Lab()
    lab.stripe(fixed(0.125), servers=9)
    other = lab.new_disk("other", 256)
    script = Script([(1.0, k % 2, False, 0, BLOCK) for k in range(6)])
    guest = lab.guest(script, disks=[lab.disk, other])
    lab.engine.set_iops_limit(guest, 0, 1.0)
    lab.run(20.0)
    assert lab.times() == [1.0, 1.0, 1.0, 1.0, 2.0, 3.0]
    assert conserved(guest)


def test_a_token_comes_before_ends_and_arrivals_of_its_instant() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    limited = lab.guest(reads(0.0, 0.0), "limited")
    lab.guest(reads(0.0, 1.0), "other")
    lab.engine.set_iops_limit(limited, 0, 0.5)
    ended: list[float] = []
    event = lambda: lab.engine.submit([(0, 0, 0, lab.pool, 0, BLOCK)], Purpose.CONTROL)  # noqa: E731
    lab.at(2.0, lambda: event().callbacks.append(lambda _: ended.append(lab.env.now)))
    lab.run(20.0)
    # at 2 s the token that was waited for since 0 s, then what control posts at 2 s, then the end
    # of the other's first read, which lets its second go: that one came at 1 s and queues already
    assert lab.io_times("other") == [(0.0, 2.0), (1.0, 3.0)]
    assert lab.io_times("limited") == [(0.0, 1.0), (0.0, 4.0)]
    assert ended == [5.0]


def test_a_limit_and_outstanding_ios_each_hold_on_their_own() -> None:
    lab, guest = built(reads(*[0.0] * 5), iops=1.0, burst=3, seconds=2.0)
    lab.engine.set_limit(guest, 2)
    lab.run(30.0)
    assert lab.times() == [0.0, 0.0, 2.0, 2.0, 4.0]


def test_the_load_waiting_for_tokens_keeps_no_run_alive() -> None:
    lab, _ = built(reads(*[0.0] * 5), iops=0.5)
    while lab.env.peek() < 1.0:
        lab.env.step()
    assert lab.times() == [0.0]
    assert not lab.env.live


@pytest.mark.parametrize(
    ("disk", "iops", "burst", "said"),
    [
        (1, 5.0, 1, "1 disks"),
        (-1, 5.0, 1, "counted from 0"),
        (0, -1.0, 1, "-1.0 I/Os per second"),
        (0, nan, 1, "nan I/Os per second"),
        (0, inf, 1, "inf I/Os per second"),
        (0, 5e-324, 1, "I/Os per second"),
        (0, 5.0, 0, "burst of 0"),
        (0, 5.0, inf, "burst of inf"),
        (0, 5.0, nan, "burst of nan"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(disk, iops, burst, said) -> None:
    lab, guest = built(reads(1.0), iops=0.0)
    with pytest.raises(Misuse, match=said) as refused:
        lab.engine.set_iops_limit(guest, disk, iops, burst)
    assert str(refused.value).startswith(f"the limit of disk {disk} of vm: ")
    assert not guest.buckets


# By bound. -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.0, 3.0), max_size=120),
    st.floats(0.05, 50.0),
    st.integers(1, 9),
)
def test_no_window_has_more_than_the_bound_and_nobody_waits_for_nothing(gaps, iops, burst) -> None:
    bucket, starts, asked = TokenBucket(0.0, iops, burst), [], []
    now = clock = 0.0
    for gap in gaps:
        clock += gap
        now = max(now, clock, bucket.due)
        bucket.take(now)
        starts.append(now)
        asked.append(clock)
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            most = burst + iops * (starts[last] - starts[first])
            assert last - first + 1 <= most * (1 + 1e-9) + 1e-9
    # who waits goes as soon as the bound allows, for some window that ends there
    for k, (at, start) in enumerate(zip(asked, starts, strict=True)):
        if start > max([at, *starts[k - 1 : k]]) * (1 + 1e-12):
            slack = [burst + iops * (start - starts[j]) - (k - j + 1) for j in range(k)]
            assert min([*slack, burst + iops * start - (k + 1)]) < 1e-6


@settings(max_examples=15)
@given(st.integers(0, 99), st.sampled_from([20.0, 75.0]), st.integers(1, 20))
def test_the_engine_keeps_the_bound_and_the_order(seed, iops, burst) -> None:
    lab, guest = built(
        PoissonLoad(seed, "vm", 100.0, PATTERN), iops=iops, burst=burst, seconds=0.01
    )
    lab.run(4.0)
    starts = np.array(lab.times())
    counts = np.searchsorted(starts, starts + 1.0, side="right") - np.arange(len(starts))
    assert counts.max() <= burst + iops * 1.0 + 1e-6
    assert 0.9 * 4.0 * iops < len(starts) <= burst + 4.0 * iops
    assert [end for _, end in lab.io_times()] == sorted(end for _, end in lab.io_times())
    assert conserved(guest)


# By theory. ------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_a_limit_without_a_burst_is_a_server_of_fixed_time(load) -> None:
    """Poisson arrivals that pass one by one: M/D/1, whose mean wait is r / (2 m (1 - r))."""
    iops, waits = 100.0, []
    for seed in range(5):
        lab, _ = built(PoissonLoad(seed, "vm", load * iops, PATTERN), iops=iops, seconds=1e-6)
        lab.run(60.0)
        waits.append(lab.engine.meter.latencies("vm").during(5.0, 60.0).seconds.mean() - 1e-6)
    wanted = load / (2 * iops * (1 - load))
    error = np.std(waits, ddof=1) / np.sqrt(len(waits))
    assert abs(np.mean(waits) - wanted) < 4 * error + 0.01 * wanted


def test_a_closed_loop_runs_at_the_limit() -> None:
    lab, guest = built(ClosedLoad(1, "vm", 8, 0.0, PATTERN), iops=64.0, burst=16, seconds=1 / 256)
    lab.run(10.0 - 1 / 512)
    assert guest.arrived - len(guest.waiting) == 16 + 640 - 1


# Against the book. -----------------------------------------------------------------------------

whole = st.integers(0, 24)


@st.composite
def histories(draw):
    services = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    guests = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.lists(st.tuples(whole, st.integers(0, 1)), max_size=9))
        outstanding = draw(st.sampled_from([0, 0, 1, 3]))
        gap, burst = draw(st.sampled_from([1, 2, 4])), draw(st.integers(0, 3))
        guests.append((outstanding, rows if outstanding else sorted(rows), gap, burst))
    acts = st.one_of(
        st.tuples(st.just("stun"), st.integers(0, 2), st.integers(1, 9)),
        st.tuples(st.just("limit"), st.integers(0, 2), st.integers(0, 2)),
        st.tuples(st.just("tokens"), st.integers(0, 2), st.integers(0, 3)),
    )
    control = sorted(draw(st.lists(st.tuples(whole, acts), max_size=8)), key=lambda act: act[0])
    return services, draw(st.integers(1, 2)), guests, control


def by_the_book(services, servers, guests, control):
    held = []
    for outstanding, rows, gap, burst in guests:
        due = deque((time, Ask([[at]])) for time, at in rows)
        ready = [0] * min(outstanding, len(rows))
        guest = Held(due, closed=outstanding > 0, ready=ready, gap=gap, burst=burst)
        guest.tokens = burst
        held.append(guest)
    judge = Judge(list(services), servers, held)
    return judged(judge, control, UNTIL, lambda number, burst: judge.tokens(held[number], burst))


def by_the_engine(services, servers, guests, control):
    lab = Lab()
    lab.stripe(*map(fixed, services), servers=servers)
    engine, made = lab.engine, []
    for number, (outstanding, rows, gap, burst) in enumerate(guests):
        script = [(0.0 if outstanding else float(t), 0, False, at * BLOCK, BLOCK) for t, at in rows]
        made.append(lab.guest(Script(script, outstanding), str(number)))
        engine.set_iops_limit(made[-1], 0, 1 / gap if burst else 0.0, burst)

    def tokens(number: int, burst: int) -> None:
        iops = 1 / guests[number][2] if burst else 0.0
        engine.set_iops_limit(made[number], 0, iops, burst)

    schedule(control, made, lab.at, engine, limit=engine.set_limit, other=tokens)
    lab.run(UNTIL - 0.5)
    return seen(lab, made)


@settings(max_examples=150)
@given(histories())
def test_every_history_of_tokens_goes_by_the_book(history) -> None:
    assert by_the_engine(*history) == by_the_book(*history)
