"""A request as a handler sees it, and what it answers with."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

from stuntdouble.errors import Bug

__all__ = ["Handler", "Request", "Response"]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_BODILESS = {204, 304}  # RFC 9110, section 6.4.1
_TEXTS = ("text/", "application/json", "application/xml", "application/javascript")
_GZIP_WINDOW = 31  # the largest window, with a header of gzip: zlib's manual, deflateInit2


@dataclass(frozen=True, slots=True)
class Request:
    """One request, complete.

    Attributes:
        method: In capitals, as sent.
        target: As it stands in the request line.
        path: Path of the target, with escapes resolved.
        query: What follows the question mark, as sent.
        headers: By name in small letters; of several of one name, the values are joined by a comma
            (``cookie``: by a semicolon).
        body: All of it.
        peer: Address of the client.
        secure: It came over TLS.
        version: Of HTTP, ``1.1`` or ``1.0``.
    """

    method: str
    target: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str
    secure: bool
    version: str = "1.1"

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "https" if self.secure else "http"

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the query; of several of one name, the first."""
        return dict(reversed(parse_qsl(self.query, keep_blank_values=True)))


@dataclass(frozen=True, slots=True)
class Response:
    """One answer.

    Attributes:
        status: Code, 200 to 599.
        body: All of it, or its pieces as they come.
        headers: Names and values, without those that the server adds: Content-Length,
            Transfer-Encoding, Connection, Content-Encoding.
        length: Bytes of a body in pieces, if it is known; else it is sent chunked.
    """

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


Handler = Callable[[Request], Response | Awaitable[Response]]
"""What answers requests: at once, or later."""


def said(status: int, text: str) -> Response:
    """Return an answer of one line."""
    return Response(status, f"{text}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"),))


def head(response: Response, body_headers: str, *, keep: bool) -> bytes:
    """Return the head of an answer, with the headers that describe its body.

    Raises:
        Bug: A header holds a line break, which would start another.
    """
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}\r\n"]
    for name, value in response.headers:
        if "\n" in value or "\r" in value or ":" in name:
            raise Bug(f"header {name!r} cannot hold {value!r:.80}")
        lines.append(f"{name}: {value}\r\n")
    closing = "" if keep else "Connection: close\r\n"
    return f"{''.join(lines)}{body_headers}{closing}\r\n".encode("latin-1")


def is_bodiless(request: Request | None, response: Response) -> bool:
    """Tell whether nothing follows the head, whatever the headers say."""
    return response.status in _BODILESS or (request is not None and request.method == "HEAD")


def packed(request: Request | None, response: Response, least: int, most: int) -> bytes | None:
    """Return the body compressed, or None if it stays as it is.

    It is compressed if it is text of `least` to `most` bytes and the client takes gzip.
    """
    body = response.body
    if request is None or not isinstance(body, bytes) or not least <= len(body) <= most:
        return None
    kinds = {name.lower(): value for name, value in response.headers}
    if "content-encoding" in kinds or not kinds.get("content-type", "").startswith(_TEXTS):
        return None
    if not _takes_gzip(request.headers.get("accept-encoding", "")):
        return None
    made = zlib.compressobj(1, zlib.DEFLATED, _GZIP_WINDOW)
    return made.compress(body) + made.flush()


def _takes_gzip(accepted: str) -> bool:
    """Tell whether Accept-Encoding lets gzip through."""
    for part in accepted.lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        if name in {"gzip", "x-gzip"}:
            return weight.strip("0.") != "" or not weight
    return False
