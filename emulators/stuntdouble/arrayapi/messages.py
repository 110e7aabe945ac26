"""Requests and replies of a management interface, and who takes part in answering one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import unquote

if TYPE_CHECKING:
    from simpy.events import Event


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent.

    ``path`` is as it was sent, percent signs and all; ``query`` is decoded, in order, repetitions
    kept; the names of ``headers`` are in lower case, and one that came twice has both values,
    with a comma between.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def parts(self) -> tuple[str, ...]:
        """The segments of the path, decoded: a name may hold a slash.  ``/a/b/`` has three."""
        return tuple(unquote(part) for part in self.path.removeprefix("/").split("/"))

    @property
    def changes(self) -> bool:
        """Whether it may change something: then it is an input of the site."""
        return self.method not in ("GET", "HEAD")

    def payload(self) -> dict[str, Any]:
        """Return it as JSON can hold it; see ``of_payload``."""
        return {
            "method": self.method,
            "path": self.path,
            "query": [list(pair) for pair in self.query],
            "body": self.body.decode("latin-1"),  # any bytes at all, and JSON is readable
        }

    @staticmethod
    def of_payload(payload: dict[str, Any]) -> Request:
        """Return the request that ``payload`` was made of, without its headers.

        Headers hold keys of sessions; nothing that a personality does depends on them.
        """
        query = tuple((name, value) for name, value in payload["query"])
        body = payload["body"].encode("latin-1")
        return Request(payload["method"], payload["path"], query, {}, body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client gets: ``body`` is JSON, or None for no body at all."""

    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Manners:
    """How a vendor says what has nothing to do with its array.

    Args:
        name: of the interface, for people.
        refuse: says an error of the wire in the vendor's form, from an HTTP status and a text.
        list_key: where in a body a list stands.
        total_key: where in a body the length of that list is told.
    """

    name: str
    refuse: Callable[[int, str], Reply]
    list_key: str
    total_key: str


class Personality(Protocol):
    """A vendor's behaviour over an array."""

    def handle(self, request: Request) -> Generator[Event, Any, Reply]:
        """Do what an authorised request asks; return what the vendor answers.

        A refusal is a Reply as well: what this raises is a bug.  One that is not ``changes`` takes
        no site time and changes nothing.  It does not look at headers.
        """
        ...


class Sessions(Protocol):
    """Who may ask.  It lives beside the site: a login is no input of it, and survives a restore."""

    def admit(self, request: Request) -> Reply | None:
        """Return the answer to a login, a logout, or to whoever may not ask; None lets it pass."""
        ...

    def expel(self, request: Request) -> Reply:
        """Forget the session of a request, and return what a client without one is told."""
        ...


Door: TypeAlias = "Callable[[Request], Awaitable[Reply]]"
"""The way from a wire to a personality; it may raise Lost where the site does not answer."""
