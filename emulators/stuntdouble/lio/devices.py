"""Block devices of this machine: by what they are known, how large they are, who has them open.

A device is found by what it says of itself, never by where it stands in a list: names such as
``sdb`` are given in the order of discovery.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import NotFound
from stuntdouble.units import SECTOR_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.lio.machine import Machine

LOOPBACK: Final = "tcm_loop_adapter_"
"""A directory of this name lies above each device of the loopback fabric in sysfs."""


def size_of(path: str) -> int:
    """Return the bytes of a file or a device; NotFound where there is neither.

    The end of a device is found by seeking: its status has no size.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound("file or device", path) from None
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def is_device(path: str) -> bool:
    """Say whether there is a block device at *path*; NotFound where there is nothing."""
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)  # noqa: PTH116  (as in the other functions)
    except FileNotFoundError:
        raise NotFound("file or device", path) from None


def by_wwn(machine: Machine, naa: str, above: str = "") -> list[str]:
    """Return the SCSI disks whose designator is *naa*, as names in sysfs.

    Args:
        machine: where.
        naa: 32 digits.
        above: a part of the device's place in sysfs, such as that of a fabric.
    """
    return [
        entry.name
        for entry in sorted(machine.blocks.glob("sd*"))
        if above in str(entry.resolve()) and _read(entry / "device" / "wwid") == f"naa.{naa}"
    ]


def sectors(machine: Machine, name: str) -> int:
    """Return the size of a device in bytes, as sysfs tells it."""
    return int(_read(machine.blocks / name / "size") or 0) * SECTOR_BYTES


def users(machine: Machine, path: str) -> list[str]:
    """Return who has a device open: processes, file systems, and devices on top of it."""
    name = Path(path).name
    holders = machine.blocks / name / "holders"
    above = sorted(entry.name for entry in holders.iterdir()) if holders.is_dir() else []
    mounts = [
        f"mounted at {line.split()[1]}"
        for line in _read(Path(machine.proc, "mounts")).splitlines()
        if line.split()[0] == path
    ]
    return [*_processes(machine, path), *mounts, *(f"device {each}" for each in above)]


def _processes(machine: Machine, path: str) -> Iterator[str]:
    """Yield the processes that have a file open, by number and name; of others' as root only."""
    try:
        wanted = os.stat(path)  # noqa: PTH116  (see there)
    except FileNotFoundError:
        return
    for folder in sorted(Path(machine.proc).glob("[0-9]*"), key=lambda entry: int(entry.name)):
        if any(_same(wanted, entry) for entry in _entries(folder / "fd")):
            yield f"process {folder.name} ({_read(folder / 'comm') or '?'})"


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # gone by now, or another user's
        return []


def _same(wanted: os.stat_result, descriptor: Path) -> bool:
    try:
        found = descriptor.stat()
    except OSError:
        return False
    if stat.S_ISBLK(wanted.st_mode):
        return stat.S_ISBLK(found.st_mode) and found.st_rdev == wanted.st_rdev
    return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)


def _read(path: Path) -> str:
    """Return what a file says, nothing where there is none."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
