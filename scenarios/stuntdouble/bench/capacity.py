"""The capacity run: a whole night of a whole site, I/O by I/O.

    300 VMs of 200 GiB ─▶ 20 datastores of 15, a LUN each ─▶ 128 flash channels behind one queue

30,000 IOPS for 8 hours are 864 million I/Os.  Rates, write fractions, sizes and footprints differ
as those of 106 real VMs do (``iops.fleet``); the rates are scaled to the sum.  Changes are tracked
on every disk.  LUN after LUN is backed up from a storage snapshot: its VMs get deltas in a short
stun, the LUN is frozen, the deltas are merged at once, and what changed is read from the promoted
LUN.  Latencies go into a histogram.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.bench.worlds import (
    BLOCK,
    CHUNK_BLOCKS,
    DISK_GIB,
    GRAIN_BLOCKS,
    Slots,
    World,
    disk_blocks,
    new_world,
)
from stuntdouble.iops import (
    FLASH_CHANNEL,
    Geometry,
    Io,
    Purpose,
    Raid,
    StreamSpec,
    fleet,
)
from stuntdouble.site.tables import (
    D_TRACKED,
    F_PLACE,
    F_SLOTS,
    I_COPIED,
    M_ROOT,
    M_ROOTS,
    V_MOVED,
    V_OWN,
)
from stuntdouble.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.bench.worlds import Content, EngineName
    from stuntdouble.iops import Guest
    from stuntdouble.site import Disk, Lun, Store

SEED: Final = 1
CHANNELS: Final = 128  # of 100 us a read: 1.3 million IOPS, so that the queue is short at 30,000
FS_BYTES: Final = 8 * MIB  # a place costs Python 140 bytes: of 8 MiB blocks there are a million
LUN_VMS: Final = 15  # 3 TiB provisioned: the size of LUN that sites have
USED_MAX: Final = (DISK_GIB - 8) * GIB  # the largest footprints of the fleet exceed the disk
READ_BYTES: Final = 512 * KIB  # a backup's reads, 16 at a time
READ_DEPTH: Final = 16
PIECE_BLOCKS: Final = 64 * KIB // BLOCK  # of a merge, 8 at a time: the hypervisor's defaults
MERGE_DEPTH: Final = 8
LEAF_KIB: Final = 0.5  # 64 words of 8 bytes


@dataclass(frozen=True, slots=True)
class Capacity:
    """The night, or a shorter time in which only *luns_backed_up* are, spread over it."""

    vms: int = 300
    iops: float = 30_000.0
    luns_backed_up: int = 20
    warm_up_seconds: float = 0.0
    seconds: float = 8 * 3600.0

    def build(self, engine: EngineName, content: Content) -> CapacityWorld:
        """Return the world at time 0."""
        world = new_world(engine, content, SEED, CapacityWorld)
        station = world.engine.add_station(FLASH_CHANNEL, CHANNELS)
        luns = -(-self.vms // LUN_VMS)
        lun_blocks = (LUN_VMS + 1) * disk_blocks()
        reserve = luns * lun_blocks // 5  # a fifth of what is provisioned, as arrays are set up
        pool = world.site.create_pool(luns * lun_blocks, reserve)
        world.engine.add_pool(pool, Geometry(Raid.RAID0, station, 1, 4 * MIB))
        for number in range(luns):
            lun = world.site.create_lun(lun_blocks, CHUNK_BLOCKS, pool, number * lun_blocks)
            store = world.site.create_store([lun], FS_BYTES // BLOCK, FS_BYTES // BLOCK)
            store.keeper = keeper = Slots(LUN_VMS, DISK_GIB * GIB // FS_BYTES, FS_BYTES)
            world.shelves.append(Shelf(lun, store, keeper))
        world.add_fleet(self.vms, self.iops)
        world.env.process(world.night(world.shelves[: self.luns_backed_up], self.seconds))
        for shelf in world.shelves:
            for machine in shelf.machines:
                world.engine.start(machine.guest)
        return world


@dataclass(eq=False)
class Machine:
    """A VM with one disk, of which *used_blocks* are used."""

    guest: Guest
    disk: Disk
    used_blocks: int


@dataclass(eq=False)
class Shelf:
    """A LUN, the datastore on it, and its VMs."""

    lun: Lun
    store: Store
    keeper: Slots
    machines: list[Machine] = field(default_factory=list)


@dataclass(eq=False)
class CapacityWorld(World):
    """The world, and the script of its control."""

    shelves: list[Shelf] = field(default_factory=list)
    backups: int = 0
    read_bytes: int = 0
    copies: int = 0
    _deltas: int = 0

    def add_fleet(self, count: int, iops: float) -> None:
        """Add *count* VMs whose rates come to *iops*."""
        profiles = fleet(count, SEED)
        scale = iops / sum(profile.iops for profile in profiles)
        for profile in profiles:
            shelf = self.shelves[profile.index % len(self.shelves)]
            used = min(profile.write_working_set_bytes, USED_MAX)
            capped = replace(profile, write_working_set_bytes=used)
            load = capped.load(SEED, disk_bytes=DISK_GIB * GIB)
            name = profile.name
            file = shelf.store.create_file(name, disk_blocks(), sparse=False, zeroed=True)
            shelf.keeper.settle_in(file, used + profile.io_bytes)
            disk = self.site.create_disk(name, disk_blocks(), file)
            disk.track(GRAIN_BLOCKS)
            load = replace(load, iops=profile.iops * scale)
            guest = self.engine.add_guest(name, [disk], [shelf.lun], load)
            shelf.machines.append(Machine(guest, disk, -(-used // BLOCK)))

    # The night. ----------------------------------------------------------------------------

    def night(self, shelves: list[Shelf], seconds: float) -> Generator[Event, Any, None]:
        """Back up LUN after LUN, each in its share of the time."""
        share = seconds / len(shelves)
        for k, shelf in enumerate(shelves):
            yield self.env.at(max(self.env.now, (k + 0.5) * share))
            yield from self._back_up(shelf)

    def _back_up(self, shelf: Shelf) -> Generator[Event, Any, None]:
        for machine in shelf.machines:
            yield from self._open_delta(shelf, machine)
        changed = [
            self.site.changed(machine.disk, [machine.disk.seal()]) for machine in shelf.machines
        ]
        image = yield from self.frozen(shelf.lun)
        merges = [self.env.process(self._merge(shelf, machine)) for machine in shelf.machines]
        yield self.env.all_of(merges)
        twin = image.open()
        for machine, runs in zip(shelf.machines, changed, strict=True):
            items = runs.shift(shelf.keeper.start_bytes(machine.disk.name)).blocks(READ_BYTES)
            self.read_bytes += runs.total
            spec = StreamSpec(Io.READ_LUN, twin, items, READ_DEPTH, Purpose.BACKUP)
            yield self.engine.stream(spec).finished
            self.backups += 1
        self.site.drop_lun(twin)
        self.copies += image.space_bytes // shelf.lun.chunk_bytes
        self.site.thaw(image)

    def _open_delta(self, shelf: Shelf, machine: Machine) -> Generator[Event, Any, None]:
        self._deltas += 1
        name = f"{machine.disk.name}-{self._deltas:06d}"
        delta = shelf.store.create_file(name, disk_blocks(), sparse=True, zeroed=True)
        yield from self.stunned(machine.guest, partial(machine.disk.push, delta))

    def _merge(self, shelf: Shelf, machine: Machine) -> Generator[Event, Any, None]:
        delta = machine.disk.head
        delta.mirror(on=True)
        pieces = self.site.grains(delta, machine.used_blocks, PIECE_BLOCKS)
        spec = StreamSpec(Io.MOVE_LEVEL, delta, pieces, MERGE_DEPTH, Purpose.CONSOLIDATION)
        yield self.engine.stream(spec).finished
        yield from self.stunned(machine.guest, partial(self._drop_delta, shelf, machine))

    def _drop_delta(self, shelf: Shelf, machine: Machine) -> None:
        delta = machine.disk.head
        assert delta.parent is not None, "a delta lies on a base"
        delta.mirror(on=False)
        machine.disk.set_head(delta.parent)
        shelf.keeper.delete(delta.file)

    # What it costs. ------------------------------------------------------------------------

    def facts(self) -> dict[str, float]:
        """Return how far the backups came, and the memory of maps, by what they are for."""
        tables = self.site.arena.tables
        by_use = {
            "places": tables.files[:, F_PLACE],
            "slots of deltas": tables.files[:, F_SLOTS],
            "tracked changes": tables.disks[:, D_TRACKED],
            "copied chunks": tables.images[:, I_COPIED],
            "moved chunks": np.concatenate([tables.volumes[:, V_MOVED], tables.volumes[:, V_OWN]]),
        }
        return {
            "VMs backed up": self.backups,
            "GiB read by backups": self.read_bytes / GIB,
            "chunks copied": self.copies,
            "maps MiB": self.site.arena.used("leaves") * LEAF_KIB / 1024,
            **{f"maps MiB: {use}": self._mib(maps) for use, maps in by_use.items()},
        }

    def _mib(self, maps: Any) -> float:
        """Return the MiB of the leaves of some maps, shared ones counted each time."""
        tables, leaves = self.site.arena.tables, 0
        for number in np.unique(maps[maps > 0]).tolist():
            first, count = tables.maps[number, [M_ROOT, M_ROOTS]]
            nodes = tables.roots[first : first + count, 0] & np.uint32((1 << 31) - 1)
            leaves += int(np.count_nonzero(tables.nodes[nodes[nodes > 0]]))
        return leaves * LEAF_KIB / 1024
