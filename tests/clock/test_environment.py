"""The environment: order within an instant, horizon, liveness, withdrawn events, failures."""

from __future__ import annotations

from contextlib import suppress
from heapq import heappop, heappush
from math import inf, nan

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from simpy.core import EmptySchedule

from stuntdouble.clock import Environment, Priority
from stuntdouble.errors import Bug

INSTANTS = st.integers(0, 4).map(float)
PRIORITIES = st.sampled_from([*Priority, Priority.ARRIVAL + 1, Priority.ARRIVAL + 7])


class HeapKernel:
    """The smallest engine with a heap of its own: I/O at times, some of which causes control."""

    def __init__(self, env, ios=(), trace=None):
        self.env = env
        self.heap = []
        self.trace = [] if trace is None else trace
        env.kernel = self
        for when, cause in ios:
            self.post(when, cause)

    def post(self, when, cause=None):
        heappush(self.heap, (when, len(self.heap), cause))

    def advance(self, limit):
        while self.heap and self.heap[0][0] < limit:
            when, _, cause = heappop(self.heap)
            self.trace.append(("io", when))
            if cause is not None:
                control = self.env.at(when)
                control.callbacks.append(lambda _, when=when: self.trace.append(("watch", when)))
                return True
        return False


def run_dry(env):
    with suppress(EmptySchedule):
        while True:
            env.step()


def noting(env, trace, name):
    return lambda _event: trace.append((env.now, name))


@given(st.lists(st.tuples(INSTANTS, PRIORITIES)))
def test_order_within_one_instant_is_control_posts_ends_arrivals_each_in_its_own_order(plan):
    env, trace = Environment(), []
    for number, (when, priority) in enumerate(plan):
        event = env.at(when, priority, value=number)
        event.callbacks.append(lambda e: trace.append(e.value))
    env.run()
    assert trace == sorted(range(len(plan)), key=lambda number: plan[number])


def test_order_within_one_instant_runs_control_to_exhaustion_before_io():
    env, trace = Environment(), []

    def chain():
        for link in range(5):
            yield env.timeout(0)
            trace.append(link)

    env.at(1.0, Priority.ARRIVAL).callbacks.append(noting(env, trace, "arrival"))
    env.at(1.0, Priority.END).callbacks.append(noting(env, trace, "end"))
    env.at(1.0, Priority.POST).callbacks.append(noting(env, trace, "post"))
    env.at(1.0).callbacks.append(lambda _: env.process(chain()))
    env.run()
    assert trace == [0, 1, 2, 3, 4, (1.0, "post"), (1.0, "end"), (1.0, "arrival")]


def test_order_within_one_instant_puts_a_watch_before_the_remaining_io():
    env, trace = Environment(), []
    first = env.at(1.0, Priority.END)
    first.callbacks.append(lambda _: env.at(env.now).callbacks.append(noting(env, trace, "watch")))
    env.at(1.0, Priority.END).callbacks.append(noting(env, trace, "end"))
    env.run()
    assert trace == [(1.0, "watch"), (1.0, "end")]


@given(
    st.lists(st.tuples(INSTANTS, st.sampled_from([None, "watch"]))),
    st.lists(INSTANTS),
    st.lists(INSTANTS.map(lambda when: when + 0.5)),
)
def test_horizon_a_kernel_runs_strictly_before_the_next_control_event(ios, controls, stops):
    env = Environment()
    kernel = HeapKernel(env, ios)
    for when in controls:
        env.at(when).callbacks.append(lambda _, when=when: kernel.trace.append(("control", when)))
    for stop in sorted(stops):  # stopping at horizons on the way changes nothing
        env.catch_up(stop)
        assert env.now == stop
        assert all(when < stop for _, when in kernel.trace)
    env.horizon = inf
    run_dry(env)

    whole = Environment()
    once = HeapKernel(whole, ios)
    for when in controls:
        whole.at(when).callbacks.append(lambda _, when=when: once.trace.append(("control", when)))
    run_dry(whole)
    assert kernel.trace == once.trace
    assert [when for _, when in once.trace] == sorted(when for _, when in once.trace)
    for when in set(controls) & {when for when, _ in ios}:
        assert once.trace.index(("control", when)) < once.trace.index(("io", when))


def test_horizon_control_up_to_it_and_io_before_it():
    env, trace = Environment(), []
    for priority in (Priority.ARRIVAL, Priority.END, Priority.POST, Priority.NORMAL):
        env.at(2.0, priority).callbacks.append(noting(env, trace, priority))
    env.catch_up(2.0)
    assert trace == [(2.0, Priority.NORMAL)]
    env.catch_up(1.0)  # never back
    assert env.now == 2.0
    env.catch_up(2.5)
    assert [name for _, name in trace[1:]] == [Priority.POST, Priority.END, Priority.ARRIVAL]


def test_horizon_a_failure_does_not_move_the_clock_past_the_rest():
    env, trace = Environment(), []
    env.at(1.0).callbacks.append(lambda _: 1 / 0)
    env.at(2.0).callbacks.append(noting(env, trace, "later"))
    with pytest.raises(ZeroDivisionError):
        env.catch_up(5.0)
    assert (env.now, trace) == (1.0, [])
    env.catch_up(5.0)
    assert (env.now, trace) == (5.0, [(2.0, "later")])


def test_load_never_keeps_a_run_alive():
    env = Environment()
    env.at(1.0, Priority.ARRIVAL)
    assert not env.live
    env.at(1.0, Priority.POST)
    assert not env.live
    control = env.at(0.5)
    assert env.live
    env.step()
    assert control.processed
    assert not env.live


def test_an_expected_event_keeps_a_run_alive_until_it_is_processed():
    env = Environment()
    read = env.expect(env.event())
    env.at(1.0, Priority.END).callbacks.append(lambda _: read.succeed())
    assert env.live
    assert env.expecting
    env.step()
    assert read.triggered
    assert env.live
    env.step()
    assert not env.live
    assert not env.expecting
    assert env.expect(read) is read
    assert not env.expecting


@given(st.lists(st.tuples(INSTANTS, st.booleans()), max_size=300))
def test_withdrawn_events_neither_happen_nor_count_nor_move_the_clock(plan):
    env, trace = Environment(), []
    events = [env.at(when, value=number) for number, (when, _) in enumerate(plan)]
    for event, (_, withdrawn) in zip(events, plan, strict=True):
        if withdrawn:
            env.withdraw(event)
            env.withdraw(event)  # once more changes nothing
        else:
            event.callbacks.append(lambda e: trace.append((env.now, e.value)))
    kept = [(when, number) for number, (when, withdrawn) in enumerate(plan) if not withdrawn]
    assert env.live == bool(kept)
    assert env.peek() == min((when for when, _ in kept), default=inf)
    env.run()
    assert trace == sorted(kept)
    assert env.now == max((when for when, _ in kept), default=0.0)
    assert not env.live


def test_withdrawn_events_do_not_pile_up():
    env = Environment()
    env.at(1.0)
    for _ in range(10_000):
        env.withdraw(env.at(3600.0))
    assert len(env._queue) < 100


def test_withdrawing_an_event_that_has_happened_changes_nothing():
    env = Environment()
    event = env.at(1.0)
    env.run()
    env.withdraw(event)
    env.at(2.0)
    assert env.live


@pytest.mark.parametrize("when", [0.5, -1.0, inf, nan])
def test_an_event_is_scheduled_neither_in_the_past_nor_at_no_time(when):
    env = Environment(now=1.0)
    with pytest.raises(Bug, match=r"it is 1\.0 s"):
        env.at(when)


def test_at_is_exact_where_now_plus_delay_is_not():
    env = Environment(now=0.3)
    env.at(0.9)
    env.run()
    assert env.now == 0.9
    assert 0.3 + (0.9 - 0.3) != 0.9


class Picky(Exception):
    """An error that SimPy cannot copy."""

    def __init__(self, lun, holder):
        super().__init__(f"{lun} {holder}")


def test_a_failure_that_nobody_waits_for_is_raised_as_the_original_object():
    env, original = Environment(), Picky(7, "host")

    def model():
        yield env.timeout(1)
        raise original

    env.process(model())
    with pytest.raises(Picky) as caught:
        env.run()
    assert caught.value is original


def test_simpy_run_until_works_as_ever():
    env = Environment()

    def model():
        yield env.timeout(3)
        return "done"

    def waiter(awaited):
        trace.append((yield awaited))

    trace = []
    process = env.process(model())
    env.process(waiter(process))
    assert env.run(until=process) == "done"
    assert trace == []  # whoever else waits comes after the one that stops the run
    env.run(until=10)
    assert trace == ["done"]
    assert env.now == 10
    assert isinstance(env, simpy.Environment)
    with pytest.raises(EmptySchedule):
        Environment().step()


def test_one_door_scheduling_from_outside_is_a_bug_once_somebody_drives():
    env, calls = Environment(), []

    class Driven:
        lag_seconds = 0.0
        on_lag = None

        def catch_up(self):
            calls.append("catch up")
            env.catch_up(env.now + 1)

        def arm(self):
            calls.append("arm")

    env.timeout(0.5)  # building a site
    env.driver = Driven()
    with pytest.raises(Bug, match="entered"):
        env.timeout(1)
    with pytest.raises(Bug, match="entered"):
        env.at(5.0)
    with env.entered():
        with env.entered():  # one catch-up for the outermost door
            env.timeout(1).callbacks.append(lambda _: env.timeout(0))
        env.at(5.0)
    assert calls == ["catch up", "arm"]
    assert env.now == 1.0
    with pytest.raises(Bug), env.entered():
        raise Bug("inside")
    with pytest.raises(Bug, match="entered"):
        env.timeout(1)
    env.run()
    assert env.now == 5.0
