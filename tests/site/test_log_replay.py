"""The content log, replayed with dictionaries, tells what every volume holds and every guest wrote.

The textbook never looks at the log; this judge (``log_replay``) looks at nothing else.
"""

from __future__ import annotations

import numpy as np
import pytest

import site_pair
from log_replay import ReplayedSite
from site_history import run_history
from stuntdouble.site import Site
from stuntdouble.site.log import MOVE, WRITE, ZEROED


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
