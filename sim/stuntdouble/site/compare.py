"""What a LUN holds, as ranges: what is not zeros, and where two of them differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.content import ZERO
from stuntdouble.extents import Runs
from stuntdouble.site.plan import COPY_INTO_EACH
from stuntdouble.site.tables import I_COPIED, I_KIND, V_CHUNK_SHIFT, V_NEWEST, V_ORIGIN, V_OWN
from stuntdouble.units import KIB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stuntdouble.site.lun import Lun

_STEP: Final = 1 << 16  # blocks looked at together: their words stay in the cache
_WORD_BITS: Final = 64
_PIECE_BYTES: Final = 256 * KIB  # a read parts zeros from the rest in steps of these


def held(lun: Lun, runs: Runs) -> Runs:
    """Return where *lun* holds anything but zeros, in whole content blocks that touch *runs*."""
    size = lun.site.block_bytes
    found = []
    for start, count in _pieces(lun, runs):
        bits = lun.tokens(start, count) & ~np.uint64(ZERO) != 0
        found.append(_as_runs(bits, size).shift(start * size))
    return _joined(found)


def differing(lun: Lun, other: Lun) -> Runs:
    """Return the chunks, as byte ranges, in which two LUNs of one size do not hold the same."""
    chunk = 1 << lun.site.arena.column("volumes", lun.number, V_CHUNK_SHIFT)
    found = []
    for start, count in _pieces(lun, Runs.single(0, lun.size_bytes)):
        unlike = lun.tokens(start, count) != other.tokens(start, count)
        size = lun.site.block_bytes
        found.append(_as_runs(unlike, size).shift(start * size).align(chunk * size))
    return _joined(found)


def owed_bytes(lun: Lun, runs: Runs) -> int:
    """Return what writing to chunks would take of the reserve, images' copies included."""
    site, arena = lun.site, lun.site.arena
    newest = arena.column("volumes", lun.number, V_NEWEST)
    if newest and arena.column("images", newest, I_KIND) == COPY_INTO_EACH:
        maps = [arena.column("images", i.number, I_COPIED) for i in site.images[lun.number]]
    elif newest:
        maps = [arena.column("images", newest, I_COPIED)]
    elif arena.column("volumes", lun.number, V_ORIGIN):
        maps = [arena.column("volumes", lun.number, V_OWN)]
    else:
        maps = []
    size = lun.chunk_bytes
    count = -(-lun.size_bytes // size // _WORD_BITS)
    lacking = [
        Runs.from_bits(~arena.words(number, 0, count), size, lun.size_bytes) for number in maps
    ]
    return sum((each & runs.align(size)).total for each in lacking)


def parted(tokens: NDArray[np.uint64], start: int, block_bytes: int) -> list[NDArray[np.uint64]]:
    """Cut what blocks from *start* on hold between pieces that are zeros and that are not."""
    holds = tokens & ~np.uint64(ZERO) != 0
    if holds.all() or not holds.any():
        return [tokens]
    size = max(1, _PIECE_BYTES // block_bytes)
    edges = np.maximum(np.arange(-(start % size), len(tokens), size), 0)
    full = np.logical_or.reduceat(holds, edges)
    return np.split(tokens, edges[1:][full[1:] != full[:-1]])


def _pieces(lun: Lun, runs: Runs) -> list[tuple[int, int]]:
    """Return (first block, blocks) of what touches *runs*, in pieces."""
    size = lun.site.block_bytes
    return [
        (start, min(_STEP, run.stop // size - start))
        for run in runs.align(size, lun.size_bytes)
        for start in range(run.start // size, run.stop // size, _STEP)
    ]


def _joined(found: list[Runs]) -> Runs:
    bounds = np.concatenate([np.empty((0, 2), np.int64), *(some.array for some in found)])
    return Runs.from_arrays(bounds[:, 0], bounds[:, 1] - bounds[:, 0])


def _as_runs(bits: NDArray[np.bool_], size: int) -> Runs:
    padded = np.zeros(-(-len(bits) // _WORD_BITS) * _WORD_BITS, np.uint8)
    padded[: len(bits)] = bits
    words = np.packbits(padded, bitorder="little").view(np.uint64)
    return Runs.from_bits(words, size, len(bits) * size)
