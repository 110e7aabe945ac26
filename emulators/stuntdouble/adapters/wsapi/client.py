"""Requests and their answers: sessions that are renewed, services that are not there for a while.

    session gone (401, or 403 with the number of a bad key)   log in again, ask once more
    503 without a refusal's number                            ask again, after longer and longer pauses
    anything else that is no success                          ``Answered``, for the caller to judge
    no answer, half an answer, a time-out                     Lost: whether it was done is unknown

Every request counts its own attempts: an array that was away for a while is asked as patiently
the next time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx

from stuntdouble.adapters.wsapi.problems import (
    INV_SESS_KEY,
    SVC_UNAVAIL,
    answered,
    error_of,
)
from stuntdouble.errors import Interrupted, InvalidState, TimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADER: Final = "X-HP3PAR-WSAPI-SessionKey"

_ANSWER_SECONDS: Final = 120.0
"""Wall time for an answer.  Chosen: twice what a served site takes at most."""

_UNKNOWN: Final = (408, 502, 504)  # RFC 9110: time-out, or a gateway's: it may have been done

RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a service that was not there is asked again.  Chosen."""


class WsapiClient:
    """A client of the interface; a context manager that logs out and closes its connections.

    Args:
        url: of the interface, such as ``http://127.0.0.1:8008/api/v1``.
        user: who asks.
        password: of the user.
        verify: whether a certificate must be one that this machine trusts.
        retry_seconds: pauses before a service that is unavailable is asked again.
        transport: in a socket's place, for tests.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        *,
        verify: bool = True,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._login = {"user": user, "password": password}
        self._retry_seconds = tuple(retry_seconds)
        self._key = ""
        self._logging_in = asyncio.Lock()
        self._http = httpx.AsyncClient(
            base_url=self.url + "/",
            timeout=_ANSWER_SECONDS,
            transport=transport,
            verify=verify,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Log out, where that can be done, and close the connections; idempotent."""
        key, self._key = self._key, ""
        if key and not self._http.is_closed:
            with suppress(httpx.HTTPError):  # else the key expires by itself
                await self._http.delete(f"credentials/{part(key)}")
        await self._http.aclose()

    # Asking. -----------------------------------------------------------------------------------

    async def get(self, path: str, query: str = "") -> dict[str, Any]:
        """Return the object at a path; see ``ask``.

        Raises:
            InvalidState: it is no object.
        """
        found = await self.ask("GET", path, query=query)
        body = found.body
        if body is None:
            raise Interrupted(f"the answer to GET {path}, which has no body,")
        if not isinstance(body, dict):
            raise InvalidState(f"GET {path}", "answered by what is no object", "understand it")
        return body

    async def listed(self, path: str, query: str = "") -> list[dict[str, Any]]:
        """Return the members of a list.

        Raises:
            InvalidState: it contradicts itself: nothing can be concluded from it.
        """
        found = await self.get(path, query)
        members, total = found.get("members"), found.get("total")
        if not isinstance(members, list) or not all(isinstance(each, dict) for each in members):
            raise InvalidState(f"the list {path}", "without members", "understand it")
        if type(total) is not int or total != len(members):
            said = f"said to have {total} members while {len(members)} are there"
            raise InvalidState(f"the list {path}", said, "conclude anything from it")
        return members

    async def ask(self, method: str, path: str, body: Any = None, *, query: str = "") -> Answer:
        """Ask for something; return the answer if it is a success.

        Args:
            method: GET, POST, PUT or DELETE.
            path: below the interface's own.
            body: what is sent, as JSON.
            query: a filter, such as ``copyOf EQ volume``.

        Raises:
            Answered: the interface refuses it.
            AccessDenied: user and password are wrong.
            Unreachable: nobody answers, the connection broke, or the service stayed away.
            TimedOut: no answer came in time.
            Interrupted: half an answer came.
        """
        renewed = repeated = False
        pauses = iter(self._retry_seconds)
        while True:
            key = await self._session()
            answer = await self._sent(method, path, body, query, key)
            if answer.status < 300:
                return answer
            refusal = answered(f"{method} {path}", answer.status, answer.body)
            gone = answer.status == 401 or (answer.status == 403 and refusal.number == INV_SESS_KEY)
            away = answer.status == 503 and refusal.number in (0, SVC_UNAVAIL)
            if gone and not renewed:
                renewed = True
                self._forget(key)
            elif away:
                repeated = True
                await self._pause(pauses)
            elif answer.status in _UNKNOWN:
                raise Interrupted(f"{refusal.what} (HTTP {answer.status}, {refusal.text})")
            else:
                refusal.repeated = repeated
                raise refusal

    async def _pause(self, pauses: Any) -> None:
        seconds = next(pauses, None)
        if seconds is None:
            raise Unreachable(f"the service at {self.url}")
        await asyncio.sleep(seconds)

    def _forget(self, key: str) -> None:
        if self._key == key:  # somebody else may have logged in meanwhile
            self._key = ""

    async def _session(self) -> str:
        async with self._logging_in:
            pauses = iter(self._retry_seconds)
            while not self._key:
                answer = await self._sent("POST", "credentials", self._login, "", "")
                if answer.status < 300:
                    self._key = _key_in(answer.body)
                    break
                refusal = answered("POST credentials", answer.status, answer.body)
                if answer.status != 503:
                    raise error_of(refusal)
                await self._pause(pauses)
            return self._key

    async def _sent(self, method: str, path: str, body: Any, query: str, key: str) -> Answer:
        try:
            answer = await self._http.request(
                method,
                path,
                json=body,
                params={"query": f'"{query}"'} if query else None,
                headers={"Accept": "application/json"} | ({_HEADER: key} if key else {}),
            )
        except httpx.TimeoutException as error:
            raise TimedOut(f"{method} {path} at {self.url}", f"{_ANSWER_SECONDS:g}") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unreachable(f"the array at {self.url}") from error
        except httpx.DecodingError as error:
            raise Interrupted(f"{method} {path}") from error
        try:
            found = answer.json() if answer.content else None
        except ValueError:
            if answer.is_success:
                raise Interrupted(f"the answer to {method} {path}, which is no JSON,") from None
            found = None
        return Answer(answer.status_code, found, answer.headers.get("location", ""))


class Answer:
    """A status, the JSON that came with it or None, and where what was made is."""

    __slots__ = ("body", "location", "status")

    def __init__(self, status: int, body: Any, location: str) -> None:
        self.status = status
        self.body = body
        self.location = location


def _key_in(body: Any) -> str:
    key = body.get("key") if isinstance(body, dict) else None
    if not isinstance(key, str) or not key:
        raise Interrupted("the answer to a login, which has no key,")
    return key


def part(name: str) -> str:
    """Return a name as a segment of a path."""
    return quote(name, safe=",:")
