"""The oracle against the result: is what a restore point gives back what the guest had written?

The truth is the ledger, written at admission and read by nobody else.  An oracle that read through
the emulator's own maps would agree with every mistake in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from stuntdouble.content import describe
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from stuntdouble.ports import Repository, RestorePoint
    from stuntdouble.site import Level, Moment, Site

_PIECE_BYTES: Final = 8 * MIB


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
        pieces = repository.read(point.id, disk.key, 0, disk.capacity_bytes)
        wrong = first_difference(site, moments[disk.key], pieces)
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


def first_difference(
    site: Site, moment: Moment, pieces: Iterable[memoryview]
) -> tuple[int, str] | None:
    """Return the offset of the first wrong byte of *pieces*, and what the guest had written there.

    *pieces* are the bytes of the whole disk, in order, cut anywhere.
    """
    size = site.block_bytes
    held = np.empty(0, np.uint8)
    block = 0
    for piece in pieces:
        held = (
            np.concatenate((held, np.frombuffer(piece, np.uint8))) if len(held) else _array(piece)
        )
        whole = len(held) // size
        wrong = _compare(site, moment, block, held[: whole * size])
        if wrong is not None:
            return wrong
        held = held[whole * size :]
        block += whole
    if block != moment.disk.blocks or len(held):
        return block * size + len(held), "the end of the disk elsewhere"
    return None


def _array(piece: memoryview) -> NDArray[np.uint8]:
    return np.frombuffer(piece, np.uint8)


def _compare(
    site: Site, moment: Moment, block: int, found: NDArray[np.uint8]
) -> tuple[int, str] | None:
    size = site.block_bytes
    step = _PIECE_BYTES // size
    for start in range(0, len(found) // size, step):
        part = found[start * size : (start + step) * size]
        tokens = site.truth(moment, block + start, len(part) // size)
        if not tokens.any() and not part.any():
            continue
        truth = site.render(tokens).reshape(-1)
        if np.array_equal(truth, part):
            continue
        at = int(np.flatnonzero(truth != part)[0])
        return (block + start) * size + at, describe(int(tokens[at // size]))
    return None
