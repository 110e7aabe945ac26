"""From the array's port to bytes: snapshot, promote, map, attach over iSCSI, read, and back."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stuntdouble.array import Array, LocalArray, Parameters, PoolSpec
from stuntdouble.clock import run
from stuntdouble.errors import AccessDenied, InvalidState, NotFound
from stuntdouble.extents import Runs
from stuntdouble.initiators import IscsiInitiator, Limits
from stuntdouble.iops import FLASH_CHANNEL, Raid, Recorder, Reference
from stuntdouble.iscsi import Node, Server, Target
from stuntdouble.iscsi.units import ArrayLuns
from stuntdouble.ports import Throttle
from stuntdouble.scsi import DeviceServer
from stuntdouble.site import Site
from stuntdouble.trace import Journal, Streams
from stuntdouble.units import KIB, MIB

pytestmark = pytest.mark.paced

BLOCK = 4 * KIB
SIZE = 4 * MIB
IQN = "iqn.2026-11.org.example:backup"
TARGET = "iqn.2026-11.org.example:array"
QUICK = Limits(patience_seconds=10.0, rescan_seconds=0.0)


class Rack:
    """An array of one pool behind an iSCSI target."""

    def __init__(self, env):
        self.env = env
        self.site = Site(block_bytes=BLOCK, keep_log=True)
        engine = Reference(env, self.site, 1, Recorder())
        self.array = Array(engine, Streams(1), Journal(), Parameters())
        pool = self.array.add_pool(
            PoolSpec(
                "pool-1",
                FLASH_CHANNEL,
                raid=Raid.RAID0,
                disks=4,
                disk_bytes=16 * MIB,
                reserve_bytes=8 * MIB,
            )
        )
        self.volume = self.array.create_volume("v1", SIZE, pool)
        self.port = LocalArray(self.array)
        self.device = DeviceServer(ArrayLuns(self.array), TARGET)
        self.array.on_luns_changed.append(self.tell)
        target = Target(TARGET, self.device, lambda _iqn: True, lambda _iqn: None)
        self.server = Server(Node({TARGET: target}), entered=env.entered)

    def tell(self, host):
        for iqn in host.iqns:
            self.device.luns_changed(iqn)

    def write(self, block, count):
        with self.env.entered():
            self.site.volume_write(self.volume.lun, block * BLOCK, count * BLOCK)

    def shown(self, volume=None):
        with self.env.entered():
            rows = self.array.show(volume or self.volume, 0, SIZE // BLOCK)
            return np.asarray(rows).tobytes()

    def initiator(self, iqn=IQN, **kw):
        host, port = self.server.address
        return IscsiInitiator(f"{host}:{port}", iqn, TARGET, limits=QUICK, **kw)

    async def promoted(self, name):
        """Return the mapping of a new image of the volume."""
        (snapshot,) = await self.port.create_snapshots((self.volume.naa,), name)
        volume = await self.port.promote(snapshot.name, f"{name}-copy")
        return snapshot, await self.port.map_volume(volume.name, IQN)

    async def given_back(self, snapshot, mapping):
        await self.port.unmap_volume(mapping.volume, IQN)
        await self.port.delete_volume(mapping.volume)
        await self.port.delete_snapshot(snapshot.name)


def serve(scenario):
    async def main(env):
        rack = Rack(env)
        await rack.server.start("127.0.0.1", 0)
        try:
            await scenario(rack)
        finally:
            await rack.server.close()

    run(main, rate=10.0)


async def contents(device, meanwhile=lambda: None):
    found = bytearray(device.size_bytes)
    runs, throttle = Runs.single(0, device.size_bytes), Throttle(depth=3, block_bytes=64 * KIB)
    async for span in device.read(runs, throttle):
        found[span.offset : span.offset + len(span.data)] = span.data
        meanwhile()
    return bytes(found)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 24)), min_size=1, max_size=12))
@settings(deadline=None, max_examples=15)
def test_an_image_reads_as_at_its_moment_while_the_volume_is_written(writes):
    async def scenario(rack):
        for block, count in writes:
            rack.write(block, count)
        golden = rack.shown()
        snapshot, mapping = await rack.promoted("s")
        again = iter([*writes, (0, 64), (512, 64)])

        def overwrite():
            rack.write(*next(again, (7, 7)))

        device = await rack.initiator().attach(mapping)
        overwrite()
        assert device.identity == mapping.naa
        assert await contents(device, overwrite) == golden
        assert await contents(device, overwrite) == golden
        await device.close()
        await rack.given_back(snapshot, mapping)
        assert rack.shown() != golden

    serve(scenario)


def test_a_number_that_is_used_again_is_another_volume():
    async def scenario(rack):
        rack.write(0, 512)
        first, old = await rack.promoted("first")
        device = await rack.initiator(sessions=3).attach(old)
        await rack.given_back(first, old)
        with pytest.raises(AccessDenied, match="not mapped"):
            await contents(device)
        rack.write(0, 256)
        _, new = await rack.promoted("second")
        assert (old.lun, old.naa != new.naa) == (new.lun, True)
        with pytest.raises(InvalidState, match=f"volume {new.naa}: cannot read {old.naa}"):
            await contents(device)
        other = await rack.initiator().attach(new)
        assert await contents(other) == rack.shown()
        await asyncio.gather(device.close(), other.close())

    serve(scenario)


def test_who_is_not_mapped_reads_nothing():
    async def scenario(rack):
        rack.write(0, 512)
        _, mapping = await rack.promoted("s")
        stranger = "iqn.2026-11.org.example:stranger"
        wanted = type(mapping)(mapping.volume, mapping.naa, stranger, mapping.lun)
        with pytest.raises(NotFound, match="no volume"):
            await rack.initiator(stranger).attach(wanted)

    serve(scenario)


def test_what_is_written_over_the_wire_is_what_the_site_has():
    async def scenario(rack):
        rack.write(0, 512)
        mapping = await rack.port.map_volume("v1", IQN)
        device = await rack.initiator().attach(mapping)
        data = bytes(range(256)) * (5 * KIB)
        await device.write(8 * BLOCK, memoryview(data))
        want = rack.shown()
        assert want[8 * BLOCK : 8 * BLOCK + len(data)] == data
        assert await contents(device) == want
        await device.close()

    serve(scenario)
