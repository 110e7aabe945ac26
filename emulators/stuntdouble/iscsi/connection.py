"""One connection, without its socket: PDUs in, buffers out (RFC 7143).

    framer ─▶ work ─▶ login ─▶ session ─┬─▶ commands, data, task management
                                        ├─▶ text
                                        └─▶ pings, logout
    take   ◀─ what is to be sent

Whoever drives it fills ``framer``, calls ``work``, and sends what ``take`` returns.  It stops to
listen while more than ``Limits.output_bytes`` wait to be sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import (
    HEADER_BYTES,
    LOGIN_SEGMENT_BYTES,
    NO_TAG,
    BrokenFraming,
    Framer,
    LoginStatus,
    LogoutAnswer,
    LogoutReason,
    Numbers,
    Opcode,
    RejectReason,
    Stage,
    pack_good,
    pack_pdu,
    padding,
    serial_less,
)
from stuntdouble.iscsi.commands import Commands
from stuntdouble.iscsi.limits import SEGMENT_BYTES
from stuntdouble.iscsi.login import Login, LoginRefused
from stuntdouble.iscsi.management import Management
from stuntdouble.iscsi.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stuntdouble.codecs.iscsi import Negotiation, Pdu
    from stuntdouble.codecs.iscsi.requests import Buffer
    from stuntdouble.iscsi.sessions import Node, Runner, Session, Target

_ORDERED: Final = frozenset(
    {
        Opcode.NOP_OUT,
        Opcode.SCSI_COMMAND,
        Opcode.TASK_REQUEST,
        Opcode.TEXT_REQUEST,
        Opcode.LOGOUT_REQUEST,
    }
)
"""Requests that have a place in the order of commands (§4.2.2.1)."""

_REASONS: Final[dict[int, RejectReason]] = {
    Opcode.SNACK_REQUEST: RejectReason.SNACK,
    Opcode.LOGIN_REQUEST: RejectReason.PROTOCOL_ERROR,
}
"""Why requests are rejected that make no sense in a session; others are not known at all."""

_M32: Final = 0xFFFF_FFFF
_UNDERFLOW: Final = int(iscsi.ResponseFlag.UNDERFLOW)


class Connection:
    """A connection of an initiator, and the session that it brings along.

    Args:
        node: the targets behind the portal.
        runner: drives commands that take their time.
        portals: the addresses that discovery tells.
        woken: called when there is something to be sent that no ``work`` has brought about.
    """

    def __init__(
        self, node: Node, runner: Runner, portals: Sequence[str], woken: Callable[[], object]
    ) -> None:
        self.node = node
        self.framer = Framer(LOGIN_SEGMENT_BYTES)
        self.session: Session | None = None
        self.closed = False
        self.commands = Commands(self, runner)
        self.digests = iscsi.Digests()
        self.segment_bytes = LOGIN_SEGMENT_BYTES
        self.statsn = self.expcmdsn = self.maxcmdsn = 0
        self._woken = woken
        self._login: Login | None = Login(node)
        self._management = Management(self)
        self._texts = Texts(self, portals)
        self._out: list[Buffer] = []
        self._out_bytes = 0
        self._held: dict[int, Pdu | None] = {}
        self._held_bytes = 0
        self._cid = 0
        self._working = self._heard = self._pinged = self._quick = False

    # For whoever drives it. --------------------------------------------------------------------

    @property
    def logged_in(self) -> bool:
        """Whether it has a session."""
        return self.session is not None

    @property
    def out_bytes(self) -> int:
        """How much waits to be sent."""
        return self._out_bytes

    def work(self) -> bool:
        """Take what has been received; say whether there may be more, but no room for answers."""
        self._working = self._heard = True
        most, framer = self.node.limits.output_bytes, self.framer
        try:
            while not self.closed:
                if self._out_bytes >= most:
                    return True
                if self._quick and not self._held and self.commands.read(framer):
                    continue
                pdu = framer.next()
                if pdu is None:
                    break
                self._take(pdu)
        except BrokenFraming:
            self.end()
        finally:
            self._working = False
        return False

    def take(self) -> tuple[list[Buffer], int]:
        """Return what is to be sent, and how many bytes it is; it is the driver's from now on."""
        out, size = self._out, self._out_bytes
        self._out, self._out_bytes = [], 0
        return out, size

    def watch(self) -> None:
        """Ask whether the initiator is there, if it has said nothing since the last watch."""
        if self._heard or self.session is None:
            self._heard = self._pinged = False
        elif self._pinged:
            self.end()
        else:
            self._pinged = True
            self.send(iscsi.NopIn(NO_TAG, 1, self.numbers()).pack())

    def end(self, event: int | None = None) -> None:
        """Close it when all has been sent, after an asynchronous message if an event is given."""
        if self.closed:
            return
        if event is not None and self.session is not None:
            self.send(iscsi.AsyncMessage(event, self.next_numbers()).pack())
        self.lost()
        self._woken()

    def lost(self) -> None:
        """Let go of the session, and of all that was under way; idempotent."""
        self.closed = True
        self.commands.abort(None)
        self._held.clear()
        self._held_bytes = 0
        session, self.session = self.session, None
        if session is not None and session.target is not None:
            session.target.finish(session)

    # For its parts. ----------------------------------------------------------------------------

    def abort(self, naa: str | None) -> int:
        """Abort the tasks of a unit, or of all, as somebody else wants it; return how many.

        Their initiator is not answered.  If it waits for room in the window of commands, it is
        told that there is some: no answer will do that any more.
        """
        waits = self._is_full
        aborted = self.commands.abort(naa)
        if waits and not self._is_full:
            self.send(iscsi.NopIn(NO_TAG, NO_TAG, self.numbers()).pack())
        return aborted

    @property
    def _is_full(self) -> bool:
        """Whether the window of commands is closed (§4.2.2.1)."""
        return self.expcmdsn == (self.maxcmdsn + 1) & _M32

    @property
    def full(self) -> tuple[Session, Target]:
        """The session, and its target: it is not one for discovery."""
        session = self.session
        assert session is not None, "a session begins with the login"
        assert session.target is not None, "the session is for discovery"
        return session, session.target

    def numbers(self) -> Numbers:
        """Return the numbers of a reply that carries no status."""
        return Numbers(self.statsn, self.expcmdsn, self.maxcmdsn)

    def next_numbers(self) -> Numbers:
        """Return the numbers of a reply that does: its StatSN is its own."""
        numbers = Numbers(self.statsn, self.expcmdsn, self.maxcmdsn)
        self.statsn = (self.statsn + 1) & _M32
        return numbers

    def send(self, header: bytes, parts: Sequence[Buffer] = (), length: int = 0) -> None:
        """Have a PDU sent, whose data are *length* bytes."""
        if length or self.digests.header:
            self._out += pack_pdu(header, parts, self.digests)
            self._out_bytes += len(header) + length + (-length & 3) + 8
        else:
            self._out.append(header)
            self._out_bytes += len(header)
        if not self._working:
            self._woken()

    def send_good(self, itt: int, parts: Sequence[Buffer], length: int, expected: int) -> None:
        """Have data sent that are all there is to a read that went well; no digests are agreed on."""
        statsn = self.statsn
        self.statsn = (statsn + 1) & _M32
        flags = _UNDERFLOW if length < expected else 0
        numbers = (statsn, self.expcmdsn, self.maxcmdsn)
        self._out.append(pack_good(itt, numbers, flags, length, expected - length))
        self._out += parts
        if length & 3:
            self._out.append(padding(length))
        self._out_bytes += HEADER_BYTES + length + (-length & 3)

    def reject(self, reason: RejectReason, header: Buffer) -> None:
        """Say that a PDU was not taken (§11.17)."""
        back = bytes(header)
        self.send(iscsi.Reject(reason, self.next_numbers()).pack(len(back)), [back], len(back))

    def completed(self) -> None:
        """Open the window of commands by one: a command of the order is over."""
        self.maxcmdsn = (self.maxcmdsn + 1) & _M32

    # PDUs, in their order. ---------------------------------------------------------------------

    def _take(self, pdu: Pdu) -> None:
        opcode = pdu.header[0] & 0x3F
        if self._login is not None:
            if opcode != Opcode.LOGIN_REQUEST:
                self.end()
                return
            self._logging_in(self._login, pdu)
        elif not pdu.intact:  # nothing below a session is recovered
            self.reject(RejectReason.DATA_DIGEST, pdu.header)
            self.end()
        elif opcode not in _ORDERED or pdu.header[0] & iscsi.IMMEDIATE:
            self._handle(opcode, pdu)
        else:
            self._in_order(opcode, pdu)

    def _in_order(self, opcode: int, pdu: Pdu) -> None:
        """Take a request when its turn comes; drop what is outside of the window (§4.2.2.1)."""
        cmdsn = int.from_bytes(pdu.header[24:28], "big")
        if cmdsn != self.expcmdsn:
            ahead = serial_less(self.expcmdsn, cmdsn) and not serial_less(self.maxcmdsn, cmdsn)
            if ahead and cmdsn not in self._held:
                self._hold(cmdsn, pdu)
            return
        if serial_less(self.maxcmdsn, cmdsn):
            return
        self.expcmdsn = (cmdsn + 1) & _M32
        self._handle(opcode, pdu)
        if self._held:
            self._go_on()

    def _hold(self, cmdsn: int, pdu: Pdu) -> None:
        """Keep a request until its turn; who has too much data wait for one that is missing goes."""
        self._held_bytes += len(pdu.data)
        if self._held_bytes > self.node.limits.ahead_bytes:
            self.end()
            return
        self._held[cmdsn] = _kept(pdu)

    def _go_on(self) -> None:
        """Take the requests that waited for this turn."""
        while self.expcmdsn in self._held and not self.closed:
            following = self._held.pop(self.expcmdsn)
            self.expcmdsn = (self.expcmdsn + 1) & _M32
            if following is None:
                self.completed()
            else:
                self._held_bytes -= len(following.data)
                self._handle(following.header[0] & 0x3F, following)

    def skip(self, cmdsn: int) -> bool:
        """Wait no longer for the request of a number, nor take it if it comes (§11.5.1).

        Returns:
            Whether it was still to come.
        """
        if serial_less(cmdsn, self.expcmdsn) or serial_less(self.maxcmdsn, cmdsn):
            return False
        former = self._held.get(cmdsn)
        self._held_bytes -= 0 if former is None else len(former.data)
        self._held[cmdsn] = None
        self._go_on()
        return True

    def _handle(self, opcode: int, pdu: Pdu) -> None:
        assert self.session is not None, "a session begins with the login"
        discovery = self.session.target is None
        if opcode == Opcode.SCSI_COMMAND and not discovery:
            self.commands.begin(pdu)
        elif opcode == Opcode.DATA_OUT and not discovery:
            self.commands.data(pdu)
        elif opcode == Opcode.TASK_REQUEST and not discovery:
            self._management.take(pdu)
        elif opcode == Opcode.NOP_OUT:
            self._ping(pdu)
        elif opcode == Opcode.TEXT_REQUEST:
            self._texts.take(pdu)
        elif opcode == Opcode.LOGOUT_REQUEST:
            self._log_out(pdu)
        else:
            self._unknown(opcode, pdu)

    def _unknown(self, opcode: int, pdu: Pdu) -> None:
        self.reject(_REASONS.get(opcode, RejectReason.NOT_SUPPORTED), pdu.header)
        if opcode in _ORDERED and not pdu.header[0] & iscsi.IMMEDIATE:
            self.completed()

    # Login. ------------------------------------------------------------------------------------

    def _logging_in(self, login: Login, pdu: Pdu) -> None:
        request = iscsi.LoginRequest.parse(pdu.header)
        self.expcmdsn = self.maxcmdsn = request.cmdsn
        try:
            text, entered = login.step(request, pdu.data)
        except LoginRefused as refused:
            self._answer_login(request, b"", None, status=int(str(refused.args[0])))
            self.end()
            return
        if entered is Stage.FULL_FEATURE:
            self._enter(login, request)
        self._answer_login(request, text, entered)
        if entered is Stage.FULL_FEATURE:
            self._adopt(login.negotiation)

    def _answer_login(
        self, request: iscsi.LoginRequest, text: bytes, entered: Stage | None, status: int = 0
    ) -> None:
        assert status in set(LoginStatus)
        tsih = request.tsih if self.session is None else self.session.tsih
        numbers = self.next_numbers() if status == 0 else self.numbers()
        refused = status != LoginStatus.SUCCESS
        answer = iscsi.LoginResponse(
            request.isid, tsih, request.itt, numbers, status, 0 if refused else request.csg,
            0 if entered is None else entered, entered is not None,
        )  # fmt: skip
        self.send(answer.pack(len(text)), [text], len(text))

    def _enter(self, login: Login, request: iscsi.LoginRequest) -> None:
        """Begin the session: one that it replaces is over before the answer is given."""
        node = self.node
        self.session = node.new_session(login.initiator, request.isid, login.target, self)
        self._login = None
        self._cid = request.cid
        self.maxcmdsn = (self.expcmdsn + node.limits.commands - 1) & _M32
        if login.target is not None:
            login.target.begin(self.session)

    def _adopt(self, agreed: Negotiation) -> None:
        """Keep to what was agreed on, from the next PDU on."""
        self.segment_bytes = agreed.number("MaxRecvDataSegmentLength")
        self.digests = iscsi.Digests(
            agreed.text("HeaderDigest") == "CRC32C", agreed.text("DataDigest") == "CRC32C"
        )
        self.framer.digests = self.digests
        self.framer.data_bytes_max = SEGMENT_BYTES
        if self.session is not None and self.session.target is not None:
            self.commands.adopt(agreed, self.session)
            self._quick = not any(self.digests)

    # Pings and logout. -------------------------------------------------------------------------

    def _ping(self, pdu: Pdu) -> None:
        request = iscsi.NopOut.parse(pdu.header)
        if not request.immediate:
            self.completed()
        if request.itt == NO_TAG:  # the answer to a ping of ours
            return
        echo = bytes(pdu.data[: self.segment_bytes])
        answer = iscsi.NopIn(request.itt, NO_TAG, self.next_numbers(), request.lun)
        self.send(answer.pack(len(echo)), [echo], len(echo))

    def _log_out(self, pdu: Pdu) -> None:
        request = iscsi.LogoutRequest.parse(pdu.header)
        if not request.immediate:
            self.completed()
        answer = LogoutAnswer.CLOSED
        if request.reason == LogoutReason.RECOVERY:
            answer = LogoutAnswer.NO_RECOVERY
        elif request.reason == LogoutReason.CONNECTION and request.cid != self._cid:
            answer = LogoutAnswer.NO_CONNECTION
        elif request.reason not in {LogoutReason.SESSION, LogoutReason.CONNECTION}:
            self.reject(RejectReason.INVALID_FIELD, pdu.header)
            return
        if answer is LogoutAnswer.CLOSED:
            self.commands.abort(None)
        self.send(iscsi.LogoutResponse(answer, request.itt, self.next_numbers()).pack())
        if answer is LogoutAnswer.CLOSED:
            self.end()


def _kept(pdu: Pdu) -> Pdu:
    """Return a PDU that stays, whatever is received after it."""
    header, ahs, data = (memoryview(bytes(view)) for view in (pdu.header, pdu.ahs, pdu.data))
    return iscsi.Pdu(header, ahs, data, pdu.intact)
