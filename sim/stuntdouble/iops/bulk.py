"""Bulk reads for a workflow: one stream of I/O, spans of bytes, an await per span.

Time comes from the engine's stream, bytes from the site's maps once the stream has passed them.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from stuntdouble.clock import completed
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from simpy.events import Event

    from stuntdouble.extents import Runs
    from stuntdouble.iops.engine import Engine, StreamSpec

    Render = Callable[[int, int], Iterable[NDArray[np.uint8]]]

SPAN_BYTES: Final = 8 * MIB
"""A span: large enough that an await costs nothing, small enough to hold several in memory."""


class Part(Protocol):
    """What one read may do; see ``Pace``."""

    @property
    def depth(self) -> int:
        """I/Os under way at a time; 0 pauses the read."""
        ...

    @property
    def held(self) -> int:
        """I/Os that may be under way by now, ``depth`` or more."""
        ...

    @property
    def bytes_per_second(self) -> float:
        """Pace of the starts; 0 is as fast as it goes."""
        ...

    def settle(self) -> None:
        """Hear that no more than ``depth`` I/Os are under way."""
        ...

    def leave(self) -> None:
        """Hear that the read is over, and nothing of it under way."""
        ...


class Pace(Protocol):
    """How hard to read, together with all other reads that have joined the same pace."""

    @property
    def block_bytes(self) -> int:
        """Bytes of each I/O."""
        ...

    def join(self, changed: Callable[[Any], object], /) -> Part:
        """Return what a read may do; *changed* hears of it at once, and whenever it changes."""
        ...


class _Reading:
    """A stream that does what its part of a pace allows, at any instant.

    It counts what the pace has let through.  An I/O starts before its time is up, so at its end a
    read is ahead of its pace, by a block or more; whoever reads one small disk after another would
    stay ahead.  So a read lasts until its last byte is due.
    """

    def __init__(self, engine: Engine, spec: StreamSpec, pace: Pace) -> None:
        self.stream = engine.stream(replace(spec, depth=0))
        self._env = engine.env
        self._since = engine.env.now
        self._depth, self._rate = 0, 0.0
        self._due_bytes = 0.0
        self._lowered = 0
        self.part = pace.join(self._follow)

    def seconds_ahead(self, size: int) -> float:
        """Return how long it takes until *size* bytes are due, at the present pace.

        Less than a byte is rounding: waiting for it would not come to an end.
        """
        self._count()
        ahead = size - self._due_bytes
        return ahead / self._rate if self._rate and ahead >= 1 else 0.0

    def leave(self) -> None:
        """Stop, and leave the pace once nothing is under way any more."""
        if self.stream.finished.triggered:
            self.part.leave()
        else:
            self.stream.stop()
            self.stream.finished.callbacks.append(lambda _event: self.part.leave())

    def _follow(self, part: Part) -> None:
        with self._env.entered():
            self._count()
            self._depth, self._rate = part.depth, part.bytes_per_second
            self.stream.bytes_per_second, self.stream.depth = self._rate, self._depth
            self._lowered += 1
            if part.held > part.depth:
                # At most `held` are under way: when the surplus has ended, `depth` or fewer are.
                ended = self.stream.reached(self.stream.done + part.held - part.depth)
                ended.callbacks.append(partial(self._settle, part, self._lowered))

    def _settle(self, part: Part, lowered: int, _event: Event) -> None:
        if lowered == self._lowered:  # else another mark tells of it
            part.settle()

    def _count(self) -> None:
        """Note what has become due since the pace was counted last."""
        now = self._env.now
        if self._depth:
            self._due_bytes += (now - self._since) * self._rate
        self._since = now


async def read_bulk(
    engine: Engine,
    spec: StreamSpec,
    runs: Runs,
    pace: Pace,
    render: Render,
) -> AsyncIterator[tuple[int, memoryview]]:
    """Yield (offset, bytes) of *runs* in rising order.

    Args:
        engine: whose stream takes the time.
        spec: what the stream does; its items, depth and rate are filled in from *runs* and *pace*.
        runs: byte ranges.
        pace: queue depth, bytes of each I/O, and rate, shared with other reads.
        render: the bytes of (first content block, count), a row per block, in parts.
    """
    items = runs.blocks(pace.block_bytes)
    if not len(items):
        return
    with engine.env.entered():
        reading = _Reading(engine, replace(spec, items=items), pace)
    try:
        ends, first = np.cumsum(items[:, 1]), 0
        while first < len(items):
            stop = _span(ends, first, reading.part.bytes_per_second)
            with engine.env.entered():
                reached = reading.stream.reached(stop)
            await completed(reached)
            for start, length in _joined(items[first:stop]):
                for part in _parts(render, engine.site.block_bytes, start, length):
                    yield part
            first = stop
        # Again, as another read may have joined meanwhile: then the last byte is due later.
        while ahead := reading.seconds_ahead(int(ends[-1])):  # noqa: ASYNC110  (no poll: a time)
            await asyncio.sleep(ahead)
    finally:
        with engine.env.entered():
            reading.leave()


def _span(ends: NDArray[np.int64], first: int, rate: float) -> int:
    """Return where a span that begins with item *first* stops.

    It is SPAN_BYTES long, or what *rate* lets through in a second if that is less: so progress is
    seen about every second of site time.
    """
    size = min(SPAN_BYTES, rate or SPAN_BYTES)
    begin = ends[first - 1] if first else 0
    return max(int(np.searchsorted(ends, begin + size, side="right")), first + 1)


def _joined(items: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Join items that touch."""
    new = np.flatnonzero(items[1:, 0] != items[:-1, 0] + items[:-1, 1]) + 1
    firsts = np.concatenate(([0], new))
    lasts = np.concatenate((new, [len(items)])) - 1
    starts = items[firsts, 0]
    stops = items[lasts].sum(axis=1)
    return list(zip(starts.tolist(), (stops - starts).tolist(), strict=True))


def _parts(render: Render, size: int, start: int, length: int) -> Iterator[tuple[int, memoryview]]:
    first, stop = start // size, -(-(start + length) // size)
    at = first * size
    for rows in render(first, stop - first):
        data = rows.reshape(-1).data
        begin = max(start - at, 0)
        yield at + begin, data[begin : start + length - at]
        at += len(data)
