"""A FlashArray's REST 2 over HTTP: sessions, retries, lists; what is asked of it is said elsewhere.

Plain httpx and not the vendor's library: that takes 800 MB, and hides which requests were sent and
which answers were lost, which is what a backup server has to know.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from stuntdouble.adapters.pure.problems import PureRefusal, said_of
from stuntdouble.adapters.pure.trust import normal_fingerprint, pinned
from stuntdouble.errors import (
    AccessDenied,
    Interrupted,
    InvalidState,
    Misuse,
    TimedOut,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    Item = dict[str, Any]

ANSWER_SECONDS: Final = 120.0
"""For an answer.  Chosen: an array may be busy, but a backup cannot wait for ever."""

_BUSY_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses after answers of 503, anew for every request.  Chosen."""

_PAGE_ITEMS: Final = 500  # asked for at once; chosen

NEWEST: Final = 26
"""Minor version of REST 2 for which this was written; an older one down to 2 will do."""

_OLDEST: Final = 2  # the first with promotion states, which a read-only copy needs


class PureClient:
    """A client of REST 2; a context manager that closes its connections.

    Args:
        url: of the array, such as ``https://10.0.0.1``.
        api_token: of the user who asks.
        fingerprint: SHA-256 of the array's certificate, in hexadecimal: the only one to trust.
        insecure: whether to trust any certificate; without both, authorities decide.
        transport: in a socket's place, for tests.
    """

    def __init__(
        self,
        url: str,
        api_token: str,
        *,
        fingerprint: str | None = None,
        insecure: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._fingerprint = fingerprint and normal_fingerprint(fingerprint)
        self._insecure = insecure
        self._api_token = api_token
        self._transport = transport
        self._http: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._signing = asyncio.Lock()
        self._session = ""
        self._version = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session and close the connections; idempotent."""
        http, self._http = self._http, None
        if http is None:
            return
        try:
            if self._session:
                headers = {"x-auth-token": self._session}
                await http.post(f"/api/{self._version}/logout", headers=headers, timeout=5.0)
        except (httpx.HTTPError, OSError):
            pass  # it ends by itself
        finally:
            self._session = ""
            await http.aclose()

    # Asking. -----------------------------------------------------------------------------------

    async def items(self, resource: str, **query: str) -> list[Item]:
        """Return every item of a list, page after page.

        Raises:
            InvalidState: the list contradicts itself: it is told to be longer or shorter than it
                is, or has something twice.
            PureRefusal: the array refuses.
            Lost: nobody answers.
        """
        found, pages = await self._pages(resource, query)
        if len(pages) > 1 and _contradiction(found, pages):
            found, pages = await self._pages(resource, query)  # it may have changed in between
        wrong = _contradiction(found, pages)
        if wrong:
            what = f"the list of {resource} at {self.url}"
            raise InvalidState(what, f"contradictory ({wrong})", "go by it")
        return found

    async def _pages(
        self, resource: str, query: Mapping[str, str]
    ) -> tuple[list[Item], list[Item]]:
        asked = {"total_item_count": "true", "limit": str(_PAGE_ITEMS), **query}
        found: list[Item] = []
        pages: list[Item] = []
        while True:
            page = await self.ask("GET", resource, query=asked)
            if not _are_items(page.get("items")):
                raise Interrupted(f"the answer to GET {resource} at {self.url}")
            pages.append(page)
            found += page["items"]
            token = page.get("continuation_token")
            if not page.get("more_items_remaining") or not token or not page["items"]:
                return found, pages
            asked["continuation_token"] = str(token)

    async def change(
        self, method: str, resource: str, body: Any = None, **query: str
    ) -> list[Item]:
        """Ask for a change; return the items of the answer, none for a DELETE.

        Raises:
            PureRefusal: the array refuses, all of it or parts.
            Lost: nobody answers, or the answer was lost; whether it took effect is unknown.
        """
        answer = await self.ask(method, resource, body=body, query=query)
        if method == "DELETE":
            return []
        items: Any = answer.get("items")
        if not _are_items(items):
            raise Interrupted(f"the answer to {method} {resource} at {self.url}")
        found: list[Item] = items
        return found

    async def ask(
        self,
        method: str,
        resource: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> Item:
        """Send a request as often as it takes; return the JSON of the answer, {} for none.

        It is sent again where the array has not done it for sure: it had no session (once), or the
        array was not available (503, with growing pauses that begin anew with every request).
        """
        renewed = False
        while True:
            session = await self._signed_in()
            answer = await self._send(
                method,
                f"/api/{self._version}/{resource}",
                headers={"x-auth-token": session},
                body=body,
                query=query,
            )
            if answer.status_code != 401 or renewed:
                return self._read(answer, f"{method} {resource}")
            renewed = True
            if self._session == session:
                self._session = ""

    def _read(self, answer: httpx.Response, request: str) -> Item:
        if answer.status_code in (401, 403):
            raise AccessDenied("this API token", f"{request} at {self.url}")
        try:
            body = answer.json() if answer.content else {}
        except ValueError:
            body = None
        if answer.is_success and isinstance(body, dict):
            return body
        if answer.is_success:
            raise Interrupted(f"the answer to {request} at {self.url}")
        said = said_of(body)
        if said:
            raise PureRefusal(said)
        if answer.status_code >= 500:
            raise Interrupted(f"{request} at {self.url}")
        status = f"answering {answer.status_code} without a word"
        raise InvalidState(f"the array at {self.url}", status, request)

    # Sessions. ---------------------------------------------------------------------------------

    async def _signed_in(self) -> str:
        """Return the session, which is begun where there is none."""
        async with self._signing:
            if not self._version:
                self._version = await self._newest_version()
            if not self._session:
                self._session = await self._begin()
            return self._session

    async def _begin(self) -> str:
        path = f"/api/{self._version}/login"
        answer = await self._send("POST", path, headers={"api-token": self._api_token})
        token = str(answer.headers.get("x-auth-token", ""))
        if answer.status_code != 200 or not token:
            raise AccessDenied("this API token", f"the array at {self.url}")
        return token

    async def _newest_version(self) -> str:
        """Return the newest version that both sides speak."""
        answer = await self._send("GET", "/api/api_version")
        try:
            listed = answer.json()["version"]
            minors = [int(m[1]) for v in listed if (m := re.fullmatch(r"2\.([0-9]{1,3})", str(v)))]
        except (ValueError, KeyError, TypeError):
            text = f"is no FlashArray: it answers {answer.status_code} to /api/api_version"
            raise Misuse(self.url, text) from None
        spoken = [minor for minor in minors if _OLDEST <= minor <= NEWEST]
        if not spoken:
            raise Misuse(self.url, f"speaks none of REST 2.{_OLDEST} to 2.{NEWEST}")
        return f"2.{max(spoken)}"

    async def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request until the array is available for it; the pauses grow."""
        for pause in (*_BUSY_SECONDS, None):
            answer = await self._once(method, path, headers, body, query)
            if answer.status_code != 503:
                return answer
            if pause is not None:
                await asyncio.sleep(pause)
        raise Unreachable(f"the array at {self.url}")

    async def _once(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        body: Any,
        query: Mapping[str, str] | None,
    ) -> httpx.Response:
        http = await self._opened()
        try:
            return await http.request(
                method, path, headers=headers, json=body, params=query or None
            )
        except httpx.TimeoutException as error:
            raise TimedOut(f"{method} {path} at {self.url}", f"{ANSWER_SECONDS:g}") from error
        except (httpx.TransportError, httpx.InvalidURL, OSError) as error:
            raise Unreachable(f"the array at {self.url}") from error

    async def _opened(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._http is None:
                verify: Any = not self._insecure
                if self._fingerprint and self._transport is None:
                    verify = await pinned(self.url, self._fingerprint, ANSWER_SECONDS)
                self._http = httpx.AsyncClient(
                    base_url=self.url,
                    verify=verify,
                    timeout=ANSWER_SECONDS,
                    transport=self._transport,
                    trust_env=False,
                )
            return self._http


def _are_items(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, dict) for each in found)


def _contradiction(found: list[Item], pages: list[Item]) -> str:
    """Return what does not fit in a list; nothing where all of it does."""
    last = pages[-1]
    if last.get("more_items_remaining"):
        return "more is said to come, and nothing does"
    total = last.get("total_item_count")
    if total is not None and total != len(found):
        return f"{total} items are announced, {len(found)} came"
    names = [str(item["name"]).casefold() for item in found if item.get("name") is not None]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return f"{twice} is there twice"
    return ""
