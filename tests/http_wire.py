"""A server and bare sockets to it, on one loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from stuntdouble.http import Handler, Limits, Request, Response, Server, serve

QUICK = Limits(
    tick_seconds=0.01,
    head_seconds=0.1,
    body_seconds=0.1,
    idle_seconds=0.1,
    stall_seconds=0.1,
    orphan_seconds=0.1,
    linger_seconds=0.1,
)
PATIENT = Limits(tick_seconds=0.01)
Script = Callable[["Talk"], Awaitable[Any]]


async def echo(request: Request) -> Response:
    """Answer with what was asked."""
    text = f"{request.method} {request.path} {len(request.body)}"
    return Response(200, text.encode(), (("Content-Type", "text/plain"),))


class Talk:
    """A test's way to a server: bytes out, bytes in."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @asynccontextmanager
    async def connected(
        self,
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def say(self, data: bytes) -> bytes:
        """Send bytes, close our side, and return all that comes back."""
        async with self.connected() as (reader, writer):
            writer.write(data)
            writer.write_eof()
            return await until_closed(reader)


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server closes; a reset closes too."""
    got = bytearray()
    try:
        while piece := await reader.read(65536):
            got += piece
    except ConnectionResetError:
        pass
    return bytes(got)


def talk(script: Script, handler: Handler = echo, limits: Limits = PATIENT, **changes: Any) -> Any:
    """Run a script against a server, within ten seconds, and see that the server still lives."""

    async def run() -> Any:
        async with asyncio.timeout(10):
            server = await serve(handler, "127.0.0.1", 0, limits=replace(limits, **changes))
            try:
                found = await script(Talk(server))
                while server.connections:  # noqa: ASYNC110 -- the server tells nobody
                    await asyncio.sleep(0.01)
                server.handler = echo
                again = await Talk(server).say(get("/alive"))
                assert again.endswith(b"GET /alive 0"), again
                return found
            finally:
                await server.close()

    return asyncio.run(run())


def get(path: str = "/", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: here", *headers, "", ""]
    return "\r\n".join(lines).encode()


def post(body: bytes, *headers: str) -> bytes:
    return get("/", f"Content-Length: {len(body)}", *headers, method="POST") + body


def statuses(answer: bytes) -> list[int]:
    """Return the codes of the answers in a stream; no body of a test holds such a line."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
