"""A site from its start to its end: made, opened, told about, ended by a signal or in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from stuntdouble.clock import PacedLoop
from stuntdouble.errors import Misuse
from stuntdouble.results.files import check_file, write_whole
from stuntdouble.serve.endpoints import endpoints
from stuntdouble.serve.live import LiveSite
from stuntdouble.serve.reviving import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stuntdouble.serve.endpoints import Endpoint, Options
    from stuntdouble.serve.listening import Listening
    from stuntdouble.serve.reviving import Origin

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Ready:
    """What is told once every endpoint listens."""

    origin: Origin
    options: Options
    listening: tuple[Listening, ...]

    def document(self) -> str:
        """Return it as the ready file has it."""
        return (
            json.dumps(
                {
                    "pid": os.getpid(),
                    "version": version("stuntdouble"),
                    "scenario": self.origin.scenario.name,
                    "seed": self.origin.seed,
                    "rate": self.options.rate,
                    "endpoints": {each.name: asdict(each) for each in self.listening},
                },
                indent=2,
            )
            + "\n"
        )


def serve(
    origin: Origin,
    options: Options,
    *,
    ready: Callable[[Ready], object],
    on_lag: Callable[[PacedLoop, float], object],
    watch: Callable[[LiveSite], object],
    ready_file: Path | None = None,
    duration_seconds: float | None = None,
) -> int | None:
    """Serve a site until a signal, an error, or for *duration_seconds* of wall time.

    Args:
        origin: what the site is made of.
        options: which endpoints, and where.
        ready: called once every endpoint listens, after the ready file has been written.
        on_lag: called as the site falls behind its clock, and with 0 once it has made up for it.
        watch: called once the site runs; what it needs to show how it fares.
        ready_file: where to write where the endpoints are; removed at the end.
        duration_seconds: for how long; None is until a signal comes.

    Returns:
        The signal that ended it, or None.

    Raises:
        Misuse: an address cannot be listened at, or the file not be written.
        Exception: the first thing that failed in the site.
    """
    options.check()
    if ready_file is not None:
        check_file(ready_file)
        _remove(ready_file)  # it would tell of a site that has ended
    world = made(origin)
    loop = PacedLoop(options.rate, world.env.now)

    async def main() -> int | None:
        live = LiveSite(origin, world, loop, lambda seconds: on_lag(loop, seconds))
        opened: list[Listening] = []
        parts = endpoints(live, options, opened)
        if not parts:
            raise Misuse("serve", "no endpoint is asked for: name one, as in --native 127.0.0.1:0")
        with _signals(loop) as end:
            live.start()
            try:
                for part in parts:
                    opened.append(await part.start())  # noqa: PERF401  (parts look at it meanwhile)
                told = Ready(origin, options, tuple(opened))
                with _file(ready_file, told.document()):
                    watch(live)
                    ready(told)
                    if duration_seconds is not None:
                        loop.call_later_wall(duration_seconds, _over, end, None)
                    return await end
            finally:
                await _stop(parts)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


@contextmanager
def _signals(loop: PacedLoop) -> Iterator[asyncio.Future[int | None]]:
    """Yield what is set to the first signal that comes."""
    end: asyncio.Future[int | None] = loop.create_future()
    for number in SIGNALS:
        loop.add_signal_handler(number, _over, end, int(number))
    try:
        yield end
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _over(end: asyncio.Future[int | None], number: int | None) -> None:
    if not end.done():
        end.set_result(number)


async def _stop(parts: list[Endpoint]) -> None:
    """Stop every endpoint side by side, whatever becomes of the others."""
    await asyncio.gather(*(part.stop() for part in parts), return_exceptions=True)


@contextmanager
def _file(path: Path | None, text: str) -> Iterator[None]:
    """Have a file there, whole, for as long as the block takes."""
    if path is None:
        yield
        return
    write_whole(path, text)
    try:
        yield
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_file():  # nor is a pipe or a device ours
        with suppress(OSError):  # somebody has removed it, or its directory
            path.unlink()
