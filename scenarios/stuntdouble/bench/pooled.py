"""Two worlds of flash channels behind one queue: one as large as it is common, one in the cache.

snapshot    64 VMs with 1 GiB hot each: the maps are far larger than any cache, memory decides
simple      20 VMs with 32 MiB hot each: the maps stay in the cache, the queue decides

In both, half of the I/Os write, every other VM has a delta disk, all have tracked changes, and the
LUN has a copy-on-write snapshot that is renewed every few seconds: who has a delta allocates, who
has none makes the array copy.  ``simple`` stuns its VMs in turn as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.bench.worlds import (
    BLOCK,
    CHUNK_BLOCKS,
    FS_BLOCKS,
    GRAIN_BLOCKS,
    Slots,
    World,
    new_world,
)
from stuntdouble.iops import FLASH_CHANNEL, Geometry, Pattern, PoissonLoad, Raid
from stuntdouble.site import COPY_ON_WRITE
from stuntdouble.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.bench.worlds import Content, EngineName
    from stuntdouble.iops import Guest
    from stuntdouble.site import Disk, Image, Lun

SEED: Final = 1
CHANNELS: Final = 64  # of 100 us a read: 640,000 IOPS, an all-flash array of the middle class


@dataclass(frozen=True, slots=True)
class Pooled:
    """A world of flash channels.

    Args:
        vms: how many, with a disk each.
        hot_bytes: what each of them touches, uniformly: nothing is spared the caches.
        vm_iops: of each, open arrivals of 4 KiB, the block of a file system.
        renewal_seconds: between two snapshots of the LUN.
        stun_seconds: between two stuns, VM by VM; 0 is never.
        warm_up_seconds: site time before the measurement.
        seconds: site time that is measured.
    """

    vms: int
    hot_bytes: int
    vm_iops: float
    renewal_seconds: float
    stun_seconds: float = 0.0
    warm_up_seconds: float = 2.0
    seconds: float = 20.0

    def build(self, engine: EngineName, content: Content) -> PooledWorld:
        """Return the world at time 0."""
        world = new_world(engine, content, SEED, PooledWorld)
        blocks = self.hot_bytes // BLOCK
        station = world.engine.add_station(FLASH_CHANNEL, CHANNELS)
        lun_blocks = 2 * (self.vms + 1) * blocks  # a disk and its delta, each
        pool = world.site.create_pool(lun_blocks, lun_blocks)
        world.engine.add_pool(pool, Geometry(Raid.RAID0, station, 1, MIB))
        lun = world.site.create_lun(lun_blocks, CHUNK_BLOCKS, pool, 0)
        store = world.site.create_store([lun], FS_BLOCKS, FS_BLOCKS)
        store.keeper = keeper = Slots(self.vms, self.hot_bytes // MIB)
        for number in range(self.vms):
            name = f"vm-{number}"
            file = store.create_file(name, blocks, sparse=False, zeroed=True)
            keeper.settle_in(file, self.hot_bytes)
            disk = world.site.create_disk(name, blocks, file)
            if number % 2:
                disk.push(store.create_file(f"{name}-000001", blocks, sparse=True, zeroed=True))
            disk.track(GRAIN_BLOCKS)
            load = PoissonLoad(SEED, name, self.vm_iops, (Pattern(0.5, BLOCK, self.hot_bytes),))
            world.disks.append(disk)
            world.guests.append(world.engine.add_guest(name, [disk], [lun], load))
        world.env.process(world.renew(lun, self.renewal_seconds))
        if self.stun_seconds:
            world.env.process(world.stun(self.stun_seconds))
        for guest in world.guests:
            world.engine.start(guest)
        return world


@dataclass(eq=False)
class PooledWorld(World):
    """The world, and the script of its control."""

    disks: list[Disk] = field(default_factory=list)
    guests: list[Guest] = field(default_factory=list)
    copies: int = 0
    stuns: int = 0
    _image: Image | None = None

    def renew(self, lun: Lun, seconds: float) -> Generator[Event, Any, None]:
        """Take a snapshot of the LUN, give the one before up, and begin a new set of changes."""
        while True:
            old = self._image
            (self._image,) = self.site.freeze([lun], COPY_ON_WRITE)
            if old is not None:
                self.copies += old.space_bytes // lun.chunk_bytes
                self.site.thaw(old)
            for disk in self.disks:
                disk.seal()
            yield self.env.timeout(seconds)

    def stun(self, seconds: float) -> Generator[Event, Any, None]:
        """Stun the VMs in turn."""
        while True:
            for guest in self.guests:
                yield self.env.timeout(seconds)
                yield from self.stunned(guest)
                self.stuns += 1

    def fired(self) -> dict[str, float]:
        """Return how often side I/O has come about so far, and the writes."""
        image = self._image
        held = image.space_bytes // image.base.chunk_bytes if image is not None else 0
        grains = sum(disk.head.file.used_blocks for disk in self.disks)
        return {
            "writes": self.site.writes,
            "grain tables": grains,
            "copies before writes": self.copies + held,
        }


SNAPSHOT: Final = Pooled(vms=64, hot_bytes=GIB, vm_iops=2000.0, renewal_seconds=5.0)
"""128,000 IOPS: two fifths of the channels are busy, as nearly every write copies or allocates first."""

SIMPLE: Final = Pooled(
    vms=20, hot_bytes=32 * MIB, vm_iops=6400.0, renewal_seconds=5.0, stun_seconds=0.3
)
"""The same 128,000 IOPS on a hundredth of the blocks; every VM is stunned once in ten seconds."""
