"""Mutated streams: whatever comes, the server goes on, and nothing beyond an export is touched."""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import struct
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from nbd.talking import talk
from nbd.world import RATE, serve
from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Command, Errno, Option, Reply
from stuntdouble.errors import MediumError
from stuntdouble.nbd import Fixed, Joined, Limits, Server
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = [pytest.mark.paced, pytest.mark.slow]

STREAMS = 10_000
SIZE = 256 * KIB
FENCE = b"\xee" * 64 * KIB  # beyond the end, where nobody may read or write
FROZEN = "snapshot/snapshot-1/2000"


class Fenced:
    """A writable export in memory with a fence behind it; half of its errors are its own."""

    name, description, size_bytes, block_bytes, read_only = "mem", "fenced", SIZE, 512, False

    def __init__(self) -> None:
        self.memory = bytearray(bytes(SIZE) + FENCE)
        self.calls: Counter[str] = Counter()

    def _note(self, call: str, offset: int, length: int) -> None:
        assert 0 <= offset < offset + length <= SIZE, f"{call} of {length} at {offset}"
        self.calls[call] += 1
        if self.calls[call] % 7 == 0:
            raise MediumError("mem", offset)

    async def read(self, offset: int, length: int) -> Iterator[memoryview]:
        self._note("read", offset, length)
        return iter([memoryview(self.memory)[offset : offset + length]])

    async def write(self, offset: int, data: memoryview) -> None:
        self._note("write", offset, len(data))
        self.memory[offset : offset + len(data)] = data

    async def zero(self, offset: int, length: int, *, allocate: bool) -> None:
        self._note(f"zero {allocate}", offset, length)
        self.memory[offset : offset + length] = bytes(length)

    async def flush(self) -> None:
        self.calls["flush"] += 1

    def contexts(self) -> Sequence[str]:
        return ("base:allocation",)

    async def has_context(self, name: str) -> bool:
        return name in self.contexts()

    async def status(self, context: str, offset: int, length: int) -> Sequence[tuple[int, int]]:
        self._note(context, offset, length)
        return [(length, 0)]


def stream(rng: random.Random) -> bytes:
    """Return what an honest client might send, more or less at random."""
    name = rng.choice(["mem", "mem", "mem", FROZEN, "vm/vm/2000", "delta/vm/vm-flat.vmdk", "none"])
    said = [struct.pack(">I", rng.choice([3, 3, 3, 1, 0]))]
    if rng.random() < 0.8:
        said.append(nbd.option(Option.STRUCTURED_REPLY))
    queries = rng.sample(
        ["base:allocation", "base:", "qemu:dirty-bitmap:*", "x:"], rng.randint(0, 3)
    )
    query = nbd.MetaQuery(name, tuple(queries)).pack()
    for _ in range(rng.randint(0, 3)):
        kind = rng.choice([Option.LIST, Option.INFO, Option.LIST_META_CONTEXT, Option.STARTTLS, 77])
        data = {Option.INFO: nbd.Choice(name, (3,)).pack(), Option.LIST_META_CONTEXT: query}
        said.append(nbd.option(kind, data.get(kind, b"")))
    said.append(nbd.option(Option.SET_META_CONTEXT, query))
    if rng.random() < 0.1:
        said.append(nbd.option(Option.EXPORT_NAME, name.encode()))
    else:
        said.append(nbd.option(Option.GO, nbd.Choice(name).pack()))
    said.extend(request(rng, cookie) for cookie in range(rng.randint(0, 8)))
    if rng.random() < 0.5:
        said.append(nbd.Request(0, Command.DISC, 0, 0, 0).pack())
    return b"".join(said)


def request(rng: random.Random, cookie: int) -> bytes:
    """Return a request that may be done, or one that may not."""
    command = rng.choice([*Command, Command.READ, Command.WRITE, Command.WRITE_ZEROES])
    length = rng.choice([1, 512, 4096, 64 * KIB, SIZE])
    offset = rng.choice([0, 1, 512, SIZE - length])
    flags = rng.choice([0, 1, 2 if command == Command.WRITE_ZEROES else 0])
    if rng.random() < 0.3:
        length = rng.choice([0, SIZE + 1, 40 * MIB, 2**32 - 1])
        offset = rng.choice([offset, SIZE - 1, SIZE, 2**63, 2**64 - 1, -length % 2**64])
        flags = rng.choice([flags, 4, 8, 16, 0xFFFF])
    data = bytes([cookie + 1]) * length if command == Command.WRITE and length <= SIZE else b""
    return nbd.Request(flags, command, cookie, offset, length).pack() + data


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return a stream with some of its bytes changed, cut, doubled or moved."""
    found = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        at = rng.randrange(len(found)) if found else 0
        match rng.randrange(6):
            case 0 if found:
                found[at] ^= 1 << rng.randrange(8)
            case 1 if found:
                found[at] = rng.choice([0, 0xFF, 0x7F, 0x80])
            case 2:
                del found[at : at + rng.randint(1, 40)]
            case 3:
                found[at:at] = found[at : at + rng.randint(1, 200)]
            case 4:
                found[at:at] = rng.randbytes(rng.randint(1, 64))
            case 5:
                del found[at:]
    return bytes(found)


def play(admit: Callable[[socket.socket], object], count: int) -> int:
    """Send streams, each over a connection of its own; return how many bytes came back."""
    received = 0
    for number in range(count):
        rng = random.Random(number)
        data = mutated(rng, stream(rng))
        ours, theirs = socket.socketpair()
        admit(theirs)
        ours.settimeout(30)  # or the server keeps a client that has ended
        with ours, suppress(ConnectionError):
            ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)
            while more := ours.recv(1 << 20):
                received += len(more)
    return received


def test_no_stream_ends_the_server_or_reaches_beyond_an_export():
    async def scenario(world: Any) -> Any:
        await world.snapshot()
        before = world.shown(world.vm.image(2000))
        fenced = Fenced()
        exports = Joined([Fixed([fenced]), world.server._exports])
        server = Server(exports, wall_seconds=lambda s: s * RATE, limits=Limits(stall_seconds=5))
        await server.start("127.0.0.1", 0)
        started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        loop = asyncio.get_running_loop()
        admit = partial(loop.call_soon_threadsafe, server.admit)
        received = await asyncio.to_thread(play, admit, STREAMS)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started
        assert await asyncio.to_thread(lives, server.address)
        await asyncio.sleep(RATE / 2)
        assert server.connections == 0
        assert server._budget.free == Limits().payload_bytes
        await server.close()
        assert world.shown(world.vm.image(2000)) == before
        return fenced, received, grown / 1024

    fenced, received, grown_mib = serve(scenario, iops=0.0)
    assert fenced.memory[SIZE:] == FENCE
    assert len(fenced.memory) == SIZE + len(FENCE)
    # It was not only refused at the door.
    assert min(fenced.calls[x] for x in ("read", "write", "zero True", "base:allocation")) > 20
    assert received > STREAMS * nbd.GREETING_BYTES
    assert grown_mib < 150  # a few payloads under way, not what was announced


def lives(address: tuple[str, int]) -> bool:
    with talk(address) as client:
        client.go("mem")
        found = [client.request(Command.READ, 0, 512)[0] for _ in range(8)]
        assert client.request(Command.READ, SIZE, 1)[0] == Errno.EINVAL
    with talk(address) as client:
        client.greet()
        return client.ask(Option.LIST)[-1][0] == Reply.ACK and 0 in found
