"""uvicorn in a thread of its own, on an ordinary loop, for interfaces that are ASGI applications."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import threading
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stuntdouble.arrayapi import CUT
from stuntdouble.errors import Bug
from stuntdouble.http import self_signed
from stuntdouble.serve.listening import Address, listening
from stuntdouble.units import KIB

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from stuntdouble.clock import PacedLoop

REQUEST_SECONDS: Final = 60.0  # of wall time, until one is whole.  Chosen: checkpoints have 85 MiB
HEAD_BYTES_MAX: Final = 64 * KIB  # of a request's head: servers in the field allow 8 to 64 KiB
_GRACE_SECONDS: Final = 1  # of wall time: for answers that are on their way when the site ends
_CLIENTS_MAX: Final = 1024  # connections; more are told 503, so that memory has a bound
_LOOK_SECONDS: Final = 0.01  # of wall time, between two looks whether the server has begun or ended


class HttpThread:
    """Serves an application, apart from the site's loop.

    Args:
        loop: the site's.
        app: what is served.
        at: where to listen.
        name: of the interface, for people.
        option: of the command, for errors.
        tls: whether by HTTPS, with a certificate made now.
    """

    def __init__(
        self, loop: PacedLoop, app: ASGIApp, at: Address, name: str, option: str, *, tls: bool
    ) -> None:
        self._loop = loop
        self._at = at
        self._name = name
        self._option = option
        self.fingerprint_sha256 = ""
        self._scheme = "https" if tls else "http"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=_Guarded,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=_GRACE_SECONDS,
                server_header=False,
                limit_concurrency=_CLIENTS_MAX,
                **(self._certified() if tls else {}),
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def _certified(self) -> dict[str, Any]:
        """Return what makes it HTTPS; note the certificate's fingerprint, as browsers show it."""
        context, public = self_signed(dict.fromkeys((self._at.host, "localhost", "127.0.0.1")))
        der = ssl.PEM_cert_to_DER_cert(public.decode())
        digits = hashlib.sha256(der).hexdigest().upper()
        self.fingerprint_sha256 = ":".join(digits[n : n + 2] for n in range(0, len(digits), 2))
        return {"ssl_context_factory": lambda _config, _usual: context}

    async def start(self) -> str:
        """Listen, and return the URL up to the path; Misuse where it cannot."""
        sock = listening(self._at, self._option)
        host, port = sock.getsockname()[:2]

        def serve() -> None:
            try:
                asyncio.run(self._server.serve(sockets=[sock]))
            except BaseException as error:  # noqa: BLE001  (told to the site's loop)
                self._failure = error
            finally:
                sock.close()

        self._thread = threading.Thread(target=serve, name=self._name, daemon=True)
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise Bug(f"the {self._name} did not start: {self._failure!r}")
            await self._loop.sleep_wall(_LOOK_SECONDS)
        return f"{self._scheme}://{Address(host, port)}"

    async def stop(self) -> None:
        """Listen no more, and let go of clients; idempotent."""
        self._server.should_exit = True
        until = self._loop.wall_time() + _GRACE_SECONDS
        thread = self._thread
        while thread is not None and thread.is_alive() and self._loop.wall_time() < until:
            await self._loop.sleep_wall(_LOOK_SECONDS)


class _Guarded(HttpToolsProtocol):
    """A connection of a client that may mean no good, and that an application may cut without a word.

    uvicorn by itself waits for the rest of a request for ever, and takes a head of any length.
    """

    _late: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take some of a request; hang up where its head is too long."""
        if not self._answering:
            self._expect()
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a request; see ``stuntdouble.arrayapi.CUT``."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._expect()
        self.scope["extensions"] = {CUT: {"call": self.transport.abort}}

    def on_headers_complete(self) -> None:
        """Take note that the head of a request is whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Take note that a request is whole."""
        self._no_longer()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._no_longer()
        super().connection_lost(exc)

    @property
    def _answering(self) -> bool:
        """Whether a request is there that has not been answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _expect(self) -> None:
        """Hang up unless a request is whole in time."""
        if self._late is None:
            self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether what uvicorn logs is worth a line: clients let go at the end are not."""
    return not str(record.msg).endswith("timeout graceful shutdown exceeded")
