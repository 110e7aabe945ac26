"""Handlers that answer without waiting: the answer leaves before the loop comes round."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from http_wire import Talk, echo, get, statuses, talk, until_closed
from stuntdouble.http import Request, Response


def path_back(request: Request) -> Response:
    return Response(200, request.path.encode())


async def asked(line: Talk, *pieces: bytes) -> bytes:
    """Say something piece by piece, each once the one before has been answered; return all."""
    async with line.connected() as (reader, writer):
        said = b""
        for piece in pieces:
            writer.write(piece)
            head = await reader.readuntil(b"\r\n\r\n")
            said += head + await reader.readexactly(int(head.split(b"Length: ")[1].split()[0]))
        writer.write_eof()
        return said + await until_closed(reader)


def test_one_request_after_another_is_answered() -> None:
    answer = talk(lambda line: asked(line, get("/a"), get("/b"), get("/c")), path_back)
    assert statuses(answer) == [200] * 3
    assert [answer.index(path) for path in (b"/a", b"/b", b"/c")] == sorted(
        answer.index(path) for path in (b"/a", b"/b", b"/c")
    )


def test_what_is_sent_ahead_is_answered_in_order() -> None:
    answer = talk(lambda line: line.say(b"".join(get(f"/{k}") for k in range(20))), path_back)
    assert statuses(answer) == [200] * 20
    places = [answer.index(b"\r\n\r\n/%d" % number) for number in range(20)]
    assert places == sorted(places)


def test_the_last_request_of_a_connection_ends_it() -> None:
    answer = talk(lambda line: line.say(get("/x", "Connection: close")), path_back)
    assert statuses(answer) == [200]
    assert b"Connection: close" in answer


def test_some_are_answered_at_once_and_some_later() -> None:
    def either(request: Request):
        if request.path == "/later":
            return slow(request)
        return path_back(request)

    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.02)
        return await echo(request)

    pieces = (get("/a"), get("/later"), get("/b"))
    answer = talk(lambda line: asked(line, *pieces), either)
    assert statuses(answer) == [200] * 3
    assert answer.index(b"/a") < answer.index(b"GET /later 0") < answer.index(b"/b")
    ahead = talk(lambda line: line.say(b"".join(pieces)), either)
    assert statuses(ahead) == [200] * 3


def test_a_handler_that_fails_is_logged_and_the_connection_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(request: Request) -> Response:
        if request.path == "/bad":
            raise ZeroDivisionError("what went wrong")
        return path_back(request)

    answer = talk(lambda line: asked(line, get("/bad"), get("/good")), fails)
    assert statuses(answer) == [500, 200]
    assert b"what went wrong" not in answer
    assert "what went wrong" in caplog.text


def test_an_answer_that_cannot_be_said_cuts_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_request: Request) -> Response:
        return Response(200, b"", (("Location", "/\r\nSet-Cookie: a=b"),))

    async def script(line: Talk) -> bytes:
        async with line.connected() as (reader, writer):
            writer.write(get())
            return await until_closed(reader)

    assert talk(script, broken) == b""
    assert "cut short" in caplog.text


def test_a_client_that_takes_nothing_is_not_served_more() -> None:
    served = 0

    def large(_request: Request) -> Response:
        nonlocal served
        served += 1
        return Response(200, bytes(8 << 20))

    async def script(line: Talk) -> int:
        async with line.connected() as (reader, writer):
            del reader
            for _ in range(5):
                writer.write(get())
                await asyncio.sleep(0.05)
            return served

    assert talk(script, large) == 1


def test_a_client_that_takes_its_time_gets_everything() -> None:
    def large(request: Request) -> Response:
        return Response(200, request.path.encode() * (1 << 20))

    async def script(line: Talk) -> list[int]:
        async with line.connected() as (reader, writer):
            writer.write(get("/ab"))
            await asyncio.sleep(0.1)
            writer.write(get("/cde"))
            await asyncio.sleep(0.1)
            sizes = []
            for _ in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.split(b"Length: ")[1].split()[0])
                sizes.append(len(await reader.readexactly(size)))
            return sizes

    assert talk(script, large) == [3 << 20, 4 << 20]


def test_what_has_begun_is_let_go_of_when_its_client_leaves() -> None:
    left = asyncio.Event()

    async def waits() -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            left.set()
        return Response()

    async def script(line: Talk) -> None:
        async with line.connected() as (reader, writer):
            del reader
            writer.write(get())
            await asyncio.sleep(0.05)
            linger = struct.pack("ii", 1, 0)  # closing resets the connection
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await left.wait()

    talk(script, lambda _request: waits())
