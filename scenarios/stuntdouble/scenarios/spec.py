"""What a scenario says: the site, its load, the backup, and what happens around it.

A scenario is a TOML file; these models are its grammar.  Every name that one table uses must be
defined by another, sizes must divide, and what is provisioned must fit: an impossible topology is
refused when the file is read, with the key that is wrong.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stuntdouble.scenarios import foreground
from stuntdouble.scenarios.values import (
    Capacity,
    LinkRate,
    MemorySeconds,
    Name,
    Rate,
    Seconds,
    Share,
    Size,
    Table,
    check_divides,
    check_known,
    check_unique,
)
from stuntdouble.site import IO_BLOCKS_MAX
from stuntdouble.units import GIB, KIB, MIB, SECTOR_BYTES, format_size

Method = Literal["software", "storage", "mounted"]
Load = foreground.Load


class Cache(Table):
    """A pool's write-back cache: host writes end in it, and wait above ``mark`` of its ``size``."""

    size: Size
    mark: Share = 0.8
    write: MemorySeconds = 200e-6
    read: MemorySeconds = 200e-6
    destages: int = Field(default=16, ge=1, le=4096)

    @property
    def mark_bytes(self) -> int:
        """Dirty bytes at which host writes begin to wait."""
        return int(self.size * self.mark)

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not SECTOR_BYTES <= self.mark_bytes < 1 << 50:
            raise ValueError("size times mark must be 512 B or more, and less than 1 PiB")
        return self


class Pool(Table):
    """Disks of an array: ``media`` sets the service times, ``raid`` the redundancy."""

    name: Name
    media: Literal["7.2k", "10k", "flash"]
    raid: Literal["raid0", "raid10", "raid5", "raid6"] = "raid10"
    disks: int = Field(ge=1, le=256)
    disk_size: Capacity
    stripe: Size = 64 * KIB
    port: LinkRate = 0.0
    reserve: Size = GIB
    blocking: bool = False
    foreground_first: bool = False
    cache: Cache | None = None

    @property
    def usable_bytes(self) -> int:
        """What is left of the disks after redundancy."""
        data = {"raid0": self.disks, "raid10": self.disks // 2}
        parity = {"raid5": 1, "raid6": 2}
        return self.disk_size * data.get(self.raid, self.disks - parity.get(self.raid, 0))


class Volume(Table):
    """A volume of an array."""

    name: Name
    pool: Name
    size: Capacity


class Array(Table):
    """A storage array; keys of ``parameters`` are those of ``stuntdouble.array.Parameters``."""

    name: Name = "array-1"
    parameters: dict[str, Any] = Field(default_factory=dict)
    pools: tuple[Pool, ...] = Field(min_length=1)
    volumes: tuple[Volume, ...] = Field(min_length=1)

    def mirrored_bytes(self, pool: str) -> int:
        """Return the room that a mirror of each volume takes in a pool: none without mirrors."""
        if self.parameters.get("snapshot_kind") != "split-mirror":
            return 0
        home = self.parameters.get("mirror_pool", "")
        return sum(v.size for v in self.volumes if (home or v.pool) == pool)


class Datastore(Table):
    """A file system over volumes; ``fragmentation`` scatters its free space."""

    name: Name
    volumes: tuple[Name, ...] = Field(min_length=1, max_length=32)
    block: Size = MIB
    zero_unit: Size = MIB
    fragmentation: Share = 0.0


class Disk(Table):
    """A virtual disk; its first ``written`` bytes hold data when the scenario begins."""

    key: int = Field(default=2000, ge=2000, le=2255)
    datastore: Name
    size: Capacity
    provisioning: Literal["thin", "lazy-zeroed", "eager-zeroed"] = "thin"
    mode: Literal["dependent", "independent", "raw", "multi-writer"] = "dependent"
    written: Size = 0
    iops_limit: int = Field(default=0, ge=0, le=10_000_000)
    iops_burst: int = Field(default=1, ge=1, le=10_000_000)

    @model_validator(mode="after")
    def _is_limited(self) -> Self:
        if self.iops_limit == 0 and "iops_burst" in self.model_fields_set:
            raise ValueError("iops_burst is of no use without iops_limit")
        return self


class Chain(Table):
    """Snapshots that a VM already has: how many, and what was written after each."""

    snapshots: int = Field(default=0, ge=0, le=31)
    written_after_each: Size = 8 * MIB


class Quiesce(Table):
    """What the guest's tools can do; ``freeze`` is how long they hold its writes."""

    tools: bool = True
    vss: bool = False
    freeze: Seconds = 0.5


class Vm(Table):
    """A virtual machine; its disks are in order of their keys."""

    name: Name
    disks: tuple[Disk, ...] = Field(min_length=1, max_length=60)
    load: Load = Load(kind="none")
    chain: Chain = Chain()
    quiesce: Quiesce = Quiesce()
    tracking: bool = True

    @field_validator("disks")
    @classmethod
    def _in_order(cls, disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
        return tuple(sorted(disks, key=lambda disk: disk.key))


class Throttle(Table):
    """How hard the job may read, all its VMs together: one and the same for all methods."""

    depth: int = Field(default=8, ge=1, le=256)
    block: Size = MIB
    rate: Rate = 0.0


class LatencyLimits(Table):
    """Latency control: hold back new tasks above one threshold, throttle above the other."""

    hold: Seconds = 0.020
    throttle: Seconds = 0.030
    poll: Seconds = 20.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.hold <= self.throttle:
            raise ValueError("hold must be above 0 s, and not above throttle")
        if self.poll <= 0:
            raise ValueError("poll must be above 0 s")
        return self


class Backup(Table):
    """The backup job; ``vms`` empty means all, ``disks`` picks device keys of a VM."""

    vms: tuple[Name, ...] = ()
    disks: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    runs: tuple[Literal["full", "incremental"], ...] = Field(default=("full",), min_length=1)
    quiesce: bool = False
    quiesce_fallback: Literal["fail", "crash-consistent"] = "fail"
    transport: Literal["nbd", "hot-add", "san"] = "hot-add"
    lan: LinkRate = 125e6
    throttle: Throttle = Throttle()
    latency: LatencyLimits | None = None
    concurrency: int = Field(default=4, ge=1, le=64)
    window: Seconds = 0.0
    keep_last: int = Field(default=0, ge=0)


class Times(Table):
    """Site time around the job; ``total`` makes the run at least so long.

    Runs begin ``every`` so often, as a schedule has it, or ``between`` after the one before ended.
    """

    before: Seconds = 60.0
    between: Seconds = 60.0
    every: Seconds = 0.0
    after: Seconds = 60.0
    total: Seconds = 0.0

    @model_validator(mode="after")
    def _one_way_to_go_on(self) -> Self:
        if self.every and "between" in self.model_fields_set:
            raise ValueError("runs begin `every` so often or `between` after the last: give one")
        return self


class Step(Table):
    """Something that happens after the backups.

    * ``keep-snapshot``: take an array snapshot of the VMs' volumes and keep it.
    * ``damage``: part of a volume's medium goes bad, whoever reads it.
    * ``lose-array``: the array is gone, with everything in it.
    * ``check-snapshot``: read the kept array snapshot and compare it with the truth.
    * ``restore``: restore the newest restore point of each VM into ``datastore`` and compare.
    """

    do: Literal["keep-snapshot", "damage", "lose-array", "check-snapshot", "restore"]
    array: Name = "array-1"
    volume: str = ""
    offset: Size = 0
    length: Size = MIB
    datastore: str = ""


class Scenario(Table):
    """A whole scenario; ``sources`` says where a value comes from, by its key."""

    name: Name
    title: str = Field(min_length=1, max_length=120)
    description: str = ""
    content_block: Size = 4 * KIB
    methods: tuple[Method, ...] = Field(default=("software", "storage", "mounted"), min_length=1)
    hypervisor: dict[str, Any] = Field(default_factory=dict)
    arrays: tuple[Array, ...] = Field(min_length=1)
    datastores: tuple[Datastore, ...] = Field(min_length=1)
    vms: tuple[Vm, ...] = Field(min_length=1)
    backup: Backup = Backup()
    times: Times = Times()
    after: tuple[Step, ...] = ()
    expect_failure: tuple[Method, ...] = ()
    sources: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        _check_names(self)
        _check_sizes(self)
        _check_room(self)
        _check_backup(self)
        return self

    @property
    def trace_vms(self) -> tuple[Vm, ...]:
        """The VMs whose load is a trace."""
        return tuple(vm for vm in self.vms if vm.load.kind == "trace")


def _check_names(s: Scenario) -> None:
    check_unique("arrays", [a.name for a in s.arrays])
    check_unique("volumes of all arrays", [v.name for a in s.arrays for v in a.volumes])
    check_unique("datastores", [d.name for d in s.datastores])
    check_unique("vms", [vm.name for vm in s.vms])
    for a in s.arrays:
        check_unique(f"pools of {a.name}", [p.name for p in a.pools])
        for v in a.volumes:
            check_known(f"volume {v.name}: pool", v.pool, [p.name for p in a.pools])
        if home := a.parameters.get("mirror_pool"):
            where = f"arrays.{a.name}.parameters.mirror_pool: pool"
            check_known(where, str(home), [p.name for p in a.pools])
    volumes = [v.name for a in s.arrays for v in a.volumes]
    used = [v for d in s.datastores for v in d.volumes]
    check_unique("volumes under datastores", used)
    for d in s.datastores:
        for used_volume in d.volumes:
            check_known(f"datastore {d.name}: volume", used_volume, volumes)
    for vm in s.vms:
        check_unique(f"disks of {vm.name}", [disk.key for disk in vm.disks])
        for disk in vm.disks:
            check_known(f"vm {vm.name}: datastore", disk.datastore, [d.name for d in s.datastores])


def _check_sizes(s: Scenario) -> None:
    """Sizes divide: 512 B | content block | stripe | 1 MiB | volumes and disks."""
    block = s.content_block
    if not SECTOR_BYTES <= block <= MIB or block & (block - 1):
        raise ValueError(f"content_block: {block} must be a power of two from 512 B to 1 MiB")
    for a in s.arrays:
        for p in a.pools:
            _check_pool(p, block)
        for v in a.volumes:
            check_divides(f"volume {v.name}: 1 MiB", MIB, "size", v.size)
    for d in s.datastores:
        _check_datastore(d, block)
    for vm in s.vms:
        for disk in vm.disks:
            _check_disk(f"vm {vm.name}, disk {disk.key}", disk, block)
        _check_load(vm, block)
        _check_chain(vm)
    if not SECTOR_BYTES <= s.backup.throttle.block <= io_bytes_max(block):
        most = format_size(io_bytes_max(block))
        raise ValueError(f"backup.throttle.block: 512 B at least, and at most {most}")


def io_bytes_max(content_block: int) -> int:
    """Return how large one I/O may be, wherever it begins within a content block."""
    return (IO_BLOCKS_MAX - 1) * content_block


def _check_load(vm: Vm, block: int) -> None:
    load, smallest = vm.load, min(disk.size for disk in vm.disks)
    touched = load.working_set or min(disk.written or disk.size for disk in vm.disks)
    if load.working_set > smallest:
        raise ValueError(f"vm {vm.name}: load.working_set is more than its smallest disk")
    if load.kind in {"poisson", "closed"} and not 512 <= load.io <= touched:
        raise ValueError(f"vm {vm.name}: load.io must be 512 B or more, and fit what it works on")
    if load.hot and not load.io <= load.hot <= touched:
        raise ValueError(f"vm {vm.name}: load.hot must hold one I/O, and fit what it works on")
    if load.io > io_bytes_max(block):
        raise ValueError(f"vm {vm.name}: load.io is at most {format_size(io_bytes_max(block))}")


def _check_chain(vm: Vm) -> None:
    smallest = min(disk.size for disk in vm.disks)
    if vm.chain.snapshots and vm.chain.written_after_each > smallest:
        least = format_size(smallest)
        raise ValueError(
            f"vm {vm.name}: chain.written_after_each is more than its smallest disk, {least}"
        )


def _check_pool(p: Pool, block: int) -> None:
    check_divides(f"pool {p.name}: content_block", block, "stripe", p.stripe)
    check_divides(f"pool {p.name}: stripe", p.stripe, "1 MiB", MIB)
    least = {"raid0": 1, "raid10": 2, "raid5": 3, "raid6": 4}[p.raid]
    if p.disks < least or (p.raid == "raid10" and p.disks % 2):
        raise ValueError(f"pool {p.name}: {p.raid} does not work with {p.disks} disks")


def _check_datastore(d: Datastore, block: int) -> None:
    for name, size in (("block", d.block), ("zero_unit", d.zero_unit)):
        if size & (size - 1) or size < block:
            raise ValueError(f"datastore {d.name}: {name} must be a power of two, >= {block}")
    check_divides(f"datastore {d.name}: zero_unit", d.zero_unit, "block", d.block)


def _check_disk(what: str, disk: Disk, block: int) -> None:
    check_divides(f"{what}: 1 MiB", MIB, "size", disk.size)
    check_divides(f"{what}: content_block", block, "written", disk.written)
    if disk.written > disk.size:
        raise ValueError(f"{what}: written is more than size")


def _check_room(s: Scenario) -> None:
    for a in s.arrays:
        for p in a.pools:
            mirrors = a.mirrored_bytes(p.name)
            wanted = sum(v.size for v in a.volumes if v.pool == p.name) + mirrors + p.reserve
            if wanted > p.usable_bytes:
                each = "volumes, a mirror of each" if mirrors else "volumes"
                raise ValueError(
                    f"pool {p.name}: {each} and reserve take {format_size(wanted)},"
                    f" {p.raid} of its disks holds {format_size(p.usable_bytes)}"
                )
    sizes = {v.name: v.size for a in s.arrays for v in a.volumes}
    for d in s.datastores:
        disks = [k for vm in s.vms for k in vm.disks if k.datastore == d.name]
        wanted = sum(k.written if k.provisioning == "thin" else k.size for k in disks)
        room = sum(sizes[v] for v in d.volumes)
        if wanted > room:
            raise ValueError(
                f"datastore {d.name}: its disks need {format_size(wanted)},"
                f" its volumes hold {format_size(room)}"
            )


def _check_backup(s: Scenario) -> None:
    names = [vm.name for vm in s.vms]
    for name in s.backup.vms:
        check_known("backup: vm", name, names)
    _check_chosen_disks(s)
    _check_kept(s)
    for step in s.after:
        if step.do in {"damage", "lose-array", "keep-snapshot", "check-snapshot"}:
            check_known(f"after: {step.do}: array", step.array, [a.name for a in s.arrays])
        if step.do == "damage":
            _check_damage(s, step)
        if step.do == "restore":
            check_known("after: restore: datastore", step.datastore, [d.name for d in s.datastores])
    first = {v.name for v in s.arrays[0].volumes}
    chosen = s.backup.vms or tuple(names)
    stores = {k.datastore for vm in s.vms if vm.name in chosen for k in vm.disks}
    for d in s.datastores:
        if d.name in stores and not first.issuperset(d.volumes):
            raise ValueError(f"datastore {d.name}: VMs that are backed up lie on the first array")


def _check_damage(s: Scenario, step: Step) -> None:
    """Something of the volume goes bad, and nothing beyond its end."""
    sizes = {v.name: v.size for a in s.arrays if a.name == step.array for v in a.volumes}
    check_known(f"after: damage: volume of {step.array}", step.volume, list(sizes))
    end = sizes[step.volume]
    if step.length < 1 or step.offset + step.length > end:
        raise ValueError(
            f"after: damage: {step.length} B at {step.offset}: it must be 1 B at least,"
            f" and {step.volume} ends at {end}"
        )


def _check_chosen_disks(s: Scenario) -> None:
    there = {vm.name: [disk.key for disk in vm.disks] for vm in s.vms}
    for name, keys in s.backup.disks.items():
        check_known("backup.disks: vm", name, list(s.backup.vms) or list(there))
        check_unique(f"backup.disks: keys of {name}", list(keys))
        if not keys:
            raise ValueError(f"backup.disks: {name}: name a key at least, or leave the VM out")
        for key in keys:
            if key not in there[name]:
                has = ", ".join(map(str, there[name]))
                raise ValueError(f"backup.disks: {name} has no disk {key}: it has {has}")


def _check_kept(s: Scenario) -> None:
    """An array snapshot is checked after it was kept."""
    kept: set[str] = set()
    for step in s.after:
        if step.do == "keep-snapshot":
            kept.add(step.array)
        if step.do == "check-snapshot" and step.array not in kept:
            raise ValueError(f"after: check-snapshot: no keep-snapshot of {step.array} before it")
