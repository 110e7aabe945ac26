from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from http_wire import PATIENT, Talk, echo, get, post, statuses, talk, until_closed
from stuntdouble.http import Limits, Request, Response, serve


def said(data: bytes, **options: Any) -> bytes:
    """Return what a server answers to these bytes."""
    return talk(lambda line: line.say(data), **options)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_a_request_is_answered_and_the_connection_kept() -> None:
    async def script(line: Talk) -> list[bytes]:
        async with line.connected() as (reader, writer):
            got = []
            for path in ("/a", "/b%20c?d=e#f"):
                writer.write(get(path))
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"Connection: close" not in head
                got.append(await reader.readexactly(int(head.split(b"Length: ")[1].split()[0])))
            return got

    assert talk(script) == [b"GET /a 0", b"GET /b c 0"]


def test_what_is_sent_ahead_is_answered_in_order() -> None:
    async def slow_then_fast(request: Request) -> Response:
        await asyncio.sleep(0.05 if request.path == "/0" else 0)
        return await echo(request)

    ahead = b"".join(get(f"/{number}") for number in range(50)) + post(b"x" * 1000)
    answer = said(ahead, handler=slow_then_fast)
    assert statuses(answer) == [200] * 51
    places = [answer.index(b"GET /%d 0" % number) for number in range(50)]
    assert places == sorted(places)
    assert answer.endswith(b"POST / 1000")


def test_a_body_may_come_in_chunks_and_in_dribs() -> None:
    body = b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nTrailer: x\r\n\r\n"
    whole = get("/", "Transfer-Encoding: chunked", method="PUT") + body

    async def script(line: Talk) -> bytes:
        async with line.connected() as (reader, writer):
            for at in range(len(whole)):
                writer.write(whole[at : at + 1])
                await asyncio.sleep(0)
            writer.write_eof()
            return await until_closed(reader)

    assert talk(script).endswith(b"PUT / 6")


def test_a_client_that_waits_to_be_told_is_told() -> None:
    async def script(line: Talk) -> bytes:
        async with line.connected() as (reader, writer):
            writer.write(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"ab")
            writer.write_eof()
            return await until_closed(reader)

    assert talk(script).endswith(b"POST / 2")


def test_a_client_that_waits_is_not_told_to_send_too_much() -> None:
    ask = get("/", "Content-Length: 11", "Expect: 100-continue", method="POST")
    assert statuses(said(ask, body_bytes_max=10)) == [413]


def test_what_comes_while_a_request_is_answered_waits_and_is_answered() -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.1 if request.path == "/slow" else 0)
        return await echo(request)

    async def script(line: Talk) -> bytes:
        async with line.connected() as (reader, writer):
            for piece in (get("/slow"), get("/a") + b"GET /b HT", b"TP/1.1\r\nHost: x\r\n\r\n"):
                writer.write(piece)
                await asyncio.sleep(0.03)
            writer.write_eof()
            return await until_closed(reader)

    answer = talk(script, slow)
    assert statuses(answer) == [200, 200, 200]
    assert answer.index(b"/slow") < answer.index(b"/a") < answer.index(b"/b")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://here:80/x%2fy?a", "/x/y"),
        ("http://here", "/"),
        ("*", "*"),
        ("/a//b/../c", "/a//b/../c"),
    ],
)
def test_a_target_may_be_written_in_several_ways(target: str, path: str) -> None:
    assert said(get(target, method="OPTIONS")).endswith(f"OPTIONS {path} 0".encode())


@pytest.mark.parametrize(
    ("version", "asked", "kept"),
    [("1.1", "keep-alive", True), ("1.1", "close", False), ("1.0", "keep-alive", False)],
)
def test_a_connection_is_kept_for_who_speaks_1_1_and_does_not_close(
    version: str, asked: str, kept: bool
) -> None:
    answer = said(get("/", f"Connection: {asked}", version=version) + get("/again"))
    assert statuses(answer) == [200] * (1 + kept)
    assert (b"Connection: close" not in answer) == kept


def test_head_has_the_length_and_no_body() -> None:
    answer = said(get(method="HEAD"))
    assert b"Content-Length: 8\r\n" in answer
    assert body_of(answer) == b""


def test_several_headers_of_one_name_are_one() -> None:
    seen: list[Request] = []

    async def keep(request: Request) -> Response:
        seen.append(request)
        return Response(204)

    answer = said(
        get("/a?x=1&x=2&y=", "Cookie: a=1", "cookie: b=2", "Accept: c", "ACCEPT: d"), handler=keep
    )
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert seen[0].headers == {"host": "here", "cookie": "a=1; b=2", "accept": "c, d"}
    assert seen[0].parameters() == {"x": "1", "y": ""}
    assert (seen[0].peer, seen[0].scheme, seen[0].target) == ("127.0.0.1", "http", "/a?x=1&x=2&y=")


@pytest.mark.parametrize(
    ("length", "version", "expected"),
    [
        (None, "1.1", b"4\r\npart\r\n1\r\n2\r\n0\r\n\r\n"),
        (5, "1.1", b"part2"),
        (None, "1.0", b"part2"),
    ],
)
def test_a_body_may_go_out_in_pieces(length: int | None, version: str, expected: bytes) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"part", b"", b"2"):
            yield piece

    async def handler(_request: Request) -> Response:
        return Response(200, pieces(), (), length)

    assert body_of(said(get(version=version), handler=handler)) == expected


@pytest.mark.parametrize("length", [3, 9])
def test_a_body_that_is_not_as_long_as_was_said_is_cut(
    length: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"part"

    async def handler(_request: Request) -> Response:
        return Response(200, pieces(), (), length)

    async def script(line: Talk) -> bytes:
        async with line.connected() as (reader, writer):
            writer.write(get() * 2)
            return await until_closed(reader)

    assert len(statuses(talk(script, handler))) <= 1
    assert "cut short" in caplog.text


def test_pieces_are_made_no_faster_than_they_are_taken() -> None:
    made = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(1000):
            made += 1
            yield bytes(65536)

    async def handler(_request: Request) -> Response:
        return Response(200, pieces())

    async def script(line: Talk) -> int:
        async with line.connected() as (reader, writer):
            writer.write(get())
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.3)
            return made

    assert talk(script, handler) < 500


def test_pieces_end_when_the_client_does() -> None:
    ended = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async def handler(_request: Request) -> Response:
        return Response(200, pieces())

    async def script(line: Talk) -> None:
        async with line.connected() as (reader, writer):
            writer.write(get())
            await reader.readuntil(b"\r\n\r\n")
        await ended.wait()

    talk(script, handler)


def test_a_handler_is_told_when_its_client_is_gone() -> None:
    cancelled = asyncio.Event()

    async def handler(_request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return Response()

    async def script(line: Talk) -> None:
        async with line.connected() as (_, writer):
            writer.write(get())
            await asyncio.sleep(0.05)
            reset = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        await cancelled.wait()

    talk(script, handler)


def test_half_a_connection_is_answered_and_an_orphan_is_not_kept() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.05 if request.path == "/quick" else 60)
        return await echo(request)

    assert said(get("/quick"), handler=handler, orphan_seconds=5).endswith(b"GET /quick 0")
    assert said(get("/slow"), handler=handler, orphan_seconds=0.1) == b""


def test_a_handler_that_fails_is_logged_and_the_connection_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/bad":
            raise ZeroDivisionError("what went wrong")
        if request.path == "/worse":
            raise asyncio.CancelledError
        return await echo(request)

    answer = said(get("/bad") + get("/worse") + get("/good"), handler=handler)
    assert statuses(answer) == [500, 500, 200]
    assert b"what went wrong" not in answer
    assert "what went wrong" in caplog.text


def test_a_line_break_in_a_header_never_gets_out(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_request: Request) -> Response:
        return Response(200, b"", (("Location", "/\r\nSet-Cookie: a=b"),))

    assert b"Set-Cookie" not in said(get(), handler=handler)
    assert "cannot hold" in caplog.text


@pytest.mark.parametrize(
    ("accepted", "body", "kind", "packed"),
    [
        ("gzip, deflate", b"<a/>" * 1000, "text/xml", True),
        ("br, GZIP;q=0.5", b"<a/>" * 1000, "text/xml", True),
        ("gzip;q=0", b"<a/>" * 1000, "text/xml", False),
        ("identity", b"<a/>" * 1000, "text/xml", False),
        ("gzip", b"<a/>", "text/xml", False),
        ("gzip", b"<a/>" * 1000, "application/octet-stream", False),
        ("gzip", b"<a/>" * 300_000, "text/xml", False),
    ],
)
def test_long_text_is_compressed_for_who_takes_it(
    accepted: str, body: bytes, kind: str, packed: bool
) -> None:
    async def handler(_request: Request) -> Response:
        return Response(200, body, (("Content-Type", kind),))

    answer = said(get("/", f"Accept-Encoding: {accepted}"), handler=handler, gzip_bytes_min=2048)
    assert (b"Content-Encoding: gzip\r\n" in answer) == packed
    assert (gzip.decompress(body_of(answer)) if packed else body_of(answer)) == body


def test_closing_lets_an_answer_end_and_cuts_what_does_not() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.1 if request.path == "/short" else 60)
        return await echo(request)

    async def run() -> tuple[bytes, bytes, bytes]:
        server = await serve(handler, "127.0.0.1", 0, limits=PATIENT)
        line = Talk(server)

        async def ask(data: bytes) -> bytes:
            async with line.connected() as (reader, writer):
                writer.write(data)
                return await until_closed(reader)

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(data)) for data in (get("/short"), get("/long"), b"")]
            await asyncio.sleep(0.05)
            await server.close(grace_seconds=0.3)
            assert server.connections == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        return asked[0].result(), asked[1].result(), asked[2].result()

    short, long, idle = asyncio.run(run())
    assert short.endswith(b"GET /short 0")
    assert b"Connection: close" in short
    assert long == idle == b""


def test_seconds_are_of_the_wall_whatever_the_loop_counts() -> None:
    asked: list[float] = []

    def fast(seconds: float) -> float:
        asked.append(seconds)
        return seconds / 100

    async def run() -> float:
        limits = replace(Limits(), tick_seconds=1, idle_seconds=20, head_seconds=20)
        server = await serve(echo, "127.0.0.1", 0, limits=limits, wall_seconds=fast)
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with Talk(server).connected() as (reader, _):
            assert await reader.read() == b""
        await server.close()
        return loop.time() - started

    assert 0.15 < asyncio.run(run()) < 5
    assert set(asked) == {1}
