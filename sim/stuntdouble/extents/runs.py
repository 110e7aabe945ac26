"""Sets of positions as sorted, disjoint, half-open runs.

                    0         1         2
                    0123456789012345678901
    a              [aaaa----aaaa------aa--]     Runs.of([(0, 4), (8, 4), (18, 2)])
    b              [--bbbbbb--------------]     Runs.of([(2, 6)])
    a | b          [rrrrrrrrrrrr------rr--]     (0, 12) (18, 2): runs that touch become one
    a & b          [--rr------------------]     (2, 2)
    a - b          [rr------rrrr------rr--]     (0, 2) (8, 4) (18, 2)
    a.complement   [----rrrr----rrrrrr--rr]     (4, 4) (12, 6) (20, 2): up to stop = 22
    b.align(4)     [rrrrrrrr--------------]     (0, 8): outward to multiples of the grain
    (a|b).blocks(8)[000000001111------22--]     (0, 8) (8, 4) (18, 2): cut at multiples of 8

There is one way to write a set down: runs rise, none is empty, and between two of them lies at
least one position that is not in the set.  So the bounds, read in a row (start, stop, start,
stop, ...), rise strictly, equal sets have equal arrays, and the algebra needs no special cases:

* starts sorted on their own and stops sorted on their own are enough.  The union has a start
  wherever all earlier runs have stopped, that is where ``starts[i] > stops[i - 1]``;
* of two sets, at most two runs are open at a time.  Both are open from ``starts[i]`` to
  ``stops[i - 1]``, wherever the first is below the second: that is the intersection;
* a difference is an intersection with a complement.

Sorting two sorted arrays laid end to end is one linear merge (numpy's stable sort finds the two
ascents), so each operation takes time linear in the number of runs.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Positions: TypeAlias = npt.NDArray[np.int64]

POSITION_MAX: Final = 2**63 - 1  # the largest int64; no run may stop beyond it
_WORD_BITS: Final = 64


class Extent(NamedTuple):
    """Hold one half-open range, ``[start, start + length)``."""

    start: int
    length: int

    @property
    def stop(self) -> int:
        """The first position after the range."""
        return self.start + self.length


class Runs:
    """Hold a set of positions, immutable and in the one canonical form.

    Positions are whole numbers from 0 to 2**63 - 1; they are bytes by convention, but nothing
    here knows the unit.  Make a set with ``empty``, ``single``, ``of``, ``from_arrays`` or
    ``from_bits``: these take runs in any order, overlapping or empty.  The class itself takes
    bounds (n rows of start and stop) that are canonical already, and copies nothing.

    Two sets are equal when they hold the same positions.  Truth means "not empty", ``len`` is
    the number of runs and ``total`` the number of positions.

    Raises:
        ValueError: the bounds are not int64, or not canonical; and from every operation, a
            position that is negative or beyond 2**63 - 1.
    """

    __slots__ = ("_bounds",)

    def __init__(self, bounds: Positions) -> None:
        if bounds.dtype != np.int64 or bounds.ndim != 2 or bounds.shape[1] != 2:
            raise ValueError(f"bounds are {bounds.dtype} {bounds.shape}: need int64, (n, 2)")
        flat = bounds.reshape(-1)
        if flat.size and (flat[0] < 0 or not (flat[1:] > flat[:-1]).all()):
            raise ValueError("bounds do not rise strictly from 0: use Runs.of or from_arrays")
        self._bounds: Positions = bounds.view()
        self._bounds.setflags(write=False)

    @staticmethod
    def empty() -> Runs:
        """Return the set without positions."""
        return Runs(np.empty((0, 2), np.int64))

    @staticmethod
    def single(start: int, length: int) -> Runs:
        """Return the one run ``[start, start + length)``; length 0 gives the empty set."""
        stop = span(start, index(start) + index(length))
        return Runs(np.array([(start, stop)] if length else [], np.int64).reshape(-1, 2))

    @staticmethod
    def of(extents: Iterable[tuple[int, int]]) -> Runs:
        """Return the union of (start, length) pairs, in any order, overlapping or not."""
        pairs = list(extents)
        if not pairs:
            return Runs.empty()
        table = np.array(pairs)
        if table.ndim != 2 or table.shape[1] != 2:
            raise ValueError(f"shape {table.shape}: each extent is a pair (start, length)")
        return Runs.from_arrays(table[:, 0], table[:, 1])

    @staticmethod
    def from_arrays(starts: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> Runs:
        """Return the union of the runs given as two integer arrays, in any order.

        Runs of length 0 add nothing.  Costs a sort, which is one pass where *starts* rise.

        Raises:
            ValueError: not two integer arrays of one length, a negative value, or a run that
                stops beyond 2**63 - 1.
        """
        first, length = whole(starts, "starts"), whole(lengths, "lengths")
        if first.shape != length.shape:
            raise ValueError(f"{first.size} starts but {length.size} lengths")
        if (length > POSITION_MAX - first).any():
            raise ValueError("a run stops beyond 2**63 - 1")
        wanted = length > 0
        first, length = first[wanted], length[wanted]
        return _union(np.sort(first, kind="stable"), np.sort(first + length, kind="stable"))

    @staticmethod
    def from_bits(words: npt.NDArray[np.uint64], grain: int, stop: int) -> Runs:
        """Return the grains whose bit is set, clipped at *stop*.

        Bit ``i % 64`` of ``words[i // 64]``, counted from the least significant, stands for
        ``[i * grain, (i + 1) * grain)``.  Only words in which a run starts or stops are taken
        apart, so a bitmap that is mostly clear or mostly set costs little.

        Raises:
            ValueError: *words* is not one-dimensional uint64, *grain* is below 1, or *stop* is
                negative.
        """
        if words.dtype != np.uint64 or words.ndim != 1:
            raise ValueError(f"words are {words.dtype} {words.shape}: need uint64, one row")
        grain, stop = _grain(grain), span(0, stop)
        edges = _edges(words)
        last = stop // grain  # the grain that holds stop; compared before anything is multiplied
        places = np.where(edges > last, stop, np.minimum(edges, last) * grain)
        bounds = places.reshape(-1, 2)
        return Runs(bounds[bounds[:, 0] < bounds[:, 1]])

    @property
    def array(self) -> Positions:
        """The bounds, one row of (start, stop) per run; read-only."""
        return self._bounds

    @property
    def starts(self) -> Positions:
        """Where each run starts; a read-only view."""
        return self._bounds[:, 0]

    @property
    def stops(self) -> Positions:
        """Where each run stops, exclusive; a read-only view."""
        return self._bounds[:, 1]

    @property
    def lengths(self) -> Positions:
        """The positions in each run."""
        return self.stops - self.starts

    @property
    def total(self) -> int:
        """The number of positions in the set."""
        return int(self.lengths.sum())

    def __len__(self) -> int:
        return len(self._bounds)

    def __iter__(self) -> Iterator[Extent]:
        return map(Extent, self.starts.tolist(), self.lengths.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Runs):
            return NotImplemented
        return np.array_equal(self._bounds, other.array)

    def __hash__(self) -> int:
        return hash(self._bounds.tobytes())

    def __repr__(self) -> str:
        shown = ", ".join(f"({start}, {length})" for start, length in Runs(self._bounds[:4]))
        more = f", and {len(self) - 4} more" if len(self) > 4 else ""
        return f"<Runs {shown}{more}: {self.total} in {len(self)}>"

    def __reduce__(self) -> tuple[type[Runs], tuple[Positions]]:
        return Runs, (self._bounds,)

    def __or__(self, other: Runs) -> Runs:
        return _union(_merged(self.starts, other.starts), _merged(self.stops, other.stops))

    def __and__(self, other: Runs) -> Runs:
        mine, its = self._near(other), other._near(self)
        return Runs(np.column_stack(cut(mine.starts, mine.stops, its.starts, its.stops)))

    def __sub__(self, other: Runs) -> Runs:
        return self & other._near(self)._gaps()

    def _near(self, other: Runs) -> Runs:
        """Drop what lies outside the hull of *other*: a small operand makes a cheap operation."""
        if not other:
            return Runs.empty()
        return self.clip(int(other.array[0, 0]), int(other.array[-1, 1]))

    def _gaps(self) -> Runs:
        bounds = np.concatenate(([0], self._bounds.reshape(-1), [POSITION_MAX])).reshape(-1, 2)
        return Runs(bounds[bounds[:, 0] < bounds[:, 1]])

    def complement(self, stop: int) -> Runs:
        """Return the positions of ``[0, stop)`` that are not in the set."""
        return Runs.single(0, stop) - self

    def align(self, grain: int, stop: int | None = None) -> Runs:
        """Round each run outward to multiples of *grain*, and join what then meets.

        With *stop*, the result is clipped there: the last grain of a file whose length is not
        a multiple of the grain.

        Raises:
            ValueError: *grain* is below 1, or rounding goes beyond 2**63 - 1.
        """
        grain = _grain(grain)
        if self and -(-int(self.stops[-1]) // grain) * grain > POSITION_MAX:
            raise ValueError(f"rounding to multiples of {grain} goes beyond 2**63 - 1")
        wide = _union(self.starts // grain * grain, -(-self.stops // grain) * grain)
        return wide if stop is None else wide.clip(0, stop)

    def shift(self, delta: int) -> Runs:
        """Move every run by *delta*, which may be negative.

        Raises:
            ValueError: a run would leave 0 to 2**63 - 1.
        """
        if not self:
            return self
        span(int(self.starts[0]) + delta, int(self.stops[-1]) + delta)
        return Runs(self._bounds + delta)

    def clip(self, start: int, stop: int) -> Runs:
        """Return the part of the set within ``[start, stop)``."""
        span(start, stop)
        first = np.searchsorted(self.stops, start, side="right")
        last = np.searchsorted(self.starts, stop, side="left")
        if first >= last or start == stop:
            return Runs.empty()
        return Runs(np.clip(self._bounds[first:last], start, stop))

    def covers(self, other: Runs) -> bool:
        """Say whether every position of *other* is in this set."""
        return not other - self

    def blocks(self, block: int) -> Positions:
        """Return rows of (start, length): the set cut at multiples of *block*, in order.

        No row crosses a multiple of *block*, so each is one request of at most *block*.

        Raises:
            ValueError: *block* is below 1.
        """
        block = _grain(block)
        first = self.starts // block
        counts = (self.stops - 1) // block - first + 1
        ends = np.cumsum(counts)
        numbers = np.arange(counts.sum()) - np.repeat(ends - counts - first, counts)
        lowest, starts, stops = (
            numbers * block,
            np.repeat(self.starts, counts),
            np.repeat(self.stops, counts),
        )
        begins = np.maximum(lowest, starts)
        lengths = np.minimum(stops - lowest, block) - (begins - lowest)
        return np.column_stack((begins, lengths))


def cut(
    starts: Positions, stops: Positions, other_starts: Positions, other_stops: Positions
) -> tuple[Positions, Positions]:
    """Return starts and stops of what two rising rows of disjoint runs have in common.

    Runs of one row may touch; the result is then cut where they do, so that each piece lies in
    exactly one run of either row.
    """
    begins = _merged(starts, other_starts)[1:]
    ends = _merged(stops, other_stops)[:-1]
    both = begins < ends
    return begins[both], ends[both]


def whole(values: npt.NDArray[Any], name: str) -> Positions:
    """Return *values* as int64, one row of numbers from 0 to 2**63 - 1, or raise ValueError."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(f"{name} are {array.dtype} {array.shape}: need integers, one row")
    if array.size and (array.min() < 0 or int(array.max()) > POSITION_MAX):
        raise ValueError(f"{name} go from {array.min()} to {array.max()}: need 0 to 2**63 - 1")
    return array.astype(np.int64, copy=False)


def span(start: int, stop: int) -> int:
    """Return *stop*, having checked that ``[start, stop)`` is a span of positions."""
    if not 0 <= index(start) <= index(stop) <= POSITION_MAX:
        raise ValueError(f"[{start}, {stop}) is not a span: need 0 <= start <= stop < 2**63")
    return stop


def _union(starts: Positions, stops: Positions) -> Runs:
    """Join runs whose starts rise and whose stops rise; which stop is whose does not matter."""
    if not starts.size:
        return Runs.empty()
    apart = starts[1:] > stops[:-1]
    begins = starts[np.concatenate(([True], apart))]
    return Runs(np.column_stack((begins, stops[np.concatenate((apart, [True]))])))


def _merged(one: Positions, other: Positions) -> Positions:
    merged = np.concatenate((one, other))
    merged.sort(kind="stable")
    return merged


def _edges(words: npt.NDArray[np.uint64]) -> Positions:
    """Return the bit numbers at which a bitmap changes: set, clear, set, clear, ..."""
    top = np.uint64(_WORD_BITS - 1)
    before = words << np.uint64(1)
    before[1:] |= words[:-1] >> top
    changes = words ^ before
    busy = np.flatnonzero(changes)
    bits = np.unpackbits(changes[busy].astype("<u8").view(np.uint8), bitorder="little")
    places = np.flatnonzero(bits.view(np.bool_))  # numpy counts these much faster than bytes
    edges = busy[places // _WORD_BITS] * _WORD_BITS + places % _WORD_BITS
    if edges.size % 2:  # the last bit of the bitmap is set: its run stops where the bitmap does
        edges = np.append(edges, words.size * _WORD_BITS)
    return edges.astype(np.int64, copy=False)


def _grain(grain: int) -> int:
    if not 1 <= index(grain) <= POSITION_MAX:
        raise ValueError(f"{grain} is not a grain: need 1 to 2**63 - 1")
    return grain
