"""The process that changes the kernel's configuration, one at a time on a machine.

It may hang in the kernel, which no signal ends; then it does so alone.  Whoever started it says by
lines what to do, and hears by lines how it goes::

    job ─▶   ◀─ {"wait": "lock"}   ◀─ {"ready": true}  go ─▶   ◀─ {"step": 0}  go ─▶   …   ◀─ {"done": …}

Nothing has been changed before the first "go": so what is about to be made can be written down.  A
parent that is no more says nothing, and then nothing more is done.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final, NoReturn

from stuntdouble.errors import Error, InvalidState, Unsupported
from stuntdouble.lio import devices
from stuntdouble.lio.copying import CopyStep
from stuntdouble.lio.machine import Machine
from stuntdouble.lio.requests import Chap
from stuntdouble.lio.steps import parsed
from stuntdouble.lio.work import KernelError, Made, Work

if TYPE_CHECKING:
    from stuntdouble.lio.requests import Session
    from stuntdouble.lio.work import Step

_LOOKS: Final = 10
_LOOK_SECONDS: Final = 0.1
"""Whoever has a device open for an instant, as udev does when it is new, is not counted as a user."""

_NEWS_BYTES: Final = 4 << 20  # of a copy between two lines about it: some, also from a slow server


def main() -> None:
    """Do the job that comes on stdin."""
    try:
        job = json.loads(sys.stdin.readline())
        machine = Machine(**job["machine"])
        secrets = {name: Chap(**chap) for name, chap in job["secrets"].items()}
        work = Work(machine, job["number"], secrets, _Progress().say)
        lock = _Lock(machine, f"export {job['number']} (process {os.getpid()})")
        lock.take()
        _tell({"done": _VERBS[job["verb"]](work, lock, parsed(job["steps"]), job)})
    except Error as error:
        _tell({"error": type(error).__name__, "facts": list(map(str, error.args))})
    except OSError as error:
        fact = f"{error.filename or 'it'}: {error.strerror or error}"
        _tell({"error": KernelError.__name__, "facts": ["go on", fact]})
    except Exception:  # noqa: BLE001  (the outermost frame: whatever it is, it is told)
        _tell({"bug": traceback.format_exc(limit=-4)})


class _Progress:
    def __init__(self) -> None:
        self._told = 0

    def say(self, what: str, done: int, everything: int) -> None:
        """Tell of progress, now and then."""
        if done - self._told >= _NEWS_BYTES or done == everything:
            self._told = done
            _tell({"progress": [what, done, everything]})


class _Lock:
    """The machine's lock; its file says who has it."""

    def __init__(self, machine: Machine, what: str) -> None:
        self._what = what
        try:
            machine.lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(machine.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            text = f"cannot write {machine.state} ({error.strerror}): run it as root"
            raise Unsupported("exporting here", text) from None

    def take(self) -> None:
        """Wait for it."""
        _tell({"wait": "lock"})
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, self._what.encode(), 0)

    def give(self) -> None:
        """Let others have it."""
        fcntl.flock(self._file, fcntl.LOCK_UN)


def _make(work: Work, lock: _Lock, steps: list[Step], job: dict[str, Any]) -> dict[str, Any]:
    """Make an export: each step on top of the one before.

    A copy may take hours and is not of the kernel's configuration: others have the lock meanwhile.
    """
    for step in steps:
        step.check(work)
    _ask({"ready": True})
    made, size = Made(job["path"]), 0
    for number, step in enumerate(steps):
        _ask({"step": number})
        if made.path and step.kind in {"loop", "backstore"}:
            size = devices.size_of(made.path)
        if step.kind == CopyStep.kind:
            lock.give()
            made = step.do(work, made)
            lock.take()
        else:
            made = step.do(work, made)
    return {"path": made.path, "naa": made.naa, "size_bytes": size}


def _undo(work: Work, _lock: _Lock, steps: list[Step], job: dict[str, Any]) -> dict[str, Any]:
    """Take an export away, from above to below; refused while somebody uses it, unless forced."""
    if not job["force"] and (users := _lasting(work, steps)):
        who = ", ".join(user.who for user in users)
        raise InvalidState(f"export {work.number}", f"in use by {who}", "end it")
    _ask({"ready": True})
    for number, step in reversed(list(enumerate(steps))):
        _ask({"step": number})
        step.undo(work)
    return {}


def _lasting(work: Work, steps: list[Step]) -> list[Session]:
    pause = threading.Event()
    users = steps[-1].users(work)
    for _ in range(_LOOKS):
        if not users:
            break
        pause.wait(_LOOK_SECONDS)
        users = steps[-1].users(work)
    return users


def _users(work: Work, _lock: _Lock, steps: list[Step], job: dict[str, Any]) -> dict[str, Any]:
    """Return who uses an export."""
    del job
    return {"sessions": [[user.who, user.where] for user in steps[-1].users(work)]}


_VERBS: Final = {"make": _make, "undo": _undo, "users": _users}


def _tell(line: dict[str, Any]) -> None:
    try:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _alone()


def _ask(line: dict[str, Any]) -> None:
    _tell(line)
    if sys.stdin.readline().strip() != "go":
        _alone()


def _alone() -> NoReturn:
    """End: nobody is there who would write down what is done, and who would end it."""
    os._exit(1)


if __name__ == "__main__":
    main()
