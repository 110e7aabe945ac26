"""What goes on in a run, told to the meter while it does.

The meter keeps no row of its own for each I/O, so what the guests feel in a phase has to be kept
apart as it happens.  The same phases as in ``spans``, which knows them from the reports afterwards:

    before         from the beginning to the first job
    job            while a job runs
    reading        while a VM is being read
    consolidating  while deltas of a VM are being merged
    after          from the last job to the end
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stuntdouble.iops import Meter
    from stuntdouble.trace import Event, Journal

_STARTS: Final = {
    "job-start": "job",
    "reading-start": "reading",
    "consolidation-start": "consolidating",
}
_ENDS: Final = {"job-end": "job", "reading-end": "reading", "consolidation": "consolidating"}


class Stages:
    """Listens to a journal, and tells the meter when something begins or ends."""

    def __init__(self, journal: Journal, meter: Meter) -> None:
        self._meter = meter
        self._going_on: set[tuple[str, str]] = set()
        journal.listeners.append(self._hear)

    def begin(self, time: float) -> None:
        """Say that the run begins: it is before the first job."""
        self._meter.begin(time)
        self._turn(time, {("before", "")})

    def tell(self, time: float, kind: str, subject: str) -> None:
        """Say that a milestone is reached: which need not be one of the journal's."""
        now = set(self._going_on)
        if kind in _STARTS:
            now.add((_STARTS[kind], subject))
        if kind in _ENDS:
            now.discard((_ENDS[kind], subject))
        if kind == "job-start":
            now.discard(("before", ""))
        self._turn(time, now)

    def after(self, time: float) -> None:
        """Say that the last job is over."""
        self._turn(time, self._going_on | {("after", "")})

    def end(self, time: float) -> None:
        """Say that the run is over."""
        self._turn(time, set())

    def _hear(self, event: Event) -> None:
        self.tell(event.time, event.kind, event.subject)

    def _turn(self, time: float, now: set[tuple[str, str]]) -> None:
        if now != self._going_on:
            self._going_on = now
            self._meter.turn(time, *(word for word, _ in now))
