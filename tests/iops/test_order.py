"""Order within an instant, conservation, and determinism."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iops.book import seen
from iops.lab import BLOCK, Ask, Held, Judge, Lab, Script, conserved, fixed, reads
from stuntdouble.iops import ClosedLoad, Pattern, PoissonLoad, Purpose, exponential
from stuntdouble.site import Role

UNTIL = 60

pytestmark = pytest.mark.plain


def step(lab: Lab, group: int, block: int) -> tuple[int, int, int, int, int, int]:
    return (group, int(Role.DATA), 0, lab.pool, block, BLOCK)


# By example. -----------------------------------------------------------------------------------


def test_posts_come_before_ends_and_ends_before_arrivals() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    # at 1 s: the first read ends, the second arrives, control submits: one server for all
    guest = lab.guest(reads(0.0, 1.0))
    lab.at(1.0, lambda: lab.engine.submit([step(lab, 0, 0)], Purpose.CONTROL))
    lab.run(10.0)
    assert lab.starts == [(0.0, 0, 0), (1.0, 0, int(Purpose.CONTROL)), (2.0, 0, 0)]
    assert guest.completed == 2


def test_a_freed_server_is_gone_before_the_arrivals_of_its_instant() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0), servers=2)
    lab.guest(reads(1.0, 1.0), "late")
    lab.guest(reads(0.0, 0.0, 0.0), "early")
    lab.run(10.0)
    assert [end for _, end in lab.io_times("early")] == [1.0, 1.0, 2.0]
    assert [end for _, end in lab.io_times("late")] == [2.0, 3.0]


def test_guests_arrive_in_order_of_their_numbers_not_of_their_starts() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0))
    first = lab.guest(reads(5.0), "first", start=False)
    second = lab.guest(reads(5.0), "second", start=False)
    lab.engine.start(second)
    lab.engine.start(first)
    lab.run(10.0)
    assert lab.io_times("first") == [(5.0, 6.0)]
    assert lab.io_times("second") == [(5.0, 7.0)]


def test_the_station_takes_its_next_before_the_served_moves_on() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0), fixed(1.0))
    two = [step(lab, 0, 0), step(lab, 1, 0)]  # twice at station 0
    ended = {}
    for name, steps in (("a", two), ("b", [step(lab, 0, 0)]), ("c", two)):
        event = lab.engine.submit(steps, Purpose.CONTROL)
        event.callbacks.append(lambda _, name=name: ended.update({name: lab.env.now}))
    lab.run(10.0)
    # a, b, c, then a's and c's second visits, whether they had queued the first time or not
    assert ended == {"b": 2.0, "a": 4.0, "c": 5.0}


def test_an_arrival_that_a_stun_held_up_still_comes_after_the_ends() -> None:
    lab = Lab()
    lab.stripe(fixed(1.0), servers=1)
    held = lab.guest(reads(5.0), "held")
    lab.guest(reads(6.0, 6.0), "other")
    lab.at(5.0, lambda: lab.engine.stun(held))
    lab.at(7.0, lambda: lab.engine.resume(held))
    lab.run(20.0)
    # at 7 s: other's first read ends, its second is taken, then held's arrives
    assert lab.io_times("other") == [(6.0, 7.0), (6.0, 8.0)]
    assert lab.io_times("held") == [(7.0, 9.0)]


# Against the book. -----------------------------------------------------------------------------

whole = st.integers(0, 24)
block = st.integers(0, 1)


@st.composite
def histories(draw):
    services = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    servers = draw(st.integers(1, 2))
    guests = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(
            st.lists(st.tuples(whole, st.sampled_from([(0, 1), (1, 1), (0, 2)])), max_size=8)
        )
        outstanding = draw(st.sampled_from([0, 0, 1, 2]))
        guests.append((outstanding, rows if outstanding else sorted(rows)))
    acts = st.one_of(
        st.tuples(st.just("stun"), st.integers(0, 2), st.integers(0, 5)),
        st.tuples(st.just("limit"), st.integers(0, 2), st.integers(0, 2)),
        st.tuples(st.just("fence"), st.just(0), st.integers(0, 5)),
        st.tuples(st.just("submit"), block, block),
    )
    control = draw(st.lists(st.tuples(whole, acts), max_size=8))
    noise = draw(st.lists(whole, max_size=10))
    return services, servers, guests, control, noise


def schedule(control, count: int) -> list[tuple[int, str, int, int]]:
    """Return (time, act, first, second), holds and their ends apart, in order."""
    acts = []
    for time, (act, first, second) in control:
        number = first % count if act in {"stun", "limit"} else first
        if act in {"stun", "fence"}:
            acts += [(time, act, number, 0), (time + second, f"un{act}", number, 0)]
        else:
            acts.append((time, act, number, second))
    return sorted(acts, key=lambda act: act[0])


def by_the_book(services, servers, guests, acts):
    held = []
    for outstanding, rows in guests:
        due = deque((time, Ask([[(at + k) % 2 for k in range(size)]])) for time, (at, size) in rows)
        held.append(Held(due, closed=outstanding > 0, ready=[0] * min(outstanding, len(rows))))
    judge = Judge(list(services), servers, held)
    control: dict = {}
    for time, act, first, second in acts:
        action = {
            "stun": lambda first=first: judge.stun(held[first]),
            "unstun": lambda first=first: judge.resume(held[first]),
            "limit": lambda first=first, second=second: judge.limit(held[first], second),
            "fence": judge.fence,
            "unfence": judge.unfence,
            "submit": lambda first=first, second=second: judge.submit([[first], [second]]),
        }[act]
        control.setdefault(time, []).append(action)
    judge.run(UNTIL, control)
    return judge.starts, sorted(judge.over)


def by_the_engine(services, servers, guests, acts, noise):
    lab = Lab()
    lab.stripe(*map(fixed, services), servers=servers)
    made = []
    for number, (outstanding, rows) in enumerate(guests):
        script = Script(
            [
                (0.0 if outstanding else float(t), 0, False, at * BLOCK, n * BLOCK)
                for t, (at, n) in rows
            ],
            outstanding,
        )
        made.append(lab.guest(script, str(number)))
    engine = lab.engine
    for time in noise:
        lab.at(time, lambda: lab.env.timeout(0), lambda: lab.env.timeout(3))
    for time, act, first, second in acts:
        action = {
            "stun": lambda first=first: engine.stun(made[first]),
            "unstun": lambda first=first: engine.resume(made[first]),
            "limit": lambda first=first, second=second: engine.set_limit(made[first], second),
            "fence": lambda: engine.fence([lab.lun]),
            "unfence": lambda: engine.unfence([lab.lun]),
            "submit": lambda first=first, second=second: engine.submit(
                [step(lab, 0, first), step(lab, 1, second)], Purpose.CONTROL
            ),
        }[act]
        lab.at(time, action)
    for time in noise:
        lab.at(time, lambda: lab.env.timeout(0))
    for time in sorted(set(noise)):
        lab.run(time + 0.25)
        assert all(conserved(guest) for guest in made)
    lab.run(UNTIL - 0.5)
    return seen(lab, made)


@settings(max_examples=150)
@given(histories())
def test_every_history_goes_by_the_book(history) -> None:
    services, servers, guests, control, noise = history
    acts = schedule(control, len(guests))
    told = by_the_book(services, servers, guests, acts)
    assert by_the_engine(services, servers, guests, acts, sorted(noise)) == told
    assert by_the_engine(services, servers, guests, acts, []) == told


# Conservation and determinism. -------------------------------------------------------------------


def busy_lab(seed: int, patterns_seed: int | None = None) -> Lab:
    lab = Lab(seed=seed)
    lab.stripe(exponential(0.004), exponential(0.006))
    pattern = (Pattern(0.7, BLOCK, BLOCK << 10),)
    loads = seed if patterns_seed is None else patterns_seed
    lab.guest(PoissonLoad(loads, "a", 150.0, pattern), "a")
    lab.guest(ClosedLoad(loads, "b", 3, 0.01, pattern), "b")
    return lab


@settings(max_examples=10)
@given(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=30), st.integers(0, 3))
def test_nothing_is_lost_at_any_instant(instants, limit) -> None:
    lab = busy_lab(4)
    first, second = lab.engine.guests
    lab.at(0.5, lambda: lab.engine.set_limit(first, limit))
    lab.at(1.0, lambda: lab.engine.stun(first), lambda: lab.engine.fence([lab.lun]))
    lab.at(1.5, lambda: lab.engine.unfence([lab.lun]))
    lab.at(2.0, lambda: lab.engine.resume(first))
    for instant in sorted(set(instants)):
        lab.run(instant) if instant > lab.env.now else None
        assert conserved(first)
        assert conserved(second)
        assert second.in_flight + len(second.waiting) <= 3
        queued = sum(len(station.queue) + station.busy for station in lab.engine.stations)
        assert queued == first.in_flight + second.in_flight
    lab.run(4.0)
    assert conserved(first)
    assert first.completed > 300


def test_a_seed_replays_the_run_and_another_does_not() -> None:
    runs = []
    for seed in (7, 7, 8):
        lab = busy_lab(seed)
        lab.run(3.0)
        runs.append((lab.starts, lab.io_times("a"), lab.io_times("b")))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len(runs[0][1]) > 300


def test_the_seed_of_the_stations_is_not_that_of_the_load() -> None:
    labs = [busy_lab(seed, patterns_seed=1) for seed in (7, 8)]
    for lab in labs:
        lab.run(2.0)
    arrivals = [[a for a, _ in lab.io_times("a")] for lab in labs]
    least = min(map(len, arrivals))
    assert arrivals[0][: least // 2] == arrivals[1][: least // 2]
    assert labs[0].starts != labs[1].starts
