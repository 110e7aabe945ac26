"""INQUIRY: what a unit is, and its vital product data; REPORT LUNS; TEST UNIT READY."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.answers import GOOD, Direction, Transfer, sends
from stuntdouble.scsi.command import Access, Call, Command
from stuntdouble.scsi.lun import pack_lun
from stuntdouble.scsi.paths import LUNS_CHANGED
from stuntdouble.scsi.sense import bad_cdb
from stuntdouble.scsi.vital import page

if TYPE_CHECKING:
    from stuntdouble.scsi.answers import Answer
    from stuntdouble.scsi.command import Outcome
    from stuntdouble.scsi.units import Unit

_U16, _U32 = Struct(">H"), Struct(">I")
_STANDARD: Final = Struct(">8B8s16s4s20x2x8H22x")

DISK: Final = 0x00
CONTROLLER: Final = 0x0C  # storage array controller device (SPC-4 table 139)
ABSENT: Final = 0x7F  # no such unit can be here (SPC-4 table 138)

_VERSION: Final = 0x06  # SPC-4
_HISUP_FORMAT: Final = 0x12  # LUNs in a hierarchy; response data of format 2
_CMDQUE: Final = 0x02
_TPGS_IMPLICIT: Final = 0x10
_ADDITIONAL: Final = _STANDARD.size - 5

_DISK_STANDARDS: Final = (0x00A0, 0x0960, 0x0460, 0x04C0)
"""SAM-5, iSCSI, SPC-4, SBC-3 (SPC-4 table 142), none of them of a certain revision."""

_REPORT_LUNS_BYTES_MIN: Final = 16  # SPC-4 6.33


def _text(value: str, size: int) -> bytes:
    return value.encode("ascii", "replace")[:size].ljust(size)


def standard(kind: int, vendor: str, product: str, revision: str) -> bytes:
    """Return standard INQUIRY data."""
    ports = 0 if kind == ABSENT else _TPGS_IMPLICIT
    head = (kind, 0, _VERSION, _HISUP_FORMAT, _ADDITIONAL, ports, 0, _CMDQUE)
    names = (_text(vendor, 8), _text(product, 16), _text(revision, 4))
    versions = (*_DISK_STANDARDS, 0, 0, 0, 0) if kind == DISK else (*_DISK_STANDARDS[:3], *[0] * 5)
    return _STANDARD.pack(*head, *names, *versions)


def of_unit(unit: Unit) -> bytes:
    """Return the standard INQUIRY data of a disk."""
    return standard(DISK, unit.vendor, unit.product, unit.revision)


def inquiry(call: Call, *, absent: bool = False) -> Answer:
    """Answer INQUIRY, also where nothing is mapped."""
    cdb = call.cdb
    room = _U16.unpack_from(cdb, 3)[0]
    if cdb[1] & 0x01:
        if absent:
            raise bad_cdb(1, 0)
        return sends(page(call, cdb[2])[:room])
    if cdb[2]:
        raise bad_cdb(2)
    if absent or call.unit is None:
        kind = ABSENT if absent else CONTROLLER
        return sends(standard(kind, *call.server.controller)[:room])
    return sends(of_unit(call.unit)[:room])


def _inquiry(call: Call) -> Outcome:
    return inquiry(call)


def _report_luns(call: Call) -> Outcome:
    room = _U32.unpack_from(call.cdb, 6)[0]
    if room < _REPORT_LUNS_BYTES_MIN:
        raise bad_cdb(6)
    kind = call.cdb[2]
    if kind not in (0x00, 0x01, 0x02):
        raise bad_cdb(2)
    server, nexus = call.server, call.path.nexus
    server.heard(nexus, LUNS_CHANGED)
    # 01h asks for well-known logical units, of which there are none.
    luns = [] if kind == 0x01 else sorted({0, *server.luns.units(nexus.initiator_iqn)})
    listed = b"".join(map(pack_lun, luns))
    return sends((_U32.pack(len(listed)) + bytes(4) + listed)[:room])


def _ready(call: Call) -> Outcome:
    del call
    return GOOD


COMMANDS: Final = (
    Command(
        "INQUIRY",
        0x12,
        "01ffffff00",
        _inquiry,
        lambda cdb, _size: Transfer(Direction.IN, _U16.unpack_from(cdb, 3)[0]),
        exempt=True,
        unready=True,
    ),
    Command(
        "REPORT LUNS",
        0xA0,
        "00ff000000ffffffff0000",
        _report_luns,
        lambda cdb, _size: Transfer(Direction.IN, _U32.unpack_from(cdb, 6)[0]),
        exempt=True,
        unready=True,
    ),
    Command("TEST UNIT READY", 0x00, "0000000000", _ready, access=Access.TEST),
)
