"""Who may ask: tokens of REST 2 and cookies of REST 1, both good for half an hour without use.

    REST 2   POST login, header api-token       → header x-auth-token, sent with every request
    REST 1   POST auth/apitoken, user, password → the API token
             POST auth/session, API token       → cookie "session", set anew with every answer

An answer that sets no cookie would end the session of the vendor's own REST 1 client.
"""

from __future__ import annotations

import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.arrayapi import MalformedJsonError, Reply, strict_json
from stuntdouble.arrayapi.pure import rest1, rest2
from stuntdouble.arrayapi.pure.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.arrayapi import Door, Request

IDLE_SECONDS: Final = 1800.0  # "expire after 30 minutes of inactivity": the REST API guides
SESSIONS_MAX: Final = 10_000  # the one that has been idle for longest makes room; chosen

_EXPIRED: Final = "Session is invalid or has expired."
_COOKIE: Final = "session"


class Sessions:
    """Sessions of one user, who may do everything.

    Args:
        user: the account's name.
        password: for ``auth/apitoken``.
        api_token: what a login of either version needs.
        now: a clock in seconds, of the clients' kind of time.
        draw: gives a new, unguessable token.
    """

    def __init__(
        self,
        user: str,
        password: str,
        api_token: str,
        now: Callable[[], float],
        draw: Callable[[], str] = lambda: secrets.token_hex(32),
    ) -> None:
        self._user = user
        self._password = password
        self._api_token = api_token
        self._now = now
        self._draw = draw
        self._used: dict[str, float] = {}

    def admit(self, request: Request) -> Reply | None:
        """Answer a login or logout, and whoever has no session; let others pass."""
        parts = request.parts
        if parts == ("api", "api_version"):
            return None
        old = len(parts) > 1 and parts[1].startswith("1.")
        try:
            reply = None
            if len(parts) > 2 and parts[0] == "api":
                reply = self._signed(request, parts[1], parts[2:])
            if reply is None:
                self._check_session(request)
        except Refusal as refusal:
            return rest1.refused(refusal) if old else rest2.refused(refusal)
        return reply

    def expel(self, request: Request) -> Reply:
        """Forget the session of a request; tell it that it has none."""
        self._used.pop(_sent(request), None)
        refusal = Refusal(_EXPIRED, status=401)
        old = request.path.startswith("/api/1.")
        return rest1.refused(refusal) if old else rest2.refused(refusal)

    def keeping_cookies(self, door: Door) -> Door:
        """Return a door whose answers to REST 1 set the cookie of their session anew."""

        async def through(request: Request) -> Reply:
            reply = await door(request)
            if request.path.startswith("/api/1.") and reply.status == 200:
                headers = (*reply.headers, _setting(_sent(request)))
                return Reply(reply.status, reply.body, headers)
            return reply

        return through

    # Signing in and out. -------------------------------------------------------------------

    def _signed(self, request: Request, version: str, rest: tuple[str, ...]) -> Reply | None:
        """Answer what has to do with sessions; None for all else."""
        if version in rest2.VERSIONS and rest == ("login",) and request.method == "POST":
            self._check(request.headers.get("api-token", ""), self._api_token, "Invalid API token.")
            body = {"items": [{"username": self._user}]}
            return Reply(200, body, (("x-auth-token", self._begin()),))
        if version in rest2.VERSIONS and rest == ("logout",) and request.method == "POST":
            self._end(request)
            return Reply(200, {})
        if version in rest1.VERSIONS and rest == ("auth", "apitoken") and request.method == "POST":
            fields = _fields(request, "username", "password")
            self._check_user(fields)
            return Reply(200, {"api_token": self._api_token})
        if version in rest1.VERSIONS and rest == ("auth", "session"):
            return self._session(request)
        return None

    def _session(self, request: Request) -> Reply | None:
        if request.method == "DELETE":
            self._end(request)
            return Reply(200, {"username": self._user})
        if request.method != "POST":
            return None
        fields = _fields(request, "api_token", "username", "password")
        if "api_token" in fields:
            self._check(fields["api_token"], self._api_token, "Invalid API token.")
        else:
            self._check_user(fields)
        return Reply(200, {"username": self._user}, (_setting(self._begin()),))

    def _check_user(self, fields: dict[str, str]) -> None:
        right = hmac.compare_digest(fields.get("username", "").encode(), self._user.encode())
        text = "Invalid username or password."
        self._check(fields.get("password", ""), self._password, text, also=right)

    def _check(self, given: str, right: str, text: str, *, also: bool = True) -> None:
        if not (hmac.compare_digest(given.encode(), right.encode()) and also):
            raise Refusal(text, status=401)

    def _begin(self) -> str:
        now = self._now()
        self._used = {t: at for t, at in self._used.items() if now - at <= IDLE_SECONDS}
        if len(self._used) >= SESSIONS_MAX:
            del self._used[min(self._used, key=lambda token: self._used[token])]
        token = self._draw()
        self._used[token] = now
        return token

    def _end(self, request: Request) -> None:
        self._check_session(request)
        del self._used[_sent(request)]

    def _check_session(self, request: Request) -> None:
        """Refuse a request without a session; keep the session of another alive."""
        token, now = _sent(request), self._now()
        used = self._used.get(token)
        if used is None or now - used > IDLE_SECONDS:
            self._used.pop(token, None)
            raise Refusal(_EXPIRED, status=401)
        self._used[token] = now


def _sent(request: Request) -> str:
    """Return the token that a request was sent with: in a header, or in a cookie for REST 1."""
    if not request.path.startswith("/api/1."):
        return request.headers.get("x-auth-token", "")
    try:
        cookies = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[_COOKIE].value if _COOKIE in cookies else ""


def _setting(token: str) -> tuple[str, str]:
    return "set-cookie", f"{_COOKIE}={token}; Path=/api; HttpOnly; Secure"


def _fields(request: Request, *names: str) -> dict[str, str]:
    try:
        body: Any = strict_json(request.body)
    except MalformedJsonError as error:
        raise Refusal(f"Invalid JSON: {error}.") from None
    if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
        raise Refusal("Invalid body: an object of strings is expected.")
    for name in body:
        if name not in names:
            raise Refusal(f"Unknown field '{name}'.", name)
    return body
