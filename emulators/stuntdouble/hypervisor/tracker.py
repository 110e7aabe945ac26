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

from stuntdouble.errors import Bug, ChangeHistoryLost, InvalidArgument, InvalidState
from stuntdouble.extents import Runs
from stuntdouble.units import GIB, SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from stuntdouble.site import Disk
    from stuntdouble.site.disk import Bitmap
    from stuntdouble.trace import Stream

_BYTES: Final = r"(?:[0-9a-f]{2} ){7}[0-9a-f]{2}"  # as clients in production see it
_CHANGE_ID: Final = re.compile(rf"({_BYTES}-{_BYTES})/([0-9]{{1,18}})")
_BOUNDARY_BYTES: Final = 128 * GIB  # KB 310751: the first size past which tracking was wrong
_ANSWERS_KEPT: Final = 2  # for the pages that follow; each may have millions of areas


class Tracker:
    """The change tracker of a disk; *stream* is where its identities are drawn from.

    ``complete`` says that no snapshot existed when the state began, so that "all areas in use" can
    be told from the file alone; ``blind``, that they are taken to be those written since.
    """

    def __init__(self, disk: Disk, name: str, grain_blocks: int, stream: Stream) -> None:
        self.complete = False
        self.blind = False
        self._disk = disk
        self._name = name
        self._grain_blocks = grain_blocks
        self._stream = stream
        self._identity = ""
        self._forget()

    def _forget(self) -> None:
        self._sealed: list[list[Bitmap]] = []
        self._open: list[Bitmap] = []  # parts of the set that is being written
        self._losing = False
        self._misread = False
        self._answers: dict[Hashable, Runs] = {}

    @property
    def active(self) -> bool:
        """Whether writes are being noted."""
        return bool(self._identity)

    @property
    def change_id(self) -> str:
        """The changeId of the latest seal; of the state's beginning, where there was none yet."""
        return f"{self._identity}/{len(self._sealed)}" if self.active else ""

    @property
    def sealed_bytes(self) -> int:
        """What a seal writes to the tracking file: a bit for each grain, in whole sectors.

        The bit is what a set of grains takes at least.  The file as a whole is larger (about 0.5 MB
        per 10 GB of the disk, of whatever else it keeps); how much of it is written is not published.
        """
        grains = -(-self._disk.blocks // self._grain_blocks)
        return -(-grains // (8 * SECTOR_BYTES)) * SECTOR_BYTES

    def start(self, *, complete: bool, blind: bool = False) -> None:
        """Begin a new state, with a new identity."""
        self._disk.untrack()
        self._disk.track(self._grain_blocks)
        text = "52" + self._stream.hex(30)
        pairs = [text[i : i + 2] for i in range(0, 32, 2)]
        self._identity = f"{' '.join(pairs[:8])}-{' '.join(pairs[8:])}"
        self._forget()
        self.complete, self.blind = complete, blind

    def stop(self) -> None:
        """Forget everything and note no more."""
        self._disk.untrack()
        self._identity = ""
        self._forget()

    def seal(self) -> str:
        """End the current set of grains in this instant; return the changeId of the instant."""
        if not self.active:
            raise Bug(f"{self._name} is not tracked")
        self._sealed.append([*self._open, self._disk.seal()])
        self._open = []
        return f"{self._identity}/{len(self._sealed)}"

    # What may go wrong with it. ----------------------------------------------------------------

    def lose(self, *, on: bool) -> None:
        """Begin to lose what is written, or end it: the quirk of consolidations.

        A state that started anew meanwhile has lost nothing.
        """
        if self.active and on and not self._losing:
            self._open.append(self._disk.seal())
        elif self._losing and not on:
            self._disk.seal()  # and nobody keeps it
        self._losing = self.active and on

    def grown(self, old_bytes: int, *, misread: bool) -> None:
        """Follow a disk that ended at *old_bytes* before.

        With *misread*, a boundary was passed at which the file's grains doubled, and what was and
        will be noted in small grains is read as if it were in large ones, until a new state starts.
        """
        boundary = _BOUNDARY_BYTES
        while boundary < old_bytes:
            boundary *= 2
        passed = boundary < self._disk.size_bytes
        self._misread |= self.active and misread and passed
        self._answers = {}

    # Answers. ----------------------------------------------------------------------------------

    def changed(self, since: str, until: str | None) -> Runs:
        """Return what was written between two changeIds, or up to now, rounded outward to grains.

        Raises:
            ChangeHistoryLost: one of them is of another tracking state.
            InvalidState: *since* is later than *until*.
            InvalidArgument: *since* is no changeId.
        """
        old, first = _parse(since)
        new, last = (self._identity, len(self._sealed)) if until is None else _parse(until)
        if not old == new == self._identity:
            raise ChangeHistoryLost(self._name, since)
        if first > last:
            raise InvalidState(f"changeId {since!r}", "later than the snapshot", "list changes")
        return self._written(first, None if until is None else last)

    def check(self, until: str | None) -> None:
        """Raise ChangeHistoryLost where a changeId is of another tracking state."""
        if until is not None and _parse(until)[0] != self._identity:
            raise ChangeHistoryLost(self._name, until)

    def written(self, until: str | None) -> Runs:
        """Return what was written since the state began, up to a changeId of it or to now."""
        return self._written(0, None if until is None else _parse(until)[1])

    def _written(self, first: int, last: int | None) -> Runs:
        """Return the union of sets, up to what is being written where there is no *last*."""

        def look() -> Runs:
            wanted = [bitmap for parts in self._sealed[first:last] for bitmap in parts]
            if last is None:
                wanted += [*self._open, self._disk.noted()]
            return self.as_read(self._disk.site.changed(self._disk, wanted))

        return self.kept((first, last), look)

    def as_read(self, found: Runs) -> Runs:
        """Return where areas seem to lie: elsewhere, if each grain is taken to be twice as long."""
        if not self._misread:
            return found
        twice = Runs.from_arrays(found.starts * 2, found.lengths * 2)
        return twice.clip(0, self._disk.size_bytes)

    def kept(self, question: Hashable, look: Callable[[], Runs]) -> Runs:
        """Return the answer to a question, and keep it for the pages that follow.

        What is asked about the current state has another answer after each write.
        """
        key = question, self._disk.site.writes if _is_current(question) else 0
        if key not in self._answers:
            while len(self._answers) >= _ANSWERS_KEPT:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = look()
        return self._answers[key]


def _is_current(question: Hashable) -> bool:
    return isinstance(question, tuple) and question[-1] is None


def _parse(text: str) -> tuple[str, int]:
    match = _CHANGE_ID.fullmatch(text)
    if match is None:
        why = f"{text!r} is not 8 bytes, -, 8 bytes, / and a number"
        raise InvalidArgument("changeId", why)
    return match[1], int(match[2])
