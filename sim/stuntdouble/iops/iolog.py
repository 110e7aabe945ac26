"""fio's iologs, versions 2 and 3: what ``write_iolog`` writes and ``read_iolog`` replays.

    fio version 2 iolog                        fio version 3 iolog
    /dev/sda add                               0 /dev/sda add
    /dev/sda open                              12 /dev/sda open
    /dev/sda write 8192 4096                   140 /dev/sda write 8192 4096
    /dev/sda wait 20000 0                      20140 /dev/sda read 0 65536
    /dev/sda read 0 65536                      20300 /dev/sda close

Offsets and lengths are bytes.  Version 3 begins each line with the microseconds since the start
of the run (``utime_since_now`` in fio's iolog.c).  Version 2 has ``wait`` in their place, which
its documentation ("Trace file format v2" in HOWTO) defines as microseconds since the wait before,
those below 100 being discarded; that is what is read here.  fio's replay takes the same figure as
milliseconds since fio began, so a file made for that needs another scale: see ``speed``.

Lines are written as I/Os are issued, just before they are queued (``log_io_u`` in ioengines.c):
their times never go back.  Measured: in none of 81,960 lines of fio 3.33 at a depth of 32.

A version 2 file without any wait says what was done and not when, and is refused.  ``sync``,
``datasync`` and ``trim`` move no data of the guest and are counted, not returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import Misuse
from stuntdouble.iops.textrows import OTHER, READ, WRITE, Batch, Gathered, batches

if TYPE_CHECKING:
    from stuntdouble.iops.recorded import Recorded

MAGIC: Final = "fio version "

_HEADERS: Final = {f"{MAGIC}{version} iolog": version for version in (2, 3)}
_KINDS: Final = {"read": READ, "write": WRITE, "sync": OTHER, "datasync": OTHER, "trim": OTHER}
_FILE_ACTIONS: Final = ("add", "open", "close")
_TICKS_PER_SECOND: Final = 1_000_000  # both versions count microseconds
_WAIT_MIN: Final = 100  # microseconds; HOWTO: "Everything below 100 is discarded"


def read_iolog(name: str, first_line: str, disk: str | None) -> Recorded:
    """Read an iolog; *disk* is the name of one of its files.

    Raises:
        Misuse: of another version, a line is none of this format, its clock went back, or no file
            is chosen of several.
    """
    version = _HEADERS.get(first_line.rstrip())
    if version is None:
        raise Misuse(name, f"line 1 is {first_line[:40]!r}: iologs of versions 2 and 3 are read")
    gathered = Gathered(name, disk, _TICKS_PER_SECOND)
    now, waits, ios = 0, 0, 0
    for lines in batches(name, skip=1):
        batch = _io_lines(
            Batch(name, lines.numbers, [row[0].split() for row in lines.rows]), version
        )
        if not batch.rows:
            continue
        *stamps, files, actions, offsets, lengths = batch.columns(version + 2)
        offset = batch.whole(offsets, "has the offset")
        length = batch.whole(lengths, "has the length")
        if version == 3:
            ticks = batch.whole(stamps[0], "has the time")
        else:
            is_wait = np.fromiter((action == "wait" for action in actions), np.bool_, len(actions))
            ticks = now + np.cumsum(np.where(is_wait & (offset >= _WAIT_MIN), offset, 0))
            now, waits = int(ticks[-1]), waits + int(is_wait.sum())
            keep = np.flatnonzero(~is_wait)
            batch = _chosen(batch, keep.tolist())
            files, actions = (tuple(c[k] for k in keep) for c in (files, actions))
            ticks, offset, length = ticks[keep], offset[keep], length[keep]
        ios += len(ticks)
        gathered.add(
            batch,
            disks=files,
            ticks=ticks,
            kinds=batch.kinds(actions, _KINDS),
            offset=offset,
            length=length,
        )
    if version == 2 and ios and not waits:
        raise Misuse(name, "has no wait, so it does not tell when its I/Os were: use version 3")
    return gathered.recorded()


def _io_lines(batch: Batch, version: int) -> Batch:
    """Return the lines that are of I/O; the others must be of files."""
    keep = []
    for index, row in enumerate(batch.rows):
        action = row[version - 1] if len(row) >= version else ""
        if action in _FILE_ACTIONS:
            if len(row) != version:
                raise batch.refusal(index, f"has {len(row)} fields: {action} has {version}")
        elif len(row) != version + 2:
            raise batch.refusal(index, f"has {len(row)} fields, not {version + 2}")
        elif action == "wait" and version == 3:
            raise batch.refusal(index, "waits, which version 3 has times for")
        else:
            keep.append(index)
    return _chosen(batch, keep)


def _chosen(batch: Batch, keep: list[int]) -> Batch:
    if len(keep) == len(batch.rows):
        return batch
    return Batch(batch.name, [batch.numbers[k] for k in keep], [batch.rows[k] for k in keep])
