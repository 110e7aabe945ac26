"""A device server: takes commands from initiators, and answers each as a disk array would.

    execute ── which unit? ── what has it to tell? ── who holds it? ── is the CDB sound? ── do it
                05/25/00        UNIT ATTENTION         RESERVATION       05/20, 05/24
                                                        CONFLICT

It knows neither the array whose volumes it serves, nor how commands come and data goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import (
    AccessDenied,
    Error,
    LimitReached,
    Lost,
    MediumError,
    NoSpace,
    NotFound,
    TaskInProgress,
)
from stuntdouble.scsi import table
from stuntdouble.scsi.answers import (
    BUSY,
    RESERVATION_CONFLICT,
    TASK_SET_FULL,
    Answer,
    check,
)
from stuntdouble.scsi.blocks import fast_read
from stuntdouble.scsi.command import CDB_BYTES, NOTHING, Access, Call, carried_out, check_reserved
from stuntdouble.scsi.housekeeping import STOPPED, sense_data
from stuntdouble.scsi.identity import inquiry
from stuntdouble.scsi.lun import unpack_lun
from stuntdouble.scsi.paths import (
    BUS_DEVICE_RESET,
    CAPACITY_CHANGED,
    LUNS_CHANGED,
    POWER_ON,
    Path,
    Session,
    is_reset,
)
from stuntdouble.scsi.reservations import ConflictError, Port
from stuntdouble.scsi.sense import CheckError, Key, Sense, Status, bad_cdb, illegal
from stuntdouble.scsi.state import UnitState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from stuntdouble.scsi.answers import Buffer, Nexus, Transfer
    from stuntdouble.scsi.command import Command, Outcome, Steps
    from stuntdouble.scsi.paths import Code
    from stuntdouble.scsi.reservations import Told
    from stuntdouble.scsi.table import Table
    from stuntdouble.scsi.units import LunMap, Unit

CONTROLLER_NAMES: Final = ("STUNTDBL", "ARRAY CONTROLLER", "0001")
"""Vendor, product and revision of the controller, unless others are given."""

_CONTROLLER: Final = ""  # where a unit has its NAA identifier
_INQUIRY, _REQUEST_SENSE = 0x12, 0x03
_BLOCK_BYTES: Final = 512  # where no unit says another


class DeviceServer:
    """The units of a target, as its initiators meet them.

    Args:
        luns: which initiator sees which unit; asked at every command.
        target_name: the name of the SCSI target device, for VPD page 83.
        controller: vendor, product and revision of the controller, which is LUN 0 where nothing
            is mapped there.

    ``on_abort`` is called with a session and a unit's identifier when another initiator aborts its
    commands there (PREEMPT AND ABORT); it returns how many it aborted.  A transport sets it.
    """

    def __init__(
        self,
        luns: LunMap,
        target_name: str,
        controller: tuple[str, str, str] = CONTROLLER_NAMES,
    ) -> None:
        self.luns = luns
        self.target_name = target_name
        self.controller = controller
        self.on_abort: Callable[[Nexus, str], int] = lambda _nexus, _naa: 0
        self._sessions: dict[Nexus, Session] = {}
        self._states: dict[str, UnitState] = {}

    # Sessions. ---------------------------------------------------------------------------------

    def connect(self, nexus: Nexus) -> None:
        """Begin a session: each of its units will tell of a power on first."""
        self._sessions[nexus] = Session(nexus)

    def disconnect(self, nexus: Nexus) -> None:
        """End a session, and what lasts no longer than it; unknown ones are ended already."""
        self._sessions.pop(nexus, None)
        for state in self._states.values():
            state.leave(nexus)

    def is_connected(self, nexus: Nexus) -> bool:
        """Say whether a session is there."""
        return nexus in self._sessions

    def attention(self, initiator_iqn: str, asc: int, ascq: int, lun: int | None = None) -> None:
        """Have all sessions of an initiator told something, by each of its units or by one."""
        units = self.luns.units(initiator_iqn)
        naa = None if lun is None else units[lun].naa if lun in units else _CONTROLLER
        for session in self._of(initiator_iqn):
            for path in list(session.paths.values()):
                if naa is None or path.state.naa == naa:
                    path.attend((asc, ascq))

    def attend(self, nexus: Nexus, lun8: bytes, code: Code) -> None:
        """Have one session told something by one unit that it sees."""
        unit = self.unit_at(nexus, lun8)
        if unit is not None:
            session = self._sessions[nexus]
            (session.paths.get(unit.naa) or self._new_path(session, unit.naa)).attend(code)

    def luns_changed(self, initiator_iqn: str) -> None:
        """Tell an initiator that something was mapped or unmapped."""
        seen = {unit.naa for unit in self.luns.units(initiator_iqn).values()}
        for session in self._of(initiator_iqn):
            for naa in set(session.paths) - seen - {_CONTROLLER}:
                del session.paths[naa]
        self._forget()
        self.attention(initiator_iqn, *LUNS_CHANGED)

    def capacity_changed(self, naa: str) -> None:
        """Tell everybody who knows a unit that it has another size."""
        for path in self._paths(naa):
            path.attend(CAPACITY_CHANGED)

    def heard(self, nexus: Nexus, code: Code) -> None:
        """Have none of the units tell a session what it has heard otherwise."""
        for path in self._sessions[nexus].paths.values():
            path.forget(code)

    def tell(self, call: Call, told: Iterable[Told]) -> None:
        """Have sessions of initiator ports told something by the unit of a call."""
        for port, code in told:
            for path in self._paths(call.path.state.naa):
                if Port(path.nexus.initiator_iqn, path.nexus.isid) == port:
                    path.attend(code)

    def tell_others(self, call: Call, code: Code) -> None:
        """Have all sessions but the one of a call told something by its unit."""
        for path in self._paths(call.path.state.naa):
            if path is not call.path:
                path.attend(code)

    def abort(self, port: Port, naa: str) -> int:
        """Have the commands of an initiator port on a unit aborted; return how many there were."""
        nexuses = [one for one in self._sessions if Port(one.initiator_iqn, one.isid) == port]
        return sum(self.on_abort(one, naa) for one in nexuses)

    def reset_unit(self, nexus: Nexus, lun8: bytes) -> bool:
        """Reset one unit (LOGICAL UNIT RESET); False where there is none at this LUN."""
        unit = self.unit_at(nexus, lun8)
        if unit is not None:
            self._reset(self.state(unit.naa))
        return unit is not None or unpack_lun(bytes(lun8)) == 0

    def reset_target(self) -> None:
        """Reset every unit (TARGET WARM RESET)."""
        for state in list(self._states.values()):
            self._reset(state)

    def unit_at(self, nexus: Nexus, lun8: bytes) -> Unit | None:
        """Return the unit at a LUN, or None."""
        number = unpack_lun(bytes(lun8))
        return None if number is None else self.luns.units(nexus.initiator_iqn).get(number)

    # Commands. ---------------------------------------------------------------------------------

    def transfer(self, nexus: Nexus, lun8: bytes, cdb: bytes) -> Transfer:
        """Return what a CDB asks to be moved; nothing, if it is going to be refused unread."""
        padded = bytes(cdb).ljust(CDB_BYTES, b"\0")
        command = table.DISK.find(padded)
        if command is None:
            return NOTHING
        unit = self.unit_at(nexus, lun8)
        return command.moves(padded, _BLOCK_BYTES if unit is None else unit.block_bytes)

    def execute(
        self,
        nexus: Nexus,
        lun8: bytes,
        cdb: bytes,
        data_out: Buffer = b"",
        announced: int | None = None,
    ) -> Answer | Awaitable[Answer]:
        """Carry a command out.

        Args:
            nexus: who asks; connected.
            lun8: the address of the unit, as it stands in a message.
            cdb: the command.
            data_out: what came with it, as long as ``transfer`` said; what is longer is not looked
                at, what is shorter is refused.
            announced: how many bytes the initiator said that it would send, where a transport
                knows.  Writes make do with less; COMPARE AND WRITE and WRITE SAME refuse more.
        """
        if len(cdb) != CDB_BYTES:
            cdb = bytes(cdb[:CDB_BYTES]).ljust(CDB_BYTES, b"\0")
        session = self._sessions[nexus]
        number = unpack_lun(bytes(lun8))
        unit = None if number is None else self.luns.units(nexus.initiator_iqn).get(number)
        if unit is not None:
            path = session.paths.get(unit.naa)
            if path is None:
                path = self._new_path(session, unit.naa)
            elif not path.attentions and path.state.open:
                try:
                    parts = fast_read(unit, cdb)
                except Error as error:
                    return _failed(error, unit, path.state)
                if isinstance(parts, Sequence):
                    return Answer(Status.GOOD, tuple(parts))
                if parts is not None:
                    return _read_later(parts, unit, path.state)
        elif number == 0:
            path = session.paths.get(_CONTROLLER) or self._new_path(session, _CONTROLLER)
        else:
            path = Path(nexus, UnitState("absent"))
        call = Call(self, path, unit, bytes(cdb), data_out, announced)
        return carried_out(self._steps(call, absent=unit is None and number != 0))

    def _steps(self, call: Call, *, absent: bool) -> Steps:
        """Do what a command wants, and say why not where it cannot be done."""
        try:
            outcome = self._absent(call) if absent else self._begun(call)
            return outcome if isinstance(outcome, Answer) else (yield from outcome)
        except ConflictError:
            return RESERVATION_CONFLICT
        except (CheckError, Error) as error:
            return _failed(error, call.unit, call.path.state)

    def commands(self, unit: Unit | None) -> Table:
        """Return what a unit can be told, or the controller."""
        return table.CONTROLLER if unit is None else table.DISK

    def _begun(self, call: Call) -> Outcome:
        commands, state = self.commands(call.unit), call.path.state
        command = commands.find(call.cdb)
        self._check_attention(call.path, command, resets=True)
        access = Access.FREE if command is None else command.access_of(call.cdb)
        if not state.open and state.reservations.keeps_from(call.path.nexus, access):
            raise ConflictError
        self._check_attention(call.path, command, resets=False)
        if command is None:
            raise bad_cdb(1, 4) if call.cdb[0] in commands.with_actions else illegal(0x20)
        if state.stopped and not command.unready:
            raise CheckError(STOPPED)
        check_reserved(call.cdb, commands.reserved(command))
        return command.run(call)

    def _check_attention(self, path: Path, command: Command | None, *, resets: bool) -> None:
        """Have the unit tell what it has to; resets come before reservations (SAM-5 5.3.3)."""
        exempt = command is not None and command.exempt
        if path.attentions and not exempt and (not resets or is_reset(path.attentions[0])):
            raise CheckError(Sense(Key.UNIT_ATTENTION, *path.attentions.pop(0)))

    def _absent(self, call: Call) -> Outcome:
        """Answer where nothing is mapped (SAM-5 5.11)."""
        if call.cdb[0] == _INQUIRY:
            return inquiry(call, absent=True)
        if call.cdb[0] == _REQUEST_SENSE:
            return sense_data(call.cdb, illegal(0x25).sense)
        raise illegal(0x25)

    # Units. ------------------------------------------------------------------------------------

    def _new_path(self, session: Session, naa: str) -> Path:
        path = Path(session.nexus, self.state(naa), [POWER_ON])
        session.paths[naa] = path
        return path

    def state(self, naa: str) -> UnitState:
        """Return what a unit remembers."""
        return self._states.setdefault(naa, UnitState(naa))

    def _forget(self) -> None:
        """Let go of units that nobody looks at and that have nothing to remember."""
        known = {naa for session in self._sessions.values() for naa in session.paths}
        for naa in [one for one, state in self._states.items() if state.is_new]:
            if naa not in known:
                del self._states[naa]

    def _of(self, initiator_iqn: str) -> Iterator[Session]:
        return (one for one in self._sessions.values() if one.nexus.initiator_iqn == initiator_iqn)

    def _paths(self, naa: str) -> Iterator[Path]:
        paths = (session.paths.get(naa) for session in self._sessions.values())
        return (path for path in paths if path is not None)

    def _reset(self, state: UnitState) -> None:
        state.reset()
        for path in self._paths(state.naa):
            path.attend(BUS_DEVICE_RESET)


async def _read_later(parts: Awaitable[Sequence[Buffer]], unit: Unit, state: UnitState) -> Answer:
    try:
        return Answer(Status.GOOD, tuple(await parts))
    except Error as error:
        return _failed(error, unit, state)


def _failed(error: CheckError | Error, unit: Unit | None, state: UnitState) -> Answer:
    """Return the answer to a command that came to nothing."""
    match error:
        case CheckError():
            sense = error.sense
        case TaskInProgress():
            return BUSY
        case LimitReached():
            return TASK_SET_FULL
        case MediumError():
            block_bytes = _BLOCK_BYTES if unit is None else unit.block_bytes
            block = int(str(error.args[1])) // block_bytes
            sense = Sense(Key.MEDIUM_ERROR, 0x11, 0x00, information=block)
        case NoSpace():
            sense = Sense(Key.DATA_PROTECT, 0x27, 0x07)
        case AccessDenied():
            sense = Sense(Key.DATA_PROTECT, 0x27, 0x00)
        case NotFound():
            sense = illegal(0x25).sense
        case Lost():
            sense = Sense(Key.NOT_READY, 0x04, 0x00)
        case _:
            sense = Sense(Key.HARDWARE_ERROR, 0x44, 0x00)
    return check(sense, descriptors=state.modes.descriptors)
