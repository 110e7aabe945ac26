"""The site that is backed up: ``stuntdouble serve`` in a process of its own.

One VM on an array whose disks are flash; nothing runs in it, and a wall second is a thousand of the
site, so that no waiting of the model is measured.  The iSCSI target is flat out.  The VM has two
disks of content that differ: program files, and what a scenario renders.
"""

from __future__ import annotations

import json
import secrets
import selectors
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stuntdouble.errors import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterator

ARRAY: Final = "array-1"
FILES: Final = "files"
RENDERED: Final = "rendered"
USER: Final = "admin"

_RATE: Final = 1000
_START_SECONDS_MAX: Final = 300.0  # what is compiled when it is first used takes minutes
_END_SECONDS_MAX: Final = 10.0
_ENDPOINTS: Final = ("vsphere", "native", "nbd", "wsapi", "iscsi")
_FRAGMENTATION: Final = 0.25
"""Scatters a disk of 1 GiB over about ten places of its volume."""


@dataclass(frozen=True)
class Served:
    """A site that is served: its scenario, and where its endpoints are."""

    scenario: Path
    endpoints: dict[str, Any]
    password: str = field(repr=False)

    def at(self, name: str) -> str:
        """Return host and port of an endpoint."""
        return str(self.endpoints[name]["url"]).split("/")[2]

    def url(self, name: str) -> str:
        """Return the URL of an endpoint."""
        return str(self.endpoints[name]["url"])


def scenario(mib: int) -> str:
    """Return the scenario whose VMs have a disk of so many MiB each."""
    volume = 3 * mib + 512
    disk = f'datastore = "ds-1", size = "{mib} MiB"'
    return f"""
name = "bench-backup"
title = "VMs to be backed up as fast as it goes"
[[arrays]]
name = "{ARRAY}"
pools = [{{ name = "pool-1", media = "flash", raid = "raid0", disks = 4, disk_size = "{volume} MiB", reserve = "{2 * volume} MiB" }}]
volumes = [{{ name = "vol-1", pool = "pool-1", size = "{volume} MiB" }}]
[[datastores]]
name = "ds-1"
volumes = ["vol-1"]
fragmentation = {_FRAGMENTATION}
[[vms]]
name = "{FILES}"
disks = [{{ {disk}, written = "{mib} MiB" }}]
load = {{ kind = "none" }}
[[vms]]
name = "{RENDERED}"
disks = [{{ {disk}, written = "{mib} MiB" }}]
load = {{ kind = "none" }}
[backup]
runs = ["full", "incremental"]
"""


def fast_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder, in memory where there is such a place, so that no disk is measured."""
    shared = Path("/dev/shm")  # noqa: S108  (files of our own, in a directory of our own)
    return tempfile.TemporaryDirectory(
        prefix="stuntdouble-bench-", dir=shared if shared.is_dir() else None
    )


@contextmanager
def served(folder: Path, mib: int) -> Iterator[Served]:
    """Serve the site until the block ends."""
    path, ready = folder / "bench-backup.toml", folder / "ready.json"
    path.write_text(scenario(mib))
    password = secrets.token_urlsafe(12)
    words = [sys.executable, "-m", "stuntdouble.cli", "serve", str(path), "--rate", str(_RATE)]
    words += [word for name in _ENDPOINTS for word in (f"--{name}", "127.0.0.1:0")]
    words += ["--plain-http", "--password", password, "--ready-file", str(ready), "--quiet"]
    said = folder / "said.txt"
    with said.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603  (ourselves)
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        )
    try:
        _wait(process, ready, said)
        yield Served(path, json.loads(ready.read_text())["endpoints"], password)
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], ready: Path, said: Path) -> None:
    until = time.monotonic() + _START_SECONDS_MAX  # noqa: TID251  (of a process of the machine)
    with selectors.DefaultSelector() as nothing:
        while not ready.exists():
            if process.poll() is not None:
                why = said.read_text().strip() or f"it ended with code {process.returncode}"
                raise Misuse("the site to back up", why)
            if time.monotonic() > until:  # noqa: TID251  (as above)
                raise Misuse("the site to back up", f"not ready after {_START_SECONDS_MAX:g} s")
            nothing.select(0.05)
