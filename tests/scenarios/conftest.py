"""Each scenario of the library is run once per worker, and looked at by many tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scenarios.living import Outcome, live_library

if TYPE_CHECKING:
    from pathlib import Path

TRACE = "cloudphysics_one_vm.vscsi"


@pytest.fixture(scope="session")
def kept_outcomes() -> dict[str, Outcome]:
    """Return what has been run so far, by the scenario's name."""
    return {}


@pytest.fixture
def outcome(
    request: pytest.FixtureRequest,
    kept_outcomes: dict[str, Outcome],
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcome:
    """Return the outcome of the scenario that the test names; see ``of``."""
    name = request.param
    if name not in kept_outcomes:
        kept_outcomes[name] = live_library(
            name, tmp_path_factory.mktemp(name), _trace(request) if name == "trace-replay" else None
        )
    return kept_outcomes[name]


def _trace(request: pytest.FixtureRequest) -> Path:
    path = request.getfixturevalue("shared_data") / TRACE
    if not path.is_file():
        pytest.skip(f"no recorded trace {TRACE} at ../shared/data")
    return path
