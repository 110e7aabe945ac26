"""From an error of the interface to one of ours, by its HTTP status and its number.

Numbers are the vendor's contract, texts are not: they go into the error for people to read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from stuntdouble.errors import (
    AccessDenied,
    Error,
    InvalidState,
    LimitReached,
    LunInUse,
    Misuse,
    NoSpace,
    NotFound,
    Unsupported,
)

INV_USER_PASS: Final = 5  # developer's guide, table 5
INV_SESS_KEY: Final = 6  # likewise
NON_EXISTENT_HOST: Final = 17  # table 6, and so on down
EXISTENT_LUN: Final = 18  # table 6
NON_EXISTENT_VLUN: Final = 19  # table 6
EXISTENT_VOL: Final = 22  # table 6
NON_EXISTENT_VOL: Final = 23  # table 6
NO_SPACE: Final = 24  # table 6
SVC_UNAVAIL: Final = 31  # table 5
EXISTENT_HOST: Final = 16  # table 6
EXISTENT_PATH: Final = 73  # table 6
EXISTENT_SET: Final = 101  # the vendor's own client
NON_EXISTENT_SET: Final = 102  # likewise

_KINDS: Final = {
    15: "CPG",
    NON_EXISTENT_HOST: "host",
    NON_EXISTENT_VLUN: "VLUN",
    NON_EXISTENT_VOL: "volume",
    NON_EXISTENT_SET: "set",
    145: "task",
}


class Answered(Exception):  # noqa: N818  (a refusal that its caller may expect)
    """An error that the interface answered with; ``number`` is 0 where it said none.

    ``repeated`` tells whether the request was sent before, and may have been done then.
    """

    def __init__(self, what: str, status: int, number: int, text: str) -> None:
        super().__init__(what, status, number, text)
        self.what = what
        self.status = status
        self.number = number
        self.text = text
        self.repeated = False


def answered(what: str, status: int, body: Any) -> Answered:
    """Return what an answer says that is not a success."""
    if not isinstance(body, dict):
        return Answered(what, status, 0, "")
    number = body.get("code")
    said = [str(body[name]) for name in ("desc", "ref") if body.get(name)]
    return Answered(what, status, number if type(number) is int else 0, ", ".join(said))


def error_of(refusal: Answered) -> Error:
    """Return our error for what the interface said."""
    said = refusal.text or f"HTTP {refusal.status}"
    if refusal.number in _BY_NUMBER:
        return _BY_NUMBER[refusal.number](refusal, said)
    if refusal.status == 503 and refusal.number not in (0, SVC_UNAVAIL):
        return LimitReached(refusal.what, said)
    return _BY_STATUS.get(refusal.status, _refused)(refusal, said)


def _refused(refusal: Answered, said: str) -> Error:
    return InvalidState(refusal.what, f"refused by {refusal.status} ({said})", "do that")


def _missing(refusal: Answered, said: str) -> Error:
    return NotFound(_KINDS.get(refusal.number, "resource"), f"{refusal.what} ({said})")


def _denied(_refusal: Answered, said: str) -> Error:
    return AccessDenied("this user with this password", f"the array ({said})")


def _misused(refusal: Answered, said: str) -> Error:
    return Misuse(refusal.what, said)


_BY_NUMBER: Final[dict[int, Callable[[Answered, str], Error]]] = {
    INV_USER_PASS: _denied,
    EXISTENT_LUN: lambda refusal, said: LunInUse(f"of {refusal.what}", said),
    NO_SPACE: lambda refusal, said: NoSpace(f"{refusal.what} ({said})", "more", "less"),
}
_BY_STATUS: Final[dict[int, Callable[[Answered, str], Error]]] = {
    400: _misused,
    401: _denied,
    404: _missing,
    406: _misused,
    413: _misused,
    415: _misused,
    501: lambda refusal, said: Unsupported(refusal.what, said),
}
