"""Vital product data (VPD): the pages by which a host knows a unit from all others."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from stuntdouble.scsi.sense import bad_cdb

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.scsi.command import Call

_HEAD: Final = Struct(">BBH")
_DISK, _CONTROLLER = 0x00, 0x0C


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


def _identification(call: Call) -> bytes:
    """NAA 6, of the unit, in binary (SPC-4 7.8.6.6.5)."""
    return bytes((0x01, 0x03, 0, 16)) + bytes.fromhex(call.disk.naa)


_DISK_PAGES: Final[dict[int, Callable[[Call], bytes]]] = {
    0x00: _supported,
    0x80: _serial,
    0x83: _identification,
}
_CONTROLLER_PAGES: Final[dict[int, Callable[[Call], bytes]]] = {0x00: _supported}
