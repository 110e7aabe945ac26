"""The door over HTTP: vim25 at ``/sdk``, for clients that do not know that it is emulated.

    GET   /                              what this is
    GET   /sdk/vimServiceVersions.xml    the versions that are spoken
    POST  /sdk, /sdk/, /sdk/vimService   a call: 200 and its result, or 500 and a fault

A session travels in the cookie ``vmware_soap_session``; it is given out with the answer that logged
somebody in.  Calls on one session run side by side, and one that waits for updates ends with its
connection.  An error that nobody expected is a SystemError to the client and a traceback in the log.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Final

from stuntdouble import http
from stuntdouble.errors import InvalidState
from stuntdouble.http import Request, Response
from stuntdouble.vsphere.answers import COOKIE, plain, session_of
from stuntdouble.vsphere.dispatch import Answer
from stuntdouble.vsphere.folder import datastore_files
from stuntdouble.vsphere.leases import leased_disks
from stuntdouble.vsphere.request import BODY_BYTES_MAX
from stuntdouble.vsphere.versions import negotiate, service_versions

if TYPE_CHECKING:
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.dispatch import Dispatcher
    from stuntdouble.vsphere.sessions import Session

__all__ = ["Route", "VsphereEndpoint"]

_XML: Final[tuple[tuple[str, str], ...]] = (("Content-Type", "text/xml; charset=utf-8"),)
_AGENT_CHARACTERS_MAX: Final = 256  # of a client's name that are kept.  Chosen.
_CALLS: Final = frozenset({"/sdk", "/sdk/", "/sdk/vimService", "/sdk/vimService/"})
_GRACE_SECONDS: Final = 0.5  # of wall time: for answers that are on their way at the end

Route = Callable[["VirtualCenter", Request], Awaitable[Response]]
"""What answers requests for the paths below one name."""

log = logging.getLogger(__name__)
_negotiated = lru_cache(maxsize=256)(negotiate)  # clients send the same few texts


class VsphereEndpoint:
    """Serves a vCenter over HTTPS, or plain HTTP.

    ``dispatcher`` may be replaced by ``serve_instead`` while it listens.

    Args:
        dispatcher: answers the calls.
        host: address to listen on.
        port: port to listen on; 0 for one that is free.
        plain_http: do not encrypt.  Otherwise a certificate is made at each start.
        names: whom the certificate is for, beside *host*.
        wall_seconds: seconds of the running loop that so many seconds of wall time are.
        limits: what a client may take.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        plain_http: bool = False,
        names: tuple[str, ...] = ("localhost", "127.0.0.1"),
        wall_seconds: Callable[[float], float] = float,
        limits: http.Limits | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.routes: dict[str, Route] = {
            "folder": datastore_files,
            "nfc": leased_disks,
        }
        self.certificate = b""
        self._host, self._port = host, port
        self._plain, self._names = plain_http, names
        self._wall_seconds = wall_seconds
        self._limits = limits or http.Limits(body_bytes_max=BODY_BYTES_MAX)
        self._server: http.Server | None = None

    # Life. -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is taken, or none of this machine.
        """
        tls: ssl.SSLContext | None = None
        if not self._plain:
            tls, self.certificate = http.self_signed(dict.fromkeys((self._host, *self._names)))
        self._server = await http.serve(
            self.handle,
            self._host,
            self._port,
            tls=tls,
            limits=self._limits,
            wall_seconds=self._wall_seconds,
            call_later=self.dispatcher.center.setting.call_later,
        )
        self._tell(self.dispatcher)

    def _tell(self, dispatcher: Dispatcher) -> None:
        """Let a vCenter know where it is served."""
        if self._server is not None:
            scheme = "http" if self._plain else "https"
            dispatcher.center.base_url = f"{scheme}://*:{self.port}"
            dispatcher.center.thumbprint = self._fingerprint("sha1")

    async def stop(self) -> None:
        """Listen no more, and let go of clients within a second; idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.close(_GRACE_SECONDS)

    def serve_instead(self, dispatcher: Dispatcher) -> None:
        """Let another vCenter answer from now on; all sessions on the former one end."""
        self.dispatcher.center.sessions.expire_all()
        self.dispatcher = dispatcher
        self._tell(dispatcher)

    @property
    def port(self) -> int:
        """The port that it listens on; InvalidState where it does not."""
        if self._server is None:
            raise InvalidState("the vSphere endpoint", "not started", "tell its port")
        return self._server.port

    @property
    def url(self) -> str:
        """Where clients find it; InvalidState where it does not listen."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._plain else 'https'}://{host}:{self.port}/sdk"

    @property
    def fingerprint_sha256(self) -> str:
        """The certificate's fingerprint, as browsers show it; empty where there is none."""
        return self._fingerprint("sha256")

    def _fingerprint(self, algorithm: str) -> str:
        if not self.certificate:
            return ""
        der = ssl.PEM_cert_to_DER_cert(self.certificate.decode())
        digits = hashlib.new(algorithm, der, usedforsecurity=False).hexdigest().upper()
        return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._server.connections if self._server else 0

    # Requests. -------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request, or return what will."""
        path = request.path
        if path in _CALLS:
            if request.method == "POST":
                return self._call(request)
            return plain(405, "POST a call of vim25 here", ("Allow", "POST"))
        if path in {"/", "/sdk/vimServiceVersions.xml"}:
            if request.method not in {"GET", "HEAD"}:
                return plain(405, "there is only something to read here", ("Allow", "GET, HEAD"))
            return self._page() if path == "/" else self._versions()
        route = self.routes.get(path.split("/", 2)[1] if path.startswith("/") else "")
        if route is None:
            return plain(404, "there is nothing here; vim25 is spoken at /sdk")
        return route(self.dispatcher.center, request)

    def _call(self, request: Request) -> Response | Awaitable[Response]:
        dispatcher, headers = self.dispatcher, request.headers
        center = dispatcher.center
        session = known = session_of(center, request)
        if session is None:
            session = center.sessions.anonymous()
            session.address = request.peer
            session.agent = headers.get("user-agent", "")[:_AGENT_CHARACTERS_MAX]
        version = _negotiated(headers.get("soapaction", "")[:256], center.setting.version)
        new = known is None
        try:
            told = dispatcher.serve(request.body, session, version)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client is told)
            return _response(_broken(dispatcher, error, session, version), request, new=new)
        if isinstance(told, Answer):
            return _response(told, request, new=new)
        return self._later(
            told, request, lambda error: _broken(dispatcher, error, session, version), new=new
        )

    async def _later(
        self,
        told: Awaitable[Answer],
        request: Request,
        broken: Callable[[BaseException], Answer],
        *,
        new: bool,
    ) -> Response:
        try:
            answer = await told
        except Exception as error:  # noqa: BLE001  (whatever it is, the client is told)
            answer = broken(error)
        return _response(answer, request, new=new)

    def _versions(self) -> Response:
        newest = self.dispatcher.center.setting.version
        return Response(200, service_versions(newest).encode(), _XML)

    def _page(self) -> Response:
        about = self.dispatcher.center.roots.about_info()
        page = (
            "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
            f"<title>{escape(about.fullName)}</title></head><body>\n"
            f"<h1>{escape(about.fullName)}</h1>\n"
            "<p>A stunt double: it behaves like a vCenter with its hosts and datastores, and there"
            " is none. Clients of the vSphere API find it at <code>/sdk</code>, datastores are at"
            " <a href='/folder'>/folder</a>.</p>\n</body></html>\n"
        )
        return Response(200, page.encode(), (("Content-Type", "text/html; charset=utf-8"),))


def _broken(dispatcher: Dispatcher, error: BaseException, session: Session, version: str) -> Answer:
    name = session.user.name if session.user else "nobody"
    log.error("a call of %s failed", name, exc_info=error)
    return dispatcher.broken(error, session, version)


def _response(answer: Answer, request: Request, *, new: bool) -> Response:
    """Return an answer as HTTP has it, with a cookie where the call made the session known."""
    shown = _XML
    session = answer.session
    if new and session.user is not None:
        shown = (*_XML, ("Set-Cookie", _cookie(session.key, secure=request.secure)))
    return Response(500 if answer.fault else 200, answer.body, shown)


def _cookie(key: str, *, secure: bool) -> str:
    return f'{COOKIE}="{key}"; Path=/; HttpOnly{"; Secure" if secure else ""}'
