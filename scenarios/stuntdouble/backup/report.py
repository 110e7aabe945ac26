"""What a job says about itself: a diary per VM while it runs, a report when it is over."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from stuntdouble.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.backup.select import Method
    from stuntdouble.ports import Kind, RestorePoint


class Note(Protocol):
    """Whoever wants to mark the steps of a job on a time line."""

    def __call__(self, kind: str, subject: str, /, **facts: object) -> None:
        """Take a milestone: its kind, the VM, volume or array snapshot it is about, facts.

        No fact is called ``time``, ``kind`` or ``subject``: a journal has those columns itself.
        """


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a VM's backup: ``snapshot``, ``reading`` or ``removing``; loop seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class VmOutcome:
    """How the backup of one VM went.

    ``point`` is the committed restore point, or None; ``error`` the first thing that went
    wrong, empty when nothing did.  ``kind`` is how much was read and ``why`` says why that was
    everything although an incremental was asked for.  ``taken_back`` names what clean-up
    removed because the VM's backup failed, was cancelled, or had to try twice; ``left_behind``
    what it could not remove.  ``lines`` tell the whole story, each with its instant.
    """

    vm: str
    point: RestorePoint | None
    error: str
    kind: Kind | None
    why: str
    skipped: tuple[str, ...]
    phases: tuple[Phase, ...]
    snapshot_open_seconds: float
    bytes_read: int
    taken_back: tuple[str, ...]
    left_behind: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is a restore point, and nothing went wrong or was left behind."""
        return self.point is not None and not self.error and not self.left_behind


@dataclass(frozen=True, slots=True)
class JobReport:
    """How a job went; instants are seconds of the event loop's clock."""

    method: Method
    kind: Kind
    started: float
    ended: float
    cancelled: bool
    vms: tuple[VmOutcome, ...]

    @property
    def ok(self) -> bool:
        """Whether every selected VM was backed up cleanly."""
        return not self.cancelled and all(outcome.ok for outcome in self.vms)

    @property
    def bytes_read(self) -> int:
        """Bytes that came from devices."""
        return sum(outcome.bytes_read for outcome in self.vms)

    @property
    def left_behind(self) -> tuple[str, ...]:
        """Everything that clean-up could not remove, each once."""
        return tuple(dict.fromkeys(line for vm in self.vms for line in vm.left_behind))


class Diary:
    """Collect what happens to one VM; becomes its ``VmOutcome``."""

    def __init__(self, vm: str, note: Note) -> None:
        self.vm = vm
        self.point: RestorePoint | None = None
        self.error = ""
        self.kind: Kind | None = None
        self.why = ""
        self.skipped: tuple[str, ...] = ()
        self.bytes_read = 0
        self.snapshot_open_seconds = 0.0
        self.taken_back: list[str] = []
        self.left_behind: list[str] = []
        self._note = note
        self._phases: list[Phase] = []
        self._lines: list[str] = []

    def tell(self, kind: str, text: str, **facts: object) -> None:
        """Announce a milestone of this VM and write it down."""
        self._note(kind, self.vm, **facts)
        self.line(text)

    def line(self, text: str) -> None:
        """Write down what happened just now."""
        self._lines.append(f"{_now():.3f} s  {text}")

    def fail(self, error: str) -> None:
        """Say what went wrong; the first cause stands, later ones are lines."""
        if error == self.error:
            return
        if not self.error:
            self.error = error
            self._note("failed", self.vm, error=error)
        self.line(error)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a stretch, also when it fails."""
        start = _now()
        try:
            yield
        finally:
            self._phases.append(Phase(name, start, _now()))

    def outcome(self) -> VmOutcome:
        """Return what is known by now."""
        return VmOutcome(
            vm=self.vm,
            point=self.point,
            error=self.error,
            kind=self.kind,
            why=self.why,
            skipped=self.skipped,
            phases=tuple(self._phases),
            snapshot_open_seconds=self.snapshot_open_seconds,
            bytes_read=self.bytes_read,
            taken_back=tuple(self.taken_back),
            left_behind=tuple(self.left_behind),
            lines=tuple(self._lines),
        )


@contextmanager
def failing_alone(*diaries: Diary) -> Iterator[None]:
    """Write an error into the diaries it concerns, instead of failing the other VMs.

    A cancellation is written down for VMs without a restore point, and goes on its way.  What is not an error of the system
    under test (a Bug, a wrong call) is not for a report: it ends the run.
    """
    try:
        yield
    except asyncio.CancelledError:
        for diary in diaries:
            if diary.point is None:
                diary.fail("the backup was cancelled")
        raise
    except (Error, OSError) as error:
        for diary in diaries:
            diary.fail(str(error))


def _now() -> float:
    return asyncio.get_running_loop().time()
