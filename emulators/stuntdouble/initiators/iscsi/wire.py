"""A connection in iSCSI's full feature phase: commands out, answers in, each where it belongs.

    submit ─▶ waiting ─▶ sent, as far as the target's window goes ─▶ data and status ─▶ future

Whatever ends the connection, an answer that makes no sense included, ends every command on it with
``Unreachable``: what to do then is for the session to say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from stuntdouble.codecs.iscsi import (
    NO_TAG,
    AsyncEvent,
    AsyncMessage,
    Attribute,
    CommandFlag,
    DataIn,
    DataOut,
    LogoutReason,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Numbers,
    Opcode,
    R2t,
    Reject,
    Response,
    ResponseFlag,
    ScsiCommand,
    ScsiResponse,
    opcode_of,
    pack_pdu,
    serial_add,
    serial_less,
)
from stuntdouble.errors import Interrupted, Misuse, Unreachable
from stuntdouble.initiators.iscsi.inflow import Inflow
from stuntdouble.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.initiators.iscsi.login import Agreed
    from stuntdouble.initiators.wall import Timer, Wall

PING_SECONDS: Final = 5.0
"""Silence, with commands under way, after which the target is asked whether it is there, and after
which it is given up: open-iscsi's ``noop_out_interval`` and ``noop_out_timeout``."""

COMMAND_SECONDS: Final = 60.0
"""What a command may take on a connection that lives: twice what Linux gives a disk.  Chosen."""

_LOGOUT_SECONDS: Final = 2.0  # chosen: a target that hangs does not keep us
_BODY_BYTES_MAX: Final = 64 * KIB
"""The longest data that are not a read's: sense data, texts, a rejected header.  Chosen."""


class Outcome(NamedTuple):
    """How a command ended; ``got`` is how many bytes came for it."""

    status: int
    sense: bytes
    got: int


@dataclass(eq=False)
class _Task:
    """A command under way; ``ticks`` counts how often the clock has found it so."""

    lun: bytes
    cdb: bytes
    into: memoryview | None
    out: memoryview | None
    future: asyncio.Future[Outcome]
    got: int = 0
    ticks: int = 0


def _retrieve(future: asyncio.Future[Outcome]) -> None:
    """Take notice of an error, lest the loop complains where nobody waits any more."""
    if not future.cancelled():
        future.exception()


class Wire(asyncio.BufferedProtocol):
    """Commands and their answers over a socket that is logged in.

    Args:
        where: names the target in errors.
        agreed: what the login has led to.
        wall: wall time.
        on_lost: hears that the connection has ended.
    """

    def __init__(
        self, where: str, agreed: Agreed, wall: Wall, on_lost: Callable[[], object]
    ) -> None:
        self._where = where
        self._agreed = agreed
        self._wall = wall
        self._on_lost = on_lost
        self._inflow = Inflow(agreed.digests, self._place, self._take)
        self._waiting: deque[_Task] = deque()
        self._tasks: dict[int, _Task] = {}
        self._tag = 0
        self._cmdsn, self._maxcmdsn = agreed.cmdsn, agreed.maxcmdsn
        self._expstatsn = agreed.expstatsn
        self._outbox: list[bytes | bytearray | memoryview] = []
        self._transport: asyncio.Transport | None = None
        self._heard = self._pinged = False
        self._timer: Timer | None = None
        self._logged_out = asyncio.Event()
        self._ended = asyncio.Event()
        self.lost = ""

    @property
    def load(self) -> int:
        """How many commands are under way or wait."""
        return len(self._tasks) + len(self._waiting)

    # Commands. ---------------------------------------------------------------------------------

    def submit(
        self,
        lun: bytes,
        cdb: bytes,
        *,
        into: memoryview | None = None,
        out: memoryview | None = None,
    ) -> asyncio.Future[Outcome]:
        """Start a command that reads *into* a buffer, or writes what is *out*, or neither."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieve)
        if self.lost:
            future.set_exception(Unreachable(self.lost))
            return future
        self._waiting.append(_Task(lun, cdb, into, out, future))
        self._start()
        return future

    def _start(self) -> None:
        """Send what waits, as far as the target's window goes (RFC 7143, 4.2.2.1)."""
        while self._waiting and not serial_less(self._maxcmdsn, self._cmdsn):
            task = self._waiting.popleft()
            if task.future.done():  # whoever asked has been cancelled
                continue
            self._tag = (self._tag + 1) % NO_TAG
            self._tasks[self._tag] = task
            self._command(self._tag, task)
            self._cmdsn = serial_add(self._cmdsn)

    def _command(self, tag: int, task: _Task) -> None:
        flags, expected = CommandFlag.FINAL | Attribute.SIMPLE, 0
        data = memoryview(b"")
        if task.into is not None:
            flags, expected = flags | CommandFlag.READ, len(task.into)
        elif task.out is not None:
            flags, expected = flags | CommandFlag.WRITE, len(task.out)
            data = task.out[: self._agreed.immediate_bytes]
        command = ScsiCommand(
            task.lun, tag, expected, self._cmdsn, self._expstatsn, task.cdb.ljust(16, b"\0"), flags
        )
        self._send(command.pack(len(data)), data)

    def _send(self, header: bytes, data: memoryview | None = None) -> None:
        """Put a PDU into the outbox, which is emptied once for all that this turn puts there."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._push)
        parts = [data] if data else []
        self._outbox += pack_pdu(header, parts, self._agreed.digests)

    def _push(self) -> None:
        outbox, self._outbox = self._outbox, []
        if self._transport is not None and not self.lost:
            self._transport.write(b"".join(outbox) if len(outbox) > 1 else outbox[0])

    # The connection. ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._wall.call_later(PING_SECONDS, self._tick)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way: nobody will answer."""
        self._lose(f"{self._where} ({exc or 'the target has hung up'})")
        self._ended.set()

    def _tick(self) -> None:
        """Look whether the target is there, where commands wait for it."""
        if self.lost:
            return
        self._timer = self._wall.call_later(PING_SECONDS, self._tick)
        heard, self._heard = self._heard, False
        if heard or not self._tasks:
            self._pinged = False
        elif self._pinged:
            self._lose(f"{self._where} (silent for {2 * PING_SECONDS:g} s)")
            return
        else:
            self._pinged = True
            self._ping()
        for task in self._tasks.values():
            task.ticks += 1
            if task.ticks > COMMAND_SECONDS / PING_SECONDS:
                self._lose(f"{self._where} (a command took longer than {COMMAND_SECONDS:g} s)")
                return

    def _ping(self) -> None:
        """Ask for an answer: a NOP-Out with a tag of its own, ahead of all commands."""
        self._tag = (self._tag + 1) % NO_TAG
        ping = NopOut(self._tag, NO_TAG, self._cmdsn, self._expstatsn, immediate=True)
        self._send(ping.pack())

    async def close(self) -> None:
        """Log out and end the connection; idempotent."""
        transport = self._transport
        if transport is None:
            return
        if not self.lost:
            request = LogoutRequest(
                LogoutReason.SESSION, NO_TAG - 1, 0, self._cmdsn, self._expstatsn
            )
            self._send(request.pack())
            timer = self._wall.call_later(_LOGOUT_SECONDS, self._logged_out.set)
            await self._logged_out.wait()
            timer.cancel()
        self._lose(f"{self._where} (logged out)")
        await self._ended.wait()

    def _lose(self, why: str) -> None:
        """Give the connection up: nothing is received into anybody's buffer after this."""
        if self.lost:
            return
        self.lost = why
        self._logged_out.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        tasks = [*self._tasks.values(), *self._waiting]
        self._tasks.clear()
        self._waiting.clear()
        for task in tasks:
            if not task.future.done():
                task.future.set_exception(Unreachable(why))
        self._on_lost()

    # Answers. ----------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: into a read's own buffer, where that is clear."""
        del sizehint
        return self._inflow.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Take notice of bytes that have come."""
        self._heard = True
        try:
            self._inflow.updated(nbytes)
        except Misuse as error:
            self._lose(f"{self._where} ({error})")

    def _place(self, header: bytes, length: int) -> memoryview:
        """Say where the data of a PDU go; Misuse where nobody has asked for them."""
        if opcode_of(header) != Opcode.DATA_IN:
            if length > _BODY_BYTES_MAX:
                raise Misuse("iSCSI PDU", f"operation {opcode_of(header):#x} with {length} bytes")
            return memoryview(bytearray(length))
        found = DataIn.parse(header)
        task = self._task(found.itt)
        if task.into is None or found.offset != task.got:  # they come in order: it was agreed on
            raise Misuse("Data-In", f"{length} bytes at {found.offset} that nobody asked for")
        if found.offset + length > len(task.into):
            raise Misuse("Data-In", f"{found.offset + length} bytes, not {len(task.into)}")
        return task.into[found.offset : found.offset + length]

    def _task(self, tag: int) -> _Task:
        if tag not in self._tasks:
            raise Misuse("iSCSI PDU", f"for a command {tag:#x} that there is not")
        return self._tasks[tag]

    def _take(self, header: bytes, data: memoryview) -> None:
        """Take a whole PDU."""
        if self.lost:
            return
        match opcode_of(header):
            case Opcode.DATA_IN:
                self._data_in(DataIn.parse(header), len(data))
            case Opcode.SCSI_RESPONSE:
                self._response(ScsiResponse.parse(header), bytes(data))
            case Opcode.R2T:
                self._ready(R2t.parse(header))
            case Opcode.NOP_IN:
                self._nop(NopIn.parse(header))
            case Opcode.ASYNC_MESSAGE:
                self._message(AsyncMessage.parse(header))
            case Opcode.LOGOUT_RESPONSE:
                self._count(LogoutResponse.parse(header).numbers)
                self._logged_out.set()
            case Opcode.REJECT:
                reason = Reject.parse(header).reason
                raise Misuse("iSCSI request", f"the target rejects it, reason {reason:#x}")
            case other:
                raise Misuse("iSCSI PDU", f"operation {other:#x} is not for us")

    def _count(self, numbers: Numbers, *, status: bool = True) -> None:
        """Follow the numbers of an answer; one that was left out means that an answer is lost."""
        if status:
            if numbers.statsn != self._expstatsn:
                text = f"StatSN is {numbers.statsn}, not {self._expstatsn}: an answer is missing"
                raise Misuse("iSCSI PDU", text)
            self._expstatsn = serial_add(self._expstatsn)
        if serial_less(self._maxcmdsn, numbers.maxcmdsn):
            self._maxcmdsn = numbers.maxcmdsn
        if self._waiting:
            self._start()

    def _data_in(self, found: DataIn, length: int) -> None:
        task = self._task(found.itt)
        task.got += length
        ends = bool(found.flags & ResponseFlag.STATUS)
        self._count(found.numbers, status=ends)
        if ends:
            self._over(found.itt, task, Outcome(found.status, b"", task.got))

    def _response(self, found: ScsiResponse, data: bytes) -> None:
        task = self._task(found.itt)
        self._count(found.numbers)
        if found.response != Response.COMPLETED:
            del self._tasks[found.itt]
            if not task.future.done():
                text = f"a command to {self._where} (response {found.response:#x})"
                task.future.set_exception(Interrupted(text))
        else:
            sense = data[2 : 2 + int.from_bytes(data[:2], "big")]
            self._over(found.itt, task, Outcome(found.status, sense, task.got))

    def _over(self, tag: int, task: _Task, outcome: Outcome) -> None:
        del self._tasks[tag]
        if not task.future.done():
            task.future.set_result(outcome)

    def _ready(self, found: R2t) -> None:
        """Send what the target is ready for, in pieces that it takes."""
        task = self._task(found.itt)
        stop = found.offset + found.length
        if task.out is None or not found.length or stop > len(task.out):
            raise Misuse("R2T", f"{found.length} bytes at {found.offset} that there are not")
        step = self._agreed.send_bytes
        for number, at in enumerate(range(found.offset, stop, step)):
            part = task.out[at : min(at + step, stop)]
            head = DataOut(
                task.lun, found.itt, found.ttt, self._expstatsn, number, at, at + step >= stop
            )
            self._send(head.pack(len(part)), part)
        self._count(found.numbers, status=False)

    def _nop(self, found: NopIn) -> None:
        """Answer a ping; the answer to one of ours says that the target is there, and no more."""
        self._count(found.numbers, status=found.itt != NO_TAG)
        if found.ttt != NO_TAG:
            answer = NopOut(
                NO_TAG, found.ttt, self._cmdsn, self._expstatsn, found.lun, immediate=True
            )
            self._send(answer.pack())

    def _message(self, found: AsyncMessage) -> None:
        """Let go where the target wants it; what units say comes again as a unit attention."""
        self._count(found.numbers)
        if found.event in {AsyncEvent.LOGOUT_REQUEST, AsyncEvent.NEGOTIATION_REQUEST}:
            raise Misuse("iSCSI session", f"the target asks us to log in anew ({found.event})")
        if found.event in {AsyncEvent.CONNECTION_DROP, AsyncEvent.SESSION_DROP}:
            raise Misuse("iSCSI session", f"the target drops it ({found.event})")
