"""The programs that the laboratory needs: found, or installed, or asked for in one line."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stuntdouble.errors import Error, Misuse
from stuntdouble.lab.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAEMON: Final = "qemu-storage-daemon"
IMAGES: Final = "qemu-img"
LOAD: Final = "fio"

_ANSWER_SECONDS_MAX: Final = 30.0
"""For a question about a version: a loaded machine may be slow to start a program."""

_INSTALL_SECONDS_MAX: Final = 600.0
"""For a package manager, which may wait for its lock and for a slow mirror."""


@dataclass(frozen=True, slots=True)
class Installer:
    """A package manager, and what it calls the programs."""

    name: str
    refresh: tuple[str, ...]
    install: tuple[str, ...]


# Debian 12 keeps the daemon in qemu-system-common, its successors in qemu-utils; the fio of both
# has its nbd engine built in.
INSTALLERS: Final = (
    Installer(
        "apt-get",
        ("apt-get", "update"),
        (
            *("apt-get", "install", "--yes", "--no-install-recommends"),
            *("qemu-utils", "qemu-system-common", "fio"),
        ),
    ),
)


async def missing(directory: Path) -> list[str]:
    """Return what is not there of what the laboratory needs."""
    found = [name for name in (DAEMON, IMAGES, LOAD) if shutil.which(name) is None]
    if LOAD not in found and not await _has_nbd(directory):
        found.append(f"{LOAD} with its nbd engine")
    return found


async def _has_nbd(directory: Path) -> bool:
    try:
        said = await run(LOAD, "--enghelp=nbd", directory=directory, seconds=_ANSWER_SECONDS_MAX)
    except Error:
        return False
    return "uri" in said


async def provide(directory: Path, tell: Callable[[str], object], *, root: bool) -> None:
    """Make sure that all programs are there; *root* may install what is missing.

    Raises:
        Misuse: something is missing and cannot be installed by us; the message has the line that
            installs it.
    """
    lacking = await missing(directory)
    if not lacking:
        return
    what = f"needs {', '.join(lacking)}"
    installer = next((x for x in INSTALLERS if shutil.which(x.name)), None)
    if installer is None:
        raise Misuse("the laboratory", f"{what}: install them and come back")
    line = " ".join(installer.install)
    if not root:
        raise Misuse("the laboratory", f"{what}: sudo {line}")
    tell(f"installing what is missing ({', '.join(lacking)}): {line}")
    try:
        await _install(installer, directory)
    except Error as error:
        raise Misuse("the laboratory", f"{what}, and could not install it ({error})") from error
    if lacking := await missing(directory):
        raise Misuse("the laboratory", f"still needs {', '.join(lacking)} after: {line}")


async def _install(installer: Installer, directory: Path) -> None:
    """Install, at once where the package lists are there, else after fetching them."""

    async def manage(*words: str) -> None:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        seconds = _INSTALL_SECONDS_MAX
        await run(*words, directory=directory, seconds=seconds, environment=quiet)

    try:
        await manage(*installer.install)
    except Error:
        await manage(*installer.refresh)
        await manage(*installer.install)


async def versions(directory: Path) -> dict[str, str]:
    """Return the version of each program, in its own words."""
    found = {}
    for name in (DAEMON, LOAD):
        said = await run(name, "--version", directory=directory, seconds=_ANSWER_SECONDS_MAX)
        found[name] = (said.strip().splitlines() or ["no answer"])[0]
    return found


def is_root() -> bool:
    """Return whether we may install packages."""
    return os.geteuid() == 0
