"""Starting the child, listening to it, and not waiting for it without end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from stuntdouble import errors
from stuntdouble.errors import Bug, Error, Interrupted, TaskInProgress, TimedOut
from stuntdouble.lio.work import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stuntdouble.lio.machine import Limits, Machine
    from stuntdouble.lio.requests import Chap

    OnNews: TypeAlias = Callable[[int, dict[str, Any]], object]
    """Called with the child's process number and each line that it says."""

_MODULE: Final = "stuntdouble.lio.child"


@dataclass(frozen=True)
class Job:
    """What a child is to do.

    Args:
        verb: which of its functions.
        number: the export's.
        steps: its steps, as ``steps.facts`` tells them.
        path: what lies below the first of them.
        force: whether to end an export that somebody uses.
        secrets: of initiators; they go over a pipe, where no list of processes shows them.
    """

    verb: Literal["make", "undo", "users"]
    number: str
    steps: tuple[dict[str, Any], ...]
    path: str = ""
    force: bool = False
    secrets: Mapping[str, Chap] = field(default_factory=dict, repr=False)

    def text(self, machine: Machine) -> str:
        """Return it as the child reads it."""
        return json.dumps({**asdict(self), "machine": asdict(machine)})


def run(
    job: Job,
    machine: Machine,
    limits: Limits,
    *,
    on_ready: Callable[[], object] = bool,
    on_news: OnNews | None = None,
) -> dict[str, Any]:
    """Let a child do a job, and return what it says in the end.

    Args:
        job: what to do.
        machine: where.
        limits: how long the child may be silent.
        on_ready: called before anything is changed.
        on_news: see ``OnNews``.

    Raises:
        Error: as the child says.
        TaskInProgress: another has the lock, and keeps it.
        TimedOut: the child was silent too long, and was killed; if that did not end it, it says so.
        Interrupted: the child was killed by somebody else.
    """
    child = _Child(f"export {job.number}", machine, limits)
    try:
        child.say(job.text(machine))
        while True:
            line = child.next()
            if on_news is not None:
                on_news(child.process.pid, line)
            if "done" in line:
                return dict(line["done"])
            if "error" in line:
                raise _error(line)
            if "bug" in line:
                raise Bug(line["bug"])
            if "ready" in line:
                on_ready()
            if "ready" in line or "step" in line:
                child.say("go")
    finally:
        child.end()


def _error(line: dict[str, Any]) -> Error:
    """Return the child's error as ours."""
    if line["error"] == KernelError.__name__:
        return KernelError(*line["facts"])
    kind = cast("type[Error]", getattr(errors, line["error"]))
    return kind(*line["facts"])


class _Child:
    """A child under way."""

    def __init__(self, what: str, machine: Machine, limits: Limits) -> None:
        self._what, self._machine, self._limits = what, machine, limits
        self._buffer = b""
        self._waiting = False  # for the lock
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed in ``end``)
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        path = os.pathsep.join(filter(None, dict.fromkeys([*inherited, *sys.path])))
        self.process = subprocess.Popen(  # noqa: S603  (our own words, and no shell)
            (sys.executable, "-m", _MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for us: a step is not left half done by it
        )

    def say(self, line: str) -> None:
        """Say a line; a child that is no more is noticed when it is listened to."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def next(self) -> dict[str, Any]:
        """Return the next line."""
        while b"\n" not in self._buffer:
            assert self.process.stdout is not None
            limits = self._limits
            seconds = limits.lock_seconds if self._waiting else limits.step_seconds
            if not select.select([self.process.stdout], [], [], seconds)[0]:
                raise self._late(seconds)
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                raise self._ended()
            self._buffer += data
        row, _, self._buffer = self._buffer.partition(b"\n")
        line: dict[str, Any] = json.loads(row)
        self._waiting = "wait" in line
        return line

    def _late(self, seconds: float) -> Error:
        if self._waiting:
            with suppress(OSError):
                who = self._machine.lock.read_text("utf-8")
                return TaskInProgress("the kernel target's configuration", who or "somebody")
        if self.end():
            return TimedOut(self._what, f"{seconds:g}")
        left = f"{self._what} (process {self.process.pid} hangs in the kernel and is left alone)"
        return TimedOut(left, f"{seconds:g}")

    def _ended(self) -> Error:
        code = self.process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            return Interrupted(f"{self._what} (process {self.process.pid} got {name})")
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return KernelError("export", f"exit code {code}: {said[-1] if said else 'no word'}")

    def end(self) -> bool:
        """Kill the child if it goes on; say whether it has ended.  Idempotent."""
        ended = True
        if self.process.poll() is None:
            self.process.kill()
            try:
                self.process.wait(self._limits.end_seconds)
            except subprocess.TimeoutExpired:
                ended = False
        for pipe in (self.process.stdin, self.process.stdout, self._said):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        return ended
