"""Every command that is offered, found by its CDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.scsi import (
    blocks,
    capacity,
    housekeeping,
    identity,
    mode_commands,
    provisioning,
    reports,
    reserving,
    verify,
)
from stuntdouble.scsi.command import Command, reserved_bits

if TYPE_CHECKING:
    from collections.abc import Iterable


class Table:
    """Commands by opcode and service action."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self.commands = tuple(commands)
        self._plain = {one.opcode: one for one in self.commands if one.action is None}
        self._actions = {
            (one.opcode, one.action): one for one in self.commands if one.action is not None
        }
        self.with_actions = frozenset(opcode for opcode, _ in self._actions)
        self._reserved = {one: reserved_bits(one) for one in self.commands}

    def find(self, cdb: bytes) -> Command | None:
        """Return the command of a CDB, or None."""
        return self._plain.get(cdb[0]) or self._actions.get((cdb[0], cdb[1] & 0x1F))

    def action(self, opcode: int, action: int) -> Command | None:
        """Return the command of an opcode and a service action, or None."""
        return self._actions.get((opcode, action))

    def plain(self, opcode: int) -> Command | None:
        """Return the command of an opcode that has no service actions, or None."""
        return self._plain.get(opcode)

    def reserved(self, command: Command) -> int:
        """The bits that have to be zero in a CDB of this command."""
        return self._reserved[command]


CONTROLLER: Final = Table((*identity.COMMANDS, housekeeping.REQUEST_SENSE, *reports.COMMON))
DISK: Final = Table(
    (
        *CONTROLLER.commands,
        *reports.COMMANDS,
        *capacity.COMMANDS,
        *blocks.COMMANDS,
        *verify.COMMANDS,
        *provisioning.COMMANDS,
        *housekeeping.COMMANDS,
        *mode_commands.COMMANDS,
        *reserving.COMMANDS,
    )
)
