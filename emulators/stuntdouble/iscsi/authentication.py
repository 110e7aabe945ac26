"""Who an initiator is: CHAP within the security stage of a login (RFC 7143, §12.1)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs.iscsi import (
    ALGORITHMS,
    CHALLENGE_BYTES_MAX,
    chap_proves,
    chap_response,
    pack_binary,
    parse_binary,
    parse_number,
)
from stuntdouble.errors import AccessDenied, Misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stuntdouble.codecs.iscsi import Credentials

_CHALLENGE_BYTES: Final = 32  # as long as the longest digest.  Chosen.


class _State(Enum):
    METHOD = "no method is agreed on"
    ALGORITHM = "CHAP, without an algorithm"
    PROOF = "challenged"
    PROVEN = "proven"


class Authentication:
    """What an initiator has to prove, and how far it has come.

    Args:
        credentials: what proves it, or None where it has nothing to prove.
        random: so many bytes that nobody can guess.
    """

    def __init__(self, credentials: Credentials | None, random: Callable[[int], bytes]) -> None:
        self._credentials = credentials
        self._random = random
        self._state = _State.METHOD if credentials else _State.PROVEN
        self._algorithm = 0
        self._identifier = 0
        self._challenge = b""

    @property
    def proven(self) -> bool:
        """Whether nothing is left to be proven."""
        return self._state is _State.PROVEN

    @property
    def methods(self) -> str:
        """The methods that are accepted: what AuthMethod is answered from."""
        return "CHAP" if self._credentials else "None"

    def take(self, method: str | None, keys: Mapping[str, str]) -> list[tuple[str, str]]:
        """Take the keys of CHAP of one request; return what answers them.

        Args:
            method: what AuthMethod has become; None where it is not agreed on yet.
            keys: of CHAP, as they came.

        Raises:
            AccessDenied: the initiator does not prove what it has to.
        """
        if self._state is _State.METHOD and method == "CHAP":
            self._state = _State.ALGORITHM
        if not keys:
            return []
        try:
            if self._state is _State.ALGORITHM and set(keys) == {"CHAP_A"}:
                return self._challenged(keys["CHAP_A"])
            if self._state is _State.PROOF and {"CHAP_N", "CHAP_R"} <= set(keys):
                return self._checked(keys)
        except Misuse as error:
            raise AccessDenied("an initiator", f"the target: {error}") from None
        raise AccessDenied("an initiator", f"the target with {sorted(keys)}: {self._state.value}")

    def _challenged(self, offered: str) -> list[tuple[str, str]]:
        numbers = [parse_number(text) for text in offered.split(",")]
        known = [number for number in numbers if number in ALGORITHMS]
        if not known:
            raise AccessDenied("an initiator", f"the target by algorithms {offered}")
        self._algorithm = known[0]
        self._identifier = self._random(1)[0]
        self._challenge = self._random(_CHALLENGE_BYTES)
        self._state = _State.PROOF
        return [
            ("CHAP_A", str(self._algorithm)),
            ("CHAP_I", str(self._identifier)),
            ("CHAP_C", pack_binary(self._challenge)),
        ]

    def _checked(self, keys: Mapping[str, str]) -> list[tuple[str, str]]:
        known = self._credentials
        assert known is not None, "nobody is challenged who has nothing to prove"
        response = parse_binary(keys["CHAP_R"], CHALLENGE_BYTES_MAX)
        proof = (self._algorithm, self._identifier, known.secret, self._challenge)
        proves = chap_proves(*proof, response)
        if not proves or keys["CHAP_N"] != known.user:
            raise AccessDenied("an initiator", "the target: it does not know the secret")
        answer = []
        if "CHAP_I" in keys or "CHAP_C" in keys:
            answer = self._proof(known, keys.get("CHAP_I", ""), keys.get("CHAP_C", ""))
        self._state = _State.PROVEN
        return answer

    def _proof(self, known: Credentials, number: str, text: str) -> list[tuple[str, str]]:
        """Prove oneself in turn, but never by answering one's own challenge."""
        challenge = parse_binary(text, CHALLENGE_BYTES_MAX)
        if not known.mutual or challenge == self._challenge:
            raise AccessDenied("an initiator", "the target: there is no answer to its challenge")
        response = chap_response(
            self._algorithm, parse_number(number), known.mutual_secret, challenge
        )
        return [("CHAP_N", known.mutual_user), ("CHAP_R", pack_binary(response))]
