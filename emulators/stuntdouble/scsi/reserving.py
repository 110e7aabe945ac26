"""PERSISTENT RESERVE IN and OUT, RESERVE and RELEASE: how reservations are said (SPC-4 6.15, 6.16)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import GOOD, Direction, Transfer, sends
from stuntdouble.scsi.blocks import taken
from stuntdouble.scsi.command import Call, Command
from stuntdouble.scsi.paths import COMMANDS_CLEARED
from stuntdouble.scsi.reservations import ConflictError, Kind, Port
from stuntdouble.scsi.sense import bad_cdb, bad_parameter, illegal

if TYPE_CHECKING:
    from stuntdouble.scsi.command import Outcome, Run
    from stuntdouble.scsi.reservations import Reservations

_U16, _U32, _U64 = Struct(">H"), Struct(">I"), Struct(">Q")
_HEAD: Final = Struct(">II")
_HELD: Final = Struct(">Q5xB2x")
_FULL: Final = Struct(">Q4xBB4xHI")
_PARAMETERS: Final = Struct(">QQ4xB3x")

RELATIVE_PORT: Final = 1
"""The relative target port identifier of the one target port."""

_R_HOLDER: Final = 0x01
_SPEC_I_PT, _ALL_TG_PT, _APTPL = 0x08, 0x04, 0x01
_TRANSPORT_ID: Final = 0x45  # an iSCSI initiator port, name and ISID (SPC-4 table 432)
_TRANSPORT_ID_BYTES_MIN: Final = 20  # its additional length (SPC-4 7.6.4.6)

_CAPABILITIES: Final = bytes((0, 8, 0x04, 0x80, 0xEA, 0x01, 0, 0))
"""All types; a registration may be for all target ports, of which there is one; nothing outlasts a
loss of power, nor is registered for others (SPC-4 table 169)."""


def _port(call: Call) -> Port:
    return Port(call.path.nexus.initiator_iqn, call.path.nexus.isid)


def _kind(call: Call) -> Kind:
    """The type that a CDB asks for, of the scope of a logical unit."""
    scope, kind = call.cdb[2] >> 4, call.cdb[2] & 0x0F
    if scope:
        raise bad_cdb(2, 7)
    if kind not in Kind.__members__.values():
        raise bad_cdb(2, 3)
    return Kind(kind)


# PERSISTENT RESERVE IN. ------------------------------------------------------------------------


def _reservations(call: Call) -> Reservations:
    """The reservations of a unit; the old kind excludes the new (SPC-2 5.5.1)."""
    held = call.path.state.reservations
    if held.legacy is not None:
        raise ConflictError
    return held


def _listed(call: Call, body: bytes) -> Outcome:
    data = _HEAD.pack(_reservations(call).generation, len(body)) + body
    return sends(data[: _U16.unpack_from(call.cdb, 7)[0]])


def _read_keys(call: Call) -> Outcome:
    return _listed(call, b"".join(map(_U64.pack, _reservations(call).keys.values())))


def _read_reservation(call: Call) -> Outcome:
    held = _reservations(call)
    return _listed(call, b"" if held.kind is None else _HELD.pack(held.holder_key, held.kind))


def _report_capabilities(call: Call) -> Outcome:
    _reservations(call)
    return sends(_CAPABILITIES[: _U16.unpack_from(call.cdb, 7)[0]])


def _read_full_status(call: Call) -> Outcome:
    held = _reservations(call)
    body = b""
    for port, key in held.keys.items():
        name = f"{port.initiator_iqn},i,0x{port.isid.hex()}".encode() + b"\0"
        name = name.ljust(max(_TRANSPORT_ID_BYTES_MIN, -(-len(name) // 4) * 4), b"\0")
        identity = bytes((_TRANSPORT_ID, 0)) + _U16.pack(len(name)) + name
        holds = held.holds(port)
        flags = _R_HOLDER if holds else 0
        kind = held.kind if holds and held.kind is not None else 0
        body += _FULL.pack(key, flags, kind, RELATIVE_PORT, len(identity)) + identity
    return _listed(call, body)


# PERSISTENT RESERVE OUT. -----------------------------------------------------------------------


def _parameters(call: Call) -> tuple[int, int]:
    """Return reservation key and service action reservation key."""
    if _U32.unpack_from(call.cdb, 5)[0] != _PARAMETERS.size:
        raise illegal(0x1A)
    key, action_key, flags = _PARAMETERS.unpack(taken(call.data, _PARAMETERS.size))
    _reservations(call)
    for bit, number in ((_SPEC_I_PT, 3), (_APTPL, 0)):
        if flags & bit:
            raise bad_parameter(20, number)
    if flags & ~_ALL_TG_PT:
        raise bad_parameter(20)
    return key, action_key


def _register(call: Call) -> Outcome:
    key, new = _parameters(call)
    call.server.tell(
        call, call.path.state.reservations.register(_port(call), key, new, ignore=False)
    )
    return GOOD


def _register_ignoring(call: Call) -> Outcome:
    key, new = _parameters(call)
    call.server.tell(
        call, call.path.state.reservations.register(_port(call), key, new, ignore=True)
    )
    return GOOD


def _reserve(call: Call) -> Outcome:
    key, _ = _parameters(call)
    call.path.state.reservations.reserve(_port(call), key, _kind(call))
    return GOOD


def _release(call: Call) -> Outcome:
    key, _ = _parameters(call)
    call.server.tell(call, call.path.state.reservations.release(_port(call), key, _kind(call)))
    return GOOD


def _clear(call: Call) -> Outcome:
    key, _ = _parameters(call)
    call.server.tell(call, call.path.state.reservations.clear(_port(call), key))
    return GOOD


def _preempt(call: Call) -> Outcome:
    _preempted(call)
    return GOOD


def _preempted(call: Call) -> list[Port]:
    key, victim = _parameters(call)
    removed, told = call.path.state.reservations.preempt(_port(call), key, victim, _kind(call))
    call.server.tell(call, told)
    return removed


def _preempt_and_abort(call: Call) -> Outcome:
    for port in _preempted(call):
        if call.server.abort(port, call.path.state.naa):
            call.server.tell(call, [(port, COMMANDS_CLEARED)])
    return GOOD


# RESERVE and RELEASE. --------------------------------------------------------------------------


def _reserve_old(call: Call) -> Outcome:
    call.path.state.reservations.reserve_old(call.path.nexus)
    return GOOD


def _release_old(call: Call) -> Outcome:
    call.path.state.reservations.release_old(call.path.nexus)
    return GOOD


def _in(name: str, action: int, run: Run) -> Command:
    return Command(
        f"PERSISTENT RESERVE IN / {name}",
        0x5E,
        f"{action:02x}0000000000ffff00",
        run,
        lambda cdb, _size: Transfer(Direction.IN, _U16.unpack_from(cdb, 7)[0]),
        action=action,
        unready=True,
    )


def _out(name: str, action: int, run: Run) -> Command:
    return Command(
        f"PERSISTENT RESERVE OUT / {name}",
        0x5F,
        f"{action:02x}ff0000ffffffff00",
        run,
        lambda cdb, _size: _list_length(cdb),
        action=action,
        unready=True,
    )


def _list_length(cdb: bytes) -> Transfer:
    """Only the one length that is right is asked for: what is longer is refused unread."""
    length = _U32.unpack_from(cdb, 5)[0]
    return Transfer(Direction.OUT, length if length == _PARAMETERS.size else 0)


COMMANDS: Final = (
    _in("READ KEYS", 0x00, _read_keys),
    _in("READ RESERVATION", 0x01, _read_reservation),
    _in("REPORT CAPABILITIES", 0x02, _report_capabilities),
    _in("READ FULL STATUS", 0x03, _read_full_status),
    # REGISTER, REGISTER AND IGNORE and CLEAR ignore scope and type (SPC-4 table 206).
    _out("REGISTER", 0x00, _register),
    _out("RESERVE", 0x01, _reserve),
    _out("RELEASE", 0x02, _release),
    _out("CLEAR", 0x03, _clear),
    _out("PREEMPT", 0x04, _preempt),
    _out("PREEMPT AND ABORT", 0x05, _preempt_and_abort),
    _out("REGISTER AND IGNORE EXISTING KEY", 0x06, _register_ignoring),
    Command("RESERVE(6)", 0x16, "0000000000", _reserve_old, unready=True),
    Command("RELEASE(6)", 0x17, "0000000000", _release_old, unready=True),
    Command("RESERVE(10)", 0x56, "000000000000000000", _reserve_old, unready=True),
    Command("RELEASE(10)", 0x57, "000000000000000000", _release_old, unready=True),
)
