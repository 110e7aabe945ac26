"""The endpoint of a site's array as a Pure Storage FlashArray, and what such an array has to be."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from stuntdouble.arrayapi.pure import MANNERS, OUI, Estate, FlashArray, Port, Sessions
from stuntdouble.serve.arrays import ArrayEndpoint, Vendor
from stuntdouble.serve.control import EPOCH
from stuntdouble.serve.operations import array_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.array import Array
    from stuntdouble.scenarios.spec import Scenario
    from stuntdouble.serve.listening import Address
    from stuntdouble.serve.live import LiveSite

PURE: Final = "pure"

NAME_LENGTH_MAX: Final = 191
"""Characters of the longest name: group, suffix and volume of a group snapshot, dots between."""

_TOKEN_BYTES: Final = 32  # of a session's token: nobody guesses 256 bits


def as_flasharrays(scenario: Scenario, array: str = "") -> Scenario:
    """Return a scenario whose array is one that can be served as a FlashArray.

    Its identifiers are the vendor's, names may be as long as the vendor has them, and a full array
    refuses writes: it never gives a snapshot up.  What the scenario says of these itself stays.

    Args:
        scenario: any scenario.
        array: the array's name; empty for the scenario's first.
    """
    wanted = {"naa_prefix": OUI, "name_length_max": NAME_LENGTH_MAX, "exhaustion": "refuse"}
    name = array or scenario.arrays[0].name
    arrays = [
        each.model_copy(update={"parameters": wanted | each.parameters})
        if each.name == name
        else each
        for each in scenario.arrays
    ]
    return scenario.model_copy(update={"arrays": type(scenario.arrays)(arrays)})


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
        Misuse: the array's identifiers are another vendor's; see ``as_flasharrays``.
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
