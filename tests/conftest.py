"""What every test gets: Hypothesis profiles, the plain-Python run, recorded data."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from stuntdouble.compiled import is_cold

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"

# No deadline anywhere: the first example of a compiled function pays for its compilation, and a
# shared machine owes nobody a millisecond.  A check of a change must be repeatable, so `ci` draws
# the same examples each time and prints what reproduces a failure; `nightly` looks further.
QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("dev", deadline=None, suppress_health_check=QUIET)
settings.register_profile(
    "ci", settings.get_profile("dev"), derandomize=True, print_blob=True, database=None
)
settings.register_profile(
    "nightly", settings.get_profile("dev"), max_examples=2_000, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def pytest_configure(config: pytest.Config) -> None:
    """Compile once, before there are workers who would all compile the same."""
    if not PLAIN and not hasattr(config, "workerinput") and is_cold():
        importlib.import_module("stuntdouble.iops.kernel")


@pytest.fixture(autouse=PLAIN)
def wrapping_integers() -> Iterator[None]:
    """Let uint64 wrap without a warning, as it does in compiled code."""
    with np.errstate(over="ignore"):
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the directory of recorded data beside the repository, or skip."""
    found = ROOT.parent / "shared" / "data"
    if not found.is_dir():
        pytest.skip("recorded data is not part of the repository and not at ../shared/data")
    return found
