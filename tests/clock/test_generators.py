"""Asynchronous generators in virtual time: finalised, never leaked."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest

from stuntdouble.clock import Environment, VirtualLoop, run
from stuntdouble.errors import Error


async def ticks(env, log, name):
    try:
        while True:
            await asyncio.sleep(1)
            yield env.now
    finally:
        await asyncio.sleep(1)
        log.append((name, env.now))


def test_a_dropped_generator_is_finalised_at_once():
    async def main(env):
        log = []
        async for now in ticks(env, log, "dropped"):
            assert now == 1
            break
        gc.collect()
        await asyncio.sleep(5)
        return log

    assert run(main) == [("dropped", 2)]


def test_generators_left_open_are_closed_at_the_end_in_order():
    log, kept = [], []

    async def main(env):
        for number in range(5):
            kept.append(ticks(env, log, number))
            await anext(kept[-1])

    hooks = sys.get_asyncgen_hooks()
    run(main)
    assert log == [(number, 6) for number in range(5)]
    assert sys.get_asyncgen_hooks() == hooks


def test_an_error_in_closing_a_generator_is_raised():
    kept = []

    async def bad():
        try:
            yield 1
        finally:
            raise Error("cannot close")

    async def main(env):
        kept.append(bad())
        await anext(kept[0])

    with pytest.raises(Error, match="cannot close"):
        run(main)


def test_a_generator_dropped_after_the_end_stays_silent():
    env = Environment()
    loop = VirtualLoop(env)
    kept = []

    async def endless():
        while True:
            yield 1

    async def main():
        kept.append(endless())
        await anext(kept[0])

    loop.run_until_complete(main())
    loop.close()
    waiting = list(loop._ready)
    kept.clear()
    gc.collect()
    assert list(loop._ready) == waiting
    assert not env.live
