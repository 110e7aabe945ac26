"""The step ``fuse``: an NBD export as a file of this machine, by QEMU's storage daemon.

Nothing is copied: what is read of the file is asked of the server then.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from stuntdouble.errors import InvalidState, TimedOut, Unsupported
from stuntdouble.lio.requests import NbdSource
from stuntdouble.lio.work import KernelError, Made, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.lio.machine import Machine
    from stuntdouble.lio.requests import Session
    from stuntdouble.lio.work import Work

DAEMON: Final = "qemu-storage-daemon"

_START_SECONDS: Final = 30.0  # it connects first; an NBD server has as long elsewhere
_END_SECONDS: Final = 10.0  # it lets go of one connection and of one mount


@dataclass(frozen=True)
class FuseStep:
    """An NBD export as a file.

    Args:
        uri: the export.
        read_only: whether the file refuses writes.
    """

    kind: ClassVar[str] = "fuse"
    uri: str
    read_only: bool

    def check(self, work: Work) -> None:
        """Look whether it can be done here, and for the file that is to be made."""
        if why := lacking(work.machine):
            raise Unsupported("NBD exports as files", why)
        if _file(work).exists():
            raise InvalidState(str(_file(work)), "there already", "mount an export on it")

    def do(self, work: Work, below: Made) -> Made:
        """Start the daemon, which says that it is ready by leaving us behind."""
        del below
        file = _file(work)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        host, port = NbdSource(self.uri).address
        node = {
            "driver": "nbd",
            "node-name": "lun",
            "read-only": self.read_only,
            "server": {"type": "inet", "host": host, "port": str(port)},
            "export": NbdSource(self.uri).name,
        }
        writable = "off" if self.read_only else "on"
        mount = f"type=fuse,id=fuse,node-name=lun,mountpoint={file},writable={writable}"
        words = (DAEMON, "--blockdev", json.dumps(node), "--export", mount, "--daemonize")
        try:
            ended = subprocess.run(  # noqa: S603  (our own words, and no shell)
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KernelError(f"mount {self.uri}", f"{DAEMON} says nothing") from None
        if ended.returncode:
            said = ended.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason"]
            raise KernelError(f"mount {self.uri}", said[-1])
        return Made(str(file))

    def undo(self, work: Work) -> None:
        """End the daemon, take away the mount, and the file below it."""
        file = _file(work)
        for number in _daemons(work.machine, file):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)
        try:
            wait_for(DAEMON, lambda: not list(_daemons(work.machine, file)), _END_SECONDS)
        except TimedOut:
            for number in _daemons(work.machine, file):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        if _mounted(work.machine, file):
            subprocess.run(  # noqa: S603  (our own words, and no shell)
                ("umount", "--lazy", str(file)),  # noqa: S607
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_END_SECONDS,
                check=False,
            )
        if _mounted(work.machine, file):
            raise InvalidState(str(file), "still mounted", "remove it")
        file.unlink(missing_ok=True)

    def users(self, work: Work) -> list[Session]:
        """Nobody knows of it."""
        del work
        return []

    def words(self) -> str:
        """Say what it is."""
        return f"{self.uri} by FUSE"


def lacking(machine: Machine) -> str:
    """Say what is missing for FUSE files; nothing where they work."""
    if not os.access(Path(machine.dev, "fuse"), os.R_OK | os.W_OK):
        return f"no {machine.dev}/fuse that may be opened: modprobe fuse"
    if shutil.which(DAEMON) is None:
        return f"no {DAEMON}: apt install qemu-system-common"
    return ""


def _file(work: Work) -> Path:
    return Path(work.machine.state, "files", work.mark)


def _daemons(machine: Machine, file: Path) -> Iterator[int]:
    """Yield the numbers of daemons that were told to mount the file."""
    for folder in Path(machine.proc).glob("[0-9]*"):
        try:
            said = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # gone by now
            continue
        mounts = any(f"mountpoint={file},".encode() in word for word in said)
        if said[0].endswith(DAEMON.encode()) and mounts:
            yield int(folder.name)


def _mounted(machine: Machine, file: Path) -> bool:
    lines = Path(machine.proc, "mounts").read_text("utf-8", "replace").splitlines()
    return any(line.split()[1] == str(file) for line in lines)
