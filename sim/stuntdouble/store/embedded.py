"""The embedded store: the same protocol, in this process, without a socket.

It is the default because a rehearsal should need no server.  It keeps nothing on disk.
"""

from __future__ import annotations

from fakeredis import FakeRedis, FakeServer

from stuntdouble.store.client import Store


class Memory:
    """What an embedded store holds; every ``open`` is another client of the same contents."""

    def __init__(self) -> None:
        self._server = FakeServer()

    def open(self) -> Store:
        """Open a store on these contents."""
        client = FakeRedis(server=self._server, decode_responses=True)
        return Store(client, "the embedded store")
