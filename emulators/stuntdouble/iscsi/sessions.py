"""Targets, and the sessions that initiators have with them."""

from __future__ import annotations

import itertools
import secrets as system_secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from stuntdouble.iscsi.limits import Limits
from stuntdouble.scsi import Nexus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from stuntdouble.codecs.iscsi import Credentials
    from stuntdouble.scsi import Answer, DeviceServer

PORTAL_GROUP: Final = 1  # the tag of the only portal group
_TSIH_MAX: Final = 0xFFFF


class Connected(Protocol):
    """What a session asks of its connection."""

    def end(self, event: int | None = None) -> None:
        """Close it, after an asynchronous message if an event is given (``AsyncEvent``)."""
        ...

    def abort(self, naa: str | None) -> int:
        """Abort the tasks of a unit, or of all; return how many.  Their initiator is not answered."""
        ...


class Running(Protocol):
    """A command that takes its time."""

    def cancel(self) -> object:
        """Do not go on with it."""
        ...


class Runner(Protocol):
    """Drives commands that take their time."""

    def run(self, answer: Awaitable[Answer], done: Callable[[Answer], object]) -> Running:
        """Await *answer* and hand it to *done*, unless cancelled."""
        ...


@dataclass(eq=False)
class Session:
    """One initiator port's session with a target; discovery has no target.

    ``number`` is what tells a session from the one that it replaces.
    """

    initiator: str
    isid: bytes
    tsih: int
    target: Target | None
    connection: Connected
    number: int = 0

    @property
    def nexus(self) -> Nexus:
        """By which the device server knows it."""
        return Nexus(self.initiator, self.isid, self.number)


@dataclass(eq=False)
class Target:
    """A target node.

    Args:
        name: its iSCSI name.
        device: which carries commands out.
        admits: whether an initiator may log in at all, and hear of the target.
        secrets: what proves an initiator, or None where it has nothing to prove.
        alias: for human beings.
    """

    name: str
    device: DeviceServer
    admits: Callable[[str], bool]
    secrets: Callable[[str], Credentials | None]
    alias: str = ""
    sessions: dict[tuple[str, bytes], Session] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have the device's commands aborted here when one initiator does so to another."""
        self.device.on_abort = self._abort_of

    def begin(self, session: Session) -> None:
        """Begin a session; the one that it replaces ends first (RFC 7143, §6.3.5)."""
        key = (session.initiator, session.isid)
        former = self.sessions.pop(key, None)
        if former is not None:
            former.connection.end()
        self.sessions[key] = session
        self.device.connect(session.nexus)

    def finish(self, session: Session) -> None:
        """End a session; idempotent."""
        key = (session.initiator, session.isid)
        if self.sessions.get(key) is session:
            del self.sessions[key]
        self.device.disconnect(session.nexus)

    def of(self, initiator: str | None = None) -> Iterator[Session]:
        """Return the sessions of an initiator, or all."""
        found = list(self.sessions.values())
        return (one for one in found if initiator in {None, one.initiator})

    def abort(self, naa: str | None, spare: Session | None = None) -> None:
        """Abort the tasks of a unit, or of all, in every session but one."""
        for session in self.of():
            if session is not spare:
                session.connection.abort(naa)

    def _abort_of(self, nexus: Nexus, naa: str) -> int:
        """Abort the tasks of one session on a unit; return how many there were."""
        session = self.sessions.get((nexus.initiator_iqn, nexus.isid))
        if session is None or session.nexus != nexus:
            return 0
        return session.connection.abort(naa)


@dataclass(eq=False)
class Node:
    """All targets behind one portal, and what they share.

    Args:
        targets: by name, and in the order in which they are told.
        limits: how much initiators may ask for.
        random: so many bytes that nobody can guess, for challenges.
        portals: the addresses that discovery tells; a server adds its own.
    """

    targets: dict[str, Target]
    limits: Limits = field(default_factory=Limits)
    random: Callable[[int], bytes] = system_secrets.token_bytes
    portals: list[str] = field(default_factory=list)
    held_bytes: int = 0
    reading_bytes: int = 0
    _numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def visible(self, initiator: str) -> list[Target]:
        """Return the targets that an initiator may know of."""
        return [target for target in self.targets.values() if target.admits(initiator)]

    def credentials(self, initiator: str, target: Target | None) -> Credentials | None:
        """Return what an initiator has to prove, to a target or to look around."""
        asked = [target] if target is not None else self.visible(initiator)
        found = (one.secrets(initiator) for one in asked)
        return next((each for each in found if each is not None), None)

    def new_session(
        self, initiator: str, isid: bytes, target: Target | None, connection: Connected
    ) -> Session:
        """Return a session with a handle that no other has."""
        number = next(iter(self._numbers))
        taken = {session.tsih for one in self.targets.values() for session in one.of()}
        tsih = number % _TSIH_MAX + 1
        while tsih in taken:
            tsih = tsih % _TSIH_MAX + 1
        return Session(initiator, isid, tsih, target, connection, number)

    def has_session(self, tsih: int, isid: bytes) -> bool:
        """Say whether there is a session of this handle."""
        return any(
            session.tsih == tsih and session.isid == isid
            for target in self.targets.values()
            for session in target.of()
        )
