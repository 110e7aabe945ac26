"""Timers in wall time, for what guards sockets on a loop whose own clock is site time."""

from __future__ import annotations

import itertools
import selectors
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CANCELLED_MAX: Final = 64  # fewer dead timers than this are not worth rebuilding the heap


class Selector(selectors.DefaultSelector):
    """A selector that asks how long it may wait, and tells when it has waited.

    Args:
        wait: turns the loop's own seconds into wall seconds; None is for ever.
        waited: called after each wait, before what was found is handled.
    """

    def __init__(
        self, wait: Callable[[float | None], float | None], waited: Callable[[], object]
    ) -> None:
        super().__init__()
        self._wait = wait
        self._waited = waited

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, after the loop's *timeout* at the latest."""
        found = super().select(self._wait(timeout))
        self._waited()
        return found


class WallTimer:
    """A callback that waits for its wall time; ``cancel`` it when it is not wanted any more."""

    def __init__(self, timers: WallTimers, callback: Callable[[], object]) -> None:
        self._timers = timers
        self._callback: Callable[[], object] | None = callback

    @property
    def live(self) -> bool:
        """Whether it is still to call back."""
        return self._callback is not None

    def cancel(self) -> None:
        """Do not call back; idempotent, and without effect once it has."""
        if self._callback is not None:
            self._callback = None
            self._timers.cancelled()

    def fire(self) -> None:
        """Call back, once, unless cancelled."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class WallTimers:
    """A heap of timers; of equal ones, the first set is the first due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, WallTimer]] = []
        self._serials = itertools.count()
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, when: float, callback: Callable[[], object]) -> WallTimer:
        """Set a timer for wall time *when*."""
        timer = WallTimer(self, callback)
        heappush(self._heap, (when, next(self._serials), timer))
        return timer

    def cancelled(self) -> None:
        """Count a timer that will not call back; sweep when they are many."""
        self._cancelled += 1
        if self._cancelled > max(_CANCELLED_MAX, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].live]
            heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float | None:
        """Return when the next one is due, or None."""
        heap = self._heap
        while heap and not heap[0][2].live:
            heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[WallTimer]:
        """Take out and yield the timers that are due by *now*, in order."""
        while (when := self.next()) is not None and when <= now:
            yield heappop(self._heap)[2]
