"""The exporters: a LUN goes out as iSCSI, as a SCSI disk of this machine, or as a loop device.

They differ in the steps that they plan, and in nothing else.  What they do waits for the kernel,
for minutes where a LUN is copied: inside an event loop, call them in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from stuntdouble.errors import Error, NotFound
from stuntdouble.lio import machine
from stuntdouble.lio.children import Job, run
from stuntdouble.lio.machine import Limits, Machine
from stuntdouble.lio.planning import new_number, plan
from stuntdouble.lio.records import Directory, Record, Records
from stuntdouble.lio.requests import Session
from stuntdouble.lio.steps import facts
from stuntdouble.lio.work import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.lio.children import OnNews
    from stuntdouble.lio.planning import Kind
    from stuntdouble.lio.records import Keeper
    from stuntdouble.lio.requests import Export, Request


class Exporter(Protocol):
    """Lets a LUN out, and takes it back."""

    def export(self, request: Request) -> Export:
        """Let a LUN out; if anything fails, nothing of it is left."""
        ...

    def unexport(self, export: Export, *, force: bool = False) -> None:
        """Take it back; idempotent.  InvalidState while somebody uses it, unless forced."""
        ...

    def sessions(self, export: Export) -> list[Session]:
        """Return who uses it."""
        ...


class KernelExporter:
    """An exporter by the kernel of this machine.

    Args:
        kind: which.
        keeper: keeps what we have made; a directory of the machine's state, or a store.
        where: this machine, or what stands for it.
        limits: how long to wait for what.
        on_news: called with each line that a child says: progress, for whoever shows it.
    """

    def __init__(
        self,
        kind: Kind,
        keeper: Keeper | None = None,
        where: Machine | None = None,
        limits: Limits | None = None,
        on_news: OnNews | None = None,
    ) -> None:
        self.kind = kind
        self.machine = where or Machine()
        self.limits = limits or Limits()
        self.records = Records(keeper or Directory(self.machine.state))
        self._on_news = on_news

    def export(self, request: Request) -> Export:
        """Let a LUN out.

        Raises:
            Misuse: the request makes no sense for this exporter.
            NotFound: there is no such source.
            Unsupported: this machine cannot; it says what is missing.
            InvalidState: something of that name is there, and not ours.
            KernelError: the kernel refuses; nothing of it is left.
            TaskInProgress: somebody else changes the configuration, and does not end.
            TimedOut: the kernel does not answer.
        """
        number = new_number()
        planned = plan(self.kind, request, self.machine, number)
        rows = facts(planned.steps)
        record = Record("building", machine.owner(self.machine), rows, planned.export)
        secrets = {each.iqn: each.chap for each in request.initiators if each.chap is not None}
        begun: list[Record] = []

        def ready() -> None:
            self.records.put(record)
            begun.append(record)

        try:
            job = Job("make", number, rows, planned.path, secrets=secrets)
            made = self._run(job, ready)
        except BaseException as error:
            if begun:
                self._clear(record, error)
            raise
        size = made["size_bytes"]
        export = replace(planned.export, size_bytes=size, device=made["path"])
        owner = record.owner if request.held else ""
        self.records.put(replace(record, phase="whole", owner=owner, export=export))
        return export

    def _clear(self, record: Record, error: BaseException) -> None:
        """Take away what is there of an export that did not come to be."""
        try:
            self._end(record, force=True)
        except Error as failure:
            what = f"undo export {record.export.id}, which failed ({error})"
            raise KernelError(what, f"{failure}; stuntdouble unexport --recover") from error

    def unexport(self, export: Export, *, force: bool = False) -> None:
        """Take a LUN back; nothing happens if that has been done.

        Raises:
            InvalidState: somebody uses it, and *force* is off.
            KernelError, TaskInProgress, TimedOut: as for ``export``; it stays noted down.
        """
        try:
            record = self.records.get(export.id)
        except NotFound:
            return
        self._end(record, force=force)

    def _end(self, record: Record, *, force: bool) -> None:
        job = Job("undo", record.export.id, record.steps, force=force)
        self._run(job, lambda: self.records.turn(record, "ending"))
        self.records.drop(record.export.id)

    def sessions(self, export: Export) -> list[Session]:
        """Return who uses an export; NotFound where there is none (any more)."""
        record = self.records.get(export.id)
        said = self._run(Job("users", export.id, record.steps))
        return [Session(*row) for row in said["sessions"]]

    def _run(self, job: Job, on_ready: Callable[[], object] = bool) -> dict[str, Any]:
        return run(job, self.machine, self.limits, on_ready=on_ready, on_news=self._on_news)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery came to.

    Args:
        ended: exports that are no more, by number.
        left: those that could not be ended, and why.
    """

    ended: tuple[str, ...]
    left: dict[str, str]


def recover(
    keeper: Keeper | None = None,
    where: Machine | None = None,
    limits: Limits | None = None,
    *,
    everything: bool = False,
) -> Recovered:
    """End what nobody ends any more: exports half made, half ended, or of a process that is gone.

    Args:
        keeper: as for ``KernelExporter``.
        where: likewise.
        limits: likewise.
        everything: whether to end all other exports of ours too.
    """
    exporter = KernelExporter("loop", keeper, where, limits)
    ended, left = [], {}
    for record in exporter.records.all():
        if not everything and not _is_lost(exporter.machine, record):
            continue
        try:
            exporter._end(record, force=True)  # noqa: SLF001  (whatever its kind: the steps tell)
        except Error as error:
            left[record.export.id] = str(error)
        else:
            ended.append(record.export.id)
    return Recovered(tuple(ended), left)


def _is_lost(where: Machine, record: Record) -> bool:
    if record.owner:
        return not machine.lives(where, record.owner)
    return record.phase != "whole"
