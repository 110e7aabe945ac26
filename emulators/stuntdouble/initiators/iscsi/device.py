"""A mapped LUN, read and written over the sessions of a pool.

Who it is is asked before anything else, on each session: at first, after each new login, and after
each unit attention, for a LUN number that was freed is given to the next volume that is mapped.
Nothing is handed out while a unit attention stands that has not been looked into; and at the end of
a read it is asked once more.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast

from stuntdouble.codecs import scsi
from stuntdouble.errors import AccessDenied, Interrupted, InvalidState, Lost, Misuse, Unsupported
from stuntdouble.initiators.iscsi.verdict import Asked, Next, judge
from stuntdouble.initiators.reading import Reading, carriers, pieces
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from stuntdouble.errors import Error
    from stuntdouble.extents import Runs
    from stuntdouble.initiators.iscsi.pool import Pool
    from stuntdouble.initiators.iscsi.session import Session
    from stuntdouble.initiators.iscsi.wire import Outcome
    from stuntdouble.initiators.wall import Patience
    from stuntdouble.ports import Span, Throttle

COMMAND_BYTES_MAX: Final = MIB
"""The longest command, also where the unit allows more.  Measured: 2.1 GiB/s from a target in C on
two processors, half of it at 4 MiB, which do not stay in the cache from target to reader."""

_WRITE_BYTES: Final = MIB
"""What a write is cut into: the block size that backup products restore by."""

_WRITES_UNDER_WAY: Final = 8  # chosen: as many as a throttle reads with, if nobody says otherwise


async def identify(pool: Pool, session: Session, lun: bytes) -> str:
    """Return the NAA identifier of the disk at *lun*, or nothing where there is none."""
    where = f"LUN {lun.hex()} of {pool.where}"
    data = await pool.ask(session, lun, scsi.inquiry(), scsi.ALLOCATION_BYTES, where)
    if not scsi.Inquiry.parse(bytes(data)).is_disk:
        return ""
    page = await pool.page(session, lun, scsi.Page.IDENTIFICATION, where)
    return scsi.naa_of(scsi.parse_identification(page))


class IscsiDevice:
    """A LUN; made by ``IscsiInitiator.attach``."""

    def __init__(
        self,
        pool: Pool,
        lun: bytes,
        naa: str,
        gap_bytes: int,
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self.identity = naa
        self.size_bytes = 0
        self.block_bytes = 512
        self._pool = pool
        self._lun = lun
        self._gap = gap_bytes
        self._release = release
        self._where = f"{naa} at {pool.where}"
        self._trusted: dict[Session, int] = {}
        self._doubts: dict[Session, int] = {}
        self._locks = {session: asyncio.Lock() for session in pool.sessions}
        self._command_bytes = COMMAND_BYTES_MAX
        self._closed = False

    async def open(self) -> None:
        """Learn who and how large it is, and how long a command may be."""
        session = await self._pool.pick()
        await self._verify(session)
        limits = scsi.Page.BLOCK_LIMITS
        try:
            page = await self._pool.page(session, self._lun, limits, self._where)
            most = scsi.BlockLimits.parse(page).most * self.block_bytes
        except Misuse:  # a unit need not have the page
            most = 0
        self._command_bytes = min(most or COMMAND_BYTES_MAX, COMMAND_BYTES_MAX)

    # Who it is. --------------------------------------------------------------------------------

    async def _trust(self, session: Session) -> None:
        """Make sure that the LUN is still our volume, where there may be a doubt."""
        if self._trusted.get(session) != session.logins:
            async with self._locks[session]:
                if self._trusted.get(session) != session.logins:
                    await self._verify(session)

    async def _verify(self, session: Session) -> None:
        """Ask who and how large it is, after all that it has to say by itself.

        Raises:
            AccessDenied: it is not mapped to us any more.
            InvalidState: it is another volume by now.
        """
        login, patience = session.logins, self._pool.patience()
        while True:
            doubts = self._doubts.get(
                session, 0
            )  # what is said from now on is not answered by this
            await self._ask(session, scsi.test_unit_ready(), 0)
            self._require_ours(await identify(self._pool, session, self._lun))
            heard: list[str] = []
            data = await self._ask(session, scsi.read_capacity(), scsi.CAPACITY_BYTES, heard)
            if not heard and self._doubts.get(session, 0) == doubts:
                break
            patience.heard(self._where)
        capacity = scsi.Capacity.parse(bytes(data))
        self.size_bytes, self.block_bytes = capacity.size_bytes, capacity.block_bytes
        self._trusted[session] = login
        self._doubts.pop(session, None)

    def _require_ours(self, found: str) -> None:
        number = f"LUN {scsi.parse_lun(self._lun)} of {self._pool.where}"
        if not found:
            raise AccessDenied(self._pool.iqn, f"{self._where}: it is not mapped at {number}")
        if found != self.identity:
            raise InvalidState(number, f"volume {found}", f"read {self.identity} there")

    async def _ask(
        self, session: Session, cdb: bytes, length: int, heard: list[str] | None = None
    ) -> memoryview:
        return await self._pool.ask(session, self._lun, cdb, length, self._where, heard)

    async def _settled(self) -> None:
        """Return when no unit attention stands that has not been looked into."""
        while self._doubts:
            session = next(iter(self._doubts))
            try:
                if session.alive:
                    await self._trust(session)
                    continue
            except Lost:
                if session.alive:
                    raise
            await self._confirm()  # by another one, or by this one when it is back
            self._doubts.pop(session, None)

    async def _confirm(self) -> None:
        """Ask once more who it is, of any session."""
        patience = self._pool.patience()
        while True:
            session = await self._pool.pick()
            try:
                async with self._locks[session]:
                    await self._verify(session)
            except Lost as error:
                await patience.again(error)
            else:
                return

    # Reading. ----------------------------------------------------------------------------------

    async def read(self, runs: Runs, throttle: Throttle) -> AsyncIterator[Span]:
        """Yield the bytes of *runs* in rising order; see ``ports.BlockDevice``.

        Neighbours are read by one command, also across small gaps; what lies in the gaps is not
        handed out.  A lost connection costs time: it is opened anew, and what was under way is
        asked for again.

        Raises:
            Misuse: beyond the end.
            MediumError: a block that cannot be read.
            AccessDenied: the LUN is not mapped to us any more.
            InvalidState: it is another volume now.
            Unreachable: the target does not come back.
        """
        self._require_open("read it")
        if runs.clip(0, self.size_bytes) != runs:
            raise Misuse(self._where, f"a read beyond its end at {self.size_bytes} bytes")
        if not runs:
            return
        wide = carriers(runs, self.block_bytes, self._gap)
        most = min(self._command_bytes, max(throttle.block_bytes, self.block_bytes))
        most -= most % self.block_bytes
        reading = Reading(self._fetch, wide, throttle, most, zeroed=False)
        async with aclosing(cast("AsyncGenerator[Span, None]", reading.spans())) as spans:
            async for span in spans:
                await self._settled()
                for piece in pieces(runs, span):
                    yield piece
        await self._confirm()

    def _fetch(self, offset: int, target: memoryview) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_task(self._read(offset, target))

    async def _read(self, offset: int, target: memoryview) -> None:
        """Fill *target*; try again where that may help."""
        block = self.block_bytes
        cdb = scsi.read(offset // block, len(target) // block)
        asked = Asked(self._pool.iqn, self._where, offset, len(target), block)
        patience = self._pool.patience()
        while True:
            session = await self._pool.pick()
            if await self._done(session, asked, cdb, patience, into=target):
                return

    async def _done(
        self,
        session: Session,
        asked: Asked,
        cdb: bytes,
        patience: Patience,
        *,
        into: memoryview | None = None,
        out: memoryview | None = None,
    ) -> bool:
        """Run a command once; say whether it is done, or raise what it failed with for good."""
        self._require_open("read or write it")
        try:
            await self._trust(session)
            outcome = await session.submit(self._lun, cdb, into=into, out=out)
            then, trouble = await self._judged(session, outcome, asked)
            if then is Next.DONE and into is not None and outcome.got != len(into):
                trouble = Interrupted(f"{asked.where} ({outcome.got} of {len(into)} bytes came)")
        except Lost as error:
            trouble, then = error, Next.LATER
        if trouble is not None:
            await patience.again(trouble)
            return False
        if then is Next.AGAIN:
            self._trusted.pop(session, None)
            self._doubts[session] = self._doubts.get(session, 0) + 1
            patience.heard(asked.where)
            return False
        return True

    async def _judged(
        self, session: Session, outcome: Outcome, asked: Asked
    ) -> tuple[Next, Error | None]:
        """Judge a command; one that makes no sense to the unit may have met another unit.

        Of several commands one hears of it, and the others find whatever is there by then.
        """
        try:
            return judge(outcome, asked)
        except (Misuse, Unsupported):
            async with self._locks[session]:
                await self._verify(session)
            raise

    # Writing. ----------------------------------------------------------------------------------

    async def write(self, offset: int, data: memoryview) -> None:
        """Write *data* at *offset*, several MiB under way at a time.

        A write is tried again only on the session that it was begun on, which ends what the target
        still did for it before: no late write can overtake a later one.

        Raises:
            AccessDenied: the unit is read-only, or not mapped to us any more.
            Misuse: beyond the end, or not in whole blocks.
            NoSpace: what was under way may have been written.
            InvalidState, Unreachable: as in ``read``.
        """
        self._require_open("write it")
        if offset < 0 or offset + len(data) > self.size_bytes:
            raise Misuse(self._where, f"a write beyond its end at {self.size_bytes} bytes")
        if offset % self.block_bytes or len(data) % self.block_bytes:
            raise Misuse(self._where, f"it is written in blocks of {self.block_bytes} bytes")
        step = min(_WRITE_BYTES, self._command_bytes)
        turn = asyncio.Semaphore(_WRITES_UNDER_WAY)

        async def put(at: int) -> None:
            async with turn:
                await self._write(offset + at, data[at : at + step])

        try:
            async with asyncio.TaskGroup() as group:
                for at in range(0, len(data), step):
                    group.create_task(put(at))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _write(self, offset: int, data: memoryview) -> None:
        cdb = scsi.write(offset // self.block_bytes, len(data) // self.block_bytes)
        await self._stubborn(cdb, offset, data)

    async def flush(self) -> None:
        """Return when what has been written is where it stays."""
        self._require_open("flush it")
        await self._stubborn(scsi.synchronize_cache(), 0, None)

    async def _stubborn(self, cdb: bytes, offset: int, data: memoryview | None) -> None:
        """Run a command that changes something, on one session until it is done."""
        length = len(data) if data is not None else 0
        asked = Asked(self._pool.iqn, self._where, offset, length, self.block_bytes)
        patience = self._pool.patience()
        session = await self._pool.pick()
        while not await self._done(session, asked, cdb, patience, out=data):
            session = await self._pool.again(session)

    async def close(self) -> None:
        """Let go of the unit; the last one logs the sessions out; idempotent."""
        if not self._closed:
            self._closed = True
            await self._release()

    def _require_open(self, request: str) -> None:
        if self._closed:
            raise InvalidState(self._where, "closed", request)
