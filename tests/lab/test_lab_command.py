"""The command: what it installs, what it asks for, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import fake_programs
from stuntdouble.errors import Misuse
from stuntdouble.lab import command as command_module
from stuntdouble.lab import stored_curves
from stuntdouble.lab.command import main
from stuntdouble.lab.programs import provide

ONE = ("--only", "no-snapshot")
ROOT = Path(__file__).resolve().parents[2]

# Whoever runs in the background ignores SIGINT, and so would its children.
LISTENING = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("stuntdouble.lab", run_name="__main__")
"""

# A package manager that makes what it is asked for, once its lists are there.
APT = """
import os, pathlib, sys
here = pathlib.Path(sys.argv[0]).parent
plan = os.environ.get("FAKE_APT", "")
with open(os.environ["FAKE_PIDS"] + ".apt", "a") as log:
    log.write(sys.argv[1] + " " + os.environ.get("DEBIAN_FRONTEND", "") + "\\n")
lists = here / "lists"
if sys.argv[1] == "update":
    lists.touch()
elif plan == "broken" or (plan == "stale" and not lists.exists()):
    print("E: Unable to locate package fio")
    sys.exit(100)
elif plan != "useless":
    for name in ("qemu-storage-daemon", "fio", "qemu-img"):
        os.rename(here / f"{name}.deb", here / name)
"""


@pytest.fixture
def run(capsys):
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        said = capsys.readouterr()
        return caught.value.code, said.out, said.err

    return run


def as_root(monkeypatch, *, root: bool) -> None:
    monkeypatch.setattr(command_module, "is_root", lambda: root)


@pytest.fixture
def uninstalled(bench, monkeypatch):
    fake_programs.install(bench.folder)
    for path in list(bench.folder.iterdir()):
        path.rename(path.with_name(path.name + ".deb"))
    fake_programs.put(bench.folder, "apt-get", APT)
    as_root(monkeypatch, root=True)
    return bench


def apt_was_told(bench) -> list[str]:
    path = bench.pids.with_name("pids.apt")
    return path.read_text().splitlines() if path.exists() else []


def test_a_curve_that_is_met(fakes, run, tmp_path) -> None:
    json_file, page = tmp_path / "lab.json", tmp_path / "index.html"
    code, out, err = run(*ONE, "--json", str(json_file), "--html", str(page))
    assert code == 0
    assert "no-snapshot" in out
    assert "redirect-overlay" not in out
    assert "measuring for 16 s" in err
    content = json.loads(json_file.read_text())
    assert content["met"] is True
    assert content["versions"]["fio"] == "fio-0 (fake)"
    assert "fio-0 (fake)" in page.read_text()
    assert {path.name for path in tmp_path.iterdir()} >= {"index.html", "lab.json"}
    assert not list(tmp_path.glob(".*.part"))


def test_a_curve_that_is_missed(fakes, run, tmp_path) -> None:
    fakes.plan(fio="slow")
    code, out, _ = run(*ONE, "--quick", "--json", str(tmp_path / "lab.json"))
    assert code == 1
    assert "MISSED" in out
    assert json.loads((tmp_path / "lab.json").read_text())["met"] is False


def test_without_the_programs_one_line_says_how_to_get_them(bench, run, monkeypatch) -> None:
    fake_programs.put(bench.folder, "apt-get", APT)
    as_root(monkeypatch, root=False)
    code, out, err = run(*ONE)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "needs qemu-storage-daemon, qemu-img, fio: sudo apt-get install" in err
    assert apt_was_told(bench) == []


def test_without_a_package_manager_the_programs_are_named(bench, run, monkeypatch) -> None:
    as_root(monkeypatch, root=True)
    code, _, err = run(*ONE)
    assert code == 2
    assert "needs qemu-storage-daemon, qemu-img, fio: install them and come back" in err


def test_a_fio_without_its_engine_is_not_enough(fakes, run, monkeypatch) -> None:
    as_root(monkeypatch, root=False)
    fakes.plan(fio="no nbd")
    code, _, err = run(*ONE)
    assert code == 2
    assert "needs fio with its nbd engine" in err


@pytest.mark.parametrize(
    ("plan", "told"), [("", ["install"]), ("stale", ["install", "update", "install"])]
)
def test_what_is_missing_is_installed(uninstalled, run, monkeypatch, plan, told) -> None:
    monkeypatch.setenv("FAKE_APT", plan)
    code, _, err = run(*ONE)
    assert code == 0
    assert "installing what is missing (qemu-storage-daemon, qemu-img, fio): apt-get" in err
    assert apt_was_told(uninstalled) == [f"{word} noninteractive" for word in told]


def test_an_installer_that_fails_is_quoted(uninstalled, run, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_APT", "broken")
    code, _, err = run(*ONE)
    assert code == 2
    assert "apt-get ended with exit code 100: E: Unable to locate package fio" in err


def test_an_installer_that_brings_nothing_is_told(uninstalled, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_APT", "useless")
    with pytest.raises(Misuse, match="still needs qemu-storage-daemon, qemu-img, fio after"):
        asyncio.run(provide(tmp_path, lambda _: None, root=True))


def test_a_daemon_that_dies_half_way_is_one_line(fakes, run) -> None:
    fakes.plan(daemon="die after block-export-add", fio="loses the disk")
    for words in (ONE, (*ONE, "--quick")):
        code, out, err = run(*words)
        assert (code, out) == (1, "")
        line = err.splitlines()[-1]
        said = "qemu-storage-daemon ended with exit code 3: the daemon fell over"
        assert line == f"stuntdouble: {said}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "nothing"), "'nothing' is not one of"),
        (("--fast",), "no such option"),
        (("--fast",), "(see python -m stuntdouble.lab --help)\n"),
        (("surplus",), "(surplus) (see python -m stuntdouble.lab --help)\n"),
        (("--json", "."), "is a directory: name a file"),
        (("--html", "README.md/page.html"), "README.md: there is no such directory: make it first"),
        (("--json", "nowhere/lab.json"), "nowhere: there is no such directory: make it first"),
    ],
)
def test_wrong_words_are_one_line_before_anything_runs(fakes, run, monkeypatch, words, said):
    monkeypatch.chdir(ROOT)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("stuntdouble: ")
    assert err.count("\n") == 1
    assert said in err
    assert not fakes.pids.exists()
    assert not (ROOT / "nowhere").exists()


def test_a_bug_is_no_miss(fakes, run, monkeypatch) -> None:
    def broken(*_parts):
        raise ZeroDivisionError("a judge divides by nothing")

    monkeypatch.setattr(command_module, "judge", broken)
    code, out, err = run(*ONE)
    assert (code, out) == (70, "")
    assert "in broken\n" in err
    assert err.endswith(
        "stuntdouble: this is a bug in stuntdouble: please report the lines above\n"
    )


def test_help_names_every_curve(run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in (*stored_curves(), "--quick", "--json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (signal.SIGINT, 130, "stopped by Ctrl-C; nothing is left behind"),
        (signal.SIGTERM, 143, "stopped; nothing is left behind"),
    ],
)
def test_whoever_is_stopped_leaves_nothing_behind(fakes, sent, code, said) -> None:
    fakes.plan(fio="hangs")
    words = [sys.executable, "-c", LISTENING, "--quick"]
    process = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 200  # cold, a loaded machine compiles first
        while len(fake_programs.alive(fakes.pids)) < 8 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert err.splitlines()[-1] == f"stuntdouble: {said}"
