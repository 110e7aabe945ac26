"""The tasks of the past, as far as they are remembered, by filter and page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stuntdouble.vsphere.faults import not_supported
from stuntdouble.vsphere.history import HistoryCollector, is_about, is_by, is_within, lineage
from stuntdouble.vsphere.objects import Entity, operation
from stuntdouble.vsphere.vmomi import moid, vim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stuntdouble.vsphere.center import VirtualCenter
    from stuntdouble.vsphere.sessions import Session
    from stuntdouble.vsphere.tasks import Task

_UNKNOWN: Final = (
    "activationId",
    "alarm",
    "scheduledTask",
    "tag",
    "parentTaskKey",
    "rootTaskKey",
)


class TaskHistoryCollector(HistoryCollector):
    """``vim.TaskHistoryCollector``."""

    kind = vim.TaskHistoryCollector

    def items(self) -> Sequence[tuple[int, Any]]:
        """Return the tasks that the filter lets through, oldest first."""
        found = [task.info() for task in matching(self.center, self.spec)]
        return [(info.eventChainId, info) for info in found]

    @operation("ReadNextTasks")
    def read_next(self, session: Session, max_count: int) -> list[Any]:
        del session
        return self.forward(max_count)

    @operation("ReadPreviousTasks")
    def read_previous(self, session: Session, max_count: int) -> list[Any]:
        del session
        return self.back(max_count)


def matching(center: VirtualCenter, spec: Any) -> list[Task]:
    """Return the tasks that a filter lets through, in the order in which they began.

    Raises:
        vmodl.fault.NotSupported: it asks for what no task here has.
    """
    for name in _UNKNOWN:
        if getattr(spec, name, None):
            raise not_supported(f"filtering tasks by {name}")
    if spec.entity is not None:
        center.resolve_as(spec.entity.entity, Entity, "filter.entity.entity")
    there = sorted(center.tasks.all(), key=lambda task: task.info().eventChainId)
    return [task for task in there if _matches(center, task, spec)]


def _matches(center: VirtualCenter, task: Task, spec: Any) -> bool:
    info = task.info()
    if spec.entity is not None:
        own, above = lineage(center, [task.on])
        if not is_about(spec.entity, moid(spec.entity.entity), own, above):
            return False
    if spec.time is not None:
        at = getattr(info, _TIMES[str(spec.time.timeType)])
        if not is_within(at, spec.time.beginTime, spec.time.endTime):
            return False
    if spec.userName is not None and not is_by(spec.userName, info.reason.userName):
        return False
    if spec.eventChainId and info.eventChainId not in spec.eventChainId:
        return False
    return not spec.state or str(info.state) in [str(state) for state in spec.state]


_TIMES: Final = {
    "queuedTime": "queueTime",
    "startedTime": "startTime",
    "completedTime": "completeTime",
}
