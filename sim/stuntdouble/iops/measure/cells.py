"""Time in cells: regular ones that grow with the run, cut where something else goes on.

    lines    |     |     |     |     |     |     |     |      every half second, at first
    turns           ^ reading        ^ merging                told as they happen
    cells    [     [ ][  [     [     [][    [     [     [

A cell belongs to one label: what goes on from its turn to the next.  When there are too many
lines, the width goes one step up the ladder and neighbours are joined, but never across a turn.
Where the edges that will be asked for are known before the run, they are the only ones.

Cells are made in the order of site time, whenever it is that I/O is handed over; so their number
and their edges do not depend on the size of batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

LINES_MAX: Final = 2048  # five times what a time line on a screen can show
TURNS_MAX: Final = 2048  # then the shortest stretches between two of them go
LABELS_MAX: Final = 64  # combinations of things that go on
NEVER: Final = 1 << 62  # nanoseconds: after every edge

# Widths in seconds, from each to the next by a whole number.  Every width of 0.5, 1, 2, 5, 10, 15,
# 30, 60, 120, 300, 600, 1800 or 3600 s is a multiple of the one in use as long as a run has no
# more than 400 of them.
LADDER: Final = (0.5, 2.5, 5.0, 15.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)


def nanoseconds(seconds: NDArray[np.float64] | float) -> NDArray[np.int64]:
    """Return the nearest whole nanoseconds; compiled code rounds by the same expression."""
    return np.asarray(np.asarray(seconds) * 1e9 + 0.5).astype(np.int64)


class Cells:
    """Makes cells as time goes on.

    Args:
        join: called with the new number of each old cell when cells are joined.
        edges: the only edges there will be, in ascending order; none for regular lines.

    ``starts``, ``edges`` (the same in nanoseconds) and ``labels`` have a row per cell, and after
    the last one a start that is never reached.  The first cell starts at 0.
    """

    def __init__(
        self, join: Callable[[NDArray[np.int64]], None], edges: Iterable[float] | None = None
    ) -> None:
        told = None if edges is None else sorted({*edges} - {0.0})
        rows = LINES_MAX + TURNS_MAX + len(told or ()) + 4
        self.starts = np.full(rows, np.inf)
        self.edges = np.full(rows, NEVER, np.int64)
        self.labels = np.zeros(rows, np.int64)
        self.count = 0
        self.frontier = 0.0  # every edge up to here is known
        self.names: list[frozenset[str]] = [frozenset()]
        self.label = 0
        self._join = join
        self._told = None if told is None else iter([*told, np.inf])
        self._is_turn = np.zeros(rows, bool)
        self._lines = np.full(rows, -1)
        self._origin = 0.0
        self._step = 0
        self._line = 0
        self._next = 0.0
        self._append(0.0, is_turn=True)
        self._find_next()

    @property
    def width(self) -> float:
        """How far apart lines are now, in seconds."""
        return _width(self._step)

    def advance(self, time: float) -> None:
        """Make the edges up to and including *time*."""
        while self._next <= time:
            self._append(self._next, is_turn=self._told is not None)
            self._find_next()
        self.frontier = max(self.frontier, time)

    def turn(self, time: float, going_on: frozenset[str]) -> None:
        """Let a cell start at *time* with a label, unless that goes on already.

        Raises:
            Misuse: *time* has passed, or there are too many labels.
        """
        if not time >= self.frontier:
            raise Misuse(f"a turn at {time} s", f"it is measured up to {self.frontier} s already")
        self.advance(time)
        if going_on not in self.names:
            if len(self.names) >= LABELS_MAX:
                raise Misuse("what goes on", f"there are more than {LABELS_MAX} combinations")
            self.names.append(going_on)
        label = self.names.index(going_on)
        if label != self.label:
            self.label = label
            self._append(time, is_turn=True)
            self.labels[self.count - 1] = label

    def begin(self, time: float) -> None:
        """Count lines from *time*; what was before becomes one cell."""
        self.advance(time)
        self._append(time, is_turn=True)
        if self.count > 2:
            self._keep(np.arange(self.count) % (self.count - 1) == 0)
        self._origin, self._step, self._line = time, 0, 0
        if self._told is None:
            self._find_next()

    def number_of(self, edges: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return for each cell between which of *edges* its middle lies; -1 for neither."""
        starts = self.starts[: self.count]
        ends = np.append(starts[1:], max(self.frontier, float(starts[-1])))
        found: NDArray[np.int64] = np.searchsorted(edges, (starts + ends) / 2, side="right") - 1
        found[found == len(edges) - 1] = -1
        return found

    def _find_next(self) -> None:
        if self._told is not None:
            self._next = next(self._told)
            return
        self._line += 1
        self._next = self._origin + self._line * self.width

    def _append(self, start: float, *, is_turn: bool) -> None:
        if not self.count or start > self.starts[self.count - 1]:
            self.starts[self.count] = start
            self.edges[self.count] = nanoseconds(start)
            self.labels[self.count] = self.label
            self._is_turn[self.count] = False
            self._lines[self.count] = -1
            self.count += 1
        last = self.count - 1
        if is_turn:
            self._is_turn[last] = True
        else:
            self._lines[last] = self._line
        self._limit()

    def _limit(self) -> None:
        if self._told is not None:
            while self.count > len(self.starts) - 2:
                self._drop_shortest()
            return
        lines, turns = self._lines[: self.count], self._is_turn[: self.count]
        if np.count_nonzero(lines >= 0) > LINES_MAX:
            ratio = round(_width(self._step + 1) / self.width)
            self._step += 1
            self._line //= ratio
            stays = (lines >= 0) & (lines % ratio == 0)
            lines[:] = np.where(stays, lines // ratio, -1)
            self._keep(turns | stays)
        elif np.count_nonzero(turns) > TURNS_MAX:
            self._drop_shortest()

    def _drop_shortest(self) -> None:
        """Join the shortest stretch between two turns with the one before it."""
        turns = np.flatnonzero(self._is_turn[: self.count])
        lengths = np.diff(self.starts[turns])
        gone = int(turns[1 + int(np.argmin(lengths[1:]))])
        self._is_turn[gone] = False
        stays = np.ones(self.count, bool)
        stays[gone] = self._lines[gone] >= 0
        self._keep(stays)

    def _keep(self, stays: NDArray[np.bool_]) -> None:
        """Join every cell that does not stay with the one before it."""
        stays[0] = True
        group, count = np.cumsum(stays) - 1, int(np.count_nonzero(stays))
        for column, empty in (
            (self.starts, np.inf), (self.edges, NEVER), (self.labels, 0),
            (self._is_turn, False), (self._lines, -1),
        ):  # fmt: skip
            kept = column[: self.count][stays]
            column[:count] = kept
            column[count : self.count] = empty
        self.count = count
        self._join(group)


def _width(step: int) -> float:
    """Return a width of the ladder, which doubles beyond its end."""
    return LADDER[step] if step < len(LADDER) else LADDER[-1] * 2.0 ** (step - len(LADDER) + 1)
