"""Each scenario of the library is run once, whoever of the test workers needs it first."""

from __future__ import annotations

import fcntl
import pickle
from typing import TYPE_CHECKING

import pytest

from scenarios.living import Outcome, live_library

if TYPE_CHECKING:
    from pathlib import Path

TRACE = "cloudphysics_one_vm.vscsi"


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a directory that all workers of this test run have in common."""
    own = tmp_path_factory.getbasetemp()
    directory = (own if worker_id == "master" else own.parent) / "library"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def known() -> dict[str, Outcome]:
    """Return what this worker has seen so far."""
    return {}


@pytest.fixture
def outcome(request: pytest.FixtureRequest, common: Path, known: dict[str, Outcome]) -> Outcome:
    """Return the outcome of the scenario that the test names; see ``of``."""
    name = request.param
    trace = _trace(request) if name == "trace-replay" else None
    if name not in known:
        with (common / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known[name] = _lived(name, common, trace)
    return known[name]


def _lived(name: str, common: Path, trace: Path | None) -> Outcome:
    kept = common / f"{name}.pickle"
    if not kept.exists():
        made = live_library(name, common / name, trace)
        kept.write_bytes(pickle.dumps(made))
    return pickle.loads(kept.read_bytes())


def _trace(request: pytest.FixtureRequest) -> Path:
    path = request.getfixturevalue("shared_data") / TRACE
    if not path.is_file():
        pytest.skip(f"no recorded trace {TRACE} at ../shared/data")
    return path
