"""SCSI commands of a connection: from their PDU to their response (RFC 7143, §11.3, §11.4, §11.7).

    command ─┬─ nothing to be sent by the initiator ─────────────────────▶ execute ─▶ answer
             └─ immediate data ─ unsolicited data ─ R2T, data, R2T, data … ─▶ execute ─▶ answer

A command that is answered at once never becomes a task.  Data of a write are gathered whole: a write
is one admission of the array.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import NO_TAG, CommandFlag, RejectReason, ScsiCommand, unpack_read
from stuntdouble.errors import Misuse
from stuntdouble.iscsi.replying import Replies
from stuntdouble.iscsi.writes import Incoming, Write
from stuntdouble.scsi import Answer, Direction, Key, Sense, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from stuntdouble.codecs.iscsi import Framer, Negotiation, Pdu
    from stuntdouble.iscsi.connection import Connection
    from stuntdouble.iscsi.sessions import Runner, Running, Session

_PLAIN: Final = int(CommandFlag.FINAL)
_READ: Final = int(CommandFlag.FINAL | CommandFlag.READ)
_M32: Final = 0xFFFF_FFFF
_WRITE: Final = int(CommandFlag.WRITE)
_BOTH: Final = int(CommandFlag.READ | CommandFlag.WRITE)


class Task:
    """A command under way: data come in, or it is being carried out."""

    __slots__ = ("cdb", "command", "incoming", "naa", "reading", "running", "wanted")

    def __init__(self, command: ScsiCommand, cdb: bytes, naa: str | None) -> None:
        self.command = command
        self.cdb = cdb
        self.naa = naa
        self.wanted = 0
        self.reading = 0
        self.incoming: Incoming | None = None
        self.running: Running | None = None


class Commands:
    """The commands of one connection."""

    def __init__(self, connection: Connection, runner: Runner) -> None:
        self._connection = connection
        self._runner = runner
        self._tasks: dict[int, Task] = {}
        self._immediate = 0
        self._replies = Replies(connection)
        self._write = Write()

    def adopt(self, agreed: Negotiation, session: Session) -> None:
        """Keep to what was agreed on."""
        assert session.target is not None, "commands have a target"
        self._device = session.target.device
        self._nexus = session.nexus
        self._burst_bytes = agreed.number("MaxBurstLength")
        self._replies.burst_bytes = self._burst_bytes
        self._write = Write(
            initial_r2t=agreed.yes("InitialR2T"),
            immediate_data=agreed.yes("ImmediateData"),
            first_burst_bytes=min(
                agreed.number("FirstBurstLength"), agreed.number("MaxBurstLength")
            ),
            burst_bytes=agreed.number("MaxBurstLength"),
        )

    # The common case. --------------------------------------------------------------------------

    def read(self, framer: Framer) -> bool:
        """Answer the next PDU, if it is a plain read that can be answered at once, in one PDU.

        It comes to what ``begin`` would have done: a backup consists of such reads, and here each
        step that they do not need is left out.
        """
        found = framer.bare()
        if found is None:
            return False
        request = unpack_read(*found)
        connection = self._connection
        if request is None or request[3] != connection.expcmdsn or self._is_full():
            return False
        lun, itt, expected, cmdsn, cdb = request
        if itt in self._tasks or itt == NO_TAG or cmdsn == (connection.maxcmdsn + 1) & _M32:
            return False
        framer.skip()
        connection.expcmdsn = (cmdsn + 1) & _M32
        answer = self._device.execute(self._nexus, lun, cdb)
        if not isinstance(answer, Answer):
            command = ScsiCommand(lun, itt, expected, cmdsn, 0, cdb, _READ)
            self._run(self._new_task(command, cdb), answer)
            return True
        connection.maxcmdsn = (connection.maxcmdsn + 1) & _M32
        status, parts, _ = answer
        length = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        most = min(expected, connection.segment_bytes, self._burst_bytes)
        if status or not 0 < length <= most:
            command = ScsiCommand(lun, itt, expected, cmdsn, 0, cdb, _READ)
            self._replies.answer(command, answer, 0)
        else:
            connection.send_good(itt, parts, length, expected)
        return True

    # Beginning. --------------------------------------------------------------------------------

    def begin(self, pdu: Pdu) -> None:
        """Begin a command."""
        command = ScsiCommand.parse(pdu.header)
        if self._is_full() and self._reads(command):
            self._connection.completed()
            self._replies.answer(command, Answer(Status.TASK_SET_FULL), 0)
            return
        plain = command.flags & (_PLAIN | _WRITE) == _PLAIN and not command.immediate
        if not plain or pdu.ahs or pdu.data or command.itt == NO_TAG or command.itt in self._tasks:
            self._begin_other(command, pdu)
            return
        answer = self._device.execute(self._nexus, command.lun, command.cdb)
        if isinstance(answer, Answer):
            self._connection.completed()
            self._replies.answer(command, answer, 0)
        else:
            self._run(self._new_task(command, command.cdb), answer)

    def _is_full(self) -> bool:
        """Say whether as much is being read as may be: reads that take their time pile up."""
        node = self._connection.node
        return node.reading_bytes >= node.limits.read_bytes

    def _reads(self, command: ScsiCommand) -> bool:
        """Say whether a command is of the common kind, and has data for the initiator."""
        plain = command.flags & (_PLAIN | _WRITE) == _PLAIN and not command.immediate
        if not plain or command.itt == NO_TAG or command.itt in self._tasks:
            return False
        transfer = self._device.transfer(self._nexus, command.lun, command.cdb)
        return transfer.direction is Direction.IN

    def _begin_other(self, command: ScsiCommand, pdu: Pdu) -> None:
        """Begin a command that sends data, or is not of the common kind, or refuse it."""
        reason = self._refusal(command, pdu)
        cdb = command.cdb
        if reason is None and pdu.ahs:
            try:
                rest, read_length = iscsi.command_extras(pdu.ahs)
                cdb += rest
                reason = None if read_length is None else RejectReason.NOT_SUPPORTED
            except Misuse:
                reason = RejectReason.INVALID_FIELD
        if reason is not None:
            self._connection.reject(reason, pdu.header)
            if not command.immediate:
                self._connection.completed()
        elif command.flags & _WRITE:
            self._begin_write(command, cdb, pdu)
        else:
            self._execute(self._new_task(command, cdb), b"")

    def _refusal(self, command: ScsiCommand, pdu: Pdu) -> RejectReason | None:
        """Say why a command is rejected, if it is (§11.3, §11.17.1)."""
        if command.itt in self._tasks:
            return RejectReason.TASK_IN_PROGRESS
        if command.immediate and self._immediate >= self._connection.node.limits.immediate:
            return RejectReason.IMMEDIATE_COMMAND
        if command.flags & _BOTH == _BOTH:
            return RejectReason.NOT_SUPPORTED
        if command.itt == NO_TAG:
            return RejectReason.INVALID_FIELD
        if command.flags & _WRITE:
            fine = self._write.allows(command, len(pdu.data))
        else:
            fine = bool(command.flags & _PLAIN) and not pdu.data
        return None if fine else RejectReason.PROTOCOL_ERROR

    def _new_task(self, command: ScsiCommand, cdb: bytes) -> Task:
        unit = self._device.unit_at(self._nexus, command.lun)
        task = Task(command, cdb, None if unit is None else unit.naa)
        self._tasks[command.itt] = task
        self._immediate += command.immediate
        return task

    def _begin_write(self, command: ScsiCommand, cdb: bytes, pdu: Pdu) -> None:
        task = self._new_task(command, cdb)
        transfer = self._device.transfer(self._nexus, command.lun, cdb)
        task.wanted = transfer.length if transfer.direction is Direction.OUT else 0
        node = self._connection.node
        needed = min(task.wanted, command.expected_length)
        if node.held_bytes + needed > node.limits.write_bytes:
            self._finish(task, Answer(Status.TASK_SET_FULL))
            return
        node.held_bytes += needed
        task.incoming = Incoming(self._write, command, needed)
        task.incoming.immediate(pdu.data)
        self._go_on(task, task.incoming)

    # Data of writes. ---------------------------------------------------------------------------

    def data(self, pdu: Pdu) -> None:
        """Take data of a write; those of one that is over are nobody's any more."""
        data = iscsi.DataOut.parse(pdu.header)
        task = self._tasks.get(data.itt)
        if task is None or task.incoming is None or task.running is not None:
            return
        problem = task.incoming.take(data, pdu.data)
        if problem is not None:
            self._finish(task, _aborted(*problem))
        else:
            self._go_on(task, task.incoming)

    def _go_on(self, task: Task, incoming: Incoming) -> None:
        """Ask for more data, or carry the command out where there is no more to come."""
        if incoming.expecting:
            return
        if incoming.complete:
            self._execute(task, incoming.data)
            return
        connection = self._connection
        r2tsn, tag, offset, length = incoming.ask()
        command = task.command
        r2t = iscsi.R2t(command.lun, command.itt, tag, connection.numbers(), r2tsn, offset, length)
        connection.send(r2t.pack())

    # Carrying out. -----------------------------------------------------------------------------

    def _execute(self, task: Task, data: memoryview | bytes) -> None:
        command = task.command
        answer = self._device.execute(
            self._nexus, command.lun, task.cdb, data, command.expected_length
        )
        if isinstance(answer, Answer):
            self._finish(task, answer)
        else:
            self._run(task, answer)

    def _run(self, task: Task, answer: Awaitable[Answer]) -> None:
        task.running = self._runner.run(answer, partial(self._finish, task))
        transfer = self._device.transfer(self._nexus, task.command.lun, task.cdb)
        if transfer.direction is not Direction.IN or task.command.itt not in self._tasks:
            return
        task.reading = transfer.length
        self._connection.node.reading_bytes += task.reading

    def _finish(self, task: Task, answer: Answer) -> None:
        """Answer a command, unless it has been aborted meanwhile."""
        if self._forget(task):
            self._replies.answer(task.command, answer, task.wanted)

    def _forget(self, task: Task) -> bool:
        """Let go of a task; say whether it was still there."""
        itt = task.command.itt
        if self._tasks.get(itt) is not task:
            return False
        del self._tasks[itt]
        self._immediate -= task.command.immediate
        if task.incoming is not None:
            self._connection.node.held_bytes -= task.incoming.needed
        self._connection.node.reading_bytes -= task.reading
        if not task.command.immediate:
            self._connection.completed()
        return True

    # Aborting. ---------------------------------------------------------------------------------

    def abort_task(self, itt: int, lun: bytes) -> bool:
        """Abort one task; say whether it was there."""
        task = self._tasks.get(itt)
        if task is None or task.command.lun != lun:
            return False
        self._abort(task)
        return True

    def abort(self, naa: str | None) -> int:
        """Abort the tasks of a unit, or of all; return how many there were."""
        found = [task for task in self._tasks.values() if naa in {None, task.naa}]
        for task in found:
            self._abort(task)
        return len(found)

    def _abort(self, task: Task) -> None:
        if self._forget(task) and task.running is not None:
            task.running.cancel()

    def __len__(self) -> int:
        """How many tasks are under way."""
        return len(self._tasks)


def _aborted(asc: int, ascq: int) -> Answer:
    """Return what a write comes to whose data do not come as agreed on (§11.4.7.2)."""
    sense = Sense(Key.ABORTED_COMMAND, asc, ascq).pack(descriptors=False)
    return Answer(Status.CHECK_CONDITION, (), sense)
