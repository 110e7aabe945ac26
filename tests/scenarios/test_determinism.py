"""The same seed gives the same result, byte for byte: in any process, beside any other method."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.tiny import live_through, tiny
from stuntdouble.results import dump

TESTS = Path(__file__).resolve().parent.parent
PROGRAM = """
import sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scenarios.tiny import live_through, tiny
from stuntdouble.results import dump
with tempfile.TemporaryDirectory() as folder:
    methods = tuple(sys.argv[2:])
    sys.stdout.write(dump(live_through(tiny(), Path(folder), methods=methods)))
"""


def in_another_process(hash_seed: int, *methods: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(TESTS), *methods],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return live_through(tiny(), tmp_path_factory.mktemp("here"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hash_seed", "methods"), [(1, ()), (4711, ("mounted", "storage", "software"))]
)
def test_another_process_writes_the_same_bytes(hash_seed, methods, here):
    assert in_another_process(hash_seed, *methods) == dump(here)


@pytest.mark.slow
def test_the_specification_gives_the_same(here, tmp_path):
    specified = live_through(tiny(), tmp_path, engine="reference")
    assert here.engine == "kernel"
    assert specified.engine == "reference"
    assert dump(specified.model_copy(update={"engine": "kernel"})) == dump(here)


def test_another_seed_gives_other_figures(here, tmp_path):
    other = live_through(tiny(), tmp_path, methods=("software",), seed=2)
    mine, its = here.methods["software"], other.methods["software"]
    assert its.foreground.before.latency_ms != mine.foreground.before.latency_ms
    assert its.series.iops != mine.series.iops


@pytest.mark.parametrize("method", ["software", "storage", "mounted"])
def test_a_method_does_not_depend_on_which_others_run(method, here, tmp_path):
    by_itself = live_through(tiny(), tmp_path, methods=(method,))
    assert by_itself.methods[method] == here.methods[method]
