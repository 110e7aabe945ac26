"""Encrypted connections, and a loop whose clock is not the one on the wall."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from dataclasses import replace

import pytest

from http_wire import PATIENT, QUICK, Talk, echo, get, until_closed
from stuntdouble.clock import PacedLoop
from stuntdouble.http import self_signed, serve


@pytest.mark.paced
@pytest.mark.parametrize("secure", [False, True])
def test_on_a_loop_that_runs_faster_limits_are_still_of_the_wall(secure: bool) -> None:
    rate = 200.0

    async def run() -> tuple[bytes, float]:
        loop = asyncio.get_running_loop()
        context, certificate = self_signed(["127.0.0.1"])
        server = await serve(
            echo,
            "127.0.0.1",
            0,
            tls=context if secure else None,
            limits=replace(QUICK, idle_seconds=0.3, handshake_seconds=5),
            wall_seconds=lambda seconds: seconds * rate,
        )
        trusting = ssl.create_default_context(cadata=certificate.decode()) if secure else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=trusting, ssl_handshake_timeout=1000 if secure else None
        )
        writer.write(get("/a"))
        started = loop.time()
        answer = await until_closed(reader)
        taken = (loop.time() - started) / rate
        writer.transport.abort()
        await server.close()
        return answer, taken

    def paced() -> PacedLoop:
        loop = PacedLoop(rate)
        loop.start_clock()
        return loop

    with asyncio.Runner(loop_factory=paced) as runner:
        answer, wall = runner.run(run())
    assert answer.endswith(b"GET /a 0")
    assert 0.25 < wall < 5


def test_a_certificate_made_at_start_is_good_for_its_hosts_and_leaves_no_file() -> None:
    async def run() -> bytes:
        context, certificate = self_signed(["localhost", "127.0.0.1"])
        server = await serve(echo, "127.0.0.1", 0, tls=context, limits=PATIENT)
        trusting = ssl.create_default_context(cadata=certificate.decode())
        ask = urllib.request.Request(f"https://localhost:{server.port}/tls", data=b"xyz")

        def client() -> bytes:
            with urllib.request.urlopen(ask, context=trusting, timeout=5) as answer:
                return answer.read()

        got = await asyncio.to_thread(client)
        await server.close()
        return got

    assert asyncio.run(run()) == b"POST /tls 3"


def test_a_refusal_arrives_over_tls_too_and_closing_twice_is_closing() -> None:
    async def run() -> bytes:
        context, certificate = self_signed(["127.0.0.1"])
        server = await serve(echo, "127.0.0.1", 0, tls=context, limits=PATIENT)
        trusting = ssl.create_default_context(cadata=certificate.decode())
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting)
            too_much = get("/", "Content-Length: 99999999", method="POST")
            writer.write(too_much + bytes(500_000))
            got = await reader.readuntil(b"\r\n\r\n")
            await asyncio.gather(server.close(), server.close())
            assert server.connections == 0
        writer.transport.abort()
        return got

    assert b" 413 " in asyncio.run(run())


def test_plain_bytes_to_a_tls_port_do_no_harm() -> None:
    async def run() -> bytes:
        context, _ = self_signed(["127.0.0.1"])
        limits = replace(QUICK, handshake_seconds=0.2)
        server = await serve(echo, "127.0.0.1", 0, tls=context, limits=limits)
        line = Talk(server)
        async with asyncio.timeout(5):
            async with line.connected() as (reader, writer):
                writer.write(get())
                got = await until_closed(reader)
            async with line.connected() as (reader, _):
                got += await until_closed(reader)
        await server.close()
        return got

    assert b"HTTP" not in asyncio.run(run())
