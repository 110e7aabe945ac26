"""How hard a backup may read, all its reads together.

    depth 5, three reads     | 2 | 2 | 1 |        bytes_per_second / 3 each
    one of them ends         |  3  |  2  |        bytes_per_second / 2 each

Reads have their shares in the order in which they joined.  With more reads than ``depth``, the
last ones wait for the first to end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Share:
    """One read's share of a throttle, from ``join`` to ``leave``.

    ``depth`` and ``bytes_per_second`` are what the read may do from now on; a depth of 0 lets it
    start nothing.  ``held`` is how many of its I/Os may be under way all the same, because they
    were started before ``depth`` fell: they are nobody else's until ``settle``.
    """

    def __init__(self, throttle: Throttle, changed: Callable[[Share], object]) -> None:
        self.depth = 0
        self.held = 0
        self.bytes_per_second = throttle.bytes_per_second
        self._throttle = throttle
        self._changed = changed

    def settle(self) -> None:
        """Say that no more than ``depth`` I/Os are under way: the others' slots are free."""
        self.held = self.depth
        self._throttle.divide()

    def leave(self) -> None:
        """Give the share back, once nothing of the read is under way."""
        self._throttle.part_with(self)

    def tell(self) -> None:
        """Tell the read that its share is another now."""
        self._changed(self)


@dataclass(slots=True)
class Throttle:
    """How hard a backup may read: shared by all methods, or their comparison means nothing.

    All reads that are given the same throttle share it: together they have at most ``depth`` I/Os
    under way, and start at most ``bytes_per_second`` (0: no limit), but for the first I/O of each.
    Reads divide it evenly among those that are open (see ``join``).

    Raises:
        ValueError: a depth below 1, a block below 512 B or a rate below 0.
    """

    depth: int = 8
    block_bytes: int = 1024 * 1024
    bytes_per_second: float = 0.0
    _shares: list[Share] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check()

    def join(self, changed: Callable[[Share], object]) -> Share:
        """Return the share of a read that begins now.

        *changed* hears of every change of the share, within the call that brings it about: also of
        the first, within this one.
        """
        share = Share(self, changed)
        self._shares.append(share)
        self.divide()
        return share

    def part_with(self, share: Share) -> None:
        """Divide what *share* had among the others; idempotent."""
        if share in self._shares:
            self._shares.remove(share)
            self.divide()

    def limit(self, *, depth: int | None = None, bytes_per_second: float | None = None) -> None:
        """Change what all reads together may do; those under way hear of it at once."""
        if depth is not None:
            self.depth = depth
        if bytes_per_second is not None:
            self.bytes_per_second = bytes_per_second
        self._check()
        self.divide()

    def divide(self) -> None:
        """Give each read its share, as far as slots are free, and tell those that changed."""
        before = [(share.depth, share.bytes_per_second) for share in self._shares]
        free = max(self.depth - sum(share.held for share in self._shares), 0)
        for place, share in enumerate(self._shares):
            due = self.depth // len(self._shares) + (place < self.depth % len(self._shares))
            taken = min(max(due - share.held, 0), free)
            free -= taken
            share.held += taken
            share.depth = min(due, share.held)
        reading = sum(share.depth > 0 for share in self._shares)
        for share in self._shares:
            share.bytes_per_second = self.bytes_per_second / max(reading, 1)
        for share, was in zip(tuple(self._shares), before, strict=True):
            if was != (share.depth, share.bytes_per_second):
                share.tell()

    def _check(self) -> None:
        if self.depth < 1 or self.block_bytes < 512 or self.bytes_per_second < 0:
            raise ValueError(f"{self}: depth >= 1, block_bytes >= 512, bytes_per_second >= 0")
