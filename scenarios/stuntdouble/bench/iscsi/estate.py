"""What is read in the benchmark: a promoted copy-on-write snapshot whose base has gone on.

Every other MiB holds bytes that cannot be compressed, the rest reads as zeros.  These bytes came
from outside, and lie in memory as they are; or guests wrote them, and they are made from tokens
whenever they are read.  Of the base, every
fourth array chunk has been written over since the snapshot, so a fourth of what is read lies in the
snapshot reserve.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.array import Array, Parameters, PoolSpec
from stuntdouble.clock import Environment
from stuntdouble.iops import FLASH_CHANNEL, Raid, Recorder
from stuntdouble.iops.kernel import CompiledEngine
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from simpy.events import Event

BLOCK_BYTES: Final = 4 * KIB
INITIATOR: Final = "iqn.2026-01.com.example:bench"
LUN: Final = 1

_SEED: Final = 1
_DISKS: Final = 4
_CHUNK_BYTES: Final = 64 * KIB
_OVERWRITTEN: Final = 4  # every so many chunks of the base


class Content(Enum):
    """Where the bytes of a LUN come from."""

    BYTES = "bytes"
    TOKENS = "tokens"


def build(size_bytes: int, content: Content) -> Array:
    """Return an array with the LUN, mapped to ``INITIATOR`` and to nobody else."""
    env = Environment()
    site = Site(block_bytes=BLOCK_BYTES)
    engine = CompiledEngine(env, site, _SEED, Recorder())
    array = Array(engine, Streams(_SEED), Journal(), Parameters(chunk_bytes=_CHUNK_BYTES))
    pool = array.add_pool(
        PoolSpec(
            "pool-1",
            FLASH_CHANNEL,
            raid=Raid.RAID0,
            disks=_DISKS,
            disk_bytes=max(size_bytes, GIB),
            reserve_bytes=size_bytes,
        )
    )
    base = array.create_volume("base", size_bytes, pool)
    random = np.random.default_rng(_SEED)
    for offset in range(0, size_bytes, MIB):
        if offset // MIB % 2:
            site.volume_zero(base.lun, offset, MIB)
        else:
            data = memoryview(random.bytes(MIB)) if content is Content.BYTES else None
            site.volume_write(base.lun, offset, MIB, data)
    _do(env, array.create_snapshots((base.naa,), "frozen"))
    for offset in range(0, size_bytes, _OVERWRITTEN * _CHUNK_BYTES):
        site.volume_write(base.lun, offset, _CHUNK_BYTES)
    _do(env, array.promote("frozen", "shown"))
    _do(env, array.map_volume("shown", INITIATOR, LUN))
    return array


def _do(env: Environment, request: Generator[Event, Any, Any]) -> None:
    env.run(until=env.process(request))
