"""The step ``loop``: a file as a block device of this machine, as ``losetup`` makes it.

It is configured in one call of the kernel (LOOP_CONFIGURE, Linux 5.8), mark, read-only flag and
file together, so that there is never one of which nobody knows whose it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, Final

from stuntdouble.errors import InvalidState, Misuse, TimedOut, Unsupported
from stuntdouble.lio import devices
from stuntdouble.lio.requests import Session
from stuntdouble.lio.work import KernelError, Made, wait_for
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.lio.machine import Machine
    from stuntdouble.lio.work import Work

# linux/loop.h
_GET_FREE: Final = 0x4C82
_CONFIGURE: Final = 0x4C0A
_GET_STATUS: Final = 0x4C05
_CLEAR: Final = 0x4C01
_READ_ONLY: Final = 1
_NAME_BYTES: Final = 64
_STATUS: Final = Struct("=5Q4I64s64s32s2Q")  # struct loop_info64
_CONFIG: Final = Struct("=II")  # its begin of struct loop_config: file, block size
_RESERVED: Final = bytes(64)
_NAME_AT: Final = 56  # bytes before lo_file_name in struct loop_info64

_TRIES: Final = 16  # another may take the device that was free a moment ago; each time costs one
_GONE_SECONDS: Final = 5.0  # a device that somebody looks at for a moment lets go of its file then


@dataclass(frozen=True)
class LoopStep:
    """A loop device over a file.

    Args:
        read_only: whether it refuses writes.
    """

    kind: ClassVar[str] = "loop"
    read_only: bool

    def check(self, work: Work) -> None:
        """Look whether there are loop devices."""
        if not _control(work.machine).exists():
            raise Unsupported("a loop device", f"no {_control(work.machine)}: modprobe loop")

    def do(self, work: Work, below: Made) -> Made:
        """Configure a free device."""
        size = devices.size_of(below.path)
        if size % SECTOR_BYTES or not size:
            raise Misuse(below.path, f"{size} bytes are no number of sectors, {SECTOR_BYTES} each")
        flags = os.O_RDONLY if self.read_only else os.O_RDWR
        file = os.open(below.path, flags | os.O_CLOEXEC)
        try:
            name = self._configured(work, file)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            what = f"make a loop device of {below.path}"
            raise KernelError(what, f"{where}{error.strerror}") from None
        finally:
            os.close(file)
        return Made(str(Path(work.machine.dev, name)))

    def _configured(self, work: Work, file: int) -> str:
        control = os.open(_control(work.machine), os.O_RDWR | os.O_CLOEXEC)
        try:
            for _ in range(_TRIES):
                name = f"loop{fcntl.ioctl(control, _GET_FREE)}"
                if _configure(work.machine, name, file, work.mark, read_only=self.read_only):
                    return name
        finally:
            os.close(control)
        raise OSError(errno.EBUSY, f"others took the free ones, {_TRIES} times in a row")

    def undo(self, work: Work) -> None:
        """Take the file away from each device of ours."""
        for name in marked(work.machine, work.mark):
            with _opened(work.machine, name) as device:
                fcntl.ioctl(device, _CLEAR)
        gone = lambda: not list(marked(work.machine, work.mark))  # noqa: E731
        try:
            wait_for("the end of a loop device", gone, _GONE_SECONDS)
        except TimedOut:
            held = ", ".join(who.who for who in self.users(work)) or "somebody"
            raise InvalidState(
                f"the loop device of {work.mark}", f"open ({held})", "let go"
            ) from None

    def users(self, work: Work) -> list[Session]:
        """Return the processes that have it open."""
        machine = work.machine
        names = marked(machine, work.mark)
        paths = (str(Path(machine.dev, name)) for name in names)
        return [Session(who, path) for path in paths for who in devices.users(machine, path)]

    def words(self) -> str:
        """Say what it is."""
        return "loop device"


class _opened:  # noqa: N801  (a context manager, used as a function)
    """A loop device, open; one that is open for reading is configured for reading alone."""

    def __init__(self, machine: Machine, name: str, flags: int = os.O_RDONLY) -> None:
        self._path = Path(machine.dev, name)
        self._flags = flags

    def __enter__(self) -> int:
        self._descriptor = os.open(self._path, self._flags | os.O_CLOEXEC)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _control(machine: Machine) -> Path:
    return Path(machine.dev, "loop-control")


def _configure(machine: Machine, name: str, file: int, mark: str, *, read_only: bool) -> bool:
    """Give a file to a device; say False where somebody was faster."""
    flags = _READ_ONLY if read_only else 0
    status = _STATUS.pack(*[0] * 8, flags, mark.encode(), b"", b"", 0, 0)
    with _opened(machine, name, os.O_RDONLY if read_only else os.O_RDWR) as device:
        try:
            fcntl.ioctl(device, _CONFIGURE, _CONFIG.pack(file, SECTOR_BYTES) + status + _RESERVED)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise
    return True


def marked(machine: Machine, mark: str) -> Iterator[str]:
    """Yield the names of loop devices that carry a mark, or one that begins with it."""
    for entry in sorted(machine.blocks.glob("loop*")):
        if (entry / "loop" / "backing_file").exists() and _mark(machine, entry.name) == mark:
            yield entry.name


def _mark(machine: Machine, name: str) -> str:
    status = bytearray(_STATUS.size)
    try:
        with _opened(machine, name) as device:
            fcntl.ioctl(device, _GET_STATUS, status)
    except OSError:  # without a file by now
        return ""
    field = status[_NAME_AT : _NAME_AT + _NAME_BYTES]
    return field.partition(b"\0")[0].decode("utf-8", "replace")
