"""A site in wall time with every endpoint, for clients that do not know that it is emulated.

``serve`` makes a site of an ``Origin`` and runs it on a paced loop; ``endpoints`` is the one place
that knows what listens for it.  What enters the site from outside is recorded, so that it can be
taken down and put up again as it was: see ``inputs`` and ``LiveSite``.
"""

from stuntdouble.serve.endpoints import Endpoint, Options, endpoints
from stuntdouble.serve.inputs import Input, Recorder
from stuntdouble.serve.listening import (
    Address,
    ArrayAddress,
    Listening,
    address,
    array_address,
    listening,
)
from stuntdouble.serve.live import LiveSite
from stuntdouble.serve.reviving import Origin, made
from stuntdouble.serve.running import Ready, serve

__all__ = [
    "Address",
    "ArrayAddress",
    "Endpoint",
    "Input",
    "Listening",
    "LiveSite",
    "Options",
    "Origin",
    "Ready",
    "Recorder",
    "address",
    "array_address",
    "endpoints",
    "listening",
    "made",
    "serve",
]
