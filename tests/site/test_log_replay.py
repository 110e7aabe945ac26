"""The content log, replayed with dictionaries, tells what every volume holds and every guest wrote.

The textbook never looks at the log.  This judge looks at nothing else: what a row of the log says,
by the docstring of ``stuntdouble.site.log``, and in which instant a volume was forked.
"""

from __future__ import annotations

import numpy as np
import pytest

import site_pair
from site_history import run_history
from stuntdouble.content import BORN_BLOCK_BITS, ZERO
from stuntdouble.site import Site
from stuntdouble.site.log import MOVE, WRITE, ZEROED
from stuntdouble.site.tables import D_LEDGER

WORD = (1 << 64) - 1
FIELDS = ("op", "disk", "guest", "volume", "block", "count", "token", "origin")


class ReplayedSite(Site):
    """A site that keeps its log, and a replay of it that is forked when volumes are."""

    def __init__(self, **arguments):
        super().__init__(**arguments, keep_log=True)
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
            found = lun.tokens(0, lun.blocks).tolist()
            assert found == [self.token(number, b) for b in range(lun.blocks)]
        for disk, ledger in self.ledgers.items():
            number = self.site.arena.column("disks", disk.number, D_LEDGER)
            found = self.site.arena.words(number, 0, disk.blocks).tolist()
            assert found == [ledger.get(b, 0) for b in range(disk.blocks)]


@pytest.fixture(autouse=True)
def keep_the_log(monkeypatch):
    monkeypatch.setattr(site_pair, "Site", ReplayedSite)


@pytest.mark.plain
@pytest.mark.parametrize("seed", range(300, 312))
def test_a_replay_of_the_log_gives_the_content_and_the_ledgers(seed):
    replay = run_history(seed, 60).site.replay
    replay.compare()
    assert replay.rows > 0


def test_the_histories_log_every_kind_of_event_across_forks():
    ops, forks = set(), 0
    for seed in range(300, 312):
        replay = run_history(seed, 60).site.replay
        replay.compare()
        ops |= replay.ops
        forks += len(replay.site.luns) > 2
    assert ops == {WRITE, MOVE, ZEROED}
    assert forks > 3


def nudged(op, field, by):
    """Return what changes a field of every event of one kind."""

    def bend(pairs):
        event = dict(pairs)
        if event["op"] == op:
            event[field] += by
        return event

    return bend


@pytest.mark.parametrize(
    ("op", "field", "by"),
    [
        (WRITE, "token", 1),
        (WRITE, "block", 1),
        (WRITE, "count", -1),
        (WRITE, "guest", 1),
        (MOVE, "origin", 1),
        (MOVE, "block", -1),
        (MOVE, "count", -1),
        (ZEROED, "count", -1),
    ],
)
def test_a_log_that_says_anything_else_is_noticed(op, field, by, monkeypatch):
    monkeypatch.setattr(site_pair.Pair, "check", lambda _: None)
    for seed in range(300, 312):
        replay = run_history_bent(seed, nudged(op, field, by), monkeypatch)
        try:
            replay.compare()
        except (AssertionError, KeyError):
            return
    pytest.fail("nobody noticed")


def run_history_bent(seed, bend, monkeypatch):
    made = []

    def site(**arguments):
        made.append(ReplayedSite(**arguments))
        made[0].replay.bend = bend
        return made[0]

    monkeypatch.setattr(site_pair, "Site", site)
    run_history(seed, 60)
    return made[0].replay


def test_a_site_that_keeps_no_log_has_no_history():
    site = Site(block_bytes=512)
    lun = site.create_lun(64, 4, site.create_pool(0, 64), 0)
    site.volume_write(lun, 0, 512)
    site.settle()
    assert site.history == []
    assert np.all(lun.tokens(0, 1) != 0)
