"""A LUN of a scripted target, attached and read: what tests of the initiator share."""

from __future__ import annotations

import asyncio
import random

from initiators.scripted import (
    IQN,
    TARGET,
    Disk,
    Scripted,
    served,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators.iscsi import IscsiInitiator, Limits
from stuntdouble.ports import Throttle
from stuntdouble.units import MIB

SIZE = 2 * MIB
CONTENT = random.Random(5).randbytes(SIZE)
READ, WRITE = 0x88, 0x8A


def disk(**kw):
    return Disk(bytearray(CONTENT), **kw)


def run(scenario, target=None, *, lun=5, **kw):
    """Attach a LUN of a target, and let a scenario use it."""
    target = target or Scripted({lun: disk()})
    kw.setdefault("limits", Limits(patience_seconds=20.0, rescan_seconds=0.0))

    async def main():
        async with served(target):
            initiator = IscsiInitiator(target.portal, IQN, TARGET, **kw)
            device = await initiator.attach(target.mapping(lun))
            try:
                return await scenario(device, target)
            finally:
                await device.close()

    return asyncio.run(main())


async def contents(device, runs=None, **throttle):
    """Read a device; return pairs of offset and bytes."""
    runs = Runs.single(0, device.size_bytes) if runs is None else runs
    return [(s.offset, bytes(s.data)) async for s in device.read(runs, Throttle(**throttle))]


async def whole(device, **throttle):
    return b"".join(data for _, data in await contents(device, **throttle))


def once(op, word, *, after=0):
    """Script: one word for the first command of a kind, or a later one, and nothing then."""
    seen = []

    def script(_talk, asked):
        if asked.cdb[0] == op:
            seen.append(op)
            if len(seen) == after + 1:
                return word
        return None

    return script
