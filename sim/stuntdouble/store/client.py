"""What is kept between runs: hashes of text in a store that speaks the Redis protocol.

    stuntdouble : catalog : points      {"web-1-storage-3": "{...}", ...}
    └ prefix ┘   └ space ┘ └ hash ┘      └── field ──┘        └ value ┘

The client is synchronous on purpose: in virtual time a call is an instant, and an awaited socket
would have no place on the emulated clock.  Nothing here has a time to live, because the server's
clock is not the site's; what ends, ends at a value in site time (see ``leases``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from stuntdouble.errors import TaskInProgress, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis
    from redis.client import Pipeline

T = TypeVar("T")

PREFIX: Final = "stuntdouble"
ATTEMPTS_MAX: Final = 64  # writers of one hash are a handful; more losses in a row mean a bug


class Transaction:
    """Reads that must still hold when the writes are applied: all of them or none.

    A read sees the store, not this transaction's own writes.  Only the hashes that the
    transaction was opened on may be read: others are not watched.
    """

    def __init__(self, store: Store, pipeline: Pipeline, hashes: tuple[str, ...]) -> None:
        self._store = store
        self._pipeline = pipeline
        self._hashes = frozenset(hashes)
        self._writes: list[Callable[[], object]] = []

    def get(self, name: str, field: str) -> str | None:
        """Return the value of *field* in hash *name*, or None."""
        value = self._pipeline.hget(self._watched(name), field)
        return None if value is None else str(value)

    def all(self, name: str) -> dict[str, str]:
        """Return every field of hash *name*, in the order of their names."""
        return _sorted(self._pipeline.hgetall(self._watched(name)))

    def put(self, name: str, field: str, value: str) -> None:
        """Set *field* of hash *name* when the transaction is applied."""
        key = self._store.key(name)
        self._writes.append(lambda: self._pipeline.hset(key, field, value))

    def drop(self, name: str, field: str) -> None:
        """Remove *field* of hash *name* when the transaction is applied."""
        key = self._store.key(name)
        self._writes.append(lambda: self._pipeline.hdel(key, field))

    def apply(self) -> None:
        """Apply the writes; redis.WatchError when a hash that was read has changed."""
        self._pipeline.multi()
        for write in self._writes:
            write()
        self._pipeline.execute()

    def _watched(self, name: str) -> str:
        assert name in self._hashes, f"hash {name!r} is not part of this transaction"
        return self._store.key(name)


class Store:
    """Hashes of text under a prefix, changed atomically.

    Every method raises Unreachable when the server does not answer.
    """

    def __init__(self, client: Redis, where: str, prefix: str = PREFIX) -> None:
        self.client = client
        self.where = where
        self.prefix = prefix

    def space(self, name: str) -> Store:
        """Return the same store with *name* appended to its prefix."""
        return Store(self.client, self.where, self.key(name))

    def key(self, name: str) -> str:
        """Return the key under which hash *name* lies on the server."""
        return f"{self.prefix}:{name}"

    def get(self, name: str, field: str) -> str | None:
        """Return the value of *field* in hash *name*, or None."""
        value = self._ask(lambda: self.client.hget(self.key(name), field))
        return None if value is None else str(value)

    def all(self, name: str) -> dict[str, str]:
        """Return every field of hash *name*, in the order of their names."""
        return _sorted(self._ask(lambda: self.client.hgetall(self.key(name))))

    def put(self, name: str, field: str, value: str) -> None:
        """Set *field* of hash *name*."""
        self._ask(lambda: self.client.hset(self.key(name), field, value))

    def drop(self, name: str, field: str) -> bool:
        """Remove *field* of hash *name*; return whether it was there."""
        return bool(self._ask(lambda: self.client.hdel(self.key(name), field)))

    def transact(self, change: Callable[[Transaction], T], *hashes: str) -> T:
        """Run *change* on *hashes* and apply what it wrote, as one step.

        By WATCH and MULTI, not by a server-side script: the embedded store has no interpreter.
        When another client changed one of the hashes meanwhile, *change* runs again on the new
        values, so it must have no effect but on the transaction.

        Raises:
            TaskInProgress: others changed the hashes ``ATTEMPTS_MAX`` times in a row.
        """
        from redis import WatchError  # noqa: PLC0415  (the command line must start without redis)

        for _ in range(ATTEMPTS_MAX):
            try:
                return self._ask(lambda: self._attempt(change, hashes))
            except WatchError:
                continue
        raise TaskInProgress(f"{self.where}, {' and '.join(hashes)}", "other writers")

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self._ask(self.client.ping)

    def close(self) -> None:
        """Let go of the connections; idempotent."""
        self.client.close()

    def _attempt(self, change: Callable[[Transaction], T], hashes: tuple[str, ...]) -> T:
        with self.client.pipeline() as pipeline:
            pipeline.watch(*map(self.key, hashes))  # type: ignore[no-untyped-call]  # redis-py's
            transaction = Transaction(self, pipeline, hashes)
            result = change(transaction)
            transaction.apply()
            return result

    def _ask(self, request: Callable[[], T]) -> T:
        from redis.exceptions import ConnectionError as Gone  # noqa: PLC0415  (as above)
        from redis.exceptions import TimeoutError as Late  # noqa: PLC0415  (as above)

        try:
            return request()
        except (Gone, Late) as error:
            raise Unreachable(self.where) from error


def _sorted(fields: object) -> dict[str, str]:
    assert isinstance(fields, dict)
    return {str(field): str(fields[field]) for field in sorted(fields)}
