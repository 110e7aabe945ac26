"""What the paths of the HTTP door share: answers of one line, and who asks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from stuntdouble.http import Response

if TYPE_CHECKING:
    from stuntdouble.http import Request
    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session

__all__ = ["COOKIE", "plain", "session_of"]

COOKIE: Final = "vmware_soap_session"
_KEY: Final = re.compile(COOKIE + r'="?([0-9A-Za-z-]{1,128})"?(?:[;,\s]|$)')


def plain(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return an answer of one line."""
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, f"{text}\n".encode(), (kind, *headers))


def session_of(center: VirtualCenter, request: Request) -> Session | None:
    """Return the session of a request's cookie, None where there is none (any more)."""
    cookie = request.headers.get("cookie", "")
    found = _KEY.search(cookie) if cookie else None
    return center.sessions.find(found[1]) if found else None
