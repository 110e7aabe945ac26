"""From a scenario to a site: arrays, datastores, VMs, their content and their load."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble import array as arrays
from stuntdouble import hypervisor as hypervisors
from stuntdouble.clock import perform
from stuntdouble.errors import Unreachable
from stuntdouble.extents import Runs
from stuntdouble.iops import (
    BATCH_NIGHT,
    DISK_10K,
    DISK_7200,
    FLASH_CHANNEL,
    OFFICE_DAY,
    Cache,
    ClosedLoad,
    Mix,
    Pattern,
    PoissonLoad,
    Raid,
    Reference,
    TraceLoad,
    link,
)
from stuntdouble.ports import Provisioning
from stuntdouble.scenarios.values import parameters
from stuntdouble.site import IO_BLOCKS_MAX, Site
from stuntdouble.trace import Journal, Streams, stream_key
from stuntdouble.units import KIB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stuntdouble.array import Array
    from stuntdouble.clock import Environment
    from stuntdouble.iops import Load, Meter, Recorded
    from stuntdouble.iops.kernel import CompiledEngine
    from stuntdouble.results import EngineName
    from stuntdouble.scenarios import spec
    from stuntdouble.site import Lun

HOST_IQN: Final = "iqn.2026-11.org.example:host-1"
BACKUP_IQN: Final = "iqn.2026-11.org.example:backup-server"

_MEDIA: Final = {"7.2k": DISK_7200, "10k": DISK_10K, "flash": FLASH_CHANNEL}
_RAID: Final = {
    "raid0": Raid.RAID0,
    "raid10": Raid.RAID10,
    "raid5": Raid.RAID5,
    "raid6": Raid.RAID6,
}
_CURVE: Final = {"flat": None, "office-day": OFFICE_DAY, "batch-night": BATCH_NIGHT}
_FOOTPRINT_BYTES: Final = 64 * KIB  # the grain in which what was there before is filled in


@dataclass
class World:
    """A site that is built, and everything that runs on it."""

    scenario: spec.Scenario
    seed: int
    env: Environment
    site: Site
    engine: CompiledEngine | Reference
    journal: Journal
    arrays: dict[str, arrays.Array]
    hypervisor: hypervisors.Hypervisor
    naas: dict[str, str] = field(default_factory=dict)

    @property
    def stations(self) -> list[int]:
        """The stations of the disks that the backed-up VMs lie on: their datastores' pools."""
        vms = [vm for vm in self.scenario.vms if vm.name in self.backed_up]
        stores = {disk.datastore for vm in vms for disk in vm.disks}
        under = {v for d in self.scenario.datastores if d.name in stores for v in d.volumes}
        pools = {
            (a.name, v.pool) for a in self.scenario.arrays for v in a.volumes if v.name in under
        }
        return [
            station
            for a in self.arrays.values()
            for p in a.pools.values()
            if (a.name, p.name) in pools
            for station in p.stations
        ]

    @property
    def backed_up(self) -> tuple[str, ...]:
        """The VMs that the job selects."""
        return self.scenario.backup.vms or tuple(vm.name for vm in self.scenario.vms)

    def array_of(self, datastore: str) -> Array:
        """Return the array that a datastore's first volume is of."""
        volume = next(d for d in self.scenario.datastores if d.name == datastore).volumes[0]
        return next(a for a in self.arrays.values() if volume in a.inventory.volumes)

    def mapped_to_host(self, naa: str) -> Lun:
        """Return the LUN with this identity that an array lets the host see."""
        for each in self.arrays.values():
            if naa in {volume.naa for volume in each.inventory.mappable()}:
                return each.lun_for(HOST_IQN, naa)
        raise Unreachable(f"a volume with identity {naa}")

    def visible_to_host(self) -> dict[str, Lun]:
        """Return every LUN that an array lets the host see now, by its identity.

        An array that is lost shows none, and a volume whose snapshot was given up is none.
        """
        return {
            volume.naa: volume.lun
            for each in self.arrays.values()
            if not each.core.lost
            for volume in each.inventory.mappable()
            if volume.readable and each.masking.sees(HOST_IQN, volume)
        }


def build(
    scenario: spec.Scenario,
    seed: int,
    env: Environment,
    recorded: Recorded | None,
    engine_name: EngineName = "kernel",
    meter: Meter | None = None,
) -> World:
    """Return the scenario's site, with nothing written and no load running yet."""
    site = Site(block_bytes=scenario.content_block)
    engine = engine_class(engine_name)(env, site, seed, meter)
    streams, journal = Streams(seed), Journal()
    made = {a.name: _array(a, engine, streams, journal) for a in scenario.arrays}
    lan = engine.add_station(link(scenario.backup.lan)) if scenario.backup.lan else -1
    host = hypervisors.Hypervisor(
        engine,
        streams,
        journal,
        parameters(hypervisors.Parameters, scenario.hypervisor),
        lan_station=lan,
    )
    world = World(scenario, seed, env, site, engine, journal, made, host)
    host.storage.visible = world.visible_to_host
    for each in made.values():
        each.on_space_freed.append(lambda _pool: host.answer_all())
    world.naas = {v.name: v.naa for a in made.values() for v in a.inventory.volumes.values()}
    volumes = {v.name: v for a in made.values() for v in a.inventory.volumes.values()}
    for d in scenario.datastores:
        host.add_datastore(
            d.name,
            [volumes[v].lun for v in d.volumes],
            tuple(volumes[v].naa for v in d.volumes),
            fs_block_bytes=d.block,
            zero_bytes=d.zero_unit,
            fragmentation=d.fragmentation,
        )
    for vm in scenario.vms:
        _add_vm(world, vm, _load(vm, seed, recorded))
    for vm in scenario.vms:
        _fill(world, vm, recorded)
    return world


def engine_class(name: EngineName) -> type[CompiledEngine | Reference]:
    """Return an I/O engine; the compiled one is compiled by then, or loaded."""
    if name == "reference":
        return Reference
    from stuntdouble.iops.kernel import CompiledEngine  # noqa: PLC0415  (a second to load)

    return CompiledEngine


def _array(
    a: spec.Array, engine: CompiledEngine | Reference, streams: Streams, journal: Journal
) -> arrays.Array:
    made = arrays.Array(
        engine, streams, journal, parameters(arrays.Parameters, a.parameters), name=a.name
    )
    for p in a.pools:
        pool = made.add_pool(
            arrays.PoolSpec(
                name=p.name,
                device=_MEDIA[p.media],
                raid=_RAID[p.raid],
                disks=p.disks,
                disk_bytes=p.disk_size,
                stripe_bytes=p.stripe,
                port=link(p.port) if p.port else None,
                reserve_bytes=p.reserve,
                blocking=p.blocking,
                foreground_first=p.foreground_first,
                cache=_cache(p.cache),
            )
        )
        for v in a.volumes:
            if v.pool == p.name:
                made.create_volume(v.name, v.size, pool)
    return made


def _cache(c: spec.Cache | None) -> Cache | None:
    return None if c is None else Cache(c.mark_bytes, c.write, c.read, c.destages)


def _add_vm(world: World, vm: spec.Vm, load: Load | None) -> None:
    disks = [
        hypervisors.DiskSpec(
            key=k.key,
            capacity_bytes=k.size,
            provisioning=Provisioning(k.provisioning),
            datastore=k.datastore,
            mode=k.mode,
        )
        for k in vm.disks
    ]
    quiesce = hypervisors.QuiesceProfile(
        tools=vm.quiesce.tools, vss=vm.quiesce.vss, freeze_seconds=vm.quiesce.freeze
    )
    host = world.hypervisor
    made = host.add_vm(vm.name, disks, load, quiesce=quiesce, powered_on=False)
    for number, k in enumerate(vm.disks):
        if k.iops_limit:
            host.host.engine.set_iops_limit(made.guest, number, float(k.iops_limit), k.iops_burst)


def _load(vm: spec.Vm, seed: int, recorded: Recorded | None) -> Load | None:
    load = vm.load
    if load.kind == "none":
        return None
    if load.kind == "trace":
        assert recorded is not None, "compare() refuses a trace scenario without a trace"
        return TraceLoad(recorded, vm.disks[0].size, load.speed, repeat=False)
    patterns = tuple(_pattern(load, load.working_set or k.written or k.size) for k in vm.disks)
    if load.kind == "closed":
        return ClosedLoad(seed, vm.name, load.outstanding, load.think, patterns)
    curve = _CURVE[load.curve]
    if curve is not None:
        curve = curve.starting(load.begins)
    return PoissonLoad(seed, vm.name, load.iops, patterns, curve=curve)


def _pattern(load: spec.Load, touched: int) -> Pattern | Mix:
    """Return where the I/Os to one disk go, of which they touch *touched* bytes."""
    usual = Pattern(
        read_fraction=load.reads,
        io_bytes=load.io,
        working_set_bytes=load.hot or touched,
        skew=load.skew,
        sequential_fraction=load.sequential,
    )
    if not load.sweep:
        return usual
    writes = 1.0 - load.reads
    elsewhere = writes * (1.0 - load.sweep)
    parts = [(writes * load.sweep, Pattern(0.0, load.io, touched, sequential_fraction=1.0))]
    if rest := load.reads + elsewhere:
        parts.append((rest, replace(usual, read_fraction=load.reads / rest)))
    return Mix(tuple(part for part in parts if part[0] > 0))


# Content. --------------------------------------------------------------------------------------


def _fill(world: World, vm: spec.Vm, recorded: Recorded | None) -> None:
    """Write what the disks hold when the scenario begins."""
    for k in vm.disks:
        disk = world.hypervisor.vm(vm.name).disks[k.key].disk
        runs = Runs.single(0, k.written) if k.written else Runs.empty()
        if recorded is not None and vm.load.kind == "trace" and k is vm.disks[0]:
            length = np.minimum(recorded.length_bytes, k.size)
            offset = recorded.offset_bytes % np.maximum(k.size - length + 1, 1)
            runs = runs | Runs.from_arrays(offset, length).align(_FOOTPRINT_BYTES, k.size)
        world.site.fast_forward(disk, _rows(world, runs))
    world.site.settle()


def _rows(world: World, runs: Runs) -> NDArray[np.int64]:
    """Return *runs* as (block, count) rows of at most one I/O each."""
    size = world.site.block_bytes
    return runs.blocks(IO_BLOCKS_MAX * size) // size


async def prepare(world: World) -> None:
    """Bring about what the scenario says was there before, then power every VM on.

    Change tracking is switched on, and chains of snapshots grow, while the VMs are off.
    """
    host = world.hypervisor
    for vm in world.scenario.vms:
        emulated = host.vm(vm.name)
        if vm.tracking and any(k.mode == "dependent" for k in vm.disks):
            await perform(world.env, host.set_tracking(emulated, enabled=True))
        for number in range(vm.chain.snapshots):
            name = f"existing-{number + 1}"
            await perform(world.env, host.create_snapshot(emulated, name))
            for k in vm.disks:
                disk = emulated.disks[k.key].disk
                written = vm.chain.written_after_each
                world.site.fast_forward(disk, _scattered(world, vm.name, number, k.size, written))
    for vm in world.scenario.vms:
        await perform(world.env, host.power_on(host.vm(vm.name)))


def _scattered(world: World, vm: str, number: int, size: int, written: int) -> NDArray[np.int64]:
    """Return writes of 64 KiB, or of a content block that is larger, all over a disk.

    They are *written* bytes in all, rounded up to whole blocks, so that the last may be shorter.
    """
    stream = np.random.Generator(
        np.random.Philox(key=stream_key(world.seed, "chain", vm, str(number)))
    )
    block = world.site.block_bytes
    piece = max(_FOOTPRINT_BYTES, block)  # which divides 1 MiB, and so the disk
    blocks, each = -(-written // block), piece // block
    starts = np.arange(0, blocks, each)  # of the pieces, if they lay side by side
    chosen = np.sort(stream.choice(size // piece, len(starts), replace=False))
    counts = np.minimum(each, blocks - starts)
    return np.stack((chosen * each, counts), axis=1).astype(np.int64)
