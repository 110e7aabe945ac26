"""Text and negotiation: either side against the other, and against the rules of RFC 7143."""

from __future__ import annotations

import contextlib
import hashlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import Kind, Negotiation, NegotiationError
from stuntdouble.errors import Misuse

VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NEGOTIATED = [
    key for key, rule in iscsi.RULES.items() if not rule.declared and rule.kind is not Kind.REFUSED
]


def value_of(key):
    rule = iscsi.RULES[key]
    if rule.boolean:
        return st.sampled_from(["Yes", "No"])
    if rule.kind is Kind.CHOICE:
        names = st.lists(st.sampled_from(["None", "CRC32C", "CHAP"]), min_size=1, unique=True)
        return names.map(",".join)
    return st.integers(rule.low, rule.high).map(str)


WANTED = st.fixed_dictionaries({key: value_of(key) for key in NEGOTIATED})
KEYS = st.lists(st.sampled_from(NEGOTIATED), unique=True)


@given(st.lists(st.tuples(st.sampled_from(sorted(iscsi.RULES)), VALUE), max_size=8))
def test_text_there_and_back(pairs):
    assert iscsi.parse_text(iscsi.pack_text(pairs)) == pairs


@pytest.mark.parametrize(
    "data",
    [
        b"A=1",
        b"A\0",
        b"=1\0",
        b"A=\xff\0",
        b"a b=1\0",
        b"K" * 64 + b"=1\0",
        b"A=" + b"1" * 8193 + b"\0",
    ],
)
def test_what_is_no_text_is_refused(data):
    with pytest.raises(Misuse):
        iscsi.parse_text(data)


@given(st.binary(max_size=80))
def test_text_raises_nothing_else(data):
    with contextlib.suppress(Misuse):
        iscsi.parse_text(data)


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("0x10", 16), ("0XfF", 255), ("18446744073709551615", 2**64 - 1)]
)
def test_numbers(text, number):
    assert iscsi.parse_number(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "0x", "1e3", " 1", "18446744073709551616", "٣"])
def test_no_numbers(text):
    with pytest.raises(Misuse):
        iscsi.parse_number(text)


@given(st.binary(min_size=1, max_size=100))
def test_binary_values_there_and_back(data):
    assert iscsi.parse_binary(iscsi.pack_binary(data)) == data


@pytest.mark.parametrize(
    ("text", "data"), [("0xABC", b"\x0a\xbc"), ("0bAQI=", b"\1\2"), ("0BAQID", b"\1\2\3")]
)
def test_binary_values(text, data):
    assert iscsi.parse_binary(text) == data


@pytest.mark.parametrize("text", ["", "0x", "abc", "0bA", "0xzz", "0b====", "0x" + "00" * 101])
def test_no_binary_values(text):
    with pytest.raises(Misuse):
        iscsi.parse_binary(text, 100)


@given(WANTED, WANTED, KEYS, KEYS, st.booleans())
def test_two_sides_agree_whoever_offers(left, right, by_left, by_right, discovery):
    """What either believes to be agreed on is the same, and is what the rule makes of both."""
    initiator = Negotiation("initiator", left, discovery=discovery)
    target = Negotiation("target", right, discovery=discovery)
    asked = initiator.offer(by_left)
    answers = target.take(asked)
    more = target.offer(key for key in by_right if key not in by_left)
    assert initiator.take(answers + more) is not None
    target.take([(k, v) for k, v in _answers(initiator, more)])
    assert initiator.agreed == target.agreed
    for key, value in target.agreed.items():
        rule, pair = iscsi.RULES[key], (left[key], right[key])
        if rule.boolean:
            join = all if rule.kind is Kind.AND else any
            assert (value == "Yes") == join(one == "Yes" for one in pair)
        elif rule.kind is Kind.CHOICE:
            assert all(value in one.split(",") for one in pair)
        else:
            pick = max if rule.kind is Kind.MAXIMUM else min
            assert int(value) == pick(map(int, pair))


def _answers(negotiation, asked):
    """What was answered to *asked* is in the record of answers, where it was a value at all."""
    return [(key, negotiation.answers.get(key, "Irrelevant")) for key, _ in asked]


def test_what_is_unknown_irrelevant_or_no_value_is_said_so():
    target = Negotiation("target", {}, discovery=True)
    asked = [
        ("X-com.example.more", "1"),
        ("Colour", "blue"),
        ("MaxBurstLength", "1024"),
        ("DefaultTime2Wait", "4000"),
        ("HeaderDigest", "SHA1"),
        ("IFMarker", "Yes"),
        ("OFMarkInt", "1~2"),
    ]
    assert target.take(asked) == [
        ("X-com.example.more", "NotUnderstood"),
        ("Colour", "NotUnderstood"),
        ("MaxBurstLength", "Irrelevant"),
        ("DefaultTime2Wait", "Reject"),
        ("HeaderDigest", "Reject"),
        ("IFMarker", "No"),
        ("OFMarkInt", "Reject"),
    ]
    assert target.number("DefaultTime2Wait") == 2
    assert target.text("HeaderDigest") == "None"


def test_the_first_burst_does_not_matter_where_nothing_is_unsolicited():
    target = Negotiation("target", {"InitialR2T": "Yes", "ImmediateData": "No"})
    asked = [("InitialR2T", "No"), ("ImmediateData", "Yes"), ("FirstBurstLength", "1024")]
    assert target.take(asked)[-1] == ("FirstBurstLength", "Irrelevant")


@pytest.mark.parametrize(
    "pairs",
    [
        [("MaxBurstLength", "1024"), ("MaxBurstLength", "1024")],
        [("Colour", "1"), ("Colour", "1")],
        [("MaxRecvDataSegmentLength", "511")],
        [("MaxRecvDataSegmentLength", "many")],
        [("TargetAlias", "me")],
        [("SendTargets", "All")],
        [("MaxConnections", "Reject")],
        [(f"Key{n}", "1") for n in range(300)],
    ],
)
def test_broken_rules_end_a_login(pairs):
    with pytest.raises(NegotiationError):
        Negotiation("target", {}).take(pairs)


def test_a_key_of_the_login_is_rejected_afterwards():
    later = Negotiation("target", {}, login=False)
    assert later.take([("MaxConnections", "2"), ("MaxRecvDataSegmentLength", "4096")]) == [
        ("MaxConnections", "Reject")
    ]
    assert later.number("MaxRecvDataSegmentLength") == 4096


@pytest.mark.parametrize(
    ("key", "offered", "answer"),
    [
        ("MaxBurstLength", "1024", "2048"),
        ("MaxBurstLength", "1024", "1"),
        ("DefaultTime2Wait", "5", "4"),
        ("InitialR2T", "Yes", "No"),
        ("ImmediateData", "No", "Yes"),
        ("ImmediateData", "Yes", "Maybe"),
        ("HeaderDigest", "None", "CRC32C"),
    ],
)
def test_an_answer_that_the_rule_forbids(key, offered, answer):
    initiator = Negotiation("initiator", {key: offered})
    initiator.offer([key])
    assert initiator.pending == [key]
    with pytest.raises(NegotiationError):
        initiator.take([(key, answer)])


def test_a_refused_offer_keeps_the_default():
    initiator = Negotiation("initiator", {"MaxBurstLength": "1024"})
    initiator.offer(["MaxBurstLength"])
    assert initiator.take([("MaxBurstLength", "Reject")]) == []
    assert initiator.number("MaxBurstLength") == 262144
    assert initiator.answers == {"MaxBurstLength": "Reject"}


# CHAP. ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", iscsi.ALGORITHMS)
def test_a_secret_proves_itself_and_no_other_does(algorithm):
    response = iscsi.chap_response(algorithm, 23, "correct horse", b"challenge")
    assert iscsi.chap_proves(algorithm, 23, "correct horse", b"challenge", response)
    assert not iscsi.chap_proves(algorithm, 23, "battery staple", b"challenge", response)
    assert not iscsi.chap_proves(algorithm, 24, "correct horse", b"challenge", response)
    assert not iscsi.chap_proves(algorithm, 23, "correct horse", b"other", response)


def test_md5_is_that_of_rfc_1994():
    expected = hashlib.md5(b"\x17" + b"secret" + b"c").digest()
    assert iscsi.chap_response(5, 23, "secret", b"c") == expected
    with pytest.raises(Misuse):
        iscsi.chap_response(9, 23, "secret", b"c")


@pytest.mark.parametrize(
    "facts", [("", "s"), ("u", ""), ("u", "s", "m"), ("u", "s", "", "t"), ("u", "s", "m", "s")]
)
def test_credentials_that_prove_nothing_are_refused(facts):
    with pytest.raises(Misuse):
        iscsi.Credentials(*facts)


def test_credentials_do_not_show_their_secrets():
    shown = repr(iscsi.Credentials("u", "geheim", "m", "leise"))
    assert "geheim" not in shown
    assert "leise" not in shown
