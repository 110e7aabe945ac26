"""A PATH with nothing but stand-ins on it, and a temporary directory that must end up empty."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import fake_programs

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Bench:
    folder: Path
    pids: Path
    monkeypatch: pytest.MonkeyPatch

    def plan(self, *, daemon: str = "", fio: str = "") -> None:
        self.monkeypatch.setenv("FAKE_DAEMON", daemon)
        self.monkeypatch.setenv("FAKE_FIO", fio)

    def commands(self) -> str:
        return self.pids.with_name(self.pids.name + ".commands").read_text()

    def fio_words(self) -> list[str]:
        return self.pids.with_name(self.pids.name + ".fio").read_text().splitlines()


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Iterator[Bench]:
    folder, scratch = tmp_path / "bin", Path(tempfile.mkdtemp(prefix="lab"))
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("FAKE_PIDS", str(tmp_path / "pids"))
    made = Bench(folder, tmp_path / "pids", monkeypatch)
    made.plan()
    yield made
    assert fake_programs.alive(made.pids) == [], "a program outlived the laboratory"
    scratch.rmdir()  # fails where something was left behind


@pytest.fixture
def fakes(bench) -> Bench:
    fake_programs.install(bench.folder)
    return bench
