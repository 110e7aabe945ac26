"""Wall time: the pacer drives, never blocks, and says when it lags."""

from __future__ import annotations

import asyncio
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clockwork import Clockwork
from stuntdouble.clock import Environment, PacedLoop, Pacer, Priority, completed, perform, run
from stuntdouble.errors import Bug, NotFound

pytestmark = pytest.mark.paced
RATE = 100.0


def driven(rate=1.0):
    env, loop = Environment(), Clockwork(rate)
    pacer = Pacer(env, loop)
    return env, loop, pacer


def spending(env, loop, seconds):
    """Return a callback that costs wall time."""

    def callback(_event):
        loop.now += seconds * loop.rate

    return callback


def test_it_wakes_for_the_next_event_and_sleeps_when_there_is_none():
    env, loop, pacer = driven()
    pacer.start()
    assert loop.next_wake() == inf
    with env.entered():
        env.at(5.0)
    with env.entered():
        env.at(3.0)
    assert loop.next_wake() == 3.0
    with env.entered():
        env.at(1.0)
    assert loop.next_wake() == 1.0  # an earlier event moves the timer
    with env.entered():
        env.at(2.0)
    assert [timer.moment for timer in loop.timers] == [5.0, 3.0, 1.0]  # a later one leaves it alone
    assert [timer.live for timer in loop.timers] == [False, False, True]
    for expected in (2.0, 3.0, 5.0, inf):
        loop.wake()
        assert loop.next_wake() == expected
    assert env.now == 5.0


def test_it_looks_every_ten_milliseconds_while_io_is_awaited():
    env, loop, pacer = driven(rate=2.0)
    pacer.start()
    with env.entered():
        read = env.expect(env.event())
    assert loop.next_wake() == pytest.approx(0.02)
    loop.wake()
    assert loop.next_wake() == pytest.approx(0.04)
    with env.entered():
        read.succeed()
    loop.wake()
    assert loop.next_wake() == inf


def test_it_looks_every_ten_milliseconds_while_a_kernel_has_load():
    class Kernel:
        def __init__(self):
            self.limits = []

        def advance(self, limit):
            self.limits.append(limit)
            return False

    env, loop, pacer = driven()
    env.kernel = Kernel()
    pacer.start()
    assert env.horizon == 0.0
    for _ in range(5):
        loop.wake()
    assert loop.next_wake() == pytest.approx(0.06)
    assert max(env.kernel.limits) == env.horizon == env.now == pytest.approx(0.05)  # never past it


def test_horizon_io_stops_at_the_caught_up_instant_and_what_enters_comes_before_it():
    env, loop, pacer = driven()
    trace = []
    env.at(1.0, Priority.END).callbacks.append(lambda _: trace.append("end"))
    pacer.start()
    loop.now = 1.0
    with env.entered():
        env.at(1.0).callbacks.append(lambda _: trace.append("entered"))
    loop.now = 1.5
    with env.entered():
        trace.append(env.now)
    assert trace == ["entered", "end", 1.5]


def test_a_slice_ends_after_five_milliseconds_and_the_lag_is_told():
    env, loop, pacer = driven()
    lags = []
    pacer.on_lag = lags.append
    for number in range(1, 101):
        env.at(1e6 + number * 0.001).callbacks.append(spending(env, loop, 0.002))
    pacer.start()
    loop.now = 1e6
    pacer.catch_up()  # a long idle gap, after which the pieces start small again
    loop.now += 1.0
    slices = 0
    while pacer.lag_seconds > 0 or slices == 0:
        began, before = loop.now, env.now
        pacer.catch_up()
        slices += 1
        # The first piece is sized by a guess; from then on a piece is two events.
        assert loop.now - began <= (0.0201 if slices == 1 else 0.0095)
        assert env.now > before
    assert slices > 20
    for callback, args in loop.soon:
        callback(*args)
    assert lags[-1] == 0.0
    assert all(lag > 0 for lag in lags[:-1])
    assert len(lags) == slices
    assert env.now >= 1e6 + 1.0


def test_a_long_idle_gap_is_crossed_at_once():
    env, loop, pacer = driven()
    pacer.start()
    loop.now = 1e6
    with env.entered():
        assert env.now == 1e6
    assert pacer.lag_seconds == 0


def test_what_enters_while_time_lags_takes_effect_at_the_lagging_instant():
    env, loop, pacer = driven()
    for number in range(1, 11):
        env.at(float(number), Priority.END).callbacks.append(spending(env, loop, 1.0))
    pacer.start()
    loop.now = 10.0
    with env.entered():
        entered_at = env.now
    assert 1.0 < entered_at < 3.0
    assert pacer.lag_seconds == 10.0 - entered_at


def test_it_makes_up_a_lag_at_once():
    class Kernel:
        def advance(self, limit):
            loop.now += 0.006
            return False

    env, loop, pacer = driven()
    env.kernel = Kernel()
    pacer.start()
    loop.now = 10.0
    loop.wake()
    assert pacer.lag_seconds > 9
    assert loop.next_wake() <= 10.0


def test_a_slow_step_cuts_the_pieces_no_finer_than_a_thousandth_of_a_poll():
    env, loop, pacer = driven()
    env.at(0.0).callbacks.append(spending(env, loop, 1e6))
    pacer.start()
    loop.wake()
    assert pacer._piece == 0.010 / 1024


def test_a_failure_in_a_step_is_told_as_the_original_and_the_rest_goes_on():
    env, loop, pacer = driven()
    original = NotFound("VM", "vm-1")
    trace = []

    def model():
        yield env.timeout(1)
        raise original

    env.process(model())
    env.at(2.0).callbacks.append(lambda _: trace.append(env.now))
    pacer.start()
    loop.wake()
    with pytest.raises(NotFound):
        loop.wake()
    assert loop.reported == [original]
    assert loop.next_wake() == 2.0
    loop.wake()
    assert trace == [2.0]


# On a real loop.


@given(st.floats(0.001, 1000), st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0, 1e4))
def test_the_clock_of_the_loop_is_site_time_at_its_rate(rate, now, origin, elapsed):
    loop = PacedLoop(rate, now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "time", lambda _: wall[0])
        wall = [origin]
        assert loop.time() == now
        loop.start_clock()
        wall = [origin + elapsed]
        assert loop.time() == pytest.approx(now + elapsed * rate)
    loop.close()


def test_tasks_are_numbered_as_in_virtual_time():
    async def main(env):
        other = asyncio.create_task(asyncio.sleep(0), name="other")
        await other
        return [(hash(t), t.get_name()) for t in (asyncio.current_task(), other)]

    assert run(main, rate=RATE) == run(main) == [(1, "task-1"), (2, "other")]


def test_the_first_of_several_failures_counts():
    async def main(env):
        for number in range(3):
            asyncio.get_running_loop().call_soon({}.__getitem__, number)
        await asyncio.sleep(1e6)

    with pytest.raises(KeyError, match="0"):
        run(main, rate=RATE)


def test_the_clock_stands_until_the_first_await():
    async def main(env):
        loop = asyncio.get_running_loop()
        env.timeout(1)  # building a site needs no door
        assert (loop.time(), env.now, env.driver) == (0.0, 0.0, None)
        await asyncio.sleep(1)
        assert env.driver is not None
        with pytest.raises(Bug, match="entered"):
            env.timeout(1)
        return loop.time()

    assert run(main, rate=RATE) >= 1


def test_the_loop_stays_free_to_serve_sockets():
    async def main(env):
        def load(_event):
            env.at(env.now + 0.01, Priority.ARRIVAL).callbacks.append(load)

        load(None)

        async def serve(reader, writer):
            await perform(env, reading(env))
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"inquiry\n")
            reply = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return reply

    def reading(env):
        yield env.timeout(1)

    assert run(main, rate=RATE) == b"inquiry\n"


def test_an_event_that_only_a_kernel_knows_of_wakes_its_waiter():
    class Kernel:
        done = None

        def advance(self, limit):
            if self.done is None or limit <= 2.0:
                return False
            env_event, self.done = self.done, None
            control = env_event.env.at(2.0)
            control.callbacks.append(lambda _: env_event.succeed("read"))
            return True

    async def main(env):
        env.kernel = Kernel()
        env.kernel.done = env.expect(env.event())
        return await completed(env.kernel.done)

    assert run(main, rate=RATE) == "read"


def test_a_failure_in_a_step_ends_the_run_with_that_error_after_clean_up():
    original = NotFound("VM", "vm-1")
    cleaned = []

    def wait(env, seconds):
        yield env.timeout(seconds)

    async def main(env):
        def model():
            yield env.timeout(1)
            raise original

        env.process(model())
        try:
            await asyncio.sleep(1e6)
        finally:
            await perform(env, wait(env, 1))
            cleaned.append("clean")

    with pytest.raises(NotFound) as caught:
        run(main, rate=RATE)
    assert caught.value is original
    assert cleaned == ["clean"]


def test_a_failure_wins_over_what_it_makes_of_the_workflow():
    async def main(env):
        env.at(1.0).callbacks.append(lambda _: 1 / 0)
        await asyncio.sleep(0)
        while asyncio.get_running_loop().time() < 2.0:
            pass  # nothing is stepped meanwhile
        with pytest.raises(ZeroDivisionError), env.entered():
            pass
        return "looks well"

    with pytest.raises(ZeroDivisionError):
        run(main, rate=RATE)


def test_a_client_that_breaks_its_connection_ends_nothing_but_a_bug_does():
    def complain(env, error):
        context = {"message": "in a protocol", "exception": error, "transport": None}
        asyncio.get_running_loop().call_exception_handler(context)

    async def broken(env):
        complain(env, ConnectionResetError())
        asyncio.get_running_loop().call_exception_handler({"message": "no error at all"})
        await asyncio.sleep(0)
        return "served on"

    async def bug(env):
        complain(env, Bug("invariant"))
        await asyncio.sleep(1e6)

    assert run(broken, rate=RATE) == "served on"
    with pytest.raises(Bug, match="invariant"):
        run(bug, rate=RATE)


def test_the_workflow_raises_its_own_error_when_no_step_failed():
    async def main(env):
        await asyncio.sleep(1)
        raise NotFound("job", "nightly")

    with pytest.raises(NotFound):
        run(main, rate=RATE)


def test_a_failure_after_the_end_of_the_workflow_is_raised_all_the_same():
    loop = PacedLoop(RATE)

    async def main():
        return "done"

    assert loop.run_until_complete(main()) == "done"
    loop.call_exception_handler({"message": "late", "exception": NotFound("VM", "vm-1")})
    with pytest.raises(NotFound):
        loop.run_until_complete(main())
    loop.close()
