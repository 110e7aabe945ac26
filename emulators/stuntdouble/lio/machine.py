"""Where this machine shows its devices, and how long one waits for its kernel.

The places are those of every Linux; tests and other roots have others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATE: Final = "/run/stuntdouble/lio"
"""What has been exported lies in memory, as the kernel's own configuration does: a reboot ends both."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Places of this machine.

    Args:
        target: the kernel target's part of configfs.
        sys: sysfs.
        dev: device files.
        proc: procfs.
        state: where it is noted what we have made; the lock lies there too.
        directory: where files of copied LUNs go.
    """

    target: str = "/sys/kernel/config/target"
    sys: str = "/sys"
    dev: str = "/dev"
    proc: str = "/proc"
    state: str = STATE
    directory: str = "/var/tmp"  # noqa: S108  (files there have names of their own, and are new)

    @property
    def lock(self) -> Path:
        """The file whose lock whoever changes the kernel's configuration holds."""
        return Path(self.state) / "lock"

    @property
    def blocks(self) -> Path:
        """The block devices, as sysfs lists them."""
        return Path(self.sys) / "block"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a child may be silent, in wall seconds; each thing that it says begins anew.

    Args:
        step_seconds: for a step, such as the making of a target.  A login that is not answered ends
            after 15 s, a device is there within one.
        lock_seconds: for the lock, which others may hold.
        end_seconds: for a child that was killed: one that sits in the kernel does not end.
    """

    step_seconds: float = 60.0
    lock_seconds: float = 90.0
    end_seconds: float = 2.0


def owner(machine: Machine, number: int | None = None) -> str:
    """Return a name of a process that no other has, ever: this one's, or that of *number*."""
    number = os.getpid() if number is None else number
    return f"{_boot(machine)}:{number}:{_begun(machine, number)}"


def lives(machine: Machine, name: str) -> bool:
    """Say whether the process that ``owner`` has named is still there."""
    boot, number, begun = name.split(":")
    return boot == _boot(machine) and begun == _begun(machine, int(number)) != ""


def _boot(machine: Machine) -> str:
    path = Path(machine.proc, "sys/kernel/random/boot_id")
    return path.read_text("utf-8").strip() if path.exists() else ""


def _begun(machine: Machine, number: int) -> str:
    """Return when a process began, in ticks since the boot; nothing where there is none."""
    try:
        stat = Path(machine.proc, str(number), "stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    # proc(5): field 22, and the third is the first after the name; a zombie does nothing any more.
    return "" if state in {"Z", "X"} else fields[18]
