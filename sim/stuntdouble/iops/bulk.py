"""Bulk reads for a workflow: one stream of I/O, spans of bytes, an await per span.

Time comes from the engine's stream, bytes from the site's maps once the stream has passed them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from stuntdouble.clock import completed
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from numpy.typing import NDArray

    from stuntdouble.extents import Runs
    from stuntdouble.iops.engine import Engine, StreamSpec

SPAN_BYTES: Final = 8 * MIB
"""A span: large enough that an await costs nothing, small enough to hold several in memory."""


class Pace(Protocol):
    """How hard to read; depth and rate are looked at again before each span."""

    @property
    def depth(self) -> int:
        """I/Os under way at a time, at least 1: a paused read would never look again."""
        ...

    @property
    def block_bytes(self) -> int:
        """Bytes of each I/O."""
        ...

    @property
    def bytes_per_second(self) -> float:
        """Pace of the starts; 0 is as fast as it goes."""
        ...


async def read_bulk(
    engine: Engine,
    spec: StreamSpec,
    runs: Runs,
    pace: Pace,
    render: Callable[[int, int], NDArray[np.uint8]],
) -> AsyncIterator[tuple[int, memoryview]]:
    """Yield (offset, bytes) of *runs* in rising order.

    Args:
        engine: whose stream takes the time.
        spec: what the stream does; its items, depth and rate are filled in from *runs* and *pace*.
        runs: byte ranges.
        pace: queue depth, bytes of each I/O, and rate.
        render: the bytes of (first content block, count), a row per block.
    """
    items = runs.blocks(pace.block_bytes)
    if not len(items):
        return
    with engine.env.entered():
        stream = engine.stream(
            replace(spec, items=items, depth=pace.depth, bytes_per_second=pace.bytes_per_second)
        )
    try:
        ends, first = np.cumsum(items[:, 1]), 0
        while first < len(items):
            stop = _span(ends, first, pace)
            with engine.env.entered():
                stream.depth, stream.bytes_per_second = pace.depth, pace.bytes_per_second
                reached = stream.reached(stop)
            await completed(reached)
            for start, length in _joined(items[first:stop]):
                yield start, _bytes(render, engine.site.block_bytes, start, length)
            first = stop
    finally:
        if not stream.finished.triggered:
            with engine.env.entered():
                stream.stop()


def _span(ends: NDArray[np.int64], first: int, pace: Pace) -> int:
    """Return where a span that begins with item *first* stops.

    It is SPAN_BYTES long, or what the pace lets through in a second if that is less: so a change of
    pace is noticed within about a second of site time.
    """
    size = min(SPAN_BYTES, pace.bytes_per_second or SPAN_BYTES)
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


def _bytes(
    render: Callable[[int, int], NDArray[np.uint8]], size: int, start: int, length: int
) -> memoryview:
    first, stop = start // size, -(-(start + length) // size)
    data = render(first, stop - first).reshape(-1)
    return data.data[start - first * size :][:length]
