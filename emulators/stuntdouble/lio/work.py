"""A step of an export, and what it needs: done from below to above, undone the other way round.

    nbd · fuse · copy  ──▶  loop  ──▶  backstore  ──▶  iscsi · loopback
    NBD export to          file to     device or       LUN to initiators,
    device or file         device      file to LUN     or to this machine

Everything that a step makes carries the export's mark, so that what is ours can be told from what
is not with nothing else at hand, and undoing asks for the mark alone.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from stuntdouble.errors import Error, TimedOut
from stuntdouble.lio.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from stuntdouble.lio.requests import Chap, Session

MARK: Final = "stuntdouble-"
"""Before an export's number, in every name that we give to something in the kernel."""

_GLANCE_SECONDS: Final = 0.05  # between two looks at sysfs: a device comes within a few of them


class KernelError(Error):
    """The kernel, or a program on its behalf, does not do it.  Facts: what, why."""

    template = "cannot {0}: {1}"


def _silent(_what: str, _done: int, _all: int) -> None:
    return


@dataclass(frozen=True)
class Work:
    """What a step is done with.

    Args:
        machine: where.
        number: the export's.
        secrets: of initiators, by name; they are in no step.
        say: told of progress: what, how much of it is done, how much there is.
    """

    machine: Machine
    number: str
    secrets: dict[str, Chap] = field(default_factory=dict, repr=False)
    say: Callable[[str, int, int], object] = _silent

    @property
    def mark(self) -> str:
        """What every name of this export has in it."""
        return f"{MARK}{self.number}"


@dataclass(frozen=True, slots=True)
class Made:
    """What a step has made: the file or device above it, or where initiators find it."""

    path: str = ""
    naa: str = ""


class Step(Protocol):
    """A step; its fields are JSON, and tell nothing that is secret."""

    kind: ClassVar[str]

    def check(self, work: Work) -> None:
        """Make sure that nobody has what the step is about to make; nothing is changed.

        Raises:
            InvalidState: somebody has.
            Unsupported: this machine cannot.
        """
        ...

    def do(self, work: Work, below: Made) -> Made:
        """Make it, on top of what the step below has made."""
        ...

    def undo(self, work: Work) -> None:
        """Take away whatever of it is there; idempotent."""
        ...

    def users(self, work: Work) -> list[Session]:
        """Return who has it open."""
        ...

    def words(self) -> str:
        """Say what the step is, for a human being."""
        ...


def wait_for(what: str, there: Callable[[], bool], seconds: float) -> None:
    """Return once something is there; TimedOut after about *seconds* of wall time."""
    pause = threading.Event()
    for _ in range(max(1, round(seconds / _GLANCE_SECONDS))):
        if there():
            return
        pause.wait(_GLANCE_SECONDS)
    if not there():
        raise TimedOut(what, f"{seconds:g}")
