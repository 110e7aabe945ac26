"""vSCSI traces: what one virtual machine asked of a disk, and when, as VMware records it.

VMware's ``vscsiStats`` writes one record per SCSI command, little endian, without a file header:

    version 1   [ sn:4 ][ length:4 ][ nSG:4 ][ command:2 ][ version:2 ][ LBN:8 ][ time:8 ]
    version 2   [ command:2 ][ version:2 ][ sn:4 ][ length:4 ][ nSG:4 ][ LBN:8 ][ time:8 ][ took:8 ]

*length* is in bytes, *LBN* in sectors of 512 bytes, *time* and *took* (the response time) in
microseconds.  The high byte of *version* is 1 or 2, so a file tells its own format and its name
does not matter.  The CloudPhysics corpus (Waldspurger et al., FAST '15) is kept in this form.

The time of a record is the time of issue.  Version 2 may write a record when its command has ended,
since it has the response time: it may then be earlier than one before it by what it took, and by no
more.  Version 1 has none, and is in order of time: none of the 113,872 records of a CloudPhysics
trace, two hours of one VM, is earlier than the one before it.

A response time else belongs to the hardware that was traced; here it is what we compute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.errors import Misuse
from stuntdouble.iops.recorded import OFFSET_BYTES_MAX, Recorded, frozen
from stuntdouble.iops.textrows import opened, went_back
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

_LAYOUTS: Final = {
    1: np.dtype(
        [
            ("serial", "<u4"),
            ("length", "<u4"),
            ("segments", "<u4"),
            ("command", "<u2"),
            ("version", "<u2"),
            ("block", "<u8"),
            ("microseconds", "<u8"),
        ]
    ),
    2: np.dtype(
        [
            ("command", "<u2"),
            ("version", "<u2"),
            ("serial", "<u4"),
            ("length", "<u4"),
            ("segments", "<u4"),
            ("block", "<u8"),
            ("microseconds", "<u8"),
            ("response", "<u8"),
        ]
    ),
}

# Operation codes of SBC-4 in the order of their 6, 10, 12 and 16 byte forms.
_READS: Final = np.array([0x08, 0x28, 0xA8, 0x88], np.uint16)
_WRITES: Final = np.array([0x0A, 0x2A, 0xAA, 0x8A], np.uint16)


def read_vscsi(path: str | PathLike[str]) -> Recorded:
    """Read a VMware vSCSI trace of version 1 or 2, which its content tells.

    Commands other than READ and WRITE move no data of the guest and are counted, not returned.
    Records of version 2 that were written as their commands ended are sorted by the time of issue,
    and those of one microsecond keep the order of the file.

    The whole file is held in memory, 32 or 40 bytes per record; it may be gzip's.  Lengths are as
    recorded: ``read_trace`` cuts up what is too long for the engine.

    Raises:
        Misuse: no such file, not a trace, cut off, no I/O in it, an I/O that cannot be, or a clock
            that goes back.
    """
    name = str(path)
    records = _records(name, _content(name))
    origin = records["microseconds"].min()
    reads, writes = np.isin(records["command"], _READS), np.isin(records["command"], _WRITES)
    wanted = np.flatnonzero(reads | writes)
    if not len(wanted):
        raise Misuse(name, f"none of its {len(records)} records is a read or a write")
    _refuse_first(name, wanted, records["length"][wanted] == 0, "is an I/O of no length")
    _refuse_first(
        name,
        wanted,
        records["block"][wanted] > OFFSET_BYTES_MAX // SECTOR_BYTES,
        "lies beyond 8 EiB",
    )
    _refuse_going_back(name, records)
    wanted = wanted[np.argsort(records["microseconds"][wanted], kind="stable")]
    return Recorded(
        seconds=frozen((records["microseconds"][wanted] - origin) / 1e6),
        is_write=frozen(writes[wanted]),
        offset_bytes=frozen(records["block"][wanted].astype(np.int64) * SECTOR_BYTES),
        length_bytes=frozen(records["length"][wanted].astype(np.int64)),
        skipped=len(records) - len(wanted),
    )


def _refuse_going_back(name: str, records: NDArray[Any]) -> None:
    """Refuse a record whose clock went back, by more than its command took."""
    ticks = records["microseconds"]
    latest = np.maximum.accumulate(np.concatenate((ticks[:1], ticks[:-1])))
    timed = "response" in (records.dtype.names or ())
    back = went_back(ticks, latest, (lambda: records["response"]) if timed else None)
    if back is not None:
        raise Misuse(name, f"record {back[0] + 1} {back[1]}")


def _content(name: str) -> NDArray[np.uint8]:
    with opened(name) as file:
        content = np.frombuffer(file.read(), np.uint8)
    if not len(content):
        raise Misuse(name, "is empty: a trace has at least one record")
    return content


def _records(name: str, content: NDArray[np.uint8]) -> NDArray[Any]:
    for version, layout in _LAYOUTS.items():
        whole = len(content) // layout.itemsize
        records = content[: whole * layout.itemsize].view(layout)
        alike = records["version"] >> 8 == version
        if not whole or not alike[:2].all():
            continue
        _refuse_first(name, np.arange(whole), ~alike, f"is not of version {version}")
        left_over = len(content) - whole * layout.itemsize
        if left_over:
            cut = f"has {left_over} of {layout.itemsize} bytes: the file is cut off"
            raise Misuse(name, f"record {whole + 1} {cut}")
        return records
    raise Misuse(name, "is not a vSCSI trace: its first records name neither version 1 nor 2")


def _refuse_first(
    name: str, rows: NDArray[np.intp], bad: NDArray[np.bool_], complaint: str
) -> None:
    if bad.any():
        raise Misuse(name, f"record {rows[bad.argmax()] + 1} {complaint}")
