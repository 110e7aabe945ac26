"""Which local block device is which unit: by its world-wide name, never by where it appears.

    sysfs   block/sda/device/wwid            naa.6000…       what the kernel read when it found it
            block/sda/device/vpd_pg83        page 83h itself
            block/sda/holders/dm-0/dm/uuid   mpath-36000…    several ways to one unit
    unit    INQUIRY, page 83h                                what is there now

The kernel keeps what it read when it found a device, also when the array has given the LUN number
to another volume since.  So sysfs finds a device, and the unit itself says who it is.
"""

from __future__ import annotations

import ctypes
import fcntl
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import scsi
from stuntdouble.errors import InvalidState, Misuse, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SG_IO: Final = 0x2285  # <scsi/sg.h>
_FROM_DEVICE: Final = -3  # SG_DXFER_FROM_DEV
_INQUIRY_MILLISECONDS: Final = 10_000
"""What an inquiry may take in the kernel.  Chosen; ``sg_inq`` waits a minute."""

_MULTIPATH: Final = "mpath-3"
"""What stands before an NAA identifier in the name of a multipath map (``dm/uuid``): 3 is NAA's kind
among designators."""


def wwn_of(disk: Path) -> str:
    """Return the NAA identifier that the kernel has read of ``/sys/block/<disk>``, or nothing."""
    uuid = _read(disk / "dm" / "uuid").decode(errors="replace").strip()
    if uuid.startswith(_MULTIPATH):
        return uuid.removeprefix(_MULTIPATH).lower()
    wwid = _read(disk / "device" / "wwid").decode(errors="replace").strip().lower()
    if wwid.startswith("naa."):
        return wwid.removeprefix("naa.")
    page = _read(disk / "device" / "vpd_pg83")
    try:
        return scsi.naa_of(scsi.parse_identification(page)) if page else ""
    except Misuse:  # a unit may say what it likes: it is not ours then
        return ""


def disk_of(naa: str, sysfs: Path) -> str:
    """Return the kernel's name of the disk with an NAA identifier, or nothing.

    Of several ways to one unit, the map that joins them is preferred, then one that runs.
    """
    disks = sorted((sysfs / "block").glob("*"))
    found = [disk for disk in disks if wwn_of(disk) == naa.lower()]
    found.sort(key=lambda disk: (not disk.name.startswith("dm-"), not _runs(disk), disk.name))
    return found[0].name if found else ""


def _runs(disk: Path) -> bool:
    return _read(disk / "device" / "state").strip() in {b"", b"running"}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


class _Header(ctypes.Structure):
    """``struct sg_io_hdr`` of ``<scsi/sg.h>``."""

    _fields_ = (  # type: ignore[mutable-override]  # a tuple does as well as a list
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


def identification(
    descriptor: int, where: str, ioctl: Callable[[int, int, ctypes.Structure], object] = fcntl.ioctl
) -> str:
    """Ask an open SCSI disk who it is now; return its NAA identifier, or nothing.

    Raises:
        InvalidState: it is no SCSI disk.
        Unreachable: it does not answer.
    """
    page = _page(descriptor, where, scsi.ALLOCATION_BYTES, ioctl)
    whole = scsi.page_bytes(page)
    if whole > len(page):
        page = _page(descriptor, where, whole, ioctl)
    return scsi.naa_of(scsi.parse_identification(page))


def _page(
    descriptor: int, where: str, length: int, ioctl: Callable[[int, int, ctypes.Structure], object]
) -> bytes:
    """Return what page 83h says, as far as *length* goes."""
    cdb = (ctypes.c_ubyte * 6)(*scsi.inquiry(scsi.Page.IDENTIFICATION, length))
    data = (ctypes.c_ubyte * length)()
    sense = (ctypes.c_ubyte * 32)()
    header = _Header(
        interface_id=ord("S"),
        dxfer_direction=_FROM_DEVICE,
        cmd_len=len(cdb),
        mx_sb_len=len(sense),
        dxfer_len=len(data),
        dxferp=ctypes.addressof(data),
        cmdp=ctypes.addressof(cdb),
        sbp=ctypes.addressof(sense),
        timeout=_INQUIRY_MILLISECONDS,
    )
    try:
        ioctl(descriptor, _SG_IO, header)
    except OSError as error:
        raise InvalidState(where, f"no SCSI disk ({error.strerror})", "ask who it is") from error
    status = header.status, header.host_status, header.driver_status
    if any(status):
        text = "status {:02x}h, host {:02x}h, driver {:02x}h".format(*status)
        raise Unreachable(f"{where} (an inquiry ends with {text})")
    return bytes(data)
