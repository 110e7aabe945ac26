"""Sessions, the paths that each has to units, and what a unit has to tell on each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stuntdouble.scsi.answers import Nexus
    from stuntdouble.scsi.state import UnitState

    Code = tuple[int, int]

POWER_ON: Final = (0x29, 0x00)
"""POWER ON, RESET, OR BUS DEVICE RESET OCCURRED: what a new session hears first."""

BUS_DEVICE_RESET: Final = (0x29, 0x03)
MODE_CHANGED: Final = (0x2A, 0x01)
RESERVATIONS_PREEMPTED: Final = (0x2A, 0x03)
RESERVATIONS_RELEASED: Final = (0x2A, 0x04)
REGISTRATIONS_PREEMPTED: Final = (0x2A, 0x05)
CAPACITY_CHANGED: Final = (0x2A, 0x09)
COMMANDS_CLEARED: Final = (0x2F, 0x00)
LUNS_CHANGED: Final = (0x3F, 0x0E)

_RESET: Final = 0x29


def is_reset(code: Code) -> bool:
    """Whether a code tells of a reset."""
    return code[0] == _RESET


@dataclass(eq=False)
class Path:
    """An I_T_L nexus: one session's way to one unit.

    ``attentions`` are what the unit will tell before it does anything else, first thing first.
    """

    nexus: Nexus
    state: UnitState
    attentions: list[Code] = field(default_factory=list)

    def attend(self, code: Code) -> None:
        """Have something told, unless it is going to be told anyway.

        What tells of a reset goes before all else (SAM-5 5.14.1 table 52); the rest in turn.
        """
        if code in self.attentions:
            return
        if is_reset(code):
            self.attentions.insert(0, code)
        else:
            self.attentions.append(code)

    def forget(self, code: Code) -> None:
        """Have something not told: it has been heard of in another way."""
        if code in self.attentions:
            self.attentions.remove(code)


@dataclass(eq=False)
class Session:
    """An I_T nexus, and its paths by the unit's NAA identifier; the controller's is the empty one."""

    nexus: Nexus
    paths: dict[str, Path] = field(default_factory=dict)
