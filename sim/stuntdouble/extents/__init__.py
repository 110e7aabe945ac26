"""Which bytes, and where they lie: sets of runs, and the offset table of a disk file.

``Runs`` is a set of positions held as sorted, disjoint, half-open runs.  ``OffsetTable`` says
where each run of a disk file lies on the volumes under its datastore.  Both are immutable
values, both hold millions of rows in numpy arrays, and every operation is vectorised.
"""

from __future__ import annotations

from stuntdouble.extents.runs import Extent, Runs
from stuntdouble.extents.table import OffsetTable, Row, State

__all__ = ["Extent", "OffsetTable", "Row", "Runs", "State"]
