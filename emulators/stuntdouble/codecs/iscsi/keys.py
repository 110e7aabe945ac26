"""The keys of login and text negotiations, and the rule of each (§12 and §13)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from stuntdouble.codecs.iscsi.numbers import SEGMENT_BYTES_MAX

Side: TypeAlias = Literal["initiator", "target"]

YES: Final = "Yes"
NO: Final = "No"
REJECT: Final = "Reject"
IRRELEVANT: Final = "Irrelevant"
NOT_UNDERSTOOD: Final = "NotUnderstood"
RESERVED: Final = frozenset({REJECT, IRRELEVANT, NOT_UNDERSTOOD})
"""§6.2: values that answer instead of a value."""


class Kind(Enum):
    """What the values of a key are, and how two of them become one."""

    MINIMUM = "a number; the lesser of the two"
    MAXIMUM = "a number; the greater of the two"
    AND = "Yes or No; Yes where both say so"
    OR = "Yes or No; Yes where one says so"
    CHOICE = "a list in order of preference; the first that the other knows"
    NUMBER = "a number, declared"
    TEXT = "text, declared"
    REFUSED = "obsolete: refused in the words of §13.25"


class Use(Enum):
    """When a key may be sent."""

    LEADING = "in the login of a session's first connection"
    LOGIN = "in a login"
    ANY = "in a login and afterwards"
    FULL = "in the full feature phase"


@dataclass(frozen=True)
class Rule:
    """How one key is negotiated.

    Args:
        kind: what its values are.
        use: when it may be sent.
        default: what counts where nobody says anything.
        low, high: bounds of numbers.
        sender: which side alone may send it, where only one may.
        discovery: whether it means anything in a discovery session.
        security: whether it may be sent in the security stage of a login.
    """

    kind: Kind
    use: Use
    default: str = ""
    low: int = 0
    high: int = 0
    sender: Side | None = None
    discovery: bool = False
    security: bool = False

    @property
    def declared(self) -> bool:
        """Whether it is said and not answered."""
        return self.kind in {Kind.NUMBER, Kind.TEXT}

    @property
    def numerical(self) -> bool:
        """Whether its values are numbers."""
        return self.kind in {Kind.NUMBER, Kind.MINIMUM, Kind.MAXIMUM}

    @property
    def boolean(self) -> bool:
        """Whether its values are Yes and No."""
        return self.kind in {Kind.AND, Kind.OR}


def _burst(default: int) -> Rule:
    return Rule(Kind.MINIMUM, Use.LEADING, str(default), 512, SEGMENT_BYTES_MAX)


def _name(use: Use, sender: Side | None = None) -> Rule:
    return Rule(Kind.TEXT, use, sender=sender, discovery=True, security=True)


_MARKER: Final = Rule(Kind.REFUSED, Use.LOGIN, NO, discovery=True)
_DIGEST: Final = Rule(Kind.CHOICE, Use.LOGIN, "None", discovery=True)
_ORDER: Final = Rule(Kind.OR, Use.LEADING, YES)

RULES: Final[dict[str, Rule]] = {
    "AuthMethod": Rule(Kind.CHOICE, Use.LOGIN, "None", discovery=True, security=True),
    "HeaderDigest": _DIGEST,  # §13.1
    "DataDigest": _DIGEST,
    "MaxConnections": Rule(Kind.MINIMUM, Use.LEADING, "1", 1, 65535),  # §13.2
    "SendTargets": Rule(Kind.TEXT, Use.FULL, sender="initiator", discovery=True),  # §13.3
    "TargetName": _name(Use.ANY),  # §13.4: the target's only in answers to SendTargets
    "InitiatorName": _name(Use.LOGIN, "initiator"),
    "TargetAlias": _name(Use.ANY, "target"),
    "InitiatorAlias": _name(Use.ANY, "initiator"),
    "TargetAddress": _name(Use.ANY, "target"),
    "TargetPortalGroupTag": Rule(
        Kind.NUMBER, Use.LOGIN, "", 0, 65535, "target", discovery=True, security=True
    ),
    "InitialR2T": Rule(Kind.OR, Use.LEADING, YES),  # §13.10
    "ImmediateData": Rule(Kind.AND, Use.LEADING, YES),  # §13.11
    "MaxRecvDataSegmentLength": Rule(
        Kind.NUMBER, Use.ANY, "8192", 512, SEGMENT_BYTES_MAX, discovery=True
    ),  # §13.12
    "MaxBurstLength": _burst(262144),  # §13.13
    "FirstBurstLength": _burst(65536),  # §13.14
    "DefaultTime2Wait": Rule(Kind.MAXIMUM, Use.LEADING, "2", 0, 3600, discovery=True),  # §13.15
    "DefaultTime2Retain": Rule(Kind.MINIMUM, Use.LEADING, "20", 0, 3600, discovery=True),  # §13.16
    "MaxOutstandingR2T": Rule(Kind.MINIMUM, Use.LEADING, "1", 1, 65535),  # §13.17
    "DataPDUInOrder": _ORDER,  # §13.18
    "DataSequenceInOrder": _ORDER,  # §13.19
    "ErrorRecoveryLevel": Rule(Kind.MINIMUM, Use.LEADING, "0", 0, 2, discovery=True),  # §13.20
    "SessionType": Rule(
        Kind.TEXT, Use.LEADING, "Normal", sender="initiator", discovery=True, security=True
    ),  # §13.21
    "TaskReporting": Rule(Kind.CHOICE, Use.LEADING, "RFC3720"),  # §13.23
    "iSCSIProtocolLevel": Rule(Kind.MINIMUM, Use.LEADING, "1", 0, 31),  # RFC 7144, §7.1.1
    "X#NodeArchitecture": Rule(Kind.TEXT, Use.LEADING, discovery=True, security=True),  # §13.26
    "IFMarker": _MARKER,  # §13.25
    "OFMarker": _MARKER,
    "IFMarkInt": _MARKER,
    "OFMarkInt": _MARKER,
}
"""Every key but those of CHAP, which are no negotiation (see ``chap``)."""

CHAP_KEYS: Final = frozenset({"CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"})
