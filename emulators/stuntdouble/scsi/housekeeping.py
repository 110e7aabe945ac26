"""What keeps a disk in order, and asks how it is: caches, defects, power, sense, diagnostics."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import GOOD, Direction, Transfer, sends
from stuntdouble.scsi.blocks import check_extent, extent10, extent16
from stuntdouble.scsi.command import Access, Call, Command
from stuntdouble.scsi.sense import Key, Sense, bad_cdb

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.scsi.blocks import Extent
    from stuntdouble.scsi.command import Outcome, Run, Steps

_U16, _U32 = Struct(">H"), Struct(">I")
_DESC: Final = 0x01
_LOEJ, _START = 0x02, 0x01
_POWER_CONDITIONS: Final = frozenset((0x0, 0x1, 0x2, 0x3, 0x7, 0xA, 0xB))  # SBC-3 table 109
_PREVENT: Final = 0x01
_LISTS: Final = 0x18  # REQ_PLIST, REQ_GLIST

STOPPED: Final = Sense(Key.NOT_READY, 0x04, 0x02)
"""LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED."""

_NO_SENSE: Final = Sense(Key.NO_SENSE, 0x00)


def _synchronize(extent: Callable[[bytes], Extent]) -> Run:
    def synchronize(call: Call) -> Steps:
        check_extent(call.disk, *extent(call.cdb))
        yield call.disk.flush()  # all of it, and whatever IMMED says, done before the status
        return GOOD

    return synchronize


def _prefetch(extent: Callable[[bytes], Extent]) -> Run:
    def prefetch(call: Call) -> Outcome:
        check_extent(call.disk, *extent(call.cdb))
        return GOOD  # and not CONDITION MET: nothing is kept in a cache (SBC-3 5.8)

    return prefetch


def _defects10(call: Call) -> Outcome:
    """There are no defects, in whatever format they are asked for (SBC-3 5.17)."""
    asked = call.cdb[2] & (_LISTS | 0x07)
    return sends((bytes((0, asked)) + bytes(2))[: _U16.unpack_from(call.cdb, 7)[0]])


def _defects12(call: Call) -> Outcome:
    asked = call.cdb[1] & (_LISTS | 0x07)
    return sends((bytes((0, asked)) + bytes(6))[: _U32.unpack_from(call.cdb, 6)[0]])


def _start_stop(call: Call) -> Outcome:
    """Start or stop; nothing can be ejected, and power conditions change nothing to be seen."""
    power, flags = call.cdb[4] >> 4, call.cdb[4]
    if power not in _POWER_CONDITIONS:
        raise bad_cdb(4, 7)
    if not power:
        if flags & _LOEJ:
            raise bad_cdb(4, 1)
        call.path.state.stopped = not flags & _START
    return GOOD


def _start_stop_access(cdb: bytes) -> Access:
    """Starting is allowed to all, anything else is not (SBC-3 table 13)."""
    return Access.FREE if cdb[4] >> 4 == 0 and cdb[4] & _START else Access.WRITE


def _prevent_allow(call: Call) -> Outcome:
    """Nothing can be removed, so there is nothing to prevent."""
    del call
    return GOOD


def _prevent_access(cdb: bytes) -> Access:
    return Access.WRITE if cdb[4] & _PREVENT else Access.FREE


def _request_sense(call: Call) -> Outcome:
    path = call.path
    if path.attentions:
        sense = Sense(Key.UNIT_ATTENTION, *path.attentions.pop(0))
    else:
        sense = STOPPED if path.state.stopped else _NO_SENSE
    return sense_data(call.cdb, sense)


def sense_data(cdb: bytes, sense: Sense) -> Outcome:
    """Return sense data as the data of REQUEST SENSE."""
    return sends(sense.pack(descriptors=bool(cdb[1] & _DESC))[: cdb[4]])


def _send_diagnostic(call: Call) -> Outcome:
    """Do the default self-test, which finds nothing wrong, or nothing; no other is offered."""
    del call
    return GOOD


COMMANDS: Final = (
    Command(
        "SYNCHRONIZE CACHE(10)",
        0x35,
        "06ffffffff1fffff00",
        _synchronize(extent10),
        access=Access.WRITE,
    ),
    Command(
        "SYNCHRONIZE CACHE(16)",
        0x91,
        "06ffffffffffffffffffffffff1f00",
        _synchronize(extent16),
        access=Access.WRITE,
    ),
    Command("PRE-FETCH(10)", 0x34, "02ffffffff1fffff00", _prefetch(extent10), access=Access.READ),
    Command(
        "PRE-FETCH(16)",
        0x90,
        "02ffffffffffffffffffffffff1f00",
        _prefetch(extent16),
        access=Access.READ,
    ),
    Command(
        "READ DEFECT DATA(10)",
        0x37,
        "001f00000000ffff00",
        _defects10,
        lambda cdb, _size: Transfer(Direction.IN, _U16.unpack_from(cdb, 7)[0]),
        access=Access.READ,
    ),
    Command(
        "READ DEFECT DATA(12)",
        0xB7,
        "1fffffffffffffffff0000",
        _defects12,
        lambda cdb, _size: Transfer(Direction.IN, _U32.unpack_from(cdb, 6)[0]),
        access=Access.READ,
    ),
    Command(
        "START STOP UNIT", 0x1B, "01000ff700", _start_stop, access=_start_stop_access, unready=True
    ),
    Command(
        "PREVENT ALLOW MEDIUM REMOVAL",
        0x1E,
        "0000000300",
        _prevent_allow,
        access=_prevent_access,
        unready=True,
    ),
    Command(
        "SEND DIAGNOSTIC", 0x1D, "0400000000", _send_diagnostic, access=Access.WRITE, unready=True
    ),
)
REQUEST_SENSE: Final = Command(
    "REQUEST SENSE",
    0x03,
    "010000ff00",
    _request_sense,
    lambda cdb, _size: Transfer(Direction.IN, cdb[4]),
    exempt=True,
    unready=True,
)
