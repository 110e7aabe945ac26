"""A small array over real stations: what the tests of this directory build on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from stuntdouble.array import Array, LocalArray, Parameters, PoolSpec
from stuntdouble.clock import Environment
from stuntdouble.iops import FLASH_CHANNEL, Raid, Recorder, Reference
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.array import Pool, Volume
    from stuntdouble.site import Disk

BLOCK = 4 * KIB
CHUNK_BLOCKS = 16
SERVER = "iqn.2026-01.example:backup"


@dataclass
class Rack:
    """An array of one pool, and what stands around it."""

    env: Environment
    site: Site
    engine: Reference
    journal: Journal
    array: Array
    pool: Pool

    @property
    def port(self) -> LocalArray:
        return LocalArray(self.array)

    def do(self, model):
        """Run a request, and everything before its end."""
        return self.env.run(until=self.env.process(model))

    def settle(self) -> None:
        """Run until nothing is left to happen."""
        while self.env.live:
            self.env.step()

    def volume(self, name: str = "v1", size: int = 4 * MIB) -> Volume:
        return self.array.create_volume(name, size, self.pool)

    def snapshot(self, *volumes: Volume, name: str = "s"):
        return self.do(self.array.create_snapshots(tuple(v.naa for v in volumes), name))

    def write(self, volume: Volume, block: int, count: int) -> None:
        self.site.volume_write(volume.lun, block * BLOCK, count * BLOCK)

    def gauge(self, name: str, subject: str) -> list[float]:
        return [value for _, value in self.engine.meter.gauges[name, subject]]


class Keeper:
    """Places a file's blocks one after the other."""

    def __init__(self) -> None:
        self.next = 0

    def provide(self, file, index: int) -> int:
        file.place(index, 0, self.next)
        self.next += 1
        return 1


def add_disk(rack: Rack, volume: Volume, blocks: int, *, zeroed: bool = True) -> Disk:
    """Put a datastore with one disk on a volume."""
    store = rack.site.create_store([volume.lun], 256, 256)
    store.keeper = Keeper()
    file = store.create_file(f"{volume.name}.disk", blocks, sparse=False, zeroed=zeroed)
    for index in range(-(-blocks // 256)):
        store.keeper.provide(file, index)
    return rack.site.create_disk(f"{volume.name}-disk", blocks, file)


def build(
    env: Environment | None = None,
    *,
    reserve: int = 8 * MIB,
    seed: int = 1,
    pool: dict | None = None,
    **parameters,
) -> Rack:
    """Return an array of one RAID 0 pool on four flash channels."""
    env = Environment() if env is None else env
    site = Site(block_bytes=BLOCK, keep_log=True)
    engine = Reference(env, site, seed, Recorder())
    journal = Journal()
    array = Array(engine, Streams(seed), journal, Parameters(**parameters))
    spec = {"raid": Raid.RAID0, "disks": 4, "disk_bytes": 16 * MIB, "reserve_bytes": reserve}
    made = array.add_pool(PoolSpec("pool-1", FLASH_CHANNEL, **(spec | (pool or {}))))
    return Rack(env, site, engine, journal, array, made)


@pytest.fixture(name="build")
def _build() -> Callable[..., Rack]:
    return build


@pytest.fixture(name="add_disk")
def _add_disk() -> Callable[..., Disk]:
    return add_disk


@pytest.fixture
def rack() -> Rack:
    return build()
