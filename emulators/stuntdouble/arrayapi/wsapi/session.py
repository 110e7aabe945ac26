"""Session keys: who may ask, and for how long.

A key is good until nobody has used it for fifteen minutes ("unused session keys expire
automatically", developer's guide 1.2), by the clock of the loop that serves.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import TYPE_CHECKING, Final

from stuntdouble.arrayapi.messages import Reply
from stuntdouble.arrayapi.wsapi.bodies import Shape, choice, no_body, text
from stuntdouble.arrayapi.wsapi.codes import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.arrayapi.messages import Request

HEADER: Final = "x-hp3par-wsapi-sessionkey"

IDLE_SECONDS: Final = 900.0  # developer's guide 1.2: fifteen minutes

SESSIONS_MAX: Final = 128
"""Chosen; no source.  A client that never logs out, which some do not, finds it."""

_LOGIN: Final = Shape(
    {
        "user": text(255, empty=True),
        "password": text(255, empty=True),
        "sessionType": choice(1, 2, 3),
    },
    ("user", "password"),
)


class WsapiSessions:
    """Implements ``Sessions``: logins and logouts, and what is refused before anything is done.

    Args:
        user: the one user there is; may do everything.
        password: of the user.
        sessions_max: keys that are good at a time.
        key: makes what tells one session from another.
    """

    def __init__(
        self,
        user: str,
        password: str,
        sessions_max: int = SESSIONS_MAX,
        key: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._user = user
        self._password = password
        self._sessions_max = sessions_max
        self._key = key
        self._used: dict[str, float] = {}

    def admit(self, request: Request) -> Reply | None:
        """Answer a login, a logout, and whoever may not ask; let everything else pass."""
        try:
            return self._admit(request)
        except Refusal as refusal:
            return refusal.reply()

    def expel(self, request: Request) -> Reply:
        """Forget the session of a request, and return what a client without one is told."""
        self._used.pop(request.headers.get(HEADER, ""), None)
        return Refusal("INV_SESS_KEY").reply()

    @property
    def open(self) -> int:
        """How many keys are good."""
        self._expire()
        return len(self._used)

    def _admit(self, request: Request) -> Reply | None:
        _check_headers(request)
        parts = request.parts
        if parts == ("api",):
            return None
        if parts[:3] == ("api", "v1", "credentials"):
            return self._credentials(request, parts[3:])
        self._expire()
        key = request.headers.get(HEADER, "")
        if key not in self._used:
            raise Refusal("INV_SESS_KEY")
        self._used[key] = asyncio.get_running_loop().time()
        return None

    def _credentials(self, request: Request, rest: tuple[str, ...]) -> Reply:
        self._expire()
        if request.method == "POST" and not rest:
            return self._login(request)
        if request.method == "DELETE" and len(rest) == 1:
            no_body(request.body)
            if self._used.pop(rest[0], None) is None:
                raise Refusal("INV_SESS_KEY")
            return Reply(200)
        raise Refusal("UNSUP_OP")

    def _login(self, request: Request) -> Reply:
        found = _LOGIN.read(request.body)
        right = hmac.compare_digest(
            f"{found['user']}\0{found['password']}".encode(),
            f"{self._user}\0{self._password}".encode(),
        )
        if not right:
            raise Refusal("INV_USER_PASS")
        if len(self._used) >= self._sessions_max:
            raise Refusal("SVC_UNAVAIL", f"{self._sessions_max} sessions are open")
        key = f"{len(self._used)}-{self._key()}"
        self._used[key] = asyncio.get_running_loop().time()
        return Reply(201, {"key": key}, (("Location", f"/api/v1/credentials/{key}"),))

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        self._used = {key: at for key, at in self._used.items() if now - at < IDLE_SECONDS}


def _check_headers(request: Request) -> None:
    """Refuse what is not JSON, or does not take JSON."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if request.body and kind.lower() != "application/json":
        raise Refusal("UNSUP_CONTENT", kind)
    accepted = [
        each.partition(";")[0].strip().lower()
        for each in request.headers.get("accept", "*/*").split(",")
    ]
    if not {"application/json", "application/*", "*/*", ""} & set(accepted):
        raise Refusal("UNSUP_REPRESENTATION", request.headers["accept"])
