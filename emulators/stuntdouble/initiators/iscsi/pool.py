"""All sessions with one target: which of them takes the next command, and what to do when none can.

Commands go to the session with the fewest under way, so that several connections, and a target's
several threads, share the work.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import scsi
from stuntdouble.errors import InvalidState, Unreachable
from stuntdouble.initiators.iscsi.session import Session
from stuntdouble.initiators.iscsi.verdict import Asked, Next, judge
from stuntdouble.initiators.wall import Patience

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.initiators.iscsi.login import Who
    from stuntdouble.initiators.wall import Wall

PATIENCE_SECONDS: Final = 30.0
"""Wall time for which a command is tried again when a unit is busy, or nobody answers.  Chosen: a
controller that fails over takes half of it."""


class Pool:
    """The sessions with a target.

    Args:
        portal: where it is.
        whos: both ends of each session.
        wall: wall time.
        patience_seconds: for how long to try again.
    """

    def __init__(
        self, portal: str, whos: Sequence[Who], wall: Wall, patience_seconds: float
    ) -> None:
        self.wall = wall
        self.iqn = whos[0].iqn
        self.users = 0
        self.patience_seconds = patience_seconds
        self.closed = False
        self._moved = asyncio.Event()
        self.sessions = tuple(Session(portal, who, wall, self._moved.set) for who in whos)
        self.where = self.sessions[0].where

    async def open(self) -> None:
        """Log all sessions in; where one of them fails, none is left."""
        try:
            await self.sessions[0].open()  # one that is refused is refused once
            async with asyncio.TaskGroup() as group:
                for session in self.sessions[1:]:
                    group.create_task(session.open())
        except BaseException as error:
            await self.close()
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise

    def patience(self) -> Patience:
        """Return the patience of one command."""
        return Patience(self.wall, self.patience_seconds)

    async def pick(self) -> Session:
        """Return the session with the fewest commands, once any is there.

        Raises:
            InvalidState: the pool is closed.
            Unreachable: none for a while; or what a login is refused with.
        """
        over = False

        def end() -> None:
            nonlocal over
            over = True
            self._moved.set()

        timer = self.wall.call_later(self.patience_seconds, end)
        try:
            while True:
                if self.closed:
                    raise InvalidState(self.where, "closed", "read it")
                alive = [each for each in self.sessions if each.alive]
                if alive:
                    return min(alive, key=lambda each: each.load)
                failures = [each.failure for each in self.sessions if each.failure]
                if over or all(each.hopeless for each in self.sessions):
                    raise failures[0] if failures else Unreachable(self.where)
                self._moved.clear()
                await self._moved.wait()
        finally:
            timer.cancel()

    async def again(self, session: Session) -> Session:
        """Return *session* once it is back; see ``pick``."""
        while not session.alive:
            if self.closed or session.hopeless:
                raise session.failure or InvalidState(self.where, "closed", "write it")
            self._moved.clear()
            async with self.wall.limit(self.patience_seconds, f"waiting for {self.where}"):
                await self._moved.wait()
        return session

    async def ask(
        self,
        session: Session,
        lun: bytes,
        cdb: bytes,
        length: int,
        where: str,
        heard: list[str] | None = None,
    ) -> memoryview:
        """Run a command that tells something; return what it tells.

        Unit attentions are let pass, and put down in *heard*.  Raises what ``judge`` does, and Lost.
        """
        asked = Asked(self.iqn, where, 0, length)
        patience = self.patience()
        while True:
            into = memoryview(bytearray(length))
            outcome = await session.submit(lun, cdb, into=into if length else None)
            then, trouble = judge(outcome, asked)
            if then is Next.DONE:
                return into[: outcome.got]
            if trouble is not None:
                await patience.again(trouble)
                continue
            patience.heard(where)
            if heard is not None:
                heard.append(where)

    async def page(self, session: Session, lun: bytes, page: int, where: str) -> bytes:
        """Return a page of vital product data, all of it."""
        length = scsi.ALLOCATION_BYTES
        data = await self.ask(session, lun, scsi.inquiry(page, length), length, where)
        whole = scsi.page_bytes(bytes(data))
        if whole > length:
            data = await self.ask(session, lun, scsi.inquiry(page, whole), whole, where)
        return bytes(data)

    async def luns(self, session: Session) -> tuple[bytes, ...]:
        """Return the LUN fields that the target shows us."""
        nil = scsi.pack_lun(0)
        found: memoryview = await self.ask(
            session, nil, scsi.report_luns(), scsi.REPORT_LUNS_BYTES, self.where
        )
        return scsi.parse_report_luns(bytes(found))

    async def close(self) -> None:
        """Log out; idempotent."""
        self.closed = True
        self._moved.set()
        await asyncio.gather(*[each.close() for each in self.sessions])
