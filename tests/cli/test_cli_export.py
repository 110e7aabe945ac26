"""`stuntdouble export` and `unexport`: LUNs out, and back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lio.rigs import HOST, LoopRig, ModelRig, loops_over, loops_work
from stuntdouble import lio
from stuntdouble.lio import Machine, exporters, probing
from stuntdouble.store import open_store

with_loops = pytest.mark.skipif(not loops_work(), reason="no loop devices here, or not as root")
SECRET = "twelve bytes or more"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Let every machine that nobody names be one of the test's own."""
    where = Machine(state=str(tmp_path / "state"), directory=str(tmp_path))
    return set_place(monkeypatch, where)


def set_place(monkeypatch, where: Machine) -> Machine:
    for module in (lio, exporters, probing):
        monkeypatch.setattr(module, "Machine", lambda: where)
    return where


@pytest.fixture
def file(tmp_path) -> Path:
    return LoopRig(tmp_path).truth


def said(done) -> str:
    assert done.stderr.startswith("stuntdouble: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@with_loops
def test_a_file_goes_out_and_comes_back(run, place, file, tmp_path) -> None:
    done = run("export", file, "--as", "loop", "--json")
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert Path(made["device"]).read_bytes() == file.read_bytes()
    listed = run("unexport", "--list").stdout
    assert made["id"] in listed
    assert made["device"] in listed
    assert run("unexport", "--recover").stdout == "nothing to end\n"  # it was not killed: it stays
    assert run("unexport", made["id"]).stdout == f"ended {made['id']}\n"
    assert run("unexport", "--list").stdout == "nothing is exported\n"
    assert loops_over(tmp_path) == []


@with_loops
def test_what_is_in_use_stays_unless_it_is_forced(run, place, file, tmp_path) -> None:
    shown = run("export", file, "--as", "loop").stdout
    number = shown.split()[1]
    assert "read-only" in shown
    device = next(line.split()[1] for line in shown.splitlines() if line.startswith("device"))
    with Path(device).open("rb"):
        done = run("unexport", number)
        assert done.exit_code == 1
        assert "in use by process" in said(done)
    assert run("unexport", "--all").stdout == f"ended {number}\n"
    assert loops_over(tmp_path) == []


@with_loops
def test_recovery_tells_what_it_could_not_end(run, file, tmp_path, monkeypatch) -> None:
    (tmp_path / "model").mkdir()
    rig = ModelRig("lio-iscsi", tmp_path / "model", monkeypatch)
    set_place(monkeypatch, rig.machine)
    done = run("export", rig.truth, "--portal", "127.0.0.1:3260", "--initiator", HOST, "--json")
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["portal"] == {"host": "127.0.0.1", "port": 3260}
    store = rig.model.target / "core"
    (store_path,) = store.glob(f"iblock_*/stuntdouble-{made['id']}")
    link = rig.model.target / "iscsi/iqn.2026-11.org.example:s"
    for path in (link, link / "tpgt_1", link / "tpgt_1/lun/lun_0"):
        rig.model.mkdir(path)
    rig.model.symlink(store_path, link / "tpgt_1/lun/lun_0/x")
    done = run("unexport", "--all")
    assert done.exit_code == 1
    assert f"{made['id']} is left: back end" in said(done)
    rig.model.unlink(link / "tpgt_1/lun/lun_0/x")
    assert run("unexport", "--recover").stdout == f"ended {made['id']}\n"


@with_loops
def test_records_may_lie_in_a_store(run, place, file, monkeypatch) -> None:
    kept = open_store()
    monkeypatch.setattr("stuntdouble.store.open_store", lambda url: kept)
    store = ("--store", "redis://127.0.0.1/0")
    made = json.loads(run("export", file, "--as", "loop", "--json", *store).stdout)
    assert run("unexport", "--list").stdout == "nothing is exported\n"
    assert list(kept.space("lio").all("exports")) == [made["id"]]
    assert run("unexport", "--all", *store).stdout == f"ended {made['id']}\n"


def test_the_commands_of_an_operator_are_printed(run, file, tmp_path) -> None:
    (tmp_path / "chap.toml").write_text(f'user = "u"\nsecret = "{SECRET}"\n')
    words = ["export", file, "--portal", "[fe80::1]:3261", "--initiator", HOST, "--lun", "7"]
    words += ["--chap", tmp_path / "chap.toml", "--print-targetcli"]
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    assert "losetup --find --show --read-only" in done.stdout
    assert "portals create [fe80::1] 3261" in done.stdout
    assert f"acls/{HOST} create 7 0 write_protect=1" in done.stdout
    assert SECRET not in done.stdout
    assert SECRET in run(*words, "--show-secrets").stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--as", "lio-iscsi"], "name a portal"),
        (["--portal", "x"], "not HOST:PORT"),
        (["--portal", "h:1", "--initiator", "x"], "is not like iqn"),
        (["--as", "loop", "--lun", "2"], "no number"),
        (["--as", "loop", "--by", "nbd"], "no need for nbd"),
        (["--as", "loop", "--naa", "x"], "is not a 6"),
    ],
)
def test_what_makes_no_sense_is_one_line(run, place, file, words, text) -> None:
    done = run("export", file, *words)
    assert done.exit_code == 2
    assert text in said(done)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("user = ", "no TOML"),
        ('user = "u"\nkey = 1', "other keys"),
        ('user = "u"\nsecret = "x"', "12 to"),
        ('user = "u"\nsecret = 123456789012', "secret is no text"),
    ],
)
def test_a_file_of_secrets_that_is_none(run, place, file, text, why, tmp_path) -> None:
    (tmp_path / "chap.toml").write_text(text)
    words = ("--portal", "h:1", "--initiator", HOST, "--chap", tmp_path / "chap.toml")
    done = run("export", file, *words)
    assert done.exit_code == 2
    assert why in said(done)


def test_secrets_of_nobody_are_refused_rather_than_left_out(run, place, file, tmp_path) -> None:
    (tmp_path / "chap.toml").write_text(f'user = "u"\nsecret = "{SECRET}"\n')
    done = run("export", file, "--as", "loop", "--chap", tmp_path / "chap.toml")
    assert done.exit_code == 2
    assert "--initiator" in said(done)


def test_where_nothing_works_it_says_why(run, file, tmp_path, monkeypatch) -> None:
    nothing = {name: str(tmp_path / "none" / name) for name in ("target", "sys", "dev")}
    set_place(monkeypatch, Machine(state=str(tmp_path), **nothing))
    done = run("export", file)
    assert done.exit_code == 2
    assert "no exporter for this machine works here (lio-loopback: " in said(done)
    assert "loop: no " in said(done)


@pytest.mark.parametrize("words", [(), ("--list", "--all"), ("0badcafe", "--recover")])
def test_unexport_wants_one_thing(run, place, words) -> None:
    done = run("unexport", *words)
    assert done.exit_code == 2
    assert "give one of --list, --recover and --all" in said(done)


def test_an_export_that_there_is_not_is_named(run, place) -> None:
    done = run("unexport", "0badcafe")
    assert done.exit_code == 1
    assert "no export named '0badcafe'" in said(done)


def test_progress_is_for_terminals(monkeypatch, capsys) -> None:
    from stuntdouble.cli import export

    line = {"progress": ["copy", 5, 10]}
    export._show_progress(1, line)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    export._show_progress(1, line)
    export._show_progress(1, {"progress": ["copy", 10, 10]})
    assert capsys.readouterr().err == "\rcopy: 50 %\rcopy: 100 %\n"
