"""What happened, in order: phase marks, stuns, log lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stuntdouble.errors import Bug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Event:
    """At *time* (seconds of site time) something of this *kind* happened to *subject*."""

    time: float
    kind: str
    subject: str
    facts: dict[str, Any] = field(default_factory=dict)


class Journal:
    """An append-only list of events, in order of time.

    ``listeners`` are called with each event as it is noted, in the order they were added.
    """

    def __init__(self) -> None:
        self.listeners: list[Callable[[Event], object]] = []
        self._events: list[Event] = []

    def note(self, time: float, kind: str, subject: str, **facts: Any) -> Event:
        """Append an event; note it when it happens: Bug if *time* is before the latest one's."""
        if self._events and not time >= self._events[-1].time:
            raise Bug(f"{kind} of {subject} noted at {time} s, after {self._events[-1].time} s")
        event = Event(time, kind, subject, facts)
        self._events.append(event)
        for listener in self.listeners:
            listener(event)
        return event

    def of(self, kind: str) -> Iterator[Event]:
        """Yield the events of one kind, in order."""
        return (event for event in self._events if event.kind == kind)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)
