"""A LUN of a scripted target, attached for as long as a test wants it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from initiators.scripted import (
    IQN,
    NAA,
    TARGET,
    Disk,
    Scripted,
    served,
)
from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.extents import Runs
from stuntdouble.initiators.iscsi import (
    IscsiInitiator,
    Limits,
)
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB

SIZE = 256 * KIB
OTHER = "6000" + "cd" * 14
QUICK = Limits(patience_seconds=5.0, rescan_seconds=0.0)
USER = Credentials("user", "secret of user")
BOTH = Credentials("user", "secret of user", "array", "secret of array")


def disk(naa=NAA):
    return Disk(bytearray(range(256)) * (SIZE // 256), naa=naa)


def run(scenario, target=None):
    target = target or Scripted({5: disk()})

    async def main():
        async with served(target):
            return await scenario(target)

    return asyncio.run(main())


@asynccontextmanager
async def attached(target, lun=5, **kw):
    kw.setdefault("limits", QUICK)
    device = await IscsiInitiator(target.portal, IQN, TARGET, **kw).attach(target.mapping(lun))
    try:
        yield device
    finally:
        await device.close()


async def read(device):
    throttle = Throttle()
    runs = Runs.single(0, device.size_bytes)
    return b"".join([bytes(span.data) async for span in device.read(runs, throttle)])


async def fails(target, error, text, **kw):
    with pytest.raises(error, match=text) as raised:
        async with attached(target, **kw):
            pass
    assert "\n" not in str(raised.value)
