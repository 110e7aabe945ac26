"""CHAP: who knows a secret proves it without saying it (§12.1.3, RFC 1994).

target                                 initiator
         ◀─ CHAP_A=7,5               which algorithms it knows, the best first
CHAP_A=7, CHAP_I=23, CHAP_C=0x… ─▶
         ◀─ CHAP_N=user, CHAP_R=0x…  and, to have the target prove itself, CHAP_I, CHAP_C
CHAP_N=user, CHAP_R=0x… ─▶
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from stuntdouble.errors import Misuse

ALGORITHMS: Final[dict[int, str]] = {5: "md5", 6: "sha1", 7: "sha256", 8: "sha3_256"}
"""The numbers of algorithms (IANA, "PPP Authentication Algorithms"), as ``hashlib`` calls them."""

PREFERRED: Final = (8, 7, 6, 5)
"""The order in which to propose them: the strongest first; every implementation has MD5."""

CHALLENGE_BYTES_MAX: Final = 1024  # §12.1.3: of CHAP_C
NAME_BYTES_MAX: Final = 255  # of CHAP_N: what any text value may have (§6.1)
SECRET_BYTES_MIN: Final = 12  # §9.2.1: 96 bits; shorter ones are refused by many initiators


@dataclass(frozen=True)
class Credentials:
    """What proves an initiator to a target, and perhaps the target to it.

    Args:
        user: the initiator's name.
        secret: its secret.
        mutual_user: the target's name; empty where it has nothing to prove.
        mutual_secret: the target's secret; RFC 7143 §12.1.3 has it differ from the other.
    """

    user: str
    secret: str
    mutual_user: str = ""
    mutual_secret: str = ""

    def __post_init__(self) -> None:
        if not self.user or not self.secret:
            raise Misuse("CHAP", "name a user and a secret")
        if bool(self.mutual_user) != bool(self.mutual_secret):
            raise Misuse("CHAP", "mutual CHAP takes both a user and a secret")
        if self.secret == self.mutual_secret:
            raise Misuse("CHAP", "the two sides have the same secret: one proves nothing then")

    @property
    def mutual(self) -> bool:
        """Whether the target proves itself, too."""
        return bool(self.mutual_secret)

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, mutual_user={self.mutual_user!r})"


def chap_response(algorithm: int, identifier: int, secret: str, challenge: bytes) -> bytes:
    """Return what proves that one knows *secret* (RFC 1994, "Response").

    Raises:
        Misuse: the algorithm is unknown.
    """
    if algorithm not in ALGORITHMS:
        raise Misuse("CHAP", f"no algorithm {algorithm}; there are {sorted(ALGORITHMS)}")
    message = bytes([identifier & 0xFF]) + secret.encode() + challenge
    return hashlib.new(ALGORITHMS[algorithm], message, usedforsecurity=False).digest()


def chap_proves(
    algorithm: int, identifier: int, secret: str, challenge: bytes, response: bytes
) -> bool:
    """Say whether *response* proves the knowledge of *secret*; takes as long for a wrong one."""
    return hmac.compare_digest(chap_response(algorithm, identifier, secret, challenge), response)
