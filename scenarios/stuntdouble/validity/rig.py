"""A test rig: one volume, one guest and an engine, without the hypervisor and array around them.

What is held against theory or against a single device must not have anything else in its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.clock import Environment
from stuntdouble.iops import Geometry, Raid, Recorder, link
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.lab import thick_disk
from stuntdouble.site import Site

if TYPE_CHECKING:
    from stuntdouble.iops import Guest, Latencies, Load, Service

BLOCK_BYTES: Final = 4096
"""A content block, and the I/O of every load that is held against theory."""

VM: Final = "vm"


def fixed(seconds: float) -> Service:
    """Return a server whose visits all take the same time."""
    return link(float("inf"), seconds)


class Rig:
    """A volume on stations of its own, a thick virtual disk that fills it, and an engine.

    Args:
        services: the stations; the volume is striped over them.
        servers: of each station.
        blocks: size of the disk in content blocks.
        chunk_blocks: what the volume's snapshots copy or redirect at a time.
        stripe_bytes: how much of the volume lies on a station before the next one's turn.
        raid: how the stations keep the blocks.
        stroke: size of each station in bytes, where it is a disk.
        seed: of what the stations draw.
    """

    def __init__(
        self,
        *services: Service,
        servers: int = 1,
        blocks: int = 1 << 12,
        chunk_blocks: int = 16,
        stripe_bytes: int = BLOCK_BYTES,
        raid: Raid = Raid.RAID0,
        stroke: int = 1 << 31,
        seed: int = 1,
    ) -> None:
        self.env = Environment()
        self.site = Site()
        self.recorder = Recorder()
        self.engine = CompiledEngine(self.env, self.site, seed, self.recorder)
        stations = [self.engine.add_station(s, servers, stroke) for s in services]
        pool = self.site.create_pool(2 * blocks, 2 * blocks)
        geometry = Geometry(raid, stations[0], len(services), stripe_bytes)
        self.engine.add_pool(pool, geometry)
        self.disk, self.lun = thick_disk(self.site, pool, blocks, chunk_blocks)

    def guest(self, load: Load) -> Guest:
        """Return a guest that issues *load* from now on."""
        guest = self.engine.add_guest(VM, [self.disk], [self.lun], load)
        self.engine.start(guest)
        return guest

    def run(self, until: float) -> Latencies:
        """Run until an instant; return the I/Os that have ended by then."""
        self.env.run(until)
        return self.recorder.latencies(VM)
