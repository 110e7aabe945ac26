"""What every part of the hypervisor works with: engine, clock, journal, named randomness."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stuntdouble.hypervisor.paging import Paging
from stuntdouble.hypervisor.quirks import Quirks

if TYPE_CHECKING:
    from stuntdouble.clock import Environment
    from stuntdouble.hypervisor.parameters import Parameters
    from stuntdouble.iops import Engine
    from stuntdouble.site import Site
    from stuntdouble.trace import Journal, Streams


@dataclass(frozen=True)
class Host:
    """The surroundings of a hypervisor; ``lan_station`` is its management network, or -1.

    ``quirks`` and ``paging`` begin as the parameters have them, and may be switched at run time.
    """

    engine: Engine
    streams: Streams
    journal: Journal
    parameters: Parameters
    lan_station: int = -1
    quirks: Quirks = field(default_factory=Quirks)
    paging: Paging = field(default_factory=Paging)

    @property
    def env(self) -> Environment:
        """The clock and queue of events."""
        return self.engine.env

    @property
    def site(self) -> Site:
        """Where the bytes and bitmaps are."""
        return self.engine.site

    def note(self, kind: str, subject: str, **facts: Any) -> None:
        """Note in the journal what has happened just now."""
        self.journal.note(self.env.now, kind, subject, **facts)

    def gauge(self, name: str, subject: str, value: float) -> None:
        """Note a value that holds from now on."""
        self.engine.meter.gauge(name, subject, self.env.now, value)
