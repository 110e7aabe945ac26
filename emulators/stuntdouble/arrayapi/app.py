"""The application behind a socket: from the bytes of a request to those of its answer."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote

from stuntdouble.arrayapi.faults import WireFaults
from stuntdouble.arrayapi.messages import Reply, Request
from stuntdouble.errors import Lost, TimedOut
from stuntdouble.units import KIB, format_size

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from stuntdouble.arrayapi.messages import Door, Manners, Sessions

BODY_BYTES_MAX: Final = 256 * KIB
"""Of a request.  Chosen: a set of a thousand volumes fits eight times."""

CUT: Final = "stuntdouble.cut"
"""The extension of an ASGI scope by which a connection is cut: its "call" takes no arguments."""


def app(
    manners: Manners,
    door: Door,
    sessions: Sessions,
    faults: WireFaults | None = None,
    body_bytes_max: int = BODY_BYTES_MAX,
) -> ASGIApp:
    """Return an ASGI application that speaks a vendor's interface.

    Args:
        manners: how the vendor says what goes wrong on the way.
        door: to the personality.
        sessions: who may ask.
        faults: what goes wrong at the wire; may be changed meanwhile.
        body_bytes_max: longer bodies are refused as they come in.
    """
    return _App(manners, door, sessions, faults or WireFaults(), body_bytes_max)


class _App:
    def __init__(
        self,
        manners: Manners,
        door: Door,
        sessions: Sessions,
        faults: WireFaults,
        body_bytes_max: int,
    ) -> None:
        self._manners = manners
        self._door = door
        self._sessions = sessions
        self._faults = faults
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            raise ValueError(f"a {scope['type']} connection to {self._manners.name}")
        try:
            body = await _body(receive, self._body_bytes_max)
        except _GoneError:  # what has come of it may say something else than was meant
            return
        if body is None:
            text = f"the body is longer than {format_size(self._body_bytes_max)}"
            refusal = self._manners.refuse(413, text)
            await _send(send, Reply(413, refusal.body, (*refusal.headers, ("connection", "close"))))
            return
        request = _request(scope, body)
        reply = await self._answer(request)
        if reply is None:
            await _cut(scope)
            return
        await _send(send, reply)

    async def _answer(self, request: Request) -> Reply | None:
        """Return the answer; None where the connection is to be cut."""
        faults = self._faults
        meets = faults.meets(request)
        if meets and faults.slow_seconds:
            await asyncio.sleep(faults.slow_seconds)
        if meets and faults.take("unavailable"):
            return self._manners.refuse(503, "the service is unavailable: ask again later")
        reply = self._sessions.admit(request)
        if reply is None and meets and faults.take("unauthorised"):
            return self._sessions.expel(request)
        if reply is None:
            reply = await self._done(request)
        return self._spoiled(reply) if meets else reply

    async def _done(self, request: Request) -> Reply:
        try:
            return await self._door(request)
        except Lost as error:
            status = 504 if isinstance(error, TimedOut) else 503
            return self._manners.refuse(status, str(error))

    def _spoiled(self, reply: Reply) -> Reply | None:
        """Return what is left of an answer; None for nothing."""
        faults = self._faults
        if faults.take("drop_after_commit"):
            return None
        if reply.body is None:
            return reply
        if faults.take("no_body"):
            return Reply(reply.status, None, reply.headers)
        found = reply.body.get(self._manners.list_key) if isinstance(reply.body, dict) else None
        if isinstance(found, list):
            if found and faults.take("truncated"):
                cut = {self._manners.list_key: found[: len(found) // 2]}
                return Reply(reply.status, reply.body | cut, reply.headers)
            if faults.take("contradictory_total"):
                total = {self._manners.total_key: len(found) + 1}
                return Reply(reply.status, reply.body | total, reply.headers)
        return reply


class _GoneError(Exception):
    """The client went away before its request was whole."""


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return the body of a request; None as soon as it is longer than *most*."""
    taken = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        taken += message.get("body", b"")
        if len(taken) > most:
            return None
        if not message.get("more_body", False):
            return bytes(taken)


def _request(scope: Scope, body: bytes) -> Request:
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    path = raw.decode("latin-1").partition("?")[0]
    return Request(scope["method"], path, tuple(query), headers, body)


async def _send(send: Send, reply: Reply) -> None:
    body = b"" if reply.body is None else _json(reply.body)
    headers = [(b"content-length", str(len(body)).encode())] if reply.status != 204 else []
    if body:
        headers.append((b"content-type", b"application/json"))
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _json(body: Any) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


async def _cut(scope: Scope) -> None:
    """Cut the connection as a cable that is pulled would: nothing has been sent."""
    extension = scope.get("extensions", {}).get(CUT)
    if extension is None:
        raise ConnectionResetError("the connection was cut after the request had been done")
    extension["call"]()
    await asyncio.sleep(0)  # until the server has seen that there is nobody to answer
    await asyncio.sleep(0)
