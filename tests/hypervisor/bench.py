"""A small hypervisor over real stations: what the tests of this directory build on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stuntdouble.clock import Environment
from stuntdouble.content import ZERO
from stuntdouble.hypervisor import DiskSpec, Hypervisor, Parameters
from stuntdouble.iops import FLASH_CHANNEL, Geometry, Raid, Recorder, Reference
from stuntdouble.ports import Provisioning
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from stuntdouble.hypervisor import Datastore, Vm
    from stuntdouble.iops import Load, Service
    from stuntdouble.site import Disk, Level, Lun, Moment

BLOCK = 4 * KIB
FS_BLOCK = 64 * KIB
THIN, LAZY, EAGER = Provisioning.THIN, Provisioning.LAZY_ZEROED, Provisioning.EAGER_ZEROED

# Small steps, so that small disks have something to do; tasks without an overhead of their own.
SMALL: dict[str, Any] = {
    "growth_bytes": 2 * FS_BLOCK,
    "task_seconds": 0.0,
    "tracking_grain_bytes": 16 * KIB,
}


@dataclass
class Rig:
    """A hypervisor with one datastore, and what stands around it."""

    env: Environment
    site: Site
    engine: Reference
    journal: Journal
    hypervisor: Hypervisor
    luns: list[Lun]
    datastore: Datastore
    opened: dict[str, Lun] = field(default_factory=dict)  # promoted copies, by identifier

    def do(self, model: Generator[Any, Any, Any]) -> Any:
        """Run an operation to its end."""
        return self.env.run(until=self.env.process(model))

    def settle(self) -> None:
        """Run until nothing but load is left to happen."""
        while self.env.live:
            self.env.step()

    def add_vm(self, *disks: DiskSpec, load: Load | None = None, name: str = "vm", **kw: Any) -> Vm:
        """Add a VM and start its load; without *disks*, one thin disk of 1 MiB."""
        vm = self.hypervisor.add_vm(name, disks or [spec()], load, **kw)
        self.engine.start(vm.guest)
        return vm

    def last(self, kind: str) -> dict[str, Any]:
        """Return the facts of the latest event of a kind."""
        return list(self.journal.of(kind))[-1].facts


def spec(
    key: int = 2000, size: int = MIB, provisioning: Provisioning = THIN, **kw: Any
) -> DiskSpec:
    return DiskSpec(key, size, provisioning, kw.pop("datastore", "ds"), **kw)


def rig(
    *,
    env: Environment | None = None,
    luns: int = 1,
    lun_bytes: int = 16 * MIB,
    service: Service = FLASH_CHANNEL,
    fragmentation: float = 0.0,
    zero_bytes: int = FS_BLOCK,
    seed: int = 1,
    engine_kind: Callable[..., Reference] = Reference,
    **parameters: Any,
) -> Rig:
    env = env or Environment()
    site = Site(block_bytes=BLOCK)
    blocks = lun_bytes // BLOCK
    pool = site.create_pool(luns * blocks, 4 * luns * blocks)
    engine = engine_kind(env, site, seed, Recorder())
    stroke = 8 * luns * lun_bytes
    engine.add_pool(pool, Geometry(Raid.RAID0, engine.add_station(service, 1, stroke), 1, FS_BLOCK))
    journal = Journal()
    lan = engine.add_station(FLASH_CHANNEL)
    host = Hypervisor(engine, Streams(seed), journal, Parameters(**SMALL | parameters), lan)
    made = [site.create_lun(blocks, 16, pool, i * blocks) for i in range(luns)]
    datastore = host.add_datastore(
        "ds",
        made,
        tuple(f"naa.{i}" for i in range(luns)),
        fs_block_bytes=FS_BLOCK,
        zero_bytes=zero_bytes,
        fragmentation=fragmentation,
    )
    return Rig(env, site, engine, journal, host, made, datastore)


def written(site: Site, disk: Disk, moment: Moment) -> bytes:
    """Return the bytes that the guest had written at a moment."""
    return site.render(site.truth(moment, 0, disk.blocks)).tobytes()


def seen(level: Level, disk: Disk) -> bytes:
    """Return the bytes of a disk as seen from a level."""
    return disk.site.render(disk.site.chain_tokens(level, 0, disk.blocks)).tobytes()


def tokens(level: Level, disk: Disk) -> list[int]:
    """Return the tokens of a disk as seen from a level; 0 is zero."""
    return [0 if t == ZERO else int(t) for t in disk.site.chain_tokens(level, 0, disk.blocks)]


def fill(rig: Rig, disk: Disk, start: int = 0, count: int | None = None) -> None:
    """Write blocks of a disk, without time."""
    for block in range(start, start + (count or disk.blocks - start), 256):
        stop = min(block + 256, start + (count or disk.blocks - start))
        rig.site.write(disk, block * BLOCK, (stop - block) * BLOCK)
