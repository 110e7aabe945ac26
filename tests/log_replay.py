"""A site that keeps its content log, and a replay of that log with dictionaries.

The replay looks at nothing but the log: what a row of it says, by the docstring of
``stuntdouble.site.log``, and in which instant a volume was forked.
"""

from __future__ import annotations

import numpy as np

from stuntdouble.content import BORN_BLOCK_BITS, ZERO
from stuntdouble.site import Site
from stuntdouble.site.log import MOVE, WRITE, ZEROED
from stuntdouble.site.tables import D_LEDGER

WORD = (1 << 64) - 1
FIELDS = ("op", "disk", "guest", "volume", "block", "count", "token", "origin")


class ReplayedSite(Site):
    """A site that keeps its log, and a replay of it that is forked when volumes are."""

    def __init__(self, **facts):
        super().__init__(**{**facts, "keep_log": True})
        self.replay = Replay(self)

    def create_lun(self, *arguments):
        made = super().create_lun(*arguments)
        self.replay.volumes[made.number] = made.number, {}
        return made

    def fork_luns(self, luns, image):
        twins = super().fork_luns(luns, image)  # settles the log first
        self.replay.catch_up()
        for lun, twin in zip(luns, twins, strict=True):
            born, content = self.replay.volumes[lun.number]
            self.replay.volumes[twin.number] = born, dict(content)
        return twins

    def create_disk(self, *arguments):
        made = super().create_disk(*arguments)
        self.replay.ledgers[made] = {}
        return made


class Replay:
    def __init__(self, site):
        self.site = site
        self.volumes, self.ledgers = {}, {}  # volume -> (born, block -> token); disk -> the same
        self.rows, self.ops, self.bend = 0, set(), dict

    def catch_up(self):
        for row in self.site.history[self.rows :]:
            event = self.bend(zip(FIELDS, map(int, row), strict=True))
            self.ops.add(event["op"])
            self.apply(**event)
        self.rows = len(self.site.history)

    def token(self, volume, block):
        born, content = self.volumes[volume]
        return content.get(block, born << BORN_BLOCK_BITS | block)

    def apply(self, op, disk, guest, volume, block, count, token, origin):
        _, content = self.volumes[volume]
        by_number = {disk.number: ledger for disk, ledger in self.ledgers.items()}
        for i in range(count):
            if op == WRITE:
                content[block + i] = (token + i) & WORD
                if disk:
                    by_number[disk][guest + i] = (token + i) & WORD
            elif op == MOVE:
                content[block + i] = self.token(token, origin + i)
            else:
                assert op == ZEROED
                content[block + i] = ZERO

    def compare(self):
        self.site.settle()
        self.catch_up()
        for number, lun in self.site.luns.items():
            born, content = self.volumes[number]
            expected = overlaid(content, lun.blocks, born << BORN_BLOCK_BITS, 1)
            assert np.array_equal(lun.tokens(0, lun.blocks), expected), "replay: content"
        for disk, ledger in self.ledgers.items():
            number = self.site.arena.column("disks", disk.number, D_LEDGER)
            found = self.site.arena.words(number, 0, disk.blocks)
            assert np.array_equal(found, overlaid(ledger, disk.blocks)), "replay: ledger"


def overlaid(content, blocks, first=0, step=0):
    """Return the tokens of *blocks* blocks: *content*, and a run from *first* elsewhere."""
    found = np.arange(blocks, dtype=np.uint64) * np.uint64(step) + np.uint64(first)
    for block, token in content.items():
        found[block] = token  # IndexError: a block that there is not
    return found
