"""Damage: storage that goes bad under a volume, seen through everything that shares it.

    volume       [a][b][C][d]      C was damaged where it lies: a volume or snapshot that still
    snapshot     [a][b][C][x]      shows that block as it was then shows the damage; whoever has
    after write  [a][b][e][d]      written the block since (the volume, at e) has it healed

The site's content stays as it was; the damage is laid over it when a device reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stuntdouble.errors import MediumError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stuntdouble.array.volume import Volume
    from stuntdouble.extents import Runs

DamageMode = Literal["error", "silent"]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Blocks of a family of volumes that went bad, and what lay there when they did."""

    family: int
    start: int
    stop: int
    content: Any  # the site's tokens, only ever compared
    mode: DamageMode


class Damage:
    """The damaged places of an array, to content blocks."""

    def __init__(self) -> None:
        self._stretches: list[_Stretch] = []

    def add(self, volume: Volume, runs: Runs, mode: DamageMode) -> None:
        """Let the storage that holds *runs* of *volume* go bad now."""
        block_bytes = volume.lun.site.block_bytes
        for start, stop in _blocks(runs, block_bytes, volume.size_bytes):
            content = volume.lun.tokens(start, stop - start)
            self._stretches.append(_Stretch(volume.family, start, stop, content, mode))

    def lay_over(self, volume: Volume, first: int, rows: Any) -> None:
        """Spoil what was read of *volume* from block *first* on, a row per block.

        Raises:
            MediumError: a block cannot be read.
        """
        stop = first + len(rows)
        for bad in self._stretches:
            start, end = max(bad.start, first), min(bad.stop, stop)
            if bad.family != volume.family or start >= end:
                continue
            now = volume.lun.tokens(start, end - start)
            hit = now == bad.content[start - bad.start : end - bad.start]
            if not hit.any():
                continue
            if bad.mode == "error":
                block = start + int(hit.argmax())
                raise MediumError(volume.naa, block * volume.lun.site.block_bytes)
            rows[start - first : end - first][hit] ^= 0xFF


def _blocks(runs: Runs, block_bytes: int, size_bytes: int) -> Iterable[tuple[int, int]]:
    """Return the (start, stop) of the content blocks that byte ranges touch."""
    for extent in runs.align(block_bytes, size_bytes):
        yield extent.start // block_bytes, -(-extent.stop // block_bytes)
