"""What every exporter must do, as checks that run wherever one works.

A ``Rig`` brings the exporter, something to export, and an initiator of its kind; each check takes
one and returns a line with its figure, or fails an assertion that says what was expected.  Nothing
may be left behind by any of them: what the machine shows afterwards is what it showed before.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from stuntdouble.errors import Error, Interrupted, InvalidState, NotFound
from stuntdouble.lio.exporters import KernelExporter, recover
from stuntdouble.lio.probing import probe
from stuntdouble.lio.requests import PathSource
from stuntdouble.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from stuntdouble.lio.requests import Export, Request

_PART_BYTES: Final = MIB
_KILLED_SECONDS: Final = 120.0  # for a process that dies by its own hand, under emulation


class Rig(Protocol):
    """An exporter, and all that it takes to try it.

    Attributes:
        exporter: to be tried.
        truth: a file with the bytes that the request's source has.
    """

    exporter: KernelExporter
    truth: Path

    def request(self) -> Request:
        """Return a request that this exporter can do; read-only."""
        ...

    def opened(self, export: Export) -> AbstractContextManager[str]:
        """Open an export as an initiator does, and yield the path at which it reads."""
        ...

    def listing(self) -> list[str]:
        """Return all that is exported on this machine, ours or not, and what lies below it."""
        ...

    def foreign(self) -> AbstractContextManager[object]:
        """Have something exported meanwhile that is not ours."""
        ...


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file or a device."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (a device, unbuffered)
        return hashlib.file_digest(file, "sha256").hexdigest()


def it_is_known_to_work(rig: Rig) -> str:
    """``probe`` says that the exporter works here."""
    found = {finding.name: finding for finding in probe(rig.exporter.machine)}
    finding = found[rig.exporter.kind]
    assert finding.works, finding.why
    return f"{sum(each.works for each in found.values())} of {len(found)} work"


def it_shows_the_bytes(rig: Rig) -> str:
    """What initiators read is what the source has, all of it."""
    export = rig.exporter.export(rig.request())
    try:
        with rig.opened(export) as path:
            assert digest(path) == digest(rig.truth)
        assert export.size_bytes == rig.truth.stat().st_size
    finally:
        rig.exporter.unexport(export, force=True)
    return f"{export.size_bytes >> 20} MiB"


def it_refuses_writes(rig: Rig) -> str:
    """An export that is read-only does not take a write, and the source stays as it was."""
    before = digest(rig.truth)
    export = rig.exporter.export(rig.request())
    try:
        with rig.opened(export) as path:
            refused = _write(path)
    finally:
        rig.exporter.unexport(export, force=True)
    assert refused, "a write was taken"
    assert digest(rig.truth) == before
    return refused


def _write(path: str) -> str:
    """Try to write to a device, past every cache; return how that was refused, if it was."""
    try:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, b"\xa5" * 4096, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def it_tells_who_uses_it(rig: Rig) -> str:
    """Nobody does at first, somebody while it is open, nobody after."""
    exporter = rig.exporter
    export = exporter.export(rig.request())
    try:
        assert exporter.sessions(export) == []
        with rig.opened(export) as path, _held(path):
            found = exporter.sessions(export)
            assert found, "nobody is said to use it"
        until(lambda: not exporter.sessions(export))
    finally:
        exporter.unexport(export, force=True)
    _refused(lambda: exporter.sessions(export), NotFound)
    return found[0].who


def it_is_not_taken_away_from_its_users(rig: Rig) -> str:
    """It stays while somebody uses it, unless that is what is wanted; then it goes, twice too."""
    exporter, before = rig.exporter, rig.listing()
    export = exporter.export(rig.request())
    with rig.opened(export) as path, _held(path):
        why = _refused(lambda: exporter.unexport(export), InvalidState)
        assert digest(path) == digest(rig.truth), "it does not read any more"
    until(lambda: not exporter.sessions(export))
    exporter.unexport(export)
    exporter.unexport(export)
    assert rig.listing() == before
    return why


def it_leaves_others_alone(rig: Rig) -> str:
    """Another export of ours and one that is not ours outlive it."""
    exporter, before = rig.exporter, rig.listing()
    with rig.foreign():
        between = rig.listing()
        assert between != before, "the stranger is not to be seen"
        # Alongside each other only where they do not show the same identifier.
        export = exporter.export(rig.request())
        other = exporter.export(_another(rig.request()))
        exporter.unexport(export)
        with rig.opened(other) as path:
            assert digest(path) == digest(rig.truth)
        exporter.unexport(other, force=True)
        assert rig.listing() == between
        assert recover(where=exporter.machine, everything=True).left == {}
        assert rig.listing() == between
    return f"{len(between) - len(before)} things of a stranger"


def _another(request: Request) -> Request:
    """Return a request that can be done beside *request*."""
    portal = request.portal and replace(request.portal, port=request.portal.port + 1)
    return replace(request, naa="", target="", portal=portal)


def it_leaves_nothing_of_what_fails(rig: Rig) -> str:
    """A source that is not there is told of, and nothing has been made."""
    before = rig.listing()
    missing = replace(rig.request(), source=PathSource(str(rig.truth) + ".none"), by="auto")
    why = _refused(lambda: rig.exporter.export(missing), NotFound)
    assert rig.listing() == before
    assert rig.exporter.records.all() == []
    return why


def it_survives_the_death_of_its_child(rig: Rig) -> str:
    """Killed before any of the steps, the child leaves nothing that is not taken away at once."""
    before, count = rig.listing(), 0
    for number in _moments(rig):
        seen: list[int] = []

        def kill(pid: int, line: dict[str, Any], at: int = number, seen: list[int] = seen) -> None:
            if "ready" in line or "step" in line:
                seen.append(pid)
                if len(seen) == at:
                    os.kill(pid, signal.SIGKILL)

        exporter = KernelExporter(
            rig.exporter.kind, None, rig.exporter.machine, rig.exporter.limits, kill
        )
        _refused(lambda exporter=exporter: exporter.export(rig.request()), Interrupted)  # type: ignore[misc]
        assert rig.listing() == before, f"killed at moment {number}"
        assert exporter.records.all() == []
        count += 1
    return f"{count} kills"


def it_recovers_from_the_death_of_its_owner(rig: Rig) -> str:
    """Killed at any moment, and after the last, a process leaves what ``recover`` takes away."""
    before, machine = rig.listing(), rig.exporter.machine
    moments = [*_moments(rig), 0]
    for number in moments:
        code = _SUICIDE.format(
            kind=rig.exporter.kind,
            machine=machine,
            limits=rig.exporter.limits,
            request=rig.request(),
            moment=number,
        )
        words = (sys.executable, "-c", code)
        ended = subprocess.run(words, timeout=_KILLED_SECONDS, check=False)  # noqa: S603  (our own)
        assert ended.returncode == -signal.SIGKILL, f"exit code {ended.returncode}"
        assert rig.exporter.records.all(), f"nothing was written down at moment {number}"
        found = recover(where=machine, limits=rig.exporter.limits)
        assert found.left == {}, found.left
        assert len(found.ended) == 1
        assert rig.listing() == before, f"killed at moment {number}"
    return f"{len(moments)} kills"


_SUICIDE: Final = """
import os, signal
from stuntdouble.lio import *
seen = []
def news(pid, line):
    if "step" in line:
        seen.append(pid)
        if len(seen) == {moment}:
            os.kill(os.getpid(), signal.SIGKILL)
KernelExporter({kind!r}, None, {machine!r}, {limits!r}, news).export({request!r})
os.kill(os.getpid(), signal.SIGKILL)
"""


def _moments(rig: Rig) -> range:
    """Return numbers of moments before which a kill is tried: each step of an export."""
    count = 0

    def news(_pid: int, line: dict[str, Any]) -> None:
        nonlocal count
        count += "step" in line

    where = rig.exporter
    counted = KernelExporter(where.kind, None, where.machine, where.limits, news)
    export = counted.export(rig.request())
    steps = count
    counted.unexport(export)
    return range(1, steps + 1)


CHECKS: Final[tuple[Callable[[Rig], str], ...]] = (
    it_is_known_to_work,
    it_shows_the_bytes,
    it_refuses_writes,
    it_tells_who_uses_it,
    it_is_not_taken_away_from_its_users,
    it_leaves_others_alone,
    it_leaves_nothing_of_what_fails,
    it_survives_the_death_of_its_child,
    it_recovers_from_the_death_of_its_owner,
)


def _refused(act: Callable[[], object], kind: type[Error]) -> str:
    try:
        act()
    except kind as error:
        return str(error)
    raise AssertionError(f"it was not refused with {kind.__name__}")


def until(there: Callable[[], bool]) -> None:
    """Wait until what others see is what is: a logout or a close takes an instant."""
    pause = threading.Event()
    for _ in range(50):
        if there():
            return
        pause.wait(0.1)
    raise AssertionError("it is still said to be used")


class _held:  # noqa: N801  (a context manager, used as a function)
    """A path, open for reading."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDONLY)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def run(rig: Rig) -> Iterator[tuple[str, str, str]]:
    """Run every check; yield its name, its figure, and what it failed with, if it did."""
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            yield name, check(rig), ""
        except (AssertionError, Error, OSError, subprocess.SubprocessError) as error:
            yield name, "", " ".join(str(error).split()) or type(error).__name__
