"""What the contract is tried on here: loop devices, and the kernel's target as a model of it."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stuntdouble.lio import KernelExporter, Limits, Machine, PathSource, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stuntdouble.lio import Export

PATIENCE = Limits(step_seconds=60, lock_seconds=60)
SIZE = 2 << 20


def loops_work() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


def a_file(folder: Path, name: str = "lun.raw") -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.seek(4096)
        file.write(os.urandom(100_000))
    return path


class LoopRig:
    """Loop devices of this machine."""

    def __init__(self, folder: Path) -> None:
        self.truth = a_file(folder)
        self._folder = folder
        self._machine = Machine(state=str(folder / "state"), directory=str(folder))
        self.exporter = KernelExporter("loop", None, self._machine, PATIENCE)

    def request(self) -> Request:
        return Request(PathSource(str(self.truth)))

    @contextmanager
    def opened(self, export: Export) -> Iterator[str]:
        yield export.device

    def listing(self) -> list[str]:
        """Return loop devices over files of ours: others work on this machine too."""
        found = []
        for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
            try:
                file = entry.read_text().strip()
            except OSError:
                continue
            if file.startswith(str(self._folder)):
                found.append(f"{entry.parts[3]} {file}")
        return sorted(found)

    @contextmanager
    def foreign(self) -> Iterator[None]:
        other = a_file(self._folder, "foreign.raw")
        words = ["losetup", "--find", "--show", "--read-only", str(other)]
        device = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        try:
            yield
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)
