"""A unit in memory, for tests and for trying a transport without an array."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stuntdouble.scsi.units import Run
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from stuntdouble.scsi.answers import Buffer
    from stuntdouble.scsi.units import Unit


@dataclass(eq=False)
class MemoryUnit:
    """A disk of so many bytes; see ``Unit``.

    Args:
        naa: its identifier.
        size_bytes: capacity.
    """

    naa: str = "6000" + "0" * 27 + "1"
    size_bytes: int = MIB
    serial: str = "0000000000000001"
    vendor: str = "STUNTDBL"
    product: str = "MEMORY UNIT"
    revision: str = "0001"
    block_bytes: int = 512
    physical_block_bytes: int = 4096
    read_only: bool = False
    thin: bool = True
    unmap_granularity_bytes: int = 4096
    data: bytearray = field(init=False, repr=False)
    mapped: set[int] = field(init=False, default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self.data = bytearray(self.size_bytes)

    def grow(self, size_bytes: int) -> None:
        """Make it longer; what is new reads as zeros."""
        self.data.extend(bytes(size_bytes - self.size_bytes))
        self.size_bytes = size_bytes

    def read(self, offset: int, length: int) -> tuple[bytes]:
        """Return the bytes of a range, as they are now."""
        return (bytes(memoryview(self.data)[offset : offset + length]),)

    def write(self, offset: int, data: Buffer) -> None:
        """Write *data*."""
        self.data[offset : offset + len(data)] = data
        self.mapped.update(self._grains(offset, len(data)))

    def zero(self, offset: int, length: int, *, unmap: bool) -> None:
        """Make a range read as zeros."""
        self.data[offset : offset + length] = bytes(length)
        if not unmap:
            self.mapped.update(self._grains(offset, length))
            return
        grain = self.unmap_granularity_bytes
        for number in self._grains(offset, length):
            if offset <= number * grain and (number + 1) * grain <= offset + length:
                self.mapped.discard(number)

    def change(self, offset: int, length: int, update: Callable[[bytes], bytes | None]) -> None:
        """Replace the bytes of a range by what *update* makes of them."""
        changed = update(bytes(self.data[offset : offset + length]))
        if changed is not None:
            self.write(offset, changed)

    def flush(self) -> None:
        """Do nothing: nothing is kept back."""

    def allocated(self, offset: int, length: int) -> Iterator[Run]:
        """Yield what is allocated of a range."""
        grain = self.unmap_granularity_bytes
        stop = offset + length
        while offset < stop:
            number = offset // grain
            is_mapped = number in self.mapped
            while number * grain < stop and (number in self.mapped) == is_mapped:
                number += 1
            end = min(number * grain, stop)
            yield Run(offset, end - offset, is_mapped)
            offset = end

    def _grains(self, offset: int, length: int) -> range:
        grain = self.unmap_granularity_bytes
        return range(offset // grain, -(-(offset + length) // grain))


@dataclass(eq=False)
class MemoryLuns:
    """Who sees which unit, in memory; see ``LunMap``."""

    by_initiator: dict[str, dict[int, Unit]] = field(default_factory=dict)

    def units(self, initiator_iqn: str) -> Mapping[int, Unit]:
        """Return what an initiator sees."""
        return self.by_initiator.get(initiator_iqn, {})
