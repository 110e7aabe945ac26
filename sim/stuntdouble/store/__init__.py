"""What is kept: a synchronous client of the Redis protocol, and leases in site time."""

from stuntdouble.store.client import Store, Transaction
from stuntdouble.store.leases import Lease, acquire, check, lease, release, renew
from stuntdouble.store.opening import open_store

__all__ = [
    "Lease",
    "Store",
    "Transaction",
    "acquire",
    "check",
    "lease",
    "open_store",
    "release",
    "renew",
]
