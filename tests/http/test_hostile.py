"""What a hostile client may do: every limit has its answer, and nothing brings the server down."""

from __future__ import annotations

import asyncio
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from http_wire import QUICK, Talk, get, post, statuses, talk, until_closed
from stuntdouble.http import Request, Response


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT here:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET relative HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        (get("/", "Content-Length: -1", method="POST"), 400),
        (get("/", "Content-Length: 1", "Content-Length: 2", method="POST"), 400),
        (get("/", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST"), 400),
        (get("/", "Content-Length: " + "9" * 30, method="POST"), 400),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n", 400),
        (get("/", "Content-Length: 1001", method="POST"), 413),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"3e9\r\n" + b"x" * 1001, 413),
        (get("/", *(f"h{number}: v" for number in range(20))), 431),
        (get("/" + "a" * 3000), 431),
        (get("/", "h: " + "a" * 3000), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nh: " + b"a" * 300_000, 431),
        (get("/", "Expect: wonders"), 417),
        (get("/") * 11, 503),
        (post(b"x" * 600), 503),
    ],
)
def test_what_breaks_a_rule_gets_its_answer(sent: bytes, code: int) -> None:
    answer = talk(
        lambda line: line.say(sent),
        head_bytes_max=2000,
        headers_max=10,
        body_bytes_max=1000,
        bodies_bytes_max=500,
        pipelined_max=10,
    )
    assert statuses(answer)[-1] == code
    assert b"Connection: close\r\n" in answer


def test_a_refusal_is_read_though_the_client_is_still_sending() -> None:
    async def script(line: Talk) -> bytes:
        async with line.connected() as (reader, writer):
            writer.write(get("/", "Content-Length: 99999999", method="POST") + b"x" * 1_000_000)
            return await until_closed(reader)

    assert statuses(talk(script)) == [413]


async def _drip(line: Talk, start: bytes, drop: bytes) -> bytes:
    """Send a start, then a drop every 20 ms, until the server has had enough."""
    async with line.connected() as (reader, writer):
        writer.write(start)
        closed = asyncio.ensure_future(until_closed(reader))
        while not closed.done():
            writer.write(drop)
            await asyncio.sleep(0.02)
        return await closed


@pytest.mark.parametrize(
    ("start", "drop", "codes"),
    [
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n", [408]),
        (b"", b"", []),
        (get("/first"), b"", [200]),
        (get("/first") + b"GET /", b"T", [200, 408]),
        (get("/", "Content-Length: 1000", method="POST"), b"x", [408]),
        (get("/", "Transfer-Encoding: chunked", method="POST"), b"1\r\nx\r\n", [408]),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"1;", b"x", [408]),
    ],
    ids=["head", "nothing", "idle", "second head", "body", "chunks", "endless chunk extension"],
)
def test_a_slow_client_is_not_waited_for(start: bytes, drop: bytes, codes: list[int]) -> None:
    assert statuses(talk(lambda line: _drip(line, start, drop), limits=QUICK)) == codes


def test_a_body_that_keeps_its_rate_may_take_its_time() -> None:
    async def script(line: Talk) -> bytes:
        async with line.connected() as (reader, writer):
            writer.write(get("/", "Content-Length: 20000", method="POST"))
            for _ in range(20):
                writer.write(b"x" * 1000)
                await asyncio.sleep(0.02)
            writer.write_eof()
            return await until_closed(reader)

    assert statuses(talk(script, limits=QUICK, body_rate_min=10_000)) == [200]


def test_who_does_not_take_his_answer_is_cut_off() -> None:
    async def large(_request: Request) -> Response:
        return Response(200, bytes(50_000_000))

    async def script(line: Talk) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.server.port, limit=1000)
        writer.write(get())
        await reader.readuntil(b"\r\n\r\n")
        while line.server.connections:  # noqa: ASYNC110 -- the server tells nobody
            await asyncio.sleep(0.01)
        taken = len(await until_closed(reader))
        writer.transport.abort()
        return taken

    assert talk(script, large, limits=QUICK) < 50_000_000


def test_who_takes_his_answer_slowly_gets_it_all() -> None:
    async def large(_request: Request) -> Response:
        return Response(200, bytes(8_000_000))

    async def script(line: Talk) -> int:
        async with line.connected() as (reader, writer):
            writer.write(get("/", "Connection: close"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Connection: close" in head
            taken = 0
            while piece := await reader.read(400_000):
                taken += len(piece)
                await asyncio.sleep(0.03)
            return taken

    assert talk(script, large, limits=QUICK, stall_seconds=2) == 8_000_000


@pytest.mark.parametrize("limits", [{"connections_max": 3}, {"peer_connections_max": 3}])
def test_connections_are_counted(limits: dict[str, int]) -> None:
    async def script(line: Talk) -> list[bytes]:
        opened = [await asyncio.open_connection("127.0.0.1", line.server.port) for _ in range(5)]
        answers = [await until_closed(reader) for reader, _ in opened[3:]]
        for reader, writer in opened[:3]:
            writer.write(get("/", "Connection: close"))
            answers.append(await until_closed(reader))
        for _, writer in opened:
            writer.transport.abort()
        return answers

    codes = [statuses(answer) for answer in talk(script, **limits)]
    assert codes == [[503], [503], [200], [200], [200]]


def test_an_upgrade_is_not_taken_up() -> None:
    upgrade = get("/a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: A")
    answer = talk(lambda line: line.say(upgrade + get("/b")))
    assert statuses(answer) == [200, 200]
    assert answer.endswith(b"GET /b 0")


def test_thousands_of_upgrades_at_once_are_too_many() -> None:
    upgrade = get("/", "Connection: Upgrade", "Upgrade: h2c")
    codes = statuses(talk(lambda line: line.say(upgrade * 3000), pipelined_max=10))
    assert codes[-1] == 503
    assert 503 not in codes[:-1]


def test_many_clients_at_once_are_all_answered() -> None:
    async def script(line: Talk) -> list[bytes]:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(line.say(get(f"/{n}") * 20)) for n in range(64)]
        return [task.result() for task in asked]

    for number, answer in enumerate(talk(script)):
        assert statuses(answer) == [200] * 20
        assert answer.count(b"GET /%d 0" % number) == 20


SEEDS = [
    get("/a?b=c", "Cookie: d=e"),
    post(b"<x/>", "Content-Type: text/xml"),
    get("/", "Transfer-Encoding: chunked", method="PUT") + b"3\r\nabc\r\n0\r\n\r\n",
    get("/", "Expect: 100-continue", "Content-Length: 1", method="POST") + b"x",
]


@given(st.integers(0, 1 << 32))
@settings(max_examples=40)
def test_no_bytes_bring_the_server_down(seed: int) -> None:
    rng = random.Random(seed)

    def mutated() -> bytes:
        data = bytearray(b"".join(rng.choices(SEEDS, k=rng.randrange(1, 4))))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
        return bytes(data)

    async def script(line: Talk) -> None:
        for _ in range(20):
            async with line.connected() as (reader, writer):
                data = mutated()
                cut = rng.randrange(len(data) + 1)
                writer.write(data[:cut])
                if rng.random() < 0.3:
                    await asyncio.sleep(0)
                writer.write(data[cut:])
                if rng.random() < 0.7:
                    writer.write_eof()
                    answer = await until_closed(reader)
                    assert all(code < 500 or code in {503, 505} for code in statuses(answer))

    talk(script, limits=QUICK)


def test_hostile_connections_leave_nothing_behind() -> None:
    rng = random.Random(7)

    async def some(line: Talk) -> None:
        for number in range(60):
            junk = rng.randbytes(2_000) if number % 3 else b"POST / HTTP/1.1\r\nHost: a\r\n"
            async with line.connected() as (_, writer):
                writer.write(junk + b"Content-Length: 9000\r\n\r\n" + bytes(5_000))
                await asyncio.sleep(0)
        while line.server.connections:  # noqa: ASYNC110 -- the server tells nobody
            await asyncio.sleep(0.01)

    async def script(line: Talk) -> int:
        await some(line)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5):
            await some(line)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert line.server.bodies.take(line.server.limits.bodies_bytes_max)
        line.server.bodies.give(line.server.limits.bodies_bytes_max)
        return after - before

    assert talk(script, limits=QUICK) < 300_000
