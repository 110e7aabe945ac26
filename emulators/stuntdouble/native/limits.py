"""How much a client may send: bodies are read before anybody is asked for a password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse

from stuntdouble.native.models import Problem
from stuntdouble.units import KIB, MIB, format_size

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX: Final = 256 * KIB  # a thousand names of volumes
CHECKPOINT_BYTES_MAX: Final = 64 * MIB  # half a million inputs


class BodyLimit:
    """Refuses a body that is too long, as soon as that is known: Content-Length or not.

    Args:
        app: what is asked, otherwise.
        long: the one path that takes long bodies.
    """

    def __init__(self, app: ASGIApp, long: str) -> None:
        self._app = app
        self._long = long

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = CHECKPOINT_BYTES_MAX if scope["path"] == self._long else BODY_BYTES_MAX
        told = _content_length(scope["headers"])
        if told is not None and told > most:
            await _refusal(scope, most)(scope, receive, send)
            return
        taken = 0
        started = False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _TooLongError
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _TooLongError:
            if started:
                raise
            await _refusal(scope, most)(scope, receive, send)


class _TooLongError(BaseException):
    """The body is too long; nobody on the way may take it for an error of its own."""


def _content_length(headers: Any) -> int | None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return None


def _refusal(scope: Scope, most: int) -> JSONResponse:
    problem = Problem(
        kind="Misuse",
        what=f"the body is longer than {format_size(most)}",
        where=f"{scope['method']} {scope['path']}",
        what_to_do="Send less at once.",
    )
    return JSONResponse(problem.model_dump(), 413, headers={"connection": "close"})
