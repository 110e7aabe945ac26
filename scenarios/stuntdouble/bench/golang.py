"""Programs in Go, built where they are needed: a second client, and govmomi's own simulator.

Their sources come with a checkout of this project; the library is Debian's package of govmomi,
which lies where Debian puts every Go library.  No module proxy is asked.  What was built is kept in
the user's cache directory under a digest of the sources and of the compiler's version.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[3]
SOURCES: Final = CHECKOUT / "tests" / "interop"

_LIBRARIES: Final = Path("/usr/share/gocode")
_GOVMOMI: Final = _LIBRARIES / "src" / "github.com" / "vmware" / "govmomi"
_PACKAGES: Final = "golang-go golang-github-vmware-govmomi-dev"
_BUILD_SECONDS_MAX: Final = 600  # the types of vSphere took 30 s on two cores; a busy machine more
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Built:
    """A program, or why there is none and what to do about it."""

    path: Path
    missing: str = ""


def missing() -> str:
    """Say what building lacks; nothing where it lacks nothing."""
    if not SOURCES.is_dir():
        return "the sources in Go come with a checkout only"
    if shutil.which("go") is None or not _GOVMOMI.is_dir():
        return f"no Go or no govmomi: apt-get install {_PACKAGES}"
    return ""


@cache
def built(name: str) -> Built:
    """Return the program of the sources under *name*, built now if it was not before."""
    if lacking := missing():
        return Built(Path(), lacking)
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache_home / "stuntdouble" / "go"
    program = kept / f"{name}-{_digest(name)}"
    if program.exists():
        return Built(program)
    kept.mkdir(parents=True, exist_ok=True)
    fresh = kept / f".{name}-{os.getpid()}"
    try:
        _go("build", "-o", str(fresh), f"./{name}", cache_directory=kept / "cache")
    except (OSError, subprocess.SubprocessError) as error:
        return Built(Path(), f"go build ./{name} in {SOURCES} failed: {_told(error)}")
    fresh.replace(program)  # at once, should two processes build it
    return Built(program)


def _digest(name: str) -> str:
    sum_of = hashlib.sha256(_go("version").encode())
    for source in sorted((SOURCES / name).glob("*.go")):
        sum_of.update(source.name.encode() + b"\0" + source.read_bytes())
    return sum_of.hexdigest()[:_DIGITS]


def _go(*words: str, cache_directory: Path | None = None) -> str:
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(_LIBRARIES), "GOFLAGS": ""}
    if cache_directory is not None:
        environment["GOCACHE"] = str(cache_directory)
    done = subprocess.run(  # noqa: S603  (whoever runs this has chosen the compiler)
        ["go", *words],  # noqa: S607
        cwd=SOURCES,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS_MAX,
    )
    return done.stdout


def _told(error: Exception) -> str:
    said = getattr(error, "stderr", "") or str(error)
    return said.strip().splitlines()[-1] if said.strip() else type(error).__name__
