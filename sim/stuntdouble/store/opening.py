"""Where the store is: a server at an address, or this process."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from stuntdouble.errors import Misuse, Unreachable
from stuntdouble.store.client import Store

CONNECT_SECONDS_MAX: Final = 5.0  # a server on the same network answers within milliseconds


def open_store(url: str = "") -> Store:
    """Open the store at *url*, or an embedded one of this process when *url* is empty.

    A server is asked for a sign of life at once, so that a wrong address is known before work
    starts.  An embedded store is empty at first and lives as long as its users do.

    Raises:
        Misuse: *url* is not ``redis://``, ``rediss://`` or ``unix://``.
        Unreachable: nobody answers there within ``CONNECT_SECONDS_MAX``.
    """
    if not url:
        from stuntdouble.store.embedded import Memory  # noqa: PLC0415  (fakeredis is slow to load)

        return Memory().open()
    return _open_server(url)


def _open_server(url: str) -> Store:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise Misuse(
            f"store {_without_secret(url)!r}", "use redis://host:port/database, or leave it out"
        )
    from redis import Redis  # noqa: PLC0415  (the command line must start without redis)
    from redis.exceptions import RedisError  # noqa: PLC0415  (as above)

    where = f"the store at {_without_secret(url)}"
    try:
        client = Redis.from_url(
            url, decode_responses=True, socket_connect_timeout=CONNECT_SECONDS_MAX
        )
    except ValueError as error:
        raise Misuse(f"store {_without_secret(url)!r}", str(error)) from error
    store = Store(client, where)
    try:
        store.ping()
    except Unreachable:
        client.close()
        raise
    except RedisError as error:
        client.close()
        raise Misuse(where, f"{error}") from error
    return store


def _without_secret(url: str) -> str:
    """Return *url* without user name, password and query: it goes to messages and logs."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else url
