"""`stuntdouble compare`: what it prints, where it writes, and what it leaves alone."""

from __future__ import annotations

import errno
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from cli.staged_scenarios import names
from results.made_up import method_result, plausible, point
from stuntdouble.cli import output
from stuntdouble.cli.compare import METHODS, default_directory
from stuntdouble.errors import Misuse
from stuntdouble.results import METHOD_NAMES, Leftover, RunResult, dump, files


def tree(folder):
    """Every path below *folder*, with the bytes of its files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def one(**changes):
    return plausible(methods={"storage": method_result("storage", **changes)})


def failed_run():
    return RunResult(
        kind="full", start=0.0, end=1.0, bytes_read=0, bytes_stored=0, outcome="ds is full"
    )


def test_a_comparison_says_its_seed_first_and_where_everything_is(run, staged, here):
    done = run("compare", "quickstart")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "seed 1"
    assert any("longest" in line for line in lines)
    assert lines[-2].startswith("Verdict: goal met: 9 restore points")
    assert lines[-1] == "Written: out/quickstart/result.json, out/quickstart/index.html"
    assert (here / "out/quickstart/result.json").read_text() == dump(staged.result)
    assert "<html" in (here / "out/quickstart/index.html").read_text()
    assert names(here / "out") == ["quickstart"]
    points = json.loads(run("restore", "out/quickstart/repository/storage", "--json").stdout)
    assert [found["vm"] for found in points] == ["vm-1"]


def test_options_reach_the_run_and_the_command_that_reproduces_it(run, staged, here):
    (here / "a trace").write_text("")
    done = run(
        *("compare", "busy-exchange", "--seed", 7, "--trace", "a trace", "--method", "mounted"),
        *("--method", "software", "--method", "mounted", "--out", "x/y/z", "-q"),
    )
    assert done.exit_code == 0, done.output
    (scenario, facts), *others = staged.calls
    assert not others
    assert scenario.name == "busy-exchange"
    assert (facts["seed"], str(facts["trace"])) == (7, "a trace")
    assert facts["methods"] == ("software", "mounted")
    assert facts["command"] == (
        "stuntdouble compare busy-exchange --seed 7 --trace 'a trace'"
        " --method software --method mounted"
    )
    assert len(done.stdout.splitlines()) == 3  # quiet: no table
    assert (here / "x/y/z/result.json").is_file()


def test_without_methods_the_scenario_decides(run, staged):
    run("compare", "quickstart")
    assert staged.calls[0][1]["methods"] == ()
    assert METHODS == METHOD_NAMES


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_json_on_stdout_is_alone_there(run, staged, quiet):
    done = run("compare", "quickstart", "--json", "-", *quiet)
    assert done.exit_code == 0
    assert done.stdout == dump(staged.result)
    assert done.stderr.startswith("seed 1\n")
    assert "Verdict: goal met" in done.stderr


def test_json_goes_to_a_file_as_well(run, staged, here):
    (here / "mine.json").write_text("older")
    done = run("compare", "quickstart", "--json", "mine.json")
    assert (here / "mine.json").read_text() == dump(staged.result)
    assert done.stdout.rstrip().endswith("index.html, mine.json")
    assert run("compare", "quickstart", "--json", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (one(), 0, "goal met: 3 restore points"),
        (one(restore_points=(point("storage", "a", verified=None),)), 0, "could not be checked"),
        (one(restore_points=(point("storage", "a", verified=False),)), 3, "wrong data: 1 of 1"),
        (one(restore_points=()), 1, "storage: no restore point was made"),
        (one(runs=(failed_run(),)), 1, "storage: 1 of 1 run failed"),
        (
            one(leftovers=(Leftover(kind="mapping", name="lun 3"),)),
            1,
            "storage: 1 thing left behind",
        ),
        (
            one(restore_points=(point("storage", "a", verified=False),), runs=(failed_run(),)),
            3,
            "wrong data",
        ),
    ],
)
def test_the_exit_code_is_the_verdict_and_everything_is_written_all_the_same(
    run, staged, here, result, code, words
):
    staged.result = result
    done = run("compare", "quickstart")
    assert done.exit_code == code
    verdict = next(line for line in done.stdout.splitlines() if line.startswith("Verdict: "))
    assert words in verdict
    assert (here / "out/quickstart/index.html").is_file()


def test_a_second_comparison_replaces_the_first(run, staged, here):
    run("compare", "quickstart")
    (here / "out/quickstart/repository/storage/packs/old").write_text("")
    staged.result = one()
    assert run("compare", "quickstart").exit_code == 0
    assert (here / "out/quickstart/result.json").read_text() == dump(staged.result)
    assert not (here / "out/quickstart/repository/storage/packs/old").exists()
    assert names(here / "out") == ["quickstart"]


def test_an_empty_directory_may_be_named(run, staged, here):
    (here / "empty").mkdir()
    assert run("compare", "quickstart", "--out", "empty").exit_code == 0
    assert (here / "empty/result.json").is_file()


@pytest.mark.parametrize("raised", [Misuse("x", "y"), RuntimeError("x"), KeyboardInterrupt()])
def test_a_run_that_fails_leaves_everything_as_it_was(run, staged, here, raised):
    run("compare", "quickstart")
    before = tree(here)
    staged.result = raised
    assert run("compare", "quickstart").exit_code not in {0, 1}
    assert run("compare", "quickstart", "--out", "new/er").exit_code not in {0, 1}
    assert tree(here) == before


def refused(run, staged, *words):
    """Run *words*, which must be refused in one line before any site is run; return the line."""
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert staged.calls == []
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_what_no_comparison_wrote_is_never_touched(run, staged, here):
    (here / "src").mkdir()
    (here / "src/main.c").write_text("int main;")
    assert "main.c" in refused(run, staged, "compare", "quickstart", "--out", "src")
    (here / "site").mkdir()
    (here / "site/index.html").write_text("a page of somebody else")
    assert "index.html" in refused(run, staged, "compare", "quickstart", "--out", "site")
    line = refused(run, staged, "compare", "quickstart", "--out", "src/main.c")
    assert "main.c" in line
    assert "current directory" in refused(run, staged, "compare", "quickstart", "--out", ".")
    assert "current directory" in refused(run, staged, "compare", "quickstart", "--out", "..")
    assert tree(here) == {
        "src": None, "src/main.c": b"int main;",
        "site": None, "site/index.html": b"a page of somebody else",
    }  # fmt: skip


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(
    "extra", ["notes.txt", "repository/notes", "repository/new/x", ".git/config", "sub/index.html"]
)
def test_one_foreign_file_saves_a_directory(tmp_path, extra, broken):
    folder = tmp_path / "folder"
    (folder / "repository/storage").mkdir(parents=True)
    (folder / "repository/storage/repository.json").write_text("{}")
    good = '{"schema_version": 1, "scenario": "s", "methods": {}}'
    (folder / "result.json").write_text("{" if broken else good)
    (folder / extra).parent.mkdir(exist_ok=True)
    (folder / extra).write_text("precious")
    before = tree(folder)
    with pytest.raises(Misuse, match="no comparison wrote"), output.staged(folder):
        raise AssertionError
    assert tree(folder) == before
    (folder / extra).unlink()
    if (folder / extra).parent not in {folder, folder / "repository"}:
        (folder / extra).parent.rmdir()
    with nullcontext() if not broken else pytest.raises(Misuse), output.staged(folder):
        pass
    assert (names(folder) == []) is not broken  # replaced, unless its result is none of ours


def test_a_place_that_cannot_be_written_is_told_before_the_run(run, staged, here):
    (here / "file").write_text("")
    assert "file" in refused(run, staged, "compare", "quickstart", "--out", "file/below")
    for name, words in [
        ("out/quickstart/x.json", "lies in"),
        ("nowhere/x.json", "no such directory"),
        (".", "is a directory"),
    ]:
        assert words in refused(run, staged, "compare", "quickstart", "--json", name)
    assert names(here) == ["file"]


def test_a_full_disk_is_one_line(run, staged, here, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(output.Path, "rename", full)
    done = run("compare", "quickstart")
    assert done.exit_code == 2
    assert done.stderr == (
        "stuntdouble: out/quickstart: cannot be written (No space left on device):"
        " choose another place\n"
    )
    assert list(here.iterdir()) == []


def test_the_default_directory_stays_below_out(staged):
    for name, folder in [("a b", "out/a-b"), ("../../etc", "out/etc"), ("..", "out/scenario")]:
        staged.listed[0].name = name
        assert str(default_directory(staged.listed[0])) == folder


def test_where_the_new_cannot_take_its_place_the_old_comes_back(run, staged, here, monkeypatch):
    run("compare", "quickstart")
    before = tree(here)
    rename = Path.rename

    def unlucky(self, target):
        if self.suffix == ".partial":
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(output.Path, "rename", unlucky)
    staged.result = one()
    done = run("compare", "quickstart")
    assert done.exit_code == 2
    assert "Input/output error" in done.stderr
    assert tree(here) == before


def test_a_file_is_written_whole_or_not_at_all(here, monkeypatch):
    (here / "mine.json").write_text("older")

    def full(self, target):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(output.Path, "replace", full)
    with pytest.raises(Misuse, match="No space left on device"):
        files.write_whole(here / "mine.json", "newer")
    assert tree(here) == {"mine.json": b"older"}


def test_a_file_that_cannot_be_written_is_told_before_the_run(run, staged, here, monkeypatch):
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    line = refused(run, staged, "compare", "quickstart", "--json", "mine.json")
    assert "cannot be written" in line


def test_what_a_killed_comparison_left_is_swept_and_what_one_at_work_has_is_not(run, staged, here):
    (here / "out/.quickstart.1.partial/repository").mkdir(parents=True)
    (here / "out/.other.1.partial").mkdir()
    with output.staged(here / "out/quickstart") as at_work:
        at_work.rename(at_work.with_name(".quickstart.2.partial"))  # as if by another process
        assert run("compare", "quickstart", "-q").exit_code == 0
        assert names(here / "out") == [".other.1.partial", ".quickstart.2.partial", "quickstart"]
        at_work.with_name(".quickstart.2.partial").rename(at_work)
    assert names(here / "out") == [".other.1.partial", "quickstart"]


def test_a_full_disk_under_out_is_named_and_nothing_is_written(run, staged, here):
    staged.result = OSError(errno.ENOSPC, "No space left on device")
    done = run("compare", "quickstart", "--out", "new/place")
    assert done.exit_code == 2
    assert done.stderr.startswith("stuntdouble: new/place: cannot be written (No space left")
    assert names(here) == []


def test_what_is_refused_before_the_first_run_gives_no_seed(run, staged, here):
    staged.result = Misuse("scenario quickstart", "VM vm-1 replays a trace")
    done = run("compare", "quickstart")
    assert (done.exit_code, done.stdout) == (2, "")
    assert names(here) == []
