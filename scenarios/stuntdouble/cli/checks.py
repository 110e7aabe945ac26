"""What this machine has, and what each thing is needed for.

Nothing is changed or started: a check looks at files, the search path and the limits of this
process.  Package names are those of Debian and Ubuntu.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stuntdouble.lio.machine import Machine
from stuntdouble.units import GIB, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON_MIN: Final = (3, 11)
MEMORY_BYTES_MIN: Final = GIB  # the libraries take 0.16 GiB (measured), a small site the rest
DISK_BYTES_MIN: Final = GIB  # most scenarios of the library write less, methods and page together

PACKAGES: Final = (
    *(
        "blake3",
        "click",
        "fakeredis",
        "numba",
        "numpy",
        "plotly",
        "pydantic",
        "redis",
        "rich",
        "simpy",
    ),
    "zstandard",
)

SERVING: Final = (
    *("crc32c", "cryptography", "fastapi", "fastapi-offline", "greenlet", "httptools", "httpx"),
    *("pyvmomi", "uvicorn"),
)
"""What the extra ``serve`` adds."""
EXPORTING: Final = ("rtslib-fb",)
"""What the extra ``lio`` adds: it is missed where its exporters are looked for."""

MACHINE: Final = Machine()
_EXPORTERS: Final = {
    "lio-iscsi": ("exporter", "export: LUNs by the kernel's iSCSI target"),
    "lio-loopback": ("exporter", "export: LUNs as SCSI disks of this machine"),
    "loop": ("exporter", "export: LUNs and restored disks as loop devices"),
    "nbd": ("source", "export: a site's LUNs by the kernel's NBD client, not copied"),
    "fuse": ("source", "export: a site's LUNs as files, not copied"),
    "copy": ("source", "export: a site's LUNs as sparse copies"),
}
"""What each exporter, and each way to one, is for."""

MEMORY: Final = Path("/proc/meminfo")
CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_ADMINISTRATION: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on every user's PATH


@dataclass(frozen=True, slots=True)
class Check:
    """A thing that is there (``ok``) or not, in the words of ``found``.

    An *optional* thing may be missing: only what it is ``needed_for`` does without.  So may one for
    a *planned* feature: nothing uses it yet.  ``install`` is empty where there is nothing to do.
    """

    name: str
    ok: bool
    found: str
    needed_for: str
    install: str = ""
    optional: bool = False
    planned: bool = False


def checks() -> Iterator[Check]:
    """Yield every check: what is needed today first."""
    yield _python()
    yield _packages()
    yield _extra("serve", SERVING, "serve, and vendors' interfaces in process")
    yield _cache()
    yield _memory()
    yield _disk()
    yield _cores()
    yield _tool("qemu-img", "qemu-utils", "make lab: images to measure")
    yield _tool("qemu-storage-daemon", "qemu-system-common", "make lab: the block layer itself")
    yield _tool("fio", "fio", "make lab: load on it")
    yield _tool("nbdinfo", "libnbd-bin", "make interop: disks over NBD")
    yield _tool("go", "golang-go", "make interop: a client that is not Python")
    yield from _exporters()
    yield _tool("qemu-system-x86_64", "qemu-system-x86", "make lio: a kernel with a target")
    yield _tool("iscsiadm", "open-iscsi", "logging in to exported LUNs by the kernel")
    keeping = "keeping catalog and jobs (or a server elsewhere)"
    yield _planned(_tool("redis-server", "redis-server", keeping))


def _python() -> Check:
    return Check(
        "python",
        sys.version_info[:2] >= PYTHON_MIN,
        platform.python_version(),
        "everything",
        f"Python {'.'.join(map(str, PYTHON_MIN))} or later",
    )


def _packages() -> Check:
    missing = [name for name in PACKAGES if not _installed(name)]
    return Check(
        "packages",
        not missing,
        f"missing: {', '.join(missing)}" if missing else f"all {len(PACKAGES)}",
        "everything",
        "pip install stuntdouble",
    )


def _extra(name: str, packages: tuple[str, ...], needed_for: str) -> Check:
    missing = [package for package in packages if not _installed(package)]
    return Check(
        f"extra {name}",
        not missing,
        f"missing: {', '.join(missing)}" if missing else f"all {len(packages)}",
        needed_for,
        f"pip install 'stuntdouble[{name}]'",
        optional=True,
    )


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _cache() -> Check:
    """Look for the compiled functions' place as ``stuntdouble.compiled`` does."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stuntdouble"
    home = Path(chosen) if chosen else user
    return Check(
        "numba cache",
        _writable(home),
        str(home) if _writable(home) else f"{home} cannot be written",
        "keeping compiled functions from run to run",
        "set NUMBA_CACHE_DIR to a directory that can be written",
    )


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    return Check(
        "disk",
        free >= DISK_BYTES_MIN,
        f"{format_size(free)} free here",
        f"repositories of comparisons ({format_size(DISK_BYTES_MIN)} for small ones)",
        "free some, or compare with --out elsewhere",
    )


def _writable(folder: Path) -> bool:
    """Return whether files can be made in *folder*, or it can be made itself."""
    there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _memory() -> Check:
    free = memory_bytes()
    return Check(
        "memory",
        free is None or free >= MEMORY_BYTES_MIN,
        "unknown" if free is None else f"{format_size(free)} available",
        f"comparing scenarios ({format_size(MEMORY_BYTES_MIN)} for small ones)",
        "free some, or raise the limit of the container",
    )


def memory_bytes() -> int | None:
    """Return the memory that a new process could use, in bytes, or None where unknown."""
    limits = []
    for path in CGROUP_LIMITS:
        text = _text(path).strip()
        if text.isdigit():
            limits.append(int(text))
    limits += [
        int(line.split()[1]) * 1024
        for line in _text(MEMORY).splitlines()
        if line.startswith("MemAvailable:")
    ]
    return min(limits, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _cores() -> Check:
    count = len(os.sched_getaffinity(0))
    return Check("cores", True, str(count), "comparing scenarios (a method uses one)")  # noqa: FBT003


def _exporters() -> Iterator[Check]:
    """Look for exporters of LUNs, and for ways from a served site's NBD to them."""
    from stuntdouble.lio import probe  # noqa: PLC0415  (nobody else here needs it)

    for finding in probe(MACHINE):
        kind, needed_for = _EXPORTERS[finding.name]
        yield Check(
            f"{kind} {finding.name}",
            finding.works,
            "works" if finding.works else finding.why,
            needed_for,
            optional=True,
        )


def _tool(command: str, package: str, needed_for: str) -> Check:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ADMINISTRATION])
    found = shutil.which(command, path=path)
    return Check(
        command,
        found is not None,
        found or "not found",
        needed_for,
        f"apt install {package}",
        optional=True,
    )


def _planned(check: Check) -> Check:
    return replace(check, optional=False, planned=True)
