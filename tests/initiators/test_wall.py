"""Wall time on loops whose clock is another: what waits for a socket waits neither for ever nor short."""

from __future__ import annotations

import asyncio

import pytest

from initiators.scripted import DROP, IQN, NAA, TARGET, Disk, Fail, Scripted, served
from stuntdouble.clock import PacedLoop
from stuntdouble.codecs.scsi import Status
from stuntdouble.errors import Interrupted, TimedOut, Unreachable
from stuntdouble.extents import Runs
from stuntdouble.initiators import IscsiInitiator, LocalDevice
from stuntdouble.initiators.iscsi import session
from stuntdouble.initiators.wall import Patience, Wall
from stuntdouble.ports import Mapping, Throttle
from stuntdouble.units import KIB, MIB

pytestmark = pytest.mark.paced

CONTENT = bytes(range(256)) * 8 * KIB


def fast():
    """A loop on which every limit of site time has passed before a socket answers."""
    loop = PacedLoop(1e7)
    loop.start_clock()
    return loop


def play(make, main):
    loop = make()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


loops = pytest.mark.parametrize(
    "make",
    [asyncio.SelectorEventLoop, lambda: PacedLoop(1.0), fast],
    ids=["ordinary", "standing", "fast"],
)


@loops
def test_limits_and_waits_are_of_wall_time(make):
    async def main():
        wall = Wall()
        began = wall.time()
        await wall.sleep(0.02)
        assert wall.time() - began >= 0.02
        with pytest.raises(TimedOut, match="a wait took longer than"):
            async with wall.limit(0.01, "a wait"):
                await asyncio.get_running_loop().create_future()
        async with wall.limit(30.0, "no wait"):
            await asyncio.sleep(0)
        sleeping = asyncio.ensure_future(wall.sleep(30.0))
        await asyncio.sleep(0)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping

    play(make, main)


@loops
def test_patience_ends(make):
    async def main():
        wall = Wall()
        patience = Patience(wall, 0.05, first=0.001)
        await patience.again(Unreachable("somebody"))
        await wall.sleep(0.05)
        with pytest.raises(Unreachable, match="somebody"):
            await patience.again(Unreachable("somebody"))
        for _ in range(64):
            patience.heard("somebody")
        with pytest.raises(Interrupted, match="65 unit attentions"):
            patience.heard("somebody")

    play(make, main)


@loops
def test_a_lun_is_read_on_any_loop(make):
    def script(_talk, asked):
        if asked.cdb[0] != 0x88:
            return None
        return {3: DROP, 6: Fail(status=Status.BUSY)}.get(target.reads)

    target = Scripted({5: Disk(bytearray(CONTENT))}, script=script)

    async def main():
        async with served(target):
            device = await IscsiInitiator(target.portal, IQN, TARGET).attach(target.mapping(5))
            runs, throttle = Runs.single(0, len(CONTENT)), Throttle(block_bytes=64 * KIB)
            found = b"".join([bytes(span.data) async for span in device.read(runs, throttle)])
            await device.close()
        assert found == CONTENT

    play(make, main)


@loops
def test_a_target_that_says_nothing_is_left(make, monkeypatch):
    monkeypatch.setattr(session, "LOGIN_SECONDS", 0.05)

    async def mute(reader, writer):
        await reader.read()
        writer.close()

    async def main():
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        initiator = IscsiInitiator(f"{host}:{port}", IQN, TARGET)
        with pytest.raises(TimedOut, match="the login"):
            await initiator.attach(Mapping("volume", NAA, IQN, 5))
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    play(make, main)


@loops
def test_a_file_is_read_on_any_loop(make, tmp_path):
    (tmp_path / "disk.raw").write_bytes(CONTENT)

    async def main():
        device = LocalDevice(tmp_path / "disk.raw")
        runs = Runs.single(0, MIB)
        found = b"".join([bytes(span.data) async for span in device.read(runs, Throttle())])
        await device.close()
        assert found == CONTENT[:MIB]

    play(make, main)
