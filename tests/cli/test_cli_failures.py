"""Every failure is one line on stderr and an exit code that names its kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.staged_scenarios import names
from stuntdouble.cli.failures import one_line
from stuntdouble.errors import (
    Bug,
    DigestMismatch,
    LunInUse,
    Misuse,
    NoProgress,
    NoSpace,
    Unreachable,
    Unsupported,
)

WAITERS = NoProgress("  vm-1 waits for a lock\n  vm-2 waits for vm-1")
MIXED = ExceptionGroup("two", [LunInUse(3, "iqn.x"), ExceptionGroup("one", [Misuse("a", "b")])])


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (Misuse("here", "what"), 2, "here: what"),
        (NoSpace("ds", 7, 3), 1, "ds is full: 7 bytes needed, 3 free"),
        (Unreachable("array"), 1, "array does not answer"),
        (DigestMismatch("chunk", "a", "b"), 3, "chunk: digest is b, not a"),
        (Unsupported("ODX", "copy"), 2, "ODX is not emulated: copy"),
        (WAITERS, 4, "could wake a waiter: vm-1 waits for a lock; vm-2 waits for vm-1"),
        (MIXED, 1, "LUN 3 is already mapped to iqn.x"),
        (PermissionError(13, "Permission denied", "x"), 1, "x: Permission denied"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
)
def test_a_failure_is_one_line(run, staged, here, raised, code, line):
    staged.result = raised
    done = run("compare", "quickstart", "--quiet")
    assert done.exit_code == code
    assert done.stderr.startswith("stuntdouble: ")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("raised", [Bug("lost a block"), KeyError("x")])
def test_a_bug_shows_where_and_how_to_report_it(run, staged, here, raised):
    staged.result = raised
    done = run("compare", "quickstart", "--out", "a b")
    assert done.exit_code == 70
    *trace, last = done.stderr.rstrip().splitlines()
    assert trace[0].startswith("Traceback")
    assert len(trace) < 16
    assert last.startswith("stuntdouble: this is a bug in stuntdouble: please report")
    assert last.endswith("stuntdouble compare quickstart --out 'a b'")


def test_a_bug_among_errors_is_the_one_that_is_told(run, staged):
    staged.result = ExceptionGroup("two", [Misuse("a", "b"), Bug("lost a block")])
    done = run("compare", "quickstart")
    assert done.exit_code == 70
    assert "lost a block" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("compare",), "missing argument"),
        (("compare", "quickstart", "--sed", "1"), "--seed"),
        (("compare", "quickstart", "--seed", "-1"), "-1 is not in the range"),
        (("compare", "quickstart", "--method", "tape"), "'software', 'storage', 'mounted'"),
        (("compare", "quickstart", "--trace", "gone"), "gone"),
        (("scenario",), "scenarios"),
        (("restore", "x", "--nope"), "(see stuntdouble restore --help)"),
        (("completion", "tcsh"), "bash"),
    ],
)
def test_wrong_usage_is_one_line_that_says_where_to_read(run, staged, words, told):
    done = run(*words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert told in done.stderr
    assert "--help)" in done.stderr
    assert done.stderr.count("\n") == 1


@given(st.text())
def test_whatever_is_told_is_one_printable_line(text):
    assert one_line(text).isprintable()


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("SIGINT", 130, "Ctrl-C"), ("SIGTERM", 143, "SIGTERM"), ("SIGHUP", 129, "SIGHUP")],
)
def test_a_signal_in_a_real_process(name, code, said, tmp_path):
    program = """
import os, signal, sys
from cli.staged_scenarios import StagedScenarios
from pathlib import Path
module = StagedScenarios(Path(sys.argv[1]))
number = signal.Signals[sys.argv[2]]
write = module.compare
def compare(scenario, **facts):
    write(scenario, **facts)
    os.kill(os.getpid(), number)
    signal.pause()
module.compare = compare
sys.modules["stuntdouble.scenarios"] = module
out = str(Path(sys.argv[1]) / "new" / "out")
sys.argv[1:] = ["compare", "quickstart", "--quiet", "--out", out]
from stuntdouble.cli import main
main()
"""
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert done.stderr == f"stuntdouble: stopped by {said}; no file is half written\n"
    assert names(tmp_path) == ["busy-exchange.toml", "quickstart.toml"]
