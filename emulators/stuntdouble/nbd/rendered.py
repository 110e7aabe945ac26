"""Exports whose bytes are rendered from what a site holds: what they have in common.

Bytes come from the site in parts, each rendered when the client is ready for it.  Status comes from
the site's maps, a window at a time, so that a disk of many TiB costs no more than a small one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from stuntdouble.codecs.nbd import BASE_ALLOCATION, State
from stuntdouble.errors import AccessDenied, Unsupported
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from stuntdouble.clock import Environment

    Render: TypeAlias = Callable[[int, int], Iterable[NDArray[np.uint8]]]

PART_BYTES: Final = 2 * MIB
"""The longest part: what ``qemu-img`` reads at a time, and rendered in about a millisecond."""

EXTENT_BYTES_MAX: Final = 1 << 31
"""The longest extent of a status, which the wire counts in 32 bits; a multiple of every block."""


class Rendered:
    """A read-only export, rendered block by block.

    Args:
        name: by which clients ask for it.
        description: for human beings.
        size_bytes: capacity, in whole blocks.
        block_bytes: the content block.
        env: the site's environment, which is entered whenever the site is asked.
        render: the rows of (first block, count), in parts.
    """

    def __init__(
        self,
        name: str,
        description: str,
        size_bytes: int,
        block_bytes: int,
        env: Environment,
        render: Render,
    ) -> None:
        self.name = name
        self.description = description
        self.size_bytes = size_bytes
        self.block_bytes = block_bytes
        self.env = env
        self._render = render

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written: yes."""
        return True

    async def pace(self, offset: int, length: int) -> None:
        """Take the time that a read takes: none, unless an export says otherwise."""

    async def read(self, offset: int, length: int) -> Iterator[memoryview]:
        """Return the bytes, in parts; see ``Export``."""
        await self.pace(offset, length)
        return self._parts(offset, offset + length)

    def _parts(self, offset: int, stop: int) -> Iterator[memoryview]:
        while offset < stop:
            end = min(stop, (offset // PART_BYTES + 1) * PART_BYTES)
            yield from self.shown(offset, end)
            offset = end

    def shown(self, offset: int, stop: int) -> list[memoryview]:
        """Return the bytes of a range as it is in this instant."""
        size = self.block_bytes
        first, last = offset // size, -(-stop // size)
        with self.env.entered():
            rendered = self._render(first, last - first)
        parts, at = [], first * size
        for rows in rendered:
            data = rows.reshape(-1).data
            begin, end = max(offset - at, 0), min(stop - at, len(data))
            if begin < end:
                parts.append(data[begin:end])
            at += len(data)
        return parts

    async def write(self, offset: int, data: memoryview) -> None:
        """Refuse: the export is read-only."""
        raise AccessDenied(
            "an NBD client", f"{len(data)} bytes at {offset} of {self.name} to write"
        )

    async def zero(self, offset: int, length: int, *, allocate: bool) -> None:
        """Refuse: the export is read-only."""
        del allocate
        raise AccessDenied("an NBD client", f"{length} bytes at {offset} of {self.name} to zero")

    async def flush(self) -> None:
        """Do nothing: nothing is kept back."""

    def contexts(self) -> Iterable[str]:
        """Return the contexts that are known."""
        return (BASE_ALLOCATION,)

    async def has_context(self, name: str) -> bool:
        """Say whether a context can be selected."""
        return name == BASE_ALLOCATION

    async def status(self, context: str, offset: int, length: int) -> Sequence[tuple[int, int]]:
        """Return what is allocated: all of it."""
        del offset
        if context != BASE_ALLOCATION:
            raise Unsupported(f"block status in {context!r}", f"{self.name} has {BASE_ALLOCATION}")
        return [(min(length, EXTENT_BYTES_MAX), 0)]


class LunExport(Rendered):
    """A LUN, for instance of a promoted snapshot: read-only, and allocated throughout.

    Args:
        take: takes the time that a read of (offset, length) takes; none where it is left out.
    """

    def __init__(
        self, name: str, description: str, size_bytes: int, block_bytes: int, env: Environment,
        render: Render, take: Callable[[int, int], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, description, size_bytes, block_bytes, env, render)
        self._take = take

    async def pace(self, offset: int, length: int) -> None:
        """Take the time that was said."""
        if self._take is not None:
            await self._take(offset, length)


def extents(flags: NDArray[Any], block_bytes: int, offset: int, stop: int) -> list[tuple[int, int]]:
    """Return (length, flags) from *offset* to *stop*, from the flags of the blocks in between.

    The first flag is of the block that holds *offset*, the last of the one that holds the last byte.
    """
    first = offset // block_bytes
    edges = np.flatnonzero(np.diff(flags)) + 1
    starts = np.concatenate(([0], edges))
    bounds = np.concatenate((starts + first, [first + len(flags)])) * block_bytes
    lengths = np.diff(np.clip(bounds, offset, stop))
    return list(zip(lengths.tolist(), flags[starts].tolist(), strict=True))


def allocation(volumes: NDArray[np.int64], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return flags of ``base:allocation`` from where blocks are read from (``layout.locations``).

    Volume 0 stands for zeros: a hole where there is no block either, and else room that a file was
    given and that nothing has been written to.  No file lies at block 0, where a volume's metadata
    is.
    """
    zero = volumes == 0
    hole = zero & (blocks == 0)
    return np.where(hole, int(State.HOLE | State.ZERO), np.where(zero, int(State.ZERO), 0))
