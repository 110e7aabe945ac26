"""Pools: devices, and where volumes and the snapshot reserve lie on them.

    pool block 0                                            area                   capacity
    ├── volume 1 ──┼── volume 2 ──┼── a mirror ──┼── … free ┼── snapshot reserve ──┤

Every volume is laid out at its full size, so a pool is never overcommitted and no volume runs dry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stuntdouble.errors import Misuse, NoSpace
from stuntdouble.extents import Runs
from stuntdouble.iops import Engine, Geometry, Raid

if TYPE_CHECKING:
    from stuntdouble.array.parameters import Parameters, PoolSpec
    from stuntdouble.iops import Cache, Service
    from stuntdouble.site import Site


class StationEngine(Engine, Protocol):
    """An engine while its stations are being built."""

    def add_station(
        self, service: Service, servers: int = 1, stroke: int = 1, *, foreground_first: bool = False
    ) -> int:
        """Return the number of a new station."""
        ...

    def add_pool(self, pool: int, geometry: Geometry) -> None:
        """Say which stations the blocks of a pool lie on."""
        ...

    def add_cache(self, pool: int, cache: Cache) -> int:
        """Put a write-back cache before a pool's devices; return the number of its station."""
        ...

    def block_copies(self, pool: int) -> None:
        """Let a write wait for the copy of its chunk that is under way in a pool."""
        ...


@dataclass(eq=False)
class Pool:
    """A pool as built.

    ``stations`` are the data disks, whose utilisation is the array's; ``port_station`` is the
    front-end port, or -1.  ``mirrored_bytes`` is what mirrors take of the area.
    """

    site: Site
    spec: PoolSpec
    number: int
    stations: list[int]
    port_station: int
    area_bytes: int
    reserve_bytes: int
    free: Runs
    mirrored_bytes: int = 0

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.spec.name

    @property
    def free_bytes(self) -> int:
        """What is left for further volumes, perhaps in several pieces."""
        return self.free.total

    @property
    def reserve_free_bytes(self) -> int:
        """What is left of the snapshot reserve."""
        return self.site.reserve_free_bytes(self.number)

    @property
    def reserve_used_bytes(self) -> int:
        """What snapshots, promoted volumes and space not yet reclaimed take of the reserve."""
        return self.reserve_bytes - self.reserve_free_bytes

    def allot(self, size_bytes: int) -> int:
        """Return the pool block at which a new volume or mirror begins; it lies in one piece.

        Raises:
            NoSpace: no piece is large enough.
        """
        fitting = (piece.start for piece in self.free if piece.length >= size_bytes)
        start = next(fitting, -1)
        if start < 0:
            largest = max((piece.length for piece in self.free), default=0)
            raise NoSpace(f"pool {self.name}", size_bytes, largest)
        self.free -= Runs.single(start, size_bytes)
        return start // self.site.block_bytes

    def regrow(self, start_block: int, size_bytes: int, wanted_bytes: int) -> int:
        """Return where a volume begins once it is larger: where it is, if there is room behind it.

        Otherwise it is said to lie elsewhere from then on, in one piece, and nothing is copied: an
        array that lays volumes out in extents would leave the old ones where they are, and only
        distances on the devices tell the difference.

        Raises:
            NoSpace: no piece is large enough; nothing has changed.
        """
        start = start_block * self.site.block_bytes
        kept, wanted = self.free, Runs.single(start, wanted_bytes)
        self.give_back(start_block, size_bytes)
        if self.free.covers(wanted):
            self.free -= wanted
            return start_block
        try:
            return self.allot(wanted_bytes)
        except NoSpace:
            self.free = kept
            raise

    def give_back(self, start_block: int, size_bytes: int) -> None:
        """Take back the place of a deleted volume or mirror."""
        self.free |= Runs.single(start_block * self.site.block_bytes, size_bytes)


def build_pool(engine: StationEngine, spec: PoolSpec, parameters: Parameters) -> Pool:
    """Add a pool's stations to the engine, and its space to the site."""
    site, chunk = engine.site, parameters.chunk_bytes
    stroke = spec.disk_bytes * spec.disks if spec.pooled else spec.disk_bytes
    if chunk % site.block_bytes or spec.stripe_bytes % site.block_bytes:
        text = f"chunk and stripe must be multiples of the content block, {site.block_bytes} bytes"
        raise Misuse(f"pool {spec.name}", text)
    count = 1 if spec.pooled else spec.disks
    columns = _columns(spec, count)
    first = spec.foreground_first
    stations = [
        engine.add_station(spec.device, spec.servers, stroke, foreground_first=first)
        for _ in range(count)
    ]
    port = -1 if spec.port is None else engine.add_station(spec.port, foreground_first=first)
    capacity = columns * stroke
    wanted = spec.reserve_bytes
    reserve = int(capacity * parameters.reserve_fraction) if wanted is None else wanted
    reserve -= reserve % chunk
    area = (capacity - reserve) // chunk * chunk
    if not 0 <= reserve < capacity:
        raise Misuse(f"pool {spec.name}", f"a reserve of {wanted} bytes does not leave any room")
    number = site.create_pool(area // site.block_bytes, reserve // site.block_bytes)
    engine.add_pool(number, Geometry(spec.raid, stations[0], count, spec.stripe_bytes, port))
    if spec.cache is not None:
        engine.add_cache(number, spec.cache)
    if spec.blocking:
        engine.block_copies(number)
    return Pool(site, spec, number, stations, port, area, reserve, Runs.single(0, area))


def _columns(spec: PoolSpec, count: int) -> int:
    """Return how many disks' worth of data fit, before anything is built."""
    try:
        return Geometry(Raid(spec.raid), 0, count, spec.stripe_bytes).data_disks()
    except ValueError as error:
        raise Misuse(f"pool {spec.name}", str(error)) from None
