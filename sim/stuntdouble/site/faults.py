"""Faults: blocks of a volume that cannot be read, or give wrong bytes.

    volume       [a][b][C][d]      C went bad where it lies: a volume or image that still keeps that
    image        [a][b][C][x]      chunk in the same place shows it; whoever has the block written,
    after write  [a][b][e][d]      or a copy made before, does not (the volume, at e)

What was split off shares what was bad by then, as a copy can be no better than its original, and
nothing of what goes bad later.

A LUN's faults are a map of its own, block by block, which forks with it.  It is brought up to date
with the content log: a write or a zeroing makes a block whole, and a move takes along what it could
read, be it wrong.  Content itself stays as it was, so the oracle's truth does; faults are laid over
it at the one door through which devices read, ``Site.show``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from stuntdouble.compiled import njit
from stuntdouble.errors import MediumError, Unsupported
from stuntdouble.site.bits import test
from stuntdouble.site.layout import locations
from stuntdouble.site.log import MOVE
from stuntdouble.site.lun import Lun
from stuntdouble.site.plan import SPLIT_REPLICA
from stuntdouble.site.tables import (
    C_LOG,
    G_BLOCK,
    G_COUNT,
    G_FROM,
    G_OP,
    G_TOKEN,
    G_VOLUME,
    I_COPIED,
    I_KIND,
    I_NEWER,
    I_VOLUME,
    V_CHUNK_SHIFT,
    V_FAULTS,
    V_ORIGIN,
    V_OWN,
    view,
)
from stuntdouble.site.words import get, put

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stuntdouble.extents import Runs
    from stuntdouble.site.disk import Level
    from stuntdouble.site.lun import DamageMode
    from stuntdouble.site.site import Site

_MODES: Final[dict[str, int]] = {"error": 1, "silent": 2}
_UNREADABLE: Final = np.uint64(_MODES["error"])
_WRONG: Final = np.uint64(_MODES["silent"])
_FINE: Final = np.uint64(0)
_MOVE: Final = MOVE
_SPLIT_REPLICA: Final = SPLIT_REPLICA


@njit(forceinline=True)
def _keeper(s: Any, volume: Any, block: Any) -> Any:
    """Return who keeps the chunk of *block*: equal for all that share one place, else not.

    Pool addresses would not do, since chunks set aside may share one (see ``places.aside``).
    """
    chunk = block >> s.volumes[volume, V_CHUNK_SHIFT]
    image = s.volumes[volume, V_ORIGIN]
    while image != 0:
        if test(s, s.volumes[volume, V_OWN], chunk):
            return 4 * volume + 1
        if s.images[image, I_KIND] == _SPLIT_REPLICA:
            return 4 * image + 2
        base = s.images[image, I_VOLUME]
        while image != 0:
            if test(s, s.images[image, I_COPIED], chunk):
                return 4 * image + 2
            image = s.images[image, I_NEWER]
        volume = base
        image = s.volumes[volume, V_ORIGIN]
    return 4 * volume


@njit("void(int64, int64, int64, int64, int64, uint64)", cache=True)
def _spread(t: Any, volume: Any, other: Any, start: Any, count: Any, fault: Any) -> None:
    """Set the fault of blocks of *other* that lie where those of *volume* do."""
    s = view(t)
    for block in range(start, start + count):
        if _keeper(s, volume, block) == _keeper(s, other, block):
            put(s, s.volumes[other, V_FAULTS], block, fault)


@njit("void(int64)", cache=True)
def _follow(t: Any) -> None:
    """Follow the log, in order, without emptying it."""
    s = view(t)
    for row in range(s.counters[C_LOG, 0]):
        faults = s.volumes[s.log[row, G_VOLUME], V_FAULTS]
        source = 0
        if s.log[row, G_OP] == _MOVE:
            source = s.volumes[s.log[row, G_TOKEN], V_FAULTS]
        block = s.log[row, G_BLOCK]
        for i in range(s.log[row, G_COUNT] if faults != 0 else 0):
            fault = _FINE
            if source != 0:
                fault = get(s, source, s.log[row, G_FROM] + i)
            if get(s, faults, block + i) != fault:
                put(s, faults, block + i, fault)


class Faults:
    """The faults of a site; costs nothing until there is one."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._any = False

    def __bool__(self) -> bool:
        """Whether anything has ever been damaged."""
        return self._any

    def damage(self, lun: Lun, runs: Runs, mode: DamageMode) -> None:
        """Let blocks go bad where they lie; see ``Lun.damage``."""
        site = self._site
        if site.content == "counts":
            raise Unsupported("damage where only counts are kept", "a site that keeps bytes has it")
        site.settle()
        site.arena.check()
        if not self._any:
            self._any = True
            for each in site.luns.values():
                self.watch(each)
        size, base = site.block_bytes, self._base(lun)
        family = [each for each in site.luns.values() if self._base(each) == base]
        for extent in runs.align(size, lun.size_bytes):
            start, count = extent.start // size, -(-extent.length // size)
            for each in family:
                numbers = lun.number, each.number
                _spread(site.arena.addresses, *numbers, start, count, _MODES[mode])

    def watch(self, lun: Lun) -> None:
        """Give a LUN a map of faults, without any: a fresh one needs it once there is damage."""
        if self._any:
            arena = self._site.arena
            arena.tables.volumes[lun.number, V_FAULTS] = arena.new_map(lun.blocks)

    def follow(self) -> None:
        """Take notice of what is in the content log, just before it is applied."""
        if self._any:
            _follow(self._site.arena.addresses)

    def of(self, source: Lun | Level, start: int, count: int) -> NDArray[np.uint64]:
        """Return the fault of each block of a LUN, or of guest blocks as seen from a level."""
        site = self._site
        site.settle()
        if isinstance(source, Lun):
            return self._words(source.number, start, count)
        volumes, blocks = locations(source, start, count)
        found = np.zeros(count, np.uint64)
        for volume in np.unique(volumes[volumes > 0]).tolist():
            here = volumes == volume
            first = int(blocks[here].min())
            words = self._words(volume, first, int(blocks[here].max()) - first + 1)
            found[here] = words[blocks[here] - first]
        return found

    def check(self, source: Lun | Level, start: int, count: int, device: str) -> None:
        """Raise MediumError, naming *device*, where one of the blocks cannot be read."""
        if self._any:
            self._check(self.of(source, start, count), start, device)

    def lay_over(
        self, source: Lun | Level, start: int, rows: NDArray[np.uint8], device: str
    ) -> NDArray[np.uint8]:
        """Return *rows*, read from block *start* on, a row per block, spoilt; or raise MediumError."""
        if not self._any:
            return rows
        found = self.of(source, start, len(rows))
        self._check(found, start, device)
        spoilt = found == _WRONG
        return np.where(spoilt[:, None], rows ^ 0xFF, rows) if spoilt.any() else rows

    def _check(self, found: NDArray[np.uint64], start: int, device: str) -> None:
        bad = found == _UNREADABLE
        if bad.any():
            raise MediumError(device, (start + int(bad.argmax())) * self._site.block_bytes)

    def _words(self, volume: int, start: int, count: int) -> NDArray[np.uint64]:
        arena = self._site.arena
        faults = arena.column("volumes", volume, V_FAULTS)
        return arena.words(faults, start, count) if faults else np.zeros(count, np.uint64)

    def _base(self, lun: Lun) -> int:
        """Return the number of the volume that a LUN is, or descends from by way of images."""
        arena, number = self._site.arena, lun.number
        while image := arena.column("volumes", number, V_ORIGIN):
            number = arena.column("images", image, I_VOLUME)
        return number
