"""What the suite keeps: the rows that were run, and the grid if it was."""

from __future__ import annotations

from typing import Final, Literal

from stuntdouble.results.figures import Record
from stuntdouble.validity.grid import Sensitivity
from stuntdouble.validity.row import Row

SCHEMA_VERSION: Final = 1


class Report(Record):
    """All that was run."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this format: raised when a field changes its meaning or goes away."""
    seed: int
    """Seed of all random streams."""
    rows: tuple[Row, ...]
    """The rows, in the order of the page."""
    sensitivity: Sensitivity | None = None
    """How the winner hangs on what is assumed; null where that was not run."""
