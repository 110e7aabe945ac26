"""The compiler, and where it keeps what it has made.

numba files a compiled function under the time stamp of the module that defines it.  A function of
another module that was inlined into it may change without that being noticed, and the stale code
would go on running.  So every state of the sources has a cache directory of its own, in the user's
cache directory; the latest few are kept.  NUMBA_CACHE_DIR, where it is set, is left alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Final

import numba

__all__ = ["is_cold", "njit"]

njit = numba.njit
"""numba's decorator, as it is."""

_KEPT: Final = 4
_COMPILED: Final = ("content", "trace", "site", "iops")


def _sources() -> str:
    """Return a digest of every module that defines compiled functions."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in _COMPILED:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def is_cold() -> bool:
    """Say whether nothing is compiled yet, so that the first use takes half a minute."""
    directory: Any = numba.config
    return bool(directory.CACHE_DIR) and not any(Path(directory.CACHE_DIR).glob("*/*"))


def _use_own_cache() -> None:
    config: Any = numba.config  # whose settings come from the environment when it is imported
    if config.CACHE_DIR:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stuntdouble"
    mine = home / f"compiled-{_sources()}"
    try:
        if not mine.exists():
            mine.mkdir(parents=True, exist_ok=True)
            older = sorted(home.glob("compiled-*"), key=lambda path: path.stat().st_mtime)
            for path in older[:-_KEPT]:
                shutil.rmtree(path, ignore_errors=True)
    except OSError:  # a home that cannot be written: numba finds a place of its own, or compiles
        return
    config.CACHE_DIR = str(mine)


_use_own_cache()
