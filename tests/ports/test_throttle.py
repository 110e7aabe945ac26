"""The throttle that reads share: slots are never given out twice, and none stays unused."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from stuntdouble.ports import Share, Throttle


class Reads(RuleBasedStateMachine):
    """Reads join, leave and settle in any order, while the throttle itself changes."""

    shares = Bundle("shares")

    def __init__(self) -> None:
        super().__init__()
        self.throttle = Throttle(depth=5, bytes_per_second=60.0)
        self.told: dict[Share, tuple[int, float]] = {}
        self.open: list[Share] = []

    def hear(self, share: Share) -> None:
        self.told[share] = (share.depth, share.bytes_per_second)

    @rule(target=shares)
    def join(self) -> Share:
        share = self.throttle.join(self.hear)
        self.open.append(share)
        return share

    @rule(share=consumes(shares))
    def leave(self, share: Share) -> None:
        self.open.remove(share)
        share.leave()
        share.leave()

    @rule(share=shares)
    def settle(self, share: Share) -> None:
        share.settle()

    @rule(depth=st.integers(1, 9))
    def limit(self, depth: int) -> None:
        before = sum(share.held for share in self.open)
        self.throttle.limit(depth=depth)
        assert sum(share.held for share in self.open) <= max(before, depth)

    @rule()
    def all_settle(self) -> None:
        for share in self.open:
            share.settle()
        assert sum(s.depth for s in self.open) == (self.throttle.depth if self.open else 0)
        depths = [share.depth for share in self.open]
        assert depths == sorted(depths, reverse=True), "who came first has as much as the others"
        assert not depths or depths[0] - depths[-1] <= 1

    @invariant()
    def what_is_given_is_held(self) -> None:
        assert all(0 <= share.depth <= share.held for share in self.open)

    @invariant()
    def the_rate_is_divided_among_those_that_read(self) -> None:
        reading = [share for share in self.open if share.depth]
        assert sum(s.bytes_per_second for s in reading) == pytest.approx(60.0 if reading else 0.0)

    @invariant()
    def everybody_knows(self) -> None:
        for share in self.open:
            known = self.told.get(share, (0, 60.0))
            assert known == (share.depth, share.bytes_per_second)


TestReads = Reads.TestCase
TestReads.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_read_that_joins_waits_for_what_others_have_under_way() -> None:
    throttle = Throttle(depth=4)
    first = throttle.join(lambda share: None)
    assert (first.depth, first.held) == (4, 4)
    second = throttle.join(lambda share: None)
    assert (first.depth, first.held, second.depth) == (2, 4, 0)
    first.settle()
    assert (first.held, second.depth) == (2, 2)
    second.leave()
    assert first.depth == 4


def test_a_read_may_take_back_what_it_has_under_way() -> None:
    throttle = Throttle(depth=4)
    share = throttle.join(lambda share: None)
    throttle.limit(depth=1)
    assert (share.depth, share.held) == (1, 4)
    throttle.limit(depth=3, bytes_per_second=7.0)
    assert (share.depth, share.held, share.bytes_per_second) == (3, 4, 7.0)
    with pytest.raises(ValueError, match="depth >= 1"):
        throttle.limit(depth=0)
