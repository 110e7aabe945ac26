"""Traces that are text: read in batches of lines, so that memory holds numbers and not text.

A batch is checked as a whole, column by column, which is quick; only when something is wrong does
anybody look for the line.  A row takes 25 bytes while the file is read, and up to as much once
more while the columns are put together.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import numpy as np

from stuntdouble.errors import Misuse
from stuntdouble.iops.recorded import LENGTH_BYTES_MAX, OFFSET_BYTES_MAX, Recorded, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    Took = Callable[[], NDArray[Any]]

# Kinds of records.  One that moves no data of the guest is counted, and not returned.
READ: Final = 0
WRITE: Final = 1
OTHER: Final = 2

BATCH_LINES: Final = 512
"""At a time.  Four times as quick as 16,384 (measured): caches, and the garbage collector."""

_GZIP: Final = b"\x1f\x8b\x08"  # RFC 1952: its magic, and the only method there is
_DECIMAL: Final = frozenset("0123456789.eE+-")
_WHOLE_MAX: Final = 2**63 - 1  # int64
_SHOWN: Final = 40  # characters of a value that is quoted in an error, at most
_DISKS_SHOWN: Final = 20  # names in an error, at most


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open a file, unpacked if it is gzip's, which its first bytes tell.

    Raises:
        Misuse: it cannot be read, now or further on.
    """
    try:
        with Path(name).open("rb") as raw:
            if raw.peek(3)[:3] == _GZIP:
                with gzip.open(raw) as unpacked:
                    yield cast("BinaryIO", unpacked)
            else:
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise Misuse(name, f"cannot be read: {reason}") from error


@dataclass(frozen=True, slots=True)
class Batch:
    """Some lines of a file, in fields."""

    name: str
    numbers: Sequence[int]  # of the lines, from 1
    rows: Sequence[Sequence[str]]

    def refusal(self, index: int, complaint: str) -> Misuse:
        """Return the error that says what is wrong with the line of row *index*."""
        return Misuse(self.name, f"line {self.numbers[index]} {complaint}")

    def columns(self, width: int) -> list[tuple[str, ...]]:
        """Return the columns; each row must have *width* fields."""
        for index, row in enumerate(self.rows):
            if len(row) != width:
                raise self.refusal(index, f"has {len(row)} fields, not {width}")
        return list(zip(*self.rows, strict=True))

    def whole(self, column: Sequence[str], what: str, unit: int = 1) -> NDArray[np.int64]:
        """Return whole numbers, times *unit*: digits and nothing else, up to 2⁶³ − 1."""
        most = _WHOLE_MAX // unit

        def good(text: str) -> bool:
            # int() alone would take signs, blanks, underscores and digits of any script.
            return text.isascii() and text.isdigit() and len(text) < 40 and int(text) <= most

        joined = "".join(column)
        if joined.isascii() and joined.isdigit():
            try:
                found = np.fromiter(map(int, column), np.int64, len(column))
            except (ValueError, OverflowError):
                found = None
            if found is not None and found.max() <= most:
                return found * unit
        raise self._first_bad(column, good, f"{what} {{}}, which is no whole number up to {most}")

    def floats(self, column: Sequence[str], what: str) -> NDArray[np.float64]:
        """Return decimal numbers, 0 or more."""

        def good(text: str) -> bool:
            try:
                return _DECIMAL.issuperset(text) and 0.0 <= float(text) < float("inf")
            except ValueError:
                return False

        if _DECIMAL.issuperset("".join(column)):
            try:
                found = np.fromiter(map(float, column), np.float64, len(column))
            except ValueError:
                found = None
            if found is not None and found.min() >= 0 and np.isfinite(found.max()):
                return found
        raise self._first_bad(column, good, f"{what} {{}}, which is no decimal number of 0 or more")

    def kinds(self, column: Sequence[str], known: Mapping[str, int]) -> NDArray[np.int8]:
        """Return the kinds that *known* words stand for."""
        try:
            return np.fromiter(map(known.__getitem__, column), np.int8, len(column))
        except KeyError:
            words = ", ".join(known)
            raise self._first_bad(
                column, known.__contains__, f"asks for {{}}: use one of {words}"
            ) from None

    def _first_bad(
        self, column: Sequence[str], good: Callable[[str], bool], complaint: str
    ) -> Misuse:
        index = next(i for i, text in enumerate(column) if not good(text))
        return self.refusal(index, complaint.format(repr(column[index][:_SHOWN])))


def went_back(
    ticks: NDArray[Any], latest: NDArray[Any], took: Took | None
) -> tuple[int, str] | None:
    """Return which record is the first whose clock went back, and what is wrong with it.

    A record that is written as its I/O ends may follow others that were issued later, yet none
    that was issued after it had ended: it goes back by its response time at most.

    Args:
        ticks: when the records' I/Os were issued.
        latest: the latest of the times before each.
        took: returns response times, and is asked where a clock went back; None where records are
            written as I/Os are issued.
    """
    back = latest > ticks
    if not back.any():
        return None
    spans = took() if took is not None else np.zeros_like(ticks)
    back &= np.where(back, latest - ticks, 0) > spans
    if not back.any():
        return None
    index = int(back.argmax())
    gone = f"goes back in time: to {ticks[index].item()!r}, after {latest[index].item()!r}"
    if took is not None:
        gone += f", which is more than the {spans[index].item()!r} that it took"
    return index, gone


def csv_fields(batch: Batch) -> Batch:
    """Split lines at commas; a field may be quoted, but not over the end of a line."""
    lines = [row[0] for row in batch.rows]
    reader = csv.reader(lines, strict=True, skipinitialspace=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if reader.line_num != len(rows) + 1:
                raise batch.refusal(len(rows), "has a quoted field that runs over its end")
            rows.append(row)
    except csv.Error as error:
        raise batch.refusal(len(rows), f"is no CSV: {error}") from error
    return Batch(batch.name, batch.numbers, rows)


def batches(name: str, *, skip: int = 0) -> Iterator[Batch]:
    """Yield the lines of a file after the first *skip*, each a row of one field.

    Bytes that are no UTF-8 are kept as escapes: a number with one in it is refused as such.
    """
    with opened(name) as raw:
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="backslashreplace", newline=None)
        number = 1
        while lines := list(islice(text, BATCH_LINES)):
            rows = [[line.rstrip("\n")] for line in lines]
            left_out = min(max(skip + 1 - number, 0), len(rows))
            batch = Batch(name, range(number + left_out, number + len(rows)), rows[left_out:])
            number += len(rows)
            if batch.rows:
                yield batch


class Gathered:
    """The rows of one disk, as they are read."""

    def __init__(self, name: str, disk: str | None, ticks_per_second: float) -> None:
        self._name = name
        self._disk = disk
        self._ticks_per_second = ticks_per_second
        self._disks: dict[str, None] = {}
        self._records = 0
        self._origin: Any = None
        self._latest: Any = None  # of the disk's records so far
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(
        self,
        batch: Batch,
        *,
        disks: Sequence[str],
        ticks: NDArray[Any],
        kinds: NDArray[np.int8],
        offset: NDArray[np.int64],
        length: NDArray[np.int64],
        took: Took | None = None,
    ) -> None:
        """Take the rows of a batch that are of the disk; each must be an I/O that can be.

        Args:
            batch: where the rows stand.
            disks: whose they are.
            ticks: when they were issued.
            kinds: READ, WRITE or OTHER.
            offset: bytes.
            length: bytes.
            took: returns response times in ticks, if records may be written as their I/Os end.
        """
        if not len(ticks):
            return
        moves = kinds != OTHER
        for bad, complaint in (
            (length == 0, "is an I/O of no length"),
            (length > LENGTH_BYTES_MAX, "is an I/O of 4 GiB or more"),
            (offset > OFFSET_BYTES_MAX, "lies beyond 8 EiB"),
        ):
            if (bad & moves).any():
                raise batch.refusal(int((bad & moves).argmax()), complaint)
        earliest = ticks.min()
        self._origin = earliest if self._origin is None else min(self._origin, earliest)
        self._disks.update(dict.fromkeys(disks))
        if self._disk is None and len(self._disks) > 1:
            self._parts.clear()  # refused in the end: read on for the names of the others only
            return
        if self._disk is not None:
            mine = np.fromiter(map(self._disk.__eq__, disks), np.bool_, len(disks))
            moves &= mine
        else:
            mine = np.ones(len(disks), np.bool_)
        self._records += int(mine.sum())
        self._check_clock(batch, np.flatnonzero(mine), ticks, took)
        self._parts.append((ticks[moves], kinds[moves] == WRITE, offset[moves], length[moves]))

    def _check_clock(
        self, batch: Batch, mine: NDArray[np.intp], ticks: NDArray[Any], took: Took | None
    ) -> None:
        """Refuse a disk's record whose clock went back."""
        if not len(mine):
            return
        first = ticks[mine[0]] if self._latest is None else self._latest
        latest = np.maximum.accumulate(np.concatenate(([first], ticks[mine])))
        self._latest = latest[-1]
        back = went_back(ticks[mine], latest[:-1], took and (lambda: took()[mine]))
        if back is not None:
            raise batch.refusal(int(mine[back[0]]), back[1])

    def recorded(self) -> Recorded:
        """Return what was gathered, in order of time.

        Raises:
            Misuse: no such disk, more than one to choose from, or no I/O.
        """
        self._refuse_wrong_disk()
        columns = [[part[k] for part in self._parts] for k in range(4)]
        self._parts.clear()
        if not sum(map(len, columns[0])):
            raise Misuse(self._name, f"none of its {self._records} records is a read or a write")
        ticks, is_write, offset, length = (self._joined(column) for column in columns)
        if (ticks[1:] < ticks[:-1]).any():
            order = np.argsort(ticks, kind="stable")
            ticks, is_write = ticks[order], is_write[order]
            offset, length = offset[order], length[order]
        return Recorded(
            seconds=frozen((ticks - self._origin) / self._ticks_per_second),
            is_write=frozen(is_write),
            offset_bytes=frozen(offset),
            length_bytes=frozen(length),
            skipped=self._records - len(ticks),
        )

    @staticmethod
    def _joined(column: list[NDArray[Any]]) -> NDArray[Any]:
        joined = np.concatenate(column)
        column.clear()
        return joined

    def _refuse_wrong_disk(self) -> None:
        names = [repr(disk)[1:-1] for disk in list(self._disks)[:_DISKS_SHOWN]]
        more = len(self._disks) - len(names)
        listed = ", ".join(names) + (f" and {more} more" if more else "")
        if self._disk is None and len(self._disks) > 1:
            raise Misuse(self._name, f"holds {len(self._disks)} disks: choose one of {listed}")
        if self._disk is not None and self._disks and self._disk not in self._disks:
            raise Misuse(self._name, f"has no disk {self._disk}: it has {listed}")
