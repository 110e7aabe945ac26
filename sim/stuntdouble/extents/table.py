"""Where each range of a virtual disk file lies on the volumes under its datastore.

               0         1         2
               0123456789012345678901234
    file      [wwww----zzzzWWWW]             w, W written; - hole; z to be zeroed
    volume 0  [--------zzzz--------wwww-]    file 0..4 lies at 20, file 8..12 at 8
    volume 1  [WWWW---------------------]    file 12..16 lies at 0

    where(State.WRITTEN)                     (0, 4) (12, 4)     file offsets
    volume_runs(0, Runs.single(2, 12))       (22, 2)            offsets to read on volume 0
    pieces(0, 0, 23)                         (0, 20, 3)         file offset, volume offset, length

A row that is *to be zeroed* is allocated but never written: the bytes on the volume are what
somebody else left there, and the file reads as zeros.  So only *written* rows are ever read
from a volume, and a reader fills the rest with zeros by itself.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from stuntdouble.extents.runs import POSITION_MAX, Positions, Runs, cut, span, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_DTYPE: Final = np.dtype(
    [
        ("volume", np.int32),
        ("file_offset", np.int64),
        ("volume_offset", np.int64),
        ("length", np.int64),
        ("state", np.uint8),
    ]
)
_NO_VOLUME: Final = -1

Table: TypeAlias = npt.NDArray[np.void]


class State(IntEnum):
    """Say what a range of a disk file is."""

    HOLE = 0
    """Not allocated: reads as zeros, lies nowhere."""
    TO_BE_ZEROED = 1
    """Allocated, never written: reads as zeros, stale bytes of somebody else lie there."""
    WRITTEN = 2
    """Allocated and written: the bytes on the volume are the bytes of the file."""


class Row(NamedTuple):
    """Hold one row: ``length`` bytes of the file, from ``file_offset`` on, lie there."""

    volume: int
    file_offset: int
    volume_offset: int
    length: int
    state: State


class OffsetTable:
    """Say where every byte of a disk file lies; immutable.

    Rows may be given in any order.  They are kept sorted by file offset, cover
    ``[0, capacity)`` without a gap, and a row that continues the one before it (same state and
    volume, next offset on both sides) is joined to it.  Rows that are holes lie nowhere:
    whatever was given, their volume is -1 and their volume offset 0.

    Offsets and lengths are in bytes; ``volumes`` names the volumes that rows number from 0.

    Raises:
        ValueError: two volumes of one name, a value out of range, an empty row, a gap or an
            overlap in the file, or two rows that share a range of a volume.
    """

    __slots__ = ("_by_volume", "_rows", "capacity", "volumes")

    def __init__(
        self, volumes: Sequence[str], capacity: int, rows: Iterable[tuple[int, ...]] | Table
    ) -> None:
        self.volumes: Final = tuple(volumes)
        room = whole(np.array([capacity]), "capacity")
        self.capacity: Final = int(room[0])
        if len(set(self.volumes)) < len(self.volumes):
            raise ValueError(f"two volumes have one name: {', '.join(self.volumes)}")
        table = _table(rows, len(self.volumes))
        table = table[np.argsort(table["file_offset"], kind="stable")]
        _check_cover(table, room)
        _check_volumes(table, self.volumes)
        self._rows: Final[Table] = _joined(table, self.capacity)
        self._rows.setflags(write=False)
        self._by_volume: Final[dict[int, tuple[Positions, Positions, Positions]]] = {}

    @property
    def rows(self) -> Table:
        """The rows as a structured array (fields as in ``Row``); read-only."""
        return self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        for volume, file_offset, volume_offset, length, state in self._rows.tolist():
            yield Row(volume, file_offset, volume_offset, length, State(state))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OffsetTable):
            return NotImplemented
        return self.volumes == other.volumes and np.array_equal(self._rows, other.rows)

    def __hash__(self) -> int:
        return hash((self.volumes, self._rows.tobytes()))

    def __repr__(self) -> str:
        where = ", ".join(self.volumes)
        return f"<OffsetTable {len(self)} rows over {self.capacity} bytes on {where or 'nothing'}>"

    def __reduce__(self) -> tuple[type[OffsetTable], tuple[tuple[str, ...], int, Table]]:
        return OffsetTable, (self.volumes, self.capacity, self._rows)

    def where(self, *states: State) -> Runs:
        """Return the file offsets that are in one of *states*."""
        rows = self._rows[np.isin(self._rows["state"], states)]
        return Runs.from_arrays(rows["file_offset"], rows["length"])

    def volume_runs(self, volume: int, wanted: Runs) -> Runs:
        """Return the offsets to read on *volume* for the written part of *wanted*.

        *wanted* are file offsets; what lies on other volumes, is not written, or is beyond the
        capacity needs no read from this one.  File ranges that are neighbours on the volume
        come out as one run.
        """
        rows = self._rows[self._written_on(volume)]
        volume_offsets, _, lengths = _cut_rows(rows, wanted)
        return Runs.from_arrays(volume_offsets, lengths)

    def pieces(self, volume: int, start: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield (file offset, volume offset, length) of what is written in a span of *volume*.

        Pieces come by rising volume offset, each clipped to ``[start, start + length)``; the
        file offsets are in any order.  The first call for a volume sorts its rows; after that,
        each call is a binary search.

        Raises:
            ValueError: no such volume, or a span that is negative or goes beyond 2**63 - 1.
        """
        stop = span(start, start + length)
        if volume not in self._by_volume:
            rows = self._rows[self._written_on(volume)]
            rows = rows[np.argsort(rows["volume_offset"], kind="stable")]
            begins = np.ascontiguousarray(rows["volume_offset"])
            files = np.ascontiguousarray(rows["file_offset"])
            self._by_volume[volume] = begins, begins + rows["length"], files
        begins, ends, files = self._by_volume[volume]
        return _clipped(begins, ends, files, start, stop)

    def _written_on(self, volume: int) -> npt.NDArray[np.bool_]:
        if not 0 <= volume < len(self.volumes):
            raise ValueError(f"no volume {volume}: there are {len(self.volumes)}")
        rows = self._rows
        found: npt.NDArray[np.bool_] = (rows["volume"] == volume) & (rows["state"] == State.WRITTEN)
        return found

    def overlay(self, upper: OffsetTable) -> OffsetTable:
        """Return the table of a disk whose child is *upper*, as a chain of delta disks reads.

        Where *upper* is allocated (written or to be zeroed), it shadows this table; its holes
        show this table.  Volumes keep their numbers here; those that only *upper* names follow.

        Raises:
            ValueError: the capacities differ, or what is seen of both shares a range of a volume.
        """
        if upper.capacity != self.capacity:
            raise ValueError(f"capacity {upper.capacity} cannot lie over {self.capacity}")
        volumes = tuple(dict.fromkeys(self.volumes + upper.volumes))
        numbers = np.array([*map(volumes.index, upper.volumes), _NO_VOLUME], np.int32)
        above = upper.rows[upper.rows["state"] != State.HOLE]
        above["volume"] = numbers[above["volume"]]
        volume_offsets, source, lengths = _cut_rows(self._rows, upper.where(State.HOLE))
        below = self._rows[source]
        below["file_offset"] += volume_offsets - below["volume_offset"]
        below["volume_offset"] = volume_offsets
        below["length"] = lengths
        return OffsetTable(volumes, self.capacity, np.concatenate((below, above)))


def _cut_rows(rows: Table, wanted: Runs) -> tuple[Positions, npt.NDArray[np.intp], Positions]:
    """Return volume offset, number of the row, and length of each piece of *rows* in *wanted*."""
    starts = np.ascontiguousarray(rows["file_offset"])
    begins, ends = cut(starts, starts + rows["length"], wanted.starts, wanted.stops)
    source = np.searchsorted(starts, begins, side="right") - 1
    return rows["volume_offset"][source] + (begins - starts[source]), source, ends - begins


def _clipped(
    begins: Positions, ends: Positions, files: Positions, start: int, stop: int
) -> Iterator[tuple[int, int, int]]:
    first = int(np.searchsorted(ends, start, side="right"))
    last = int(np.searchsorted(begins, stop, side="left"))
    found = slice(first, last if start < stop else first)
    for begin, end, file in zip(
        begins[found].tolist(), ends[found].tolist(), files[found].tolist(), strict=True
    ):
        low, high = max(begin, start), min(end, stop)
        yield file + (low - begin), low, high - low


def _table(rows: Iterable[tuple[int, ...]] | Table, volumes: int) -> Table:
    """Return *rows* as a structured array of our own, every value checked before it is stored."""
    columns = _columns(rows)
    state = whole(columns["state"], "states")
    if (state > State.WRITTEN).any():
        raise ValueError(f"no state {state.max()}: states are 0 to {State.WRITTEN}")
    hole = state == State.HOLE
    checked = {
        "volume": whole(np.where(hole, 0, columns["volume"]), "volumes"),
        "file_offset": whole(columns["file_offset"], "file offsets"),
        "volume_offset": whole(np.where(hole, 0, columns["volume_offset"]), "volume offsets"),
        "length": whole(columns["length"], "lengths"),
        "state": state,
    }
    if (checked["volume"][~hole] >= volumes).any():
        raise ValueError(f"no volume {checked['volume'].max()}: there are {volumes}")
    length = checked["length"]
    if (length == 0).any():
        raise ValueError("a row of length 0 says nothing: leave it out")
    room = POSITION_MAX - np.maximum(checked["file_offset"], checked["volume_offset"])
    if (length > room).any():
        raise ValueError("a row stops beyond 2**63 - 1")
    table = np.empty(state.size, _DTYPE)
    for name, column in checked.items():
        table[name] = column
    table["volume"][hole] = _NO_VOLUME
    return table


def _columns(rows: Iterable[tuple[int, ...]] | Table) -> dict[str, npt.NDArray[Any]]:
    names = Row._fields
    if isinstance(rows, np.ndarray) and rows.dtype.names is not None:
        if set(rows.dtype.names) != set(names):
            raise ValueError(f"fields are {rows.dtype.names}: need {names}")
        return {name: rows[name] for name in names}
    listed = list(rows)
    table = np.array(listed) if listed else np.empty((0, len(names)), np.int64)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise ValueError(f"rows have shape {table.shape}: each is {', '.join(names)}")
    return dict(zip(names, table.T, strict=True))


def _check_cover(table: Table, capacity: Positions) -> None:
    stops = np.concatenate(([0], table["file_offset"] + table["length"]))
    starts = np.concatenate((table["file_offset"], capacity))
    wrong = np.flatnonzero(stops != starts)
    if wrong.size:
        stop, start = int(stops[wrong[0]]), int(starts[wrong[0]])
        what = "a gap in the file" if stop < start else "rows overlap, or exceed the capacity"
        raise ValueError(f"{what}: a row stops at {stop}, what follows starts at {start}")


def _check_volumes(table: Table, volumes: tuple[str, ...]) -> None:
    lying = table[table["state"] != State.HOLE]
    order = np.lexsort((lying["volume_offset"], lying["volume"]))
    volume, start = lying["volume"][order], lying["volume_offset"][order]
    stop = start + lying["length"][order]
    shared = np.flatnonzero((volume[1:] == volume[:-1]) & (start[1:] < stop[:-1]))
    if shared.size:
        where = int(shared[0]) + 1
        name = volumes[volume[where]]
        raise ValueError(f"two rows share offset {start[where]} of volume {name}")


def _joined(table: Table, capacity: int) -> Table:
    """Return *table* with each row joined to those that continue it; rows cover the file."""
    before, after = table[:-1], table[1:]
    next_offset = before["volume_offset"] + before["length"]
    heads = np.ones(table.size, np.bool_)
    heads[1:] = (
        (after["volume"] != before["volume"])
        | (after["state"] != before["state"])
        | ((after["volume_offset"] != next_offset) & (after["state"] != State.HOLE))
    )
    joined = table[heads]
    joined["length"] = np.diff(np.append(joined["file_offset"], capacity))
    return joined
