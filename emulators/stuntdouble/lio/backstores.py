"""The step ``backstore``: a device or a file as a back end of the kernel target.

``iblock`` reads a block device and can refuse writes by itself.  ``fileio`` reads a file through the
page cache and has no such flag, so it is for LUNs that may be written, or that every initiator
gets write-protected.  Its write-back cache stays off: what is acknowledged is on the disk.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from stuntdouble.errors import InvalidState, Misuse, Unsupported
from stuntdouble.lio import configfs, devices
from stuntdouble.lio.work import KernelError, Made

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from stuntdouble.lio.machine import Machine
    from stuntdouble.lio.requests import Session
    from stuntdouble.lio.work import Work

NAA_PREFIX: Final = "6001405"
"""What identifiers begin with that are made up: type 6, and the kernel target's own company."""

_NUMBER_MAX: Final = 0x7FFFFFFF
"""The kernel reads the number of a back end's directory as an unsigned 32-bit one; half will do."""


@dataclass(frozen=True)
class BackstoreStep:
    """A back end.

    Args:
        plugin: of the kernel target.
        read_only: whether it refuses writes by itself; for ``iblock``.
        naa: the identifier that initiators see.
    """

    kind: ClassVar[str] = "backstore"
    plugin: Literal["iblock", "fileio"]
    read_only: bool
    naa: str

    def check(self, work: Work) -> None:
        """Look for the library, the kernel target, and for one of our name."""
        library()
        if why := lacking(work.machine):
            raise Unsupported("the kernel's target", why)
        if configfs.backstore(work.machine, work.mark) is not None:
            raise InvalidState(f"back end {work.mark}", "there already", "make it")
        if Path(work.machine.target, "core", _host(self, work)).exists():
            raise InvalidState(f"back end {_host(self, work)}", "there already", "make it")

    def do(self, work: Work, below: Made) -> Made:
        """Make it, and give it the identifier."""
        rtslib, number = library(work.machine), _number(work)
        serial = self.naa[7:]  # the kernel fills the designator from here on with the serial number
        with told(f"make a back end of {below.path}"):
            if self.plugin == "iblock":
                if not devices.is_device(below.path):
                    raise Misuse(below.path, "is no block device: use fileio")
                made = rtslib.BlockStorageObject(
                    work.mark, below.path, wwn=serial, readonly=self.read_only, index=number
                )
            else:
                size = devices.size_of(below.path)
                made = rtslib.FileIOStorageObject(
                    work.mark, below.path, size, wwn=serial, write_back=False, index=number
                )
                made.set_attribute("emulate_tpu", 1)  # UNMAP, which is off by default
            self._identify(Path(made.path))
        return Made(str(made.path), self.naa)

    def _identify(self, made: Path) -> None:
        company = made / "wwn" / "company_id"
        if company.exists():  # Linux 5.0
            company.write_text(f"0x{self.naa[1:7]}", "utf-8")
        elif not self.naa.startswith(NAA_PREFIX):
            text = "this kernel shows identifiers of its own only: it is older than Linux 5.0"
            raise Unsupported(f"identifier {self.naa}", text)

    def undo(self, work: Work) -> None:
        """Take it away, whole or half made."""
        configfs.remove_backstore(work.machine, _host(self, work), work.mark)

    def users(self, work: Work) -> list[Session]:
        """Whoever uses it does so by way of a target."""
        del work
        return []

    def words(self) -> str:
        """Say what it is."""
        return f"{self.plugin}, read-only" if self.read_only else self.plugin


def _number(work: Work) -> int:
    """Return the number of our directory: made of the export's, so that anybody can tell it."""
    return int(work.number, 16) & _NUMBER_MAX


def _host(step: BackstoreStep, work: Work) -> str:
    return f"{step.plugin}_{_number(work)}"


def lacking(machine: Machine) -> str:
    """Say what is missing for the kernel's target; nothing where it works."""
    if not Path(machine.target).is_dir():
        line = "modprobe target_core_mod; mount -t configfs none /sys/kernel/config"
        return f"no {machine.target}; as root: {line}"
    return ""


def library(machine: Machine | None = None) -> ModuleType:
    """Return rtslib; Unsupported where it is not installed.

    It looks for a device's kind by way of libudev, and for the kernel target when it is used.
    """
    try:
        import rtslib_fb  # type: ignore[import-untyped]  # noqa: PLC0415  (an extra, and slow to load)
        from rtslib_fb.node import CFSNode  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        text = f"{error}: pip install 'stuntdouble[lio]', apt install libudev1"
        raise Unsupported("the kernel's target", text) from None
    if machine is not None:
        CFSNode.configfs_dir = machine.target
    found: ModuleType = rtslib_fb
    return found


@contextmanager
def told(what: str) -> Iterator[None]:
    """Let the library's errors be ours."""
    import rtslib_fb  # noqa: PLC0415  (see ``library``)

    try:
        yield
    except rtslib_fb.RTSLibError as error:
        raise KernelError(what, _line(error)) from None
    except OSError as error:
        raise KernelError(what, _line(error.strerror or error)) from None


def _line(error: Any) -> str:
    return " ".join(str(error).split()) or "no reason given"
