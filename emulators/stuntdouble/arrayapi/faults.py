"""What goes wrong between a client and an array that is well: switches, all off."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stuntdouble.arrayapi.messages import Request

COUNT_MAX: Final = 1_000_000  # chosen: more than any test waits for

SLOW_SECONDS_MAX: Final = 3600.0  # chosen: longer than any client waits


@dataclass
class WireFaults:
    """Faults at the wire; each number of requests counts down to 0 as requests meet it.

    They may be set while requests come.  One request meets at most one of those that are counted,
    the first in this order.

    Args:
        unavailable: so many requests are answered 503, and not done.
        unauthorised: so many requests that had a session lose it, and are not done.
        drop_after_commit: so many requests are done, and their connection is cut without a word.
        no_body: so many requests are done, and answered with no body where one is due.
        truncated: so many lists are cut in half, and what is said of their length stays.
        contradictory_total: so many lists are told to be one longer than they are.
        slow_seconds: every answer comes so much later, on the clock of the loop that serves.
        match: only requests whose "METHOD /path" matches this pattern (``*`` and ``?``) meet any.
    """

    unavailable: int = 0
    unauthorised: int = 0
    drop_after_commit: int = 0
    no_body: int = 0
    truncated: int = 0
    contradictory_total: int = 0
    slow_seconds: float = 0.0
    match: str = "*"

    def __post_init__(self) -> None:
        self.change(self.shown())

    def shown(self) -> dict[str, Any]:
        """Return the switches by name, as they are."""
        return asdict(self)

    def change(self, switches: Mapping[str, Any]) -> None:
        """Set switches by name, all of them or none; those that are not named stay.

        Raises:
            Misuse: no such switch, or not such a value.
        """
        for name, value in switches.items():
            _check(name, value)
        for name, value in switches.items():
            setattr(self, name, value)

    def meets(self, request: Request) -> bool:
        """Tell whether a request may meet a fault at all."""
        return fnmatchcase(f"{request.method} {request.path}", self.match)

    def take(self, name: str) -> bool:
        """Count one down; tell whether there was one left."""
        left: int = getattr(self, name)
        if left:
            setattr(self, name, left - 1)
        return bool(left)


_NAMES: Final = tuple(field.name for field in fields(WireFaults))


def _check(name: str, value: Any) -> None:
    if name not in _NAMES:
        raise Misuse("fault at the wire", f"{name!r} is none of {', '.join(_NAMES)}")
    if name == "match":
        if not isinstance(value, str):
            raise Misuse(name, f"{value!r} is no pattern of METHOD /path, such as 'POST *'")
    elif name == "slow_seconds":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= SLOW_SECONDS_MAX:
            raise Misuse(name, f"{value!r} is not 0 to {SLOW_SECONDS_MAX:g}")
    elif type(value) is not int or not 0 <= value <= COUNT_MAX:
        raise Misuse(name, f"{value!r} is not a number of requests, 0 to {COUNT_MAX}")
