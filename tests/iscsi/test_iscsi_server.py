"""The server over sockets: many initiators, slow ones, dropped ones, and those that are not."""

from __future__ import annotations

import asyncio
import socket

import pytest

from iscsi.initiating import IQN, LUN1, MIB, OTHER, TARGET, SlowUnit, World, read10, write10
from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import Opcode
from stuntdouble.errors import InvalidState
from stuntdouble.iscsi import Limits, Server

MADE: list[Wire] = []


class Wire:
    """An initiator over a socket, as blunt as a test wants it."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer
        self.framer = iscsi.Framer()
        self.cmdsn = 1

    @classmethod
    async def connect(cls, server, **options) -> Wire:
        host, port = server.address
        wire = cls(*await asyncio.open_connection(host, port, **options))
        MADE.append(wire)
        return wire

    def say(self, header: bytes, data: bytes = b"") -> None:
        self.writer.writelines(iscsi.pack_pdu(header, [data]))

    async def hear(self):
        while (pdu := self.framer.next()) is None:
            data = await self.reader.read(65536)
            if not data:
                return None
            self.framer.feed(data)
        return bytes(pdu.header), bytes(pdu.data)

    async def log_in(self, name=IQN, isid=b"\x80\0\0\0\0\1", target=TARGET, **keys) -> int:
        text = iscsi.pack_text([("InitiatorName", name), ("TargetName", target), *keys.items()])
        self.say(iscsi.LoginRequest(isid, 0, 1, 0, self.cmdsn, 0, 1, 3, True).pack(len(text)), text)
        header, _ = await self.hear()
        return iscsi.LoginResponse.parse(header).status

    def read(self, block, count, itt) -> None:
        command = iscsi.ScsiCommand(
            LUN1, itt, count * 512, self.cmdsn, 0, read10(block, count), 0xC1
        )
        self.cmdsn += 1
        self.say(command.pack())

    async def data(self, block, count, itt=9) -> bytes:
        self.read(block, count, itt)
        found = b""
        while True:
            header, data = await self.hear()
            if header[0] != Opcode.DATA_IN:
                return found
            found += data
            if header[1] & 1:
                return found


def serving(world, test, **options):
    async def main():
        server = Server(world.node, **options)
        await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(60):
                return await test(server)
        finally:
            await server.close()
            for wire in MADE:
                wire.writer.transport.abort()
            MADE.clear()
            await asyncio.sleep(0)
            assert server.connections == 0
            assert list(world.target.of()) == []

    return asyncio.run(main())


async def left(server, connections):
    """Wait until so many are left."""
    while server.connections > connections:  # noqa: ASYNC110  (there is no event of it)
        await asyncio.sleep(0.001)


@pytest.fixture
def world():
    world = World()
    world.unit.data[:] = bytes(range(256)) * (world.unit.size_bytes // 256)
    for n in range(0, world.unit.size_bytes, 512):
        world.unit.data[n : n + 4] = n.to_bytes(4, "big")
    return world


def test_a_server_that_was_not_started_has_no_address(world):
    with pytest.raises(InvalidState):
        Server(world.node).address  # noqa: B018


def test_reads_of_every_size(world):
    async def test(server):
        wire = await Wire.connect(server)
        assert await wire.log_in(MaxRecvDataSegmentLength="65536") == 0
        await wire.data(0, 1)  # the unit attention of the power on
        for block, count in [(0, 1), (7, 100), (0, 8192), (5000, 3000)]:
            assert await wire.data(block, count) == world.unit.data[block * 512 :][: count * 512]

    serving(world, test)


def test_more_is_asked_for_than_fits_into_any_buffer(world):
    """The initiator reads nothing until it has asked for 64 MiB; all of it comes, in order."""

    async def test(server):
        wire = await Wire.connect(server)
        assert await wire.log_in(MaxRecvDataSegmentLength="262144") == 0
        await wire.data(0, 1)
        for itt in range(16):
            wire.read(0, 8192, itt)
        await asyncio.sleep(0.1)
        found = []
        while len(found) < 16:
            header, _ = await wire.hear()
            if header[1] & 1:
                found.append(iscsi.DataIn.parse(header).itt)
        assert found == list(range(16))

    serving(world, test)


def test_two_initiators_see_their_own(world):
    async def test(server):
        mine, other = await Wire.connect(server), await Wire.connect(server)
        assert await mine.log_in() == 0
        assert await other.log_in(OTHER) == 0
        await mine.data(0, 1)
        await other.data(0, 1)
        assert await mine.data(1, 1) == world.unit.data[512:1024]
        assert await other.data(1, 1) == bytes(512)

    serving(world, test)


def test_commands_that_take_their_time():
    world = World(unit=SlowUnit(size_bytes=MIB))
    world.unit.data[:] = bytes(range(256)) * 4096

    async def test(server):
        wire = await Wire.connect(server)
        assert await wire.log_in() == 0
        await wire.data(0, 1)
        assert await wire.data(3, 2) == world.unit.data[1536:2560]
        command = iscsi.ScsiCommand(LUN1, 5, 512, wire.cmdsn, 0, write10(3, 1), 0xA1)
        wire.cmdsn += 1
        wire.say(command.pack(512), b"x" * 512)
        header, _ = await wire.hear()
        assert iscsi.ScsiResponse.parse(header).status == 0
        assert await wire.data(3, 1) == b"x" * 512

    serving(world, test)


def test_one_too_many_is_turned_away(world):
    world.node.limits = Limits(connections=2)

    async def test(server):
        wires = [await Wire.connect(server) for _ in range(3)]
        assert await wires[0].log_in() == 0
        assert await wires[1].log_in(isid=b"\x80\0\0\0\0\2") == 0
        assert await wires[2].reader.read() == b""
        wires[0].writer.close()
        await left(server, 1)
        assert await (await Wire.connect(server)).log_in() == 0

    serving(world, test)


def test_who_does_not_log_in_has_to_leave(world):
    world.node.limits = Limits(login_seconds=0.05)

    async def test(server):
        silent, slow = await Wire.connect(server), await Wire.connect(server)
        slow.writer.write(bytes([0x43]) + bytes(20))
        assert await silent.reader.read() == b""
        assert await slow.reader.read() == b""

    serving(world, test)


def test_half_open_logins_are_limited(world):
    world.node.limits = Limits(logins=1)

    async def test(server):
        first = await Wire.connect(server)
        second = await Wire.connect(server)
        assert await second.reader.read() == b""
        assert await first.log_in() == 0
        assert await (await Wire.connect(server)).log_in(isid=b"\x80\0\0\0\0\2") == 0

    serving(world, test)


def test_who_takes_nothing_has_to_leave(world):
    world.node.limits = Limits(login_seconds=0.05, stall_seconds=0.05, output_bytes=MIB)

    async def test(server):
        wire = await Wire.connect(server, limit=4096)
        sock = wire.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert await wire.log_in(MaxRecvDataSegmentLength="262144") == 0
        await wire.data(0, 1)
        for itt in range(16):
            wire.read(0, 8192, itt)
        await left(server, 0)

    serving(world, test)


def test_who_answers_no_ping_has_to_leave(world):
    world.node.limits = Limits(ping_seconds=0.03)

    async def test(server):
        wire = await Wire.connect(server)
        assert await wire.log_in() == 0
        header, _ = await wire.hear()
        assert header[0] == Opcode.NOP_IN
        assert await wire.hear() is None

    serving(world, test)


@pytest.mark.parametrize("announced", [False, True])
def test_sessions_are_dropped(world, announced):
    async def test(server):
        wire, spared = await Wire.connect(server), await Wire.connect(server)
        assert await wire.log_in() == 0
        assert await spared.log_in(OTHER) == 0
        assert server.drop(IQN, announced=announced) == 1
        if announced:
            header, _ = await wire.hear()
            assert iscsi.AsyncMessage.parse(header).event == iscsi.AsyncEvent.SESSION_DROP
            assert await wire.hear() is None
        else:
            with pytest.raises(ConnectionResetError):
                await wire.reader.read(1)
        await spared.data(0, 1)
        assert await spared.data(0, 1) == bytes(512)
        assert server.drop() == 1

    serving(world, test)


def test_discovery_tells_the_address_by_which_one_came(world):
    async def test(server):
        wire = await Wire.connect(server)
        text = iscsi.pack_text([("InitiatorName", IQN), ("SessionType", "Discovery")])
        request = iscsi.LoginRequest(bytes(6), 0, 1, 0, 1, 0, 1, 3, True)
        wire.say(request.pack(len(text)), text)
        await wire.hear()
        text = iscsi.pack_text([("SendTargets", "All")])
        wire.say(iscsi.TextRequest(2, iscsi.NO_TAG, 1, 0).pack(len(text)), text)
        _, data = await wire.hear()
        host, port = server.address
        assert iscsi.parse_text(data)[1] == ("TargetAddress", f"{host}:{port},1")

    serving(world, test)


def test_a_taken_address_is_told(world):
    async def test(server):
        host, port = server.address
        with pytest.raises(OSError):
            await Server(world.node).start(host, port)

    serving(world, test)


def test_noise_ends_its_own_connection_only(world):
    async def test(server):
        good = await Wire.connect(server)
        assert await good.log_in() == 0
        for noise in (b"GET / HTTP/1.1\r\n\r\n" + bytes(100), b"\xff" * 4096, bytes(48)):
            bad = await Wire.connect(server)
            bad.writer.write(noise)
            assert await bad.reader.read() == b""
        await good.data(0, 1)
        assert await good.data(0, 1) == world.unit.data[:512]

    serving(world, test)
