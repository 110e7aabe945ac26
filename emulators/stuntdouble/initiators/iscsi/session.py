"""A session that stays: it is logged in anew, under the same ISID, when its connection is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import AccessDenied, Error, Misuse, Unreachable, Unsupported
from stuntdouble.initiators.iscsi.login import Login, MovedError
from stuntdouble.initiators.iscsi.talk import Talk, connected, parse_portal
from stuntdouble.initiators.iscsi.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.initiators.iscsi.login import Who
    from stuntdouble.initiators.iscsi.wire import Outcome
    from stuntdouble.initiators.wall import Wall

LOGIN_SECONDS: Final = 15.0
"""Wall time that a login may take: open-iscsi's ``login_timeout``."""

_REDIRECTIONS_MAX: Final = 4  # chosen: an array sends us on once
_WAIT_SECONDS: Final = 0.05
_WAIT_SECONDS_MAX: Final = 2.0
"""The first and the longest wait between two attempts.  Chosen: a controller that fails over takes
seconds, a dropped session none."""

_HOPELESS: Final = (AccessDenied, Misuse, Unsupported)
"""What another login will not make good; a target that is not found may be on its way back."""


class Session:
    """One session with a target through one portal.

    Args:
        portal: where to connect.
        who: both ends.
        wall: wall time.
        changed: hears when it comes and when it goes.
    """

    def __init__(self, portal: str, who: Who, wall: Wall, changed: Callable[[], object]) -> None:
        self.who = who
        self.where = f"{who.target or 'iSCSI discovery'} at {portal}"
        self.logins = 0
        self.failure: Error | None = None
        self.hopeless = False
        self._portal = portal
        self._wall = wall
        self._changed = changed
        self._wire: Wire | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether commands may be sent."""
        return self._wire is not None and not self._wire.lost

    @property
    def load(self) -> int:
        """How many commands are under way or wait."""
        return self._wire.load if self._wire is not None else 0

    def submit(
        self,
        lun: bytes,
        cdb: bytes,
        *,
        into: memoryview | None = None,
        out: memoryview | None = None,
    ) -> asyncio.Future[Outcome]:
        """Start a command; see ``Wire.submit``."""
        if self._wire is None:
            raise Unreachable(f"{self.where} (not logged in)")
        return self._wire.submit(lun, cdb, into=into, out=out)

    async def open(self) -> None:
        """Log in, once; raises what ``Login.run`` does, and TimedOut."""
        wire = await self._logged_in()
        if self._closed:
            await wire.close()
            raise Unreachable(f"{self.where} (closed)")
        self._wire = wire
        self.logins += 1
        self.failure = None
        self._changed()

    async def _logged_in(self) -> Wire:
        portal = self._portal
        async with self._wall.limit(LOGIN_SECONDS, f"the login to {self.where}"):
            for _ in range(_REDIRECTIONS_MAX):
                try:
                    return await self._attempt(portal)
                except MovedError as moved:
                    portal = str(moved)
                except OSError as error:
                    raise Unreachable(f"{self.where} ({error})") from error
        raise Misuse(self.where, f"it sends us on more than {_REDIRECTIONS_MAX} times")

    async def _attempt(self, portal: str) -> Wire:
        made = await connected(*parse_portal(portal))
        try:
            agreed = await Login(Talk(made, self.where), self.who).run()
            wire = Wire(self.where, agreed, self._wall, self._lost)
            await asyncio.get_running_loop().create_connection(lambda: wire, sock=made)
        except BaseException:
            made.close()
            raise
        return wire

    def _lost(self) -> None:
        """Begin to come back."""
        self._changed()
        if not self._closed and self._reviving is None:
            self._reviving = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        """Log in again and again, until it succeeds or can succeed no more."""
        wait = _WAIT_SECONDS
        try:
            while not self._closed and not self.alive:
                await self._wall.sleep(wait)
                wait = min(2 * wait, _WAIT_SECONDS_MAX)
                try:
                    await self.open()
                except Error as error:
                    self.failure = error
                    self.hopeless = isinstance(error, _HOPELESS)
                    self._changed()
                    if self.hopeless:
                        return
        finally:
            self._reviving = None

    async def close(self) -> None:
        """Log out; idempotent."""
        self._closed = True
        if self._reviving is not None:
            self._reviving.cancel()
            await asyncio.gather(self._reviving, return_exceptions=True)
        if self._wire is not None:
            await self._wire.close()
