"""Paging: how much of an answer one call of the change tracker gives.

    areas      ----aaaa--------bbbb--cccccc----------------dddd----
    one-page   [                                                  ]    all of it
    areas      [              ][           ][                     ]    so many areas, here 1 or 2
    span       [      ][               ][       ][                ]    so long; nothing: on to some
    span-empty [  ][   ][     ][     ][  ][      ][              ]…    so long; a gap is a page
    random     any mixture of these, and pages that end within an area

All of this is legal: a page says how far it reaches, reaches one byte on at least, and leaves
nothing out of what it covers.  A client that asks again from where the last page ended, until the
disk's capacity is reached, finds the same areas in every mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from stuntdouble.errors import Misuse
from stuntdouble.extents import Runs
from stuntdouble.ports import ChangedPage
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from stuntdouble.trace import Stream

Mode = Literal["areas", "one-page", "span", "span-empty", "random"]


@dataclass
class Paging:
    """How answers are paged; may be changed at any time, also between two pages.

    Args:
        mode: see above.
        areas: areas in one answer at most, in every mode but "one-page".
        span_bytes: span that one answer covers; 0 is no limit for "areas", and an eighth of the
            disk for the modes that are about spans.

    Raises:
        Misuse: no such mode, no area at all, or a negative span.
    """

    mode: Mode = "areas"
    areas: int = 2000
    span_bytes: int = 0

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            text = f"{self.mode!r} is none of {', '.join(map(repr, get_args(Mode)))}"
            raise Misuse("tracking_paging", text)
        if self.areas < 1:
            raise Misuse("tracking_page_areas", f"{self.areas} is below 1")
        if self.span_bytes < 0:
            raise Misuse("tracking_page_bytes", f"{self.span_bytes} is below 0")

    def change(
        self, *, mode: Mode | None = None, areas: int | None = None, span_bytes: int | None = None
    ) -> None:
        """Page differently from now on; what is not given stays."""
        checked = Paging(
            self.mode if mode is None else mode,
            self.areas if areas is None else areas,
            self.span_bytes if span_bytes is None else span_bytes,
        )
        self.mode, self.areas, self.span_bytes = checked.mode, checked.areas, checked.span_bytes

    def span(self, size: int) -> int:
        """Return the span of a page of a disk of *size* bytes, where the mode is about spans."""
        return self.span_bytes or max(-(-size // 8 // SECTOR_BYTES), 1) * SECTOR_BYTES


def page(
    found: Runs, start: int, size: int, paging: Paging, stream: Stream, *, gaps: bool = False
) -> ChangedPage:
    """Return one page of *found*; costs no more than what it holds, however long *found* is.

    Args:
        found: the whole answer, within ``[0, size)``.
        start: where the page begins, below *size*.
        size: where the disk ends.
        paging: how much to give.
        stream: what the random mode draws from.
        gaps: let each gap before an area be a page of its own, and empty.
    """
    first = int(found.stops.searchsorted(start, side="right"))
    following = int(found.starts[first]) if first < len(found) else size
    mode, most, span = paging.mode, paging.areas, size
    if mode == "random":
        most = 1 + int(stream.uniform() * paging.areas)
        span = _some_span(size - start, stream)
        gaps = gaps or stream.uniform() < 0.5
    elif mode in {"span", "span-empty"} or (mode == "areas" and paging.span_bytes):
        span = paging.span(size)
    stop = min(size, start + span)
    if mode == "span" and following >= stop:  # nothing within the span: on to where something is
        stop = min(size, following + span)
    if (gaps or mode == "span-empty") and start < following < size:
        stop = min(stop, following)
    return _cut(found, first, start, stop, len(found) if mode == "one-page" else most)


def _some_span(left: int, stream: Stream) -> int:
    """Return all that is *left* half of the time, else some of it, in whole sectors."""
    if stream.uniform() < 0.5:
        return left
    return SECTOR_BYTES * (1 + int(stream.uniform() * left / SECTOR_BYTES))


def _cut(found: Runs, first: int, start: int, stop: int, most: int) -> ChangedPage:
    """Return ``[start, stop)`` of *found*, of which *first* is the first area that ends later."""
    last = int(found.starts.searchsorted(stop, side="left"))
    if last - first > most:
        last = first + most
        stop = int(found.stops[last - 1])
    return ChangedPage(start, stop - start, Runs(found.array[first:last]).clip(start, stop))
