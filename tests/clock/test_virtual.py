"""Virtual time: asyncio on the environment's heap."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import signal
import subprocess
import sys
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.clock import Environment, Priority, VirtualLoop, completed, perform, run
from stuntdouble.errors import Error, NoProgress, NotFound, Unsupported


def nap(env, seconds):
    yield env.timeout(seconds)
    return seconds


@given(st.lists(st.integers(0, 5), max_size=30))
def test_order_within_one_instant_equal_deadlines_wake_in_the_order_they_were_set(delays):
    async def main(env):
        woken = []

        async def sleeper(number):
            await asyncio.sleep(delays[number] + 1)
            woken.append((env.now, number))

        await asyncio.gather(*(sleeper(number) for number in range(len(delays))))
        return woken

    assert run(main) == sorted((delay + 1, number) for number, delay in enumerate(delays))


def test_order_within_one_instant_asyncio_callbacks_run_before_io():
    async def main(env):
        trace = []
        env.at(1.0, Priority.END).callbacks.append(lambda _: trace.append("end"))
        env.at(1.0, Priority.POST).callbacks.append(lambda _: trace.append("post"))
        await asyncio.sleep(1)
        for step in range(3):
            await asyncio.sleep(0)
            await completed(env.timeout(0))
            await perform(env, nap(env, 0))
            trace.append(step)
        await asyncio.sleep(1)
        return trace

    assert run(main) == [0, 1, 2, "post", "end"]


def test_the_time_of_the_loop_is_site_time():
    async def main(env):
        await asyncio.sleep(2.5)
        return env.now, asyncio.get_running_loop().time()

    assert run(main) == (2.5, 2.5)


def test_asyncio_works_unchanged():
    async def main(env):
        queue, slots, done = asyncio.Queue(), asyncio.Semaphore(2), []

        async def worker(number):
            async with slots:
                await asyncio.sleep(10)
                done.append((env.now, number))
                await queue.put(number)

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(worker(number))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(inf), 5)
        return done, [queue.get_nowait() for _ in range(4)], env.now

    assert run(main) == ([(10, 0), (10, 1), (20, 2), (20, 3)], [0, 1, 2, 3], 30)


def test_asyncio_runner_takes_the_loop():
    env = Environment(now=100.0)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(env)) as runner:
        loop = runner.get_loop()

        async def ahead():
            loop.call_soon_threadsafe(order.append, "soon")
            loop.call_later(3, order.append, "later")
            cancelled = loop.call_soon(order.append, "never")
            cancelled.cancel()
            loop.call_at(50, order.append, "overdue")
            await asyncio.sleep(5)
            assert loop.is_running()
            assert asyncio.current_task().get_name() == "task-1"

        order = []
        runner.run(ahead())
        assert not loop.is_running()
        assert not loop.is_closed()
        assert loop.get_task_factory() is None
    assert loop.is_closed()
    assert order == ["soon", "overdue", "later"]
    assert env.now == 105


def test_a_cancelled_getter_loses_no_item():
    async def main(env):
        queue = asyncio.Queue()
        getter = asyncio.create_task(queue.get())
        await asyncio.sleep(1)
        queue.put_nowait("extent")
        getter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await getter
        return queue.qsize()

    assert run(main) == 1


def test_context_variables_do_not_leak_between_tasks():
    name = contextvars.ContextVar("name", default="-")

    async def main(env):
        async def sets():
            name.set("a")
            await asyncio.sleep(1)

        async def gets():
            await asyncio.sleep(2)
            return name.get()

        async with asyncio.TaskGroup() as group:
            group.create_task(sets())
            getter = group.create_task(gets())
        return getter.result()

    assert run(main) == "-"


# Liveness.


def test_a_deadlock_names_each_waiter():
    async def forever():
        await asyncio.Event().wait()

    async def main(env):
        async with asyncio.TaskGroup() as group:
            group.create_task(forever(), name="backup of vm-1")
            group.create_task(forever())

    with pytest.raises(NoProgress) as caught:
        run(main)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(" waits at ")[0] for line in lines] == ["task-1", "backup of vm-1", "task-3"]
    assert all("test_virtual.py:" in line for line in lines)


def test_load_never_keeps_a_run_alive():
    async def main(env):
        arrivals = []

        def arrive(_event):
            arrivals.append(env.now)
            env.at(env.now + 1, Priority.ARRIVAL).callbacks.append(arrive)

        arrive(None)
        await asyncio.sleep(3.5)
        assert arrivals == [0, 1, 2, 3]
        await asyncio.Event().wait()

    with pytest.raises(NoProgress):
        run(main)


def test_io_that_somebody_awaits_keeps_the_run_alive():
    async def main(env):
        read = env.expect(env.event())
        env.at(7.0, Priority.END).callbacks.append(lambda _: read.succeed("data"))
        return await completed(read), env.now

    assert run(main) == ("data", 7.0)


def test_io_that_is_awaited_but_not_under_way_is_a_deadlock():
    async def main(env):
        await completed(env.expect(env.event()))

    with pytest.raises(NoProgress, match=r"task-1 waits at .*test_virtual\.py"):
        run(main)


def test_cancelled_timers_neither_hide_a_deadlock_nor_move_the_clock():
    seen = []

    async def main(env):
        seen.append(env)
        async with asyncio.timeout(3600):
            await asyncio.sleep(1)
        await asyncio.gather(asyncio.Event().wait(), asyncio.sleep(inf))

    with pytest.raises(NoProgress):
        run(main)
    assert seen[0].now == 1
    assert seen[0].peek() == inf


def test_a_deadlocked_clean_up_does_not_hide_the_first_deadlock():
    async def main(env):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    with pytest.raises(NoProgress) as caught:
        run(main)
    first = str(caught.value)
    (note,) = caught.value.__notes__
    assert first.rsplit(":", maxsplit=1)[-1] not in note
    assert "while tasks were cancelled" in note


# Failures.


def test_a_failing_model_that_nobody_awaits_ends_the_run_with_its_error():
    original = NotFound("VM", "vm-1")
    cleaned = []

    async def main(env):
        def model():
            yield env.timeout(1)
            raise original

        env.process(model())
        try:
            await asyncio.sleep(100)
        finally:
            await perform(env, nap(env, 5))  # clean-up still has its devices
            cleaned.append(env.now)

    with pytest.raises(NotFound) as caught:
        run(main)
    assert caught.value is original
    assert cleaned == [6]


def test_an_error_in_a_callback_ends_the_run():
    ended = []

    async def main(env):
        asyncio.get_running_loop().call_later(1, {}.__getitem__, "missing")
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(env.now)

    with pytest.raises(KeyError, match="missing"):
        run(main)
    assert ended == [1]


def test_an_error_that_no_task_took_ends_the_run():
    async def main(env):
        async def fails():
            raise Error("lost")

        lost = asyncio.create_task(fails())
        await asyncio.sleep(1)
        del lost
        gc.collect()
        await asyncio.sleep(100)

    with pytest.raises(Error, match="lost"):
        run(main)


def test_a_complaint_without_an_error_ends_the_run_and_the_first_counts():
    async def main(env):
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "first"})
        loop.call_exception_handler({"message": "second"})
        await asyncio.sleep(100)

    with pytest.raises(RuntimeError, match="first"):
        run(main)


def test_an_error_in_the_clean_up_of_a_left_over_task_is_raised():
    async def main(env):
        async def left():
            try:
                await asyncio.sleep(100)
            finally:
                raise Error("clean-up failed")

        task = asyncio.create_task(left())
        await asyncio.sleep(1)
        return task

    with pytest.raises(Error, match="clean-up failed"):
        run(main)


def test_keyboard_interrupt_cancels_the_tasks_and_lets_them_clean_up():
    log = []

    async def main(env):
        async def other():
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(1)
                log.append(("other", env.now))

        task = asyncio.create_task(other())
        env.at(3.0).callbacks.append(lambda _: signal.raise_signal(signal.SIGINT))
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            log.append(("main", env.now))
        return task

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert log == [("main", 4), ("other", 5)]


def test_keyboard_interrupt_in_a_step_propagates():
    cleaned = []

    async def main(env):
        def model():
            yield env.timeout(1)
            raise KeyboardInterrupt

        env.process(model())
        try:
            await asyncio.sleep(100)
        finally:
            cleaned.append(env.now)

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert cleaned == [1]


# Determinism.

PROGRAM = """
import asyncio, random
from stuntdouble.clock import run
junk = [object() for _ in range(random.randrange(10_000))]
async def main(env):
    log = []
    async def slow(number):
        try:
            await asyncio.sleep(100)
        finally:
            log.append(number)
    async def bad():
        await asyncio.sleep(3)
        raise ValueError
    left = [asyncio.create_task(slow(100 + number)) for number in range(20)]
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(slow(number))
            group.create_task(bad())
    except* ValueError:
        pass
    return log
log = run(main)
print(log)
"""


def test_twenty_processes_give_one_trace():
    traces = {
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True).stdout
        for _ in range(20)
    }
    assert len(traces) == 1
    (trace,) = traces
    assert sorted(map(int, trace.strip(b"[]\n").split(b","))) == [*range(40), *range(100, 120)]


# The outside world.


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: asyncio.open_connection("localhost", 1),
        lambda: asyncio.start_server(lambda r, w: None, "localhost", 0),
        lambda: asyncio.to_thread(print),
        lambda: asyncio.create_subprocess_exec("true"),
    ],
    ids=["client", "server", "thread", "subprocess"],
)
def test_sockets_and_threads_are_refused(attempt):
    async def main(env):
        with pytest.raises(Unsupported, match=r"virtual time.*in-process transport.*wall time"):
            await attempt()
        return "still running"

    assert run(main) == "still running"


def test_every_method_of_an_event_loop_works_or_is_refused():
    loop = VirtualLoop(Environment())
    refused = [
        name
        for name in vars(asyncio.AbstractEventLoop)
        if getattr(vars(VirtualLoop).get(name), "__name__", "") == "refuse"
    ]
    assert {"run_forever", "add_reader", "run_in_executor", "create_server"} <= set(refused)
    for name in refused:
        with pytest.raises(Unsupported, match=name):
            getattr(loop, name)()
    missing = {n for n in vars(asyncio.AbstractEventLoop) if n[0] != "_"} - set(vars(VirtualLoop))
    assert missing == set()
