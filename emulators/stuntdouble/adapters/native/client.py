"""The native interface, path by path, over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx

from stuntdouble.adapters.native.problems import error_of
from stuntdouble.errors import (
    AccessDenied,
    InvalidState,
    Misuse,
    NotFound,
    TimedOut,
    Unreachable,
)
from stuntdouble.extents import OffsetTable, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ANSWER_SECONDS: Final = 150.0
"""Wall time for an answer: the server itself gives up after 60 s, after 120 s where it restores."""

_PAGE_ROWS: Final = 10_000
"""Rows asked for at once; a megabyte of JSON.  Chosen."""

_WAIT_SECONDS: Final = 20.0
"""Wall time that the server is asked to wait until a digest is done."""

_STATES: Final = {
    "written": State.WRITTEN,
    "zeroed": State.TO_BE_ZEROED,
    "hole": State.HOLE,
}


@dataclass(frozen=True, slots=True)
class Clock:
    """Site time in seconds, how many of them pass in a wall second, and whether they do."""

    seconds: float
    rate: float
    paused: bool
    lag_seconds: float


@dataclass(frozen=True, slots=True)
class Served:
    """Which site is served: scenario, seed and engine, and what it consists of, by name."""

    scenario: str
    seed: int
    engine: str
    vms: tuple[str, ...]
    datastores: tuple[str, ...]
    arrays: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the site's journal."""

    seconds: float
    kind: str
    subject: str
    facts: Mapping[str, Any]


class NativeClient:
    """A client of the native interface; a context manager that closes its connections.

    Args:
        url: of the interface, such as ``http://127.0.0.1:8080/api/v1``.
        user: who asks.
        password: of the user.
        transport: in a socket's place, for tests.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._given_up = False
        self._http = httpx.AsyncClient(
            base_url=self.url + "/",
            auth=httpx.BasicAuth(user, password),
            timeout=_ANSWER_SECONDS,
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; idempotent."""
        await self._http.aclose()

    def give_up(self) -> None:
        """Let every request fail at once from now on: nobody is there who would answer."""
        self._given_up = True

    # Asking. -----------------------------------------------------------------------------------

    async def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a path below the interface's; see ``ask``."""
        return await self.ask("GET", path, query=query)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        seconds: float = _ANSWER_SECONDS,
    ) -> Any:
        """Ask for something; return the JSON of the answer, None where it has none.

        Args:
            method: GET, POST, PUT or DELETE.
            path: below the interface's own.
            body: what is sent, as JSON.
            query: of the URL.
            seconds: wall time that the answer may take.

        Raises:
            Error: what the site said, as far as it can be told; see ``problems``.
            Unreachable: nobody answers, or the connection broke.
            TimedOut: no answer came in time; whether it took effect is unknown.
        """
        if self._given_up:
            raise Unreachable(f"the native interface at {self.url}")
        try:
            answer = await self._http.request(
                method, path, json=body, params=query or None, timeout=seconds
            )
        except httpx.TimeoutException as error:
            raise TimedOut(f"{method} {path} at {self.url}", f"{seconds:g}") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unreachable(f"the native interface at {self.url}") from error
        if answer.is_success:
            return answer.json() if answer.content else None
        if answer.status_code == 401:
            raise AccessDenied("this user with this password", f"the interface at {self.url}")
        try:
            problem = answer.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            status = f"answering {answer.status_code} without a Problem"
            raise InvalidState(f"{method} {self.url}/{path}", status, "go on")
        raise error_of(problem)

    # The site and its clock. -------------------------------------------------------------------

    async def check(self, seconds: float = _ANSWER_SECONDS) -> None:
        """Make sure that there is such an interface, and that the user may ask.

        Raises:
            Misuse: something else answers there.
            Unreachable: nobody does.
            TimedOut: not within wall *seconds*.
        """
        try:
            found = await self.ask("GET", "health", seconds=seconds)
        except (NotFound, InvalidState) as error:
            raise Misuse(self.url, f"is no native interface: {error}") from error
        if not isinstance(found, dict) or not found.get("ok"):
            raise Misuse(self.url, "is no native interface that is well")

    async def site(self) -> Served:
        """Return which site is served."""
        found = await self.get("site")
        return Served(
            found["scenario"],
            found["seed"],
            found["engine"],
            tuple(vm["name"] for vm in found["vms"]),
            tuple(store["name"] for store in found["datastores"]),
            tuple(found["volumes"]),
        )

    async def clock(self) -> Clock:
        """Return site time."""
        return _clock(await self.get("clock"))

    async def epoch(self) -> datetime:
        """Return the calendar time of site time 0, to the second."""
        found = await self.get("clock")
        began = datetime.fromisoformat(found["calendar"]) - timedelta(seconds=found["seconds"])
        return (began + timedelta(seconds=0.5)).replace(microsecond=0)

    async def advance(self, seconds: float) -> Clock:
        """Let *seconds* of site time pass as fast as they can."""
        return _clock(await self.ask("POST", "clock/advance", body={"seconds": seconds}))

    # The truth. --------------------------------------------------------------------------------

    async def offset_table(self, vm: str, disk: int, snapshot: str) -> OffsetTable:
        """Return the whole offset table of a frozen disk, however many answers it takes.

        Raises:
            InvalidState: the answers do not fit together, or lead nowhere.
        """
        path = f"vms/{_part(vm)}/disks/{disk}/offset-table"
        rows: list[dict[str, Any]] = []
        start: int | None = 0
        size = 0
        while start is not None:
            page = await self.get(path, snapshot=snapshot, start=start, limit=_PAGE_ROWS)
            rows += page["map"]
            size, before, start = page["size"], start, page["next"]
            if start is not None and start <= before:
                raise InvalidState(f"disk {disk} of {vm}", f"leading back to {start}", "list it")
        try:
            return _table(size, rows)
        except (ValueError, KeyError) as error:
            said = f"told in rows that do not fit ({error})"
            raise InvalidState(f"disk {disk} of {vm}", said, "read it") from error

    async def digest(self, vm: str, disk: int, at: str) -> str:
        """Return the BLAKE3 of what a guest had written at a snapshot, there or gone.

        Raises:
            NotFound: there is no such snapshot, or its truth has been let go of.
        """
        request = {"vm": vm, "disk": disk, "at": at}
        begun = await self.ask("POST", "oracle/digests", body=request)
        path = f"oracle/digests/{begun['id']}"
        try:
            while begun["blake3"] is None:
                begun = await self.get(path, wait=_WAIT_SECONDS)
            return str(begun["blake3"])
        finally:
            await asyncio.shield(self.ask("DELETE", path))

    async def journal(self, kinds: Iterable[str], since: float) -> list[Line]:
        """Return the lines of some kinds from *since* on, in order."""
        found: list[Line] = []
        cursor = -1
        page: dict[str, Any] = {"cursor": 0}
        while page["cursor"] != cursor:
            cursor = page["cursor"]
            page = await self.get("journal", cursor=cursor, limit=_PAGE_ROWS, kind=list(kinds))
            found += [
                Line(each["seconds"], each["kind"], each["subject"], each["facts"])
                for each in page["events"]
                if each["seconds"] >= since
            ]
        return found

    # Going back. -------------------------------------------------------------------------------

    async def checkpoint(self) -> Any:
        """Take the site as it is; what ``restore`` takes."""
        return await self.ask("POST", "checkpoint")

    async def restore(self, checkpoint: Any) -> Clock:
        """Put the site back to a checkpoint; sessions and devices of the former one are gone."""
        return _clock(await self.ask("POST", "restore", body=checkpoint))


def _clock(found: dict[str, Any]) -> Clock:
    return Clock(found["seconds"], found["rate"], found["paused"], found["lag_seconds"])


def _table(size: int, rows: list[dict[str, Any]]) -> OffsetTable:
    volumes = list(dict.fromkeys(row["lun"] for row in rows if row["lun"]))
    number = {"": -1} | {name: place for place, name in enumerate(volumes)}
    return OffsetTable(
        volumes,
        size,
        [
            (
                number[row["lun"]],
                row["logical"],
                row["physical"],
                row["length"],
                _STATES[row["state"]],
            )
            for row in rows
        ],
    )


def _part(name: str) -> str:
    return quote(name, safe="")
