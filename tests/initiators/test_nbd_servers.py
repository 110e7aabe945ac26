"""The client against other servers than ours: plain ones, and those that refuse."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

import pytest

from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Command, Errno, Option, Reply, TransmissionFlag
from stuntdouble.errors import (
    AccessDenied,
    MediumError,
    Misuse,
    NotFound,
    Unreachable,
    Unsupported,
)
from stuntdouble.extents import Runs
from stuntdouble.initiators import connect
from stuntdouble.ports import Throttle
from stuntdouble.units import KIB

SIZE = 64 * KIB


class Plain:
    """A server without structured replies, whose blocks have 512 bytes; some of it is damaged."""

    def __init__(self, refusal=None, silent=False, infos=True) -> None:
        self.data = bytearray(range(256)) * (SIZE // 256)
        self.refusal, self.silent, self.infos = refusal, silent, infos

    async def speak(self, reader, writer):
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            writer.write(nbd.greeting())
            await reader.readexactly(4)
            await self.negotiate(reader, writer)
            while True:
                await self.serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def negotiate(self, reader, writer):
        while True:
            header = nbd.OptionHeader.parse(await reader.readexactly(nbd.OPTION_HEADER_BYTES))
            await reader.readexactly(header.length)
            if header.kind != Option.GO:
                writer.write(nbd.option_reply(header.kind, Reply.ERR_UNSUP))
                continue
            if self.refusal is not None:
                writer.write(nbd.option_reply(header.kind, self.refusal, b"because"))
                continue
            infos = [
                nbd.info_export(SIZE, TransmissionFlag.HAS_FLAGS),
                nbd.info_block_sizes(nbd.BlockSizes(512, 4096, 8192)),
            ]
            for info in infos if self.infos else []:
                writer.write(nbd.option_reply(header.kind, Reply.INFO, info))
            writer.write(nbd.option_reply(header.kind, Reply.ACK))
            return

    async def serve(self, reader, writer):
        request = nbd.Request.parse(await reader.readexactly(nbd.REQUEST_BYTES))
        assert request.length <= 8192
        if request.command == Command.DISC or self.silent:
            raise ConnectionError
        reply = nbd.simple_reply(Errno.OK, request.cookie)
        if request.command == Command.WRITE:
            data = await reader.readexactly(request.length)
            self.data[request.offset : request.stop] = data
        elif request.offset == 32 * KIB:
            reply = nbd.simple_reply(Errno.EIO, request.cookie)
        elif request.command == Command.READ:
            reply += self.data[request.offset : request.stop]
        writer.write(reply)


def against(plain, scenario):
    async def main():
        server = await asyncio.start_server(plain.speak, "127.0.0.1", 0)
        uri = f"nbd://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        try:
            return await scenario(uri)
        finally:
            await asyncio.sleep(0.05)  # let the server's side see the end
            server.close()
            await server.wait_closed()

    return asyncio.run(main())


async def read(device, runs):
    found = bytearray(SIZE)
    async for span in device.read(runs, Throttle(depth=3)):
        found[span.offset : span.offset + len(span.data)] = span.data
    return found


def test_a_server_without_structured_replies_is_read_and_written_in_its_blocks():
    plain = Plain()

    async def scenario(uri):
        device = await connect(uri, contexts=("base:allocation",))
        assert (device.sizes.minimum, device.sizes.maximum) == (512, 8192)
        before = bytes(plain.data)
        found = await read(device, Runs.single(0, 32 * KIB))
        assert found[: 32 * KIB] == before[: 32 * KIB]
        data = b"new" * 8192
        await device.write(KIB, memoryview(data))
        assert plain.data[KIB : KIB + len(data)] == data
        await device.flush()
        with pytest.raises(MediumError, match="byte 32768"):
            await read(device, Runs.single(16 * KIB, 32 * KIB))
        with pytest.raises(Misuse, match="in blocks of 512"):
            await read(device, Runs.single(1, 512))
        with pytest.raises(Misuse, match="in blocks of 512"):
            await device.write(512, memoryview(b"x"))
        with pytest.raises(NotFound, match="base:allocation"):
            await device.status("base:allocation", 0, 512)
        await device.close()

    against(plain, scenario)


def test_a_server_that_hangs_up_is_unreachable():
    async def scenario(uri):
        device = await connect(uri)
        with pytest.raises(Unreachable):
            await read(device, Runs.single(0, SIZE))
        with pytest.raises(Unreachable):
            await device.write(0, memoryview(bytes(512)))
        await device.close()

    against(Plain(silent=True), scenario)


@pytest.mark.parametrize(
    ("refusal", "error", "match"),
    [
        (Reply.ERR_UNKNOWN, NotFound, "no NBD export"),
        (Reply.ERR_POLICY, AccessDenied, "because"),
        (Reply.ERR_INVALID, Misuse, "because"),
        (Reply.ERR_SHUTDOWN, Unreachable, "because"),
        (Reply.ERR_TLS_REQD, Unsupported, "replies 5"),
        (Reply.ERR_UNSUP, Unsupported, "replies 1"),
    ],
)
def test_a_refusal_says_what_it_means(refusal, error, match):
    with pytest.raises(error, match=match):
        against(Plain(refusal), connect)


def test_an_export_without_a_size_is_none():
    with pytest.raises(Misuse, match="how large"):
        against(Plain(infos=False), connect)


def test_a_reply_to_another_option_is_nonsense():
    class Other(Plain):
        async def negotiate(self, reader, writer):
            await reader.readexactly(nbd.OPTION_HEADER_BYTES)
            writer.write(struct.pack(">QIII", 0x3E889045565A9, Option.LIST, Reply.ACK, 0))
            await reader.readexactly(1)

    with pytest.raises(Misuse, match="a reply to option 3"):
        against(Other(), connect)
