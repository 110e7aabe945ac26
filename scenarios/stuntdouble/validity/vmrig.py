"""A test rig with a hypervisor: one VM with one thick disk on one datastore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stuntdouble.clock import Environment
from stuntdouble.hypervisor import DiskSpec, Hypervisor, Parameters
from stuntdouble.iops import Geometry, Raid, Recorder
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.ports import Provisioning
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import KIB, MIB
from stuntdouble.validity.rig import VM

if TYPE_CHECKING:
    from collections.abc import Generator

    from stuntdouble.hypervisor import Vm
    from stuntdouble.iops import Latencies, Load, Service


@dataclass(frozen=True, slots=True)
class Stations:
    """What a datastore's volume lies on.

    Args:
        services: the stations; the volume is striped over them.
        servers: of each station.
        stripe_bytes: how much of the volume lies on a station before the next one's turn.
        raid: how the stations keep the blocks.
        stroke: size of each station in bytes, where it is a disk.
    """

    services: tuple[Service, ...]
    servers: int = 1
    stripe_bytes: int = 64 * KIB
    raid: Raid = Raid.RAID0
    stroke: int = 1 << 31

    def add_to(self, engine: CompiledEngine, pool: int) -> None:
        """Let the blocks of *pool* lie on these stations."""
        made = [engine.add_station(s, self.servers, self.stroke) for s in self.services]
        engine.add_pool(pool, Geometry(self.raid, made[0], len(made), self.stripe_bytes))


class VmRig:
    """A VM on a datastore of its own, and the hypervisor that runs it.

    Args:
        stations: what the datastore lies on.
        load: the VM's.
        disk_bytes: size of each of its disks, eager-zeroed: no first write of a block zeroes it.
        disks: how many.
        room: the datastore is so many times as large as the disks.
        block_bytes: a content block, which is also a grain of a delta disk.
        seed: of all streams.
        parameters: of the hypervisor.
    """

    def __init__(
        self,
        stations: Stations,
        load: Load | None,
        *,
        disk_bytes: int,
        disks: int = 1,
        room: int = 4,
        block_bytes: int = 4 * KIB,
        seed: int = 1,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self.env, self.journal = Environment(), Journal()
        site = Site(block_bytes=block_bytes)
        self.recorder = Recorder()
        self.engine = CompiledEngine(self.env, site, seed, self.recorder)
        blocks = room * disks * disk_bytes // block_bytes
        pool = site.create_pool(blocks, 1)
        stations.add_to(self.engine, pool)
        lun = site.create_lun(blocks, MIB // block_bytes, pool, 0)
        given = Parameters(**(parameters or {}))
        self.host = Hypervisor(self.engine, Streams(seed), self.journal, given)
        self.host.add_datastore("datastore", [lun], ("naa.1",))
        specs = [
            DiskSpec(2000 + k, disk_bytes, Provisioning.EAGER_ZEROED, "datastore")
            for k in range(disks)
        ]
        self.vm: Vm = self.host.add_vm(VM, specs, load)
        self.engine.start(self.vm.guest)

    def run(self, until: float) -> Latencies:
        """Run until an instant; return the I/Os that have ended by then."""
        self.env.run(until)
        return self.recorder.latencies(VM)

    def do(self, model: Generator[Any, Any, Any]) -> Any:
        """Run an operation of the hypervisor to its end, and return what it returns."""
        return self.env.run(until=self.env.process(model))

    def iops(self, start: float, end: float) -> float:
        """Return the I/Os per second that ended in [start, end)."""
        found = self.recorder.latencies(VM)
        ends = found.arrived + found.seconds
        return float(((ends >= start) & (ends < end)).sum()) / (end - start)

    def stun_seconds(self) -> list[float]:
        """Return the length of each stun so far."""
        return [float(event.facts["seconds"]) for event in self.journal.of("stun")]
