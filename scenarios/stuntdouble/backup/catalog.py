"""What the backup server remembers between runs: jobs, their runs, and the last restore points.

    run    queued ──▶ running ──▶ succeeded
              │          ├──────▶ failed
              │          ├──────▶ interrupted     its process died; found when the catalog is opened
              └──────────┴──────▶ cancelled

The catalog is an index, not the truth: a restore point exists when the repository has committed
it, and is recorded afterwards.  ``reconcile`` brings the two together after a crash in between.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.backup.manifest import point_from_json, point_to_json
from stuntdouble.errors import InvalidState, NotFound

if TYPE_CHECKING:
    from stuntdouble.ports import Repository, RestorePoint
    from stuntdouble.store import Store, Transaction

_JOBS: Final = "jobs"  # job name -> Job
_POINTS: Final = "points"  # restore point id -> RestorePoint
_LAST: Final = "last"  # JSON of [vm, method] -> restore point id
_RUNS: Final = "runs"  # job name and run number -> Run


class RunState(StrEnum):
    """Where a run of a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


NEXT_STATES: Final[dict[RunState, frozenset[RunState]]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED}),
    RunState.RUNNING: frozenset(
        {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.INTERRUPTED}
    ),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
    RunState.INTERRUPTED: frozenset(),
}
"""The transitions that are allowed; a state without any is final."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is backed up, by which method; ``settings`` is the JSON of whoever runs it."""

    name: str
    method: str
    vms: tuple[str, ...]
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job, in seconds of site time; ``reason`` says why it failed or was cancelled.

    ``serial`` is its number among the runs of every job of the catalog, from 1.
    """

    id: str
    serial: int
    job: str
    state: RunState
    queued: float
    started: float | None = None
    ended: float | None = None
    reason: str = ""


class Catalog:
    """The backup server's memory, in a store; another process may open the same.

    Every change is atomic.  All methods raise Unreachable when the store does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store.space("catalog")

    @classmethod
    def open(cls, store: Store, now: float) -> Catalog:
        """Open the catalog in *store* for the only process that works on it.

        Runs that say they run are of a process that ended: they are marked as interrupted.
        """
        catalog = cls(store)
        catalog.interrupt(now)
        return catalog

    # Restore points

    def record(self, point: RestorePoint) -> None:
        """Remember *point*, which the repository has committed, as the last of its VM and method.

        A point older than the last one is remembered, but does not become the last.

        Raises:
            InvalidState: the point has no id, so it was never committed.
        """
        if not point.id:
            raise InvalidState(f"a restore point of {point.vm}", "not committed", "record it")

        def change(transaction: Transaction) -> None:
            transaction.put(_POINTS, point.id, point_to_json(point))
            last = transaction.get(_LAST, _series(point))
            text = transaction.get(_POINTS, last) if last else None
            if text is None or point_from_json(text).moment <= point.moment:
                transaction.put(_LAST, _series(point), point.id)

        self._store.transact(change, _POINTS, _LAST)

    def last(self, vm: str, method: str) -> RestorePoint | None:
        """Return the last restore point of *vm* by *method*, or None: then take a full backup."""
        id_ = self._store.get(_LAST, json.dumps([vm, method]))
        text = self._store.get(_POINTS, id_) if id_ else None
        return point_from_json(text) if text else None

    def last_change_id(self, vm: str, method: str, disk: int) -> str:
        """Return the changeId from which an incremental of *disk* starts; empty if there is none."""
        point = self.last(vm, method)
        disks = point.disks if point else ()
        return next((known.change_id for known in disks if known.key == disk), "")

    def points(self) -> tuple[RestorePoint, ...]:
        """Return the restore points recorded, oldest first."""
        return _by_age(self._store.all(_POINTS))

    def forget(self, point: str) -> None:
        """Forget restore point *point*; idempotent.

        The newest one left of its VM and method, if any, becomes the last.
        """

        def change(transaction: Transaction) -> None:
            texts = transaction.all(_POINTS)
            text = texts.pop(point, None)
            if text is None:
                return
            series = _series(point_from_json(text))
            transaction.drop(_POINTS, point)
            if transaction.get(_LAST, series) != point:
                return
            left = [other for other in _by_age(texts) if _series(other) == series]
            if left:
                transaction.put(_LAST, series, left[-1].id)
            else:
                transaction.drop(_LAST, series)

        self._store.transact(change, _POINTS, _LAST)

    def reconcile(self, repository: Repository) -> None:
        """Forget what *repository* no longer has, record what it has and this catalog missed."""
        known = {point.id for point in self.points()}  # first: a point is committed, then recorded
        there = {point.id: point for point in repository.points()}
        for id_ in sorted(known - there.keys()):
            self.forget(id_)
        for point in there.values():
            if point.id not in known:
                self.record(point)

    # Jobs

    def define(self, job: Job) -> None:
        """Remember *job* under its name, in place of one of the same name."""
        self._store.put(_JOBS, job.name, _to_json(job))

    def job(self, name: str) -> Job:
        """Return the job called *name*; NotFound if there is none."""
        text = self._store.get(_JOBS, name)
        if text is None:
            raise NotFound("job", name)
        return _job(text)

    def jobs(self) -> tuple[Job, ...]:
        """Return every job, by name."""
        return tuple(_job(text) for text in self._store.all(_JOBS).values())

    def remove(self, name: str) -> None:
        """Forget the job called *name*, not its runs or restore points; idempotent."""
        self._store.drop(_JOBS, name)

    # Runs

    def queue(self, job: str, now: float) -> Run:
        """Start the record of a run of *job*, in state queued; NotFound if there is no such job.

        Its id is ``<job>/<running number>``.
        """
        self.job(job)

        def change(transaction: Transaction) -> Run:
            runs = transaction.all(_RUNS).values()
            number = 1 + sum(_run(text).job == job for text in runs)
            run = Run(f"{job}/{number}", 1 + len(runs), job, RunState.QUEUED, now)
            transaction.put(_RUNS, run.id, _to_json(run))
            return run

        return self._store.transact(change, _RUNS)

    def move(self, run: str, state: RunState, now: float, reason: str = "") -> Run:
        """Bring *run* to *state*, and return it as it is then.

        Raises:
            NotFound: no such run.
            InvalidState: ``NEXT_STATES`` does not allow it.
        """

        def change(transaction: Transaction) -> Run:
            text = transaction.get(_RUNS, run)
            if text is None:
                raise NotFound("run", run)
            last = _run(text)
            if state not in NEXT_STATES[last.state]:
                raise InvalidState(f"run {run}", last.state, f"become {state}")
            if state is RunState.RUNNING:
                moved = replace(last, state=state, started=now)
            else:
                moved = replace(last, state=state, ended=now, reason=reason)
            transaction.put(_RUNS, run, _to_json(moved))
            return moved

        return self._store.transact(change, _RUNS)

    def runs(self, job: str = "") -> tuple[Run, ...]:
        """Return the runs of *job*, or of every job, in the order in which they were queued."""
        runs = (_run(text) for text in self._store.all(_RUNS).values())
        wanted = (run for run in runs if job in {"", run.job})
        return tuple(sorted(wanted, key=lambda run: run.serial))

    def interrupt(self, now: float) -> tuple[Run, ...]:
        """Mark the runs that still say they run as interrupted, and return them.

        For whoever opens the catalog after a crash and knows that nobody else works on it.
        """
        return tuple(
            self.move(run.id, RunState.INTERRUPTED, now, "its process ended")
            for run in self.runs()
            if run.state is RunState.RUNNING
        )


def _series(point: RestorePoint) -> str:
    return json.dumps([point.vm, point.method])


def _by_age(texts: dict[str, str]) -> tuple[RestorePoint, ...]:
    points = (point_from_json(text) for text in texts.values())
    return tuple(sorted(points, key=lambda point: (point.moment, point.id)))


def _to_json(value: Job | Run) -> str:
    return json.dumps(asdict(value), sort_keys=True)


def _job(text: str) -> Job:
    facts: dict[str, Any] = json.loads(text)
    return Job(**{**facts, "vms": tuple(facts["vms"])})


def _run(text: str) -> Run:
    facts: dict[str, Any] = json.loads(text)
    return Run(**{**facts, "state": RunState(facts["state"])})
