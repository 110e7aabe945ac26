"""The array as its vendors' management interfaces say it: what all of them share.

    bytes ──▶ app ──▶ sessions ──▶ door ──▶ Personality.handle, one SimPy generator ──▶ the array
              │       may you ask?  │        a vendor's whole behaviour, refusals included
              └ WireFaults          └ LocalDoor, or serve, which records what changes something

A personality is a function of a request and of the array: it opens no socket, knows no session and
no wall time, so a request that is recorded can be lived through again.  What lies between the
socket and it is here, and is the same for every vendor.
"""

from stuntdouble.arrayapi.app import BODY_BYTES_MAX, CUT, app
from stuntdouble.arrayapi.faults import WireFaults
from stuntdouble.arrayapi.local import LocalDoor
from stuntdouble.arrayapi.messages import (
    Door,
    Manners,
    Personality,
    Reply,
    Request,
    Sessions,
)
from stuntdouble.arrayapi.strict import MalformedJsonError, strict_json

__all__ = [
    "BODY_BYTES_MAX",
    "CUT",
    "Door",
    "LocalDoor",
    "MalformedJsonError",
    "Manners",
    "Personality",
    "Reply",
    "Request",
    "Sessions",
    "WireFaults",
    "app",
    "strict_json",
]
