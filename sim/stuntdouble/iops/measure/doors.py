"""The doors by which engines hand over what they measure, one by one or in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

PURPOSES: Final = 16  # the engine has six
_ROWS: Final = 1 << 16  # of a batch: the cost of entering compiled code is gone by then


class Doors(ABC):
    """Takes rows, and hands them on in batches to ``_keep_ios`` and ``_keep_visits``.

    What comes of the rows depends neither on the size of batches, nor on whether they came in
    batches, nor on the order within one; but nothing of a batch has completed, or started, before
    anything of the one before it.
    """

    def __init__(self) -> None:
        self.gauges: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self.pull: Callable[[], None] | None = None
        """Called before a result is looked up, where I/O is measured elsewhere and taken over."""
        self._numbers: dict[str, int] = {}
        self._io_guests, self._io_times = array("q"), array("d")
        self._visit_kinds, self._visit_times = array("q"), array("d")

    def take_ios(
        self,
        names: list[str],
        numbers: NDArray[np.int64],
        times: NDArray[np.float64],
        kinds: NDArray[np.int64] | None = None,  # noqa: ARG002  (for those who listen in between)
    ) -> None:
        """Take over guests' I/Os: each is *names* [number] and a row (arrived, completed).

        *kinds* are rows (disk of the guest, 1 for a write, bytes), of which nothing is kept here.
        Arrays may be views of a buffer that is written again afterwards: what is to be kept of
        them is copied.  Times are seconds of site time.
        """
        if len(numbers):
            self._take_rows()
            own = np.array([self._number(name) for name in names])
            self._keep_ios(own[numbers], np.ascontiguousarray(times))

    def take_visits(self, kinds: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        """Take over visits: rows of (station, purpose), and of (start, seconds).

        As with I/Os, nothing is kept of the arrays themselves.  A visit may end in the future.

        Raises:
            Misuse: a purpose is none of the engine's.
        """
        if len(kinds):
            self._take_rows()
            if kinds[:, 1].max() >= PURPOSES:
                raise Misuse("the purpose of a visit", f"{kinds[:, 1].max()} is none")
            self._keep_visits(np.ascontiguousarray(kinds), np.ascontiguousarray(times))

    def io(
        self,
        guest: str,
        arrived: float,
        completed: float,
        kind: tuple[int, int, int] = (0, 0, 0),  # noqa: ARG002  (as in take_ios)
    ) -> None:
        """Note a guest's I/O that completes now; *kind* is as in ``take_ios``."""
        self._io_guests.append(self._number(guest))
        self._io_times.append(arrived)
        self._io_times.append(completed)
        if len(self._io_guests) == _ROWS:
            self._take_rows()

    def visit(self, station: int, purpose: int, start: float, seconds: float) -> None:
        """Note that a station is busy from *start*, which is now, on."""
        self._visit_kinds.append(station)
        self._visit_kinds.append(purpose)
        self._visit_times.append(start)
        self._visit_times.append(seconds)
        if len(self._visit_kinds) == 2 * _ROWS:
            self._take_rows()

    def gauge(self, name: str, subject: str, time: float, value: float) -> None:
        """Note a value that holds from *time* on."""
        self.gauges[name, subject].append((time, value))

    # For those who keep. -----------------------------------------------------------------------

    @abstractmethod
    def _keep_ios(self, guests: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        """Keep what is needed of rows (arrived, completed) of guests."""

    @abstractmethod
    def _keep_visits(self, kinds: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        """Keep what is needed of rows (station, purpose) and (start, seconds)."""

    def _take_over(self) -> None:
        """Take over all there is."""
        if self.pull is not None:
            self.pull()
        self._take_rows()

    def _take_rows(self) -> None:
        """Take over what came in one by one."""
        if self._io_guests:
            guests, times = np.array(self._io_guests), np.array(self._io_times).reshape(-1, 2)
            self._io_guests, self._io_times = array("q"), array("d")
            self._keep_ios(guests, times)
        if self._visit_kinds:
            kinds = np.array(self._visit_kinds).reshape(-1, 2)
            visits = np.array(self._visit_times).reshape(-1, 2)
            self._visit_kinds, self._visit_times = array("q"), array("d")
            self.take_visits(kinds, visits)

    def _number(self, guest: str) -> int:
        """Return a guest's number, of which there is one for each name."""
        return self._numbers.setdefault(guest, len(self._numbers))

    def _rows(self, guests: Iterable[str]) -> NDArray[np.int64]:
        """Return the numbers of those of *guests* that are known."""
        return np.array([self._numbers[g] for g in guests if g in self._numbers], np.int64)
