"""``iscsiadm`` as a child process: with a time limit, and errors that say what its exit code means."""

from __future__ import annotations

import asyncio
import subprocess
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import (
    AccessDenied,
    Error,
    InvalidState,
    Misuse,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from stuntdouble.initiators.wall import Wall

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN_SECONDS: Final = 60.0
"""Wall time for one run.  Chosen: a login is tried for up to 8 times 15 s by default, and a logout
waits for the disks; nobody waits for either that long."""

_SECRETS: Final = frozenset({"node.session.auth.password", "node.session.auth.password_in"})


class Exit(IntEnum):
    """Exit codes (iscsiadm(8), "EXIT STATUS")."""

    SUCCESS = 0
    SESSION_NOT_FOUND = 2
    TRANSPORT = 4
    LOGIN = 5
    INVALID = 7
    TRANSPORT_TIMEOUT = 8
    PDU_TIMEOUT = 11
    NO_TRANSPORT = 12
    ACCESS = 13
    SESSION_EXISTS = 15
    DAEMON_TALK = 18
    FATAL_LOGIN = 19
    DAEMON_ABSENT = 20
    NOTHING_FOUND = 21
    HOST_NOT_FOUND = 23
    NOT_AUTHORIZED = 24


class Iscsiadm:
    """Runs it.

    Args:
        command: what to run; more words may stand before ours.
        seconds: wall time for one run.
    """

    def __init__(
        self, command: Sequence[str] = ("iscsiadm",), seconds: float = RUN_SECONDS
    ) -> None:
        self._command = tuple(command)
        self._seconds = seconds

    async def run(self, *words: str, allowed: Sequence[int] = ()) -> str:
        """Run it with *words*; return what it says, also where it ends with an *allowed* code.

        Raises:
            Unsupported: it is not installed, or the kernel has no iSCSI.
            TimedOut: it did not end in time, and was killed.
            Error: what its exit code means.
        """
        what = " ".join(("iscsiadm", *_shown(words)))
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                *words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except (FileNotFoundError, PermissionError) as error:
            text = f"install open-iscsi ({self._command[0]}: {error.strerror})"
            raise Unsupported("the kernel's initiator here", text) from error
        try:
            async with Wall().limit(self._seconds, what):
                out, complaint = await child.communicate()
        except BaseException as error:
            await _end(child)
            if isinstance(error, TimedOut):
                raise error from None
            raise
        code = child.returncode or 0
        if code and code not in allowed:
            raise _error(code, what, complaint.decode(errors="replace"))
        return out.decode(errors="replace")


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill a child; do not wait for one that the kernel holds."""
    if child.returncode is None:
        child.kill()
        try:
            async with Wall().limit(1.0, "killing it"):
                await child.communicate()
        except TimedOut:
            return


def _shown(words: Sequence[str]) -> list[str]:
    """Return words as they may be told: without secrets."""
    shown = list(words)
    for at, word in enumerate(words):
        if word in _SECRETS and at + 2 < len(words):
            shown[at + 2] = "…"
    return shown


def _error(code: int, what: str, complaint: str) -> Error:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    said = lines[-1] if lines else "nothing"
    told = f"{what} (exit code {code}: {said})"
    match code:
        case Exit.NOT_AUTHORIZED:
            error: Error = AccessDenied("this initiator", f"{told}: check masking and CHAP secrets")
        case Exit.ACCESS:
            error = AccessDenied("this process", f"{told}: run it as root")
        case Exit.NOTHING_FOUND | Exit.SESSION_NOT_FOUND:
            error = NotFound("what this is about", told)
        case Exit.NO_TRANSPORT:
            error = Unsupported(told, "load iscsi_tcp")
        case Exit.DAEMON_ABSENT | Exit.DAEMON_TALK:
            error = Unreachable(f"{told}, or iscsid, which must be running,")
        case Exit.SESSION_EXISTS:
            error = InvalidState("the session", "there already", told)
        case Exit.INVALID:
            error = Misuse(what, f"exit code {code}: {said}")
        case _:
            error = Unreachable(told)
    return error
