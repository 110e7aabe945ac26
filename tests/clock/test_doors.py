"""The doors between asyncio and SimPy, on both clocks."""

from __future__ import annotations

import asyncio
from math import inf, nan

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.clock import completed, perform, run
from stuntdouble.errors import LunInUse, Misuse

CLOCKS = pytest.mark.parametrize(
    "rate",
    [
        pytest.param(inf, id="virtual"),
        pytest.param(20.0, id="paced-20x", marks=pytest.mark.paced),
    ],
)
# Site seconds a milestone may be late: a second of wall time, for machines that have more to do.
SLACK_SECONDS = {inf: 1e-9, 20.0: 20.0}


def io(env, disk, count, service=0.1):
    for _ in range(count):
        with disk.request() as slot:
            yield slot
            yield env.timeout(service)
    return count


@CLOCKS
def test_the_same_workflow_reaches_the_same_milestones_on_both_clocks(rate):
    async def main(env):
        clock = asyncio.get_running_loop().time
        disk = simpy.Resource(env, 2)
        milestones = []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(perform(env, io(env, disk, 5))) for _ in range(4)]
        milestones.append(("queued", clock()))
        await asyncio.sleep(1)
        milestones.append(("slept", clock()))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await perform(env, io(env, disk, 1000))
        milestones.append(("timed out", clock()))
        assert [task.result() for task in tasks] == [5] * 4
        assert (disk.count, disk.queue) == (0, [])
        return milestones

    expected = [("queued", 1.0), ("slept", 2.0), ("timed out", 2.5)]
    reached = run(main, rate=rate)
    assert [name for name, _ in reached] == [name for name, _ in expected]
    for (_, when), (_, should) in zip(reached, expected, strict=True):
        assert should - 1e-9 <= when <= should + SLACK_SECONDS[rate]


@CLOCKS
def test_a_failure_of_a_model_arrives_as_the_original_object(rate):
    raised = []

    def model(env):
        yield env.timeout(0.1)
        raised.append(LunInUse(7, "iqn.2000-01.com.example:host"))
        raised[-1].add_note("while promoting")
        raise raised[-1]

    async def main(env):
        caught = []
        with pytest.raises(LunInUse) as error:
            await perform(env, model(env))
        caught.append(error.value)
        with env.entered():
            process = env.process(model(env))
        with pytest.raises(LunInUse) as error:
            await completed(process)
        caught.append(error.value)
        with pytest.raises(LunInUse) as error:
            await completed(process)  # also when it is long over
        caught.append(error.value)
        return caught

    first, second, third = run(main, rate=rate)
    assert first is raised[0]
    assert second is third is raised[1]
    assert first.__notes__ == ["while promoting"]


@CLOCKS
def test_perform_awaits_the_clean_up_of_the_interrupted_model(rate):
    log = []

    def model(env):
        try:
            yield env.timeout(100)
        finally:
            yield env.timeout(2)
            log.append("clean")

    async def main(env):
        clock = asyncio.get_running_loop().time
        task = asyncio.create_task(perform(env, model(env)))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(0.5)
        task.cancel()  # a second cancellation loses nothing
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        log.append("cancelled")
        return clock()

    assert 3 <= run(main, rate=rate) <= 3 + SLACK_SECONDS[rate]
    assert log == ["clean", "cancelled"]


def test_a_model_that_fails_in_its_clean_up_raises_that():
    def model(env):
        try:
            yield env.timeout(100)
        finally:
            yield env.timeout(1)
            raise LunInUse(1, "host")

    async def main(env):
        task = asyncio.create_task(perform(env, model(env)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(LunInUse):
            await task
        return env.now

    assert run(main) == 2


def test_a_model_may_swallow_the_interrupt_yet_the_cancellation_goes_on():
    def model(env):
        try:
            yield env.timeout(100)
        except simpy.Interrupt:
            return "half done"

    async def main(env):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await perform(env, model(env))
        return env.now

    assert run(main) == 1


@given(st.integers(0, 30), st.integers(0, 3))
def test_a_cancellation_at_any_point_frees_the_device(when, extra):
    async def main(env):
        disk = simpy.Resource(env, 1)
        tasks = [asyncio.create_task(perform(env, io(env, disk, 3, 2.5))) for _ in range(3)]
        await asyncio.sleep(when)
        for _ in range(extra):
            await asyncio.sleep(0)
        tasks[1].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == results[2] == 3
        assert results[1] == 3 or isinstance(results[1], asyncio.CancelledError)
        return disk.count, disk.queue, env.live

    assert run(main) == (0, [], False)


def test_cancelled_in_the_instant_of_its_end_the_model_is_over_all_the_same():
    async def main(env):
        process = []

        def model():
            yield env.timeout(1)

        async def worker():
            await perform(env, model())

        task = asyncio.create_task(worker())
        await asyncio.sleep(0.5)
        env.at(1.0).callbacks.append(lambda _: task.cancel())  # triggered, not yet processed
        with pytest.raises(asyncio.CancelledError):
            await task
        process.append(env.now)
        return process

    assert run(main) == [1.0]


def test_whoever_stops_waiting_for_an_event_takes_its_failure_along():
    async def main(env):
        event = env.event()
        waiter = completed(event)
        waiter.cancel()
        event.fail(LunInUse(1, "host"))
        await asyncio.sleep(1)
        assert waiter.cancelled()
        done = env.timeout(1, "value")
        await asyncio.sleep(2)
        return await completed(done)

    assert run(main) == "value"


@pytest.mark.parametrize("rate", [0, -1, nan])
def test_a_rate_is_above_zero(rate):
    async def main(env):
        raise AssertionError

    with pytest.raises(Misuse, match="rate"):
        run(main, rate=rate)
