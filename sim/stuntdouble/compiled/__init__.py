"""The compiler, and where it keeps what it has made.

numba files a compiled function under the time stamp of the module that defines it.  A function of
another module that was inlined into it may change without that being noticed, and the stale code
would go on running.  So every state of the sources has a cache directory of its own, in the user's
cache directory; the latest few are kept.  What a package's functions may have inlined lies in the
packages below it, so a change in one leaves what was compiled for those below alone.
NUMBA_CACHE_DIR, where it is set, is left alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any, Final

import numba

__all__ = ["is_cold", "njit"]

_KEPT: Final = 48  # a few megabytes each
_COMPILED: Final = ("content", "trace", "site", "iops")  # each may inline what comes before it


def njit(*args: Any, **options: Any) -> Any:
    """Compile a function, as ``numba.njit`` does, with its package's cache."""
    compiler = numba.njit(*args, **options)
    if args and callable(args[0]):
        return compiler

    def compile_with_cache(function: Any) -> Any:
        config: Any = numba.config
        before = config.CACHE_DIR
        config.CACHE_DIR = before or _cache_of(function.__module__)
        try:
            return compiler(function)
        finally:
            config.CACHE_DIR = before

    return compile_with_cache


def is_cold() -> bool:
    """Say whether a package has nothing compiled yet, so that its first use takes about a minute."""
    directories = [_cache_of(f"stuntdouble.{package}") for package in _COMPILED]
    return all(directories) and any(not any(Path(each).glob("*/*")) for each in directories)


def _cache_of(module: str) -> str:
    """Return the cache directory for the functions of a module; nothing where numba is to choose.

    numba chooses where it was told by NUMBA_CACHE_DIR, or where a home cannot be written.
    """
    package = module.split(".")[1] if module.startswith("stuntdouble.") else ""
    config: Any = numba.config
    if config.CACHE_DIR or package not in _COMPILED:
        return ""
    return _directory(package)


@cache
def _directory(package: str) -> str:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stuntdouble"
    mine = home / f"compiled-{package}-{_sources(package)}"
    try:
        if not mine.exists():
            mine.mkdir(parents=True, exist_ok=True)
            older = sorted(home.glob("compiled-*"), key=lambda path: path.stat().st_mtime)
            for path in older[:-_KEPT]:
                shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return ""
    return str(mine)


def _sources(package: str) -> str:
    """Return a digest of every module that functions of *package* may have inlined."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for each in ("compiled", *_COMPILED[: _COMPILED.index(package) + 1]):
        for path in sorted((root / each).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
