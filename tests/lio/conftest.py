"""Whatever a test does to this machine's loop devices ends with it."""

from __future__ import annotations

import subprocess

import pytest

from lio.rigs import loops_over


@pytest.fixture(autouse=True)
def swept(tmp_path):
    """Detach what a test that failed has left, so that the next one finds the machine as it was."""
    yield
    for row in loops_over(tmp_path):
        subprocess.run(["losetup", "--detach", f"/dev/{row.split()[0]}"], check=False)
