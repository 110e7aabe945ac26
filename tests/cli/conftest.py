"""What every test of the command line needs: an empty place to stand in, and a runner."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from cli.staged_scenarios import StagedScenarios
from stuntdouble.cli import program


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def staged(tmp_path, monkeypatch):
    module = StagedScenarios(tmp_path)
    monkeypatch.setitem(sys.modules, "stuntdouble.scenarios", module)
    return module


@pytest.fixture
def run(here):
    def run(*words):
        return CliRunner().invoke(program, [str(word) for word in words])

    return run
