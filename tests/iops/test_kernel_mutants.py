"""Mutants of the compiled loop and of the site: fixed histories must notice every one of them.

``pytest tests/iops/test_kernel_mutants.py -rP`` prints which history noticed, and what differed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iops.mutants import MUTANTS, SITE_MUTANTS


@pytest.mark.parametrize(("table", "mutants"), [("loop", MUTANTS), ("site", SITE_MUTANTS)])
def test_every_mutant_is_noticed_and_nothing_else(table, mutants) -> None:
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), *filter(None, sys.path)])
    told = subprocess.run(
        [sys.executable, "-m", "iops.mutants", table],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    noticed = dict(line.split("|") for line in told.stdout.splitlines())
    for name, what in noticed.items():
        print(f"{name:40} {what}")  # noqa: T201  # the table of mutants
    assert not noticed.pop("nothing is changed")
    assert [mutant.name for mutant in mutants] == list(noticed)
    assert all(noticed.values()), [name for name, what in noticed.items() if not what]
