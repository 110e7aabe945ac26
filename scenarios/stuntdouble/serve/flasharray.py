"""The endpoint of a site's array as a Pure Storage FlashArray."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from stuntdouble.arrayapi.pure import MANNERS, Estate, FlashArray, Port, Sessions
from stuntdouble.serve.arrays import ArrayEndpoint, Vendor
from stuntdouble.serve.control import EPOCH
from stuntdouble.serve.operations import array_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.array import Array
    from stuntdouble.serve.listening import Address
    from stuntdouble.serve.live import LiveSite

PURE: Final = "pure"

_TOKEN_BYTES: Final = 32  # of a session's token: nobody guesses 256 bits


def pure_endpoint(
    live: LiveSite,
    at: Address,
    user: str,
    password: str,
    *,
    api_token: str = "",
    array: str = "",
    ports: Callable[[], Sequence[Port]] = tuple,
    limit_seconds: float = 60.0,
) -> ArrayEndpoint:
    """Return what serves an array as a Pure Storage FlashArray, by HTTPS with a new certificate.

    Args:
        live: the site.
        at: where to listen.
        user: who may log in.
        password: of the user; REST 1 gives the API token for it.
        api_token: of the user; empty for the password.
        array: the array's name; empty for the site's first.
        ports: of the iSCSI target that it tells of.
        limit_seconds: wall time that the site may take for an answer.

    Raises:
        Misuse: the array's identifiers are another vendor's; see ``scenarios.as_flasharrays``.
    """

    def personality(found: Array) -> FlashArray:
        return FlashArray(Estate(found, EPOCH.timestamp(), ports))

    personality(array_of(live.world, array or next(iter(live.world.arrays))))
    sessions = Sessions(
        user,
        password,
        api_token or password,
        live.loop.wall_time,
        lambda: secrets.token_urlsafe(_TOKEN_BYTES),
    )
    vendor = Vendor(
        name=PURE,
        manners=MANNERS,
        sessions=sessions,
        personality=personality,
        path="",
        user=user,
        tls=True,
        through=sessions.keeping_cookies,
    )
    return ArrayEndpoint(live, at, vendor, array, limit_seconds)
