"""Task management (RFC 7143, §11.5, §11.6 and §4.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stuntdouble.codecs import iscsi
from stuntdouble.codecs.iscsi import TaskAnswer, TaskFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.codecs.iscsi import Pdu, TaskRequest
    from stuntdouble.iscsi.connection import Connection

_REFUSED: Final[dict[int, TaskAnswer]] = {
    TaskFunction.CLEAR_ACA: TaskAnswer.NOT_SUPPORTED,
    TaskFunction.COLD_RESET: TaskAnswer.NOT_SUPPORTED,
    TaskFunction.REASSIGN: TaskAnswer.NO_REASSIGNMENT,
}
"""What is known and not offered: there is no ACA, and no recovery of errors to reassign for."""


class Management:
    """Task management of one connection.

    There is one queue for all: what a function concerns has been begun, and is aborted at once.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(self, pdu: Pdu) -> None:
        """Do what is asked for, and say how it went."""
        connection = self._connection
        request = iscsi.TaskRequest.parse(pdu.header)
        if not request.immediate:
            connection.completed()
        answer = self._done(request)
        connection.send(iscsi.TaskResponse(answer, request.itt, connection.next_numbers()).pack())

    def _done(self, request: TaskRequest) -> TaskAnswer:
        functions: dict[int, Callable[[TaskRequest], TaskAnswer]] = {
            TaskFunction.ABORT_TASK: self._abort_task,
            TaskFunction.ABORT_TASK_SET: self._abort_set,
            TaskFunction.CLEAR_TASK_SET: self._clear_set,
            TaskFunction.LUN_RESET: self._reset,
            TaskFunction.WARM_RESET: self._reset_all,
        }
        function = functions.get(request.function)
        if function is not None:
            return function(request)
        return _REFUSED.get(request.function, TaskAnswer.REJECTED)

    def _abort_task(self, request: TaskRequest) -> TaskAnswer:
        """Abort one task.  One that should have come before this request never will (§11.5.1)."""
        connection = self._connection
        if connection.commands.abort_task(request.referenced, request.lun):
            return TaskAnswer.COMPLETE
        if connection.skip(request.refcmdsn):
            return TaskAnswer.COMPLETE
        return TaskAnswer.NO_TASK

    def _abort_set(self, request: TaskRequest) -> TaskAnswer:
        return self._aborted(request, everybodys=False)

    def _clear_set(self, request: TaskRequest) -> TaskAnswer:
        return self._aborted(request, everybodys=True)

    def _aborted(self, request: TaskRequest, *, everybodys: bool) -> TaskAnswer:
        naa = self._naa(request)
        if naa is None:
            return TaskAnswer.NO_LUN
        self._abort(naa, everybodys=everybodys)
        return TaskAnswer.COMPLETE

    def _reset(self, request: TaskRequest) -> TaskAnswer:
        session, target = self._connection.full
        naa = self._naa(request)
        if not target.device.reset_unit(session.nexus, request.lun):
            return TaskAnswer.NO_LUN
        if naa is not None:
            self._abort(naa, everybodys=True)
        return TaskAnswer.COMPLETE

    def _reset_all(self, _request: TaskRequest) -> TaskAnswer:
        _, target = self._connection.full
        self._abort(None, everybodys=True)
        target.device.reset_target()
        return TaskAnswer.COMPLETE

    def _naa(self, request: TaskRequest) -> str | None:
        session, target = self._connection.full
        unit = target.device.unit_at(session.nexus, request.lun)
        return None if unit is None else unit.naa

    def _abort(self, naa: str | None, *, everybodys: bool) -> None:
        session, target = self._connection.full
        self._connection.commands.abort(naa)
        if everybodys:
            target.abort(naa, session)
