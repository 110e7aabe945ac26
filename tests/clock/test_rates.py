"""A clock whose rate changes while it goes: timers of both kinds stay right."""

from __future__ import annotations

import asyncio
import selectors
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.clock import Environment, PacedLoop, Pacer, Priority, completed, perform, run
from stuntdouble.clock.wall import WallTimers
from stuntdouble.errors import Interrupted, Misuse, NotFound

pytestmark = pytest.mark.paced


class Wall:
    """A wall clock that moves only while a loop waits; it wakes late by up to *late* seconds."""

    def __init__(self, patch, late=0.0):
        self.now = 1000.0
        self.waits = []
        patch.setattr(asyncio.BaseEventLoop, "time", lambda _: self.now)

        def select(_selector, timeout=None):
            self.waits.append(timeout)
            if timeout is None:
                raise StopIteration("nothing will ever happen")
            self.now += timeout + (late if timeout else 0.0)
            return []

        patch.setattr(selectors.DefaultSelector, "select", select)


@pytest.fixture
def wall(monkeypatch):
    return Wall(monkeypatch)


def milliseconds(low, high):
    return st.integers(int(low * 1000), int(high * 1000)).map(lambda number: number / 1000)


STEPS = st.lists(
    st.tuples(
        milliseconds(0.001, 5.0),
        st.one_of(milliseconds(0.01, 100.0), st.sampled_from(["pause", "resume"])),
    ),
    max_size=12,
)


def site_times(start_rate, steps):
    """Yield (wall, site, rate) at each step, by adding up what each stretch contributes."""
    wall = site = 0.0
    rate, paused = start_rate, False
    yield wall, site, rate
    for gap, what in steps:
        wall += gap
        site += 0.0 if paused else gap * rate
        if what == "pause":
            paused = True
        elif what == "resume":
            paused = False
        else:
            rate = what
        yield wall, site, 0.0 if paused else rate


def expected_wall(start_rate, steps, when):
    """Return the wall time at which the clock reaches *when*; infinity where it never does."""
    known = list(site_times(start_rate, steps))
    for (wall, site, rate), after in zip(known, [*known[1:], (inf, inf, 0)], strict=True):
        reached = wall + (when - site) / rate if rate else inf
        if when <= site:
            return wall
        if reached <= after[0]:
            return reached
    return inf


@given(
    milliseconds(0.01, 100.0),
    STEPS,
    st.lists(milliseconds(0.0, 400.0), max_size=8),
    st.lists(milliseconds(0.0, 40.0), max_size=8),
)
def test_timers_of_both_kinds_are_right_whatever_the_rate_does(rate, steps, sites, walls):
    fired, rung = [], []
    with pytest.MonkeyPatch.context() as patch:
        wall = Wall(patch)
        loop = PacedLoop(rate)
        loop.start_clock()
        began = wall.now
        for when in sites:
            loop.call_at(
                when, lambda when=when: fired.append((when, loop.time(), wall.now - began))
            )
        for number, after in enumerate(walls):
            loop.call_later_wall(after, lambda n=number: rung.append((n, wall.now - began)))
        total = 0.0
        for gap, what in steps:
            total += gap
            act = {"pause": loop.pause, "resume": loop.resume}.get(what)
            loop.call_later_wall(total, *((act,) if act else (loop.set_rate, what)))
        end = max(total, 40.0) + 1.0
        loop.call_later_wall(end, loop.stop)
        loop.run_forever()
        loop.close()
    assert [number for number, _ in rung] == sorted(range(len(walls)), key=lambda n: (walls[n], n))
    assert all(now == pytest.approx(walls[number], abs=1e-6) for number, now in rung)
    due = {when: expected_wall(rate, steps, when) for when in sites}
    for when, site, now in fired:
        assert site >= when - 1e-6 * max(1.0, when)
        assert now == pytest.approx(due[when], abs=1e-5)
    assert {when for when in sites if due[when] < end - 1e-3} <= {when for when, _, _ in fired}


def test_while_paused_nothing_in_site_time_falls_due_but_all_else_lives(wall):
    loop = PacedLoop(10.0)
    log = []
    loop.start_clock()
    loop.pause()
    loop.pause()
    assert loop.paused
    loop.call_later(1.0, log.append, "site")
    loop.call_later_wall(5.0, log.append, "wall")
    loop.call_soon_threadsafe(log.append, "thread")
    loop.call_later_wall(6.0, loop.stop)
    loop.run_forever()
    assert (log, loop.time(), wall.now) == (["thread", "wall"], 0.0, 1006.0)
    loop.resume()
    loop.call_later_wall(0.2, loop.stop)
    loop.run_forever()
    assert log == ["thread", "wall", "site"]
    assert loop.rate == 10.0
    assert not loop.paused
    loop.close()


def test_a_paused_loop_without_timers_waits_for_its_sockets_alone(wall):
    loop = PacedLoop(1.0)
    loop.pause()
    loop.call_at(1.0, print)
    with pytest.raises(StopIteration):
        loop.run_forever()
    assert wall.waits == [None]
    loop.close()


def test_a_wall_timer_that_is_cancelled_is_silent_and_leaves_no_trace(wall):
    timers, rung = WallTimers(), []
    made = [timers.add(float(number), lambda n=number: rung.append(n)) for number in range(1000)]
    for timer in made[:990]:
        timer.cancel()
        timer.cancel()
    assert len(timers) < 200
    assert timers.next() == 990.0
    for timer in timers.due(995.0):
        timer.fire()
        timer.fire()
        timer.cancel()
    assert rung == [990, 991, 992, 993, 994, 995]
    assert [timer.live for timer in made[995:997]] == [False, True]
    assert len(timers) == 4


def test_sleeping_in_wall_time_can_be_cut_short():
    async def main(env):
        loop = asyncio.get_running_loop()
        loop.pause()
        began = loop.wall_time()
        with pytest.raises(asyncio.TimeoutError):
            async with asyncio.timeout(0.0):
                await loop.sleep_wall(1000.0)
        await loop.sleep_wall(0.02)
        return loop.wall_time() - began

    assert 0.02 <= run(main, rate=1.0) < 10


@pytest.mark.parametrize("rate", [0.0, -1.0, nan, inf])
def test_a_rate_that_makes_no_sense_changes_nothing(rate):
    loop = PacedLoop(2.0)
    with pytest.raises(Misuse, match="not a number above 0"):
        loop.set_rate(rate)
    assert loop.rate == 2.0
    loop.close()


# The environment at a rate that changes. --------------------------------------------------------


def site(loop, now=0.0):
    env = Environment(now)
    return env, Pacer(env, loop)


def test_the_pacer_looks_as_often_whatever_the_rate_has_become(wall):
    class Kernel:
        def __init__(self):
            self.looks = []

        def advance(self, limit):
            self.looks.append(wall.now)
            return False

    loop = PacedLoop(1.0)
    env, pacer = site(loop)
    env.kernel = Kernel()
    pacer.start()
    loop.call_later_wall(1.0, loop.set_rate, 50.0)
    loop.call_later_wall(2.0, loop.set_rate, 0.02)
    loop.call_later_wall(3.0, loop.stop)
    loop.run_forever()
    looks = env.kernel.looks
    for second in range(3):
        here = [look for look in looks if 1000 + second < look <= 1001 + second]
        # The first look at the slowest rate is the one that was set before.
        assert 50 <= len(set(here)) <= 130 or second == 2
    loop.close()


def test_at_any_rate_a_slice_ends_before_clients_notice(wall):
    loop = PacedLoop(1e7)
    env, pacer = site(loop)

    def work(_event):
        wall.now += 0.001
        env.at(env.now + 1.0).callbacks.append(work)

    env.at(1.0).callbacks.append(work)
    pacer.start()
    for _ in range(3):
        wall.now += 10.0
        began = wall.now
        pacer.catch_up()
        assert wall.now - began < 0.02
    assert pacer.lag_seconds > 1e8
    loop.close()


@given(
    st.lists(milliseconds(0.001, 100.0), max_size=20),
    st.lists(milliseconds(0.001, 60.0), min_size=1, max_size=4),
    st.booleans(),
)
def test_advancing_passes_every_event_and_timer_at_its_instant(events, strides, paused):
    seen, rung = [], []
    with pytest.MonkeyPatch.context() as patch:
        Wall(patch)
        loop = PacedLoop(1.0)
        env, pacer = site(loop)
        for when in events:
            env.at(when).callbacks.append(lambda _e, when=when: seen.append((when, env.now)))
            loop.call_at(when, lambda when=when: rung.append((when, loop.time(), env.now)))
        pacer.start()
        if paused:
            loop.pause()

        async def main():
            for stride in strides:
                before = loop.time()
                await pacer.advance(stride)
                assert loop.time() == env.now == before + stride
            return loop.time()

        end = loop.run_until_complete(main())
        loop.close()
    assert end == pytest.approx(sum(strides))
    assert [when for when, _ in seen] == sorted(when for when in events if when <= end)
    assert all(when == now for when, now in seen)
    assert sorted(when for when, _, _ in rung) == sorted(w for w in events if w <= end)
    assert all(when == now == inside for when, now, inside in rung)


def test_advancing_leaves_sockets_alive_and_what_enters_comes_at_the_instant_reached():
    async def main(env):
        loop = asyncio.get_running_loop()

        def load(_event):
            env.at(env.now + 0.001, Priority.ARRIVAL).callbacks.append(load)

        with env.entered():
            load(None)
        answered = []

        async def serve(reader, writer):
            await reader.readline()
            with env.entered():
                answered.append((env.now, loop.time()))
            writer.write(b"here\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            ahead = asyncio.create_task(env.driver.advance(200.0))
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"where are you?\n")
                assert await reader.readline() == b"here\n"
                writer.close()
                await writer.wait_closed()
            assert not ahead.done()
            await ahead
        return answered, env.now

    answered, end = run(main, rate=1.0)
    assert all(inside == outside for inside, outside in answered)
    assert [now for now, _ in answered] == sorted(now for now, _ in answered)
    assert 0 < answered[-1][0] < 200.0 <= end


def test_advances_follow_one_another_and_a_lag_is_made_up_first(wall):
    loop = PacedLoop(1.0)
    env, pacer = site(loop)
    lags = []
    pacer.on_lag = lags.append
    for number in range(100):
        env.at(number * 0.1).callbacks.append(lambda _: setattr(wall, "now", wall.now + 0.01))
    pacer.start()

    async def main():
        wall.now += 5.0
        with env.entered():
            assert pacer.lag_seconds > 4
        await asyncio.gather(pacer.advance(3.0), pacer.advance(2.0))
        assert env.now >= 10.0
        assert pacer.lag_seconds == 0.0
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    assert lags[0] > 4
    assert lags[-1] == 0.0


@pytest.mark.parametrize("seconds", [-1.0, inf, nan])
def test_an_advance_that_makes_no_sense_is_refused(seconds):
    async def main(env):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(Misuse, match="seconds to advance"):
            await env.driver.advance(seconds)

    run(main, rate=1.0)


def test_a_failure_while_advancing_ends_the_run_with_that_error():
    original = NotFound("VM", "vm-1")

    async def main(env):
        def model():
            yield env.timeout(50)
            raise original

        env.process(model())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await env.driver.advance(100.0)

    with pytest.raises(NotFound) as caught:
        run(main, rate=1.0)
    assert caught.value is original


def test_an_environment_that_is_stopped_is_left_for_another_one():
    def nap(env):
        yield env.timeout(1)

    async def main(old):
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pacer = old.driver
        ahead = asyncio.create_task(pacer.advance(1e9))

        def endless(_event):
            old.at(old.now + 0.001, Priority.ARRIVAL).callbacks.append(endless)

        with old.entered():
            endless(None)
            waits = completed(old.event())
        await asyncio.sleep(0.01)
        await pacer.stop()
        with pytest.raises(Interrupted, match="replaced"):
            await ahead
        with pytest.raises(Interrupted, match="replaced"), old.entered():
            pass
        with pytest.raises(Interrupted, match="replaced"):
            await perform(old, nap(old))
        stood = old.now
        loop.hold(7.0)
        new, other = site(loop, 7.0)
        other.start()
        assert loop.time() == 7.0
        loop.release()
        await perform(new, nap(new))
        assert not waits.done()
        assert old.now == stood
        return new.now

    assert run(main, rate=100.0) >= 8.0
