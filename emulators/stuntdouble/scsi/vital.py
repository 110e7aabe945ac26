"""Vital product data (VPD): the pages by which a host knows a unit from all others."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.blocks import TRANSFER_BYTES_MAX
from stuntdouble.scsi.provisioning import (
    SAME_BYTES_MAX,
    UNMAP_BLOCKS_MAX,
    UNMAP_DESCRIPTORS_MAX,
)
from stuntdouble.scsi.reports import PORT_GROUP
from stuntdouble.scsi.reserving import RELATIVE_PORT
from stuntdouble.scsi.sense import bad_cdb
from stuntdouble.scsi.verify import COMPARED_BLOCKS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.scsi.command import Call

_HEAD: Final = Struct(">BBH")
_LIMITS: Final = Struct(">BBHIIIIIIIQ20x")
_DISK, _CONTROLLER = 0x00, 0x0C

# A designator: code set and protocol, how and of what it designates (SPC-4 table 529).
_BINARY, _ASCII, _UTF8 = 0x01, 0x02, 0x03
_ISCSI: Final = 0x50  # protocol identifier 5
_PIV: Final = 0x80
_OF_UNIT, _OF_PORT, _OF_TARGET = 0x00, 0x10, 0x20
_T10, _NAA, _RELATIVE, _GROUP, _NAME = 0x1, 0x3, 0x4, 0x5, 0x8

_WSNZ: Final = 1  # WRITE SAME of no blocks is refused
_UGAVALID: Final = 0x8000_0000
_PREFETCH_MAX: Final = 0  # no limit is reported
_NON_ROTATING: Final = 1  # SBC-3 table 176
_LBPU, _LBPWS, _LBPWS10, _LBPRZ = 0x80, 0x40, 0x20, 0x04
_FULL, _THIN = 0x00, 0x02  # SBC-3 table 182


def page(call: Call, code: int) -> bytes:
    """Return a page, or refuse one that is not offered."""
    pages = _CONTROLLER_PAGES if call.unit is None else _DISK_PAGES
    if code not in pages:
        raise bad_cdb(2)
    body = pages[code](call)
    kind = _CONTROLLER if call.unit is None else _DISK
    return _HEAD.pack(kind, code, len(body)) + body


def _supported(call: Call) -> bytes:
    return bytes(sorted(_CONTROLLER_PAGES if call.unit is None else _DISK_PAGES))


def _serial(call: Call) -> bytes:
    return call.disk.serial.encode("ascii", "replace")


def _designator(code_set: int, kind: int, body: bytes) -> bytes:
    return bytes((code_set, kind, 0, len(body))) + body


def _of_ports(call: Call) -> bytes:
    """Return designators of the target port and the target device."""
    protocol, associated = _ISCSI, _PIV | _OF_PORT
    name = call.server.target_name.encode()
    port_name = f"{call.server.target_name},t,0x{PORT_GROUP:04x}".encode()
    number = bytes(2) + RELATIVE_PORT.to_bytes(2, "big")
    group = bytes(2) + PORT_GROUP.to_bytes(2, "big")
    return b"".join(
        (
            _designator(protocol | _BINARY, associated | _RELATIVE, number),
            _designator(protocol | _BINARY, associated | _GROUP, group),
            _designator(protocol | _UTF8, associated | _NAME, _padded(port_name)),
            _designator(protocol | _UTF8, _PIV | _OF_TARGET | _NAME, _padded(name)),
        )
    )


def _padded(name: bytes) -> bytes:
    """Return a SCSI name string: with a zero at its end, in whole words (SPC-4 7.8.6.11)."""
    return name + bytes(4 - len(name) % 4)


def _identification(call: Call) -> bytes:
    """Return what the unit is called: NAA 6 first, for hosts that take the first."""
    unit = call.disk
    vendor = unit.vendor.encode("ascii", "replace")[:8].ljust(8)
    product = unit.product.encode("ascii", "replace")[:16].ljust(16)
    return (
        _designator(_BINARY, _OF_UNIT | _NAA, bytes.fromhex(unit.naa))
        + _designator(_ASCII, _OF_UNIT | _T10, vendor + product + _serial(call))
        + _of_ports(call)
    )


def _extended(call: Call) -> bytes:
    """SIMPSUP, HEADSUP, ORDSUP; no protection, nothing of the rest (SPC-4 table 555)."""
    del call
    return bytes((0, 0x07)).ljust(60, b"\0")


def _mode_policy(call: Call) -> bytes:
    """Every mode page is shared by all initiators (SPC-4 7.8.7)."""
    del call
    return bytes((0x3F, 0xFF, 0x00, 0x00))


def _limits(call: Call) -> bytes:
    unit = call.disk
    grain = unit.unmap_granularity_bytes // unit.block_bytes
    most = TRANSFER_BYTES_MAX // unit.block_bytes
    best = unit.physical_block_bytes // unit.block_bytes
    unmapping = (
        (UNMAP_BLOCKS_MAX, UNMAP_DESCRIPTORS_MAX, grain, _UGAVALID) if unit.thin else (0, 0, 0, 0)
    )
    return _LIMITS.pack(
        _WSNZ,
        COMPARED_BLOCKS_MAX,
        best,
        most,
        most,
        _PREFETCH_MAX,
        *unmapping,
        SAME_BYTES_MAX // unit.block_bytes,
    )


def _characteristics(call: Call) -> bytes:
    del call
    return _NON_ROTATING.to_bytes(2, "big").ljust(60, b"\0")


def _provisioning(call: Call) -> bytes:
    if not call.disk.thin:
        return bytes((0, 0, _FULL, 0))
    return bytes((0, _LBPU | _LBPWS | _LBPWS10 | _LBPRZ, _THIN, 0))


_DISK_PAGES: Final[dict[int, Callable[[Call], bytes]]] = {
    0x00: _supported,
    0x80: _serial,
    0x83: _identification,
    0x86: _extended,
    0x87: _mode_policy,
    0xB0: _limits,
    0xB1: _characteristics,
    0xB2: _provisioning,
}
_CONTROLLER_PAGES: Final[dict[int, Callable[[Call], bytes]]] = {0x00: _supported, 0x83: _of_ports}
