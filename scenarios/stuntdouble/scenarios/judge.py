"""The oracle against the result: is what a restore point gives back what the guest had written?

The truth is the ledger, written at admission and read by nobody else.  An oracle that read through
the emulator's own maps would agree with every mistake in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.content import ZERO, describe, first_wrong
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from stuntdouble.backup.repository import Repository
    from stuntdouble.extents import Runs
    from stuntdouble.ports import DiskPoint, RestorePoint
    from stuntdouble.site import Level, Moment, Site

    Wrong = tuple[int, str]
    """The offset of a wrong byte, and what should have been there."""

_PIECE_BYTES: Final = 8 * MIB
_HELD_BLOCKS: Final = 64 * KIB  # whose words, 512 KiB of them, are looked at together
_END: Final = "the end of the disk elsewhere"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first wrong byte of a disk, and what should have been there."""

    disk: int
    offset: int
    expected: str

    def __str__(self) -> str:
        return f"disk {self.disk} differs at byte {self.offset}: expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Truth:
    """What a disk held at a moment, to compare ranges with."""

    site: Site
    moment: Moment

    def wrong_bytes(self, offset: int, data: memoryview) -> int:
        """Return how many bytes of *data*, read from *offset* of the disk, are not what they were."""
        size = self.site.block_bytes
        first, stop = offset // size, -(-(offset + len(data)) // size)
        truth = self.site.render(self.site.truth(self.moment, first, stop - first)).reshape(-1)
        begin = offset - first * size
        return int((truth[begin : begin + len(data)] != np.frombuffer(data, np.uint8)).sum())


def check_point(
    site: Site, repository: Repository, point: RestorePoint, moments: dict[int, Moment]
) -> list[Difference]:
    """Return where a restore point's disks differ from what the guest had written; empty if not.

    *moments* has the truth of the point's instant for each disk key.
    """
    found = []
    for disk in point.disks:
        wrong = _difference(site, repository, point.id, disk, moments[disk.key])
        if wrong is not None:
            found.append(Difference(disk.key, *wrong))
    return found


def check_level(site: Site, level: Level, key: int, moment: Moment) -> list[Difference]:
    """Return where a disk of the site, as seen from *level*, differs from *moment*."""
    count = moment.disk.blocks
    step = _PIECE_BYTES // site.block_bytes

    def pieces() -> Iterable[memoryview]:
        for start in range(0, count, step):
            tokens = site.chain_tokens(level, start, min(step, count - start))
            yield site.render(tokens).reshape(-1).data

    wrong = first_difference(site, moment, pieces())
    return [] if wrong is None else [Difference(key, *wrong)]


def first_difference(site: Site, moment: Moment, pieces: Iterable[memoryview]) -> Wrong | None:
    """Return the offset of the first wrong byte of *pieces*, and what the guest had written there.

    *pieces* are the bytes of the whole disk, in order, cut anywhere.
    """
    wrong, stop = _compare_pieces(site, moment, 0, pieces)
    if wrong is None and stop != moment.disk.size_bytes:
        return stop, _END
    return wrong


def _difference(
    site: Site, repository: Repository, point: str, disk: DiskPoint, moment: Moment
) -> Wrong | None:
    """Return the first difference of a restore point's disk.

    Where the repository keeps nothing, the disk reads as zeros by the definition of its format:
    there it is enough that the truth is zeros, and most of a thin disk is never looked at twice.
    """
    size = disk.capacity_bytes
    if size != moment.disk.size_bytes:
        return min(size, moment.disk.size_bytes), _END
    stored = repository.stored(point, disk.key).align(site.block_bytes, size)
    missed = _compare_holes(site, moment, stored)
    for start, length in stored:
        if missed is not None and start > missed[0]:
            break
        pieces = repository.read(point, disk.key, start, length)
        wrong, stop = _compare_pieces(site, moment, start, pieces)
        assert wrong is not None or stop == start + length, "the repository gave fewer bytes"
        if wrong is not None:
            return wrong
    return missed


def _compare_holes(site: Site, moment: Moment, stored: Runs) -> Wrong | None:
    """Return the first byte outside of *stored* where the truth is not zero."""
    size = site.block_bytes
    for start in range(0, moment.disk.blocks, _HELD_BLOCKS):
        tokens = site.truth(moment, start, min(_HELD_BLOCKS, moment.disk.blocks - start))
        holding = tokens & ~np.uint64(ZERO) != 0
        if not holding.any():
            continue
        here = stored.clip(start * size, (start + len(tokens)) * size)
        for begin, stop in here.array.tolist():
            holding[begin // size - start : stop // size - start] = False
        for block in np.flatnonzero(holding).tolist():
            written = np.flatnonzero(site.render(tokens[block : block + 1]))
            if len(written):  # a literal may be zeros, too
                offset = (start + block) * size + int(written[0])
                return offset, describe(int(tokens[block]))
    return None


def _compare_pieces(
    site: Site, moment: Moment, start: int, pieces: Iterable[memoryview]
) -> tuple[Wrong | None, int]:
    """Return the first difference of *pieces*, which begin at byte *start*, and where they end."""
    size = site.block_bytes
    held = np.empty(0, np.uint8)
    block = start // size
    for piece in pieces:
        array = np.frombuffer(piece, np.uint8)
        held = np.concatenate((held, array)) if len(held) else array
        whole = len(held) // size
        wrong = _compare(site, moment, block, held[: whole * size])
        if wrong is not None:
            return wrong, start
        held = held[whole * size :]
        block += whole
    return None, block * size + len(held)


def _compare(site: Site, moment: Moment, block: int, found: NDArray[np.uint8]) -> Wrong | None:
    size = site.block_bytes
    step = _PIECE_BYTES // size
    for start in range(block, block + len(found) // size, step):
        part = found[(start - block) * size :][: step * size]
        # Beyond its end a disk holds nothing: what is found there shows in the length.
        tokens = site.truth(moment, start, min(len(part) // size, moment.disk.blocks - start))
        part = part[: len(tokens) * size]
        wrong = first_wrong(tokens, part, size, site.literals.rows)
        if wrong is not None:
            truth = site.render(tokens[wrong : wrong + 1]).reshape(-1)
            at = int(np.flatnonzero(truth != part[wrong * size :][:size])[0])
            return (start + wrong) * size + at, describe(int(tokens[wrong]))
    return None
