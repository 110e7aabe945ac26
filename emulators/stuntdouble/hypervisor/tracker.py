"""Changed block tracking of one disk: epochs, sequence numbers, sealed sets of grains.

    changeId             52 de c0 …/1            52 de c0 …/2            52 de c0 …/3
    written  ───────[ set 0 ]──│──────[ set 1 ]──────│──────[ set 2 ]──────│── being written
    since …/1 up to …/3:       └────── set 1 and set 2 ───────────────────┘

Before ``/`` stands the identity of the tracking state.  Whenever the state is lost it starts again
under a new one, and an old changeId can only be answered with: take a full backup.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Bug, ChangeHistoryLost, InvalidState, Misuse
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from stuntdouble.extents import Runs
    from stuntdouble.site import Disk
    from stuntdouble.site.disk import Bitmap
    from stuntdouble.trace import Stream

_BYTES: Final = r"(?:[0-9a-f]{2} ){7}[0-9a-f]{2}"  # as clients in production see it
_CHANGE_ID: Final = re.compile(rf"({_BYTES}-{_BYTES})/(\d+)")


class Tracker:
    """The change tracker of a disk; *stream* is where its identities are drawn from.

    ``complete`` says that no snapshot existed when the state began, so that "all areas in use" can
    be told from the file alone.
    """

    def __init__(self, disk: Disk, name: str, grain_blocks: int, stream: Stream) -> None:
        self.complete = False
        self._disk = disk
        self._name = name
        self._grain_blocks = grain_blocks
        self._stream = stream
        self._identity = ""
        self._sealed: list[Bitmap] = []
        self._last: tuple[tuple[int, int, str], Runs] | None = None

    @property
    def active(self) -> bool:
        """Whether writes are being noted."""
        return bool(self._identity)

    @property
    def sealed_bytes(self) -> int:
        """What a seal writes to the tracking file: a bit for each grain, in whole sectors.

        The bit is what a set of grains takes at least.  The file as a whole is larger (about 0.5 MB
        per 10 GB of the disk, of whatever else it keeps); how much of it is written is not published.
        """
        grains = -(-self._disk.blocks // self._grain_blocks)
        return -(-grains // (8 * SECTOR_BYTES)) * SECTOR_BYTES

    def start(self, *, complete: bool) -> None:
        """Begin a new state, with a new identity."""
        self._disk.untrack()
        self._disk.track(self._grain_blocks)
        text = "52" + self._stream.hex(30)
        pairs = [text[i : i + 2] for i in range(0, 32, 2)]
        self._identity = f"{' '.join(pairs[:8])}-{' '.join(pairs[8:])}"
        self._sealed, self._last = [], None
        self.complete = complete

    def stop(self) -> None:
        """Forget everything and note no more."""
        self._disk.untrack()
        self._identity, self._sealed, self._last = "", [], None

    def seal(self) -> str:
        """End the current set of grains in this instant; return the changeId of the instant."""
        if not self.active:
            raise Bug(f"{self._name} is not tracked")
        self._sealed.append(self._disk.seal())
        return f"{self._identity}/{len(self._sealed)}"

    def changed(self, since: str, until: str) -> Runs:
        """Return what was written between two changeIds, rounded outward to grains.

        Raises:
            ChangeHistoryLost: one of them is of another tracking state.
            InvalidState: *since* is later than *until*.
            Misuse: *since* is no changeId.
        """
        (old, first), (new, last) = self._parse(since), self._parse(until)
        if not old == new == self._identity:
            raise ChangeHistoryLost(self._name, since)
        if first > last:
            raise InvalidState(f"changeId {since!r}", "later than the snapshot", "list changes")
        key = (first, last, new)
        if self._last is None or self._last[0] != key:
            found = self._disk.site.changed(self._disk, self._sealed[first:last])
            self._last = key, found  # kept for the pages that follow
        return self._last[1]

    def _parse(self, text: str) -> tuple[str, int]:
        match = _CHANGE_ID.fullmatch(text)
        if match is None:
            raise Misuse("changeId", f"{text!r} is not 8 bytes, -, 8 bytes, / and a number")
        return match[1], int(match[2])
