"""Changed areas of a disk, as two arrays: a million of them without a million objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from stuntdouble.vsphere.vmomi import make, vim

__all__ = ["ChangedAreas"]

_Extent: Any = vim.VirtualMachine.DiskChangeInfo.DiskChangeExtent
_Extents: Any = _Extent.Array


class ChangedAreas(_Extents):  # type: ignore[misc]
    """The ``changedArea`` of a DiskChangeInfo: a list to its reader, two arrays underneath.

    Attributes:
        starts: First byte of each area.
        lengths: Bytes of each area.
    """

    def __init__(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        super().__init__()
        assert starts.shape == lengths.shape, (starts.shape, lengths.shape)
        assert starts.ndim == 1, starts.shape
        self.starts = starts
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Any]:
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield make(_Extent, {"start": start, "length": length})

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        if isinstance(index, slice):
            return ChangedAreas(self.starts[index], self.lengths[index])
        start, length = int(self.starts[index]), int(self.lengths[index])
        return make(_Extent, {"start": start, "length": length})

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ChangedAreas):
            return np.array_equal(self.starts, other.starts) and np.array_equal(
                self.lengths, other.lengths
            )
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def elements(self, tag: str) -> str:
        """Return all of them as XML, by one formatting."""
        pairs = np.empty(2 * len(self), np.int64)
        pairs[0::2] = self.starts
        pairs[1::2] = self.lengths
        one = f"<{tag}><start>%d</start><length>%d</length></{tag}>"
        return (one * len(self)) % tuple(pairs.tolist())
