"""The methods of a comparison in processes of their own, one each.

    this process     fork, fork, fork    ...progress...    no backup        results
    software         [ run                    ] ended, waits -- meter --> [ figures ]
    storage          [ run                         ] ended, waits ------> [ figures ]
    mounted          [ run                              ] ended, waits -> [ figures ]

The runs share nothing but what was read before, so they give what they give one after another.
The run without a backup is as long as the longest of them, and their figures need it: so each run
stays where it is, and waits.  Forked rather than spawned: nothing is imported or compiled again.
"""

from __future__ import annotations

import multiprocessing
import warnings
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Protocol

from stuntdouble.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.connection import Connection

    from stuntdouble.iops import Meter
    from stuntdouble.results import MethodResult, Progress

    Figures = tuple[MethodResult, list[str]]
    """What a run gives: its figures, and its notes."""


class Telling(Protocol):
    """What a run tells of itself while it is under way."""

    def emulated(
        self, fraction: float, *, phase: str, seconds: float, ios: int, restore_points: int
    ) -> None:
        """Say how far it is; see ``results.Progress``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run asks of the one without a backup.

    Args:
        seconds: how long it was itself, in site time.
        edges: the instants at which it needs the array's busy seconds.
        twins: for each VM, until when it needs the sum of what its I/O felt.
    """

    seconds: float
    edges: list[float]
    twins: dict[str, list[float]]


class Job(Protocol):
    """A run, begun: it tells what it asks for, and gives its figures once it gets the meter."""

    @property
    def asked(self) -> Asked:
        """What it asks of the run without a backup."""
        ...

    def figures(self, alone: Meter) -> Figures:
        """Return its figures beside those of the site left alone."""


@dataclass(frozen=True, slots=True)
class _Teller:
    """Tells the process that started us; without it there is nothing to run for."""

    connection: Connection

    def emulated(self, fraction: float, **facts: Any) -> None:
        try:
            self.connection.send(("progress", {"fraction": fraction, **facts}))
        except ConnectionError:  # an error of the display's task would be heard at the run's end
            raise SystemExit(1) from None


class _Display:
    """One line of progress for all: as far as the last of them is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._known: dict[str, dict[str, Any]] = {}

    def show(self, name: str, facts: dict[str, Any]) -> None:
        self._known[name] = facts
        known = self._known.values()
        last = min(known, key=lambda each: each["fraction"])
        self._progress.emulated(
            last["fraction"],
            phase=last["phase"],
            seconds=last["seconds"],
            ios=sum(each["ios"] for each in known),
            restore_points=sum(each["restore_points"] for each in known),
        )


def side_by_side(
    begin: Callable[[str, Telling], Job],
    names: Iterable[str],
    leave_alone: Callable[[list[Asked]], Meter],
    progress: Progress,
) -> dict[str, Figures]:
    """Return the figures of each of *names*, in their order.

    *begin* runs in a process of its own for each name; *leave_alone* here, with what the runs ask of
    it.

    Raises:
        Exception: what the first of *names* that failed raised, once all have ended.
        Interrupted: a process was killed.
    """
    context = multiprocessing.get_context("fork")
    display = _Display(progress)
    pipes: dict[str, Connection] = {}
    with ExitStack() as stack:
        for name in names:
            mine, theirs = context.Pipe()
            ours = (mine, *pipes.values())
            process = context.Process(target=partial(_live, theirs, ours, begin, name), daemon=True)
            with warnings.catch_warnings():
                # Python 3.12 warns of threads when it forks: those of numpy's library wait idle.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()  # so that its end is the end of the pipe
            stack.callback(process.join)
            stack.callback(process.terminate)
            stack.callback(mine.close)
            pipes[name] = mine
        ended = _gather(pipes, display)
        alone = leave_alone(list(ended.values()))
        for pipe in pipes.values():
            with suppress(BrokenPipeError):  # it was killed: reading will tell
                pipe.send(alone)
        return _gather(pipes, display)


def _gather(pipes: dict[str, Connection], display: _Display) -> dict[str, Any]:
    """Return what each says next, progress aside; raise the first failure once all have spoken."""
    said: dict[str, Any] = {}
    failed: dict[str, BaseException] = {}
    while len(said) + len(failed) < len(pipes):
        for name, what, content in _messages(pipes, {*said, *failed}):
            if what == "progress":
                display.show(name, content)
            elif what == "failed":
                failed[name] = content
            else:
                said[name] = content
    for name in pipes:
        if name in failed:
            raise failed[name]
    return {name: said[name] for name in pipes}


def _messages(pipes: dict[str, Connection], done: set[str]) -> Iterator[tuple[str, str, Any]]:
    waiting = {pipe: name for name, pipe in pipes.items() if name not in done}
    for pipe in wait(list(waiting)):
        name = waiting[pipe]  # type: ignore[index]  # of all that may be waited for, connections
        try:
            what, content = pipes[name].recv()
        except (EOFError, ConnectionResetError):
            what, content = "failed", Interrupted(f"the run by {name} (its process was killed)")
        yield name, what, content


def _live(
    connection: Connection,
    ours: Iterable[Connection],
    begin: Callable[[str, Telling], Job],
    name: str,
) -> None:
    """Live through one run: what a process does.

    It has been forked with *ours*, the ends of the process that started it.  Were they left open,
    the pipe would never end, and the run would outlive that process, with all that it has locked.
    """
    for end in ours:
        end.close()
    try:
        job = begin(name, _Teller(connection))
        connection.send(("ended", job.asked))
        connection.send(("figures", job.figures(connection.recv())))
    except BaseException as error:  # noqa: BLE001  (whatever it is, it is raised where we came from)
        with suppress(OSError):
            connection.send(("failed", error))
