"""What the interface tells of its array that the array does not know: names, ports, calendar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stuntdouble.errors import Misuse

PERSONAS: Final = tuple(range(1, 12))
"""Host personas, from GENERIC to WINDOWS_SERVER."""

BUILD: Final = 100000050
"""Of the interface.  Clients take 40000128 and above for the vendor's newer series."""

VERSION: Final = (1, 12, 0)
"""Of the interface: major, minor, revision."""


@dataclass(frozen=True, slots=True)
class Portal:
    """An iSCSI port of the array: where it is in the machine, its address and its target's name."""

    address: str
    iqn: str
    node: int = 0
    slot: int = 2
    card_port: int = 1

    @property
    def position(self) -> dict[str, int]:
        """The place in the machine, as JSON."""
        return {"node": self.node, "slot": self.slot, "cardPort": self.card_port}

    def __str__(self) -> str:
        return f"{self.node}:{self.slot}:{self.card_port}"


@dataclass(frozen=True, slots=True)
class Setting:
    """How the array presents itself.

    Args:
        portals: the iSCSI ports; asked each time, since a target may open later than this.
        epoch: calendar time of site time 0.
        serial: the serial number of the system.
        model: what it calls itself.
        user: whose tasks are told to be.
        tls: whether it is reached by HTTPS.
        user_of: tells what somebody whom the array does not know of has on the volume of an NAA
            identifier, such as a datastore; "" for nothing.  Such a volume is not deleted.
    """

    portals: Callable[[], Sequence[Portal]] = tuple
    epoch: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    serial: str = "SD0001"
    model: str = "stuntdouble"
    user: str = "user"
    tls: bool = False
    user_of: Callable[[str], str] = lambda _naa: ""

    def __post_init__(self) -> None:
        if self.epoch.tzinfo is None:
            raise Misuse("epoch", "say in which time zone")

    def calendar(self, seconds: float) -> datetime:
        """Return the calendar time of a site time, to the second."""
        return (self.epoch + timedelta(seconds=seconds)).replace(microsecond=0)

    def stamp(self, name: str, seconds: float) -> dict[str, Any]:
        """Return a moment in both forms that volumes tell it in."""
        at = self.calendar(seconds)
        return {f"{name}TimeSec": int(at.timestamp()), f"{name}Time8601": at.isoformat()}
