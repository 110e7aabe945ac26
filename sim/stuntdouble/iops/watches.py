"""Watches: who waits until I/O has driven a quantity to a threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from simpy.events import Event


class Watch(NamedTuple):
    """A quantity, what it has to reach, and the event that happens when it has."""

    quantity: Callable[[], float]
    threshold: float
    event: Event


class Watches(list[Watch]):
    """Those that are neither met nor called off, in the order in which they came."""

    def check(self) -> None:
        """Let those happen that are met by now; whoever triggered an event has called it off."""
        still = []
        for watch in self:
            if watch.event.triggered:
                continue
            if watch.quantity() >= watch.threshold:
                watch.event.succeed()
            else:
                still.append(watch)
        self[:] = still
