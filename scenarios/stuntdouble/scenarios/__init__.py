"""Scenarios: a TOML file becomes a site; each method lives through it; the oracle judges.

``load`` reads a scenario of the library or a file, ``compare`` runs it and returns a
``results.Result``.  Names are imported when first used: listing the library must not wait for an
engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stuntdouble.scenarios.comparing import compare
    from stuntdouble.scenarios.listing import Listed, library
    from stuntdouble.scenarios.loading import load, parse
    from stuntdouble.scenarios.spec import Scenario

__all__ = ["Listed", "Scenario", "compare", "library", "load", "parse"]

_HOMES: Final = {
    "Listed": "listing",
    "Scenario": "spec",
    "compare": "comparing",
    "library": "listing",
    "load": "loading",
    "parse": "loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
