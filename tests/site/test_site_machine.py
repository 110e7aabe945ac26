"""The site against the textbook, over histories of everything that may happen to it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from site_history import OPERATIONS, History, run_history


class SiteMachine(RuleBasedStateMachine):
    """Draws the choices; ``site_pair`` names the judges, ``site_history`` the operations."""

    history: History | None = None

    @initialize(data=st.data())
    def build(self, data):
        self.history = History(lambda n: data.draw(st.integers(0, n - 1)))

    def teardown(self):
        if self.history:
            self.history.check()


def add_rule(operation):
    def run(self, data):
        self.history.pick = lambda n: data.draw(st.integers(0, n - 1))
        operation(self.history)
        if data.draw(st.booleans()):  # a check settles the content log: not after each step
            self.history.check()

    run.__name__ = operation.__name__
    setattr(SiteMachine, operation.__name__, rule(data=st.data())(run))


for each in [*OPERATIONS, History.reclaim]:
    add_rule(each)

TestSite = SiteMachine.TestCase
TestSite.settings = settings(max_examples=40, stateful_step_count=40)


@pytest.mark.parametrize("seed", range(20))
def test_long_histories(seed):
    history = run_history(seed, 120)
    assert history.written > 0


@pytest.mark.plain
@pytest.mark.parametrize("seed", range(100, 106))
def test_histories_without_the_compiler(seed):
    assert run_history(seed, 60).written > 0


def test_histories_reach_what_they_are_meant_to_reach():
    """A judge that is never asked proves nothing."""
    seen = set()
    for seed in range(20):
        history = run_history(seed, 80)
        seen |= history.seen
        seen |= {step[1] for steps in history.plans for step in steps}
    assert seen >= set(range(9)) | {
        "datastore full",
        "reserve full",
        "image given up for room",
        "mirror",
        "helper",
        "inner",
        "finished",
        "abandoned",
        "spanned catalogue",
        "chain in a catalogue",
        "delta in an opened catalogue",
        "write to an opened disk",
        "older image got chunks",
        "an image's own copies came free",
        "split",
        "a replica was synchronised again",
        "replica dropped",
    }


@pytest.mark.plain
@pytest.mark.parametrize("seed", range(200, 204))
def test_counts_give_the_same_plans_bitmaps_and_space(seed):
    kept, counted = (run_history(seed, 50, content) for content in ("bytes", "counts"))
    assert kept.plans == counted.plans
    assert kept.written == counted.written
    assert kept.pool.free == counted.pool.free
    assert [m.book.tracked for m in kept.machines] == [m.book.tracked for m in counted.machines]
    assert not counted.site.arena.tables.counters[3, 0]
