"""Negotiation of keys, for either side (§6.2).

Who offers a key waits for the answer; who is offered one answers it by its rule.  No key is
negotiated twice.  What is not known is answered NotUnderstood, what does not matter here Irrelevant,
what is no value of the key Reject; then the key keeps its default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi.keys import (
    IRRELEVANT,
    NO,
    NOT_UNDERSTOOD,
    REJECT,
    RESERVED,
    RULES,
    YES,
    Kind,
    Rule,
    Use,
)
from stuntdouble.codecs.iscsi.text import parse_number
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stuntdouble.codecs.iscsi.keys import Side

_KEYS_MAX: Final = 256  # of one negotiation, known or not.  Chosen: there are 29.


class NegotiationError(Misuse):
    """The other side breaks the rules of a negotiation.  Facts: where, what is wrong."""


class Negotiation:
    """One login, or one exchange of text in the full feature phase.

    Args:
        side: which one this is.
        wanted: what it wants, by key; a list is in order of preference.  Keys that are not named
            are wanted at their defaults.
        login: whether this is a login.
        discovery: whether the session is one for discovery; may be set when it becomes known.
    """

    def __init__(
        self, side: Side, wanted: Mapping[str, str], *, login: bool = True, discovery: bool = False
    ) -> None:
        self.side = side
        self.discovery = discovery
        self.declared: dict[str, str] = {}
        self.agreed: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self._wanted = wanted
        self._login = login
        self._offered: dict[str, str] = {}
        self._seen: set[str] = set()

    # What came of it. --------------------------------------------------------------------------

    def text(self, key: str) -> str:
        """Return what was agreed on or declared by the other side, or else the default."""
        return self.agreed.get(key) or self.declared.get(key) or RULES[key].default

    def number(self, key: str) -> int:
        """Return the same as a number."""
        return parse_number(self.text(key))

    def yes(self, key: str) -> bool:
        """Return whether it is Yes."""
        return self.text(key) == YES

    @property
    def pending(self) -> list[str]:
        """What was offered and has not been answered."""
        return list(self._offered)

    # Offering. ---------------------------------------------------------------------------------

    def offer(self, keys: Iterable[str]) -> list[tuple[str, str]]:
        """Return pairs that offer, or declare, *keys* as they are wanted."""
        pairs = []
        for key in keys:
            rule = RULES[key]
            value = self._want(key, rule)
            if not rule.declared:
                assert key not in self._offered, f"{key} was offered already"
                self._offered[key] = value
                self._seen.add(key)
            pairs.append((key, value))
        return pairs

    def _want(self, key: str, rule: Rule) -> str:
        return self._wanted.get(key, rule.default)

    # What the other side says. -----------------------------------------------------------------

    def take(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Take what the other side says; return the answers to what it offers.

        Raises:
            NegotiationError: a key comes twice, from the wrong side, or with a value that its
                rule does not allow.
        """
        answers = []
        for key, value in pairs:
            if key in self._offered:
                self._answered(key, value, self._offered.pop(key))
            elif (answer := self._asked(key, value)) is not None:
                answers.append((key, answer))
        return answers

    def _asked(self, key: str, value: str) -> str | None:
        """Return the answer to a pair that was not asked for; None where it gets none."""
        if key in self._seen:
            raise NegotiationError(f"key {key}", "comes twice")
        if len(self._seen) >= _KEYS_MAX:
            raise NegotiationError("negotiation", f"more than {_KEYS_MAX} keys")
        self._seen.add(key)
        rule = RULES.get(key)
        if rule is None:
            return NOT_UNDERSTOOD
        if value in RESERVED:
            raise NegotiationError(f"key {key}", f"{value} answers nothing that was offered")
        if rule.sender == self.side:
            raise NegotiationError(f"key {key}", f"only the {self.side} may send it")
        if rule.declared:
            self._declare(key, rule, value)
            return None
        if not self._timely(rule):
            return REJECT
        if self._irrelevant(key, rule):
            return IRRELEVANT
        return self._answer(key, rule, value)

    def _timely(self, rule: Rule) -> bool:
        return rule.use is Use.ANY or (rule.use is Use.FULL) != self._login

    def _irrelevant(self, key: str, rule: Rule) -> bool:
        if self.discovery and not rule.discovery:
            return True
        # §13.14: there are no unsolicited data, however long.
        both = {"InitialR2T": YES, "ImmediateData": NO}
        return key == "FirstBurstLength" and all(self.agreed.get(k) == v for k, v in both.items())

    def _declare(self, key: str, rule: Rule, value: str) -> None:
        if not self._timely(rule):
            raise NegotiationError(f"key {key}", f"may be sent {rule.use.value} only")
        if rule.numerical and _within(rule, value) is None:
            raise NegotiationError(f"key {key}", f"{value!r} is not {rule.low} to {rule.high}")
        self.declared[key] = value

    def _answer(self, key: str, rule: Rule, value: str) -> str:
        """Return the result of *value* and what is wanted here."""
        wanted = self._want(key, rule)
        result: str | None
        if rule.kind is Kind.REFUSED:
            return NO if key.endswith("Marker") else REJECT
        if rule.boolean:
            result = _joined(rule, wanted, value)
        elif rule.kind is Kind.CHOICE:
            known = wanted.split(",")
            result = next((name for name in value.split(",") if name in known), None)
        else:
            result = _settled(rule, wanted, value)
        if result is None:
            self.answers[key] = REJECT
            return REJECT
        self.agreed[key] = self.answers[key] = result
        return result

    def _answered(self, key: str, value: str, offered: str) -> None:
        """Take the answer to an offer; NegotiationError where its rule forbids it."""
        self.answers[key] = value
        if value in RESERVED:
            return
        rule = RULES[key]
        if rule.boolean:
            fine = value in {YES, NO} and _joined(rule, offered, value) == value
        elif rule.kind is Kind.CHOICE:
            fine = value in offered.split(",")
        else:
            fine = _within(rule, value) is not None and parse_number(value) == int(
                _settled(rule, offered, value) or -1
            )
        if not fine:
            raise NegotiationError(f"key {key}", f"{value!r} is no answer to {offered!r}")
        self.agreed[key] = value


def _within(rule: Rule, value: str) -> int | None:
    """Return a number within the bounds of its key, or None."""
    try:
        number = parse_number(value)
    except Misuse:
        return None
    return number if rule.low <= number <= rule.high else None


def _settled(rule: Rule, wanted: str, value: str) -> str | None:
    """Return the result of two numbers, or None where *value* is none of the key's."""
    number = _within(rule, value)
    if number is None:
        return None
    pick = max if rule.kind is Kind.MAXIMUM else min
    return str(pick(number, parse_number(wanted)))


def _joined(rule: Rule, wanted: str, value: str) -> str | None:
    """Return the result of Yes and No, or None where *value* is neither."""
    if value not in {YES, NO}:
        return None
    join = all if rule.kind is Kind.AND else any
    return YES if join(word == YES for word in (wanted, value)) else NO
