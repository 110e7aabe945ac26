"""Recorded I/O in any of the formats that are read; a file's content tells which.

| format | recognised by |
|---|---|
| VMware vSCSI, versions 1 and 2 (``vscsi``) | bytes that no text has |
| fio iolog, versions 2 and 3 (``iolog``) | the first line, ``fio version 3 iolog`` |
| MSR Cambridge (``msr``) | seven fields, the fourth being Read or Write |
| CSV with a line of names (``tracecsv``) | a first line with one of the names |

Each may be packed by gzip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Misuse
from stuntdouble.iops.iolog import MAGIC, read_iolog
from stuntdouble.iops.msr import is_msr, read_msr
from stuntdouble.iops.recorded import Recorded, Summary, cut_up
from stuntdouble.iops.textrows import opened
from stuntdouble.iops.tracecsv import is_csv, read_csv
from stuntdouble.iops.vscsi import read_vscsi

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Recorded", "Summary", "read_trace", "read_vscsi"]

_HEAD_BYTES: Final = 4096  # looked at: more than a first line, or a vSCSI record, takes
_TEXT: Final = frozenset(range(0x20, 0x100)) | frozenset(b"\t\r\n")


def read_trace(path: str | PathLike[str], *, disk: str | None = None) -> Recorded:
    """Read a trace of any format that is known, of which its content tells.

    *disk* chooses one of several: ``usr_0`` (host and number) of an MSR Cambridge trace, a file of
    an iolog, a value of a CSV file's disk column.  A vSCSI trace is of one disk.

    An I/O of more than 4 MiB is cut up, since the engine takes no longer ones; its pieces are
    issued at the same time.  Where a format has response times, a record may be earlier than others
    before it by what it took, as if it were written when it ended: these are sorted by time, and
    those of one time keep the order of the file.  A clock that goes back any further is refused.
    Ten million text records take about a gigabyte.

    Raises:
        Misuse: no such file, none of the formats, a record that cannot be (with its line), a clock
            that goes back, no I/O, or several disks and none chosen (with their names).
    """
    name = str(path)
    with opened(name) as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise Misuse(name, "is empty: a trace has at least one record")
    if not _TEXT.issuperset(head):
        if disk is not None:
            raise Misuse(name, f"is not text, and a vSCSI trace is of one disk: leave {disk} out")
        return cut_up(read_vscsi(path))
    first = head.decode("utf-8-sig", "backslashreplace").replace("\r", "\n").partition("\n")[0]
    if first.startswith(MAGIC):
        return cut_up(read_iolog(name, first, disk))
    if is_msr(first):
        return cut_up(read_msr(name, first, disk))
    if is_csv(first):
        return cut_up(read_csv(name, first, disk))
    known = "a vSCSI trace, a fio iolog, an MSR Cambridge trace or a CSV file with a line of names"
    raise Misuse(name, f"is none of the traces that are read: {known}")
