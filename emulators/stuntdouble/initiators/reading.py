"""A read of many runs over a link: several requests under way, spans in order, at a throttle's pace.

items    [ 1 MiB ][ 1 MiB ]…[ 1 MiB ]    [64 KiB]      what the throttle counts as an I/O
spans    [        8 MiB             ]    [64 KiB]      neighbours: one buffer, one await
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from stuntdouble.errors import Error
from stuntdouble.ports import Span
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from stuntdouble.extents import Runs
    from stuntdouble.ports import Share, Throttle

SPAN_BYTES: Final = 8 * MIB
"""A span: large enough that an await costs nothing, small enough to hold several in memory."""

_AHEAD_BYTES: Final = 2 * SPAN_BYTES
"""What is read ahead of whoever takes the spans, at least: one under way while one is taken."""

GAP_BYTES: Final = 16 * KIB
"""What is read along between two extents, to make one request of them.  Measured over iSCSI: an
extent of 4 KiB takes 60 µs by itself, 12 with a gap of 16 KiB behind it, and as long as by itself
with 100 KiB."""

_KEPT_BYTES_MIN: Final = MIB
"""A shorter buffer than this is not worth the span's room that is kept for it.  Chosen."""


def carriers(runs: Runs, grain: int, gap: int) -> Runs:
    """Return what to ask a device for, to get *runs*: whole blocks, with small gaps read along.

    runs      [----aaa-bbb-----------c----]
    carriers  [----xxxxxxxx---------xx----]
    """
    wide = runs.align(grain)
    if not gap or len(wide) < 2:
        return wide
    first, stop = int(wide.starts[0]), int(wide.stops[-1])
    gaps = wide.complement(stop).clip(first, stop)
    small = gaps.lengths <= gap
    return wide | type(runs).from_arrays(gaps.starts[small], gaps.lengths[small])


def pieces(runs: Runs, span: Span) -> Iterator[Span]:
    """Yield what *span* holds of *runs*."""
    for start, length in runs.clip(span.offset, span.offset + len(span.data)):
        begin = start - span.offset
        yield Span(start, span.data[begin : begin + length])


class _Part:
    """A span that is being read: ``left`` of its items have not ended."""

    def __init__(self, offset: int, data: memoryview) -> None:
        self.offset = offset
        self.data = data
        self.left = 0
        self.whole = False  # every item of it has been started


class Reading:
    """Reads *runs*; see ``spans``.

    Args:
        read: starts a request, whose future ends when the buffer is filled.
        runs: what to read.
        throttle: what to share with other reads.
        request_bytes_max: the longest request that the server takes.
        zeroed: whether buffers must hold zeros.  Otherwise large ones are used again: fresh memory
            costs as much as receiving into it.
    """

    def __init__(
        self,
        read: Callable[[int, memoryview], asyncio.Future[None]],
        runs: Runs,
        throttle: Throttle,
        request_bytes_max: int,
        *,
        zeroed: bool = True,
    ) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._block = min(throttle.block_bytes, request_bytes_max)
        self._items = runs.blocks(self._block)
        self._next = 0
        self._parts: deque[_Part] = deque()
        self._zeroed = zeroed
        self._spare: list[bytearray] = []
        self._under_way = self._unread = 0
        self._due = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None
        self._over = False
        self._wake = asyncio.Event()
        self._share = throttle.join(self._follow)
        self._rate = self._share.bytes_per_second

    async def spans(self) -> AsyncIterator[Span]:
        """Yield the bytes in rising order; a span's are there until the next is asked for.

        The read lasts until its last byte is due by the throttle's rate, and leaves the throttle
        when nothing of it is under way any more.
        """
        try:
            self._pump()
            while self._next < len(self._items) or self._parts:
                part = await self._first()
                yield Span(part.offset, part.data)
                self._parts.popleft()
                self._unread -= len(part.data)
                self._keep(part.data)
                self._pump()
            while (ahead := self._due - self._loop.time()) > 0:  # noqa: ASYNC110  (no poll: a time)
                await asyncio.sleep(ahead)
        finally:
            self._leave()

    async def _first(self) -> _Part:
        """Return the first span, once all of it is here; raise what any request failed with."""
        while True:
            if self._failure is not None:
                raise self._failure
            if self._parts and self._parts[0].whole and not self._parts[0].left:
                return self._parts[0]
            self._wake.clear()
            await self._wake.wait()

    # What the throttle allows. -----------------------------------------------------------------

    def _follow(self, _share: Share) -> None:
        self._loop.call_soon(self._adapt)  # it may change again within the same call

    def _adapt(self) -> None:
        now, rate = self._loop.time(), self._share.bytes_per_second
        if rate != self._rate and self._due > now:  # what is owed is owed at the new rate
            self._due = now + ((self._due - now) * self._rate / rate if rate else 0.0)
        self._rate = rate
        self._pump()

    def _pump(self) -> None:
        """Start what may be started now."""
        if self._share.held > self._share.depth and self._under_way <= self._share.depth:
            self._share.settle()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._may_start():
            wait = self._due - self._loop.time()
            if wait > 0:
                self._timer = self._loop.call_later(wait, self._pump)
                return
            self._start()

    def _may_start(self) -> bool:
        if self._over or self._failure is not None or self._next >= len(self._items):
            return False
        if self._under_way >= self._share.depth:
            return False
        ahead = max(_AHEAD_BYTES, self._share.depth * self._block)
        return not self._parts or not self._parts[-1].whole or self._unread < ahead

    def _start(self) -> None:
        """Start the next item, in the span that it continues or in one of its own."""
        offset, length = self._items[self._next].tolist()
        if not self._parts or self._parts[-1].whole:
            self._parts.append(_Part(offset, self._buffer(self._span_bytes())))
            self._unread += len(self._parts[-1].data)
        part = self._parts[-1]
        begin = offset - part.offset
        part.left += 1
        part.whole = begin + length == len(part.data)
        self._next += 1
        self._under_way += 1
        if self._rate:
            self._due = max(self._due, self._loop.time()) + length / self._rate
        try:
            future = self._read(offset, part.data[begin : begin + length])
        except Error as error:  # for whoever takes the spans: this may be a callback
            self._under_way -= 1
            self._failure = error
            self._wake.set()
            return
        future.add_done_callback(lambda done: self._ended(part, done))

    def _buffer(self, length: int) -> memoryview:
        if self._zeroed or length < _KEPT_BYTES_MIN:
            return memoryview(bytearray(length))
        found = self._spare.pop() if self._spare else bytearray(SPAN_BYTES)
        return memoryview(found)[:length]

    def _keep(self, data: memoryview) -> None:
        """Keep the buffer of a span that was taken: all that was read into it has ended."""
        if not self._zeroed and len(data) >= _KEPT_BYTES_MIN:
            self._spare.append(cast("bytearray", data.obj))

    def _span_bytes(self) -> int:
        """Return how far neighbours of the next item go: up to a span, or a second at the rate."""
        most = min(SPAN_BYTES, int(self._rate) or SPAN_BYTES)
        first, stop = self._next, self._next + 1
        size = int(self._items[first, 1])
        while stop < len(self._items):
            offset, length = self._items[stop].tolist()
            if offset != int(self._items[first, 0]) + size or size + length > most:
                break
            size, stop = size + length, stop + 1
        return size

    def _ended(self, part: _Part, done: asyncio.Future[None]) -> None:
        self._under_way -= 1
        part.left -= 1
        if not done.cancelled() and (error := done.exception()) is not None:
            self._failure = self._failure or error
        self._wake.set()
        if not self._over:
            self._pump()
        elif not self._under_way:
            self._share.leave()

    def _leave(self) -> None:
        """Start nothing more; what is under way ends before the share is given back."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._under_way:
            self._share.leave()
