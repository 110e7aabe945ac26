"""The server on the wire: what it says, what it refuses, and what does not end it."""

from __future__ import annotations

import asyncio
import struct

import pytest

from nbd.talking import talk
from nbd.world import FROZEN, NAME, RATE, SIZE, serve, with_server
from stuntdouble.codecs import nbd
from stuntdouble.codecs.nbd import Command, CommandFlag, Errno, Option, Reply, ReplyType
from stuntdouble.errors import (
    AccessDenied,
    Bug,
    InvalidState,
    LimitReached,
    MediumError,
    Misuse,
    NoSpace,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from stuntdouble.nbd import Fixed, Joined, Limits, LunExport, Server
from stuntdouble.nbd.requests import fault_of
from stuntdouble.units import KIB, MIB

pytestmark = pytest.mark.paced

# Negotiation. -------------------------------------------------------------------------------------


def test_options_are_answered_as_the_document_says():
    def dialogue(address):
        with talk(address) as client:
            client.greet()
            names = [data for reply, data in client.ask(Option.LIST) if reply == Reply.SERVER]
            assert struct.pack(">I", len(FROZEN)) + FROZEN.encode() in {
                n[: 4 + len(FROZEN)] for n in names
            }
            assert client.ask(Option.LIST, b"x")[0][0] == Reply.ERR_INVALID
            assert client.ask(Option.STARTTLS)[0][0] == Reply.ERR_UNSUP
            assert client.ask(99, b"what is this")[0][0] == Reply.ERR_UNSUP
            assert client.ask(Option.STRUCTURED_REPLY, b"x")[0][0] == Reply.ERR_INVALID
            query = nbd.MetaQuery(FROZEN, ("base:allocation",)).pack()
            assert client.ask(Option.SET_META_CONTEXT, query)[0][0] == Reply.ERR_INVALID
            assert client.ask(Option.STRUCTURED_REPLY) == [(Reply.ACK, b"")]
            assert client.ask(Option.GO, nbd.Choice("none").pack())[0][0] == Reply.ERR_UNKNOWN
            assert client.ask(Option.GO, b"\0\0\0\7x")[0][0] == Reply.ERR_INVALID
            for name in (
                "",
                "vm/vm",
                "vm/vm/x",
                "vm/no/2000",
                "snapshot/snapshot-9/2000",
                "snapshot/snapshot-1/7",
                "delta/vm/none.vmdk",
                "vm/vm/99999999999",
            ):
                assert client.ask(Option.INFO, nbd.Choice(name).pack())[0][0] == Reply.ERR_UNKNOWN
            infos = client.ask(Option.INFO, nbd.Choice(FROZEN).pack())
            assert [nbd.parse_info(data)[0] for _, data in infos[:-1]] == [0, 1, 2, 3]
            assert client.ask(Option.GO, nbd.Choice(FROZEN).pack()) == infos
            assert client.request(Command.FLUSH)[0] == 0

    with_server(dialogue)


def test_contexts_are_listed_and_set():
    def dialogue(address):
        with talk(address) as client:
            client.greet()
            client.ask(Option.STRUCTURED_REPLY)

            def contexts(kind, *queries, name=FROZEN):
                replies = client.ask(kind, nbd.MetaQuery(name, queries).pack())
                assert replies[-1][0] == Reply.ACK, replies
                return [nbd.parse_meta_context(data) for _, data in replies[:-1]]

            listed = [name for _, name in contexts(Option.LIST_META_CONTEXT)]
            assert listed[:2] == ["base:allocation", "qemu:dirty-bitmap:*"]
            assert len(listed) == 3
            for query in ("base:", "base:allocation"):
                assert contexts(Option.LIST_META_CONTEXT, query) == [(0, "base:allocation")]
            for query in ("qemu:", "qemu:dirty-bitmap:"):
                assert [n for _, n in contexts(Option.LIST_META_CONTEXT, query)] == listed[1:]
            unknown = ("base:", "x:y", "qemu:dirty-bitmap:", "qemu:dirty-bitmap:1", "colonless")
            assert contexts(Option.SET_META_CONTEXT, *unknown) == []
            assert contexts(Option.LIST_META_CONTEXT, "x:y", "base:none") == []
            assert contexts(Option.SET_META_CONTEXT, *listed) == list(enumerate(listed, 1))
            many = nbd.MetaQuery(FROZEN, ("a:b",) * 65).pack()
            assert client.ask(Option.SET_META_CONTEXT, many)[0][0] == Reply.ERR_TOO_BIG
            assert contexts(Option.SET_META_CONTEXT, "base:allocation", name=NAME)
            # Contexts of another export are forgotten.
            assert client.ask(Option.GO, nbd.Choice(FROZEN).pack())[-1][0] == Reply.ACK
            assert client.request(Command.BLOCK_STATUS, 0, 4096)[0] == Errno.EINVAL

    with_server(dialogue)


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_old_clients_choose_by_name_alone(flags):
    def dialogue(address):
        with talk(address) as client:
            client.greet(flags)
            client.say(nbd.option(Option.EXPORT_NAME, FROZEN.encode()))
            size, transmission = struct.unpack(">QH", client.hear(10))
            assert (size, transmission & 3) == (SIZE, 3)
            if not flags & 2:
                assert client.hear(124) == bytes(124)
            error, [(kind, data)] = client.request(Command.READ, 1000, 3 * MIB)
            assert (error, kind) == (0, ReplyType.NONE)
            assert client.request(Command.READ, SIZE, 1)[0] == Errno.EINVAL
            client.say(nbd.Request(0, Command.DISC, 1, 0, 0).pack())
            assert client.hangs_up()
            return data

    data, want = with_server(dialogue)
    assert data == want[1000 : 1000 + 3 * MIB]


@pytest.mark.parametrize(
    "said",
    [
        struct.pack(">I", 4),
        struct.pack(">I", 3) + bytes(16),
        struct.pack(">I", 3) + nbd.option(Option.EXPORT_NAME, b"none"),
        struct.pack(">I", 3) + nbd.option(Option.EXPORT_NAME, b"\xff"),
        struct.pack(">I", 3) + b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 3) + nbd.option(99) * 3,
    ],
)
def test_what_makes_no_sense_ends_the_connection_alone(said):
    def dialogue(address):
        with talk(address) as client:
            client.hear(nbd.GREETING_BYTES)
            client.say(said)
            while len(said) > 50 and not client.hangs_up():  # three refusals before the limit
                pass
            assert len(said) > 50 or client.hangs_up()

    with_server(dialogue, limits=Limits(options=3))


def test_an_option_too_long_is_refused_before_it_is_read():
    def dialogue(address):
        with talk(address) as client:
            client.greet()
            client.say(struct.pack(">QII", 0x49484156454F5054, Option.GO, 2**32 - 1))
            header = nbd.ReplyHeader.parse(client.hear(nbd.REPLY_HEADER_BYTES))
            assert header.reply == Reply.ERR_TOO_BIG
            client.hear(header.length)
            assert client.hangs_up()

    with_server(dialogue)


# Transmission. ------------------------------------------------------------------------------------


def test_reads_go_in_chunks_and_zeros_as_holes():
    def dialogue(address):
        with talk(address) as client:
            described = client.go(FROZEN)
            assert described.size_bytes == SIZE
            flags = nbd.TransmissionFlag
            assert flags.CAN_MULTI_CONN | flags.READ_ONLY | flags.SEND_DF in described.flags
            error, chunks = client.request(Command.READ, 0, SIZE)
            assert error == 0
            found, kinds = bytearray(SIZE), set()
            for kind, rest in chunks[:-1]:
                kinds.add(kind)
                if kind == ReplyType.OFFSET_DATA:
                    at = nbd.parse_data_offset(rest[:8])
                    found[at : at + len(rest) - 8] = rest[8:]
            assert kinds == {ReplyType.OFFSET_DATA, ReplyType.OFFSET_HOLE}
            error, chunks = client.request(Command.READ, 390_000, 64 * KIB, flags=CommandFlag.DF)
            assert [kind for kind, _ in chunks] == [ReplyType.OFFSET_DATA, ReplyType.NONE]
            assert chunks[0][1][8:] == found[390_000 : 390_000 + 64 * KIB]
            error, _ = client.request(Command.READ, 0, 2 * MIB, flags=CommandFlag.DF)
            assert error == Errno.EOVERFLOW
            return bytes(found)

    found, want = with_server(dialogue)
    assert found == want
    assert any(found)


def test_requests_that_cannot_be_are_refused_and_the_next_is_served():
    def dialogue(address):
        cases = [
            (Command.READ, SIZE - 1, 2, 0, Errno.EINVAL),
            (Command.READ, 2**64 - 1, 2, 0, Errno.EINVAL),
            (Command.READ, 0, 0, 0, Errno.EINVAL),
            (Command.READ, 0, 512, CommandFlag.REQ_ONE, Errno.EINVAL),
            (Command.READ, 0, 512, 1 << 9, Errno.EINVAL),
            (Command.TRIM, 0, 512, 0, Errno.EINVAL),
            (Command.CACHE, 0, 512, 0, Errno.EINVAL),
            (77, 0, 512, 0, Errno.EINVAL),
            (Command.WRITE_ZEROES, 0, 512, 0, Errno.EPERM),
            (Command.BLOCK_STATUS, 0, 512, 0, Errno.EINVAL),
        ]
        for structured in (True, False):
            with talk(address) as client:
                client.go(FROZEN, structured=structured)
                for command, offset, length, flags, errno in cases:
                    found, _ = client.request(command, offset, length, flags=flags)
                    assert found == errno, command
                error, _ = client.request(Command.WRITE, 0, 4, data=b"abcd")
                assert error == Errno.EPERM
                assert client.request(Command.READ, 0, 512)[0] == 0

    with_server(dialogue)


def test_a_status_has_a_chunk_for_each_context():
    def dialogue(address):
        with talk(address) as client:
            client.go(FROZEN, "base:allocation", "qemu:dirty-bitmap:*")
            error, chunks = client.request(Command.BLOCK_STATUS, 512, SIZE - 512)
            assert error == 0
            (_, allocation), (_, dirty) = (nbd.parse_status(rest) for _, rest in chunks)
            assert sum(length for length, _ in allocation) == SIZE - 512
            assert sum(length for length, _ in dirty) == SIZE - 512
            assert {flags for _, flags in dirty} == {0, 1}
            one = client.request(Command.BLOCK_STATUS, 512, 1024, flags=CommandFlag.REQ_ONE)
            assert [nbd.parse_status(rest)[1] for _, rest in one[1]] == [[(1024, 3)], [(1024, 0)]]
            assert client.request(Command.BLOCK_STATUS, 512, SIZE)[0] == Errno.EINVAL

    with_server(dialogue)


def test_zeroes_are_written_and_holes_stay_where_they_may():
    def dialogue(address):
        with talk(address) as client:
            flags = client.go(NAME, "base:allocation").flags
            assert nbd.TransmissionFlag.SEND_WRITE_ZEROES in flags
            assert nbd.TransmissionFlag.READ_ONLY not in flags
            assert client.request(Command.WRITE, 5000, 3 * MIB, data=b"z" * 3 * MIB)[0] == 0
            assert client.request(Command.WRITE_ZEROES, 6000, 2 * MIB)[0] == 0
            assert client.request(Command.WRITE_ZEROES, SIZE - MIB // 2, MIB // 4)[0] == 0
            assert client.request(Command.WRITE_ZEROES, 0, SIZE + 1)[0] == Errno.ENOSPC
            assert client.request(Command.WRITE, SIZE, 1, data=b"x")[0] == Errno.ENOSPC
            _, chunks = client.request(Command.BLOCK_STATUS, 0, SIZE)
            before = nbd.parse_status(chunks[0][1])[1]
            error, _ = client.request(
                Command.WRITE_ZEROES, SIZE - MIB // 2, MIB // 4, flags=CommandFlag.NO_HOLE
            )
            assert error == 0
            _, chunks = client.request(Command.BLOCK_STATUS, 0, SIZE)
            return before, nbd.parse_status(chunks[0][1])[1]

    (before, after), shown = with_server(dialogue, off=True)
    assert shown[5000:6000] == b"z" * 1000
    assert shown[6000 : 6000 + 2 * MIB] == bytes(2 * MIB)
    assert shown[6000 + 2 * MIB : 5000 + 3 * MIB] == b"z" * (MIB - 1000)
    held = [sum(size for size, flags in rows if not flags & 1) for rows in (before, after)]
    assert held[1] - held[0] == MIB // 4


def test_many_requests_are_answered_in_any_order_each_once():
    def dialogue(address):
        with talk(address) as client:
            client.go(FROZEN, structured=False)
            for cookie in range(300):
                request = nbd.Request(0, Command.READ, cookie, cookie * 8192, 4096)
                client.say(request.pack())
            found = {}
            for _ in range(300):
                header = nbd.parse_reply_header(client.hear(nbd.SIMPLE_HEADER_BYTES))
                assert isinstance(header, nbd.SimpleHeader)
                assert header.error == 0
                assert header.cookie not in found
                found[header.cookie] = client.hear(4096)
            return found

    found, want = with_server(dialogue)
    assert sorted(found) == list(range(300))
    for cookie, data in found.items():
        assert data == want[cookie * 8192 : cookie * 8192 + 4096]


# Errors, and what is not the hypervisor's. --------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "errno"),
    [
        (NoSpace("ds", 2, 1), Errno.ENOSPC),
        (AccessDenied("a", "b"), Errno.EPERM),
        (LimitReached("a", 1), Errno.ENOMEM),
        (MediumError("d", 512), Errno.EIO),
        (Misuse("a", "b"), Errno.EINVAL),
        (Unsupported("a", "b"), Errno.ENOTSUP),
        (NotFound("snapshot", "s"), Errno.ESHUTDOWN),
        (InvalidState("vm", "on", "write"), Errno.ESHUTDOWN),
        (Unreachable("array"), Errno.ESHUTDOWN),
        (TimedOut("a", 1), Errno.ESHUTDOWN),
    ],
)
def test_an_error_has_its_number(error, errno):
    fault = fault_of(error)
    assert (fault.errno, fault.text) == (errno, str(error))


def test_a_lun_is_an_export_too():
    async def scenario(world):
        env, lun = world.rig.env, world.rig.luns[0]
        taken = []

        async def take(offset, length):
            taken.append((offset, length))

        show = lambda first, count: world.rig.site.show_parts(lun, first, count, "lun")  # noqa: E731
        export = LunExport("lun/naa.0", "a LUN", lun.size_bytes, 4096, env, show, take)
        server = Server(Joined([Fixed([export]), Fixed([])]), wall_seconds=lambda s: s * RATE)
        await server.start("127.0.0.1", 0)
        host, port = server.address
        uri = f"nbd://{host}:{port}/lun/naa.0"
        said = await world.tool("nbdinfo", "--map", "--totals", uri)
        rows = await world.tool("nbdinfo", "--list", f"nbd://{host}:{port}")
        found = await asyncio.to_thread(whole, server.address, "lun/naa.0", lun.size_bytes)
        with env.entered():
            want = world.rig.site.show(lun, 0, lun.blocks, "lun").tobytes()
        await server.close()
        await server.close()
        with pytest.raises(InvalidState, match="not started"):
            _ = server.address
        return said, rows, found, want, taken

    def whole(address, name, size):
        with talk(address) as client:
            client.go(name, structured=False)
            return client.request(Command.READ, 0, size)[1][0][1]

    said, rows, found, want, taken = serve(scenario, iops=0.0)
    assert said.split() == [str(len(want)), "100.0%", "0", "data"]
    assert "a LUN" in rows
    assert found == want
    assert taken[-1] == (0, len(want))


def test_a_bug_ends_the_run():
    class Broken(LunExport):
        async def read(self, offset, length):
            raise Bug("an invariant broke")

    async def scenario(world):
        export = Broken("x", "", MIB, 512, world.rig.env, lambda first, count: [])
        server = Server(Fixed([export]), wall_seconds=lambda s: s * RATE)
        await server.start("127.0.0.1", 0)
        try:
            await asyncio.to_thread(dialogue, server.address)
            await asyncio.sleep(10)
        finally:
            await server.close()

    def dialogue(address):
        with talk(address) as client:
            client.go("x")
            with pytest.raises(ConnectionError):
                client.request(Command.READ, 0, 512)

    with pytest.raises((Bug, ExceptionGroup)) as found:
        serve(scenario)
    assert "an invariant broke" in repr(found.value) + repr(getattr(found.value, "exceptions", ""))
