"""The doors between asyncio, where workflows live, and SimPy, where devices do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, cast

import simpy

from stuntdouble.clock.environment import Environment
from stuntdouble.clock.pacer import PacedLoop, Pacer
from stuntdouble.clock.virtual import VirtualLoop
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from simpy.events import Event

T = TypeVar("T")


def completed(event: Event) -> asyncio.Future[Any]:
    """Return a future that finishes when *event* is processed.

    A failure arrives as the original exception object, not as SimPy's copy of it.
    """
    future = asyncio.get_running_loop().create_future()

    def settle(event: Event) -> None:
        event.defused = True
        if future.done():  # whoever waited has been cancelled
            return
        if event.ok:
            future.set_result(event.value)
        else:
            future.set_exception(cast("BaseException", event.value))

    if event.processed:
        settle(event)
    else:
        event.callbacks.append(settle)
    return future


async def perform(env: Environment, model: Generator[Event, Any, T]) -> T:
    """Run a device *model* to its end.

    When the caller is cancelled, the model is interrupted and its clean-up awaited, however often
    the caller is cancelled meanwhile; only then does the cancellation go on.  A model that fails
    raises its original error, also when it does so while it cleans up.
    """
    with env.entered():
        process = env.process(model)
    try:
        await _over(process)
    except asyncio.CancelledError:
        with env.entered():
            if process.is_alive:
                process.interrupt("cancelled")
        while not process.processed:
            with suppress(asyncio.CancelledError):
                await _over(process)
        if process.ok or isinstance(process.value, simpy.Interrupt):
            raise
    if not process.ok:
        raise cast("BaseException", process.value)
    return cast("T", process.value)


def _over(event: Event) -> asyncio.Future[None]:
    """Return a future that finishes when *event* is processed, well or not."""
    future = asyncio.get_running_loop().create_future()

    def settle(event: Event) -> None:
        event.defused = True
        if not future.done():
            future.set_result(None)

    event.callbacks.append(settle)
    return future


def run(main: Callable[[Environment], Coroutine[Any, Any, T]], *, rate: float = inf) -> T:
    """Run *main* in virtual time, or in wall time sped up *rate* times.

    Until its first await *main* builds the site; time does not pass and anything may be scheduled.
    Tasks left over when it ends are cancelled and may clean up.  Whatever fails first is raised.

    Raises:
        NoProgress: virtual time only; every task waits and nothing but load is left.
        Misuse: *rate* is not above 0.
    """
    if not rate > 0:
        raise Misuse("rate", f"{rate} is not above 0")
    env = Environment()
    loop: VirtualLoop | PacedLoop
    if rate == inf:
        # The type stubs call abstract what _refuse_the_rest fills in.
        loop = VirtualLoop(env)  # type: ignore[abstract]
        body = main(env)
    else:
        loop = PacedLoop(rate, env.now)
        body = _paced(main, env, Pacer(env, loop))
    runner = asyncio.Runner(loop_factory=lambda: loop)
    try:
        return runner.run(body)
    except BaseException as first:
        try:
            runner.close()
        except Exception as late:  # noqa: BLE001  (the first error is the one to raise)
            first.add_note(f"then, while tasks were cancelled: {late!r}")
        raise
    finally:
        runner.close()


async def _paced(
    main: Callable[[Environment], Coroutine[Any, Any, T]], env: Environment, pacer: Pacer
) -> T:
    asyncio.get_running_loop().call_soon(pacer.start)  # after main's first await
    return await main(env)
