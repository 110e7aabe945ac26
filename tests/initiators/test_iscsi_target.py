"""Our initiator at our own target: two readings of one standard, and of what arrays do to hosts."""

from __future__ import annotations

import asyncio
import random

import pytest

from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.errors import AccessDenied, InvalidState, NotFound
from stuntdouble.extents import Runs
from stuntdouble.initiators import DigestUse, IscsiInitiator, Limits
from stuntdouble.iscsi import Node, Server, Target
from stuntdouble.ports import Mapping, Throttle
from stuntdouble.scsi import DeviceServer, MemoryLuns, MemoryUnit
from stuntdouble.units import KIB, MIB

IQN, STRANGER = "iqn.2026-11.org.example:backup", "iqn.2026-11.org.example:stranger"
TARGET = "iqn.2026-11.org.example:array"
SIZE = 2 * MIB
CONTENT = random.Random(8).randbytes(SIZE)
NAA, OTHER = "6000" + "ab" * 14, "6000" + "cd" * 14
QUICK = Limits(patience_seconds=10.0, rescan_seconds=0.0)


class Array:
    """A target with one unit, that can be mapped and unmapped."""

    def __init__(self, secrets=None):
        self.luns = MemoryLuns({IQN: {}})
        self.device = DeviceServer(self.luns, TARGET)
        admits = self.luns.by_initiator.__contains__
        self.target = Target(TARGET, self.device, admits, lambda _iqn: secrets)
        self.server = Server(Node({TARGET: self.target}))

    def map(self, lun, naa=NAA, content=CONTENT):
        unit = MemoryUnit(naa=naa, size_bytes=len(content))
        unit.write(0, content)
        self.luns.by_initiator[IQN][lun] = unit
        self.device.luns_changed(IQN)
        return unit

    def unmap(self, lun):
        del self.luns.by_initiator[IQN][lun]
        self.device.luns_changed(IQN)

    @property
    def portal(self):
        host, port = self.server.address
        return f"{host}:{port}"

    def initiator(self, iqn=IQN, **kw):
        return IscsiInitiator(self.portal, iqn, TARGET, limits=QUICK, **kw)


def run(scenario, **kw):
    async def main():
        array = Array(**kw)
        await array.server.start("127.0.0.1", 0)
        try:
            await scenario(array)
            assert array.server.connections == 0
        finally:
            await array.server.close()

    asyncio.run(main())


def mapping(lun=3, naa=NAA, iqn=IQN):
    return Mapping("volume", naa, iqn, lun)


async def contents(device, runs=None, **throttle):
    found = bytearray(device.size_bytes)
    runs = Runs.single(0, device.size_bytes) if runs is None else runs
    async for span in device.read(runs, Throttle(**throttle)):
        found[span.offset : span.offset + len(span.data)] = span.data
    return bytes(found)


@pytest.mark.parametrize("digests", DigestUse)
@pytest.mark.parametrize("sessions", [1, 3])
def test_a_lun_is_read_and_written(digests, sessions):
    async def scenario(array):
        unit = array.map(3)
        device = await array.initiator(digests=digests, sessions=sessions).attach(mapping())
        assert await contents(device) == CONTENT
        assert await contents(device, block_bytes=8 * KIB, depth=40) == CONTENT
        data = random.Random(1).randbytes(MIB + 512)
        await device.write(512, memoryview(data))
        await device.flush()
        assert bytes(unit.data) == CONTENT[:512] + data + CONTENT[512 + len(data) :]
        await device.close()

    run(scenario)


@pytest.mark.parametrize("mutual", [("", ""), ("array", "the array's secret")])
def test_secrets_are_proved(mutual):
    chap = Credentials("backup", "the server's secret", *mutual)

    async def scenario(array):
        array.map(3)
        device = await array.initiator(chap=chap).attach(mapping())
        assert await contents(device) == CONTENT
        await device.close()
        with pytest.raises(AccessDenied):
            await array.initiator(chap=Credentials("backup", "a guess that is wrong")).attach(
                mapping()
            )
        with pytest.raises(AccessDenied):
            await array.initiator().attach(mapping())

    run(scenario, secrets=chap)


def test_a_target_without_the_second_secret_is_not_believed():
    known = Credentials("backup", "the server's secret", "array", "another secret of it")
    ours = Credentials("backup", "the server's secret", "array", "the array's secret")

    async def scenario(array):
        array.map(3)
        with pytest.raises(AccessDenied, match="cannot prove"):
            await array.initiator(chap=ours).attach(mapping())
        await until(lambda: array.server.connections == 0)

    run(scenario, secrets=known)


async def until(condition):
    while not condition():  # noqa: ASYNC110  (the target tells nobody)
        await asyncio.sleep(0.005)


def test_who_is_not_mapped_sees_nothing():
    async def scenario(array):
        array.map(3)
        with pytest.raises((AccessDenied, NotFound)):
            await array.initiator(STRANGER).attach(mapping(iqn=STRANGER))
        with pytest.raises(NotFound, match="no volume"):
            await array.initiator().attach(mapping(naa=OTHER, lun=5))

    run(scenario)


def test_mapping_while_reading_is_noise():
    async def scenario(array):
        array.map(3)
        device = await array.initiator(sessions=2).attach(mapping())
        spans = device.read(Runs.single(0, SIZE), Throttle(depth=2, block_bytes=64 * KIB))
        found = bytearray(SIZE)
        for turn in range(100):
            span = await anext(spans, None)
            if span is None:
                break
            found[span.offset : span.offset + len(span.data)] = span.data
            array.map(10 + turn, naa="6000" + f"{turn:028x}", content=bytes(MIB))
        assert bytes(found) == CONTENT
        assert await contents(device, block_bytes=64 * KIB) == CONTENT
        await device.close()

    run(scenario)


@pytest.mark.parametrize("again", [False, True], ids=["unmapped", "exchanged"])
def test_a_lun_that_is_taken_away_is_not_read_on(again):
    async def scenario(array):
        array.map(3)
        device = await array.initiator(sessions=2).attach(mapping())
        array.unmap(3)
        if again:
            array.map(3, naa=OTHER, content=bytes(SIZE))
        error, text = (InvalidState, OTHER) if again else (AccessDenied, "not mapped")
        with pytest.raises(error, match=text):
            await contents(device)
        await device.close()

    run(scenario)


@pytest.mark.parametrize("sessions", [1, 2])
def test_a_lun_in_whose_place_the_controller_is_seen_is_not_mapped(sessions):
    """What is under way after the attention meets a unit that knows no reads or writes."""

    async def scenario(array):
        array.map(0)
        device = await array.initiator(sessions=sessions).attach(mapping(0))
        array.unmap(0)
        with pytest.raises(AccessDenied, match="not mapped"):
            await contents(device, depth=8, block_bytes=32 * KIB)
        array.map(0)
        assert await contents(device) == CONTENT
        array.unmap(0)
        with pytest.raises(AccessDenied, match="not mapped"):
            await device.write(0, memoryview(CONTENT))
        await device.close()

    run(scenario)


def test_sessions_that_are_dropped_come_back():
    async def scenario(array):
        array.map(3)
        device = await array.initiator(sessions=2).attach(mapping())
        for _ in range(3):
            reading = asyncio.create_task(contents(device, depth=4, block_bytes=32 * KIB))
            await asyncio.sleep(0)
            for session in array.target.of():
                session.connection.end()
            assert await reading == CONTENT
        await device.close()

    run(scenario)


def test_a_volume_that_grows_is_read_to_its_new_end():
    async def scenario(array):
        unit = array.map(3)
        device = await array.initiator().attach(mapping())
        unit.grow(SIZE + MIB)
        array.device.capacity_changed(NAA)
        await contents(device, Runs.single(0, 512))
        assert device.size_bytes == SIZE + MIB
        assert await contents(device) == CONTENT + bytes(MIB)
        await device.close()

    run(scenario)


def test_a_read_only_lun_is_not_written():
    async def scenario(array):
        array.map(3).read_only = True
        device = await array.initiator().attach(mapping())
        with pytest.raises(AccessDenied, match="read-only"):
            await device.write(0, memoryview(bytes(MIB)))
        await device.close()

    run(scenario)


def test_the_portal_tells_its_targets_to_those_it_admits():
    async def scenario(array):
        array.map(3)
        assert await IscsiInitiator(array.portal, IQN).targets() == (TARGET,)
        assert await IscsiInitiator(array.portal, STRANGER).targets() == ()
        device = await IscsiInitiator(array.portal, IQN, limits=QUICK).attach(mapping())
        assert await contents(device) == CONTENT
        await device.close()

    run(scenario)
