"""Estates to read from, built directly: VMs at rest, and a large disk that was written all over.

Nothing runs on them, so that what is measured is the interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.bench.vsphere.servers import PASSWORD, USER
from stuntdouble.clock import Environment
from stuntdouble.hypervisor import DiskSpec, Hypervisor
from stuntdouble.iops import FLASH_CHANNEL, Geometry, Raid, Recorder, Reference
from stuntdouble.ports import Provisioning
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import GIB, KIB, MIB, TIB

if TYPE_CHECKING:
    from collections.abc import Generator

    from stuntdouble.ports import VmSnapshot
    from stuntdouble.vsphere import VirtualCenter

DISK_KEY: Final = 2000  # of a VM's first disk, as vSphere numbers them
WIDE: Final = "wide"
WIDE_BYTES: Final = 16 * TIB  # asked for: a million changes of a 16 TiB disk
AREA_BYTES: Final = 64 * KIB  # a grain of change tracking, the emulated hypervisor's default

_BLOCK: Final = 4 * KIB  # content blocks, the project's default
_CHUNK_BLOCKS: Final = 64 * KIB // _BLOCK  # of storage snapshots, of which there are none here
_LUN_BYTES: Final = 20 * TIB  # room for the wide disk and more
_FS_BYTES: Final = 64 * MIB  # of VMFS 1 MiB; a place costs 140 bytes and a call of Python
_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Changed:
    """A disk with changes: what a client asks with to hear of them."""

    snapshot: VmSnapshot
    since: str
    areas: int


def estate(vms: int) -> Hypervisor:
    """Return a hypervisor with so many VMs at rest, of one thin disk of 1 GiB each."""
    env, site = Environment(), Site(block_bytes=_BLOCK, content="counts")
    blocks = _LUN_BYTES // _BLOCK
    pool = site.create_pool(blocks, blocks)
    engine = Reference(env, site, _SEED, Recorder())
    flash = engine.add_station(FLASH_CHANNEL, 1, 4 * _LUN_BYTES)
    engine.add_pool(pool, Geometry(Raid.RAID0, flash, 1, MIB))
    network = engine.add_station(FLASH_CHANNEL)
    made = Hypervisor(engine, Streams(_SEED), Journal(), None, network)
    lun = site.create_lun(blocks, _CHUNK_BLOCKS, pool, 0)
    made.add_datastore("ds", [lun], ("naa.1",), fs_block_bytes=_FS_BYTES, zero_bytes=MIB)
    for k in range(vms):
        made.add_vm(f"vm-{k:05}", [DiskSpec(DISK_KEY, GIB, Provisioning.THIN, "ds")], None)
    return made


def add_wide(hypervisor: Hypervisor, areas: int) -> Changed:
    """Add a VM with a disk of 16 TiB, and *areas* isolated changes between two moments of it."""
    spec = DiskSpec(DISK_KEY, WIDE_BYTES, Provisioning.THIN, "ds")
    vm = hypervisor.add_vm(WIDE, [spec], None)
    env = hypervisor.host.env

    def do(model: Generator[Any, Any, Any]) -> Any:
        return env.run(until=env.process(model))

    do(hypervisor.set_tracking(vm, enabled=True))
    before: VmSnapshot = do(hypervisor.create_snapshot(vm, "before", quiesce=False))
    do(hypervisor.remove_snapshot(vm, before.id))
    apart = WIDE_BYTES // areas // AREA_BYTES * AREA_BYTES // _BLOCK
    starts = np.arange(areas, dtype=np.int64) * apart
    counts = np.full(areas, AREA_BYTES // _BLOCK, np.int64)
    disk = vm.disks[DISK_KEY].disk
    hypervisor.host.site.fast_forward(disk, np.stack([starts, counts], axis=1))
    after: VmSnapshot = do(hypervisor.create_snapshot(vm, "after", quiesce=False))
    return Changed(after, before.change_ids[DISK_KEY], areas)


def center(hypervisor: Hypervisor) -> VirtualCenter:
    """Return a vCenter over a hypervisor, for the user that the benchmarks log in as."""
    from stuntdouble.vsphere import Setting, User  # noqa: PLC0415  (an extra)
    from stuntdouble.vsphere import VirtualCenter as Made  # noqa: PLC0415

    return Made(hypervisor, Setting(users=(User(USER, PASSWORD),)))
