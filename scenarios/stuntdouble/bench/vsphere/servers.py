"""Servers in processes of their own: ours, and govmomi's simulator.

Each prints where it listens and serves until its standard input ends, so that none outlives us.
"""

from __future__ import annotations

import selectors
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from stuntdouble.bench.golang import built
from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

USER: Final = "user"
PASSWORD: Final = "pass"  # noqa: S105  (of a server on this machine that lives for seconds)

_START_SECONDS_MAX: Final = 120.0  # an estate of 10,000 VMs takes a few, a busy machine more
_END_SECONDS_MAX: Final = 5.0


def module(name: str) -> Any:
    """Return a module of pyVmomi, which is an extra, slow to load, and untyped.

    Raises:
        Misuse: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        text = f"needs the package {missing.name}: pip install 'stuntdouble[vsphere]'"
        raise Misuse("bench vsphere", text) from None


@dataclass(frozen=True, slots=True)
class Server:
    """A server under way; ``facts`` is what else it printed behind its URL."""

    url: str
    facts: tuple[str, ...] = ()

    def connect(self, stack: ExitStack) -> Any:
        """Return a logged-in service instance of pyVmomi; *stack* closes its connections."""
        at = urlsplit(self.url)
        connect = module("pyVim.connect").SmartConnect
        made = connect(protocol=at.scheme, host=at.hostname, port=at.port, user=USER, pwd=PASSWORD)
        stack.callback(made._stub.DropConnections)  # noqa: SLF001  (pyVmomi has no other name for it)
        return made


@contextmanager
def ours(*words: str) -> Iterator[Server]:
    """Serve an estate of ours; *words* say which."""
    with _serving(sys.executable, "-m", "stuntdouble.bench.vsphere", *words) as server:
        yield server


@contextmanager
def simulator(vms: int) -> Iterator[Server]:
    """Serve govmomi's simulator; ``golang.missing`` says whether that can be."""
    with _serving(str(built("simulator").path), "-vms", str(vms)) as server:
        yield server


@contextmanager
def _serving(*words: str) -> Iterator[Server]:
    process = subprocess.Popen(  # noqa: S603  (ourselves, or what was built from our sources)
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None, "it is a pipe"
    assert process.stdout is not None, "it is a pipe"
    try:
        url, *facts = _line(process.stdout, words).rstrip("\n").split("\t")
        yield Server(url, tuple(facts))
    finally:
        process.stdin.close()
        try:
            process.wait(_END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _line(stdout: IO[str], words: tuple[str, ...]) -> str:
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        line = stdout.readline() if selector.select(_START_SECONDS_MAX) else ""
    if not line:
        raise Misuse("the server", f"{' '.join(words)} did not start: run it to see why")
    return line
