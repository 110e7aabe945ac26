"""``stuntdouble serve`` with every endpoint, and ``stuntdouble compare`` against it, as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("vsphere", "native", "nbd")
PASSWORD = "open sesame & more"
SCENARIO = """
name = "small"
title = "A small VM on a small array"
[[arrays]]
name = "array-1"
pools = [{ name = "pool-1", media = "10k", raid = "raid10", disks = 4, disk_size = "1 GiB", reserve = "256 MiB" }]
volumes = [{ name = "vol-1", pool = "pool-1", size = "1 GiB" }]
[[datastores]]
name = "ds-1"
volumes = ["vol-1"]
fragmentation = 0.5
[[vms]]
name = "vm-1"
disks = [{ datastore = "ds-1", size = "64 MiB", written = "48 MiB" }]
load = { iops = 20, reads = 0.4, io = "4 KiB", working_set = "48 MiB" }
[backup]
runs = ["full", "incremental"]
throttle = { depth = 4, block = "256 KiB", rate = "8 MiB/s" }
[times]
before = 5
between = 5
after = 5
"""


@dataclass
class Served:
    """A process that serves, and where its endpoints are."""

    process: subprocess.Popen[str]
    scenario: Path
    endpoints: dict[str, Any]

    @property
    def url(self) -> str:
        return self.endpoints["vsphere"]["url"]

    @property
    def native(self) -> str:
        return self.endpoints["native"]["url"]

    @property
    def fingerprint(self) -> str:
        return self.endpoints["vsphere"]["fingerprint_sha256"]

    def comparing(self, *words: str, out: str = "out") -> subprocess.Popen[str]:
        """Start a comparison against it, beside the scenario's file."""
        command = [sys.executable, "-m", "stuntdouble.cli", "compare", *words, "--out", out]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.scenario.parent,
            env={**os.environ, "STUNTDOUBLE_PASSWORD": PASSWORD, "COLUMNS": "80"},
        )

    def compared(self, *words: str, out: str = "out") -> tuple[int, str, str]:
        """Compare; return exit code, output, and what was said on stderr."""
        process = self.comparing(*words, out=out)
        shown, said = process.communicate(timeout=240)
        return process.returncode, shown, said


@contextmanager
def serving(
    folder: Path, rate: float, names: tuple[str, ...] = NAMES, text: str = SCENARIO
) -> Iterator[Served]:
    """Serve a scenario by some endpoints until the block ends; ``wsapi=a`` is that of array a."""
    scenario, ready = folder / "small.toml", folder / "ready.json"
    scenario.write_text(text)
    endpoints = []
    for name, equals, array in (each.partition("=") for each in names):
        endpoints += [f"--{name}", f"{array}{equals}:0"]
    command = [sys.executable, "-m", "stuntdouble.cli", "serve", str(scenario), *endpoints]
    command += ["--rate", str(rate), "--password", PASSWORD, "--ready-file", str(ready), "--quiet"]
    process = subprocess.Popen(command, text=True, cwd=folder)
    try:
        until = time.monotonic() + 120
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        yield Served(process, scenario, json.loads(ready.read_text())["endpoints"])
    finally:
        process.kill()
        process.wait()
