"""Bytes in bulk: a device yields large spans, never one await per block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stuntdouble.extents import Runs
    from stuntdouble.ports.throttle import Throttle


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
        """Yield the bytes of *runs* in rising order, in spans of a few MiB.

        The read joins *throttle* when the first span is asked for, and leaves it when it ends.
        """
        ...

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data* at *offset*.  AccessDenied on a read-only device."""
        ...

    async def close(self) -> None:
        """Let go of the device; idempotent."""
        ...
