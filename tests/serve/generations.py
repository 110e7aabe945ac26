"""An array behind both vendors' interfaces and iSCSI, who keeps overwriting it, and golden images.

What a snapshot has to show is known twice, and from neither snapshot: the volume's bytes are kept
in the instant in which it is taken, and whoever writes over iSCSI knows what he had written by then.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from serve.going import going
from serve.going import table as going_table
from stuntdouble.adapters.pure import PureArray, PureClient
from stuntdouble.adapters.wsapi import WsapiArray, WsapiClient
from stuntdouble.extents import Runs
from stuntdouble.initiators import IscsiInitiator, Limits
from stuntdouble.ports import Throttle
from stuntdouble.scenarios import parse
from stuntdouble.scenarios.vendors import as_flasharrays
from stuntdouble.serve.arrays import wsapi_endpoint
from stuntdouble.serve.flasharray import pure_endpoint
from stuntdouble.serve.iscsi import IscsiEndpoint, target_name
from stuntdouble.serve.listening import Address
from stuntdouble.serve.reviving import Origin
from stuntdouble.units import KIB, MIB

SIZE = 24 * MIB
TAIL = 16 * MIB
"""Where the volume's tail begins, which guests leave alone."""

WRITER = "iqn.2026-11.org.example:writer"
READER = "iqn.2026-11.org.example:reader"
TARGET = target_name("array-1")
QUICK = Limits(patience_seconds=10.0, rescan_seconds=0.0)
ANY = Address("127.0.0.1", 0)


def site(reserve="256 MiB", **parameters):
    """Return a site whose guests write to the head of a small volume of an array with *parameters*."""
    table = going_table()
    table["arrays"][0]["parameters"] = parameters
    table["arrays"][0]["pools"][0]["reserve"] = reserve
    table["arrays"][0]["volumes"][0]["size"] = "24 MiB"
    table["datastores"][0]["fragmentation"] = 0.0
    disk = table["vms"][0]["disks"][0]
    disk |= {"size": "8 MiB", "written": "4 MiB", "provisioning": "eager-zeroed"}
    table["vms"][0]["load"]["working_set"] = "8 MiB"
    return Origin(parse(table, "test"), 1)


@dataclass
class Served:
    """Where a served array is, and what its base volume held whenever it was snapshotted."""

    array: object
    portal: str
    wsapi: str
    pure: object
    golden: dict[str, bytes] = field(default_factory=dict)

    def initiator(self, iqn, portal="", **more):
        return IscsiInitiator(portal or self.portal, iqn, TARGET, limits=QUICK, **more)

    @asynccontextmanager
    async def adapters(self):
        """Yield the array by each interface that is served."""
        async with AsyncExitStack() as stack:
            by = {}
            wsapi = await stack.enter_async_context(WsapiClient(self.wsapi, "admin", "secret"))
            by["wsapi"] = WsapiArray(wsapi)
            if self.pure is not None:
                client = PureClient(
                    self.pure.url, "secret", fingerprint=self.pure.fingerprint_sha256
                )
                by["pure"] = PureArray(await stack.enter_async_context(client))
            yield by


def served(talk, start=None, *, pure=True, rate=40.0):
    """Run ``talk(served)`` on a loop and in a thread of its own while the site goes; return the site."""
    start = start or site()
    if pure:
        start = replace(start, scenario=as_flasharrays(start.scenario))

    async def main(live, control):
        ends = [IscsiEndpoint(live, ANY), wsapi_endpoint(live, ANY, "admin", "secret")]
        ends += [pure_endpoint(live, ANY, "admin", "secret")] if pure else []
        try:
            at = [await each.start() for each in ends]
            array = live.world.arrays["array-1"]
            found = Served(
                array, at[0].url.removeprefix("iscsi://"), at[1].url, at[2] if pure else None
            )

            def keep(line):
                if line.kind == "array-snapshot" and line.facts["volume"] == "vol-1":
                    base = array.volume("vol-1")
                    blocks = base.size_bytes // live.world.site.block_bytes
                    found.golden[line.subject] = array.show(base, 0, blocks).tobytes()

            live.world.journal.listeners.append(keep)
            await control.act("map", array="array-1", volume="vol-1", initiator_iqn=WRITER)
            await asyncio.to_thread(lambda: asyncio.run(talk(found)))
        finally:
            for each in ends:
                await each.stop()
        return live.world

    return going(main, rate=rate, start=start)


async def contents(device, meanwhile=None):
    """Return what a device holds, read in pieces."""
    found = bytearray(device.size_bytes)
    async for span in device.read(
        Runs.single(0, device.size_bytes), Throttle(depth=4, block_bytes=512 * KIB)
    ):
        found[span.offset : span.offset + len(span.data)] = span.data
        if meanwhile is not None:
            await meanwhile()
    return bytes(found)


@dataclass
class Writer:
    """Overwrites the base volume, a write at a time; ``log`` is what, in order."""

    device: object
    rng: random.Random
    before: bytes
    log: list[tuple[int, bytes]] = field(default_factory=list)
    acknowledged: int = 0

    @classmethod
    async def of(cls, served, array, seed):
        """Return one who has read what he is going to overwrite."""
        mapping = next(m for m in await array.mappings() if m.initiator_iqn == WRITER)
        device = await served.initiator(WRITER).attach(mapping)
        return cls(device, random.Random(seed), await contents(device))

    async def once(self, size=0):
        """Write somewhere beyond the first MiB, mostly to the tail."""
        length = size or 512 * self.rng.choice((1, 7, 8, 64, 512))
        low = TAIL if self.rng.random() < 0.7 else MIB
        at = self.rng.randrange(low // 512, (SIZE - length) // 512) * 512
        data = self.rng.randbytes(length)
        self.log.append((at, data))
        await self.device.write(at, memoryview(data))
        self.acknowledged = len(self.log)

    async def _for_ever(self):
        while True:
            await self.once()
            await asyncio.sleep(0.002)

    @asynccontextmanager
    async def going(self):
        """Write for as long as the block takes; what ends it is raised at the end."""
        task = asyncio.create_task(self._for_ever())
        try:
            yield self
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def more(self, count=2):
        """Return when that many more writes have been acknowledged."""
        until = self.acknowledged + count
        while self.acknowledged < until:  # noqa: ASYNC110  (it tells nobody)
            await asyncio.sleep(0.002)

    def tail_after(self, count):
        """Return what the tail holds after so many writes."""
        found = bytearray(self.before)
        for at, data in self.log[:count]:
            found[at : at + len(data)] = data
        return bytes(found[TAIL:])

    def wrote(self, tail, least, most):
        """Say whether *tail* is what was written by some moment between two counts of writes."""
        return any(self.tail_after(count) == tail for count in range(least, most + 1))
