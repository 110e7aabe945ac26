"""What the parts of an array share: engine, inventory, journal, and whether it still answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from stuntdouble.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from simpy.events import Event

    from stuntdouble.array.hosts import Host
    from stuntdouble.array.parameters import Parameters
    from stuntdouble.array.pool import Pool, StationEngine
    from stuntdouble.array.volume import Inventory, Volume
    from stuntdouble.clock import Environment
    from stuntdouble.site import Site
    from stuntdouble.trace import Journal, Streams


def _nothing(_host: Host) -> object:
    return None


def _idle() -> object:
    return None


@dataclass(eq=False)
class Core:
    """An array's parts hold this; ``pools`` are by name.

    ``on_space_freed`` are called with the pool's name, as control, whenever reserve comes free: a
    hypervisor resumes the VMs whose writes were refused.  ``on_luns_changed`` are called after what
    a host sees has changed, ``on_resized`` after a volume has grown, both as control.
    ``masked_to`` tells what a host sees; ``sweep`` is called when something may not be in use any
    more, and deletes what has expired.
    """

    name: str
    engine: StationEngine
    streams: Streams
    journal: Journal
    parameters: Parameters
    inventory: Inventory
    pools: dict[str, Pool] = field(default_factory=dict)
    on_space_freed: list[Callable[[str], object]] = field(default_factory=list)
    on_luns_changed: list[Callable[[Host], object]] = field(default_factory=list)
    on_resized: list[Callable[[Volume], object]] = field(default_factory=list)
    masked_to: Callable[[Host], object] = _nothing
    sweep: Callable[[], object] = _idle
    lost: bool = False

    @property
    def env(self) -> Environment:
        """The clock."""
        return self.engine.env

    @property
    def site(self) -> Site:
        """Where the content is."""
        return self.engine.site

    def check_reachable(self) -> None:
        """Raise Unreachable once the array is lost."""
        if self.lost:
            raise Unreachable(self.name)

    def take(self, seconds: float) -> Generator[Event, Any, None]:
        """Let a request take *seconds*; Unreachable if the array is lost, before or meanwhile."""
        self.check_reachable()
        if seconds > 0:
            yield self.env.timeout(seconds)
            self.check_reachable()

    def note(self, kind: str, subject: str, **facts: Any) -> None:
        """Append an event to the journal."""
        self.journal.note(self.env.now, kind, subject, array=self.name, **facts)

    def tell_luns_changed(self, host: Host) -> None:
        """Tell whoever listens that a host sees other LUNs than before."""
        for tell in self.on_luns_changed:
            tell(host)

    def new_naa(self, name: str) -> str:
        """Return the identifier of a new volume or snapshot: 128 bits, NAA type 6 (SPC-5, 7.7.6.6).

        A stream for each name: one more shifts no other's identifier, and what is made again under
        an old name has another one.
        """
        return "6000" + self.streams["naa", self.name, name].hex(28)

    def new_uuid(self, name: str) -> str:
        """Return a random UUID (RFC 9562, version 4) for a new volume or snapshot."""
        return str(UUID(self.streams["uuid", self.name, name].hex(32), version=4))

    def gauge(self) -> None:
        """Note how much of the snapshot reserves is in use, and what mirrors take."""
        meter, now = self.engine.meter, self.env.now
        used = sum(pool.reserve_used_bytes + pool.mirrored_bytes for pool in self.pools.values())
        meter.gauge("snapshot_bytes", self.name, now, used)
        for pool in self.pools.values():
            meter.gauge("reserve_free_bytes", pool.name, now, pool.reserve_free_bytes)
