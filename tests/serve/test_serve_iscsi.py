"""The iSCSI endpoint of a site: who may log in, what is recorded, and what a restore leaves."""

from __future__ import annotations

import asyncio

import pytest

from iscsi.initiating import LUN1
from iscsi.test_iscsi_server import Wire
from serve.going import going, origin
from stuntdouble.array import Chap
from stuntdouble.clock import perform
from stuntdouble.codecs import iscsi
from stuntdouble.errors import Misuse
from stuntdouble.serve.inputs import play
from stuntdouble.serve.iscsi import DOOR, RECORDED_BYTES_MAX, IscsiEndpoint, _play
from stuntdouble.serve.listening import Address
from stuntdouble.serve.reviving import made

pytestmark = pytest.mark.paced

HOST = "iqn.2026-01.com.example:host"
TARGET = "iqn.2026-11.org.example:array-1"
AT = Address("127.0.0.1", 0)
BLOCK = 4096


async def mapped(live) -> str:
    """Map the site's only volume to the host as LUN 1; return the volume's name."""
    array = live.world.arrays["array-1"]
    (name, *_) = array.inventory.volumes
    await perform(live.world.env, array.map_volume(name, HOST, 1))
    return name


async def opened(endpoint):
    told = await endpoint.start()
    host, _, port = told.url.removeprefix("iscsi://").rpartition(":")
    wire = Wire(*await asyncio.open_connection(host, int(port)))
    return wire, await wire.log_in(HOST, target=TARGET)


async def write(wire, block: int, data: bytes) -> int:
    cdb = b"\x2a\0" + block.to_bytes(4, "big") + b"\0" + (len(data) // 512).to_bytes(2, "big")
    command = iscsi.ScsiCommand(LUN1, 5, len(data), wire.cmdsn, 0, cdb + bytes(7), 0xA1)
    wire.cmdsn += 1
    wire.say(command.pack(len(data)), data)
    header, _ = await wire.hear()
    return iscsi.ScsiResponse.parse(header).status


def served(test, **options):
    async def main(live, _control):
        endpoint = IscsiEndpoint(live, AT, **options)
        made_ = []
        try:
            return await test(live, endpoint, made_)
        finally:
            await endpoint.stop()
            for wire in made_:
                wire.writer.transport.abort()
            await asyncio.sleep(0)

    return going(main)


def test_what_is_written_lives_again() -> None:
    async def test(live, endpoint, wires):
        name = await mapped(live)
        wire, status = await opened(endpoint)
        wires.append(wire)
        assert status == 0
        await wire.data(0, 1)  # the unit attention of the power on
        assert await write(wire, 8, b"over the wire!!!" * 64) == 0
        assert await write(wire, 17, b"in part of block" * 32) == 0
        assert await wire.data(8, 2) == b"over the wire!!!" * 64
        assert await wire.data(17, 1) == b"in part of block" * 32
        world = live.world
        with world.env.entered():
            volume = world.arrays["array-1"].volume(name)
            shown = world.arrays["array-1"].show(volume, 0, 16).tobytes()
        return name, list(live.recorder.inputs), shown, world.env.now

    name, inputs, shown, until = served(test)
    assert [each.payload["offset"] for each in inputs] == [8 * 512, 17 * 512]
    again = made(origin())
    array = again.arrays["array-1"]
    mapping = again.env.process(array.map_volume(name, HOST, 1))
    again.env.run(until=mapping)
    play(again, {DOOR: _play}, inputs, until)
    assert array.show(array.volume(name), 0, 16).tobytes() == shown


def test_only_hosts_with_their_secrets_get_in() -> None:
    async def test(live, endpoint, wires):
        array = live.world.arrays["array-1"]
        wire, status = await opened(endpoint)
        wires.append(wire)
        assert status == iscsi.LoginStatus.AUTHORIZATION_FAILURE
        host = array.hosts.create("esx", (HOST,))
        array.hosts.set_chap(host.name, Chap("me", "a secret of mine"))
        wire = Wire(wire.reader, wire.writer)
        await endpoint.stop()
        wire, status = await opened(endpoint)
        wires.append(wire)
        assert status == iscsi.LoginStatus.AUTHENTICATION_FAILURE

    served(test)


def test_hosts_are_told_what_changes() -> None:
    async def test(live, endpoint, wires):
        name = await mapped(live)
        wire, _ = await opened(endpoint)
        wires.append(wire)
        await wire.data(0, 1)
        array = live.world.arrays["array-1"]
        await perform(live.world.env, array.create_snapshots((array.volume(name).naa,), "s"))
        await perform(live.world.env, array.promote("s", "shown"))
        await perform(live.world.env, array.map_volume("shown", HOST, 2))
        wire.read(0, 1, 3)
        header, data = await wire.hear()
        assert iscsi.ScsiResponse.parse(header).status == 2
        assert (data[4] & 0xF, data[14], data[15]) == (6, 0x3F, 0x0E)

    served(test)


def test_sessions_can_be_dropped() -> None:
    async def test(live, endpoint, wires):
        await mapped(live)
        wire, _ = await opened(endpoint)
        wires.append(wire)
        assert endpoint.drop("iqn.2026-01.com.example:nobody") == 0
        assert endpoint.drop(HOST, announced=True) == 1
        header, _ = await wire.hear()
        assert header[0] == iscsi.Opcode.ASYNC_MESSAGE
        assert await wire.hear() is None

    served(test)


@pytest.mark.parametrize("times", [1, 2])
def test_the_site_that_was_put_back_is_served_at_the_same_address(times) -> None:
    """Also where it is put back again before the former one has gone."""

    async def test(live, endpoint, wires):
        name = await mapped(live)
        wire, _ = await opened(endpoint)
        wires.append(wire)
        place = endpoint._server.address
        for _ in range(times):
            endpoint._restored(live.world)
        await endpoint._exchanging
        assert await wire.hear() is None, "who was logged in at the former site is let go"
        assert endpoint._server.address == place
        wire = Wire(*await asyncio.open_connection(*place))
        wires.append(wire)
        assert await wire.log_in(HOST, target=TARGET) == 0
        await wire.data(0, 1)
        shown = live.world.arrays["array-1"]
        assert await wire.data(0, 8) == shown.show(shown.volume(name), 0, 1).tobytes()

    served(test)


def test_too_much_to_be_kept_is_served_all_the_same(monkeypatch) -> None:
    monkeypatch.setattr("stuntdouble.serve.iscsi.RECORDED_BYTES_MAX", 10_000)

    async def test(live, endpoint, wires):
        await mapped(live)
        wire, _ = await opened(endpoint)
        wires.append(wire)
        await wire.data(0, 1)
        assert await write(wire, 0, bytes(8192)) == 0
        assert not live.recorder.given_up
        assert await write(wire, 64, b"\1" * 8192) == 0
        assert "iSCSI" in live.recorder.given_up

    served(test)
    assert RECORDED_BYTES_MAX == 64 << 20


def test_paced_commands_leave_no_checkpoint() -> None:
    async def test(live, endpoint, wires):
        await mapped(live)
        wire, _ = await opened(endpoint)
        wires.append(wire)
        await wire.data(0, 1)
        assert len(await wire.data(0, 64)) == 64 * 512
        assert await write(wire, 8, b"x" * 4096) == 0
        assert await wire.data(8, 8) == b"x" * 4096
        assert "time" in live.recorder.given_up

    served(test, paced=True)


def test_a_taken_address_is_misuse() -> None:
    async def test(live, endpoint, wires):
        told = await endpoint.start()
        port = int(told.url.rpartition(":")[2])
        with pytest.raises(Misuse, match="--iscsi"):
            await IscsiEndpoint(live, Address("127.0.0.1", port)).start()

    served(test)
