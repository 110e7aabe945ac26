"""A login, as an initiator does it: who it is, perhaps a proof of it, and what is agreed on.

    security      InitiatorName, TargetName, AuthMethod ─▶      CHAP_A ─▶      CHAP_N, CHAP_R ─▶
    operational   digests, lengths, what may be under way ─▶
    full feature  commands

Error recovery is at level 0: what goes wrong on a connection ends it, and a new login with the same
ISID ends what the target still did for the old one (RFC 7143, 6.3.5).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi import (
    CHALLENGE_BYTES_MAX,
    CHAP_KEYS,
    Digests,
    LoginRequest,
    LoginResponse,
    LoginStatus,
    Negotiation,
    Opcode,
    Stage,
    chap_proves,
    chap_response,
    pack_binary,
    pack_text,
    parse_binary,
    parse_number,
    parse_text,
    serial_add,
)
from stuntdouble.errors import AccessDenied, Misuse, NotFound, Unreachable, Unsupported
from stuntdouble.units import KIB, MIB

if TYPE_CHECKING:
    from stuntdouble.codecs.iscsi import Credentials
    from stuntdouble.initiators.iscsi.talk import Talk

SEGMENT_BYTES: Final = 8 * MIB
"""The longest data segment we take: data go straight to where they belong.  Chosen: a whole span."""

_BURST_BYTES: Final = (1 << 24) - 1  # RFC 7143, 13.13: the most that MaxBurstLength can say
_FIRST_BURST_BYTES: Final = 64 * KIB
"""Data that go with a write command unasked: small writes need no R2T.  RFC 7143's default."""

_ROUNDS_MAX: Final = 16
"""Answers within one login; three is what a login with mutual CHAP takes.  Chosen."""

_PROPOSED: Final = (8, 6, 5, 7)
"""Algorithms of CHAP: SHA3-256, SHA-1, MD5, SHA-256.  The last is the second best, but tgt computes
SHA-1 under its number and finds every proof wrong: it takes the first of ours that it knows."""

_TEXT_BYTES_MAX: Final = 64 * KIB  # chosen: many times the longest login
_OWN_KEYS: Final = CHAP_KEYS | {"AuthMethod"}  # handled where they come
_FIRST_CMDSN: Final = 1  # any number will do

_OFFERS: Final = {
    "MaxRecvDataSegmentLength": str(SEGMENT_BYTES),
    "DefaultTime2Wait": "0",
    "DefaultTime2Retain": "0",
    "ErrorRecoveryLevel": "0",
}
_SESSION_OFFERS: Final = {
    "InitialR2T": "Yes",
    "ImmediateData": "Yes",
    "MaxBurstLength": str(_BURST_BYTES),
    "FirstBurstLength": str(_FIRST_BURST_BYTES),
    "MaxOutstandingR2T": "1",
    "MaxConnections": "1",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
}
"""What only a session with commands needs.  Data come and go in order, and are sent when asked for
but for what goes with a command: so nothing has to be put together again."""


class DigestUse(StrEnum):
    """Whether headers and data carry a CRC32C."""

    REQUIRED = "required"
    PREFERRED = "preferred"
    NONE = "none"

    @property
    def offer(self) -> str:
        """The values to offer, the best first."""
        return {"required": "CRC32C", "preferred": "CRC32C,None", "none": "None"}[self.value]


@dataclass(frozen=True, slots=True)
class Who:
    """Both ends of a session.  An empty target is a discovery session."""

    iqn: str
    target: str
    isid: bytes
    chap: Credentials | None = None
    digests: DigestUse = DigestUse.PREFERRED


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a login has led to; ``send_bytes`` is the longest data segment the target takes."""

    digests: Digests
    send_bytes: int
    immediate_bytes: int
    cmdsn: int
    maxcmdsn: int
    expstatsn: int


class MovedError(Exception):
    """The target is elsewhere: at the address that is the only fact."""


def new_isid(random: bytes, number: int) -> bytes:
    """Return an ISID of the random kind (RFC 7143, 11.12.5), for session *number*.

    Initiators that share a name, on this machine or on others, must not have the same.
    """
    assert len(random) == 3
    return bytes([0x80]) + random + number.to_bytes(2, "big")


class Login:
    """One login; ``run`` does it."""

    def __init__(self, talk: Talk, who: Who) -> None:
        self._talk = talk
        self._who = who
        self._stage = Stage.SECURITY
        self._expstatsn = 0
        self._maxcmdsn = _FIRST_CMDSN
        digests = who.digests.offer if who.target else "None"
        self._wanted = {"HeaderDigest": digests, "DataDigest": digests} | _OFFERS
        if who.target:
            self._wanted |= _SESSION_OFFERS
        self._keys = Negotiation("initiator", self._wanted, discovery=not who.target)
        self._replies: list[tuple[str, str]] = []

    async def run(self) -> Agreed:
        """Log in.

        Raises:
            AccessDenied: the target does not let us in, or cannot prove itself.
            NotFound: no such target at this portal.
            Unsupported: what we insist on is not offered.
            Unreachable: the target cannot serve now, or hangs up.
            Misuse: no iSCSI target, or one that does not keep to the protocol.
            MovedError: it is elsewhere.
        """
        await self._secure()
        await self._operate()
        return self._agreed()

    # Security. ---------------------------------------------------------------------------------

    async def _secure(self) -> None:
        who = self._who
        named = [("InitiatorName", who.iqn)]
        named += [("TargetName", who.target)] if who.target else []
        named += [("SessionType", "Normal" if who.target else "Discovery")]
        method = "CHAP" if who.chap else "None"
        answer = await self._step([*named, ("AuthMethod", method)], leave=not who.chap)
        chosen = answer.get("AuthMethod", "None" if self._stage != Stage.SECURITY else "")
        if who.chap is None:
            if chosen != method or self._stage == Stage.SECURITY:
                raise AccessDenied(who.iqn, f"{self._talk.where}: it asks for AuthMethod {chosen}")
        elif chosen != method:
            raise Unsupported(f"{self._talk.where} without CHAP", "it does not ask who we are")
        else:
            await self._prove(who.chap)

    async def _prove(self, chap: Credentials) -> None:
        proposed = ",".join(str(number) for number in _PROPOSED)
        asked = await self._step([("CHAP_A", proposed)], leave=False)
        algorithm = parse_number(self._value(asked, "CHAP_A"))
        if algorithm not in _PROPOSED:
            raise Misuse(self._talk.where, f"CHAP algorithm {algorithm} was not proposed")
        challenge = parse_binary(self._value(asked, "CHAP_C"), CHALLENGE_BYTES_MAX)
        identifier = parse_number(self._value(asked, "CHAP_I"))
        proof = chap_response(algorithm, identifier, chap.secret, challenge)
        pairs = [("CHAP_N", chap.user), ("CHAP_R", pack_binary(proof))]
        if not chap.mutual:
            await self._step(pairs, leave=True)
        else:
            number, ours = secrets.randbelow(256), secrets.token_bytes(len(proof))
            pairs += [("CHAP_I", str(number)), ("CHAP_C", pack_binary(ours))]
            answer = await self._step(pairs, leave=True)
            self._check(chap, algorithm, number, ours, answer)
        if self._stage == Stage.SECURITY:
            raise Misuse(self._talk.where, "it has our proof, and does not go on")

    def _check(
        self, chap: Credentials, algorithm: int, number: int, ours: bytes, answer: dict[str, str]
    ) -> None:
        """Refuse a target that does not know its secret."""
        named = answer.get("CHAP_N")
        proof = parse_binary(answer["CHAP_R"]) if answer.get("CHAP_R") else b""
        right = chap_proves(algorithm, number, chap.mutual_secret, ours, proof)
        if named != chap.mutual_user or not right:
            raise AccessDenied(self._talk.where, f"{self._who.iqn}: it cannot prove who it is")

    def _value(self, answer: dict[str, str], key: str) -> str:
        if key not in answer:
            raise Misuse(self._talk.where, f"it sends no {key}")
        return answer[key]

    # What is agreed on. ------------------------------------------------------------------------

    async def _operate(self) -> None:
        """Offer, and answer what the target asks by itself, until it lets us go on."""
        pairs = self._keys.offer(self._wanted)
        for _ in range(_ROUNDS_MAX):
            await self._step(pairs, leave=True)
            if self._stage == Stage.FULL_FEATURE:
                return
            pairs = []
        raise Misuse(self._talk.where, f"a login of more than {_ROUNDS_MAX} steps")

    def _agreed(self) -> Agreed:
        keys = self._keys
        header, data = keys.text("HeaderDigest"), keys.text("DataDigest")
        for digest in (header, data):
            if digest not in self._wanted["HeaderDigest"].split(","):
                name = f"{self._talk.where} with digests {header} and {data}"
                raise Unsupported(name, f"we ask for {self._wanted['HeaderDigest']}")
        send = keys.number("MaxRecvDataSegmentLength")
        first = min(send, keys.number("FirstBurstLength"))
        return Agreed(
            digests=Digests(header == "CRC32C", data == "CRC32C"),
            send_bytes=send,
            immediate_bytes=first if keys.yes("ImmediateData") else 0,
            cmdsn=_FIRST_CMDSN,
            maxcmdsn=self._maxcmdsn,
            expstatsn=self._expstatsn,
        )

    # Steps. ------------------------------------------------------------------------------------

    async def _step(self, pairs: list[tuple[str, str]], *, leave: bool) -> dict[str, str]:
        """Send *pairs*, ready to *leave* this stage or not; return the whole answer."""
        answer = await self._exchange(pack_text([*self._replies, *pairs]), leave=leave)
        text, rounds = answer[1], 0
        while answer[0].more:
            rounds += 1
            if rounds > _ROUNDS_MAX or len(text) > _TEXT_BYTES_MAX:
                raise Misuse(self._talk.where, f"an answer of more than {len(text)} bytes")
            answer = await self._exchange(b"", leave=False)
            text += answer[1]
        if answer[0].transit:
            self._stage = self._following(answer[0], leave=leave)
        found = parse_text(text)
        self._replies = self._keys.take(pair for pair in found if pair[0] not in _OWN_KEYS)
        return dict(found)

    def _following(self, reply: LoginResponse, *, leave: bool) -> Stage:
        allowed = {Stage.SECURITY: Stage.OPERATIONAL, Stage.OPERATIONAL: Stage.FULL_FEATURE}
        if not leave or reply.csg != self._stage or reply.nsg != allowed[self._stage]:
            raise Misuse(self._talk.where, f"it goes from stage {reply.csg} to {reply.nsg}")
        return allowed[self._stage]

    async def _exchange(self, data: bytes, *, leave: bool) -> tuple[LoginResponse, bytes]:
        stage = self._stage
        following = Stage.OPERATIONAL if stage == Stage.SECURITY else Stage.FULL_FEATURE
        request = LoginRequest(
            self._who.isid, 0, 0, 0, _FIRST_CMDSN, self._expstatsn, stage,
            following if leave else 0, leave,
        )  # fmt: skip
        await self._talk.send(request.pack(len(data)), data)
        header, text = await self._talk.next(Opcode.LOGIN_RESPONSE)
        reply = LoginResponse.parse(header)
        if reply.status:
            self._refused(reply.status, text)
        self._expstatsn = serial_add(reply.numbers.statsn)
        self._maxcmdsn = reply.numbers.maxcmdsn
        return reply, text

    def _refused(self, status: int, text: bytes) -> None:
        """Raise what a login status means (RFC 7143, 11.13.5)."""
        where, iqn = self._talk.where, self._who.iqn
        match status:
            case LoginStatus.MOVED | LoginStatus.MOVED_FOR_GOOD:
                raise MovedError(self._value(dict(parse_text(text)), "TargetAddress"))
            case LoginStatus.AUTHENTICATION_FAILURE:
                raise AccessDenied(iqn, f"{where}: check its CHAP name and secret")
            case LoginStatus.AUTHORIZATION_FAILURE:
                raise AccessDenied(iqn, where)
            case LoginStatus.NOT_FOUND | LoginStatus.REMOVED:
                raise NotFound("iSCSI target", where)
        if status >> 8 == 3:
            raise Unreachable(f"{where} (it cannot serve now: login status {status:04x})")
        raise Misuse(where, f"it refuses the login: status {status:04x}")
