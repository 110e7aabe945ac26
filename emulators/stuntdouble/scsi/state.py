"""What a unit remembers, whoever looks at it and at whichever LUN."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stuntdouble.scsi.modes import Modes
from stuntdouble.scsi.reservations import Reservations

if TYPE_CHECKING:
    from stuntdouble.scsi.answers import Nexus


@dataclass(eq=False)
class UnitState:
    """The memory of one unit, by its NAA identifier; the controller's is the empty one.

    ``stopped`` by START STOP UNIT.
    """

    naa: str
    stopped: bool = False
    modes: Modes = field(default_factory=Modes)
    reservations: Reservations = field(default_factory=Reservations)

    @property
    def open(self) -> bool:
        """Whether anybody may do anything: nothing is reserved and the unit is started."""
        return not self.stopped and self.reservations.none

    @property
    def is_new(self) -> bool:
        """Whether it remembers nothing that a unit that nobody has met would not."""
        return self.open and not self.reservations.keys and self.modes == Modes()

    def reset(self) -> None:
        """Forget what a reset forgets: persistent reservations stay (SAM-5 6.3.3)."""
        self.stopped = False
        self.reservations.legacy = None
        self.modes.reset()

    def leave(self, nexus: Nexus) -> None:
        """Forget what ends with a session."""
        if self.reservations.legacy == nexus:
            self.reservations.legacy = None
