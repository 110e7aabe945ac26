"""Who takes part: our target and tgtd, each in a process of its own, and qemu-img as the client."""

from __future__ import annotations

import re
import selectors
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import urlsplit

from stuntdouble.bench.iscsi.estate import INITIATOR
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stuntdouble.bench.iscsi.estate import Content

_START_SECONDS_MAX: Final = 300.0  # what is compiled when it is first used takes minutes
_STEP_SECONDS_MAX: Final = 300.0  # one shape, on a busy machine
_END_SECONDS_MAX: Final = 5.0
_TGTD_TARGET: Final = "iqn.2026-01.com.example:tgtd"
_TGTD_THREADS: Final = 4
_CONTROLS: Final = 30_000  # the number of its control socket is a short one
_COMPLETED: Final = re.compile(r"Run completed in ([0-9.]+) seconds")


@dataclass(frozen=True, slots=True)
class Served:
    """A LUN that somebody serves."""

    who: str
    portal: str
    target: str
    lun: int

    @property
    def options(self) -> str:
        """Where it is, as qemu-img takes it with ``--image-opts``."""
        return (
            f"driver=iscsi,transport=tcp,portal={self.portal},target={self.target},lun={self.lun},"
            f"initiator-name={INITIATOR}"
        )


def missing() -> list[str]:
    """Return who cannot take part here, and what would help."""
    wanted = {"tgtd": "tgt", "tgtadm": "tgt", "qemu-img": "qemu-utils and qemu-block-extra"}
    return [f"{name}: install {what}" for name, what in wanted.items() if not shutil.which(name)]


def version_of(command: str) -> str:
    """Return the version that a program tells."""
    try:
        told = _ran(command, "--version").split("\n", 1)[0]
    except Misuse:
        return "missing"
    return told.removeprefix(f"{command} version ").strip()


# Targets. -------------------------------------------------------------------------------------


@contextmanager
def ours(mib: int, content: Content, raw: Path) -> Iterator[Served]:
    """Serve the LUN, and write what it holds to a file."""
    what = ("--mib", str(mib), "--content", content.value, "--raw", str(raw))
    words = (sys.executable, "-m", "stuntdouble.bench.iscsi", *what)
    process = subprocess.Popen(  # noqa: S603  (ourselves)
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None, "it is a pipe"
    assert process.stdout is not None, "it is a pipe"
    try:
        url = urlsplit(_line(process.stdout, words))
        target, lun = url.path.strip("/").rsplit("/", 1)
        yield Served("stuntdouble", url.netloc, target, int(lun))
    finally:
        process.stdin.close()
        _ended(process)
        process.stdout.close()


@contextmanager
def tgtd(raw: Path) -> Iterator[Served]:
    """Serve a file by tgtd."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    control = str(port % _CONTROLS + 1)
    words = ["tgtd", "-f", "-C", control, "-t", str(_TGTD_THREADS)]
    process = subprocess.Popen(  # noqa: S603  (a program that was asked for)
        [*words, "--iscsi", f"portal=127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    admin = ("tgtadm", "-C", control, "--lld", "iscsi", "--op")
    try:
        _first(process, *admin, "new", "--mode", "target", "--tid", "1", "-T", _TGTD_TARGET)
        unit = ("--mode", "logicalunit", "--tid", "1", "--lun", "1")
        _ran(*admin, "new", *unit, "-b", str(raw))
        _ran(*admin, "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
        yield Served("tgtd", f"127.0.0.1:{port}", _TGTD_TARGET, 1)
    finally:
        # It ignores a signal as long as there are targets.
        _tried(*admin, "delete", "--mode", "target", "--tid", "1", "--force")
        _tried(*admin, "delete", "--mode", "system")
        _ended(process)


def _first(process: subprocess.Popen[bytes], *words: str) -> None:
    """Run the first command to a daemon that may not listen yet."""
    for _ in range(100):
        if process.poll() is not None:
            break
        done = subprocess.run(words, check=False, capture_output=True)  # noqa: S603
        if done.returncode == 0:
            return
        with selectors.DefaultSelector() as nothing:
            nothing.select(0.05)
    raise Misuse("tgtd", "it did not start: run it to see why")


def _ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _line(stdout: IO[str], words: tuple[str, ...]) -> str:
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        line = stdout.readline() if selector.select(_START_SECONDS_MAX) else ""
    if not line:
        raise Misuse("the target", f"{' '.join(words)} did not start: run it to see why")
    return line.strip()


# The client. ----------------------------------------------------------------------------------


def read_seconds(served: Served, size_bytes: int, depth: int, count: int) -> float:
    """Read so often, so much, so many at a time; return the seconds that it took."""
    told = _ran(
        "qemu-img", "bench", "--image-opts", "-t", "none", "-c", str(count), "-d", str(depth),
        "-s", str(size_bytes), "-S", str(size_bytes), served.options,
    )  # fmt: skip
    found = _COMPLETED.search(told)
    if found is None:
        raise Misuse("qemu-img bench", f"it said {told[-200:]!r}")
    return float(found[1])


def convert(served: Served, coroutines: int, out: Path) -> None:
    """Copy all of a LUN to a file."""
    _ran(
        "qemu-img", "convert", "-m", str(coroutines), "-W", "--image-opts", "-O", "raw",
        served.options, str(out),
    )  # fmt: skip


def _ran(*words: str) -> str:
    """Run a program; return what it printed.  Misuse where it fails, in its own words."""
    try:
        done = subprocess.run(  # noqa: S603  (a program that was asked for)
            words, check=True, capture_output=True, text=True, timeout=_STEP_SECONDS_MAX
        )
    except FileNotFoundError:
        raise Misuse("bench iscsi", f"needs {words[0]}") from None
    except subprocess.CalledProcessError as error:
        raise Misuse(words[0], error.stderr.strip() or f"exit code {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise Misuse(words[0], f"took longer than {_STEP_SECONDS_MAX} s") from None
    return done.stdout


def _tried(*words: str) -> None:
    subprocess.run(words, check=False, capture_output=True)  # noqa: S603  (as above)
