"""The filter language against a second reading of it, and against nonsense."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stuntdouble.arrayapi.pure.filters import LENGTH_MAX, parse_filter
from stuntdouble.arrayapi.pure.refusals import Refusal

FIELDS = {"name", "size", "destroyed", "iqns", "source", "source.name", "left"}
ITEMS = [
    {"name": "Alpha", "size": 1, "destroyed": False, "iqns": ["iqn.a", "iqn.b"], "source": {"name": None}, "left": None},
    {"name": "beta-1", "size": 20, "destroyed": True, "iqns": [], "source": {"name": "Alpha"}, "left": 5},
    {"name": "it's \"so\"", "size": 3.5, "destroyed": False, "iqns": ["iqn.c"], "source": {"name": "b*a"}, "left": 7},
]  # fmt: skip


def chosen(text: str) -> list[int]:
    wanted = parse_filter(text, FIELDS)
    return [place for place, item in enumerate(ITEMS) if wanted(item)]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("name='alpha'", [0]),
        ('name = "ALPHA"', [0]),
        ("name!='alpha'", [1, 2]),
        ("name='*a*'", [0, 1]),
        ("name='beta-*'", [1]),
        ("name='bet'", []),
        (r"name='it\'s \"so\"'", [2]),
        ('name="it\'s *"', [2]),
        ("size=20", [1]),
        ("size>1", [1, 2]),
        ("size>=3.5", [1, 2]),
        ("size<3", [0]),
        ("size<=1", [0]),
        ("size='20'", [1]),
        ("name>'alpha'", [1, 2]),
        ("name<'b'", [0]),
        ("destroyed=true", [1]),
        ("destroyed='true'", [1]),
        ("destroyed!=true", [0, 2]),
        ("not(destroyed=true)", [0, 2]),
        ("not destroyed=true", [0, 2]),
        ("iqns='iqn.b'", [0]),
        ("iqns=('iqn.c','iqn.a')", [0, 2]),
        ("iqns!=('iqn.c','iqn.a')", [1]),
        ("name in ('beta-1', 'nobody')", [1]),
        ("contains(name,'ET')", [1]),
        ("contains(iqns,'.c')", [2]),
        ("contains(source.name,'alp')", [1]),
        ("source.name='alpha'", [1]),
        ("source.name=null", [0]),
        ("source.name!=null", [1, 2]),
        ("iqns=null", [1]),
        ("left", [1, 2]),
        ("not(left)", [0]),
        ("left>5 or size=1", [0, 2]),
        ("size=1 or size=20 and destroyed=false", [0]),
        ("(size=1 or size=20) and destroyed=false", [0]),
        ("not destroyed=true and size=1", [0]),
        ("size=true", []),
        ("destroyed=1", []),
        ("name=7", []),
    ],
)
def test_what_is_wanted(text, places):
    assert chosen(text) == places


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", 1),
        ("name=", 6),
        ("name='open", 6),
        ("name='a' name='b'", 10),
        ("name='a' and", 13),
        ("(name='a'", 10),
        ("name='a')", 9),
        ("name in 'a'", 9),
        ("name=('a' 'b')", 11),
        ("contains(name 'a')", 15),
        ("name~'a'", 5),
        ("='a'", 1),
        ("name=other", 6),
        ("size>null", 6),
        ("size<true", 6),
        ("name='a' && size=1", 10),
        ("size=1x", 6),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text, at):
    with pytest.raises(Refusal) as caught:
        parse_filter(text, FIELDS)
    assert caught.value.said[0][0] == f"Invalid filter: syntax error at position {at}."


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_stars_stand_for_anything(pattern, name):
    wanted = parse_filter(f"name='{pattern}'", FIELDS)
    truth = re.compile(".*".join(map(re.escape, pattern.split("*"))))
    assert wanted({"name": name}) is bool(truth.fullmatch(name))


def test_many_stars_take_no_longer_than_few():
    """One that tries every way to share 63 letters among 40 stars is not done in a lifetime."""
    wanted = parse_filter("name='" + "*a" * 40 + "*b*c'", FIELDS)
    assert not wanted({"name": "a" * 63})


def test_an_unknown_field_is_named():
    for text in ("colour='red'", "contains(colour,'r')", "colour", "source.colour='red'"):
        with pytest.raises(Refusal, match=r"unknown field '(source.)?colour'"):
            parse_filter(text, FIELDS)


def test_an_expression_has_a_limit_of_length_and_of_depth():
    with pytest.raises(Refusal, match="too long"):
        parse_filter("name='" + "a" * LENGTH_MAX + "'", FIELDS)
    with pytest.raises(Refusal, match="nested too deeply"):
        parse_filter("(" * 1000 + "name='a'" + ")" * 1000, FIELDS)
    with pytest.raises(Refusal, match="nested too deeply"):
        parse_filter("not " * 1000 + "name='a'", FIELDS)


trees = st.recursive(
    st.builds(
        lambda field, sign, value: ("compare", field, sign, value),
        st.just("size"),
        st.sampled_from(["=", "!=", "<", ">", "<=", ">="]),
        st.integers(-3, 25),
    ),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    ),
    max_leaves=8,
)


def said(tree) -> str:
    match tree:
        case ("compare", field, sign, value):
            return f"{field}{sign}{value}"
        case ("not", inner):
            return f"not({said(inner)})"
        case (word, one, other):
            return f"({said(one)}) {word} ({said(other)})"
    raise AssertionError(tree)


def true_of(tree, item) -> bool:
    match tree:
        case ("compare", field, sign, value):
            python = "==" if sign == "=" else sign
            return eval(f"{item[field]} {python} {value}")
        case ("not", inner):
            return not true_of(inner, item)
        case ("and", one, other):
            return true_of(one, item) and true_of(other, item)
        case (_, one, other):
            return true_of(one, item) or true_of(other, item)
    raise AssertionError(tree)


@given(trees)
def test_an_expression_means_what_it_says(tree):
    assert chosen(said(tree)) == [n for n, item in enumerate(ITEMS) if true_of(tree, item)]


@given(st.text(max_size=60) | st.lists(st.sampled_from(["name", "size", "=", "!=", "(", ")", "'a'", "and", "or", "not", "in", ",", "1", "contains", "null", " "]), max_size=12).map("".join))  # fmt: skip
@example("name='\\'")
@example("name=''")
def test_nonsense_is_refused_or_means_something(text):
    try:
        wanted = parse_filter(text, FIELDS)
    except Refusal:
        return
    for item in ITEMS:
        assert wanted(item) in (True, False)
