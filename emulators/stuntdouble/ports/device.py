"""Bytes in bulk: a device yields large spans, never one await per block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stuntdouble.extents import Runs


@dataclass(slots=True)
class Throttle:
    """How hard a backup may read: shared by all methods, or their comparison means nothing.

    ``bytes_per_second`` 0 means no limit.  A latency control may change the fields while reads
    are under way; devices look at them before each block.
    """

    depth: int = 8
    block_bytes: int = 1024 * 1024
    bytes_per_second: float = 0.0

    def __post_init__(self) -> None:
        if self.depth < 1 or self.block_bytes < 512 or self.bytes_per_second < 0:
            raise ValueError(f"{self}: depth >= 1, block_bytes >= 512, bytes_per_second >= 0")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes read from *offset* on; ``data`` is valid until the next span is asked for."""

    offset: int
    data: memoryview


class BlockDevice(Protocol):
    """A LUN, a frozen disk or a restore target."""

    @property
    def identity(self) -> str:
        """The NAA identifier or the disk's name."""
        ...

    @property
    def size_bytes(self) -> int:
        """Capacity in bytes."""
        ...

    def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs* in rising order, in spans of a few MiB."""
        ...

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data* at *offset*.  AccessDenied on a read-only device."""
        ...

    async def close(self) -> None:
        """Let go of the device; idempotent."""
        ...
