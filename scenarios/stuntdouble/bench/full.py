"""The full-feature scenario: everything the engine can do to an I/O, at once and all the time.

Fixed before the engine was tuned for it, and not to be changed since: a figure of today can be held
against one of last year.  Each parameter says why it is what it is.

    66 VMs of 200 GiB ─▶ 8 datastores, a LUN each ─▶ 8 × RAID 5 of 8 disks

    every third VM      its changes are tracked, and it has a delta disk, always: read by a backup
                        when the delta is new, merged by a mirror consolidation when it is old, and
                        replaced by a new one in the stun that ends the merge
    every LUN           has a storage snapshot, renewed every 20 minutes behind a fence; a write
                        to a chunk that is being copied waits

Half of the backups read the frozen disk through the host, half a LUN promoted from the snapshot.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.bench.worlds import (
    BLOCK,
    CHUNK_BLOCKS,
    DISK_GIB,
    FS_BLOCKS,
    GRAIN_BLOCKS,
    Slots,
    World,
    disk_blocks,
    new_world,
)
from stuntdouble.iops import (
    DISK_10K,
    ClosedLoad,
    Geometry,
    Io,
    Pattern,
    PoissonLoad,
    Purpose,
    Raid,
    StreamSpec,
    link,
)
from stuntdouble.iops.draw import units
from stuntdouble.trace import stream_key
from stuntdouble.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Generator

    from simpy.events import Event

    from stuntdouble.bench.worlds import Content, EngineName
    from stuntdouble.extents import Runs
    from stuntdouble.iops import Guest
    from stuntdouble.site import Disk, Image, Level, Lun, Store

SEED: Final = 1

# Machines: 19.2 IOPS and half writes are the medians of 106 real VMs (validity suite, fleet table);
# 1.25 GiB is what one real VM touched in two hours (1.18 GiB); 8 KiB is a database's page; a skew
# of 3 sends half of the I/O to an eighth of it, as the fleet has it.

VM_IOPS: Final = 19.2
READ_FRACTION: Final = 0.5
IO_BYTES: Final = 8 * KIB
USED_BYTES: Final = 5 * GIB // 4
SKEW: Final = 3.0

# Every third VM is backed up.  Of those, every other one is a closed loop of 8 outstanding I/Os
# (its think time makes the same 19.2 IOPS at 50 ms each), so that its limit is felt.

BACKED_UP: Final = 3
CLOSED: Final = 6
OUTSTANDING: Final = 8
THINK_SECONDS: Final = OUTSTANDING / VM_IOPS - 0.05

# 32 is the queue that a hypervisor gives a VM's disk (Disk.SchedNumReqOutstanding); 4 stands for
# what a snapshot layer leaves of it: how much that is depends on the release, it has to bite here.

LIMIT: Final = 32
SNAPSHOT_LIMIT: Final = 4

# Array: 8 disks of 10k rpm and 1.2 TB to a group is common for RAID 5; stripes of 256 KiB; chunks
# and fence are the emulated array's defaults.  66 VMs, 8 or 9 to a group, are what keeps 64 such
# disks about 60 % busy with all that is done here.

GROUP_DISKS: Final = 8
DISK_BYTES: Final = 1_200_000_000_000
STRIPE_BYTES: Final = 256 * KIB
SNAPSHOT_SECONDS: Final = 1200.0  # an array keeps one while a job of a few VMs is under way
RESERVE_BLOCKS: Final = 400 * GIB // BLOCK  # a fifth of a LUN: a snapshot is never given up

# Backup: reads of up to 512 KiB, four at a time, over 10 Gbit/s.
# What had changed before the first backup are as many writes as 20 minutes bring.

READ_BYTES: Final = 512 * KIB
READ_DEPTH: Final = 4
LAN_BYTES_PER_SECOND: Final = 1.25e9
WRITES_BEFORE: Final = 11_520  # 19.2 x 0.5 x 1200

# Deltas: ten minutes old when they are merged, in pieces of up to 64 KiB, one at a time: with more
# at a time a merge would be over before it is felt; so more than a third of the time goes into it.

DELTA_SECONDS: Final = 600.0
PIECE_BLOCKS: Final = 64 * KIB // BLOCK
MERGE_DEPTH: Final = 1


@dataclass(frozen=True, slots=True)
class Full:
    """The scenario in its size, or in a smaller one for tests.

    ``pace`` shortens the lives of deltas and snapshots, so that a short run sees all phases.
    """

    groups: int = 8
    vms: int = 66
    pace: float = 1.0
    warm_up_seconds: float = 300.0
    seconds: float = 1800.0

    def build(self, engine: EngineName, content: Content) -> FullWorld:
        """Return the world at time 0."""
        world = new_world(engine, content, SEED, FullWorld)
        world.plan = self
        world.lan = world.engine.add_station(link(LAN_BYTES_PER_SECOND))
        for _ in range(self.groups):
            world.add_group(-(-self.vms // self.groups))
        machines = [world.add_machine(number) for number in range(self.vms)]
        backed_up = machines[::BACKED_UP]
        for k, machine in enumerate(backed_up):
            first = DELTA_SECONDS / self.pace * (k + 1) / len(backed_up)
            world.env.process(world.nights(machine, first))
        for k, group in enumerate(world.groups):
            first = SNAPSHOT_SECONDS / self.pace * (k + 1) / self.groups
            world.env.process(world.snapshots(group, first))
        for machine in machines:
            world.engine.start(machine.guest)
        return world


@dataclass(eq=False)
class Group:
    """Disks of a RAID group, the LUN on them, the datastore on that."""

    lun: Lun
    store: Store
    keeper: Slots
    image: Image | None = None
    reading: set[Event] = field(default_factory=set)
    renewing: bool = False


@dataclass(eq=False)
class Machine:
    """A VM with one disk; ``delta`` is the head where it has a snapshot."""

    number: int
    guest: Guest
    disk: Disk
    base: Level
    group: Group
    deltas: int = 0


@dataclass(eq=False)
class FullWorld(World):
    """The world of the scenario, and the script of its control."""

    plan: Full = field(default_factory=Full)
    groups: list[Group] = field(default_factory=list)
    lan: int = 0
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _streams: list[tuple[str, Any]] = field(default_factory=list)
    _deltas: set[Machine] = field(default_factory=set)
    _prints: int = 0

    # Building. -----------------------------------------------------------------------------

    def add_group(self, slots: int) -> None:
        """Add a RAID group with a LUN of so many slots for disks, and one for deltas."""
        stations = [self.engine.add_station(DISK_10K, 1, DISK_BYTES) for _ in range(GROUP_DISKS)]
        blocks = (slots + 1) * disk_blocks()
        pool = self.site.create_pool(blocks, RESERVE_BLOCKS)
        geometry = Geometry(Raid.RAID5, stations[0], GROUP_DISKS, STRIPE_BYTES)
        self.engine.add_pool(pool, geometry)
        self.engine.block_copies(pool)
        lun = self.site.create_lun(blocks, CHUNK_BLOCKS, pool, 0)
        store = self.site.create_store([lun], FS_BLOCKS, FS_BLOCKS)
        store.keeper = keeper = Slots(slots, DISK_GIB * GIB // MIB)
        self.groups.append(Group(lun, store, keeper))

    def add_machine(self, number: int) -> Machine:
        """Add a VM; its delta and its change tracking, too, where it is backed up."""
        group = self.groups[number % len(self.groups)]
        name = f"vm-{number}"
        base = group.store.create_file(name, disk_blocks(), sparse=False, zeroed=True)
        group.keeper.settle_in(base, USED_BYTES)
        disk = self.site.create_disk(name, disk_blocks(), base)
        pattern = (Pattern(READ_FRACTION, IO_BYTES, USED_BYTES, SKEW),)
        load: ClosedLoad | PoissonLoad = PoissonLoad(SEED, name, VM_IOPS, pattern)
        if number % CLOSED == BACKED_UP:
            load = ClosedLoad(SEED, name, OUTSTANDING, THINK_SECONDS, pattern)
        guest = self.engine.add_guest(name, [disk], [group.lun], load)
        machine = Machine(number, guest, disk, disk.head, group)
        self.engine.set_limit(guest, LIMIT)
        if number % BACKED_UP == 0:
            disk.track(GRAIN_BLOCKS)
            self._write_before(disk)
            self.engine.set_limit(guest, SNAPSHOT_LIMIT)
            self._open_delta(machine)
        return machine

    def _write_before(self, disk: Disk) -> None:
        slots = USED_BYTES // IO_BYTES
        drawn = units(stream_key(SEED, "before", disk.name), 0, WRITES_BEFORE)
        blocks = (drawn**SKEW * slots).astype(np.int64) * (IO_BYTES // BLOCK)
        self.site.fast_forward(disk, np.stack([blocks, np.full_like(blocks, 2)], axis=1))
        self.counts["before"] += WRITES_BEFORE

    # VM snapshots. -------------------------------------------------------------------------

    def nights(self, machine: Machine, first: float) -> Generator[Event, Any, None]:
        """Back a VM up and merge its delta, over and over; the first delta is *first* old then."""
        life = first
        while True:
            merge_at = self.env.now + life
            yield from self._back_up(machine)
            yield self.env.at(max(merge_at, self.env.now))
            delta = machine.disk.head
            delta.mirror(on=True)
            pieces = self.site.grains(delta, USED_BYTES // BLOCK, PIECE_BLOCKS)
            yield self._stream("moves", Io.MOVE_LEVEL, delta, pieces, Purpose.CONSOLIDATION)
            yield from self.stunned(machine.guest, partial(self._replace_delta, machine))
            life = DELTA_SECONDS / self.plan.pace

    def _open_delta(self, machine: Machine) -> None:
        machine.deltas += 1
        name = f"{machine.disk.name}-{machine.deltas:06d}"
        store = machine.group.store
        machine.disk.push(store.create_file(name, disk_blocks(), sparse=True, zeroed=True))
        self._deltas.add(machine)

    def _replace_delta(self, machine: Machine) -> None:
        delta = machine.disk.head
        delta.mirror(on=False)
        self.counts["grains"] += delta.file.used_blocks
        machine.disk.set_head(machine.base)
        machine.group.keeper.delete(delta.file)
        self._open_delta(machine)
        self.counts["stuns"] += 1

    # Backups. ------------------------------------------------------------------------------

    def _back_up(self, machine: Machine) -> Generator[Event, Any, None]:
        changed = self.site.changed(machine.disk, [machine.disk.seal()])
        if not changed:
            return
        group = machine.group
        if machine.number // CLOSED % 2 or group.image is None or group.renewing:
            yield self._read(Io.READ_LEVEL, machine.base, changed)
            return
        lun = group.image.open()
        start = group.keeper.start_bytes(machine.base.file.name)
        read = self._read(Io.READ_LUN, lun, changed.shift(start))
        group.reading.add(read)
        yield read
        group.reading.discard(read)
        self.site.drop_lun(lun)

    def _read(self, io: Io, target: Level | Lun, runs: Runs) -> Event:
        return self._stream("reads", io, target, runs.blocks(READ_BYTES), Purpose.BACKUP)

    def _stream(
        self, what: str, io: Io, target: Level | Lun, items: Any, purpose: Purpose
    ) -> Event:
        backup = purpose is Purpose.BACKUP
        depth, lan = (READ_DEPTH, self.lan) if backup else (MERGE_DEPTH, -1)
        stream = self.engine.stream(StreamSpec(io, target, items, depth, purpose, link=lan))
        self._streams = [*((w, s) for w, s in self._streams if not self._is_over(w, s))]
        self._streams.append((what, stream))
        finished: Event = stream.finished
        return finished

    def _is_over(self, what: str, stream: Any) -> bool:
        if stream.finished.triggered:
            self.counts[what] += stream.done
        return bool(stream.finished.triggered)

    # Storage snapshots. --------------------------------------------------------------------

    def snapshots(self, group: Group, first: float) -> Generator[Event, Any, None]:
        """Take a snapshot of a LUN now and renew it for ever, when no backup reads it."""
        yield from self._freeze(group)
        wait = first
        while True:
            yield self.env.timeout(wait)
            group.renewing = True
            while group.reading:
                yield next(iter(group.reading))
            yield from self._freeze(group)
            group.renewing = False
            wait = SNAPSHOT_SECONDS / self.plan.pace

    def _freeze(self, group: Group) -> Generator[Event, Any, None]:
        old = group.image
        group.image = yield from self.frozen(group.lun)
        if old is not None:
            self.counts["copies"] += old.space_bytes // group.lun.chunk_bytes
            self.site.thaw(old)
        self.counts["freezes"] += 1

    # What has come about. ------------------------------------------------------------------

    @property
    def writes(self) -> int:
        """Writes of guests that were admitted."""
        return self.site.writes // (IO_BYTES // BLOCK) - self.counts["before"]

    def fired(self) -> dict[str, float]:
        """Return how often each kind of side I/O has come about so far, and the writes.

        All of them are counted by what they left behind, so that nothing slows the engine.  A
        guest's read is one visit, its write the four of RAID 5, and four more while it is mirrored.
        """
        done = {what: self.counts[what] for what in ("moves", "reads", "copies", "grains")}
        for what, stream in self._streams:
            done[what] += stream.done
        for group in self.groups:
            if group.image is not None:
                done["copies"] += group.image.space_bytes // group.lun.chunk_bytes
        for machine in self._deltas:
            done["grains"] += machine.disk.head.file.used_blocks
        visits = int(self.tally.by_purpose[Purpose.GUEST])
        admitted = sum(guest.completed + guest.in_flight for guest in self.engine.guests)
        mirrored = (visits - (admitted - self.writes) - 4 * self.writes) / 4
        return {
            "writes": self.writes,
            "parity": 3 * (self.writes + mirrored),
            "grain tables": done["grains"] // (IO_BYTES // BLOCK),
            "copies before writes": done["copies"],
            "mirrored writes": max(mirrored, 0.0),
            "consolidation moves": done["moves"],
            "backup reads": done["reads"],
        }
