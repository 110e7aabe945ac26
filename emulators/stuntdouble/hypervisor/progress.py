"""How far a VM's task is: a fraction that never falls while it runs.

    create     0 ── task ── 0.5 ── delta files ── 0.7 ── freeze, stun ── 1
    revert     0 ── task ── 0.5 ── delta files, stun ─────────────────── 1
    remove     0 ── task ── 0.1 ── bytes moved of bytes to be moved ──── 1
    create VM  0 ── bytes zeroed of bytes to be zeroed ───────────────── 1

The shares of the parts are chosen; what passes within each of them is measured.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypeVar

from stuntdouble.site import IO_BLOCKS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from simpy.events import Event

    from stuntdouble.clock import Environment
    from stuntdouble.site import File

T = TypeVar("T")


def zeroing_pieces(file: File, first: int = 0) -> int:
    """Return how many I/Os zero a file from its file-system block *first* on."""
    blocks = sum(index >= first for index in file.places)
    return blocks * -(-file.store.fs_blocks // IO_BLOCKS_MAX)


def zeroing_shares(files: Iterable[File]) -> list[tuple[float, float]]:
    """Return where the zeroing of each file begins and ends, of the zeroing of them all.

    A thin file has no block to be zeroed, and a share of nothing; that of a lazily zeroed one passes
    at once.
    """
    ends = list(accumulate(map(zeroing_pieces, files), initial=0))
    whole = max(ends[-1], 1)
    return [(start / whole, stop / whole) for start, stop in pairwise(ends)]


class Progress:
    """The progress of whatever task is running, 0 where none is."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: a task has ended."""
        self._reached = 0.0
        self._start, self._stop = 0.0, 0.0
        self._inner: Callable[[], float] | None = None

    @property
    def fraction(self) -> float:
        """How far the task is, from 0 to 1."""
        inner = min(max(self._inner(), 0.0), 1.0) if self._inner else 0.0
        self._reached = max(self._reached, self._start + (self._stop - self._start) * inner)
        return self._reached

    def part(self, start: float, stop: float, inner: Callable[[], float]) -> None:
        """Let a part of the task begin at *start*; *inner* says how much of it is done."""
        self._inner = None
        self._reached = max(self.fraction, start)
        self._start, self._stop, self._inner = start, stop, inner

    def wait(
        self, env: Environment, seconds: float, start: float, stop: float
    ) -> Generator[Event, object, None]:
        """Let a part of the task take so many seconds."""
        began = env.now
        self.part(start, stop, lambda: (env.now - began) / seconds if seconds else 1.0)
        yield env.timeout(seconds)
        self.part(stop, stop, float)

    def counted(
        self, steps: Iterable[T], count: int, start: float = 0.0, stop: float = 1.0
    ) -> Iterator[T]:
        """Yield the steps of a part of the task, *count* of them."""
        done = 0
        self.part(start, stop, lambda: done / max(count, 1))
        for step in steps:
            yield step
            done += 1
