"""Storing in a thread: in order, errors as they are, and nobody's buffers in use after a cancellation."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backup.bench import spec_of, two_vms
from stuntdouble.backup import InThread, Method, at_once, run_job
from stuntdouble.backup.chunks import Codec
from stuntdouble.ports import Kind


def test_calls_are_made_in_order_and_elsewhere():
    made = []

    async def main():
        with InThread() as storing:
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(storing(lambda n=number: made.append((n, here()))))
            await at_once(lambda: made.append((20, here())))

    asyncio.run(main())
    assert [number for number, _ in made] == list(range(21))
    assert {thread for _, thread in made[:20]} != {here()} == {made[20][1]}
    assert len({thread for _, thread in made[:20]}) == 1


def here():
    return threading.get_ident()


@pytest.mark.parametrize("inside", [False, True])
def test_an_error_is_raised_where_it_is_waited_for(inside):
    def fail():
        raise ValueError("a full disk")

    async def main():
        if not inside:
            await at_once(fail)
        with InThread() as storing:
            await storing(fail)

    with pytest.raises(ValueError, match="a full disk"):
        asyncio.run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_whoever_is_cancelled_waits_for_the_end_of_his_call(fails):
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        go_on.wait(30)
        ended.append(True)
        if fails:
            raise ValueError("too late to matter")

    async def main():
        with InThread() as storing:
            task = asyncio.create_task(storing(work))
            await asyncio.to_thread(begun.wait)
            for _ in range(3):  # however often
                task.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert not task.done()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert ended

    asyncio.run(main())


@pytest.mark.parametrize("method", [Method.SOFTWARE, Method.STORAGE])
def test_a_job_that_stores_beside_its_reading_restores_the_same(method):
    bench = two_vms()

    async def main():
        with InThread() as storing:
            for kind in (Kind.FULL, Kind.INCREMENTAL):
                report = await run_job(
                    spec_of(method, kind),
                    hypervisor=bench.hypervisor,
                    array=bench.array,
                    initiator=bench.initiator,
                    repository=bench.repository,
                    history=bench.history,
                    storing=storing,
                )
                assert report.ok

    asyncio.run(main())
    assert len(bench.repository.points()) > 1
    bench.check_restorable()
    bench.check_nothing_left()


def test_one_codec_serves_several_threads():
    codec = Codec(1 << 18)
    drawn = random.Random(1)
    chunks = [drawn.randbytes(1 << 16) * 4 for _ in range(32)]

    def there_and_back(plain):
        return codec.decode(codec.encode(plain), codec.name(plain), "a test") == plain

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(there_and_back, chunks * 4))
