"""Leases against a model: one holder at a time, tokens that only grow, nothing but site time."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stuntdouble.errors import InvalidState, TaskInProgress
from stuntdouble.store import Lease, acquire, check, lease, open_store, release, renew
from stuntdouble.store.embedded import Memory

NAMES = st.sampled_from(["repository", "vm web 1"])
SECONDS = st.sampled_from([0.1, 1.0, 2.5, 1e9])


class Leases(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.memory = Memory()
        self.now = 0.0
        self.held = {}  # name -> (token, holder, until)
        self.tokens = {"repository": 0, "vm web 1": 0}

    def store(self):
        return self.memory.open()  # any process, at any time

    def running(self, name, token):
        return name in self.held and self.held[name][0] == token and self.now < self.held[name][2]

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 3.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(name=NAMES, holder=st.sampled_from(["one", "two words"]), seconds=SECONDS)
    def acquire(self, name, holder, seconds):
        if name in self.held and self.now < self.held[name][2]:
            with pytest.raises(TaskInProgress) as caught:
                acquire(self.store(), name, holder, self.now, seconds)
            assert caught.value.args == (name, self.held[name][1])
            return
        token = acquire(self.store(), name, holder, self.now, seconds)
        assert token > self.tokens[name]
        self.tokens[name] = token
        self.held[name] = (token, holder, self.now + seconds)

    @rule(name=NAMES, token=st.integers(0, 5), seconds=SECONDS)
    def renew(self, name, token, seconds):
        if self.running(name, token):
            renew(self.store(), name, token, self.now, seconds)
            _, holder, until = self.held[name]
            self.held[name] = (token, holder, max(until, self.now + seconds))
        else:
            with pytest.raises(InvalidState):
                renew(self.store(), name, token, self.now, seconds)

    @rule(name=NAMES, token=st.integers(0, 5))
    def release(self, name, token):
        mine = name in self.held and self.held[name][0] == token
        assert release(self.store(), name, token) == mine
        assert not release(self.store(), name, token)
        if mine:
            del self.held[name]

    @invariant()
    def only_the_holder_may_act(self):
        for name, last in self.tokens.items():
            for token in range(last + 2):
                if self.running(name, token):
                    check(self.store(), name, token, self.now)
                else:
                    with pytest.raises(InvalidState):
                        check(self.store(), name, token, self.now)
            if name in self.held:
                token, holder, until = self.held[name]
                assert lease(self.store(), name) == Lease(token, until, holder)


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=30, stateful_step_count=20)


def test_two_processes_that_reach_for_a_lease_at_once_do_not_both_get_it():
    memory = Memory()
    store, other = memory.open(), memory.open()
    pipeline = store.client.pipeline
    raced = []

    def late():
        made = pipeline()
        execute = made.execute

        def after_the_other():
            if not raced:
                raced.append(acquire(other, "vm", "other", 0.0, 10.0))
            return execute()

        made.execute = after_the_other
        return made

    store.client.pipeline = late
    with pytest.raises(TaskInProgress, match="vm is busy with other"):
        acquire(store, "vm", "me", 0.0, 10.0)
    assert raced == [1]
    assert lease(other, "vm").holder == "other"


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_a_lease_lasts_a_finite_while(seconds):
    store = open_store()
    with pytest.raises(ValueError, match="finite duration"):
        acquire(store, "vm", "me", 0.0, seconds)
    token = acquire(store, "vm", "me", 0.0, 1.0)
    with pytest.raises(ValueError, match="finite duration"):
        renew(store, "vm", token, 0.0, seconds)
    assert lease(store, "vm") == Lease(1, 1.0, "me")
    assert lease(store, "other") is None
