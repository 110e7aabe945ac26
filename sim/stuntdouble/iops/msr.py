"""MSR Cambridge traces: thirteen servers of a company, a week of 2007, a line per I/O.

    Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime
    128166372003061629,usr,0,Read,7014609920,24576,41286

*Timestamp* is a Windows file time: ticks of 100 ns since 1601.  *Type* is ``Read`` or ``Write``;
*Offset* and *Size* are bytes.  The first of the lines above is usually absent.  A disk is named
``usr_0``, as the files of the corpus are (Narayanan et al., "Write off-loading", FAST '08, and
the README.txt of the distribution).

A line may be written when its I/O has ended: its time is that of issue (README.txt), so it may be
earlier than one above it by its response time, and by no more.  A response time else belongs to the
hardware that was traced; here it is what we compute.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from stuntdouble.iops.textrows import READ, WRITE, Gathered, batches, csv_fields

if TYPE_CHECKING:
    from stuntdouble.iops.recorded import Recorded

_HEADER: Final = "timestamp,hostname,disknumber,type,offset,size,responsetime"
_KINDS: Final = {"Read": READ, "Write": WRITE}
_TICKS_PER_SECOND: Final = 10_000_000  # of a Windows file time


def is_header(line: str) -> bool:
    """Tell whether *line* names the columns."""
    return line.replace(" ", "").lower() == _HEADER


def is_msr(line: str) -> bool:
    """Tell by the first line whether a file is an MSR Cambridge trace."""
    fields = line.split(",")
    return is_header(line) or (len(fields) == 7 and fields[3].strip().lower() in ("read", "write"))


def read_msr(name: str, first_line: str, disk: str | None) -> Recorded:
    """Read an MSR Cambridge trace.

    Times count from the earliest record of the file, also where *disk* is one of several: disks
    that are read one after the other stay in step.

    Raises:
        Misuse: a line is none of this format, its clock went back by more than its I/O took, or
            the file is of several disks and none is chosen.
    """
    gathered = Gathered(name, disk, _TICKS_PER_SECOND)
    for lines in batches(name, skip=1 if is_header(first_line) else 0):
        batch = csv_fields(lines)
        ticks, hosts, numbers, kinds, offset, length, took = batch.columns(7)
        batch.whole(numbers, "has the disk number")
        gathered.add(
            batch,
            disks=[f"{host}_{number}" for host, number in zip(hosts, numbers, strict=True)],
            ticks=batch.whole(ticks, "has the time"),
            kinds=batch.kinds(kinds, _KINDS),
            offset=batch.whole(offset, "has the offset"),
            length=batch.whole(length, "has the size"),
            took=partial(batch.whole, took, "has the response time"),
        )
    return gathered.recorded()
