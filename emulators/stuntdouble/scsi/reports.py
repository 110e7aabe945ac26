"""What a target says of itself: supported commands and task management, port groups, logs."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import Direction, Transfer, sends
from stuntdouble.scsi.command import Access, Call, Command
from stuntdouble.scsi.reserving import RELATIVE_PORT
from stuntdouble.scsi.sense import bad_cdb

if TYPE_CHECKING:
    from stuntdouble.scsi.command import Outcome, Run
    from stuntdouble.scsi.table import Table

_U16, _U32 = Struct(">H"), Struct(">I")
_DESCRIPTOR: Final = Struct(">BxHxBH")
_ONE: Final = Struct(">xBH")
_TIMEOUTS: Final = Struct(">HxBII")
_CTDP_ALL, _SERVACTV = 0x02, 0x01  # SPC-4 table 256
_CTDP_ONE, _SUPPORTED, _UNSUPPORTED = 0x80, 0x03, 0x01  # SPC-4 table 260
_RCTD: Final = 0x80
_ROOM_MIN: Final = 4  # of REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.36)

PORT_GROUP: Final = 1
"""The target port group of the one target port."""

_FUNCTIONS: Final = bytes((0b1101_1010, 0, 0, 0))
"""ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, target reset (SPC-4 table 268)."""


def _room(call: Call) -> int:
    return int(_U32.unpack_from(call.cdb, 6)[0])


def offered(call: Call) -> Table:
    """Return the commands of what is asked: a disk or the controller."""
    return call.server.commands(call.unit)


def _timeouts(command: Command) -> bytes:
    """Nominal time: not known; recommended: so long (SPC-4 table 262)."""
    return _TIMEOUTS.pack(_TIMEOUTS.size - 2, 0, 0, command.seconds)


def _listed(command: Command, *, timed: bool) -> bytes:
    flags = (_CTDP_ALL if timed else 0) | (0 if command.action is None else _SERVACTV)
    length = len(command.mask)
    row = _DESCRIPTOR.pack(command.opcode, command.action or 0, flags, length)
    return row + _timeouts(command) if timed else row


def _opcodes(call: Call) -> Outcome:
    how, timed = call.cdb[2] & 0x07, bool(call.cdb[2] & _RCTD)
    commands = offered(call)
    if how == 0:
        rows = b"".join(_listed(one, timed=timed) for one in commands.commands if _has(call, one))
        return sends((_U32.pack(len(rows)) + rows)[: _room(call)])
    opcode, action = call.cdb[3], _U16.unpack_from(call.cdb, 4)[0]
    with_actions = opcode in commands.with_actions
    if how not in (1, 2, 3):
        raise bad_cdb(2, 2)
    if (how == 1 and with_actions) or (how == 2 and not with_actions):
        raise bad_cdb(2, 2)
    found = commands.action(opcode, action) if with_actions else commands.plain(opcode)
    if how == 3 and not with_actions and action:
        found = None
    return sends(_one(call, found, timed=timed)[: _room(call)])


def _has(call: Call, command: Command) -> bool:
    return not command.thin or (call.unit is not None and call.unit.thin)


def _one(call: Call, command: Command | None, *, timed: bool) -> bytes:
    if command is None or not _has(call, command):
        return _ONE.pack(_UNSUPPORTED, 0)
    usage = bytearray(command.mask)
    usage[0] = command.opcode
    flags = _SUPPORTED | (_CTDP_ONE if timed else 0)
    data = _ONE.pack(flags, len(usage)) + usage
    return data + _timeouts(command) if timed else data


def _task_management(call: Call) -> Outcome:
    if _room(call) < _ROOM_MIN:
        raise bad_cdb(6)
    if not call.cdb[2] & 0x80:  # REPD: with times, none of them known
        return sends(_FUNCTIONS[: _room(call)])
    return sends((_FUNCTIONS[:3] + bytes((12,)) + bytes(12))[: _room(call)])


def _port_groups(call: Call) -> Outcome:
    """One group with one port, which is active and optimized, and stays so (SPC-4 6.37)."""
    form = call.cdb[1] >> 5
    if form not in (0, 1):
        raise bad_cdb(1, 7)
    # Active/optimized is the only state there is; why it is so is not said.
    group = (
        bytes((0x00, 0x01)) + _U16.pack(PORT_GROUP) + bytes((0, 0, 0, 1)) + _U32.pack(RELATIVE_PORT)
    )
    head = b"" if form == 0 else bytes((0x10, 0, 0, 0))
    data = _U32.pack(len(head) + len(group)) + head + group
    return sends(data[: _room(call)])


# LOG SENSE. ------------------------------------------------------------------------------------

_LOG_PAGES: Final[dict[int, tuple[bytes, ...]]] = {
    # Temperature, and the one that would be too much: not known, nothing is warm (SPC-4 7.3.20).
    0x0D: (bytes.fromhex("0000 03 02 00 ff"), bytes.fromhex("0001 03 02 00 ff")),
    # Informational exceptions: none (SPC-4 7.3.11).
    0x2F: (bytes.fromhex("0000 03 04 00 00 ff 00"),),
}


def _log_sense(call: Call) -> Outcome:
    cdb = call.cdb
    code, first = cdb[2] & 0x3F, _U16.unpack_from(cdb, 5)[0]
    if code == 0x00:
        body = bytes((0x00, *sorted(_LOG_PAGES)))
    elif code in _LOG_PAGES:
        rows = _LOG_PAGES[code]
        if first > _U16.unpack_from(rows[-1])[0]:
            raise bad_cdb(5)
        body = b"".join(row for row in rows if _U16.unpack_from(row)[0] >= first)
    else:
        raise bad_cdb(2, 5)
    data = bytes((code, 0)) + _U16.pack(len(body)) + body
    return sends(data[: _U16.unpack_from(cdb, 7)[0]])


def _in(cdb: bytes, _block_bytes: int) -> Transfer:
    return Transfer(Direction.IN, _U32.unpack_from(cdb, 6)[0])


def _maintenance(name: str, usage: str, run: Run, access: Access = Access.FREE) -> Command:
    action = int(usage[:2], 16) & 0x1F
    return Command(name, 0xA3, usage, run, _in, action=action, access=access, unready=True)


COMMON: Final = (
    _maintenance(
        "REPORT SUPPORTED OPERATION CODES", "0c87ffffffffffffff0000", _opcodes, Access.LOOK
    ),
    _maintenance(
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
        "0d80000000ffffffff0000",
        _task_management,
        Access.LOOK,
    ),
    _maintenance("REPORT TARGET PORT GROUPS", "ea00000000ffffffff0000", _port_groups),
)
"""What the controller has, too."""

COMMANDS: Final = (
    Command(
        "LOG SENSE",
        0x4D,
        "00ff0000ffffffff00",
        _log_sense,
        lambda cdb, _size: Transfer(Direction.IN, _U16.unpack_from(cdb, 7)[0]),
        unready=True,
    ),
)
