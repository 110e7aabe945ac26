"""Scenarios: a TOML file becomes a site; each method lives through it; the oracle judges.

``load`` reads a scenario of the library or a file, ``compare`` runs it and returns a
``results.Result``.
"""

from stuntdouble.scenarios.compare import compare
from stuntdouble.scenarios.loading import Listed, library, load, parse
from stuntdouble.scenarios.spec import Scenario

__all__ = ["Listed", "Scenario", "compare", "library", "load", "parse"]
