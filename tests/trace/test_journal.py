"""The journal: append-only, in order, heard by its listeners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stuntdouble.errors import Bug
from stuntdouble.trace import Event, Journal

KINDS = st.sampled_from(["stun", "phase", "log"])


@given(st.lists(st.tuples(st.floats(0, 1e9), KINDS, st.text(max_size=3))))
def test_it_keeps_all_in_order_and_tells_each_listener_once(plan):
    journal, heard = Journal(), []
    journal.listeners.append(heard.append)
    plan.sort(key=lambda entry: entry[0])
    noted = [journal.note(*entry, seconds=0.5) for entry in plan]
    assert list(journal) == noted == heard
    assert [(e.time, e.kind, e.subject) for e in journal] == plan
    assert len(journal) == len(plan)
    for kind in ("stun", "phase", "log"):
        assert list(journal.of(kind)) == [event for event in noted if event.kind == kind]


def test_facts_are_by_name():
    event = Journal().note(1.5, "stun", "vm-1", seconds=0.2, phase="create")
    assert event == Event(1.5, "stun", "vm-1", {"seconds": 0.2, "phase": "create"})


def test_time_does_not_run_back():
    journal = Journal()
    journal.note(2.0, "phase", "job")
    journal.note(2.0, "phase", "job")
    for wrong in (1.0, float("nan")):
        with pytest.raises(Bug, match=r"after 2\.0 s"):
            journal.note(wrong, "stun", "vm-1")
    assert len(journal) == 2


def test_listeners_hear_in_the_order_they_were_added():
    journal, heard = Journal(), []
    journal.listeners += [lambda e: heard.append(1), lambda e: heard.append(2)]
    journal.note(0.0, "log", "x")
    assert heard == [1, 2]
