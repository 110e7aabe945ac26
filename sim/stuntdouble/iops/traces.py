"""Recorded I/O: what one virtual machine asked of its disks, and when.

VMware's ``vscsiStats`` writes one record per SCSI command, little endian, without a file header:

    version 1   [ sn:4 ][ length:4 ][ nSG:4 ][ command:2 ][ version:2 ][ LBN:8 ][ time:8 ]
    version 2   [ command:2 ][ version:2 ][ sn:4 ][ length:4 ][ nSG:4 ][ LBN:8 ][ time:8 ][ took:8 ]

*length* is in bytes, *LBN* in sectors of 512 bytes, *time* and *took* (the response time) in
microseconds.  The high byte of *version* is 1 or 2, so a file tells its own format and its name
does not matter.  The CloudPhysics corpus (Waldspurger et al., FAST '15) is kept in this form.

A response time belongs to the hardware that was traced; here it is what we compute, so it is
not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from stuntdouble.errors import Misuse
from stuntdouble.extents import Runs
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)

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

# The last byte of an I/O must have an int64 offset; a length takes at most 32 bits.
_BLOCK_MAX: Final = (2**63 - 2**32) // SECTOR_BYTES


@dataclass(frozen=True, slots=True)
class Summary:
    """Say in four figures what a trace holds.

    ``seconds`` is the time of the last I/O; ``footprint_bytes`` counts each byte that was read or
    written once, however often it was.
    """

    count: int
    seconds: float
    read_fraction: float
    footprint_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Hold the I/Os of one trace, one row each, in order of time.

    The arrays are read-only and of equal length.  ``seconds`` never decreases and counts from
    the earliest record of the file; ``skipped`` counts the records that were no reads or writes.
    """

    seconds: NDArray[np.float64]
    is_write: NDArray[np.bool_]
    offset_bytes: NDArray[np.int64]
    length_bytes: NDArray[np.int64]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.seconds)

    def summary(self) -> Summary:
        """Return the number of I/Os, their duration, the share of reads and the bytes touched."""
        return Summary(
            count=len(self),
            seconds=float(self.seconds[-1]),
            read_fraction=1.0 - float(self.is_write.mean()),
            footprint_bytes=Runs.from_arrays(self.offset_bytes, self.length_bytes).total,
        )


def read_vscsi(path: str | PathLike[str]) -> Recorded:
    """Read a VMware vSCSI trace of version 1 or 2, which its content tells.

    Commands other than READ and WRITE move no data of the guest and are counted, not returned.
    The time of a record is the time of issue, but records of several queues may be written out
    of order: they are sorted by it, and those of one microsecond keep the order of the file.

    The whole file is held in memory, 32 or 40 bytes per record.

    Raises:
        Misuse: no such file, not a trace, cut off, no I/O in it, or an I/O that cannot be.
    """
    name = str(path)
    records = _records(name, _content(name))
    origin = records["microseconds"].min()
    reads, writes = np.isin(records["command"], _READS), np.isin(records["command"], _WRITES)
    wanted = np.flatnonzero(reads | writes)
    if not len(wanted):
        raise Misuse(name, f"none of its {len(records)} records is a read or a write")
    _refuse_first(name, wanted, records["length"][wanted] == 0, "is an I/O of no length")
    _refuse_first(name, wanted, records["block"][wanted] > _BLOCK_MAX, "lies beyond 8 EiB")
    wanted = wanted[np.argsort(records["microseconds"][wanted], kind="stable")]
    return Recorded(
        seconds=_frozen((records["microseconds"][wanted] - origin) / 1e6),
        is_write=_frozen(writes[wanted]),
        offset_bytes=_frozen(records["block"][wanted].astype(np.int64) * SECTOR_BYTES),
        length_bytes=_frozen(records["length"][wanted].astype(np.int64)),
        skipped=len(records) - len(wanted),
    )


def _content(name: str) -> NDArray[np.uint8]:
    try:
        content = np.fromfile(name, np.uint8)
    except OSError as error:
        raise Misuse(name, f"cannot be read: {error.strerror or error}") from error
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


def _frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    array.flags.writeable = False
    return array
