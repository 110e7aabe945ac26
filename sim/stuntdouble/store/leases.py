"""Leases in site time: who may work on a thing, until when, and under which number.

    acquire ──▶ held until t ──renew──▶ held until t' ──release──▶ free
                     └──────── t reached: free for whoever asks ───────┘

A lease is a value, not a time to live on the server: the server's clock knows nothing of site
time, and a replayed run must find the same leases.  Each acquisition has a *fencing token*, a
number that only grows, so that a holder who slept through its lease can be told from its
successor wherever the token is checked.

A lease held is refused to everybody, its holder's own name included: a restarted process cannot
be told from a second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import InvalidState, TaskInProgress

if TYPE_CHECKING:
    from stuntdouble.store.client import Store, Transaction

_LEASES: Final = "leases"  # lease name -> "token until holder"
_FREE: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class Lease:
    """The latest lease of a name: over when site time reaches ``until``, or when released."""

    token: int
    until: float
    holder: str


def lease(store: Store, name: str) -> Lease | None:
    """Return the latest lease of *name*, whether or not it still runs; None if there was none."""
    return _parse(store.get(_LEASES, name))


def acquire(store: Store, name: str, holder: str, now: float, seconds: float) -> int:
    """Take the lease of *name* for *seconds* of site time; return its fencing token.

    Raises:
        TaskInProgress: somebody holds it at *now*.
    """
    _check_duration(seconds)

    def take(transaction: Transaction) -> int:
        last = _parse(transaction.get(_LEASES, name))
        if last is not None and now < last.until:
            raise TaskInProgress(name, last.holder)
        token = 1 if last is None else last.token + 1
        transaction.put(_LEASES, name, _format(Lease(token, now + seconds, holder)))
        return token

    return store.transact(take, _LEASES)


def renew(store: Store, name: str, token: int, now: float, seconds: float) -> None:
    """Extend the lease that *token* stands for to *now* + *seconds*; it never gets shorter.

    Raises:
        InvalidState: the lease is over at *now*, even if nobody has taken it since: its holder
            can not know what happened meanwhile.
    """
    _check_duration(seconds)

    def extend(transaction: Transaction) -> None:
        held = _held(_parse(transaction.get(_LEASES, name)), name, token, now, "renew it")
        until = max(held.until, now + seconds)
        transaction.put(_LEASES, name, _format(Lease(token, until, held.holder)))

    store.transact(extend, _LEASES)


def check(store: Store, name: str, token: int, now: float) -> None:
    """Make sure that *token* holds *name* at *now*; InvalidState if not."""
    _held(lease(store, name), name, token, now, "act under it")


def release(store: Store, name: str, token: int) -> bool:
    """Give the lease back; return False when *token* no longer stands for it.  Idempotent."""

    def give_back(transaction: Transaction) -> bool:
        last = _parse(transaction.get(_LEASES, name))
        if last is None or last.token != token or last.until == _FREE:
            return False
        transaction.put(_LEASES, name, _format(Lease(token, _FREE, last.holder)))
        return True

    return store.transact(give_back, _LEASES)


def _held(last: Lease | None, name: str, token: int, now: float, request: str) -> Lease:
    if last is None or last.token != token:
        raise InvalidState(f"lease {token} of {name}", "superseded", request)
    if now >= last.until:
        raise InvalidState(f"lease {token} of {name}", "over", request)
    return last


def _check_duration(seconds: float) -> None:
    if not 0 < seconds < float("inf"):
        raise ValueError(f"a lease of {seconds} s: use a finite duration above 0")


def _format(value: Lease) -> str:
    return f"{value.token} {value.until!r} {value.holder}"


def _parse(text: str | None) -> Lease | None:
    if text is None:
        return None
    token, until, holder = text.split(" ", 2)
    return Lease(int(token), float(until), holder)
