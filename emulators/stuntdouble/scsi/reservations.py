"""Who holds a unit: RESERVE of old, and persistent reservations (SPC-4 5.13) as a state machine.

    unregistered ──REGISTER key──▶ registered ──RESERVE──▶ holder
         ▲                             │  ▲                   │
         └───REGISTER 0, CLEAR,────────┘  └──RELEASE, CLEAR───┘
             PREEMPT by another                PREEMPT by another

It decides, and says whom to tell; how commands look, ``reserving`` knows.  Registrations belong to
initiator ports and outlast sessions; RESERVE is of a session and ends with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from stuntdouble.scsi.command import Access
from stuntdouble.scsi.paths import (
    REGISTRATIONS_PREEMPTED,
    RESERVATIONS_PREEMPTED,
    RESERVATIONS_RELEASED,
)
from stuntdouble.scsi.sense import illegal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stuntdouble.scsi.answers import Nexus
    from stuntdouble.scsi.paths import Code

_GENERATION_MASK: Final = 0xFFFF_FFFF  # PRGENERATION has 32 bits and wraps


class Port(NamedTuple):
    """An initiator port: what a registration belongs to."""

    initiator_iqn: str
    isid: bytes


class Kind(IntEnum):
    """The types of a persistent reservation (SPC-4 table 170)."""

    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8

    @property
    def for_registrants(self) -> bool:
        """Whether whoever is registered may do as the holder."""
        return self >= Kind.WRITE_EXCLUSIVE_REGISTRANTS_ONLY

    @property
    def held_by_all(self) -> bool:
        """Whether whoever is registered is a holder."""
        return self >= Kind.WRITE_EXCLUSIVE_ALL_REGISTRANTS

    @property
    def exclusive(self) -> bool:
        """Whether others may not even read."""
        return self in _EXCLUSIVE


_EXCLUSIVE: Final = frozenset(
    (
        Kind.EXCLUSIVE_ACCESS,
        Kind.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
        Kind.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
    )
)

REGISTRATIONS_MAX: Final = 1024
"""Of a unit.  They outlast sessions, and an initiator may have as many ports as it likes.  Chosen: many
times what a cluster has."""

Told = tuple["Port", "Code"]
"""An initiator port, and what its sessions are to hear."""


class ConflictError(Exception):
    """Somebody else holds the unit: RESERVATION CONFLICT.  Never let out of this package."""


@dataclass(eq=False)
class Reservations:
    """The reservations of one unit.

    Args:
        generation: changes of registrations so far (PRGENERATION).
        keys: the key of every registered port, in the order of registration.
        kind: the type of the persistent reservation, or None.
        legacy: the session that has the unit reserved by RESERVE, or None.
    """

    generation: int = 0
    keys: dict[Port, int] = field(default_factory=dict)
    kind: Kind | None = None
    legacy: Nexus | None = None
    _holder: Port | None = None

    @property
    def none(self) -> bool:
        """Whether nobody holds anything, so that nobody is kept from anything."""
        return self.kind is None and self.legacy is None

    @property
    def holder_key(self) -> int:
        """The key of the holder; 0 where all registered hold it."""
        return 0 if self._holder is None else self.keys[self._holder]

    def holds(self, port: Port) -> bool:
        """Whether a port is a holder of the persistent reservation."""
        if self.kind is None:
            return False
        return port in self.keys if self.kind.held_by_all else port == self._holder

    def keeps_from(self, nexus: Nexus, access: Access) -> bool:
        """Whether a session may not do this, because of what others hold."""
        if access is Access.FREE:
            return False
        if self.legacy is not None:
            return nexus != self.legacy
        kind, port = self.kind, Port(nexus.initiator_iqn, nexus.isid)
        if kind is None or access is Access.TEST or self.holds(port):
            return False
        if port in self.keys and (kind.for_registrants or access is Access.LOOK):
            return False
        return access is Access.WRITE or kind.exclusive

    # Registration. -----------------------------------------------------------------------------

    def register(self, port: Port, key: int, new: int, *, ignore: bool) -> list[Told]:
        """Register, change a key, or with a *new* key of 0 give the registration up."""
        if not ignore and key != self.keys.get(port, 0):
            raise ConflictError
        if port not in self.keys and not new:
            return []
        if port not in self.keys and len(self.keys) >= REGISTRATIONS_MAX:
            raise illegal(0x55, 0x04)  # INSUFFICIENT REGISTRATION RESOURCES
        self._changed()
        if new:
            self.keys[port] = new
            return []
        return self._unregister(port)

    def _unregister(self, port: Port) -> list[Told]:
        kind, held = self.kind, self.holds(port)
        del self.keys[port]
        if kind is None or not held or (kind.held_by_all and self.keys):
            return []
        self._drop()
        return _tell(self.keys, RESERVATIONS_RELEASED) if kind.for_registrants else []

    # Reservation. ------------------------------------------------------------------------------

    def reserve(self, port: Port, key: int, kind: Kind) -> None:
        """Take the reservation; taking once more what one has is allowed."""
        self._check(port, key)
        if self.kind is None:
            self._take(port, kind)
        elif not self.holds(port) or kind != self.kind:
            raise ConflictError

    def release(self, port: Port, key: int, kind: Kind) -> list[Told]:
        """Give the reservation up; who has none gives nothing up."""
        self._check(port, key)
        held = self.kind
        if held is None or not self.holds(port):
            return []
        if kind != held:
            raise illegal(0x26, 0x04)  # INVALID RELEASE OF PERSISTENT RESERVATION
        self._drop()
        others = [one for one in self.keys if one != port]
        return _tell(others, RESERVATIONS_RELEASED) if held.for_registrants else []

    def clear(self, port: Port, key: int) -> list[Told]:
        """Remove the reservation and every registration."""
        self._check(port, key)
        others = [one for one in self.keys if one != port]
        self._changed()
        self._drop()
        self.keys.clear()
        return _tell(others, RESERVATIONS_PREEMPTED)

    def preempt(
        self, port: Port, key: int, victim: int, kind: Kind
    ) -> tuple[list[Port], list[Told]]:
        """Remove those registered with the key *victim*, and take what they held.

        Returns:
            who was removed, and whom to tell what.
        """
        self._check(port, key)
        held = self.kind
        everybody = held is not None and held.held_by_all and not victim
        takes = everybody or (self._holder is not None and self.holder_key == victim)
        if not victim and not takes:
            raise illegal(0x26, 0x00)
        matching = [one for one, its in self.keys.items() if everybody or its == victim]
        if not matching and not takes:
            raise ConflictError
        removed = [one for one in matching if one != port]
        self._changed()
        for one in removed:
            del self.keys[one]
        told = _tell(removed, REGISTRATIONS_PREEMPTED)
        if takes:
            self._take(port, kind)
            others = [one for one in self.keys if one != port]
            told += _tell(others, RESERVATIONS_RELEASED) if kind != held else []
        return removed, told

    # RESERVE and RELEASE of SPC-2. -------------------------------------------------------------

    def reserve_old(self, nexus: Nexus) -> None:
        """Reserve for a session; not beside registrations (CRH = 0, SPC-4 5.13.3)."""
        if self.keys or self.legacy not in (None, nexus):
            raise ConflictError
        self.legacy = nexus

    def release_old(self, nexus: Nexus) -> None:
        """Give up what a session had reserved; nothing of others."""
        if self.keys:
            raise ConflictError
        if self.legacy == nexus:
            self.legacy = None

    # -------------------------------------------------------------------------------------------

    def _check(self, port: Port, key: int) -> None:
        """Refuse who is not registered, or gives another key than it has registered."""
        if self.keys.get(port) != key:
            raise ConflictError

    def _changed(self) -> None:
        self.generation = self.generation + 1 & _GENERATION_MASK

    def _take(self, port: Port, kind: Kind) -> None:
        self.kind = kind
        self._holder = None if kind.held_by_all else port

    def _drop(self) -> None:
        self.kind = self._holder = None


def _tell(ports: Iterable[Port] | Mapping[Port, int], code: Code) -> list[Told]:
    return [(port, code) for port in ports]
