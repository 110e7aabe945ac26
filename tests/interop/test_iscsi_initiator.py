"""Our iSCSI initiator at a target that others wrote: tgtd."""

from __future__ import annotations

import asyncio
import random

import pytest

from interop.tgt import TARGET, tgtd
from stuntdouble.codecs.iscsi import Credentials
from stuntdouble.errors import AccessDenied
from stuntdouble.extents import Runs
from stuntdouble.initiators import DigestUse, IscsiInitiator, Limits
from stuntdouble.initiators.iscsi.device import identify
from stuntdouble.ports import Mapping, Throttle
from stuntdouble.units import KIB, MIB

pytestmark = pytest.mark.slow

IQN = "iqn.2026-11.org.example:backup"
SIZE = 64 * MIB
QUICK = Limits(patience_seconds=20.0, rescan_seconds=0.0)


@pytest.fixture(scope="module")
def content():
    return random.Random(11).randbytes(SIZE // 2) + bytes(SIZE // 2)


@pytest.fixture
def target(tmp_path, content):
    with tgtd(tmp_path) as found:
        (tmp_path / "one.raw").write_bytes(content)
        found.unit(1, tmp_path / "one.raw")
        yield found


def initiator(target, name=TARGET, **kw):
    return IscsiInitiator(target.portal, IQN, name, limits=QUICK, **kw)


async def naa_of(ours, lun):
    """Return what the unit at a LUN says it is: tgtd names its units itself."""
    pool = await ours._pool(TARGET)
    pool.users += 1
    field = bytes([0, lun]) + bytes(6)
    try:
        return await identify(pool, await pool.pick(), field)
    finally:
        await ours._leave(TARGET, pool)


async def attached(ours, lun=1):
    return await ours.attach(Mapping("volume", await naa_of(ours, lun), IQN, lun))


async def contents(device, runs=None, **throttle):
    runs = Runs.single(0, device.size_bytes) if runs is None else runs
    return [(s.offset, bytes(s.data)) async for s in device.read(runs, Throttle(**throttle))]


async def whole(device, **throttle):
    return b"".join([data for _, data in await contents(device, **throttle)])


@pytest.mark.parametrize("digests", ["None", "CRC32C"])
@pytest.mark.parametrize("sessions", [1, 4])
def test_big_reads_and_writes(target, content, digests, sessions):
    async def scenario():
        if digests == "CRC32C":
            target.set(HeaderDigest="CRC32C", DataDigest="CRC32C")
        use = DigestUse.REQUIRED if digests == "CRC32C" else DigestUse.PREFERRED
        ours = initiator(target, sessions=sessions, digests=use)
        device = await attached(ours)
        assert device.size_bytes == SIZE
        assert await whole(device) == content
        assert await whole(device, depth=40, block_bytes=64 * KIB) == content
        odd = Runs.of([(0, 1), (4095, 2), (MIB - 3, 3 * MIB), (SIZE - 7, 7)])
        for at, data in await contents(device, odd, depth=3):
            assert content[at : at + len(data)] == data
        written = random.Random(2).randbytes(5 * MIB + 512)
        await device.write(MIB - 512, memoryview(written))
        await device.flush()
        changed = content[: MIB - 512] + written + content[MIB - 512 + len(written) :]
        assert await whole(device) == changed
        await device.close()

    asyncio.run(scenario())


def test_targets_are_discovered(target):
    async def scenario():
        assert await initiator(target, "").targets() == (TARGET,)

    asyncio.run(scenario())


@pytest.mark.parametrize("mutual", [False, True], ids=["one way", "mutual"])
def test_secrets_are_proved(target, content, mutual):
    target.account("user", "secret of user")
    both = ("array", "secret of array") if mutual else ("", "")
    if mutual:
        target.account("array", "secret of array", outgoing=True)

    async def scenario():
        chap = Credentials("user", "secret of user", *both)
        device = await attached(initiator(target, chap=chap))
        assert await whole(device) == content
        await device.close()
        wrong = [None, Credentials("user", "another secret"), Credentials("nobody", "a secret")]
        for chap in wrong:
            with pytest.raises(AccessDenied):
                await attached(initiator(target, chap=chap))
        if mutual:
            liar = Credentials("user", "secret of user", "array", "what it does not know")
            with pytest.raises(AccessDenied, match="cannot prove"):
                await attached(initiator(target, chap=liar))

    asyncio.run(scenario())


def test_luns_that_come_while_reading(target, content, tmp_path):
    (tmp_path / "two.raw").write_bytes(content[::-1])

    async def scenario():
        ours = initiator(target, sessions=2)
        device = await attached(ours)
        reading = asyncio.create_task(whole(device, depth=4, block_bytes=64 * KIB))
        for lun in range(2, 8):
            await asyncio.to_thread(target.unit, lun, tmp_path / "two.raw")
        assert await reading == content
        other = await attached(ours, 7)
        assert await whole(other) == content[::-1]
        await other.close()
        await device.close()

    asyncio.run(scenario())


def test_a_lun_that_is_taken_away_is_not_read(target):
    async def scenario():
        device = await attached(initiator(target))
        await asyncio.to_thread(target.remove, 1)
        with pytest.raises(AccessDenied, match="not mapped"):
            await whole(device)
        await device.close()

    asyncio.run(scenario())


def test_connections_that_are_cut_come_back(target, content):
    async def scenario():
        device = await attached(initiator(target, sessions=2))
        for _ in range(3):
            reading = asyncio.create_task(whole(device, depth=4, block_bytes=64 * KIB))
            await asyncio.sleep(0.005)
            await asyncio.to_thread(cut, target)
            assert await reading == content
        await device.close()

    asyncio.run(scenario())


def cut(target):
    """Have the target close every connection that it has."""
    shown = target.admin("--mode", "conn", "--op", "show", "--tid", "1").stdout
    session = ""
    for line in shown.splitlines():
        word, _, number = line.strip().partition(": ")
        if word == "Session":
            session = number
        elif word == "Connection":
            target.admin(
                "--mode", "conn", "--op", "delete", "--tid", "1", "--sid", session, "--cid", number,
                check=False,
            )  # fmt: skip
