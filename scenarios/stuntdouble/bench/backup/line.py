"""A line through points by least squares, and how much of their spread it explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Line:
    """y = ``fixed`` + ``slope`` x.

    ``explained`` is the coefficient of determination: 1 minus the sum of squares of what the line is
    off by over that of what the mean is off by.
    """

    fixed: float
    slope: float
    explained: float


def fitted(points: Sequence[tuple[float, float]]) -> Line:
    """Return the line that fits (x, y) best.

    Raises:
        Misuse: fewer than three points, or all of one x, or all of one y: nothing is explained.
    """
    if len(points) < 3:
        raise Misuse("a fitted line", f"{len(points)} points: at least 3 are needed")
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread_x = sum((x - mean_x) ** 2 for x, _ in points)
    spread_y = sum((y - mean_y) ** 2 for _, y in points)
    if not spread_x or not spread_y:
        raise Misuse("a fitted line", "all points are alike in one coordinate")
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread_x
    fixed = mean_y - slope * mean_x
    off = sum((y - fixed - slope * x) ** 2 for x, y in points)
    return Line(fixed, slope, 1.0 - off / spread_y)
