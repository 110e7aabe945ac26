"""What a unit remembers, whoever looks at it and at whichever LUN."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class UnitState:
    """The memory of one unit, by its NAA identifier; the controller's is the empty one.

    ``stopped`` by START STOP UNIT.
    """

    naa: str
    stopped: bool = False
    descriptors: bool = False

    @property
    def open(self) -> bool:
        """Whether anybody may do anything: nothing is reserved and the unit is started."""
        return not self.stopped
