"""Bytes to requests, within the limits: what httptools reports, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from stuntdouble.errors import Misuse
from stuntdouble.http.limits import Limits
from stuntdouble.http.messages import Request, Response, said

try:
    import httptools
except ModuleNotFoundError:
    raise Misuse(
        "stuntdouble.http", "httptools is not installed: pip install 'stuntdouble[vsphere]'"
    ) from None

__all__ = ["Bodies", "Incoming", "Refusal"]

_HEAD, _BODY, _BETWEEN = "head", "body", "between"
_LINE_OVERHEAD = 4  # colon, blank, carriage return, line feed


class Refusal(Exception):  # noqa: N818 -- it carries an answer
    """A request that is not answered by the handler.  Fact: what it is answered with."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.response: Response = said(status, text)


class Bodies:
    """Counts the bytes of the bodies that all connections have sent in part."""

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max

    def take(self, count: int) -> bool:
        """Take room for bytes that came; tell whether there was any."""
        self._left -= count
        return self._left >= 0

    def give(self, count: int) -> None:
        """Give room back."""
        self._left += count


class Incoming:
    """Takes the bytes of one connection and hands over each request when it is complete.

    Attributes:
        phase: ``head`` or ``body`` while a request comes in, else ``between``.
        body_bytes: What has come of the body.
    """

    def __init__(
        self,
        limits: Limits,
        bodies: Bodies,
        peer: str,
        *,
        secure: bool,
        go_on: Callable[[], None],
    ) -> None:
        self._limits, self._bodies, self._peer, self._secure = limits, bodies, peer, secure
        self._go_on = go_on
        self._parser: Any = httptools.HttpRequestParser(self)
        self._complete: list[tuple[Request, bool]] = []
        self.phase = _BETWEEN
        self.body_bytes = 0
        self._waited_bytes = 0
        self._begins = False
        self._fresh()

    def _fresh(self) -> None:
        self._head_bytes = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._count = 0
        self._parts: list[bytes] = []
        self.body_bytes = 0

    @property
    def is_partial(self) -> bool:
        """Part of a request has come and part of it has not."""
        return self.phase != _BETWEEN

    def feed(self, data: bytes) -> list[tuple[Request, bool]]:
        """Take bytes; return the requests that they complete, and whether to keep alive after each.

        Raises:
            Refusal: They are no request, or break a limit.  What was complete before, `taken` has.
        """
        self._begins = False
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, Refusal):
                raise cause from None
            raise Refusal(400, f"no HTTP: {str(error)[:120]}") from None
        # What came with the end of another request is not counted: where it starts is not known.
        self._waited_bytes = (
            0 if self._begins or self.phase != _HEAD else self._waited_bytes + len(data)
        )
        if self._waited_bytes > self._limits.head_bytes_max:
            raise self._too_large()
        return self.taken()

    def _parse(self, data: bytes) -> None:
        """Have bytes parsed; an upgrade that is asked for is not taken up, and HTTP goes on."""
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._parser = httptools.HttpRequestParser(self)
                data = data[upgrade.args[0] :]
            else:
                return

    def taken(self) -> list[tuple[Request, bool]]:
        """Return, and forget, the requests that are complete."""
        complete, self._complete = self._complete, []
        return complete

    def close(self) -> None:
        """Give back what a body in part has taken."""
        self._bodies.give(self.body_bytes)
        self._fresh()
        self.phase = _BETWEEN

    def _too_large(self) -> Refusal:
        most = self._limits.head_bytes_max
        return Refusal(431, f"the head of a request may take {most} bytes")

    # What httptools calls; the names are its own.

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        self._fresh()
        self._begins = True
        self.phase = _HEAD

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer after the body, which is counted and not kept."""
        self._count += 1
        self._head_bytes += len(name) + len(value) + _LINE_OVERHEAD
        if self._count > self._limits.headers_max:
            raise Refusal(431, f"a request may have {self._limits.headers_max} headers")
        if self._head_bytes > self._limits.head_bytes_max:
            raise self._too_large()
        if self.phase == _BODY:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key in self._headers:
            if key in {"host", "content-length"}:
                raise Refusal(400, f"{key} stands twice")
            text = self._headers[key] + ("; " if key == "cookie" else ", ") + text
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """The head is complete: what it announces is looked at before any of it comes."""
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            raise Refusal(505, "HTTP 1.1 is spoken")
        if version == "1.1" and "host" not in self._headers:
            raise Refusal(400, "a request names its host")
        length = self._headers.get("content-length", "0")
        if int(length) > self._limits.body_bytes_max:
            raise Refusal(413, f"a body may take {self._limits.body_bytes_max} bytes")
        self.phase = _BODY
        expected = self._headers.get("expect", "").lower()
        if expected == "100-continue" and version == "1.1":
            if not self._complete:
                self._go_on()
        elif expected:
            raise Refusal(417, "100-continue is all that may be expected")

    def on_body(self, piece: bytes) -> None:
        """A piece of the body, out of its chunk if it is chunked."""
        self.body_bytes += len(piece)
        self._parts.append(piece)
        room = self._bodies.take(len(piece))
        if self.body_bytes > self._limits.body_bytes_max:
            raise Refusal(413, f"a body may take {self._limits.body_bytes_max} bytes")
        if not room:
            raise Refusal(503, "too many bodies are coming in")

    def on_message_complete(self) -> None:
        """The request is complete."""
        if len(self._complete) >= self._limits.pipelined_max:
            raise Refusal(503, f"{self._limits.pipelined_max} requests may be sent ahead")
        body = b"".join(self._parts)
        self._bodies.give(self.body_bytes)
        self.body_bytes = 0
        target, path, query = _target(self._url)
        request = Request(
            self._parser.get_method().decode("ascii"),
            target,
            path,
            query,
            self._headers,
            body,
            self._peer,
            self._secure,
            self._parser.get_http_version(),
        )
        keep = self._parser.should_keep_alive() and request.version == "1.1"
        self._complete.append((request, keep))
        self._fresh()
        self.phase = _BETWEEN


def _target(url: bytes) -> tuple[str, str, str]:
    """Return the target of a request, its path with escapes resolved, and its query.

    Raises:
        Refusal: It is none.
    """
    try:
        target = url.decode("ascii")
        path, query = target, ""
        if target.startswith("/"):
            path, _, query = target.partition("#")[0].partition("?")
        elif target != "*":
            parsed: Any = httptools.parse_url(url)
            path, query = (parsed.path or b"/").decode(), (parsed.query or b"").decode()
        return target, unquote(path, errors="strict") if "%" in path else path, query
    except (ValueError, httptools.HttpParserInvalidURLError):
        raise Refusal(400, "the target of the request is no path") from None
