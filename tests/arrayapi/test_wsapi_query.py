"""Filters of WSAPI's lists by themselves; what lists make of them is tried with each list."""

from __future__ import annotations

import pytest

from stuntdouble.arrayapi.wsapi.codes import Refusal
from stuntdouble.arrayapi.wsapi.query import by_paths, matching

MEMBERS = [{"name": "a", "lun": 1}, {"name": "b", "lun": 1}, {"name": "a", "lun": 2}]
KEYS = ("name", "lun")


@pytest.mark.parametrize(
    ("expression", "places"),
    [
        ("name EQ a", [0, 2]),
        ("name EQ a AND lun EQ 1", [0]),
        ("name EQ b OR lun EQ 2", [1, 2]),
        ("name EQ b OR name EQ a AND lun EQ 2", [1, 2]),
        (" name  EQ\ta  AND\n lun EQ 1 ", [0]),
    ],
)
def test_and_binds_closer_than_or(expression, places):
    assert matching(MEMBERS, expression, KEYS) == [MEMBERS[place] for place in places]


@pytest.mark.parametrize(
    "text", ["AND", "name EQ a OR", "OR name EQ a", "name EQ a AND AND lun EQ 1"]
)
def test_nothing_between_two_words_is_refused(text):
    with pytest.raises(Refusal):
        matching(MEMBERS, text, KEYS)


def test_white_space_is_looked_at_once():
    """Not once for each other piece of it: a query of a few kilobytes would stop the site."""
    room = " " * 1_000_000
    with pytest.raises(Refusal):
        matching(MEMBERS, f"name EQ a{room}x", KEYS)
    assert matching(MEMBERS, f"name EQ b{room}OR{room}lun EQ 2", KEYS) == MEMBERS[1:]
    host = {"iSCSIPaths": [{"name": "iqn.b"}], "FCPaths": []}
    assert by_paths(f"iSCSIPaths[name==iqn.a{room}OR{room}name==iqn.b]")(host)
